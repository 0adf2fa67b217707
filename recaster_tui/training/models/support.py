"""Options that this version cannot train, in one place: refused by name, never ignored."""

from recaster_tui.errors import BadInputError
from recaster_tui.options import TrainingOptions, XsegOptions


def unsupported(options: TrainingOptions) -> list[tuple[str, str]]:
    """Each option whose value cannot be honoured yet, and why; empty when all can."""
    found: list[tuple[str, str]] = []
    if isinstance(options, XsegOptions) and options.pretrain:
        found.append(("pretrain", "XSeg's pretraining is not there yet"))
    return found


def require_supported(options: TrainingOptions) -> None:
    """Refuse options that :func:`unsupported` names.

    Raises:
        BadInputError: naming each option.
    """
    found = unsupported(options)
    if found:
        text = "; ".join(f"{key} = {getattr(options, key)}: {why}" for key, why in found)
        raise BadInputError(
            f"cannot train with {text}", hint="set " + ", ".join(k for k, _ in found) + " back"
        )

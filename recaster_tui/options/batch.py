"""``batch_size``: a number of faces, or ``auto``: the trainer finds one by real steps."""

from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, cast

if TYPE_CHECKING:
    from recaster_tui.options.common import TrainingOptions

AUTO: Literal["auto"] = "auto"
BatchSize: TypeAlias = int | Literal["auto"]

_Options = TypeVar("_Options", bound="TrainingOptions")


def batch_number(options: "TrainingOptions", found: int | None = None) -> int:
    """The batch size in figures, for whoever cannot do with the word.

    Args:
        options: of any class.
        found: what the trainer found for ``auto``, where that is known.

    Returns:
        The number that *options* give; for ``auto`` what was *found*, else the class's default.
    """
    if options.batch_size != AUTO:
        return options.batch_size
    return found or cast(int, type(options).model_fields["batch_size"].default)


def with_number(options: _Options, found: int | None = None) -> _Options:
    """*options* with :func:`batch_number` in place of the word; themselves where it is a number."""
    if options.batch_size != AUTO:
        return options
    return options.model_copy(update={"batch_size": batch_number(options, found)})

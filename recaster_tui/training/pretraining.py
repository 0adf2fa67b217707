"""Pretraining ends: what stays of the model, what begins again (dfl-models.md 3.9)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from recaster_tui.checkpoints.store import MANIFEST, Generation, write_backup
from recaster_tui.protocol import EventType
from recaster_tui.training.generations import Loaded
from recaster_tui.training.journal import JournalWriter
from recaster_tui.training.session import Session, pretrains

IDENTITIES = frozenset({"inter", "inter_AB", "inter_B"})
"""The networks that learn who somebody is: df's, and both of liae; XSeg has none."""


def leaves_pretraining(session: Session, state: Mapping[str, Any]) -> bool:
    """Whether the model of this *state* was pretrained last, and the run trains it for good."""
    return bool(state.get("options", {}).get("pretrain")) and not pretrains(session)


def same_faces(session: Session, loaded: Loaded) -> bool:
    """Whether the model went on last with the faces of this run: its place in them still counts."""
    options = loaded.snapshot.state.get("options", {})
    before = options.get("pretrain_faces") if options.get("pretrain") else None
    return before == (
        getattr(session.options, "pretrain_faces", None) if pretrains(session) else None
    )


def with_fresh_identities(
    pretrained: Mapping[str, Tensor], fresh: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """*pretrained* weights, the :data:`IDENTITIES` replaced by those of a model just made."""
    new = {k: v.clone() for k, v in fresh.items() if k.partition("/")[0] in IDENTITIES}
    return dict(pretrained) | new


def keep_pretrained(folder: Path, generation: Generation) -> None:
    """Make a backup of the pretrained model, unless there is one: it can start others, too.

    Raises:
        OSError: the disk is full.
        DamagedError: what was read back is not what was written.
    """
    manifest = (generation.path / MANIFEST).read_bytes()
    for kept in (folder / "backups").glob(f"*-{generation.iteration:09d}*"):
        if (kept / MANIFEST).is_file() and (kept / MANIFEST).read_bytes() == manifest:
            return
    write_backup(folder, generation, "pretrained; before pretraining was switched off")


def tell_graduation(journal: JournalWriter, loaded: Loaded) -> None:
    """Journal what happened."""
    fresh = sorted({k.partition("/")[0] for k in loaded.snapshot.weights} & IDENTITIES)
    anew = f"{' and '.join(fresh)} begin{'s' * (len(fresh) == 1)} anew, " if fresh else ""
    journal.emit(
        EventType.WARNING,
        code="pretraining-over",
        message=f"pretraining was switched off after {loaded.generation.iteration:,} iterations: "
        f"counting starts at 0, {anew}all else goes on as learnt",
        hint="the pretrained model is kept among the backups",
        iteration=loaded.generation.iteration,
    )

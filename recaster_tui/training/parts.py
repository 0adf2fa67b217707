"""What a trainer is put together from, and what it asks of that."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import recaster_tui
from recaster_tui.errors import RecasterError
from recaster_tui.options import TrainingOptions
from recaster_tui.protocol import EventType
from recaster_tui.training.commands import Desk, StopFlag
from recaster_tui.training.failures import DiskFullError, SaveFailedError, describe
from recaster_tui.training.history import LossHistory
from recaster_tui.training.journal import JournalWriter
from recaster_tui.training.measuring import Measures
from recaster_tui.training.models.base import TrainableModel
from recaster_tui.training.probe import AutoBatch
from recaster_tui.training.saver import Saver
from recaster_tui.training.session import DataSource, Session
from recaster_tui.training.watch import NEUTRAL

LOOP_OPTIONS = NEUTRAL - {"preview_morph_factor"} | {"retrain_worst"}
"""Options that are the loop's own; a model never hears of a change to them."""


@dataclass
class Parts:
    """What a trainer is put together from.

    Attributes:
        drawn: :attr:`Watch.drawn` of the model's last save.
    """

    session: Session
    model: TrainableModel
    data: DataSource
    journal: JournalWriter
    desk: Desk
    stop: StopFlag
    history: LossHistory
    saver: Saver
    batch: AutoBatch
    measures: Measures
    drawn: Sequence[str] = ()


def target_of(session: Session) -> int:
    """The nearer of the run's and the options' target; a live change beats both. 0 = none."""
    if "target_iterations" in session.live:
        return int(session.live["target_iterations"])
    targets = [session.spec.target_iterations, session.options.target_iterations]
    return min((t for t in targets if t > 0), default=0)


def state_of(
    parts: Parts,
    options: TrainingOptions,
    *,
    live: Mapping[str, Any],
    trained_seconds: float,
    drawn: Sequence[str],
) -> dict[str, Any]:
    """The ``state.toml`` of a save: what the next start of the model takes over.

    Args:
        options: as they are now.
        live: those of them that were changed while training.
        trained_seconds: of the model's life.
        drawn: :attr:`Watch.drawn`.
    """
    session, model = parts.session, parts.model
    return {
        "model_class": session.model_class.value,
        "model_name": session.spec.model_name,
        "run_id": session.spec.run_id,
        "seed": session.seed,
        "trained_seconds": round(trained_seconds, 3),
        "saved": time.time(),
        "loss_names": list(model.loss_names),
        "pieces": model.pieces,
        "slowdown": float(getattr(model, "slowdown", 1.0)),
        "options": options.model_dump(mode="json"),
        "live": dict(live),
        # Text, because its shape is the data source's own affair.
        "data": json.dumps(parts.data.state_dict()),
        "held_out": parts.measures.state(),
        "drawn": list(drawn),
        "versions": {"recaster": recaster_tui.__version__, "torch": torch.__version__},
        **parts.batch.state(),
    }


def tell_pieces(journal: JournalWriter, iteration: int, pieces: int) -> None:
    """Warn that memory ran out at *iteration*, and say what is done about it."""
    journal.emit(
        EventType.WARNING,
        code="memory",
        message=f"memory ran out at iteration {iteration}: each batch is now worked "
        f"through in {pieces} pieces, with the same result",
        hint="it goes on by itself; a smaller batch_size or other programs ended on this "
        "device would make it quicker",
    )


def save_failed(cause: Exception, saved: int | None) -> RecasterError:
    """What ends a run whose last save failed with *cause*, iteration *saved* being on disk."""
    failure = describe(cause)
    kind = DiskFullError if failure.code == "disk-full" else SaveFailedError
    return kind(
        f"the last save failed: {failure.message}",
        hint="nothing of this model is on disk"
        if saved is None
        else f"iteration {saved:,} is saved",
    )

"""Going back to a save from before the trouble: to which one, how often, and what is said."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from recaster_tui.checkpoints.store import Damage, make_current
from recaster_tui.options import TrainingOptions, live_problem
from recaster_tui.training.failures import NonFiniteError
from recaster_tui.training.generations import Loaded, saves_before
from recaster_tui.training.guards import Trouble
from recaster_tui.training.journal import JournalWriter
from recaster_tui.training.models.base import TrainableModel
from recaster_tui.training.output_guard import OutputGuard
from recaster_tui.training.pretraining import leaves_pretraining
from recaster_tui.training.session import Session, warn_damaged

CALM_ITERATIONS = 5000
"""So many iterations after a rollback it is forgiven."""


@dataclass
class Rollbacks:
    """How often training went back, and whether it may once more."""

    went_to: list[int] = field(default_factory=list)

    def check(self, trouble: Trouble, allowed: int) -> None:
        """Raise what ends the run, where *trouble* is once too often.

        Raises:
            NonFiniteError: the training's own fault, and it went back *allowed* times before.
        """
        if trouble.cause is not None:
            return
        self.went_to = [to for to in self.went_to if trouble.onset - to < CALM_ITERATIONS]
        if len(self.went_to) < allowed:
            return
        again = ""
        if self.went_to:
            to = f"{self.went_to[-1]:,}"
            times = len(self.went_to)
            again = f", again after going back to {to}"
            again += f" ({times} times in a row)" if times > 1 else ""
        raise NonFiniteError(
            f"{trouble.message} at iteration {trouble.onset:,}{again}",
            hint="the last good save is kept: resume from it with a lower learning rate, with "
            "clip_gradients, or without the option switched on last; look for damaged faces",
        )


def half_rate(options: TrainingOptions, model: TrainableModel) -> float | None:
    """Half the present learning rate; None where it cannot be halved.

    Where the class fixes the rate (Quick96, XSeg), *model* is slowed down here and now; where it
    is an option, the caller changes that.
    """
    rate = getattr(options, "learning_rate", None)
    if rate is not None:
        half = float(rate) / 2
        return half if live_problem(options, "learning_rate", half) is None else None
    slow_down = getattr(model, "slow_down", None)
    if slow_down is None:
        return None
    return float(slow_down(model.slowdown / 2))  # type: ignore[attr-defined]


def load_older(
    session: Session,
    model: TrainableModel,
    journal: JournalWriter,
    pictures: OutputGuard,
    trouble: Trouble,
    history: np.ndarray,
) -> Loaded:
    """Load the newest usable save from before *trouble* into *model* and make it the current one.

    A save whose pictures are dead is passed over, however it came to be, and so is one that this
    training does not come from: a save that an earlier rollback left behind, or a backup from
    before a restore.

    Args:
        history: ``LOSS_DTYPE`` rows of the model's whole life, by which its own saves are known.

    Raises:
        NonFiniteError: there is none; or the *trouble*'s own cause.
    """
    folder = session.model_folder
    damaged: list[Damage] = []
    try:
        for loaded in _in_turn(folder, trouble, damaged):
            if leaves_pretraining(session, loaded.snapshot.state):
                continue
            if not _comes_before(loaded, history):
                continue
            model.load_state(loaded.snapshot.weights, loaded.snapshot.optimizer)
            if trouble.cause is None and not pictures.passes(model):
                continue
            make_current(folder, loaded.generation)
            return loaded
    finally:
        warn_damaged(journal, folder, damaged)
    if trouble.cause is not None:
        raise trouble.cause
    raise NonFiniteError(
        f"{trouble.message} at iteration {trouble.onset:,}, and there is no good save from before",
        hint="lower the learning rate or use precision = float32; backups and snapshots of the "
        "model are listed by: recaster snapshot list",
    )


def _in_turn(folder: Path, trouble: Trouble, damaged: list[Damage]) -> Iterator[Loaded]:
    """Saves from before the *trouble*, then those which only a look can tell from dead ones."""
    yield from saves_before(folder, trouble.onset, damaged)
    if trouble.why == "output":  # the last good look may be older than the last good save
        yield from saves_before(folder, sys.maxsize, damaged, since=trouble.onset)


def _comes_before(loaded: Loaded, history: np.ndarray) -> bool:
    """Whether the life that *history* tells went through this save."""
    same = history[history["iteration"] <= loaded.generation.iteration]
    # As bytes: a loss that a class has not is NaN, which equals nothing.
    return np.ascontiguousarray(loaded.snapshot.losses).tobytes() == same.tobytes()

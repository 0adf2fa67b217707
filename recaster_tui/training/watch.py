"""The guards of a run together: what they are told, what they find, when a save must wait."""

import logging
from collections.abc import Callable, Iterable

import numpy as np

from recaster_tui.options import TrainingOptions
from recaster_tui.protocol import EventType
from recaster_tui.training.guards import SpikeGuard, Trouble
from recaster_tui.training.journal import JournalWriter
from recaster_tui.training.models.base import Batch, TrainableModel
from recaster_tui.training.output_guard import OutputGuard

log = logging.getLogger(__name__)

NEUTRAL = frozenset(
    {
        "target_iterations",
        "autosave_seconds",
        "backup_hours",
        "backups_kept",
        "preview_seconds",
        "preview_samples",
        "preview_morph_factor",
        "held_out_seconds",
        "guard_rollbacks",
        "guard_spikes",
        "guard_spike_ratio",
        "guard_output",
    }
)
"""Options that cannot change a loss. After any other the loss may rightly be another one: GAN,
true face and style powers, augmentation, retraining the worst …"""


class Watch:
    """Set up from the options; asked by the loop.

    Attributes:
        losses: the guard of the loss.
        pictures: the guard of what the model draws.
    """

    def __init__(
        self,
        options: TrainingOptions,
        model: TrainableModel,
        batch: Callable[[int], Batch],
        *,
        iteration: int,
        drawn: Iterable[str] = (),
    ) -> None:
        """*drawn* is :attr:`drawn` of an earlier start of the model, which is at *iteration*."""
        self.losses = SpikeGuard(names=tuple(model.loss_names))
        self.pictures = OutputGuard(batch, iteration, drawn)
        self._model = model
        self.configure(options)
        # A model that goes on may do so with other options, or on other faces.
        self.losses.reset(settle=iteration > 0)

    @property
    def drawn(self) -> list[str]:
        """For the model's state: the kinds of picture that have had a spread."""
        return sorted(self.pictures.alive)

    @property
    def suspicious(self) -> bool:
        """Whether something looks bad and is not decided yet: an autosave waits."""
        return self.losses.suspicious or self.pictures.suspicious

    @property
    def judged(self) -> int | None:
        """Up to this iteration all is known to be good; None: not judged yet."""
        losses = self.losses.judged
        return None if losses is None else min(losses, self.pictures.judged)

    def configure(self, options: TrainingOptions, key: str | None = None) -> None:
        """Take over the options; *key*: this one was changed while training."""
        self.losses.on = options.guard_spikes
        self.losses.ratio = options.guard_spike_ratio
        self.pictures.on = options.guard_output
        if key is not None and key not in NEUTRAL:
            self.losses.reset(settle=True)

    def judge_losses(self, rows: np.ndarray) -> Trouble | None:
        """``LOSS_DTYPE`` rows of the iterations since the last time."""
        return self.losses.add(rows)

    def judge_pictures(self, iteration: int, *, saving: bool = False) -> Trouble | None:
        """Look at what the model draws, if that is due."""
        if not self.pictures.due(iteration, saving=saving):
            return None
        return self.pictures.judge(self._model, iteration)

    def tell(self, trained_seconds: float) -> None:
        """Log what the guard of the pictures cost."""
        looks, seconds = self.pictures.looks, self.pictures.seconds
        share = 100 * seconds / max(trained_seconds, 1e-9)
        log.info("looked at pictures %d times, %.2f s, %.2f %% of the time", looks, seconds, share)

    def back(self, iteration: int) -> None:
        """Training goes on from a save of *iteration*."""
        self.losses.reset()
        self.pictures.reset(iteration)


def tell_never_drew(journal: JournalWriter, pictures: OutputGuard) -> None:
    """Warn, once, of a model that draws nothing and never did; that ends no run."""
    if pictures.never_drew:
        journal.emit(
            EventType.WARNING,
            code="output",
            message=pictures.never_drew,
            hint="look at the previews; if they stay empty, stop and begin a new model, with a "
            "lower learning rate or other options, and check the faces",
        )
        pictures.never_drew = ""

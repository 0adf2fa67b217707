"""When a timed backup is due: every so many hours, of a model that has changed since."""

import time
from collections.abc import Callable
from pathlib import Path

from recaster_tui.checkpoints.store import iteration_of, newest_backup
from recaster_tui.training.saver import Done, SaveOutcome

RETRY_SECONDS = 600.0
"""After a backup that failed; less where the option asks for less."""


class BackupTimer:
    """The timed backups of one run."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """*folder* is the model's, whose newest backup says when the next one is due."""
        newest = newest_backup(folder)
        self._clock = clock
        self._next_from = clock() - (newest[1] if newest is not None else 0.0)
        self._iteration = iteration_of(newest[0]) if newest is not None else None

    def due(self, hours: float, iteration: int) -> bool:
        """Whether to make one now.

        A run that is paused for a day would push out all older backups by copies of one model.
        """
        if hours <= 0 or iteration in (0, self._iteration):
            return False
        return self._clock() - self._next_from >= 3600 * hours

    def begin(self, hours: float, iteration: int) -> Done:
        """One is made now; returns what is to be told how that ended, from any thread."""
        self._next_from = begun = self._clock()

        def over(outcome: SaveOutcome) -> None:
            if outcome.backup is not None:
                self._iteration = iteration
            else:
                self._next_from = begun - max(0.0, 3600 * hours - RETRY_SECONDS)

        return over

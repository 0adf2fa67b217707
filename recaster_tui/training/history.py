"""The loss of every iteration of the model: in memory, and mirrored in the run's ``losses.bin``."""

import logging
import time
from pathlib import Path

import numpy as np

from recaster_tui.protocol import LOSS_DTYPE, append_losses, write_losses

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0


class LossHistory:
    """Rows of ``LOSS_DTYPE``, growing; 20 bytes an iteration, 20 MB a million.

    The file is rewritten when it is opened and after a rollback, and appended to otherwise. A
    full disk leaves it behind or torn; it is rewritten from memory as soon as that works (tried
    every :data:`RETRY_SECONDS`: a million rows four times a second would be all the trainer does).
    """

    def __init__(self, path: Path, rows: np.ndarray) -> None:
        self._path = path
        self._rows = np.array(rows, LOSS_DTYPE)
        self._count = len(rows)
        self._mirrored = False
        self._retry_at = 0.0
        self._mirror()

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> np.ndarray:
        """All rows so far, (n,) ``LOSS_DTYPE``; a view that stays valid."""
        return self._rows[: self._count]

    def append(self, rows: np.ndarray) -> None:
        """Add the rows of the next iterations."""
        needed = self._count + len(rows)
        if needed > len(self._rows):
            grown = np.empty(max(needed, 2 * len(self._rows), 1024), LOSS_DTYPE)
            grown[: self._count] = self.rows
            self._rows = grown
        self._rows[self._count : needed] = rows
        self._count = needed
        if not self._mirrored:
            if time.monotonic() >= self._retry_at:
                self._mirror()
            return
        try:
            append_losses(self._path, rows)
            # A nearly full disk takes half a row without an error, which would shift all others.
            whole = self._path.stat().st_size == self._count * LOSS_DTYPE.itemsize
        except OSError as error:
            log.warning("cannot append to %s: %s", self._path, error)
            whole = False
        self._mirrored = whole

    def catch_up(self) -> None:
        """Write the file anew if it was left behind; at the end, when nothing is added any more."""
        if not self._mirrored:
            self._mirror()

    def cut(self, iteration: int) -> None:
        """Forget the rows after *iteration*."""
        # A copy: rows given out before must not change under a save that is being written.
        kept = self.rows[self.rows["iteration"] <= iteration].copy()
        self._rows, self._count = kept, len(kept)
        self._mirror()

    def _mirror(self) -> None:
        try:
            write_losses(self._path, self.rows)
            self._mirrored = True
        except OSError as error:
            log.warning("cannot write %s: %s", self._path, error)
            self._mirrored = False
            self._retry_at = time.monotonic() + RETRY_SECONDS

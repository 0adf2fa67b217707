"""Noticing that training has gone wrong: a sustained jump of the loss.

A single outlier is normal; a loss that stays far above what it was is not. Medians and the
median absolute deviation (Rousseeuw & Croux 1993) make both judgements robust.
"""

from collections import deque

import numpy as np

BASELINE = 1000
RECENT = 100
_EVERY = 25
_MINIMUM = 400


class SpikeGuard:
    """Compares the last 100 iterations with the 1,000 before them."""

    def __init__(self, ratio: float = 2.5, deviations: float = 12.0) -> None:
        self._ratio = ratio
        self._deviations = deviations
        self._values: deque[float] = deque(maxlen=BASELINE + RECENT)
        self._last = 0
        self._since_check = 0

    def reset(self) -> None:
        """Start over: an option was changed, the loss may rightly be another one now."""
        self._values.clear()

    def add(self, rows: np.ndarray) -> int | None:
        """Take ``LOSS_DTYPE`` rows; the iteration at which a sustained spike began, if any."""
        totals = rows["src"].astype(float) + np.nan_to_num(rows["dst"].astype(float))
        self._values.extend(totals[np.isfinite(totals)])
        self._last = int(rows["iteration"][-1])
        self._since_check += len(rows)
        if self._since_check < _EVERY or len(self._values) < _MINIMUM:
            return None
        self._since_check = 0
        values = np.array(self._values)
        base, recent = values[:-RECENT], values[-RECENT:]
        middle = float(np.median(base))
        spread = 1.4826 * float(np.median(np.abs(base - middle)))
        limit = max(self._ratio * middle, middle + self._deviations * spread)
        # Both halves: a wave that is already over is no reason to roll back.
        halves = np.median(recent.reshape(2, -1), axis=1)
        if (halves > limit).all():
            return self._last - RECENT + 1
        return None

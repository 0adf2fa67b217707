"""The loss history in memory: grows cheaply, and shrinks to what a chart or a record needs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recaster_tui.protocol import LOSS_DTYPE
from recaster_tui.protocol.losses import whole_rows
from recaster_tui.supervisor.launcher import Launcher

LossArray = npt.NDArray[np.void]
"""Rows of ``LOSS_DTYPE``: iteration, src, dst, ms."""

_ROW = LOSS_DTYPE.itemsize
_CHUNK_ROWS = 200_000
_MOST_ITERATIONS = np.uint64(10**12)
_MOST_LEFT_OUT = np.uint64(10**6)  # none are, but a watcher need not be that strict
_TREND_ROWS = 2_000
_TREND_SCALE = 300.0


@dataclass(frozen=True)
class Trend:
    """Where the losses stand and go. NaN where there are too few rows or no such loss.

    ``src`` and ``dst`` are means weighted towards the newest iterations, ``*_slope`` their
    change per 1,000 iterations (negative: learning).
    """

    src: float
    dst: float
    src_slope: float
    dst_slope: float


NO_TREND = Trend(float("nan"), float("nan"), float("nan"), float("nan"))


class LossBuffer:
    """Follows ``losses.bin``. The array that :attr:`rows` gives out is never written again.

    Attributes:
        damaged: there is more in the file, which cannot be losses of this run.
    """

    def __init__(self, launcher: Launcher, path: Path) -> None:
        self._launcher = launcher
        self._path = path
        self.damaged = False
        self._store = np.empty(1024, LOSS_DTYPE)
        self._count = 0

    @property
    def rows(self) -> LossArray:
        """All rows so far, oldest first; a read-only view."""
        view = self._store[: self._count]
        view.flags.writeable = False
        return view

    def _whole(self, new: LossArray) -> int:
        """How many of the *new* rows can follow: iterations grow, and are no astronomic numbers.

        What comes after a torn row in the middle, or from another file, is no loss of this run.
        """
        iterations = new["iteration"]
        before = self._store["iteration"][self._count - 1] if self._count else np.uint64(0)
        previous = np.concatenate([[before], iterations[:-1]])
        first = self._count == 0
        good = (iterations > previous) & (iterations - previous <= _MOST_LEFT_OUT)
        if first and len(new):
            good[0] = iterations[0] < _MOST_ITERATIONS
        bad = np.flatnonzero(~good)
        return int(bad[0]) if len(bad) else len(new)

    def clear(self) -> None:
        """Start again: the trainer has rewritten the file."""
        self.damaged = False
        self._store = np.empty(1024, LOSS_DTYPE)
        self._count = 0

    async def read(self) -> bool:
        """Take in what was appended; whether anything changed.

        The row before is read again: where it differs, the file was rewritten (a resumed run, a
        rollback) and everything is read from its start.
        """
        changed = False
        while True:
            back = 1 if self._count else 0
            try:
                raw = await self._launcher.read(
                    self._path, (self._count - back) * _ROW, _CHUNK_ROWS * _ROW
                )
            except FileNotFoundError:
                return changed
            new = whole_rows(raw)
            if back:
                # Bytes, since a NaN is not equal to itself.
                if new[:1].tobytes() != self._store[self._count - 1 : self._count].tobytes():
                    self.clear()
                    changed = True
                    continue
                new = new[1:]
            good = new[: self._whole(new)]
            if len(good):
                self._extend(good)
                changed = True
            self.damaged = len(good) < len(new)
            if self.damaged or not len(new):
                return changed

    def _extend(self, new: LossArray) -> None:
        needed = self._count + len(new)
        if needed > len(self._store):
            grown = np.empty(max(needed, 2 * len(self._store)), LOSS_DTYPE)
            grown[: self._count] = self._store[: self._count]
            self._store = grown
        self._store[self._count : needed] = new
        self._count = needed


def decimate(rows: LossArray, limit: int = 2_000) -> LossArray:
    """At most *limit* real rows that keep every peak and valley.

    Buckets are as wide as a power of two and aligned to iteration numbers, so the rows chosen
    for the past stay the same while the run grows. Each gives its row of the lowest and of the
    highest loss, in their order.
    """
    if len(rows) <= limit:
        return rows
    iterations = rows["iteration"].astype(np.int64)
    width = 1
    while (iterations[-1] // width - iterations[0] // width + 1) * 2 > limit:
        width *= 2
    height = np.nan_to_num(rows["src"], nan=0.0) + np.nan_to_num(rows["dst"], nan=0.0)
    starts = np.flatnonzero(np.diff(iterations // width, prepend=-1))
    bucket = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(rows)))
    order = np.lexsort((height, bucket))
    lowest = order[starts]
    highest = order[np.append(starts[1:], len(rows)) - 1]
    chosen: LossArray = rows[np.unique(np.concatenate([lowest, highest]))]
    return chosen


def trend(rows: LossArray) -> Trend:
    """Exponentially weighted straight-line fit through the last iterations (weight e^(-age/300)).

    A weighted least-squares slope: sum w (x - mean x)(y - mean y) / sum w (x - mean x)^2.
    """
    tail = rows[-_TREND_ROWS:]
    if len(tail) < 8:
        return NO_TREND
    age = np.arange(len(tail), dtype=np.float64) - (len(tail) - 1)
    weights = np.exp(age / _TREND_SCALE)
    src, src_slope = _fit(age, tail["src"].astype(np.float64), weights)
    dst, dst_slope = _fit(age, tail["dst"].astype(np.float64), weights)
    return Trend(src, dst, src_slope, dst_slope)


def _fit(x: Any, y: Any, weights: Any) -> tuple[float, float]:
    good = np.isfinite(y)
    if good.sum() < 8:
        return float("nan"), float("nan")
    x, y, weights = x[good], y[good], weights[good]
    weights = weights / weights.sum()
    mean_x, mean_y = float(weights @ x), float(weights @ y)
    spread = float(weights @ (x - mean_x) ** 2)
    slope = float(weights @ ((x - mean_x) * (y - mean_y))) / spread
    return mean_y, 1000.0 * slope

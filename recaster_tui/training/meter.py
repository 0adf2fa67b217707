"""Losses and speed of the iterations since the last ``iterations`` event.

Reading a loss from a GPU waits for it, so results are kept on the device and read together, at
most :data:`FLUSHES_PER_SECOND` times a second. Times are therefore means over such a group.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recaster_tui.protocol.losses import loss_rows
from recaster_tui.training.clock import running
from recaster_tui.training.models.base import StepResult

FLUSHES_PER_SECOND = 4.0


@dataclass(frozen=True)
class Flushed:
    """What a group of iterations did.

    Attributes:
        first: number of the first iteration.
        losses: (n, k) one row an iteration.
        rows: the same as ``LOSS_DTYPE`` rows.
        ms: mean milliseconds an iteration.
        its: iterations a second, smoothed over a few seconds.
        data_share: 0..1, part of the time that went into waiting for data.
        non_finite: number of the first iteration with a NaN or infinite loss or gradient.
    """

    first: int
    losses: np.ndarray
    rows: np.ndarray
    ms: float
    its: float
    data_share: float
    non_finite: int | None

    def event(self) -> dict[str, Any]:
        """For the ``iterations`` event."""
        return {
            "first": self.first,
            "rows": [[round(float(v), 6) for v in row] for row in self.losses],
            "ms": round(self.ms, 3),
            "its": round(self.its, 3),
            "data_share": round(self.data_share, 4),
        }


class Meter:
    """Collects step results; the loop asks :attr:`due` and calls :meth:`flush`."""

    def __init__(self, clock: Callable[[], float] = running) -> None:
        self._clock = clock
        self._results: list[StepResult] = []
        self._first = 0
        self._data_seconds = 0.0
        self._its = 0.0
        self._start = clock()

    @property
    def due(self) -> bool:
        """Whether a quarter of a second has passed."""
        return self._clock() - self._start >= 1.0 / FLUSHES_PER_SECOND

    def restart(self) -> None:
        """Leave out the time until now (a pause, a preview, a save)."""
        self._start = self._clock()

    def add(self, iteration: int, result: StepResult, data_seconds: float) -> None:
        """Take the result of one iteration; nothing waits for the device here."""
        if not self._results:
            self._first = iteration
        self._results.append(result)
        self._data_seconds += data_seconds

    def flush(self) -> Flushed | None:
        """Read everything since the last flush; None when there was no iteration."""
        if not self._results:
            self.restart()
            return None
        count = len(self._results)
        losses = torch.stack([r.losses.detach().float() for r in self._results]).cpu().numpy()
        finite = torch.stack([r.finite.detach() for r in self._results]).cpu().numpy()
        seconds = max(self._clock() - self._start, 1e-9)
        ms = 1000.0 * seconds / count
        # Exponential mean with a time constant of 3 s, whatever the speed.
        weight = 1.0 - float(np.exp(-seconds / 3.0)) if self._its else 1.0
        self._its += weight * (count / seconds - self._its)
        bad = np.flatnonzero(~(finite.astype(bool) & np.isfinite(losses).all(axis=1)))
        flushed = Flushed(
            first=self._first,
            losses=losses,
            rows=loss_rows(self._first, losses.tolist(), ms),
            ms=ms,
            its=self._its,
            data_share=min(1.0, self._data_seconds / seconds),
            non_finite=self._first + int(bad[0]) if len(bad) else None,
        )
        self._results, self._data_seconds = [], 0.0
        self.restart()
        return flushed

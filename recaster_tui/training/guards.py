"""Noticing that training has gone wrong: what the loop asks, and the guard of the loss.

A single outlier is normal; a loss that stays far above what it was is not. Medians and the
median absolute deviation (Rousseeuw & Croux 1993) make both judgements robust.
"""

import sys
from collections import deque
from dataclasses import dataclass

import numpy as np

BASELINE = 1000
RECENT = 100
MINIMUM = 400
"""Iterations with which a judgement begins: 300 that are usual, and the last 100."""
SETTLE = 600
"""Iterations after a switch that are not looked at: the loss may find another place.

With :data:`MINIMUM` this makes a thousand without a judgement, as the options say.
"""
EVERY = 25
RATIO = 2.5
DEVIATIONS = 6.0
_LEAST_LOSS = 1e-6
_MARGIN = 5


@dataclass(frozen=True)
class Trouble:
    """Why training cannot go on as it is.

    Attributes:
        why: as the ``rolled-back`` event says it: ``nan``, ``spike``, ``output`` or ``oom``.
        onset: a save of this iteration or a later one may hold the trouble.
        message: what happened, without a full stop.
        cause: an exception that is no fault of the training.
    """

    why: str
    onset: int
    message: str
    cause: Exception | None = None


class SpikeGuard:
    """Compares each loss of the last 100 iterations with that of the 1,000 before them.

    Attributes:
        on: whether it judges.
        ratio: times its usual value that a loss must be.
        deviations: standard deviations that it must be away as well.
    """

    def __init__(
        self,
        ratio: float = RATIO,
        deviations: float = DEVIATIONS,
        *,
        names: tuple[str, ...] = ("src", "dst"),
    ) -> None:
        self.on = True
        self.ratio = ratio
        self.deviations = deviations
        self._names = names
        self._values: deque[tuple[int, float, float]] = deque(maxlen=BASELINE + RECENT)
        self._left_out: set[int] = set()
        self._settling = 0
        self._since_check = 0
        self._limits: tuple[float, float] | None = None
        self._judged: int | None = None

    @property
    def suspicious(self) -> bool:
        """Whether the last loss was far above the usual: no moment for a save."""
        if not self.on or self._limits is None or not self._values:
            return False
        return any(v > limit for v, limit in zip(self._values[-1][1:], self._limits, strict=True))

    @property
    def judged(self) -> int | None:
        """Up to this iteration the losses are known to be good; None: not judged yet."""
        return self._judged if self.on else sys.maxsize

    def reset(self, *, settle: bool = False) -> None:
        """Start over; with *settle* not before the loss has found its new place."""
        self._values.clear()
        self._left_out.clear()
        self._limits = self._judged = None
        self._since_check = 0
        self._settling = SETTLE if settle else 0

    def leave_out(self, iteration: int) -> None:
        """This iteration's loss says nothing: its faces were chosen for theirs."""
        self._left_out.add(iteration)

    def add(self, rows: np.ndarray) -> Trouble | None:
        """Take ``LOSS_DTYPE`` rows, of iterations that follow those before."""
        for iteration, src, dst in zip(
            rows["iteration"].tolist(), rows["src"].tolist(), rows["dst"].tolist(), strict=True
        ):
            if self._settling > 0:
                self._settling -= 1
            elif iteration in self._left_out or not np.isfinite(src):
                self._left_out.discard(iteration)
            else:
                # One loss only (XSeg): the other column is NaN.
                self._values.append((iteration, src, dst if np.isfinite(dst) else 0.0))
        self._since_check += len(rows)
        if self._since_check < EVERY or len(self._values) < MINIMUM:
            return None
        self._since_check = 0
        return self._judge() if self.on else None

    def _judge(self) -> Trouble | None:
        table = np.array(self._values)
        iterations, limits = table[:, 0], []
        worst: Trouble | None = None
        for column, name in enumerate(self._names, start=1):
            values = table[:, column]
            base, recent = values[:-RECENT], values[-RECENT:]
            # A loss that falls is lower at the end of the baseline; one that climbs, at its start.
            usual = [_usual(base, self), _usual(base[-(MINIMUM - RECENT) :], self)]
            limit, middle = min(usual)
            limits.append(limit)
            # Both halves: a wave that is already over is no reason to roll back.
            halves = np.median(recent.reshape(2, -1), axis=1)
            if not (halves > limit).all():
                continue
            onset = int(iterations[_change(values > limit)])
            message = f"the {_TITLES.get(name, name)} loss jumped from {middle:.4g} to "
            message += f"{float(np.median(recent)):.4g} and stayed up"
            if worst is None or onset < worst.onset:
                worst = Trouble("spike", max(1, onset - _MARGIN), message)
        self._limits = (limits[0], limits[-1] if len(limits) > 1 else np.inf)
        above = (table[-EVERY:, 1 : len(limits) + 1] > limits).sum(0)
        if worst is None and above.max() <= _MARGIN:
            # A spike that these few begin has its onset a margin before them.
            self._judged = int(iterations[-1]) - 2 * _MARGIN
        return worst


def _usual(base: np.ndarray, guard: SpikeGuard) -> tuple[float, float]:
    """What a loss must exceed to be none of *base*'s kind, and their median."""
    middle = float(np.median(base))
    spread = 1.4826 * float(np.median(np.abs(base - middle)))
    return max(guard.ratio * middle, middle + guard.deviations * spread, _LEAST_LOSS), middle


def _change(above: np.ndarray) -> int:
    """Where a row of False turned into a row of True: the split that fits best."""
    before = np.concatenate(([0], np.cumsum(~above)))  # right before the split
    after = above.sum() - np.concatenate(([0], np.cumsum(above)))  # right from it on
    return min(int(np.argmax(before + after)), len(above) - 1)


_TITLES = {"src": "source", "dst": "destination", "mask": "mask"}

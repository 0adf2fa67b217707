"""How a training does, in a word and a sentence, with the figures that say so.

Losses of different models and options cannot be compared (product.md 8.4), so all that counts is
how the loss of this one moves: its logarithm, since options were changed last, and what it does
on faces that were never trained on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from recaster_tui.supervisor.measures import Measure
from recaster_tui.supervisor.trends import Slope, block_medians, theil_sen

if TYPE_CHECKING:
    from recaster_tui.supervisor.facts import Marker
    from recaster_tui.supervisor.losses import LossArray

LEAST_ROWS = 500
"""Iterations before anything is said."""
LEAST_CONVERGED = 5_000
MORE = 0.25
"""Converged means: so much more training …"""
WORTH = 0.02
"""… would at best lower the loss by less than this."""
SPIKE = math.log(1.25)
RISE = math.log(1.05)
HELD_OUT_RISE = math.log(1.03)
LEAST_MEASURES = 8

_WINDOW = (1_500, 60_000)
_SHORT = (1_000, 8_000)
_BLOCKS = 60
_SPEED_ROWS = 200
_SURE = 2.58  # 99 %: many looks at one series must not find something in noise
_SUFFIXES = (48, 32, 24, 16, 12, 8)
_SIDES = {"src": "source", "dst": "destination"}
_NO_STEP = frozenset(
    {
        "target_iterations",
        "autosave_seconds",
        "backup_hours",
        "backups_kept",
        "preview_seconds",
        "preview_samples",
        "preview_morph_factor",
        "held_out_seconds",
        "learning_rate",
        "batch_size",
    }
)
"""Options after whose change the loss goes on where it was; all others may make it step."""


class Kind(StrEnum):
    """What a training does."""

    HEALTHY = "healthy"
    CONVERGED = "converged"
    OVER_FITTING = "over-fitting"
    SPIKE = "spike"
    DIVERGING = "diverging"
    TOO_EARLY = "too-early"


@dataclass(frozen=True)
class Target:
    """Where a training shall end; 0 = not given."""

    iterations: int = 0
    loss: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """How a training does.

    Attributes:
        kind: in a word.
        text: in a sentence.
        reasons: the figures behind it, a sentence each.
        slope: change of the logarithm of the loss (source + destination) per 1,000 iterations:
            -0.01 is one percent down. NaN where it is too early.
        slope_low, slope_high: ends of its 95 % confidence interval.
        eta_seconds: to the target by iterations or by loss, whichever comes first; None where
            neither is given or in sight.
        iteration: of the newest row looked at.
    """

    kind: Kind
    text: str
    reasons: tuple[str, ...] = ()
    slope: float = float("nan")
    slope_low: float = float("nan")
    slope_high: float = float("nan")
    eta_seconds: float | None = None
    iteration: int = 0


@dataclass(frozen=True)
class _Curve:
    """Log loss since the last change that may have made a step."""

    x: Any
    y: Any
    cut: int
    cut_by: str
    seconds: float  # an iteration

    def tail(self, count: int) -> tuple[Any, Any]:
        return self.x[-count:], self.y[-count:]

    def line(self, limits: tuple[int, int], part: int) -> Slope:
        count = max(limits[0], min(limits[1], len(self.y) // part))
        x, y = self.tail(count)
        return theil_sen(*block_medians(x, y, min(_BLOCKS, len(y) // 10)))


def verdict(
    losses: "LossArray",
    measures: Sequence[Measure] = (),
    markers: Sequence["Marker"] = (),
    target: Target = Target(),
) -> Verdict:
    """Judge a training by its losses and by what was measured on held-out faces.

    Args:
        losses: rows of ``LOSS_DTYPE``, oldest first.
        measures: oldest first.
        markers: of the run; changed options cut the curve.
        target: where it shall end.
    """
    iteration = int(losses["iteration"][-1]) if len(losses) else 0
    curve, broken = _curve(losses, markers)
    if broken:
        text = "the last losses are not numbers any more"
        return Verdict(Kind.DIVERGING, text, iteration=iteration)
    count = len(curve.y)
    if count < LEAST_ROWS:
        text = f"too early to say: {count:,} of {LEAST_ROWS:,} iterations"
        if curve.cut:
            text += f" since {curve.cut_by} was changed"
        left = _eta(None, curve, iteration, target)
        return Verdict(Kind.TOO_EARLY, text, iteration=iteration, eta_seconds=left)
    line = curve.line(_WINDOW, 3)
    recent = [m for m in measures if m.iteration > max(curve.cut, m.since)]
    kind, text, reasons = _judge(curve, line, recent, iteration)
    return Verdict(
        kind,
        text,
        tuple(reasons),
        1000 * line.value,
        1000 * line.low,
        1000 * line.high,
        _eta(line, curve, iteration, target),
        iteration,
    )


def _curve(losses: "LossArray", markers: Sequence["Marker"]) -> tuple[_Curve, bool]:
    cut, cut_by = 0, ""
    for marker in markers:
        key = marker.text.partition(" = ")[0]
        steps = key not in _NO_STEP and not key.startswith("guard_")
        if marker.kind == "option" and steps and marker.iteration >= cut:
            cut, cut_by = marker.iteration, key
    # Far more than any window looks at is not read at all: a run may have a million rows.
    rows = losses[-3 * _WINDOW[1] - 1 :]
    iterations = rows["iteration"].astype(np.int64)
    start = int(np.searchsorted(iterations, cut, side="right")) if cut else 0
    rows, iterations = rows[start:], iterations[start:]
    dst = rows["dst"].astype(np.float64)
    total = rows["src"].astype(np.float64) + np.where(np.isnan(dst) & ~_any(dst), 0.0, dst)
    good = np.isfinite(total) & (total > 0)
    seconds = float(np.median(rows["ms"][-_SPEED_ROWS:])) / 1000 if len(rows) else 0.0
    broken = len(good) >= 20 and not good[-20:].any()
    if not good.all():
        total, iterations = total[good], iterations[good]
    curve = _Curve(iterations.astype(np.float64), np.log(total), cut, cut_by, seconds)
    return curve, broken


def _any(values: Any) -> bool:
    """Whether any is a number: a model of one loss has NaN for the other everywhere."""
    return bool(np.isfinite(values).any())


def _judge(
    curve: _Curve, line: Slope, measures: Sequence[Measure], iteration: int
) -> tuple[Kind, str, list[str]]:
    if spike := _spike(curve):
        return Kind.SPIKE, *spike
    if rising := _rising(curve, line):
        return Kind.DIVERGING, *rising
    if fitted := _over_fitting(measures):
        return Kind.OVER_FITTING, *fitted
    fall = f"the loss falls {_rate(line.value)}"
    sure = _between(line)
    best = 1 - math.exp(max(line.low, -1.0) * MORE * iteration) if line.low < 0 else 0.0
    if len(curve.y) >= LEAST_CONVERGED and best < WORTH:
        better = _still_better(measures)
        if better:
            return Kind.HEALTHY, f"the loss is flat, but {better}", [f"loss: {sure}"]
        text = f"{_percent(MORE)} more training would gain less than {_percent(WORTH)}"
        return Kind.CONVERGED, text, [
            f"loss: {sure}",
            f"at best {_percent(best)} lower after {MORE * iteration:,.0f} more iterations",
        ]  # fmt: skip
    if line.high < 0:
        return Kind.HEALTHY, fall, [f"loss: {sure}", *_worth(line, curve)]
    if line.value < 0:
        text = f"{fall}, not surely yet"
        return Kind.HEALTHY, text, [f"loss: {sure}"]
    return Kind.HEALTHY, "the loss neither falls nor rises surely", [f"loss: {sure}"]


def _spike(curve: _Curve) -> tuple[str, list[str]] | None:
    """A sudden rise that has not gone back: of late, or within the window."""
    count = len(curve.y)
    recent = max(30, min(200, count // 200))
    before = min(10 * recent, count - recent)
    reference = curve.y[-recent - before : -recent]
    level, now = float(np.median(reference)), float(np.median(curve.y[-recent:]))
    noise = 1.4826 * float(np.median(np.abs(reference - level)))
    third = max(1, before // 3)
    drift = float(np.median(reference[-third:]) - np.median(reference[:third]))
    step = now - level
    if step > max(SPIKE, 1.5 * noise) and drift < step / 3:
        x, y = block_medians(*curve.tail(recent + before), (recent + before) // 10)
        low = np.flatnonzero(y < level + step / 2)
        at = int(x[min(low[-1] + 1, len(x) - 1)]) if len(low) else int(x[0])
        return _jump(at, step, level, now)
    x, y = block_medians(*curve.tail(max(_WINDOW[0], min(_WINDOW[1], count // 3))), _BLOCKS)
    if len(y) < 12:
        return None
    groups = np.lib.stride_tricks.sliding_window_view(y, 3)
    medians = np.median(groups, axis=1)
    jumps = medians[3:] - medians[:-3]
    place = int(np.argmax(jumps))
    usual = 1.4826 * float(np.median(np.abs(jumps - np.median(jumps))))
    jump, level = float(jumps[place]), float(medians[place])
    now = min(now, float(medians[-1]))  # it may have gone back within the last block
    earlier = float(medians[max(0, place - 6)])
    if jump > max(SPIKE, 6 * usual) and now - level > jump / 2 and level - earlier < jump / 3:
        return _jump(int(x[place + 3]), now - level, level, now)
    return None


def _jump(at: int, step: float, level: float, now: float) -> tuple[str, list[str]]:
    text = f"the loss jumped {_percent(math.expm1(step))} near iteration {at:,} and stays up"
    figures = f"loss (all sides): {math.exp(level):.4f} before, {math.exp(now):.4f} now"
    return text, [figures, "a small spike mends itself; a lasting one: go back to a backup"]


def _rising(curve: _Curve, line: Slope) -> tuple[str, list[str]] | None:
    short = curve.line(_SHORT, 12)
    for found, least in ((line, RISE), (short, 2 * RISE)):
        if found.low > 0 and found.change > max(least, 2 * found.noise):
            text = f"the loss rises {_rate(found.value)}"
            more = _percent(math.expm1(found.change))
            return text, [
                f"{more} up over the last {found.span:,.0f} iterations",
                "lower the learning rate, or go back to a backup and clean the faces",
            ]
    return None


def _over_fitting(measures: Sequence[Measure]) -> tuple[str, list[str]] | None:
    """Held-out faces surely get worse while trained ones do not."""
    for side, title in _SIDES.items():
        pairs = [(m.iteration, m.losses[side]) for m in measures if side in m.losses]
        pairs = [(i, p) for i, p in pairs if p.held_out > 0 and p.trained > 0]
        for length in _SUFFIXES:
            some = pairs[-length:]
            if len(some) < max(LEAST_MEASURES, min(length, len(pairs))):
                continue
            x = [i for i, _ in some]
            held = theil_sen(x, np.log([p.held_out for _, p in some]), z=_SURE)
            trained = theil_sen(x, np.log([p.trained for _, p in some]))
            sure = held.low > 0 and held.change > max(HELD_OUT_RISE, 2 * held.noise)
            if sure and trained.change < held.change / 3:
                worse = math.expm1(held.change)
                text = (
                    f"held-out {title} faces got {_percent(worse)} worse since iteration {x[0]:,}"
                )
                low, high = (math.expm1(min(50.0, s * held.span)) for s in (held.low, held.high))
                return text, [
                    f"surely between {_percent(low)} and {_percent(high)} (99 %), "
                    f"over {len(some)} measurements",
                    f"trained {title} faces meanwhile: {100 * math.expm1(trained.change):+.1f} %",
                    "go back to a snapshot of about then, add faces, or end here",
                ]
    return None


def _still_better(measures: Sequence[Measure]) -> str:
    """What on held-out faces surely improves still; empty when nothing does."""
    some = measures[-max(LEAST_MEASURES, len(measures) // 3) :]
    if len(some) < LEAST_MEASURES:
        return ""
    x = np.array([m.iteration for m in some])
    for side, title in _SIDES.items():
        held = np.array([m.losses[side].held_out if side in m.losses else np.nan for m in some])
        good = held > 0
        line = theil_sen(x[good], np.log(held[good]), z=_SURE)
        if line.high < 0 and -line.change > max(WORTH, 2 * line.noise):
            return f"held-out {title} faces got {_percent(-math.expm1(line.change))} better of late"
    sharp = np.array([m.sharpness for m in some])
    good = sharp > 0
    line = theil_sen(x[good], np.log(sharp[good]), z=_SURE)
    if line.low > 0 and line.change > max(WORTH, 2 * line.noise):
        return f"the swap got {_percent(math.expm1(line.change))} sharper of late"
    return ""


def _worth(line: Slope, curve: _Curve) -> list[str]:
    """How long a tenth less takes, while it goes on like this."""
    if not curve.seconds:
        return []
    times = [math.log(0.9) / s * curve.seconds if s < 0 else math.inf for s in
             (line.value, line.low, line.high)]  # fmt: skip
    return [
        f"a tenth less loss in about {_time(times[0])} at this rate "
        f"({_time(times[1])} to {_time(times[2])})"
    ]


def held_out_words(measures: Sequence[Measure]) -> list[str]:
    """The newest figures on held-out faces, a line for each side."""
    if not measures:
        return []
    newest = measures[-1]
    found = []
    for side, pair in newest.losses.items():
        if pair.held_out == pair.held_out:
            text = f"{_SIDES[side]}: held-out {pair.held_out:.4f}, trained {pair.trained:.4f}"
            found.append(text + (f" (gap {100 * pair.gap:+.0f} %)" if pair.gap == pair.gap else ""))
    return found


def _eta(line: Slope | None, curve: _Curve, iteration: int, target: Target) -> float | None:
    waits: list[float] = []
    if target.iterations and curve.seconds:
        waits.append(max(0, target.iterations - iteration) * curve.seconds)
    if target.loss > 0 and line is not None and curve.seconds and len(curve.y):
        now = float(np.median(curve.y[-_SPEED_ROWS:]))
        missing = math.log(target.loss) - now
        if missing >= 0:
            waits.append(0.0)
        elif line.high < 0:
            waits.append(missing / line.value * curve.seconds)
    return min(waits) if waits else None


def _rate(slope: float) -> str:
    """``1.2 % per 1,000 iterations``; of more iterations where it is very little."""
    unit = _unit(slope)
    return f"{abs(_by(slope, unit)):.2g} % per {unit:,} iterations"


def _between(line: Slope) -> str:
    unit = _unit(line.value)
    low, high = (_by(slope, unit) for slope in (line.low, line.high))
    return f"{low:+.2g} to {high:+.2g} % per {unit:,} iterations (95 %)"


def _unit(slope: float) -> int:
    return next((u for u in (1_000, 10_000) if abs(_by(slope, u)) >= 0.1), 100_000)


def _by(slope: float, iterations: int) -> float:
    """Percent in so many iterations."""
    return 100 * math.expm1(max(-50.0, min(50.0, slope * iterations)))


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.1f} %" if percent < 2 and percent % 1 > 0.04 else f"{percent:.0f} %"


def _time(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "never"
    for unit, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} s"

"""From any number of loss rows to the few hundred points a terminal can show (pure numpy).

Stability is the point: bucket widths are powers of two aligned to iteration 0 and axes end on
coarse steps, so that one more iteration changes the last column of the picture and nothing else
(spec/terminal.md section 4: 28 times fewer bytes than buckets resized at each frame).
"""

import math
from dataclasses import dataclass

import numpy as np

from recaster_tui.protocol import LOSS_DTYPE


@dataclass(frozen=True)
class Buckets:
    """One series, decimated.

    Attributes:
        x: (n,) float64, middle iteration of each bucket, strictly increasing.
        low, high, mean: (n,) float64 over the finite values of the bucket; NaN where none is.
        width: iterations in a bucket, a power of two.
    """

    x: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    width: int


def bucket_width(span: float, most: int) -> int:
    """Smallest power of two that covers *span* iterations with at most *most* buckets."""
    if most < 1:
        raise ValueError("at least one bucket is needed")
    width = 1
    while span > width * most:
        width *= 2
    return width


def as_history(rows: np.ndarray) -> np.ndarray:
    """Loss rows in iteration order, each iteration once: after a rollback the newer row counts."""
    iterations = rows["iteration"]
    # Each iteration once, none left out: so it nearly always is, and half a million rows are
    # not looked at every second.
    if len(rows) < 2 or int(iterations[-1]) - int(iterations[0]) + 1 == len(rows):
        return rows
    if bool(np.all(iterations[1:] > iterations[:-1])):
        return rows
    # np.unique keeps the first of equals, so look from the end.
    _, last = np.unique(iterations[::-1], return_index=True)
    kept = len(rows) - 1 - last
    # Rows after a rollback that the second try has not reached yet belong to the lost branch.
    newest = int(iterations[-1])
    result: np.ndarray = rows[kept]
    return result[result["iteration"] <= newest]


def decimate(iterations: np.ndarray, values: np.ndarray, width: int) -> Buckets:
    """Min, max and mean of *values* in buckets of *width* iterations aligned to 0.

    *iterations* must increase. Values that are not finite are left out; a bucket of nothing
    else is NaN. O(len(values)).
    """
    if len(iterations) == 0:
        empty = np.empty(0)
        return Buckets(empty, empty, empty, empty, width)
    ids = iterations.astype(np.int64) // width
    starts = np.concatenate(([0], np.flatnonzero(np.diff(ids)) + 1))
    finite = np.isfinite(values)
    v = values.astype(np.float64)
    count = np.add.reduceat(finite.astype(np.float64), starts)
    low = np.minimum.reduceat(np.where(finite, v, np.inf), starts)
    high = np.maximum.reduceat(np.where(finite, v, -np.inf), starts)
    total = np.add.reduceat(np.where(finite, v, 0.0), starts)
    none = count == 0
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(none, np.nan, total / count)
    low[none] = np.nan
    high[none] = np.nan
    # A mean of equal numbers may leave [low, high] by rounding.
    mean = np.clip(mean, low, high)
    return Buckets(ids[starts] * float(width) + (width - 1) / 2, low, high, mean, width)


class Decimator:
    """:func:`decimate` for a curve that grows: whole buckets are kept, only new rows are read.

    Rows are taken as unchanged while they lie in the same memory: the supervisor writes behind
    what it gave out, never into it, and takes new memory when a history is rewritten.
    """

    def __init__(self) -> None:
        self._width = 0
        self._rows = 0  # rows that the kept buckets cover
        self._place: tuple[int, int] = (0, 0)
        self._memory: object = None  # held, so that its place cannot be given to another array
        self._kept: Buckets | None = None

    def update(self, rows: np.ndarray, key: str, width: int) -> Buckets:
        """Buckets of ``rows[key]``, the same as :func:`decimate` would make."""
        place = (id(rows.base), int(rows.__array_interface__["data"][0]))
        known = rows.base is not None and place == self._place and width == self._width
        if not known or len(rows) < self._rows:
            self._rows, self._kept = 0, None
        self._width, self._place, self._memory = width, place, rows.base
        new = decimate(rows["iteration"][self._rows :], rows[key][self._rows :], width)
        result = new if self._kept is None else _joined(self._kept, new)
        if not len(rows):
            return result
        # The last bucket is not whole yet.
        last = int(rows["iteration"][-1]) // width * width
        whole = int(np.searchsorted(rows["iteration"], last, side="left"))
        if whole > self._rows:
            count = len(result.x) - 1
            self._rows = whole
            self._kept = Buckets(
                result.x[:count],
                result.low[:count],
                result.high[:count],
                result.mean[:count],
                width,
            )
        return result


def _joined(a: Buckets, b: Buckets) -> Buckets:
    return Buckets(
        np.concatenate((a.x, b.x)),
        np.concatenate((a.low, b.low)),
        np.concatenate((a.high, b.high)),
        np.concatenate((a.mean, b.mean)),
        b.width,
    )


def window(rows: np.ndarray, last: int) -> np.ndarray:
    """The rows of the last *last* iterations (0 = all)."""
    if last <= 0 or len(rows) == 0:
        return rows
    first = int(rows["iteration"][-1]) - last
    return rows[int(np.searchsorted(rows["iteration"], max(first, 0), side="right")) :]


def x_axis(first: int, newest: int, last: int) -> tuple[float, float]:
    """Ends of the x axis that rarely move: in eighths of a power of two, or of the window.

    *last* is the window length (0 = all, which begins at *first*).
    """
    if last > 0 and newest - first > last * 15 // 16:
        step = max(last // 16, 1)
        end = -(-newest // step) * step
        return float(max(end - last, 0)), float(end)
    span = max(newest - first, 16)
    step = max(2 ** (math.floor(math.log2(span)) - 3), 1)
    return float(first), float(first + -(-span // step) * step)


def nice_step(span: float, most: int) -> float:
    """Smallest of 1, 2, 2.5, 5 × 10^n that divides *span* into at most *most* parts."""
    if span <= 0 or not math.isfinite(span):
        return 1.0
    raw = span / max(most, 1)
    base = 10.0 ** math.floor(math.log10(raw))
    for factor in (1.0, 2.0, 2.5, 5.0, 10.0):
        if factor * base >= raw * (1 - 1e-9):
            return factor * base
    return 10.0 * base


def y_axis(low: float, high: float, parts: int = 5) -> tuple[float, float, list[float]]:
    """Snapped ends and ticks around ``low..high``; the axis starts at 0 where that costs little."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0, [0.0, 0.5, 1.0]
    if low >= 0 and low < 0.15 * high:
        low = 0.0
    if high <= low:
        pad = abs(low) * 0.1 or 0.5
        low, high = low - pad, high + pad
    step = nice_step(high - low, parts)
    bottom = math.floor(low / step + 1e-9) * step
    top = math.ceil(high / step - 1e-9) * step
    count = round((top - bottom) / step)
    return bottom, top, [bottom + i * step for i in range(count + 1)]


def log_axis(low: float, high: float) -> tuple[float, float, list[float]]:
    """Ends and ticks (values, not logarithms) on 1-2-5 steps around positive ``low..high``."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= 0:
        return 0.1, 1.0, [0.1, 1.0]
    low = low if low > 0 else high / 1000
    grid = [m * 10.0**e for e in range(-12, 13) for m in (1, 2, 5)]
    bottom = max((g for g in grid if g <= low * (1 + 1e-9)), default=grid[0])
    top = min((g for g in grid if g >= high * (1 - 1e-9)), default=grid[-1])
    if top <= bottom:
        top = min((g for g in grid if g > bottom), default=bottom * 10)
    ticks = [g for g in grid if bottom <= g <= top]
    while len(ticks) > 7:
        ticks = ticks[::2]
    return bottom, top, ticks


def value_range(buckets: list[Buckets]) -> tuple[float, float]:
    """Lowest and highest worth showing: the beginning and spikes far above are clipped."""
    highs = [b.high[np.isfinite(b.high)] for b in buckets]
    lows = [b.low[np.isfinite(b.low)] for b in buckets]
    high = np.concatenate(highs) if highs else np.empty(0)
    low = np.concatenate(lows) if lows else np.empty(0)
    if not len(high):
        return math.nan, math.nan
    top = float(high.max())
    # As DeepFaceLab's graph: twice the mean of the last 80 % (spec/product.md 8.4). The steep
    # beginning would else press all that matters into two rows.
    means = [b.mean[len(b.mean) // 5 :] for b in buckets]
    levels = [float(np.nanmean(m)) for m in means if np.isfinite(m).any()]
    if levels and max(levels) > 0:
        top = min(top, 2 * max(levels))
    return float(low.min()), top


def smooth(values: np.ndarray, weight: float) -> np.ndarray:
    """Exponential moving average without the bias of its start; NaN gaps are bridged.

    The debiased form of Adam (Kingma & Ba 2015, section 3): average / (1 - weight^n).
    """
    out = np.full(len(values), np.nan)
    average, norm = 0.0, 0.0
    for i, value in enumerate(values.tolist()):
        if value == value:
            average = weight * average + (1 - weight) * value
            norm = weight * norm + (1 - weight)
        out[i] = average / norm if norm else math.nan
    return out


def trend(values: np.ndarray) -> int:
    """-1 falling, 1 rising, 0 flat or unknown: older against newer half of the last values.

    A change counts when it is larger than 1 % of the level and than the standard error.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    half = len(finite) // 2
    if half < 4:
        return 0
    old, new = finite[:half], finite[half:]
    change = float(new.mean() - old.mean())
    error = float(finite.std()) / math.sqrt(half)
    if abs(change) <= max(abs(float(old.mean())) * 0.01, 1.5 * error):
        return 0
    return 1 if change > 0 else -1


def empty_history() -> np.ndarray:
    """No rows."""
    return np.empty(0, LOSS_DTYPE)

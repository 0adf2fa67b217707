"""Robust straight lines through noisy series, with how sure one can be of their slope."""

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any


@dataclass(frozen=True)
class Slope:
    """Change of y for each step of x: the estimate and the ends of its confidence interval.

    Attributes:
        noise: robust standard deviation of y around the line.
        span: of x, from the first value to the last.
    """

    value: float
    low: float
    high: float
    noise: float
    span: float

    @property
    def change(self) -> float:
        """Of y along the line, over the whole span."""
        return self.value * self.span


NO_SLOPE = Slope(float("nan"), float("-inf"), float("inf"), float("nan"), 0.0)


def theil_sen(x: Array, y: Array, *, z: float = 1.96) -> Slope:
    """Theil-Sen line: the median of the slopes of all pairs of points.

    The interval is Sen's, from the variance of Kendall's S, widened for autocorrelated residuals
    by (1 + r1) / (1 - r1).

    Sources: Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 63 (1968);
    Yue & Wang, "The Mann-Kendall test modified by effective sample size", Water Resources
    Management 18 (2004).

    Args:
        x: (n,) ascending; n of a few dozen, since all pairs are formed.
        y: (n,) finite.
        z: standard normal quantile of the interval's ends.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    n = len(x)
    if n < 4 or x[-1] <= x[0]:
        return NO_SLOPE
    first, second = np.triu_indices(n, 1)
    run = x[second] - x[first]
    apart = run > 0
    slopes = np.sort((y[second] - y[first])[apart] / run[apart])
    value = float(np.median(slopes))
    rest = y - value * x
    rest = rest - np.median(rest)
    variance = n * (n - 1) * (2 * n + 5) / 18 * _inflation(rest)
    half = z * variance**0.5 / 2
    count = len(slopes)
    low, high = int(count / 2 - half), int(np.ceil(count / 2 + half))
    return Slope(
        value,
        float(slopes[low]) if low >= 0 else float("-inf"),
        float(slopes[high]) if high < count else float("inf"),
        1.4826 * float(np.median(np.abs(rest))),
        float(x[-1] - x[0]),
    )


def _inflation(rest: Array) -> float:
    power = float(rest @ rest)
    if power <= 0:
        return 1.0
    r1 = min(0.95, max(0.0, float(rest[1:] @ rest[:-1]) / power))
    return (1 + r1) / (1 - r1)


def block_medians(x: Array, y: Array, blocks: int) -> tuple[Array, Array]:
    """Middle x and median y of at most *blocks* equally long parts; the newest rows are in."""
    length = max(1, len(y) // max(1, blocks))
    count = len(y) // length
    x, y = x[len(x) - count * length :], y[len(y) - count * length :]
    return (
        x.reshape(count, length).mean(1, dtype=np.float64),
        np.median(y.reshape(count, length), axis=1),
    )

"""Curves in a few cells: block elements, logarithmic, for tables and comparisons."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recaster_tui.supervisor import LossArray

_BLOCKS = " ▁▂▃▄▅▆▇█"


def points(
    rows: "LossArray", width: int, name: str, first: int = 0, last: int = 0
) -> "NDArray[np.float64]":
    """Mean of a loss in each of *width* equal stretches of iterations.

    Args:
        rows: ``LOSS_DTYPE``.
        width: how many stretches.
        name: ``src``, ``dst``, or ``both`` for their mean (of the one there is).
        first: iteration where the first stretch begins; 0 = that of the first row.
        last: where the last one ends; 0 = that of the last row.

    Returns:
        (width,) float64, NaN where there is no finite loss.
    """
    import numpy as np

    out = np.full(width, np.nan)
    if not len(rows):
        return out
    iterations = rows["iteration"].astype(np.float64)
    if name == "both":
        src, dst = rows["src"].astype(np.float64), rows["dst"].astype(np.float64)
        values = np.where(np.isfinite(dst), (src + dst) / 2, src)
    else:
        values = rows[name].astype(np.float64)
    start = float(first or iterations[0])
    end = float(last or iterations[-1])
    place = ((iterations - start) * (width / max(1.0, end - start + 1))).astype(np.int64)
    good = np.isfinite(values) & (values > 0) & (place >= 0) & (place < width)
    count = np.bincount(place[good], minlength=width)
    total = np.bincount(place[good], weights=values[good], minlength=width)
    seen = count > 0
    out[seen] = total[seen] / count[seen]
    if seen.any() and len(rows) < 4 * width:
        # Few rows in many cells: the gaps between them are no missing losses.
        inside = np.arange(np.flatnonzero(seen)[0], np.flatnonzero(seen)[-1] + 1)
        out[inside] = np.interp(inside, np.flatnonzero(seen), out[seen])
    return out


def thinned(rows: "LossArray", limit: int = 4_000) -> "LossArray":
    """At most *limit* rows with the means of equal stretches, for curves of few cells.

    ``iteration`` is that of a stretch's last row; the very first row stays as it is.
    """
    import numpy as np

    if len(rows) <= limit:
        return rows.copy()
    starts = np.linspace(1, len(rows), limit, endpoint=False).astype(np.int64)
    ends = np.append(starts[1:], len(rows))
    out = np.empty(limit + 1, rows.dtype)
    out[0] = rows[0]
    out["iteration"][1:] = rows["iteration"][ends - 1]
    for name in ("src", "dst", "ms"):
        values = rows[name].astype(np.float64)
        good = np.isfinite(values)
        total = np.add.reduceat(np.where(good, values, 0.0), starts)
        count = np.add.reduceat(good, starts, dtype=np.int64)
        out[name][1:] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return out


def span(*curves: "NDArray[np.float64]") -> tuple[float, float]:
    """Lowest and highest finite value of several curves; (NaN, NaN) without any."""
    import numpy as np

    finite = np.concatenate([c[np.isfinite(c)] for c in curves]) if curves else np.empty(0)
    return (float(finite.min()), float(finite.max())) if len(finite) else (np.nan, np.nan)


def draw(
    curve: "NDArray[np.float64]", height: int = 1, limits: tuple[float, float] | None = None
) -> list[str]:
    """Bars from bottom to top, *height* lines of as many cells as the curve has points.

    The axis is logarithmic: a loss that halves again late in training still shows.
    """
    import numpy as np

    low, high = limits or span(curve)
    blank = " " * len(curve)
    if not (low > 0 and high > 0):
        return [blank] * height
    steps = 8 * height
    reach = np.log(high / low) if high > low * 1.0001 else 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.log(curve / low) / reach if high > low * 1.0001 else np.full(len(curve), 0.5)
    share[~np.isfinite(curve)] = np.nan
    level = np.where(np.isfinite(share), np.clip(np.round(share * (steps - 1)) + 1, 1, steps), 0)
    lines = []
    for row in range(height - 1, -1, -1):
        part = np.clip(level - 8 * row, 0, 8).astype(int)
        lines.append("".join(_BLOCKS[p] for p in part))
    return lines

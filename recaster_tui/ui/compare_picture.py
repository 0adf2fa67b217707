"""Two runs' curves in one chart."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from recaster_tui.ui import decimate, sparkline, words
from recaster_tui.ui.plot import Axis, Line, Picture, Rgb, draw

if TYPE_CHECKING:
    from recaster_tui.supervisor import LossArray

_LABELS = 6


def draw_curves(
    runs: "Sequence[LossArray]",
    colours: Sequence[Rgb],
    key: str,
    width: int,
    height: int,
    *,
    log: bool = True,
) -> Picture | None:
    """Means of one loss over the iterations of all *runs*.

    Args:
        runs: ``LOSS_DTYPE`` rows of each, oldest first; may be empty.
        colours: of each curve.
        key: ``src`` or ``dst``.
        width, height: of the picture in cells.
        log: logarithmic loss axis.

    Returns:
        The picture; None where no run has such a loss, or there is no room.
    """
    reach = [(int(r["iteration"][0]), int(r["iteration"][-1])) for r in runs if len(r)]
    if not reach or width < 20 or height < 4:
        return None
    first, last = min(a for a, _ in reach), max(b for _, b in reach)
    pixels = 2 * (width - _LABELS - 1)
    at = first + (np.arange(pixels) + 0.5) * (last - first + 1) / pixels
    curves = []
    for rows, colour in zip(runs, colours, strict=True):
        y = sparkline.points(rows, pixels, key, first, last)
        good = np.isfinite(y) & (y > 0)
        if good.any():
            curves.append((at[good], y[good], colour))
    if not curves:
        return None
    values = np.concatenate([y for _, y, _ in curves])
    bottom, top = float(values.min()), float(values.max())
    if log:
        bottom, top, ticks = decimate.log_axis(bottom, top)
        y_axis = Axis(
            float(np.log10(bottom)),
            float(np.log10(top)),
            np.log10(ticks).tolist(),
            [_label(t) for t in ticks],
        )
        lines = [Line(x, np.log10(y), colour) for x, y, colour in curves]
    else:
        bottom, top, ticks = decimate.y_axis(bottom, top, max(2, min(6, height // 2)))
        y_axis = Axis(bottom, top, ticks, [_label(t) for t in ticks])
        lines = [Line(x, y, colour) for x, y, colour in curves]
    low, high = float(max(first - 1, 0)), float(max(last, first + 1))
    step = max(decimate.nice_step(high - low, max(2, width // 14)), 1.0)
    marks = [step * i for i in range(int(-(-low // step)), int(high // step) + 1)]
    x_axis = Axis(low, high, marks, [words.short_count(t) for t in marks])
    return draw(width, height, lines, x_axis, y_axis)


def _label(value: float) -> str:
    text = f"{value:.3g}"
    return (text if len(text) <= _LABELS else f"{value:.0e}").rjust(_LABELS)

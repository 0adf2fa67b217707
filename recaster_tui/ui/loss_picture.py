"""From loss rows to plotext's picture: windows, buckets, bands, axes. Knows no widget."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from recaster_tui.ui import decimate, words
from recaster_tui.ui.plot import Axis, Line, Picture, Rgb, draw

LABELS = 6
"""Columns kept for the labels of the y axis: one width, so that nothing jumps."""


@dataclass(frozen=True)
class View:
    """How to look at the curves.

    Attributes:
        width, height: of the picture in cells.
        last: iterations shown, 0 = all.
        log: logarithmic loss axis.
        smoothing: weight of the moving average, 0 = bucket means and no band.
        marker: plotext's name of the dots.
    """

    width: int
    height: int
    last: int = 0
    log: bool = False
    smoothing: float = 0.6
    marker: str = "braille"


@dataclass(frozen=True)
class Drawing:
    """The picture, the ends of its axes and the buckets behind it by loss name.

    ``heights`` are logarithms to base 10 where the axis is logarithmic.
    """

    picture: Picture
    axis: tuple[float, float]
    heights: tuple[float, float]
    series: Mapping[str, decimate.Buckets]


class LossPlotter:
    """Draws a growing history; asks plotext only when a dot moves."""

    def __init__(self) -> None:
        self._decimators: dict[str, decimate.Decimator] = {}
        self._source: tuple[object, ...] = ()
        self._picture: Picture | None = None

    def draw(self, rows: np.ndarray, view: View, colours: Mapping[str, tuple[Rgb, Rgb]]) -> Drawing:
        """Draw loss rows (``LOSS_DTYPE``, at least one).

        *colours* names the losses to draw, in order, each with the colour of its curve and of
        the band between the smallest and largest loss behind it.
        """
        rows = decimate.window(decimate.as_history(rows), view.last)
        first, newest = int(rows["iteration"][0]), int(rows["iteration"][-1])
        low, high = decimate.x_axis(max(first - 1, 0), newest, view.last)
        pixels = 2 * (view.width - LABELS - 1)
        bucket = decimate.bucket_width(high - low, pixels)
        series: dict[str, decimate.Buckets] = {}
        bands: list[Line] = []
        curves: list[Line] = []
        for key, (bright, dark) in colours.items():
            decimator = self._decimators.setdefault(key, decimate.Decimator())
            series[key] = found = decimator.update(rows, key, bucket)
            good = np.isfinite(found.mean)
            if not good.any():
                continue
            y = found.mean
            if view.smoothing:
                bands.append(_band(found, np.linspace(low, high, pixels), dark))
                y = decimate.smooth(y, view.smoothing)
            curves.append(Line(found.x[good], y[good], bright))
        bottom, top = decimate.value_range([s for s in series.values() if len(s.x)])
        lines = [_without_steep_start(line, top) for line in bands + curves]
        y_axis, lines = _y_axis(lines, bottom, top, view)
        ticks = _x_ticks(low, high, view.width)
        x_axis = Axis(low, high, ticks, [words.short_count(t) for t in ticks])
        dots = [_dots(line, x_axis, y_axis, pixels, 4 * view.height) for line in lines]
        source = (view, x_axis, y_axis, *(line.colour for line in lines), *dots)
        if self._picture is None or source != self._source:
            self._source = source
            self._picture = draw(view.width, view.height, lines, x_axis, y_axis, marker=view.marker)
        return Drawing(self._picture, (low, high), (y_axis.low, y_axis.high), series)


def _band(found: decimate.Buckets, edges: np.ndarray, colour: Rgb) -> Line:
    """One bar for each column of dots, so that the band has no holes."""
    if found.width == 1:  # each bucket is one iteration: behind the average lies the plain curve
        known = np.isfinite(found.mean)
        return Line(found.x[known], found.mean[known], colour, band=True)
    half = found.width / 2
    edges = edges[(edges >= found.x[0] - half) & (edges <= found.x[-1] + half)]
    at = np.clip(np.searchsorted(found.x, edges - half), 0, len(found.x) - 1)
    good = np.isfinite(found.mean[at])
    at, edges = at[good], edges[good]
    ends = np.empty((len(at), 2))
    # Up one column, down the next: the connecting lines then stay inside the band.
    ends[0::2, 0], ends[0::2, 1] = found.low[at][0::2], found.high[at][0::2]
    ends[1::2, 0], ends[1::2, 1] = found.high[at][1::2], found.low[at][1::2]
    return Line(np.repeat(edges, 2), ends.ravel(), colour, band=True)


def _y_axis(lines: list[Line], bottom: float, top: float, view: View) -> tuple[Axis, list[Line]]:
    """The loss axis, and the lines in its coordinates."""
    if not view.log:
        bottom, top, ticks = decimate.y_axis(bottom, top, max(2, min(6, view.height // 2)))
        return Axis(bottom, top, ticks, [_label(t) for t in ticks]), lines
    bottom, top, ticks = decimate.log_axis(bottom, top)
    axis = Axis(
        float(np.log10(bottom)),
        float(np.log10(top)),
        np.log10(ticks).tolist(),
        [_label(t) for t in ticks],
    )
    return axis, [replace(line, y=np.log10(np.maximum(line.y, bottom))) for line in lines]


def _dots(line: Line, x: Axis, y: Axis, width: int, height: int) -> bytes:
    """The line in dots, as a key: equal keys make equal pictures."""
    across = np.rint((line.x - x.low) / (x.high - x.low) * width)
    up = np.rint((np.clip(line.y, y.low, y.high) - y.low) / (y.high - y.low) * height)
    key: bytes = np.concatenate((across, up)).astype(np.int16).tobytes()
    return key


def _without_steep_start(line: Line, top: float) -> Line:
    """Leave out what lies above *top* at the beginning; later spikes stay, at the edge."""
    inside = (line.y <= top).nonzero()[0]
    start = int(inside[0]) if len(inside) else len(line.y)
    return replace(line, x=line.x[start:], y=line.y[start:]) if start else line


def _label(value: float) -> str:
    text = f"{value:.3g}"
    return (text if len(text) <= LABELS else f"{value:.0e}").rjust(LABELS)


def _x_ticks(low: float, high: float, width: int) -> list[float]:
    step = max(decimate.nice_step(high - low, max(2, width // 14)), 1.0)
    first = -(-low // step) * step
    ticks = []
    while first <= high + step * 1e-6:
        ticks.append(first)
        first += step
    return ticks

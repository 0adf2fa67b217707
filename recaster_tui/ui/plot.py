"""plotext pictures as rows of coloured runs, ready to be compared with the rows before.

``PlotextPlot`` of textual-plotext turns the picture into ANSI text, parses it back and repaints
the whole widget each time. Here the matrix that plotext built is read directly, so that the
caller can tell which rows changed (spec/terminal.md, decision 2). plotext is pinned below 6 by
textual-plotext; ``tests/ui/test_plot.py`` fails if its inside changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Rgb = tuple[int, int, int]
Row = tuple[tuple[str, Rgb | None], ...]
"""A line of the picture: texts with their colour, None for the axes'."""


@dataclass(frozen=True)
class Line:
    """One polyline in data coordinates; no NaN inside. A band stays behind what is no band."""

    x: np.ndarray
    y: np.ndarray
    colour: Rgb
    band: bool = False


@dataclass(frozen=True)
class Axis:
    """Ends of an axis and its labelled ticks, in the coordinates of the lines."""

    low: float
    high: float
    ticks: Sequence[float] = field(default_factory=tuple)
    labels: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class Picture:
    """Rows from top to bottom, and where data lies: columns ``left..right`` (exclusive)."""

    rows: tuple[Row, ...]
    left: int
    right: int
    top: int
    bottom: int


def draw(
    width: int, height: int, lines: Sequence[Line], x: Axis, y: Axis, *, marker: str = "braille"
) -> Picture:
    """Draw *lines* on a *width* × *height* cell canvas with plotext.

    Values beyond the ends of the y axis are drawn at its edge.
    """
    from textual_plotext.plot import Plot

    plot: Any = Plot()
    _share_cells(plot.monitor.matrix, frozenset(line.colour for line in lines if line.band))
    plot.plotsize(width, height)
    plot._set_size(width, height)  # plotsize alone does not resize, see textual-plotext issue 5
    plot.theme("clear")
    # Frame on two sides only, as btop and LEET have it: the other two say nothing.
    plot.xaxes(True, False)
    plot.yaxes(True, False)
    plot.xlim(x.low, x.high)
    plot.ylim(y.low, y.high)
    plot.xticks(list(x.ticks), list(x.labels))
    plot.yticks(list(y.ticks), list(y.labels))
    drawn = False
    for line in lines:
        if len(line.x):
            values = np.clip(line.y, y.low, y.high)
            plot.plot(line.x.tolist(), values.tolist(), marker=marker, color=line.colour)
            drawn = True
    if not drawn:
        plot.plot([x.low], [y.low], marker=" ")
    plot._set_sizes()
    plot._build_matrix()
    return _picture(plot.monitor.matrix)


def _share_cells(matrix: Any, bands: frozenset[Rgb]) -> None:
    """Let curves that meet in a cell both be seen.

    plotext keeps the last one's dots only, so that of two close curves one vanishes. Here their
    dots are joined, and the colour changes from column to column. A curve still wins over a band.
    """
    insert = matrix.insert_element

    def joined(
        col: int,
        row: int,
        marker: str,
        fullground: Any = None,
        style: Any = None,
        background: Any = None,
        check_canvas: bool = False,
    ) -> None:
        if isinstance(fullground, tuple) and matrix.legal(col, row):
            old, colour = matrix.marker[row][col], matrix.fullground[row][col]
            if (
                "\u2800" < old <= "\u28ff"
                and "\u2800" < marker <= "\u28ff"
                and colour != fullground
                and (colour in bands) == (fullground in bands)
            ):
                marker = chr(ord(old) | ord(marker))
                if col % 2:
                    fullground = colour
        insert(col, row, marker, fullground, style, background, check_canvas)

    matrix.insert_element = joined


def _picture(matrix: Any) -> Picture:
    rows: list[Row] = []
    # plotext counts rows from the bottom.
    for markers, colours in zip(reversed(matrix.marker), reversed(matrix.fullground), strict=True):
        runs: list[tuple[str, Rgb | None]] = []
        text, last = "", None
        for char, colour in zip(markers, colours, strict=True):
            rgb = colour if isinstance(colour, tuple) else None
            if char == " ":
                rgb = last  # a blank takes any colour: fewer runs
            if rgb != last and text:
                runs.append((text, last))
                text = ""
            last = rgb
            text += char
        if text:
            runs.append((text, last))
        rows.append(tuple(runs))
    height = len(rows)
    canvas_rows = matrix.Rows_canvas
    return Picture(
        tuple(rows),
        matrix.Cols_canvas.start,
        matrix.Cols_canvas.stop,
        height - canvas_rows.stop,
        height - canvas_rows.start,
    )

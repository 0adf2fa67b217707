"""The loss chart: plotext's picture, fed with few points and repainted by changed rows only."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from recaster_tui.ui import words
from recaster_tui.ui.palette import Palette
from recaster_tui.ui.widgets.panel import Lines, Words

if TYPE_CHECKING:
    import numpy as np

    from recaster_tui.supervisor import Marker
    from recaster_tui.supervisor.measures import Measure
    from recaster_tui.ui import decimate
    from recaster_tui.ui.loss_picture import LossPlotter
    from recaster_tui.ui.plot import Picture, Rgb

RANGES: tuple[tuple[int, str], ...] = ((0, "all"), (50_000, "50k"), (10_000, "10k"), (1_000, "1k"))
SMOOTHING: tuple[tuple[float, str], ...] = ((0.6, "smooth"), (0.88, "smoother"), (0.0, "raw"))
MARKS: dict[str, tuple[str, str]] = {
    "rolled-back": ("✖", "state-bad"),
    "restored": ("↺", "state-hold"),
    "option": ("▲", "state-hold"),
    "snapshot": ("★", "state-good"),
    "backup": ("◆", "state-good"),
    "resumed": ("▶", "state-busy"),
    "saved": ("·", "text"),
}
"""Glyph and colour of each kind of mark; earlier kinds hide later ones in the same column."""

RING = "○"
"""A measurement on held-out faces."""

_BAND = 0.62  # how far the band behind a curve fades into the background
_SLOWEST_SHARE = 0.03  # of one core that drawing may take


class LossChart(Lines, can_focus=True):
    """Curves of source and destination loss.

    :meth:`set_data` may be called at any rate; drawing happens at most once a second, and less
    often when a drawing takes long.
    """

    BINDING_GROUP_TITLE = "Loss chart"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "cursor(-1)", "Cursor left", show=False, id="chart-left"),
        Binding("right,l", "cursor(1)", "Cursor right", show=False, id="chart-right"),
        Binding("shift+left,H", "cursor(-10)", "Cursor far left", show=False, id="chart-far-left"),
        Binding(
            "shift+right,L", "cursor(10)", "Cursor far right", show=False, id="chart-far-right"
        ),
        Binding("home,g", "cursor_to(0)", "First iteration", show=False, id="chart-first"),
        Binding("end,G", "cursor_to(-1)", "Last iteration", show=False, id="chart-last"),
        Binding("escape", "no_cursor", "Hide the cursor", show=False, id="chart-no-cursor"),
    ]

    NEAR_KEYS = ("train-range", "train-log", "train-smooth")
    """Keys of the screen that belong to this widget, for the key bar."""

    class SettingsChanged(Message):
        """Range, scale or smoothing is another one."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.range_index = 0
        self.log_scale = False
        self.smoothing_index = 0
        self.marker = "braille"
        self.cursor: int | None = None
        self.loss_names: tuple[str, ...] = ("src", "dst")
        self.measures: Sequence[Measure] = ()
        self._rows: np.ndarray | None = None
        self._marks: Sequence[Marker] = ()
        self._picture: Picture | None = None
        self._series: Mapping[str, decimate.Buckets] = {}
        self._plotter: LossPlotter | None = None
        self._styles: dict[Rgb, Style] = {}
        self._axis = (0.0, 1.0)
        self._heights = (0.0, 1.0)
        self._newest: dict[str, float] = {}
        self._due = 0.0
        self._pending = False

    @property
    def settings(self) -> str:
        """Range, scale and smoothing in words, for the frame."""
        scale = "log" if self.log_scale else "linear"
        return f"{RANGES[self.range_index][1]} · {scale} · {SMOOTHING[self.smoothing_index][1]}"

    # -- data -----------------------------------------------------------------------------------

    def set_data(
        self,
        rows: "np.ndarray | None",
        marks: Sequence["Marker"] = (),
        loss_names: tuple[str, ...] = ("src", "dst"),
        newest: Mapping[str, float] | None = None,
    ) -> None:
        """Take the model's loss rows (``LOSS_DTYPE``, may be the same array grown).

        *newest* are the losses of now that the legend shows, by name.
        """
        before, self._newest = self._newest, dict(newest or {})
        self._rows, self._marks, self.loss_names = rows, marks, loss_names
        gone = rows is None or not len(rows)
        if gone:  # what was drawn from the old rows goes with them, whoever draws next
            self._picture, self._series, self.cursor = None, {}, None
        self._request(now=gone or self._picture is None)
        if self._pending and self._newest != before:
            self.update_lines()  # the legend does not wait for the picture

    def _request(self, *, now: bool = False) -> None:
        clock = time.monotonic()
        if now or clock >= self._due:
            self._draw()
        elif not self._pending:
            self._pending = True
            self.set_timer(self._due - clock, self._draw_pending)

    def _draw_pending(self) -> None:
        self._pending = False
        self._draw()

    def _draw(self) -> None:
        size = self.content_size
        if not self.is_mounted or size.width < 20 or size.height < 6:
            self._picture = None
            self.update_lines()
            return
        started = time.monotonic()
        self._picture = self._plot(size.width, size.height - 2)
        self.update_lines()
        spent = time.monotonic() - started
        self._due = time.monotonic() + max(0.95, spent / _SLOWEST_SHARE)

    def _plot(self, width: int, height: int) -> "Picture | None":
        if self._rows is None or not len(self._rows):
            self._series = {}
            return None
        from recaster_tui.ui.loss_picture import LossPlotter, View

        if self._plotter is None:
            self._plotter = LossPlotter()
        colours = self.colours
        pairs: dict[str, tuple[Rgb, Rgb]] = {}
        self._styles = {}
        for key in self.loss_names:
            name = f"loss-{key}"
            pairs[key] = bright, dark = colours.rgb(name), colours.rgb(name, dim=_BAND)
            self._styles[dark] = colours.style(name, dim=_BAND)
            self._styles[bright] = colours.style(name)
        view = View(
            width,
            height,
            RANGES[self.range_index][0],
            self.log_scale,
            SMOOTHING[self.smoothing_index][0],
            self.marker,
        )
        drawing = self._plotter.draw(self._rows, view, pairs)
        self._series, self._axis, self._heights = drawing.series, drawing.axis, drawing.heights
        return drawing.picture

    # -- drawing --------------------------------------------------------------------------------

    def lines(self, width: int, height: int) -> list[Strip]:
        """Legend, marks, picture."""
        colours = self.colours
        if self._picture is None:
            return self._nothing(width, height, colours)
        axis_style = colours.muted()
        strips = [self._legend(width, colours), self._mark_lane(width, colours)]
        for row in self._picture.rows:
            line = Words()
            for text, rgb in row:
                line.add(text, self._styles.get(rgb, axis_style) if rgb else axis_style)
            strips.append(line.strip(width))
        self._add_measures(strips, colours)
        column = self._cursor_column()
        if column is not None:
            tint = colours.tint("text", 0.25)
            for y in range(1, 2 + self._picture.bottom):
                strip = strips[y]
                parts = strip.divide([column, column + 1, width])
                if len(parts) == 3:
                    strips[y] = Strip.join([parts[0], parts[1].apply_style(tint), parts[2]])
        return strips

    def _add_measures(self, strips: list[Strip], colours: Palette) -> None:
        """A ring for each measurement on held-out faces, over the curves."""
        picture = self._picture
        assert picture is not None
        low, high = self._heights
        tall = picture.bottom - picture.top
        rings: dict[tuple[int, int], str] = {}
        for measure in self.measures:
            column = self._column_of(measure.iteration)
            for key in self.loss_names:
                value = measure.losses[key].held_out if key in measure.losses else 0.0
                if column is None or not value > 0:
                    continue
                height = math.log10(value) if self.log_scale else value
                if low <= height <= high:
                    # As the axis places its labels: the middle of a row is its value.
                    up = round((height - low) / (high - low) * (tall - 1))
                    rings[picture.bottom - 1 - up, column] = key
        for (row, column), key in rings.items():
            style = colours.style(f"loss-{key}", bold=True)
            strips[row + 2] = _put(strips[row + 2], column, Segment(RING, style))

    def _nothing(self, width: int, height: int, colours: Palette) -> list[Strip]:
        empty = Words().strip(width)
        strips = [empty] * height
        if height:
            text = "The curves appear with the first iterations."
            if self._rows is not None and len(self._rows):
                text = "Too small for a chart."
            left = max(0, (width - len(text)) // 2)
            strips[height // 2] = Words().fill(left).add(text, colours.muted()).strip(width)
        return strips

    def _legend(self, width: int, colours: Palette) -> Strip:
        left = Words().add(" ")
        column = self._cursor_column()
        for i, key in enumerate(self.loss_names):
            if i:
                left.add("   ")
            name = key if len(self.loss_names) > 1 else "loss"
            left.add("━━ ", colours.style(f"loss-{key}"))
            left.add(f"{name} ", colours.muted())
            left.add(words.loss(self._value(key, column)), colours.style("text", bold=True))
        if column is None:
            if any(m.losses for m in self.measures):
                left.add(f"   {RING} held-out", colours.muted())
            return left.strip(width)
        at = self._iteration_at(column)
        right = Words().add("at ", colours.muted()).add(words.count(at), colours.style("accent"))
        mark = self._mark_near(column)
        if mark is not None:
            glyph, color = MARKS[mark.kind]
            right.add(f"  {glyph} {mark.text or mark.kind}", colours.style(color))
        right.add(" ")
        room = width - left.length - 1
        if right.length > room:
            return left.strip(width)
        return left.fill(width - right.length).extend(right).strip(width)

    def _mark_lane(self, width: int, colours: Palette) -> Strip:
        lane: dict[int, str] = {}
        kinds = list(MARKS)
        for mark in self._marks:
            column = self._column_of(mark.iteration)
            if column is None or mark.kind not in MARKS:
                continue
            old = lane.get(column)
            if old is None or kinds.index(mark.kind) < kinds.index(old):
                lane[column] = mark.kind
        line = Words()
        for column in sorted(lane):
            glyph, color = MARKS[lane[column]]
            style = colours.muted() if color == "text" else colours.style(color)
            line.fill(column).add(glyph, style)
        return line.strip(width)

    # -- cursor ---------------------------------------------------------------------------------

    def _cursor_column(self) -> int | None:
        picture = self._picture
        if self.cursor is None or picture is None or not self._series:
            return None
        return min(max(self.cursor, picture.left), self._last_column())

    def _last_column(self) -> int:
        assert self._picture is not None
        series = next(iter(self._series.values()))
        column = self._column_of(int(series.x[-1])) if len(series.x) else None
        return self._picture.right - 1 if column is None else column

    def _column_of(self, iteration: int) -> int | None:
        picture = self._picture
        if picture is None:
            return None
        low, high = self._axis
        if not low <= iteration <= high:
            return None
        cells = picture.right - picture.left
        return picture.left + min(int((iteration - low) / (high - low) * cells), cells - 1)

    def _iteration_at(self, column: int) -> float:
        assert self._picture is not None
        low, high = self._axis
        cells = self._picture.right - self._picture.left
        return low + (column - self._picture.left + 0.5) / cells * (high - low)

    def _value(self, key: str, column: int | None) -> float | None:
        """Mean loss under the cursor, or the newest one."""
        if column is None:
            return self._newest.get(key)
        import numpy as np

        series = self._series.get(key)
        if series is None or not len(series.x):
            return None
        at = self._iteration_at(column)
        index = int(np.clip(np.searchsorted(series.x, at), 0, len(series.x) - 1))
        return float(series.mean[index])

    def _mark_near(self, column: int) -> "Marker | None":
        here = [m for m in self._marks if self._column_of(m.iteration) == column]
        kinds = list(MARKS)
        here = [m for m in here if m.kind in MARKS]
        return min(here, key=lambda m: kinds.index(m.kind)) if here else None

    def action_cursor(self, step: int) -> None:
        """Move the read-out; the first press shows it at the newest column."""
        if self._picture is None or not self._series:
            return
        column = self._cursor_column()
        if column is None:
            self.cursor = self._last_column()
        else:
            self.cursor = min(max(column + step, self._picture.left), self._last_column())
        self.update_lines()

    def action_cursor_to(self, end: int) -> None:
        """First or last column."""
        if self._picture is not None and self._series:
            self.cursor = self._picture.left if end == 0 else self._last_column()
            self.update_lines()

    def action_no_cursor(self) -> None:
        """Hide the read-out."""
        self.cursor = None
        self.update_lines()

    def on_mouse_down(self, event: object) -> None:
        """Put the read-out where the mouse is."""
        x = getattr(event, "x", None)
        if x is not None and self._picture is not None and x >= self._picture.left:
            self.cursor = int(x)
            self.update_lines()

    # -- settings -------------------------------------------------------------------------------

    def cycle_range(self) -> None:
        """All, 50k, 10k, 1k iterations."""
        self.range_index = (self.range_index + 1) % len(RANGES)
        self._settings_changed()

    def toggle_log(self) -> None:
        """Linear or logarithmic loss axis."""
        self.log_scale = not self.log_scale
        self._settings_changed()

    def cycle_smoothing(self) -> None:
        """Moving average over the band, a stronger one, or bucket means only."""
        self.smoothing_index = (self.smoothing_index + 1) % len(SMOOTHING)
        self._settings_changed()

    def _settings_changed(self) -> None:
        self.cursor = None
        self._request(now=True)
        self.post_message(self.SettingsChanged())

    def on_resize(self) -> None:
        """Draw for the new size at once."""
        self._drawn = []
        self._request(now=True)
        self.refresh()

    def notify_style_update(self) -> None:
        """Theme or focus changed: the colours are inside the picture."""
        super().notify_style_update()
        if self.is_mounted and self._picture is not None:
            self._request(now=True)


def _put(strip: Strip, column: int, segment: Segment) -> Strip:
    """*strip* with the cell at *column* replaced."""
    before, _, after = strip.divide([column, column + 1, strip.cell_length])
    return Strip.join([before, Strip([segment], 1), after])

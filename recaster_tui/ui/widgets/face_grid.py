"""Thousands of thumbnails in one widget: half-block strips, kept; the cursor is a caption.

A widget a face repaints every picture for each cursor move (147 KB); here two captions change
(spec/terminal.md 5.2). Pictures come from threads: what is not there yet is a quiet square, and
only the cells of pictures that arrived are painted again.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from recaster_tui.ui.palette import Palette, palette
from recaster_tui.ui.widgets.face_captions import (
    Caption,
    caption_line,
    caption_look,
    fitted,
    hint_line,
)
from recaster_tui.ui.widgets.grid_pixels import GridPixels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TILES = (10, 12, 16, 20, 24, 32, 44, 60)
"""Widths of a face in cells; a cell is one pixel wide and two high."""
USUAL_TILE = 16
_KEPT = 1_500  # pictures as strips: about 15 KB each at the usual size
_POLL_SECONDS = 0.08
_SLICE_SECONDS = 0.012  # of drawing pictures that arrived, between two keys
_TWO_LINES = 14  # cells from which there is room for a second caption line


class FaceGrid(ScrollView, can_focus=True):
    """Shows faces by number; asks :attr:`picture` and :attr:`caption` for those in sight.

    Attributes:
        picture: (face, least pixels a side) → (s, s, 3) uint8 RGB, or None while it is read. Must
            return at once.
        caption: face → its caption.
        key: face → what its picture is kept by: survives that faces are numbered anew.
        missing: places in sight whose picture is not there yet.
        wish: told which faces are in sight, then those around them, after each scroll.
    """

    DEFAULT_CSS = """
    FaceGrid {
        width: 1fr;
        height: 1fr;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        background: $background;
    }
    """
    BINDING_GROUP_TITLE = "Faces"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-1)", "Left", show=False, id="grid-left"),
        Binding("right,l", "move(1)", "Right", show=False, id="grid-right"),
        Binding("up,k", "row(-1)", "Up", show=False, id="grid-up"),
        Binding("down,j", "row(1)", "Down", show=False, id="grid-down"),
        Binding("pageup,ctrl+u", "page(-1)", "Page up", show=False, id="grid-page-up"),
        Binding("pagedown,ctrl+d", "page(1)", "Page down", show=False, id="grid-page-down"),
        Binding("home,g", "edge(-1)", "First face", show=False, id="grid-first"),
        Binding("end,G", "edge(1)", "Last face", show=False, id="grid-last"),
        Binding("plus,equals_sign", "zoom(1)", "Larger faces", show=False, id="grid-larger"),
        Binding("minus", "zoom(-1)", "Smaller faces", show=False, id="grid-smaller"),
    ]

    class Moved(Message):
        """The cursor is on another face."""

        def __init__(self, grid: "FaceGrid") -> None:
            super().__init__()
            self.grid = grid

        @property
        def control(self) -> "FaceGrid":
            """Whose."""
            return self.grid

    class Chosen(Message):
        """A click on the face under the cursor."""

        def __init__(self, grid: "FaceGrid") -> None:
            super().__init__()
            self.grid = grid

        @property
        def control(self) -> "FaceGrid":
            """Whose."""
            return self.grid

    class Scrolled(Message):
        """Other faces are in sight, they have another size, or a picture arrived."""

        def __init__(self, grid: "FaceGrid") -> None:
            super().__init__()
            self.grid = grid

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.picture: Callable[[int, int], NDArray[np.uint8] | None] = lambda face, pixels: None
        self.caption: Callable[[int], Caption] = lambda face: Caption(str(face))
        self.key: Callable[[int], int] = lambda face: face
        self.wish: Callable[[Sequence[int]], None] = lambda faces: None
        self.pictures = True
        self.hint = ""
        self.faces: NDArray[np.int64] | None = None
        self.cursor = 0
        self.wanted = USUAL_TILE  # cells a face; it grows where a row has cells left
        self.tile = USUAL_TILE
        self.pitch = USUAL_TILE + 1
        self.range_from: int | None = None  # where a range being marked began
        self._strips: OrderedDict[int, list[Strip]] = OrderedDict()
        self.missing: set[int] = set()
        self._seen: tuple[int, int, int, int] | None = None
        self._ground: object = None
        self.pixels = GridPixels(
            self, self._picture_region, self._pixels, self._whole, self.missing
        )

    def on_mount(self) -> None:
        """Look for pictures that arrived."""
        self.set_interval(_POLL_SECONDS, self.take_arrived)
        if (after := getattr(self.app, "after_paint", None)) is not None:
            after.append(self.pixels.painted)

    def on_unmount(self) -> None:
        """Nothing is drawn any more."""
        if (after := getattr(self.app, "after_paint", None)) is not None:
            after.remove(self.pixels.painted)

    # -- what is shown --------------------------------------------------------------------------

    def __len__(self) -> int:
        return 0 if self.faces is None else len(self.faces)

    @property
    def face(self) -> int | None:
        """The face under the cursor."""
        if self.faces is None or not 0 <= self.cursor < len(self.faces):
            return None
        return int(self.faces[self.cursor])

    @property
    def colours(self) -> Palette:
        """The theme's colours over this widget's background."""
        _, _, ground, text = self.colors
        return palette(self.app, ground, text)

    def show(self, faces: "NDArray[np.int64]", cursor: int = 0) -> None:
        """Show *faces* in this order, the cursor at place *cursor*."""
        self.faces = faces
        self.range_from = None
        self.cursor = max(0, min(cursor, len(faces) - 1))
        self._relayout()

    def goto(self, place: int) -> None:
        """Put the cursor at *place*."""
        self._move_to(place)

    def place_of(self, face: int) -> int | None:
        """Where *face* is shown."""
        if self.faces is None:
            return None
        found = (self.faces == face).nonzero()[0]
        return int(found[0]) if len(found) else None

    def chosen(self) -> range:
        """Places that the range being marked covers."""
        if self.range_from is None:
            return range(0)
        low, high = sorted((self.range_from, self.cursor))
        return range(low, high + 1)

    def update_captions(self, places: Iterable[int] | None = None) -> None:
        """Draw captions again: those of *places*, else all in sight."""
        if not self.is_mounted or not self.size.height:
            return
        sight = self.in_sight()
        wanted = sight if places is None else [p for p in places if sight.start <= p < sight.stop]
        if regions := [self._caption_region(place) for place in wanted]:
            self.refresh(*regions)

    # -- layout ---------------------------------------------------------------------------------

    @property
    def caption_lines(self) -> int:
        """Rows below a picture."""
        return 2 if self.tile >= _TWO_LINES else 1

    @property
    def row_height(self) -> int:
        """Cell rows of one row of faces."""
        return self.tile // 2 + self.caption_lines

    @property
    def columns(self) -> int:
        """Faces side by side."""
        return max(1, self.scrollable_content_region.width // (self.wanted + 1))

    @property
    def rows_in_sight(self) -> int:
        """Whole rows of faces that have room."""
        return max(1, self.size.height // self.row_height)

    @property
    def top_row(self) -> int:
        """The first row of faces in sight."""
        return self.scroll_offset.y // self.row_height

    def in_sight(self) -> range:
        """Places that can be seen, a row that is cut off included."""
        first = self.top_row * self.columns
        rows = -(-self.size.height // self.row_height)
        return range(min(first, len(self)), min(len(self), first + rows * self.columns))

    def picture_rows(self) -> list[tuple[Region, list[int]]]:
        """Where each whole row's pictures lie in this widget, and whose they are."""
        found = []
        for row in range(self.rows_in_sight):
            first = (self.top_row + row) * self.columns
            faces = [] if self.faces is None else self.faces[first : first + self.columns].tolist()
            if faces:
                width = len(faces) * self.pitch - (self.pitch - self.tile)
                found.append((Region(0, row * self.row_height, width, self.tile // 2), faces))
        return found

    def _fit(self) -> None:
        """Let faces grow into the cells that a row has left, if no row of them is lost for it."""
        width, columns, before = self.scrollable_content_region.width, self.columns, self.tile
        self.tile = self.wanted
        rows = self.rows_in_sight
        for tile in range(self.wanted + 2, width // columns, 2):  # a gap is always left
            self.tile = tile
            if self.rows_in_sight < rows:
                self.tile = tile - 2
                break
        self.pitch = max(self.tile + 1, min(self.tile + 3, width // columns))
        if self.tile != before:
            self._strips.clear()

    def _relayout(self) -> None:
        if not self.is_mounted or not self.size.width:
            return
        self._fit()
        rows = -(-len(self) // self.columns)
        above = max(0, rows - self.rows_in_sight)  # whole rows: a scrolled picture is never cut
        height = above * self.row_height + self.size.height if above else rows * self.row_height
        self.virtual_size = Size(self.scrollable_content_region.width, height)
        self._seen = None
        self._follow()
        self.refresh()
        self._tell_sight()

    def _follow(self) -> None:
        row, top = self.cursor // self.columns, round(self.scroll_target_y) // self.row_height
        if row < top:
            top = row
        elif row >= top + self.rows_in_sight:
            top = row - self.rows_in_sight + 1
        if top * self.row_height != round(self.scroll_target_y):
            self.scroll_to(y=top * self.row_height, animate=False, force=True)

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Other faces are in sight."""
        super().watch_scroll_y(old, new)
        self._tell_sight()

    def _tell_sight(self) -> None:
        sight = self.in_sight()
        now = (sight.start, sight.stop, self.tile, self.columns)
        if now == self._seen or self.faces is None:
            return
        self._seen = now
        reach = max(self.columns, len(sight))
        near = [
            *range(sight.start, sight.stop),
            *range(sight.stop, min(len(self), sight.stop + reach)),
            *range(max(0, sight.start - reach), sight.start),
        ]
        self.missing.clear()
        self.pixels.soon()
        if self.pictures:
            self.wish(self.faces[near].tolist())
        self.post_message(self.Scrolled(self))

    def on_resize(self) -> None:
        """Other columns, perhaps."""
        self._relayout()

    def notify_style_update(self) -> None:
        """Colours changed (theme, focus)."""
        super().notify_style_update()
        if not self.is_mounted:
            return
        _, _, ground, text = self.colors
        now = (ground, text, self.app.theme)
        if now != self._ground:
            self._ground = now
            self.refresh()

    def on_focus(self) -> None:
        """The cursor is drawn brighter."""
        self.update_captions([self.cursor])

    def on_blur(self) -> None:
        """And duller."""
        self.update_captions([self.cursor])

    # -- keys and mouse -------------------------------------------------------------------------

    def _move_to(self, place: int) -> None:
        if not len(self):
            return
        old, place = self.cursor, max(0, min(place, len(self) - 1))
        if place == old:
            return
        self.cursor = place
        top = self.scroll_target_y
        self._follow()
        if self.scroll_target_y == top:
            if self.range_from is None:
                self.update_captions((old, place))
            else:  # everything between may have changed its colour
                low, high = sorted((old, place))
                self.update_captions(range(low, high + 1))
        self.post_message(self.Moved(self))

    def action_move(self, step: int) -> None:
        """To the next face, row after row."""
        self._move_to(self.cursor + step)

    def action_row(self, step: int) -> None:
        """To the face above or below."""
        place = self.cursor + step * self.columns
        if place < 0:
            return
        if place >= len(self) and self.cursor // self.columns == (len(self) - 1) // self.columns:
            return
        self._move_to(place)

    def action_page(self, step: int) -> None:
        """By what is in sight."""
        rows = self.rows_in_sight * self.columns
        place = self.cursor + step * rows
        if place < 0:
            place = self.cursor % self.columns
        self._move_to(place)

    def action_edge(self, step: int) -> None:
        """To the first or last face."""
        self._move_to(0 if step < 0 else len(self) - 1)

    def action_zoom(self, step: int) -> None:
        """Larger or smaller faces."""
        wanted = TILES[max(0, min(TILES.index(self.wanted) + step, len(TILES) - 1))]
        room = min(self.size.width - 2, 2 * (self.size.height - 2))
        if wanted != self.wanted and (step < 0 or wanted <= room):
            self.wanted = wanted
            self._relayout()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Whole rows."""
        event.stop()
        event.prevent_default()
        self._scroll_rows(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Whole rows."""
        event.stop()
        event.prevent_default()
        self._scroll_rows(-1)

    def _scroll_rows(self, step: int) -> None:
        place = self.cursor + step * self.columns
        self.scroll_to(y=(self.top_row + step) * self.row_height, animate=False, force=True)
        sight = self.rows_in_sight
        row, top = self.cursor // self.columns, round(self.scroll_target_y) // self.row_height
        if not top <= row < top + sight:  # the cursor stays in sight
            self._move_to(place)

    def on_click(self, event: events.Click) -> None:
        """Select the face; on the selected one, choose it."""
        column, row = event.x // self.pitch, event.y // self.row_height
        place = (self.top_row + row) * self.columns + column
        if column >= self.columns or place >= len(self):
            return
        if place == self.cursor:
            self.post_message(self.Chosen(self))
        else:
            self._move_to(place)

    # -- pictures -------------------------------------------------------------------------------

    def take_arrived(self) -> None:
        """Paint the cells whose picture has come since they were drawn."""
        if not self.missing or self.faces is None or not self.is_on_screen:
            return
        sight, end = self.in_sight(), time.perf_counter() + _SLICE_SECONDS
        regions = []
        for place in sorted(self.missing):
            if not sight.start <= place < sight.stop:
                self.missing.discard(place)
                continue
            if self._load(int(self.faces[place])) is None:
                continue
            self.missing.discard(place)
            regions.append(self._picture_region(place))
            if time.perf_counter() > end:
                break
        if regions:
            self.refresh(*regions)
            self.post_message(self.Scrolled(self))

    def _load(self, face: int) -> list[Strip] | None:
        key = self.key(face)
        known = self._strips.get(key)
        if known is not None:
            self._strips.move_to_end(key)
            return known
        if not self.pictures or (pixels := self.picture(face, self.tile)) is None:
            return None
        from recaster_tui.ui.halfblock import strips

        made = strips(fitted(pixels, self.tile))
        self._strips[key] = made
        while len(self._strips) > _KEPT:
            self._strips.popitem(last=False)
        return made

    def _pixels(self, place: int) -> "tuple[int, NDArray[np.uint8] | None]":
        """What :class:`GridPixels` asks for: key and picture of a place."""
        if self.faces is None or place >= len(self) or not self.pictures:
            return -1, None
        face = int(self.faces[place])
        return self.key(face), self.picture(face, 128)

    def _whole(self) -> range:
        """Places of whole rows in sight; none where there are no pictures."""
        first = self.top_row * self.columns
        end = min(len(self), first + self.rows_in_sight * self.columns)
        return range(first, end if self.pictures else first)

    # -- drawing --------------------------------------------------------------------------------

    def _corner(self, place: int) -> tuple[int, int]:
        row, column = divmod(place, self.columns)
        return column * self.pitch, row * self.row_height - self.scroll_offset.y

    def _caption_region(self, place: int) -> Region:
        x, y = self._corner(place)
        return Region(x, y + self.tile // 2, self.tile, self.caption_lines)

    def _picture_region(self, place: int) -> Region:
        x, y = self._corner(place)
        return Region(x, y, self.tile, self.tile // 2)

    def render_line(self, y: int) -> Strip:
        """The line API of Textual."""
        width, base, colours = self.size.width, self.rich_style, self.colours
        if not len(self):
            return hint_line(self.hint, y, width, colours).apply_style(base)
        row, line = divmod(y + self.scroll_offset.y, self.row_height)
        first = row * self.columns
        assert self.faces is not None
        gap = Segment(" " * (self.pitch - self.tile))
        segments: list[Segment] = []
        for place in range(first, min(first + self.columns, len(self))):
            if line < self.tile // 2:
                segments += self._picture_line(place, line, colours)
            else:
                caption = self.caption(int(self.faces[place]))
                chosen = caption.chosen or place in self.chosen()
                look = caption_look(place == self.cursor, self.has_focus, chosen, colours)
                segments += caption_line(caption, line - self.tile // 2, self.tile, look, colours)
            segments.append(gap)
        return Strip(segments).adjust_cell_length(width).apply_style(base)

    def _picture_line(self, place: int, line: int, colours: Palette) -> Iterable[Segment]:
        assert self.faces is not None
        drawn = self._load(int(self.faces[place]))
        if drawn is not None:
            return drawn[line]
        if self.pictures:
            self.missing.add(place)
        waiting = colours.tint("text", 0.06)
        if line == self.tile // 4:
            return [Segment("·".center(self.tile), colours.faint() + waiting)]
        return [Segment(" " * self.tile, waiting)]

"""A table that draws only the rows in sight and repaints only the cells that changed.

Thousands of rows cost what the visible forty cost: a cell is asked for when its row is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from recaster_tui.ui.palette import Palette, palette

Cell = tuple[tuple[str, Style | None], ...]
"""Words of one cell, each with its style."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: what :meth:`TableView.cell` is asked for.
        title: shown above.
        width: cells it needs.
        rank: where there is too little room, columns of the highest rank go first.
        most: it may grow to this width; 0 = it stays as it is.
        right: aligned to the right.
    """

    key: str
    title: str
    width: int
    rank: int = 0
    most: int = 0
    right: bool = False


@dataclass(frozen=True)
class _Place:
    column: Column
    x: int
    width: int


class TableView(ScrollView, can_focus=True):
    """Subclasses give :meth:`cell`. Rows are known by keys; the cursor stays on its key."""

    DEFAULT_CSS = """
    TableView {
        width: 1fr;
        height: 1fr;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        background: $background;
    }
    """
    BINDING_GROUP_TITLE = "Table"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, id="table-up"),
        Binding("down,j", "move(1)", "Down", show=False, id="table-down"),
        Binding("pageup,ctrl+u", "page(-1)", "Page up", show=False, id="table-page-up"),
        Binding("pagedown,ctrl+d", "page(1)", "Page down", show=False, id="table-page-down"),
        Binding("home,g", "move(-999999)", "First", show=False, id="table-first"),
        Binding("end,G", "move(999999)", "Last", show=False, id="table-last"),
    ]
    COLUMNS: ClassVar[tuple[Column, ...]] = ()
    EMPTY: ClassVar[str] = "Nothing here."

    class Moved(Message):
        """The cursor is on another row."""

    class Chosen(Message):
        """Enter, or a click on the row under the cursor."""

        def __init__(self, table: "TableView", key: str) -> None:
            super().__init__()
            self.table = table
            self.key = key

        @property
        def control(self) -> "TableView":
            """Whose row it is."""
            return self.table

    class Heading(Message):
        """A click on a column's title."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.keys: list[str] = []
        self.cursor = 0
        self._chosen = False
        self.hint = self.EMPTY
        self.more = ""
        self._places: list[_Place] = []
        self._laid_out = 0
        self._drawn: dict[int, tuple[str, tuple[Cell, ...]]] = {}

    # -- what subclasses say --------------------------------------------------------------------

    def cell(self, key: str, column: str, width: int, colours: Palette) -> Cell:
        """The words of one cell; asked for rows in sight only."""
        raise NotImplementedError

    def heading(self, column: Column) -> str:
        """The title of a column, perhaps with a sort mark."""
        return column.title

    # -- rows -----------------------------------------------------------------------------------

    @property
    def key(self) -> str | None:
        """Under the cursor."""
        return self.keys[self.cursor] if 0 <= self.cursor < len(self.keys) else None

    @property
    def colours(self) -> Palette:
        """The theme's colours over this widget's background."""
        _, _, ground, text = self.colors
        return palette(self.app, ground, text)

    def set_rows(self, keys: Sequence[str], hint: str = "", more: str = "") -> None:
        """Show these rows in this order.

        Args:
            keys: the rows.
            hint: what to say where there are none.
            more: a faint line below the last row.
        """
        before, self.hint = self.hint, hint or self.EMPTY
        new = list(keys)
        if not new and before != self.hint:
            self.refresh()
        if new == self.keys and more == self.more:
            self.update_visible()
            return
        here = self.key
        self.keys, self.more = new, more
        if here in new and self._chosen:  # who has not moved yet stays on the first row
            self.cursor = new.index(here)
        self.cursor = max(0, min(self.cursor, len(new) - 1))
        self._drawn.clear()
        self._resize()
        self._follow()
        self.refresh()
        if self.key != here:
            self.post_message(self.Moved())

    def goto(self, key: str) -> bool:
        """Put the cursor on *key*; whether there is such a row."""
        if key not in self.keys:
            return False
        self.action_move(self.keys.index(key) - self.cursor)
        return True

    def visible_keys(self) -> list[str]:
        """Rows in sight."""
        top = self.scroll_offset.y
        return self.keys[top : top + max(0, self.size.height - 1)]

    def update_visible(self) -> None:
        """Ask for the cells in sight again; repaint those that differ."""
        if not self.is_mounted or not self.size.height:
            return
        colours = self.colours
        regions: list[Region] = []
        for index, (key, cells) in list(self._drawn.items()):
            y = index - self.scroll_offset.y + 1
            if not 1 <= y < self.size.height or index >= len(self.keys) or self.keys[index] != key:
                del self._drawn[index]
                continue
            fresh = self._cells(key, colours)
            if fresh == cells:
                continue
            self._drawn[index] = (key, fresh)
            if len(fresh) != len(cells):
                regions.append(Region(0, y, self.size.width, 1))
                continue
            regions += [
                Region(place.x, y, place.width, 1)
                for place, old, new in zip(self._places, cells, fresh, strict=True)
                if old != new
            ]
        if regions:
            self.refresh(*regions)

    def redraw(self) -> None:
        """Columns, titles, marks or colours changed: everything again."""
        self._drawn.clear()
        self._layout_columns()
        self.refresh()

    # -- layout ---------------------------------------------------------------------------------

    def columns(self) -> Sequence[Column]:
        """The columns that may be shown now."""
        return self.COLUMNS

    def _layout_columns(self) -> None:
        width = self._laid_out = self.scrollable_content_region.width
        chosen = list(self.columns())
        while len(chosen) > 1 and sum(c.width + 1 for c in chosen) > width:
            chosen.remove(max(chosen, key=lambda c: c.rank))
        spare = width - sum(c.width + 1 for c in chosen)
        widths = {c.key: c.width for c in chosen}
        while spare > 0:
            growing = [c for c in chosen if widths[c.key] < c.most]
            if not growing:
                break
            for column in growing[:spare]:
                widths[column.key] += 1
            spare -= min(spare, len(growing))
        self._places, x = [], 1
        for column in chosen:
            self._places.append(_Place(column, x, widths[column.key]))
            x += widths[column.key] + 1

    def _resize(self) -> None:
        rows = len(self.keys) + (1 if self.more else 0)
        self.virtual_size = Size(self.scrollable_content_region.width, rows + 1)

    def _follow(self) -> None:
        room = max(1, self.size.height - 1)
        top = round(self.scroll_target_y)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, force=True)
        elif self.cursor >= top + room:
            self.scroll_to(y=self.cursor - room + 1, animate=False, force=True)

    def on_resize(self) -> None:
        """Fit the columns."""
        self._resize()
        self.redraw()
        self._follow()

    def notify_style_update(self) -> None:
        """Colours changed (theme, focus)."""
        super().notify_style_update()
        if self.is_mounted:
            self.redraw()

    def on_focus(self) -> None:
        """The cursor is drawn brighter."""
        self.refresh()

    def on_blur(self) -> None:
        """And duller."""
        self.refresh()

    # -- keys and mouse -------------------------------------------------------------------------

    def action_move(self, step: int) -> None:
        """Move the cursor."""
        if not self.keys:
            return
        self._chosen = True
        old = self.cursor
        self.cursor = max(0, min(self.cursor + step, len(self.keys) - 1))
        if self.cursor == old:
            return
        self._follow()
        top = self.scroll_offset.y
        width = self.size.width
        self.refresh(*(Region(0, row - top + 1, width, 1) for row in (old, self.cursor)))
        self.post_message(self.Moved())

    def action_choose(self) -> None:
        """Take the row under the cursor; subclasses bind a key to it."""
        if self.key is not None:
            self.post_message(self.Chosen(self, self.key))

    def action_page(self, step: int) -> None:
        """Move by what is in sight."""
        self.action_move(step * max(1, self.size.height - 2))

    def on_click(self, event: events.Click) -> None:
        """Select the row; on the selected one, choose it; on a title, say so."""
        if event.y == 0:
            for place in self._places:
                if place.x <= event.x < place.x + place.width + 1:
                    self.post_message(self.Heading(place.column.key))
            return
        index = event.y - 1 + self.scroll_offset.y
        if not 0 <= index < len(self.keys):
            return
        if index == self.cursor:
            self.post_message(self.Chosen(self, self.keys[index]))
        else:
            self.action_move(index - self.cursor)

    # -- drawing --------------------------------------------------------------------------------

    def _cells(self, key: str, colours: Palette) -> tuple[Cell, ...]:
        return tuple(self.cell(key, p.column.key, p.width, colours) for p in self._places)

    def render_line(self, y: int) -> Strip:
        """The titles stay on top; rows scroll below them."""
        width, colours = self.size.width, self.colours
        base = self.rich_style
        if not self._places or self._laid_out != self.scrollable_content_region.width:
            self._drawn.clear()  # a scrollbar has come or gone
            self._layout_columns()
        if y == 0:
            cells = tuple(((self.heading(p.column), colours.muted()),) for p in self._places)
            return self._strip(cells if self.keys else (), width).apply_style(base)
        index = y - 1 + self.scroll_offset.y
        if index >= len(self.keys):
            text = self.more if self.keys else ""
            if not self.keys:
                lines = _wrap(self.hint, max(8, width - 2))
                text = lines[y - 1] if y - 1 < len(lines) else ""
            elif index > len(self.keys):
                text = ""
            return (
                Strip([Segment(f" {text}", colours.muted())])
                .adjust_cell_length(width)
                .apply_style(base)
            )
        key = self.keys[index]
        known = self._drawn.get(index)
        if known is None or known[0] != key:
            known = (key, self._cells(key, colours))
            self._drawn[index] = known
        strip = self._strip(known[1], width)
        if index == self.cursor:
            return self._under_cursor(strip, base)
        return strip.apply_style(base)

    def _under_cursor(self, strip: Strip, base: Style) -> Strip:
        colours = self.colours
        if colours.ground.ansi is not None:
            # Nobody knows the sixteen colours: a tint could hide the words on it.
            look = Style(reverse=True) if self.has_focus else Style(bold=True, underline=True)
            return Strip([Segment(strip.text, look)]).apply_style(base)
        if not self.has_focus:
            return strip.apply_style(base + colours.tint("text", 0.10))
        # Words keep their colours, and those of second rank are lifted to the first.
        muted, text = colours.muted(), colours.style("text")
        lifted = [Segment(part.text, text if part.style == muted else part.style) for part in strip]
        look = colours.tint("primary", 0.32) + Style(bold=True)
        return Strip(lifted, strip.cell_length).apply_style(base + look)

    def _strip(self, cells: Sequence[Cell], width: int) -> Strip:
        segments: list[Segment] = [Segment(" ")]
        for place, words in zip(self._places, cells, strict=False):
            length = sum(cell_len(text) for text, _ in words)
            room = place.width
            if length < room and place.column.right:
                segments.append(Segment(" " * (room - length)))
            for text, style in words:
                if room <= 0:
                    break
                used = cell_len(text)
                if used > room:
                    text = set_cell_size(text, room - 1) + "…"
                    used = room
                segments.append(Segment(text, style))
                room -= used
            if room > 0 and not (place.column.right and length < place.width):
                segments.append(Segment(" " * room))
            segments.append(Segment(" "))
        return Strip(segments).adjust_cell_length(width)


def _wrap(text: str, width: int) -> list[str]:
    import textwrap

    return [line for part in text.splitlines() for line in textwrap.wrap(part, width) or [""]]

"""Scrolling text made of coloured words; only lines that changed are repainted."""

import textwrap
from typing import ClassVar

from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from recaster_tui.ui.palette import Palette, palette
from recaster_tui.ui.widgets.panel import Words


class TextPane(ScrollView, can_focus=True):
    """Subclasses give :meth:`content`; whoever has news calls :meth:`update_content`."""

    DEFAULT_CSS = """
    TextPane {
        width: 1fr;
        height: 1fr;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
        background: $background;
    }
    """
    BINDING_GROUP_TITLE = "Text"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "scroll_up", "Up", show=False, id="text-up"),
        Binding("j", "scroll_down", "Down", show=False, id="text-down"),
        Binding("g", "scroll_home", "Top", show=False, id="text-top"),
        Binding("G", "scroll_end", "Bottom", show=False, id="text-bottom"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._content: list[Strip] = []

    def content(self, width: int) -> list[Strip]:
        """Everything there is to read, in *width* cells."""
        raise NotImplementedError

    @property
    def colours(self) -> Palette:
        """The theme's colours over this widget's background."""
        _, _, ground, text = self.colors
        return palette(self.app, ground, text)

    @property
    def plain(self) -> str:
        """The text without colours (for tests and copying)."""
        return "\n".join(strip.text.rstrip() for strip in self._content)

    def update_content(self) -> None:
        """Make the text again; repaint what differs."""
        width = self.scrollable_content_region.width
        if not self.is_mounted or width < 4:
            return
        old, self._content = self._content, self.content(width)
        self.virtual_size = Size(width, len(self._content))
        if len(old) != len(self._content):
            self.refresh()
            return
        top = self.scroll_offset.y
        regions = [
            Region(0, y - top, width, 1)
            for y, (a, b) in enumerate(zip(old, self._content, strict=True))
            if a != b and top <= y < top + self.size.height
        ]
        if regions:
            self.refresh(*regions)

    def on_resize(self) -> None:
        """Wrap anew."""
        self._content = []
        self.update_content()
        self.refresh()

    def notify_style_update(self) -> None:
        """Colours changed."""
        super().notify_style_update()
        if self.is_mounted:
            self._content = []
            self.update_content()

    def render_line(self, y: int) -> Strip:
        """The line API of Textual."""
        at = y + self.scroll_offset.y
        width = self.size.width
        if at >= len(self._content):
            return Strip.blank(width, self.rich_style)
        return self._content[at].adjust_cell_length(width).apply_style(self.rich_style)


def paragraph(text: str, style: Style | None, width: int, indent: int = 0) -> list[Words]:
    """*text* wrapped to *width* cells, each line *indent* cells in."""
    lines: list[Words] = []
    for part in text.splitlines() or [""]:
        for line in textwrap.wrap(part, max(8, width - indent)) or [""]:
            lines.append(Words().add(" " * indent).add(line, style))
    return lines

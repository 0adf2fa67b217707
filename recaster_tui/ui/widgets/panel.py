"""What the widgets share: framed panels, and strips built from coloured words."""

import re
from collections.abc import Iterable
from typing import Self

from rich.segment import Segment
from rich.style import Style
from textual.containers import Container
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from recaster_tui.ui.palette import Palette, palette


class Panel(Container):
    """A titled frame around one widget; its border lights up while the focus is inside."""

    def __init__(self, *children: Widget, title: str, id: str | None = None) -> None:  # noqa: A002
        super().__init__(*children, id=id, classes="panel")
        self._edge: int | None = None
        self.border_title = title

    def caption(self, *, title: str | None = None, subtitle: str | None = None) -> None:
        """Change the words in the frame, and repaint no more than its upper or lower edge.

        Textual repaints a widget with all its children for a new border title, equal or not: for
        the preview these are 80 KB to the terminal.
        """
        if title is not None and title != self.border_title:
            self._edge = -1
            self.border_title = title
        if subtitle is not None and subtitle != self.border_subtitle:
            self._edge = self.content_size.height
            self.border_subtitle = subtitle
        self._edge = None

    def refresh(
        self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False
    ) -> Self:
        """As Textual's; while :meth:`caption` works, only of the edge concerned."""
        if self._edge is not None and not regions and not layout and self.content_size.height:
            regions = (Region(-1, self._edge, self.content_size.width + 2, 1),)
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)


class Lines(Widget):
    """A widget drawn line by line, which repaints only the lines that changed.

    Subclasses give :meth:`lines`; whoever has news calls :meth:`update_lines`.
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._drawn: list[Strip] = []

    def lines(self, width: int, height: int) -> list[Strip]:
        """The picture now, at most *height* strips."""
        raise NotImplementedError

    @property
    def colours(self) -> Palette:
        """The theme's colours over this widget's background."""
        _, _, ground, text = self.colors
        return palette(self.app, ground, text)

    def update_lines(self) -> None:
        """Draw again and mark the lines that differ from the last drawing."""
        size = self.content_size
        if not size.width or not size.height or not self.is_mounted:
            return
        old, self._drawn = self._drawn, self.lines(size.width, size.height)
        if len(old) != len(self._drawn):
            self.refresh()
            return
        regions = [
            Region(0, y, size.width, 1)
            for y, (a, b) in enumerate(zip(old, self._drawn, strict=True))
            if a != b
        ]
        if regions:
            self.refresh(*regions)

    def on_resize(self) -> None:
        """Everything moves."""
        self._drawn = []
        self.update_lines()
        self.refresh()

    def notify_style_update(self) -> None:
        """Colours changed (theme, focus): draw again."""
        super().notify_style_update()
        self._drawn = []
        if self.is_mounted:
            self.update_lines()

    def render_line(self, y: int) -> Strip:
        """The line API of Textual."""
        width = self.content_size.width
        if not self._drawn:
            self._drawn = self.lines(width, self.content_size.height)
        base = self.rich_style
        if y >= len(self._drawn):
            return Strip.blank(width, base)
        return self._drawn[y].adjust_cell_length(width, base).apply_style(base)


_OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, changes of the writing direction, bytes that are no text."""


class Words:
    """Collects coloured words into one strip."""

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self.length = 0

    def add(self, text: str, style: Style | None = None) -> "Words":
        """Append *text*; what a terminal would obey (file names, metadata) is replaced."""
        if text:
            if not text.isprintable():
                text = _OBEYED.sub("\N{REPLACEMENT CHARACTER}", text)
            segment = Segment(text, style)
            self._segments.append(segment)
            self.length += segment.cell_length
        return self

    def fill(self, until: int, style: Style | None = None) -> "Words":
        """Append blanks up to column *until*."""
        return self.add(" " * max(0, until - self.length), style)

    def join(self, parts: Iterable[tuple[str, Style | None]], gap: str = "  ") -> "Words":
        """Append several words with *gap* between."""
        for i, (text, style) in enumerate(parts):
            if i:
                self.add(gap)
            self.add(text, style)
        return self

    def extend(self, other: "Words") -> "Words":
        """Append what *other* holds."""
        self._segments += other._segments
        self.length += other.length
        return self

    def strip(self, width: int | None = None) -> Strip:
        """The strip, cut or filled to *width*."""
        strip = Strip(self._segments, self.length)
        return strip if width is None else strip.adjust_cell_length(width)


def sides(left: Words, right: Words, width: int) -> Strip:
    """*left* at the left edge, *right* at the right one; *right* goes where both do not fit."""
    if left.length + right.length + 1 <= width:
        return Words().extend(left).fill(width - right.length).extend(right).strip(width)
    return left.strip(width)

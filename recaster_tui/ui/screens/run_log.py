"""The end of a trainer's log."""

import asyncio
import re
import textwrap
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.markup import escape
from textual.screen import ModalScreen
from textual.strip import Strip

from recaster_tui.ui.widgets.panel import Words
from recaster_tui.ui.widgets.text_pane import TextPane

TAIL_BYTES = 256 * 1024
_GOES_ON = "  ↳ "
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def read_tail(path: Path, limit: int = TAIL_BYTES) -> list[str]:
    """The last whole lines of a file, without terminal escapes and control characters.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = max(0, size - limit)
        file.seek(start)
        raw = file.read(limit)
    if start:
        raw = raw.partition(b"\n")[2]
    # Of a progress line that was overwritten in place, the last state counts.
    lines = [
        line.rstrip("\r").rpartition("\r")[2] for line in raw.decode(errors="replace").split("\n")
    ]
    if lines and not lines[-1]:
        lines.pop()
    return [_CONTROLS.sub("", _ESCAPES.sub("", line)).expandtabs(4) for line in lines]


def wrapped(row: str, width: int) -> list[str]:
    """*row* in lines of at most *width* characters, broken between words; later ones are marked."""
    if len(row) <= width:
        return [row]
    mark = _GOES_ON if width > 4 * len(_GOES_ON) else ""
    return textwrap.wrap(row, width, subsequent_indent=mark, break_on_hyphens=False)


class LogPane(TextPane):
    """The lines, errors coloured; long ones go on below."""

    BINDING_GROUP_TITLE = "Log"

    def __init__(self) -> None:
        super().__init__(id="log-pane")
        self.rows: list[str] = []
        self.note = ""

    def content(self, width: int) -> list[Strip]:
        """Every line, wrapped."""
        colours = self.colours
        if not self.rows:
            return [Words().add(f" {self.note}", colours.muted()).strip(width)]
        strips = []
        for row in self.rows:
            upper = row.upper()
            style = None
            if "ERROR" in upper or "TRACEBACK" in upper or "CRITICAL" in upper:
                style = colours.style("error")
            elif "WARN" in upper:
                style = colours.style("warning")
            elif "DEBUG" in upper:
                style = colours.muted()
            strips += [Words().add(line, style).strip(width) for line in wrapped(row, width)]
        return strips


class LogScreen(ModalScreen[None]):
    """Follows the file while it is open and the end is in sight."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,l", "dismiss(None)", "Close", id="log-close"),
    ]

    def __init__(self, path: Path, title: str) -> None:
        super().__init__()
        self._path, self._heading = path, title
        self._seen: tuple[int, int] | None = None
        self._reading = asyncio.Lock()

    def compose(self) -> ComposeResult:
        """A large frame."""
        with Vertical(classes="dialog -large") as dialog:
            dialog.border_title = escape(f"Log: {self._heading}")
            dialog.border_subtitle = f"{self._path.name} · g top · G end · esc closes"
            yield LogPane()

    async def on_mount(self) -> None:
        """Read now and every second."""
        self.query_one(LogPane).focus()
        await self.read()
        self.set_interval(1.0, self.read)

    async def read(self) -> None:
        """Take in what is new."""
        pane = self.query_one(LogPane)
        async with self._reading:
            try:
                about = await asyncio.to_thread(self._path.stat)
                seen = (about.st_size, about.st_mtime_ns)
                if seen == self._seen:
                    return
                rows = await asyncio.to_thread(read_tail, self._path)
            except OSError as error:
                if self._seen is None:
                    pane.note = f"There is no log: {error.strerror or error}"
                    pane.update_content()
                return
            at_end = self._seen is None or pane.scroll_offset.y >= pane.max_scroll_y
            self._seen, pane.rows = seen, rows
            pane.note = "The log is empty."
            pane.update_content()
            if at_end:
                self.call_after_refresh(pane.scroll_end, animate=False)

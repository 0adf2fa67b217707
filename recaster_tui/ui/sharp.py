"""Pixels above half-blocks, once nothing has moved for a moment."""

from typing import Protocol

from textual.geometry import Region
from textual.timer import Timer
from textual.widget import Widget

from recaster_tui.ui.hires import pixel_widget
from recaster_tui.ui.terminal import TerminalInfo

_AFTER = 0.3


class Pictured(Protocol):
    """A widget that can say where its picture lies, and has it sharper."""

    want_picture: bool

    @property
    def picture_region(self) -> Region | None:
        """Inside the widget."""


class SharpPicture:
    """Mounts an image widget over *of* in *panel*; does nothing where half-blocks must do."""

    def __init__(self, terminal: TerminalInfo | None, of: Pictured, panel: Widget) -> None:
        self._of = of
        self._timer: Timer | None = None
        self._panel = panel
        self._pixels = pixel_widget(terminal)
        if self._pixels is not None:
            of.want_picture = True
            panel.mount(self._pixels)

    def soon(self) -> None:
        """The picture changed: half-blocks now, pixels when it rests."""
        if self._pixels is None:
            return
        self._pixels.display = False
        if self._timer is not None:
            self._timer.stop()
        self._timer = self._panel.set_timer(_AFTER, self._show)

    def _show(self) -> None:
        region, picture = self._of.picture_region, getattr(self._of, "picture", None)
        if self._pixels is None or region is None or picture is None:
            return
        self._pixels.styles.offset = (region.x, region.y)
        self._pixels.styles.width = region.width
        self._pixels.styles.height = region.height
        self._pixels.image = picture  # type: ignore[attr-defined]
        self._pixels.display = True

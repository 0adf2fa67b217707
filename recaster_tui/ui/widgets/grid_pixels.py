"""Sixels over the half-blocks of a grid whose faces rest.

They go past Textual, which loses count of columns behind a sixel in a line: it paints and
repaints what it knows, half-blocks, and the app says which cells it has painted.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from textual.errors import NoWidget
from textual.geometry import Region
from textual.timer import Timer
from textual.widget import Widget

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHARP_AFTER = 0.35
"""Seconds without scrolling until pixels replace half-blocks."""
_KEPT = 240  # encoded pictures: 10 to 30 KB each


class GridPixels:
    """Encodes the pictures of places in sight and sends them.

    Attributes:
        cell: pixels of a cell (width, height) where sixels can be shown, else None.
        sharp: sixels by place, of the places in sight.
    """

    def __init__(
        self,
        widget: Widget,
        region: Callable[[int], Region],
        pixels: Callable[[int], "tuple[int, NDArray[np.uint8] | None]"],
        whole: Callable[[], Iterable[int]],
        missing: set[int],
    ) -> None:
        """Args:
        widget: the grid.
        region: place → where its picture lies in the widget.
        pixels: place → what the picture is kept by, and the picture, if it is there.
        whole: places of rows that are not cut off.
        missing: places that have no half-blocks yet; read only.
        """
        self.cell: tuple[int, int] | None = None
        self.sharp: dict[int, str] = {}
        self._widget, self._region, self._pixels = widget, region, pixels
        self._whole, self._missing = whole, missing
        self._kept: OrderedDict[tuple[int, int, int], str] = OrderedDict()
        self._unsent: set[int] = set()
        self._round = 0
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None

    def soon(self) -> None:
        """Half-blocks while things move; pixels once they rest."""
        self.sharp.clear()
        self._unsent.clear()
        self._round += 1
        if self.cell is None:
            return
        if self._timer is not None:
            self._timer.stop()
        self._timer = self._widget.set_timer(SHARP_AFTER, self._sharpen)

    def painted(self, update: object) -> None:
        """Textual has written: pictures whose cells it painted get their pixels again."""
        if not self.sharp or not self._widget.is_mounted:
            return
        spans: list[tuple[int, int, int]] | None = getattr(update, "spans", None)
        at = self._widget.region.offset
        for place in self.sharp:
            region = self._region(place).translate(at)
            if spans is None or any(
                region.y <= y < region.bottom and left < region.right and right > region.x
                for y, left, right in spans
            ):
                self._unsent.add(place)
        if self._unsent:
            self._send()

    def _sharpen(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._encode())

    async def _encode(self) -> None:
        """Encode the pictures of whole rows in a thread, send each as it is ready."""
        seen = -1
        while seen != self._round:  # scrolled meanwhile: the new ones
            seen, again = self._round, False
            for place in self._whole():
                if self.cell is None or seen != self._round:
                    break
                key, picture = self._pixels(place)
                if picture is None:
                    again = True
                    continue
                width, height = self._region(place).size
                size = (width * self.cell[0], height * self.cell[1])
                text = self._kept.get((key, *size))
                if text is None:
                    text = await asyncio.to_thread(_encoded, picture, size)
                    self._kept[(key, *size)] = text
                    while len(self._kept) > _KEPT:
                        self._kept.popitem(last=False)
                if seen == self._round and place not in self._missing:
                    self.sharp[place] = text
                    self._unsent.add(place)
                    self._send()
            if again and seen == self._round:
                await asyncio.sleep(SHARP_AFTER)
                seen = -1

    def _send(self) -> None:
        """Draw pixels over the half-blocks of cells that nothing else covers."""
        widget = self._widget
        driver = widget.app._driver
        if driver is None or not widget.screen.is_active or not widget.is_on_screen:
            return
        at, out = widget.region.offset, []
        for place in sorted(self._unsent & self.sharp.keys()):
            region = self._region(place).translate(at)
            if self._uncovered(region):
                move = f"\x1b[{region.y + 1};{region.x + 1}H"
                out.append(f"\x1b7{move}{self.sharp[place]}\x1b8")
        self._unsent.clear()
        if out:
            driver.write("".join(out))
            driver.flush()

    def _uncovered(self, region: Region) -> bool:
        """Whether no message lies over it."""
        for x in (region.x, region.x + region.width // 2, region.right - 1):
            for y in (region.y, region.y + region.height // 2, region.bottom - 1):
                try:
                    widget, _ = self._widget.screen.get_widget_at(x, y)
                except NoWidget:
                    return False
                if widget is not self._widget:
                    return False
        return True


def _encoded(picture: "NDArray[np.uint8]", size: tuple[int, int]) -> str:
    """Sixels of a picture (h, w, 3) fitted to *size* (width, height) pixels."""
    import cv2
    import numpy as np

    from recaster_tui.ui.sixel import sixels

    how = cv2.INTER_AREA if picture.shape[0] > size[1] else cv2.INTER_CUBIC
    return sixels(np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8))

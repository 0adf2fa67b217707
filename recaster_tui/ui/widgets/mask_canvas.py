"""The face with its outlines, as half-blocks; zoomed, panned after the cursor."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from recaster_tui.ui.mask_picture import Colours, Drawing, View, compose
from recaster_tui.ui.widgets.panel import Lines, Words

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

ZOOMS: tuple[float, ...] = (1, 1.5, 2, 3, 4, 6, 8, 12, 16)
"""Times the size at which the whole picture fits."""

_MARGIN = 0.12  # of the view's sides that the cursor keeps free
_SHARP_MOST = 1_000  # pixels across of a sixel or kitty picture


class MaskCanvas(Lines, can_focus=True):
    """Shows a :class:`Drawing`; repaints only the cells that changed."""

    BINDING_GROUP_TITLE = "Outlines"
    DEFAULT_CSS = "MaskCanvas { width: 1fr; height: 1fr; background: $background; }"

    ZOOMS: ClassVar[tuple[float, ...]] = ZOOMS

    class Pressed(Message):
        """The mouse pressed on a place of the picture."""

        def __init__(self, x: float, y: float) -> None:
            super().__init__()
            self.x, self.y = x, y

    class Wheeled(Message):
        """The wheel turned: zoom in (1) or out (-1)."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    class Drawn(Message):
        """Another picture is on screen."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.drawing: Drawing | None = None
        self.message = ""
        self.zoom_index = 0
        self._centre: tuple[float, float] | None = None
        self._pixels: np.ndarray | None = None

    # -- what is seen ---------------------------------------------------------------------------

    @property
    def zoom(self) -> float:
        """1 shows the whole picture."""
        return ZOOMS[self.zoom_index]

    @property
    def scale(self) -> float:
        """Half-block pixels for each pixel of the face's picture."""
        return self._view().scale if self.drawing is not None else 1.0

    @property
    def colours_now(self) -> Colours:
        """The theme's."""
        colours = self.colours
        return Colours(
            ground=colours.ground.rgb,
            include=colours.rgb("success"),
            exclude=colours.rgb("error"),
            draft=colours.rgb("accent"),
            point=(255, 255, 255),
            selected=colours.rgb("warning"),
            hull=colours.rgb("primary"),
            landmarks=colours.rgb("secondary"),
        )

    def show(self, drawing: Drawing | None, message: str = "") -> None:
        """Show *drawing*, or words where there is none."""
        self.drawing, self.message = drawing, message
        self.update_lines()

    def change_zoom(self, step: int) -> bool:
        """Closer (1) or farther (-1), about the cursor."""
        index = max(0, min(len(ZOOMS) - 1, self.zoom_index + step))
        if index == self.zoom_index:
            return False
        self.zoom_index = index
        self.recentre()
        return True

    def reset_zoom(self) -> None:
        """The whole picture."""
        self.zoom_index, self._centre = 0, None
        self.update_lines()

    def recentre(self) -> None:
        """The cursor goes to the middle of the view."""
        self._centre = self.drawing.cursor if self.drawing is not None else None
        self.update_lines()

    def pan(self, right: float, down: float) -> None:
        """Move the view by parts of its size."""
        if self.drawing is None:
            return
        view = self._view()
        x, y = view.centre
        self._centre = (x + right * view.width / view.scale, y + down * view.height / view.scale)
        self._centre = self._view(follow=False).centre
        self.update_lines(follow=False)

    def _view(self, *, follow: bool = True) -> View:
        drawing = self.drawing
        size = self.content_size
        width, height = max(2, size.width), max(2, 2 * size.height)
        assert drawing is not None
        rows, columns = drawing.image.shape[:2]
        scale = self.zoom * min(width / columns, height / rows)
        middle = ((columns - 1) / 2, (rows - 1) / 2)
        x, y = self._centre or middle
        cursor = drawing.cursor
        if follow and cursor is not None:
            for axis, room in ((0, width), (1, height)):
                free = (0.5 - _MARGIN) * room / scale
                if abs(cursor[axis] - (x, y)[axis]) > free:
                    x, y = (cursor[0], y) if axis == 0 else (x, cursor[1])
        centre = [x, y]
        for axis, (room, pixels) in enumerate(((width, columns), (height, rows))):
            half = room / scale / 2
            low, high = half - 0.5, pixels - 0.5 - half
            centre[axis] = middle[axis] if low >= high else min(max(centre[axis], low), high)
        return View(width, height, (centre[0], centre[1]), scale)

    # -- drawing --------------------------------------------------------------------------------

    def update_lines(self, *, follow: bool = True) -> None:
        """Draw again and repaint the cells that differ."""
        size = self.content_size
        if not size.width or not size.height or not self.is_mounted:
            return
        old = self._pixels
        self._drawn = self._make(size.width, size.height, follow)
        new = self._pixels
        self.post_message(self.Drawn())
        if old is None or new is None or old.shape != new.shape:
            self.refresh()
            return
        differs = (old != new).any(2).reshape(new.shape[0] // 2, 2, -1).any(1)
        regions = []
        for y in np.flatnonzero(differs.any(1)).tolist():
            columns = np.flatnonzero(differs[y])
            # Two gaps are cheaper than what lies between them: arms of the crosshair.
            for part in np.split(columns, np.flatnonzero(np.diff(columns) > 8) + 1):
                left, right = int(part[0]), int(part[-1])
                regions.append(Region(left, y, right - left + 1, 1))
        if regions:
            self.refresh(*regions)

    def lines(self, width: int, height: int) -> list[Strip]:
        """The line API asks for the first picture."""
        return self._make(width, height, True)

    def _make(self, width: int, height: int, follow: bool) -> list[Strip]:
        from recaster_tui.ui.halfblock import strips

        if self.drawing is None:
            self._pixels = None
            blank = Words().strip(width)
            result = [blank] * height
            text = self.message[: max(0, width - 2)]
            line = Words().fill((width - len(text)) // 2).add(text, self.colours.muted())
            result[height // 2] = line.strip(width)
            return result
        view = self._view(follow=follow)
        self._centre = view.centre
        drawing = replace(self.drawing, colours=self.colours_now)
        self._pixels = compose(drawing, view)
        return [strip.adjust_cell_length(width, Style()) for strip in strips(self._pixels)]

    async def sharp(self, cell: tuple[int, int]) -> "PilImage | None":
        """The same picture for sixel or kitty.

        Args:
            cell: (width, height) of a character in pixels.
        """
        from PIL import Image

        if self.drawing is None:
            return None
        view = self._view()
        factor = max(1, min(cell[0], _SHARP_MOST // view.width))
        drawing = replace(self.drawing, colours=self.colours_now)
        pixels = await asyncio.to_thread(compose, drawing, view.magnified(factor), factor)
        return Image.fromarray(pixels)

    # -- the mouse ------------------------------------------------------------------------------

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """A place of the picture."""
        if self.drawing is not None:
            x, y = self._view().to_picture(event.x, 2 * event.y + 0.5)
            self.post_message(self.Pressed(x, y))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Closer."""
        event.stop()
        self.post_message(self.Wheeled(1))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Farther."""
        event.stop()
        self.post_message(self.Wheeled(-1))

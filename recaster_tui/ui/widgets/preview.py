"""The preview: what the model makes of fixed faces, view by view, back through time."""

import asyncio
import logging
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer

from recaster_tui.ui import words
from recaster_tui.ui.widgets.panel import Lines, Words

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as PilImage

    from recaster_tui.supervisor import Preview, PreviewImage
    from recaster_tui.ui.halfblock import TileLayout

log = logging.getLogger(__name__)

PLAY_SECONDS = 0.3
"""Between two pictures of a preview that is played."""

_SCALE = 10  # pixels of a sharp picture for each cell of width
_WIDEST = 800
_SMALLEST = 34  # pixels a side (17 rows) down to which faces shrink for more of them
_ANY_SIZE = 4096


@dataclass(frozen=True)
class _Shown:
    """What a picture on screen was made from: equal keys need no new drawing."""

    path: Path
    changed: float
    size: tuple[int, int]
    columns: int
    first: tuple[int, int]
    ground: tuple[int, int, int]
    smallest: int


class PreviewWidget(Lines, can_focus=True):
    """Tiles of the chosen view as half-blocks.

    JPEGs are decoded and scaled in a thread; only cell rows that changed are repainted.
    """

    BINDING_GROUP_TITLE = "Preview"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "zoom(1)", "Fewer, larger faces", show=False, id="preview-in"),
        Binding("minus", "zoom(-1)", "More, smaller faces", show=False, id="preview-out"),
        Binding("left,h", "pan(0,-1)", "Columns to the left", show=False, id="preview-left"),
        Binding("right,l", "pan(0,1)", "Columns to the right", show=False, id="preview-right"),
        Binding("up,k", "pan(-1,0)", "Faces above", show=False, id="preview-up"),
        Binding("down,j", "pan(1,0)", "Faces below", show=False, id="preview-down"),
    ]

    NEAR_KEYS = ("train-view", "train-full")
    """Keys of the screen that belong to this widget, for the key bar."""

    class Shown(Message):
        """Another picture is on screen: the frame's caption should follow."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._previews: list[Preview] = []
        self._present: list[Preview] = []
        self._view = ""
        self._at: int | None = None  # iteration looked at; None follows the newest
        self._zoom = 0
        self._pan = (0, 0)
        self._loading: asyncio.Task[None] | None = None
        self._wanted: _Shown | None = None
        self._on_screen: _Shown | None = None
        self._pixels: np.ndarray | None = None
        self._layout_now: TileLayout | None = None
        self._columns: tuple[str, ...] = ()
        self._failed = ""
        self._playing: Timer | None = None
        self.want_picture = False
        self.picture: PilImage | None = None

    # -- what is shown --------------------------------------------------------------------------

    def set_previews(self, previews: "list[Preview]") -> None:
        """Take the run's previews, oldest first; the newest is shown unless looking back."""
        self._previews = previews
        self._find_present()
        self._show()

    @property
    def place(self) -> tuple[Any, ...]:
        """Which view of which moment is looked at, and how closely; for :meth:`go_back_to`."""
        return self._view, self._at, self._zoom, self._pan

    def go_back_to(self, place: tuple[Any, ...]) -> None:
        """Look again at what was looked at, once the run's previews are set."""
        self._view, self._at, self._zoom, self._pan = place
        self._show()

    def clear(self) -> None:
        """Another run: forget the old pictures."""
        self._previews, self._at, self._pixels, self._on_screen = [], None, None, None
        self._wanted, self._failed = None, ""
        self._present = []
        self.stop_playing()
        self._show()

    def _find_present(self) -> None:
        """Which previews can be gone through, oldest first.

        Files of old ones are thinned out; and where training went back, what was shown after that
        iteration is of a model that is no more.
        """
        there: set[str] = set()
        for folder in {view.path.parent.parent for p in self._previews[-1:] for view in p.views}:
            try:
                there.update(entry.name for entry in os.scandir(folder))
            except OSError:
                continue
        present: list[Preview] = []
        for preview in self._previews:
            while present and present[-1].iteration >= preview.iteration:
                present.pop()
            if any(view.path.parent.name in there for view in preview.views):
                present.append(preview)
        self._present = present

    @property
    def current(self) -> "Preview | None":
        """The one looked at."""
        if not self._previews:
            return None
        if self._at is not None:
            for preview in reversed(self._present):
                if preview.iteration <= self._at:
                    return preview  # itself, or the last before it where it was thinned out
        return self._previews[-1]

    @property
    def image(self) -> "PreviewImage | None":
        """The chosen view of it."""
        preview = self.current
        if preview is None or not preview.views:
            return None
        # Before one is chosen: the swap, the view that matters most (spec/product.md 9).
        for view in preview.views:
            if view.view == (self._view or "swap"):
                return view
        return preview.views[0]

    @property
    def caption(self) -> str:
        """View and which of how many."""
        preview, image = self.current, self.image
        if preview is None or image is None:
            return ""
        index = preview.views.index(image) + 1
        return f"{image.view} {index}/{len(preview.views)}"

    def age(self, now: float | None = None) -> str:
        """Iteration and how old the picture is."""
        preview = self.current
        if preview is None:
            return ""
        seconds = max(0.0, (now if now is not None else time.time()) - preview.t)
        text = f"iteration {words.count(preview.iteration)} · {words.duration(seconds)} ago"
        if self._at is None:
            return text
        return f"{text} · looking back {self.position}"

    @property
    def position(self) -> str:
        """``14/37``: which of the previews that are still on disk."""
        current = self.current
        if current is None:
            return ""
        number = sum(p.iteration <= current.iteration for p in self._present)
        return f"{number}/{len(self._present)}"

    def next_view(self, step: int) -> None:
        """Next or previous view, wrapping."""
        preview, image = self.current, self.image
        if preview is None or image is None:
            return
        index = (preview.views.index(image) + step) % len(preview.views)
        self._view = preview.views[index].view
        self._pan = (0, 0)
        self._show()

    def back_in_time(self, step: int) -> None:
        """Older (-1) or newer (1); past the newest the picture follows training again."""
        self.stop_playing()
        self._step(step)

    def jump_in_time(self, end: int) -> None:
        """To the oldest (0) or the newest (-1), which follows training again."""
        self.stop_playing()
        self._find_present()
        self._look_at(0 if end == 0 else len(self._present))

    def play(self) -> None:
        """Go through the previews, from the one looked at or the oldest; again stops."""
        if self._playing is not None:
            self.stop_playing()
            return
        self._find_present()
        if self._at is None:
            self._look_at(0)
        if self._at is not None:
            self._playing = self.set_interval(PLAY_SECONDS, self._play_on)

    @property
    def playing(self) -> bool:
        """Whether the previews are passing by."""
        return self._playing is not None

    def stop_playing(self) -> None:
        """Stay at the picture shown."""
        if self._playing is not None:
            self._playing.stop()
            self._playing = None

    def _play_on(self) -> None:
        if self._loading is not None and not self._loading.done():
            return  # a slow disk shows each of them nevertheless
        self._step(1)
        if self._at is None:
            self.stop_playing()

    def _step(self, step: int) -> None:
        current = self.current
        if current is None:
            return
        self._find_present()
        older = sum(p.iteration < current.iteration for p in self._present)
        there = any(p.iteration == current.iteration for p in self._present)
        # Where it is gone meanwhile, the next newer one has taken its place.
        self._look_at(older + step - (not there and step > 0))

    def _look_at(self, index: int) -> None:
        """The preview of this place, or of the nearest one; the newest is followed."""
        index = max(0, index)
        newest = index >= len(self._present) - 1
        self._at = None if newest else self._present[index].iteration
        self._show()

    def action_zoom(self, step: int) -> None:
        """Show fewer columns, larger."""
        columns = len(self._columns) or 1
        self._zoom = max(0, min(self._zoom + step, columns - 1))
        self._show()

    def action_pan(self, down: int, right: int) -> None:
        """Move over the columns and faces that do not fit."""
        self._pan = (max(0, self._pan[0] + down), max(0, self._pan[1] + right))
        self._show()

    def ideal_height(self, width: int, most: int) -> int:
        """Rows of the terminal that whole faces fill, at most *most* where one fits at all."""
        image = self.image
        if image is None or not image.columns:
            return most
        layout = self._layout_in(width, most)
        return 1 + layout.height // 2 if layout.tile else most

    def faces_in(self, width: int, height: int) -> int:
        """Rows of faces that have room."""
        return self._layout_in(width, height).rows

    def _layout_in(self, width: int, height: int) -> "TileLayout":
        from recaster_tui.ui.halfblock import tile_layout

        image = self.image
        columns = max(1, (len(image.columns) if image else 1) - self._zoom)
        faces = max(1, image.rows) if image else 1
        return tile_layout(
            width, height - 1, columns, faces, _ANY_SIZE, smallest=0 if self._zoom else _SMALLEST
        )

    # -- loading --------------------------------------------------------------------------------

    def on_resize(self) -> None:
        """Scale anew."""
        super().on_resize()
        self._show()

    def notify_style_update(self) -> None:
        """The gaps have the background's colour."""
        super().notify_style_update()
        if self.is_mounted:
            self._show()

    def _show(self) -> None:
        size, image = self.content_size, self.image
        if not self.is_mounted or image is None or size.width < 8 or size.height < 3:
            self.update_lines()
            self.post_message(self.Shown())
            return
        try:
            changed = image.path.stat().st_mtime
        except OSError:
            self._failed = "This preview is no longer on disk."
            self._pixels = None
            self.update_lines()
            self.post_message(self.Shown())
            return
        columns = max(1, len(image.columns) or 1)
        self._zoom = min(self._zoom, columns - 1)
        shown = columns - self._zoom
        wanted = _Shown(
            image.path,
            changed,
            (size.width, size.height),
            shown,
            (min(self._pan[0], max(0, image.rows - 1)), min(self._pan[1], columns - shown)),
            self.colours.ground.rgb,
            0 if self._zoom else _SMALLEST,
        )
        self._pan = wanted.first
        if wanted in (self._wanted, self._on_screen):
            return
        self._wanted = wanted
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load())

    async def _load(self) -> None:
        """Decode what is wanted; wishes that arrive meanwhile are served last come, only."""
        while (wanted := self._wanted) is not None and wanted != self._on_screen:
            image = self.image
            if image is None:
                return
            rows = image.rows
            try:
                pixels, layout, first, picture = await asyncio.to_thread(
                    _render, wanted, max(1, len(image.columns) or 1), rows, self.want_picture
                )
            except (OSError, ValueError) as error:
                log.warning("cannot show %s: %s", wanted.path, error)
                self._failed = f"Cannot read {wanted.path.name}: {error}"
                self._pixels, self._on_screen, self.picture = None, wanted, None
                self.update_lines()
                continue
            self._failed = ""
            self._columns = image.columns
            self.picture = picture
            self._pixels, self._layout_now = pixels, layout
            self._pan = first
            self._on_screen = wanted
            if self._wanted == wanted:
                self._wanted = None
            self.update_lines()
            self.post_message(self.Shown())

    async def settled(self) -> None:
        """Wait until the wanted picture is drawn (for tests)."""
        while self._loading is not None and not self._loading.done():
            await self._loading

    @property
    def picture_region(self) -> Region | None:
        """Where the tiles lie inside this widget, for a sharper picture above them."""
        layout = self._layout_now
        if layout is None or self._pixels is None:
            return None
        rows = layout.height // 2
        return Region(layout.left, 1 + self._above(self.size.height, rows), layout.width, rows)

    @staticmethod
    def _above(height: int, rows: int) -> int:
        """Blank rows above the captions."""
        return max(0, (height - 1 - rows) // 2)

    # -- drawing --------------------------------------------------------------------------------

    def lines(self, width: int, height: int) -> list[Strip]:
        """Column captions above the tiles."""
        from recaster_tui.ui.halfblock import strips

        colours = self.colours
        if self._pixels is None or self._layout_now is None:
            text = self._failed or "Previews appear while the model trains."
            blank = Words().strip(width)
            result = [blank] * height
            if height:
                left = max(0, (width - len(text)) // 2)
                result[height // 2] = Words().fill(left).add(text, colours.muted()).strip(width)
            return result
        layout = self._layout_now
        style = colours.muted()
        captions = Words()
        names = self._columns[self._pan[1] : self._pan[1] + layout.columns]
        for i, name in enumerate(names):
            shown = name[: layout.tile]
            captions.fill(layout.centre(i) - len(shown) // 2).add(shown, style)
        body = strips(self._pixels)
        before = Strip.blank(layout.left, Style())
        after = Strip.blank(max(0, width - layout.left - layout.width), Style())
        picture = [Strip.join([before, strip, after]) for strip in body]
        above = self._above(height, len(picture))
        blank = Words().strip(width)
        return [*[blank] * above, captions.strip(width), *picture][:height]


def _render(
    wanted: _Shown, columns: int, rows: int, want_picture: bool
) -> "tuple[np.ndarray, TileLayout, tuple[int, int], PilImage | None]":
    import numpy as np
    from PIL import Image

    from recaster_tui.ui.halfblock import mosaic, tile_layout

    with Image.open(wanted.path) as file:
        picture = np.asarray(file.convert("RGB"))
    resolution = picture.shape[1] // columns
    rows = rows or max(1, picture.shape[0] // max(resolution, 1))
    width, height = wanted.size
    layout = tile_layout(
        width, height - 1, wanted.columns, rows, resolution, smallest=wanted.smallest
    )
    if not layout.tile:
        raise ValueError("no room")
    first = (min(wanted.first[0], rows - layout.rows), wanted.first[1])
    pixels = mosaic(picture, layout, columns, rows, first, wanted.ground)
    if not want_picture:
        return pixels, layout, first, None
    scale = max(1, min(_SCALE, _WIDEST // layout.width))
    fine = replace(layout, tile=layout.tile * scale, gap=layout.gap * scale)
    sharp = mosaic(picture, fine, columns, rows, first, wanted.ground)
    return pixels, layout, first, Image.fromarray(sharp)

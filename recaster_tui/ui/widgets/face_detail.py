"""One face, large: its picture with outlines or the frame it is from, its values, its findings."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.style import Style
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from recaster_tui.ui.palette import Palette
from recaster_tui.ui.widgets.panel import Lines, Words
from recaster_tui.ui.widgets.text_pane import paragraph

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as PilImage

log = logging.getLogger(__name__)

_LEAST_TEXT = 30  # cells of text beside a picture
_FEWEST = 7  # rows of text below a picture, where its height is shared
_SHARP = 10  # pixels of a sharp picture for each cell of width
_LARGEST = 1000


@dataclass(frozen=True)
class Value:
    """A label with its value."""

    label: str
    value: str
    colour: str = "text"


@dataclass(frozen=True)
class FaceText:
    """What is written of a face.

    Attributes:
        title: its name.
        score: 0 to 100, or None before a check.
        findings: (theme colour, what is wrong in words).
        note: something that went wrong.
    """

    title: str
    rows: Sequence[Value] = ()
    findings: Sequence[tuple[str, str]] = ()
    score: float | None = None
    note: str = ""


Painter = Callable[[int, int], "tuple[NDArray[np.uint8] | None, FaceText]"]
"""(pixels across, pixels down) → (h, w, 3) uint8 RGB not larger than that, and the text. Called
in a thread."""


class FaceDetail(Lines):
    """Asks a :data:`Painter` in a thread; the last wish counts. Repaints the rows that changed."""

    class Shown(Message):
        """Another picture is drawn."""

        def __init__(self, detail: "FaceDetail") -> None:
            super().__init__()
            self.detail = detail

    def __init__(self, *, id: str | None = None, text_right: bool = True) -> None:  # noqa: A002
        super().__init__(id=id)
        self.text_right = text_right
        self.pictures = True
        self.want_picture = False
        self.picture: PilImage | None = None
        self.hint = ""
        self.text: FaceText | None = None
        self._painter: Painter | None = None
        self._key: Any = None
        self._pixels: NDArray[np.uint8] | None = None
        self._wanted: Any = None
        self._drawn_key: Any = None
        self._loading: asyncio.Task[None] | None = None

    def show(self, key: Any, painter: Painter | None) -> None:
        """Show what *painter* paints; equal keys mean equal pictures."""
        self._key, self._painter = key, painter
        if painter is None:
            self.text = self._pixels = self.picture = self._wanted = self._drawn_key = None
            self.update_lines()
            self.post_message(self.Shown(self))
            return
        self._ask()

    def on_resize(self) -> None:
        """Another size."""
        super().on_resize()
        self._ask()

    def _ask(self) -> None:
        size = self.content_size
        if not self.is_mounted or self._painter is None or size.width < 8 or size.height < 2:
            return
        wanted = (self._key, self._room(size.width, size.height), self.want_picture)
        if wanted in (self._wanted, self._drawn_key) and self._wanted is not None:
            return
        if wanted == self._drawn_key:
            return
        self._wanted = wanted
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load())

    async def _load(self) -> None:
        while (wanted := self._wanted) is not None and wanted != self._drawn_key:
            painter = self._painter
            if painter is None:
                return
            across, down = wanted[1]
            try:
                pixels, text, picture = await asyncio.to_thread(
                    _paint, painter, across, down, wanted[2], self.pictures
                )
            except Exception as error:  # a file from anywhere must never end the screen
                log.exception("drawing a face")
                pixels, picture = None, None
                text = FaceText("", note=f"cannot be drawn: {error}")
            if self._wanted != wanted:
                continue
            self._pixels, self.text, self.picture = pixels, text, picture
            self._drawn_key, self._wanted = wanted, None
            self.update_lines()
            self.post_message(self.Shown(self))

    async def settled(self) -> None:
        """Wait until the wanted face is drawn (for tests)."""
        while self._loading is not None and not self._loading.done():
            await self._loading

    # -- layout ---------------------------------------------------------------------------------

    def _beside(self, width: int, height: int) -> bool:
        """Whether the text stands right of the picture."""
        return self.text_right and width >= 2 * height + _LEAST_TEXT

    def _room(self, width: int, height: int) -> tuple[int, int]:
        """Pixels for the picture."""
        if not self.pictures:
            return 0, 0
        if self._beside(width, height):
            return max(2, width - _LEAST_TEXT - 4), 2 * height
        return width - 2, 2 * max(2, min(height - _FEWEST, (width - 1) // 2))

    @property
    def picture_region(self) -> Region | None:
        """Where the picture lies in this widget."""
        if self._pixels is None:
            return None
        tall, wide = self._pixels.shape[:2]
        return Region(self._left(wide), 0, wide, tall // 2)

    def _left(self, wide: int) -> int:
        if self._beside(self.content_size.width, self.content_size.height):
            return 1
        return max(0, (self.content_size.width - wide) // 2)

    # -- drawing --------------------------------------------------------------------------------

    def lines(self, width: int, height: int) -> list[Strip]:
        """Picture and text, side by side where there is room."""
        from recaster_tui.ui.halfblock import strips

        colours = self.colours
        if self.text is None:
            words = paragraph(self.hint, colours.muted(), width - 1, 1) if self.hint else []
            return [line.strip(width) for line in words][:height]
        body = strips(self._pixels) if self._pixels is not None else []
        if body and self._beside(width, height):
            start = 1 + body[0].cell_length + 3
            text = self._written(width - start, height, colours)
            result = []
            for y in range(max(len(body), len(text))):
                line = Words().add(" ")
                if y < len(body):
                    for segment in body[y]:
                        line.add(segment.text, segment.style)
                line.fill(start)
                if y < len(text):
                    line.extend(text[y])
                result.append(line.strip(width))
            return result[:height]
        result = []
        for strip in body:
            before = Strip.blank(self._left(strip.cell_length), Style())
            result.append(Strip.join([before, strip]).adjust_cell_length(width))
        result += [w.strip(width) for w in self._written(width, height - len(result), colours)]
        return result[:height]

    def _written(self, width: int, height: int, colours: Palette) -> list[Words]:
        text = self.text
        assert text is not None
        title = Words().add(f" {text.title}"[:width], colours.style("text", bold=True))
        if text.score is not None:
            score = f"  {text.score:.0f} of 100"
            if title.length + len(score) <= width:
                title.add(score, colours.style(score_colour(text.score), bold=True))
        lines = [title]
        if text.note:
            lines += paragraph(text.note, colours.style("warning"), width - 1, 1)
        for colour, reason in text.findings:
            first = True
            for part in paragraph(reason, colours.style(colour), width - 3, 0):
                mark = " ● " if first else "   "
                lines.append(Words().add(mark, colours.style(colour)).extend(part))
                first = False
        label = max((len(row.label) for row in text.rows), default=0) + 2
        room = height - len(lines)
        pairs = width >= 60 and len(text.rows) > room
        half = -(-len(text.rows) // 2) if pairs else len(text.rows)
        wide = width // 2 if pairs else width
        for i in range(half):
            line = _row(text.rows[i], label, wide, colours)
            if pairs and half + i < len(text.rows):
                line.fill(wide).extend(_row(text.rows[half + i], label, wide, colours))
            lines.append(line)
        return lines


def _row(row: Value, label: int, width: int, colours: Palette) -> Words:
    line = Words().add(f" {row.label}".ljust(label), colours.muted())
    room = max(4, width - label - 1)
    value = row.value if len(row.value) <= room else "…" + row.value[-(room - 1) :]
    return line.add(value, colours.style(row.colour))


def score_colour(score: float) -> str:
    """Theme variable of a score of 0 to 100."""
    return "state-good" if score >= 75 else "state-hold" if score >= 45 else "state-bad"


def _paint(
    painter: Painter, across: int, down: int, sharp: bool, pictures: bool
) -> "tuple[NDArray[np.uint8] | None, FaceText, PilImage | None]":
    import cv2
    import numpy as np

    if not pictures or across < 2 or down < 2:
        return None, painter(2, 2)[1], None
    if not sharp:
        pixels, text = painter(across, down)
        return _even(pixels), text, None
    scale = max(1, min(_SHARP, _LARGEST // max(across, down)))
    large, text = painter(across * scale, down * scale)
    if large is None:
        return None, text, None
    from PIL import Image

    tall, wide = large.shape[:2]
    size = (max(2, min(across, round(wide / scale))), max(2, min(down, round(tall / scale))))
    small = np.asarray(cv2.resize(large, size, interpolation=cv2.INTER_AREA), np.uint8)
    return _even(small), text, Image.fromarray(large)


def _even(pixels: "NDArray[np.uint8] | None") -> "NDArray[np.uint8] | None":
    import numpy as np

    if pixels is None or pixels.shape[0] % 2 == 0:
        return pixels
    return np.concatenate([pixels, pixels[-1:]])

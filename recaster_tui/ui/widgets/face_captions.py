"""How a face of the grid looks: its picture fitted, its caption, the words of an empty grid."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from recaster_tui.ui.palette import Palette

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Caption:
    """What stands below a face.

    Attributes:
        name: shortened from its front where it is too long: the end tells faces apart.
        value: right of it, e.g. the score; *colour* is a theme variable.
        note: second line, e.g. what is wrong with the face.
        marked: it is among the marked ones; ``chosen``: a range being marked covers it.
    """

    name: str
    value: str = ""
    colour: str = "text"
    note: str = ""
    marked: bool = False
    chosen: bool = False


def caption_line(
    caption: Caption, line: int, tile: int, look: Style | None, colours: Palette
) -> Iterable[Segment]:
    """Line 0 (mark, name, value) or 1 (note) of a caption, *tile* cells wide.

    Args:
        look: the style of all of it, from :func:`caption_look`; None: its own.
    """
    if line == 1:
        style = colours.muted() if look is None else look
        return [Segment(" ", style), Segment(_cut(caption.note, tile - 1), style)]
    if caption.marked:
        mark = Segment("◆", colours.style("accent", bold=True) if look is None else look)
    else:
        mark = Segment(" ", look)
    value = caption.value
    room = tile - 1 - (cell_len(value) + 1 if value else 0)
    if room < 4:
        value, room = "", tile - 1
    name = _end(caption.name, room)
    style = colours.style("text", bold=caption.marked) if look is None else look
    parts = [mark, Segment(name, style)]
    if value:
        parts.append(Segment(" ", look))
        parts.append(Segment(value, colours.style(caption.colour) if look is None else look))
    return parts


def caption_look(cursor: bool, focus: bool, chosen: bool, colours: Palette) -> Style | None:
    """The style of a caption that is under the cursor or being marked; None: its own."""
    if cursor and focus:
        if colours.ground.ansi is not None:
            return Style(reverse=True, bold=True)
        return colours.style("background", on="primary", bold=True)
    if cursor:
        return colours.style("text", bold=True) + colours.tint("text", 0.22)
    if chosen:
        if colours.ground.ansi is not None:
            return Style(underline=True, bold=True)
        return colours.style("text", bold=True) + colours.tint("accent", 0.35)
    return None


def hint_line(hint: str, y: int, width: int, colours: Palette) -> Strip:
    """Row *y* of a grid without faces, which says why; the first line of *hint* is bold."""
    lines: list[tuple[str, Style]] = []
    for i, part in enumerate(hint.splitlines()):
        style = colours.style("text", bold=True) if i == 0 else colours.muted()
        lines += [(line, style) for line in textwrap.wrap(part, max(8, width - 4)) or [""]]
    at = y - 1
    if not 0 <= at < len(lines):
        return Strip.blank(width)
    text, style = lines[at]
    return Strip([Segment("  "), Segment(text, style)]).adjust_cell_length(width)


def fitted(pixels: "NDArray[np.uint8]", side: int) -> "NDArray[np.uint8]":
    """(side, side, 3) uint8 of a picture (h, w, 3), averaged down or interpolated up."""
    if pixels.shape[:2] == (side, side):
        return pixels
    import cv2
    import numpy as np

    how = cv2.INTER_AREA if pixels.shape[0] > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=how), np.uint8)


def _cut(text: str, room: int) -> str:
    if cell_len(text) <= room:
        return set_cell_size(text, room)
    return set_cell_size(text, room - 1) + "…"


def _end(text: str, room: int) -> str:
    """The end of *text*, where it is too long."""
    if cell_len(text) <= room:
        return set_cell_size(text, room)
    while text and cell_len(text) > room - 1:
        text = text[1:]
    return set_cell_size("…" + text, room)

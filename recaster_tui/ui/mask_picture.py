"""A face with its outlines as a picture of any size: for half-blocks and for sixel alike."""

from dataclasses import dataclass, field
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.face import Polygon

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]
Spot = tuple[float, float]


class Base(StrEnum):
    """What lies under the outlines."""

    PICTURE = "picture"
    BAKED = "baked polygons"
    STORED = "stored mask"


class Dimmed(StrEnum):
    """What is outside is shown at half brightness."""

    NOTHING = "off"
    STORED = "stored mask"
    POLYGONS = "polygons"


@dataclass(frozen=True)
class Colours:
    """RGB of everything that is drawn; from the theme."""

    ground: Colour = (21, 22, 31)
    include: Colour = (158, 206, 106)
    exclude: Colour = (247, 118, 142)
    draft: Colour = (125, 207, 255)
    point: Colour = (255, 255, 255)
    selected: Colour = (224, 175, 104)
    hull: Colour = (122, 162, 247)
    landmarks: Colour = (187, 154, 247)


@dataclass(frozen=True)
class View:
    """Which part of the picture is seen.

    Attributes:
        width, height: of the view, in its own pixels.
        centre: pixel of the face's picture in the middle.
        scale: view pixels for each pixel of the face's picture.
    """

    width: int
    height: int
    centre: Spot
    scale: float

    def to_view(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n, 2) picture pixels to view pixels; whole numbers are centres of pixels."""
        middle = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        spots: NDArray[np.float64] = np.asarray(points, np.float64) - np.array(self.centre)
        return np.asarray(spots * self.scale + middle, np.float64)

    def to_picture(self, x: float, y: float) -> Spot:
        """A view pixel to picture pixels."""
        return (
            (x - (self.width - 1) / 2) / self.scale + self.centre[0],
            (y - (self.height - 1) / 2) / self.scale + self.centre[1],
        )

    def magnified(self, factor: int) -> "View":
        """The same part in *factor* times as many pixels."""
        return View(self.width * factor, self.height * factor, self.centre, self.scale * factor)


@dataclass(frozen=True)
class Rays:
    """Drawing round the face: see ``faces.ray_drawing``."""

    centre: Spot
    points: NDArray[np.float32]
    at: int


@dataclass(frozen=True)
class Drawing:
    """All there is to draw. Masks are (H, W) of 0 to 1 in the picture's own pixels."""

    image: Pixels  # (H, W, 3) RGB
    polygons: tuple[Polygon, ...] = ()
    selected: int | None = None
    point: int | None = None
    draft: tuple[Spot, ...] | None = None
    draft_include: bool = True
    cursor: Spot | None = None
    rays: Rays | None = None
    base: Base = Base.PICTURE
    dimmed: Dimmed = Dimmed.NOTHING
    baked: NDArray[np.float32] | None = None
    stored: NDArray[np.float32] | None = None
    hull: NDArray[np.float32] | None = None  # (n, 2)
    landmarks: NDArray[np.float32] | None = None
    colours: Colours = field(default_factory=Colours)


def compose(drawing: Drawing, view: View, unit: int = 1) -> Pixels:
    """Draw it.

    Args:
        drawing: what.
        view: which part of it.
        unit: how many view pixels a line is meant to be wide apart from others: 1 for
            half-blocks, the magnification for a sharper picture.

    Returns:
        (view.height, view.width, 3) uint8 RGB.
    """
    colours = drawing.colours
    canvas = _seen(_based(drawing), view, colours.ground)
    wide = max(1, unit // 4)
    if drawing.hull is not None:
        _dotted(canvas, view.to_view(drawing.hull), colours.hull, wide, unit)
    if drawing.landmarks is not None:
        for x, y in view.to_view(drawing.landmarks):
            _dot(canvas, x, y, colours.landmarks, max(1, unit // 3))
    for i, polygon in enumerate(drawing.polygons):
        colour = colours.include if polygon.include else colours.exclude
        chosen = drawing.selected == i
        if not chosen and drawing.selected is not None:
            colour = _mixed(colour, colours.ground, 0.35)
        spots = view.to_view(polygon.points)
        if polygon.include:
            _line(canvas, np.concatenate([spots, spots[:1]]), colour, wide)
        else:
            _dotted(canvas, spots, colour, wide, unit)
        if chosen:
            for x, y in spots:
                _dot(canvas, x, y, _mixed(colour, colours.point, 0.65), max(1, unit // 2))
    if drawing.selected is not None and drawing.point is not None:
        points = drawing.polygons[drawing.selected].points
        x, y = view.to_view(points[drawing.point : drawing.point + 1])[0]
        _plus(canvas, x, y, colours.selected, unit)
    if drawing.draft:
        kind = colours.include if drawing.draft_include else colours.exclude
        path = [*drawing.draft, *([drawing.cursor] if drawing.cursor else [])]
        spots = view.to_view(np.asarray(path, np.float64))
        _line(canvas, spots, kind, wide)
        for x, y in spots[: len(drawing.draft)]:
            _dot(canvas, x, y, colours.point, max(1, unit // 2))
        _plus(canvas, float(spots[0, 0]), float(spots[0, 1]), colours.selected, unit)
    if drawing.rays is not None:
        _draw_rays(canvas, view, drawing.rays, colours, wide, unit)
    elif drawing.cursor is not None:
        x, y = view.to_view(np.asarray([drawing.cursor]))[0]
        _crosshair(canvas, x, y, unit)
    return canvas


def _based(drawing: Drawing) -> Pixels:
    image = drawing.image
    if drawing.base is not Base.PICTURE:
        mask = drawing.baked if drawing.base is Base.BAKED else drawing.stored
        if mask is None:
            mask = np.zeros(image.shape[:2], np.float32)
        grey = (np.clip(mask, 0, 1) * 215 + 20).astype(np.uint8)
        # A trace of the face stays: outlines are judged against something.
        trace = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        mixed = cv2.addWeighted(trace, 0.12, np.repeat(grey[..., None], 3, 2), 0.88, 0)
        return np.asarray(mixed, np.uint8)
    mask = {Dimmed.STORED: drawing.stored, Dimmed.POLYGONS: drawing.baked}.get(drawing.dimmed)
    if mask is None:
        return image
    light = 0.5 + 0.5 * np.clip(mask, 0, 1)[..., None]
    return np.asarray(image * light, np.float32).astype(np.uint8)


def _seen(image: Pixels, view: View, ground: Colour) -> Pixels:
    """The part of *image* in *view*, averaged where it is made smaller."""
    scale = view.scale
    middle = np.array([(view.width - 1) / 2, (view.height - 1) / 2])
    shift = middle - np.array(view.centre) * scale
    if scale < 1:
        height, width = (max(1, round(s * scale)) for s in image.shape[:2])
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
        shift, scale = np.round(shift + 0.5 - 0.5 * scale), 1.0
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    seen = cv2.warpAffine(
        image, matrix, (view.width, view.height), flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT, borderValue=ground,
    )  # fmt: skip
    return np.ascontiguousarray(seen, np.uint8)


def _draw_rays(
    canvas: Pixels, view: View, rays: Rays, colours: Colours, wide: int, unit: int
) -> None:
    spots = view.to_view(rays.points)
    waiting = _mixed(colours.draft, colours.ground, 0.45)
    _dotted(canvas, spots, waiting, wide, unit)
    if rays.at:
        _line(canvas, spots[: rays.at + 1], colours.draft, wide)
    for x, y in spots[: rays.at]:
        _dot(canvas, x, y, colours.point, max(1, unit // 2))
    for x, y in spots[rays.at + 1 :]:
        _dot(canvas, x, y, waiting, max(1, unit // 2))
    start = view.to_view(np.asarray([rays.centre]))[0]
    end = spots[rays.at]
    _dotted(canvas, np.stack([start, end]), colours.selected, wide, unit, closed=False)
    _plus(canvas, end[0], end[1], colours.selected, unit)


_SHIFT = 4


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.round(np.clip(points, -20_000, 20_000) * (1 << _SHIFT)).astype(np.int32)


def _line(canvas: Pixels, points: NDArray[np.float64], colour: Colour, wide: int) -> None:
    kind = cv2.LINE_8 if wide == 1 else cv2.LINE_AA
    cv2.polylines(canvas, [_fixed(points)], False, colour, wide, kind, _SHIFT)


def _dotted(
    canvas: Pixels,
    points: NDArray[np.float64],
    colour: Colour,
    wide: int,
    unit: int,
    *,
    closed: bool = True,
) -> None:
    """Two units on, two off, along the whole outline."""
    ends = np.roll(points, -1, 0) if closed else points[1:]
    reach = 0.0
    for start, end in zip(points, ends, strict=False):
        length = float(np.hypot(*(end - start)))
        if not 0 < length < 20_000:
            continue
        at = np.arange(0, length, max(1.0, unit / 2))
        on = ((at + reach) / unit % 4) < 2
        spots = start + (end - start) * (at[on] / length)[:, None]
        for x, y in spots:
            _dot(canvas, x, y, colour, wide)
        reach += length


def _dot(canvas: Pixels, x: float, y: float, colour: Colour, size: int) -> None:
    """A square of *size* view pixels about a place."""
    left, top = round(x - (size - 1) / 2), round(y - (size - 1) / 2)
    canvas[max(0, top) : max(0, top + size), max(0, left) : max(0, left + size)] = colour


def _plus(canvas: Pixels, x: float, y: float, colour: Colour, unit: int) -> None:
    for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        _dot(canvas, round(x) + dx * unit, round(y) + dy * unit, colour, unit)


def _crosshair(canvas: Pixels, x: float, y: float, unit: int) -> None:
    """Arms with a gap, light on dark and dark on light; the middle stays free."""
    height, width = canvas.shape[:2]
    cx, cy = round(x), round(y)
    half = max(0, unit // 4)
    for step in range(2 * unit, 5 * unit):
        for dx, dy in ((step, 0), (-step, 0), (0, step), (0, -step)):
            px, py = cx + dx, cy + dy
            if 0 <= px < width and 0 <= py < height:
                light = int(canvas[py, px].sum()) < 384
                spot = canvas[
                    max(0, py - (half if dx else 0)) : py + (half if dx else 0) + 1,
                    max(0, px - (half if dy else 0)) : px + (half if dy else 0) + 1,
                ]
                spot[:] = 255 if light else 0


def _mixed(one: Colour, other: Colour, part: float) -> Colour:
    r, g, b = (round(a + (c - a) * part) for a, c in zip(one, other, strict=True))
    return r, g, b

"""One sample for XSeg from a face with a mask (spec/dfl-models.md 7.7).

The steps and their draws are here once. How pixels are moved is given: training takes
:data:`FAST`, the judge takes the original's own arithmetic (:mod:`training.reference.segmented`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.codec import decode_pixels
from recaster_tui.faces.face import Face
from recaster_tui.faces.geometry import alignment_matrix
from recaster_tui.faces.masks import face_mask, polygon_mask
from recaster_tui.faces.types import FaceType
from recaster_tui.training.data import segmented_filters as filters
from recaster_tui.training.data.geometry import affine_matrices, refine

Image = NDArray[np.float32]

SIDE = 256
FACE_RANGES = (10.0, 0.05, 0.05)
"""± degrees, scale, shift of the face (7.4)."""
BACKGROUND_RANGES = (180.0, 0.10, 0.10)
CHANCE = 25
"""Percent, of every filter that spoils the picture."""

_FLIP_CHANCE = 4  # of 10
_NOISE_LIMIT = 2.5
_NOISE_GAIN = 0.24
_OUTSIDE = -1e4
_SMALLER = 4


@dataclass(frozen=True)
class LabelledFace:
    """Picture (256, 256, 3) and truth (256, 256), float32 0..1.

    Lanczos resampling may leave both a little outside 0..1.
    """

    image: Image
    mask: Image


class Place(Protocol):
    """One drawn geometry; pictures (256, 256, 3) or masks (256, 256), cubic."""

    def __call__(self, image: Image, *, warp: bool, replicate: bool) -> Image:
        """Move *image*; beyond its edge the edge repeats (*replicate*) or all is 0."""
        ...


class Pixels(Protocol):
    """How geometry and wide blurs are computed."""

    def geometry(
        self, rnd: np.random.RandomState, ranges: tuple[float, float, float], flip: bool
    ) -> Place:
        """Draw one geometry; mirrored in 40 % of the cases where *flip*."""
        ...

    def wide_blur(self, image: Image, size: int) -> Image:
        """Gaussian blur with a kernel of *size* (odd, 65..255) pixels, automatic sigma."""
        ...


def labelled(face: Face) -> bool:
    """Whether a polygon is drawn on the face."""
    return any(len(polygon.points) for polygon in face.polygons)


def fit_labelled(face: Face, face_type: FaceType) -> LabelledFace:
    """A face and its polygons (or else its stored mask, cut at 0.5) at 256 × 256.

    Raises:
        FaceFileError: pixels or stored mask are damaged.
    """
    image = plain_picture(face, face_type)
    if labelled(face):
        mask = polygon_mask(face.shape, face.polygons)
    else:
        mask = (face_mask(face) >= 0.5).astype(np.float32)
    return LabelledFace(image, _fit(mask, face, face_type))


def plain_picture(face: Face, face_type: FaceType) -> Image:
    """A face without its truth at 256 × 256, black beyond its edge.

    Raises:
        FaceFileError: the pixels are damaged.
    """
    return _fit(decode_pixels(face).astype(np.float32) / np.float32(255), face, face_type)


def _fit(image: Image, face: Face, face_type: FaceType) -> Image:
    size = (SIDE, SIDE)
    # "custom" faces are used as they are, whatever the model calls its face type.
    if face_type not in (face.face_type, FaceType.CUSTOM) and face.face_type != FaceType.CUSTOM:
        matrix = alignment_matrix(face.landmarks, SIDE, face_type)
        return np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LANCZOS4), np.float32)
    if image.shape[:2] != size:
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LANCZOS4), np.float32)
    return image


def make_sample(
    face: LabelledFace,
    background: Callable[[], LabelledFace],
    rnd: np.random.RandomState,
    pixels: Pixels,
    *,
    flip: bool = True,
) -> tuple[Image, Image]:
    """The picture (256, 256, 3) 0..1 and its mask (256, 256) of 0 and 1.

    Args:
        face: what to show.
        background: gives another face, whose surroundings may be blended in.
        rnd: everything random comes from it.
        pixels: how to move pixels.
        flip: mirroring allowed.
    """
    image, mask = face.image, face.mask
    if rnd.randint(2) == 0:
        image = _over_background(image, mask, background(), rnd, pixels)
    place = pixels.geometry(rnd, FACE_RANGES, flip)
    image = np.clip(place(image, warp=True, replicate=True), 0, 1)
    mask = (place(mask, warp=True, replicate=False) >= 0.5).astype(np.float32)
    image = _flare(image, mask, rnd, pixels)
    return _spoil(image, rnd), mask


def _over_background(
    image: Image, mask: Image, other: LabelledFace, rnd: np.random.RandomState, pixels: Pixels
) -> Image:
    place = pixels.geometry(rnd, BACKGROUND_RANGES, True)
    other_mask = place(other.mask, warp=False, replicate=False)[..., None]
    scene = place(other.image, warp=False, replicate=True) * (1 - other_mask)
    recolour = filters.hsv_shift if rnd.randint(2) == 0 else filters.rgb_levels
    scene = recolour(scene, rnd)
    around = (1 - other_mask) * (1 - mask[..., None])
    share = np.float32(0.15 + 0.85 * rnd.random_sample())
    return image * (1 - around * (1 - share)) + scene * (around * (1 - share))


def _flare(image: Image, mask: Image, rnd: np.random.RandomState, pixels: Pixels) -> Image:
    for part in (mask, 1 - mask):
        if rnd.randint(2) == 0:
            size = rnd.randint(64, 256)
            image = image + pixels.wide_blur(image * part[..., None], size - size % 2 + 1)
    return image


def _spoil(image: Image, rnd: np.random.RandomState) -> Image:
    def circle() -> filters.Circle:
        return filters.draw_circle(SIDE, rnd)

    recolour = filters.hsv_shift if rnd.randint(2) == 0 else filters.rgb_levels
    image = recolour(image, rnd, circle())
    if rnd.randint(2) == 0:
        image = filters.sharpen(image, CHANCE, 5, rnd, circle())
    else:
        image = filters.motion_blur(image, CHANCE, 5, rnd, circle())
        image = filters.gaussian_blur(image, CHANCE, 5, rnd, circle())
    method = cv2.INTER_NEAREST if rnd.randint(2) == 0 else cv2.INTER_LINEAR
    image = filters.resize(image, CHANCE, 75, method, rnd, circle())
    return filters.jpeg(np.clip(image, 0, 1), CHANCE, rnd, circle())


# -- training's own arithmetic ------------------------------------------------------------------


@dataclass(frozen=True)
class FastPlace:
    """Warp and affine transform in one interpolation, where the original makes two.

    Attributes:
        matrix: (2, 3) forward affine.
        field: (9, 9, 2) source position (x, y) at the knots of the warp.
        flip: mirror at the end.
    """

    matrix: NDArray[np.float64]
    field: NDArray[np.float32]
    flip: bool

    def __call__(self, image: Image, *, warp: bool, replicate: bool) -> Image:
        """See :class:`Place`."""
        size, border = (SIDE, SIDE), cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT
        if warp:
            cell = SIDE // 8
            dense = cv2.resize(self.field, (SIDE + cell, SIDE + cell))
            dense = dense[cell // 2 : cell // 2 + SIDE, cell // 2 : cell // 2 + SIDE]
            # The warp itself sees black beyond the picture, whatever the border (Quirk 27).
            source = cv2.warpAffine(
                dense, self.matrix, size, borderMode=border, borderValue=(_OUTSIDE, _OUTSIDE)
            )
            moved = cv2.remap(image, source, None, cv2.INTER_CUBIC)  # type: ignore[call-overload]
        else:
            moved = cv2.warpAffine(
                image, self.matrix, size, flags=cv2.INTER_CUBIC, borderMode=border
            )
        return np.asarray(moved[:, ::-1] if self.flip else moved, np.float32)


class FastPixels:
    """One interpolation a picture; wide blurs at a quarter of the size (off by 0.005 at most)."""

    def geometry(
        self, rnd: np.random.RandomState, ranges: tuple[float, float, float], flip: bool
    ) -> Place:
        """See :class:`Pixels`."""
        rotation, scale, shift = ranges
        angle = np.radians(rnd.uniform(-rotation, rotation))
        factor = rnd.uniform(1 / (1 + scale), 1 + scale)
        offset = np.array([rnd.uniform(-shift, shift), rnd.uniform(-shift, shift)]) * SIDE
        mirrored = rnd.randint(10) < _FLIP_CHANCE
        matrix = affine_matrices(SIDE, angle[None], np.array([factor]), offset[None])[0]
        divisions = 2 << rnd.randint(3)
        inner = (divisions - 1, divisions - 1)
        noise = _truncated_normal(rnd, inner) + _truncated_normal(rnd, inner).T
        grid = np.tile(np.linspace(0, SIDE, divisions + 1), (divisions + 1, 1))
        grid[1:-1, 1:-1] += noise * (_NOISE_GAIN * SIDE / divisions)
        knots = refine(grid)
        # The y grid is the transpose of the x grid (Quirk 2).
        return FastPlace(matrix, np.dstack([knots, knots.T]), bool(mirrored and flip))

    def wide_blur(self, image: Image, size: int) -> Image:
        """See :class:`Pixels`."""
        sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8
        small = cv2.resize(
            image, (SIDE // _SMALLER, SIDE // _SMALLER), interpolation=cv2.INTER_AREA
        )
        kernel = 2 * -(-(size - 1) // (2 * _SMALLER)) + 1
        # Reflected about the edge: half a small pixel from where the original's edge pixel lies.
        blurred = cv2.GaussianBlur(
            small, (kernel, kernel), sigma / _SMALLER, borderType=cv2.BORDER_REFLECT
        )
        return np.asarray(
            cv2.resize(blurred, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.float32
        )


FAST = FastPixels()


def _truncated_normal(rnd: np.random.RandomState, shape: tuple[int, int]) -> NDArray[np.float64]:
    values = np.empty(shape)
    for i in np.ndindex(shape):
        while abs(draw := rnd.normal()) > _NOISE_LIMIT:
            pass
        values[i] = draw / _NOISE_LIMIT
    return values

"""How sharp a picture is: CPBD, the measure behind DFL's sort by blur (dfl-data.md 4.9).

N. D. Narvekar and L. J. Karam, "A no-reference image blur metric based on the cumulative
probability of blur detection (CPBD)", IEEE Trans. Image Processing 20(9), 2011. The original walks
pixel by pixel; here every step is an operation on whole pictures.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.face import Face
from recaster_tui.faces.masks import hull_mask

Gray = NDArray[np.uint8]

_BLOCK = 64
_EDGE_SHARE = 0.002  # of a block's pixels that must be edges
_LONGEST_WALK = 101
_CANNY = (0.1, 0.2)  # of the Sobel gradient, after a Gaussian of sigma 1
_CANNY_SCALE = 16  # cv2.Canny takes whole numbers
_EXPONENT = 3.6
_WIDTH_LOW_CONTRAST, _WIDTH_HIGH_CONTRAST = 5.0, 3.0  # just noticeable blur, in pixels
_CONTRAST = 50
_SHARP_BINS = 64  # blur detected with a probability below 63.5 %
_SECTOR = math.tan(math.radians(22.5))


def cpbd(gray: Gray) -> float:
    """Share of edges on which nobody would notice blur.

    Args:
        gray: (H, W) uint8. Only whole blocks of 64×64 count; a smaller picture is one block
            (DFL has no measure for it and would throw it away).

    Returns:
        0 (blurred, or no edges at all) to 1 (sharp).
    """
    rows, columns, strides = _edges(gray)
    if not len(rows):
        return 0.0
    height, width = gray.shape
    side = min(_BLOCK, height, width)
    down, across = height // side, width // side
    inside = (rows < down * side) & (columns < across * side)
    rows, columns, strides = rows[inside], columns[inside], strides[inside]
    just_noticeable = _block_widths(gray, side, down, across)[rows // side, columns // side]
    counted = just_noticeable > 0
    ratio = strides[counted] / just_noticeable[counted]
    if not len(ratio):
        return 0.0
    probability = 1.0 - np.exp(-(ratio**_EXPONENT))
    return float(np.count_nonzero(np.rint(probability * 100) < _SHARP_BINS) / len(ratio))


def masked_gray(image: NDArray[np.uint8], face: Face | None) -> Gray:
    """(H, W) gray of a (H, W, 3) BGR picture, black outside of the landmarks' hull."""
    if face is not None:
        hull = hull_mask(image.shape, face.landmarks, face.eyebrows_expand).astype(np.uint8)
        image = image * hull[..., None]
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def face_sharpness(image: NDArray[np.uint8], face: Face) -> float:
    """:func:`cpbd` of a face inside its hull, as DFL's sort by blur measures it."""
    return cpbd(masked_gray(image, face))


def _edges(
    gray: Gray,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Vertical edges: rows, columns and widths (steps 2 and 3 of dfl-data.md 4.9)."""
    height, width = gray.shape
    if height < 3 or width < 3:
        empty = np.empty(0, np.int64)
        return empty, empty, empty.astype(np.float64)
    slope = cv2.Sobel(gray, cv2.CV_16S, 1, 0, ksize=3, borderType=cv2.BORDER_REFLECT).reshape(-1)
    # In units of the unscaled kernel, whose sum is 8: squares are 64 times as large.
    power = float(cv2.norm(slope, cv2.NORM_L2SQR)) / (64.0 * slope.size)
    limit = math.floor(math.sqrt(64.0 * 2.0 * math.sqrt(power)))
    strength = np.abs(slope)
    strength[strength <= limit] = 0
    middle = np.flatnonzero(strength)
    x = middle % width
    inner = (x > 0) & (x < width - 1) & (middle >= width) & (middle < (height - 1) * width)
    middle = middle[inner]
    here = strength[middle]
    thin = ((here > strength[middle - 1]) & (here > strength[middle + 1])) | (
        (here > strength[middle - width]) & (here > strength[middle + width])
    )
    middle = middle[thin]

    levels = gray.reshape(-1).astype(np.int16)
    right = (levels[middle + 1] - levels[middle - 1]).astype(np.float32)
    below = (levels[middle + width] - levels[middle - width]).astype(np.float32)
    # A purely vertical gradient counts as angle 0 too, a quirk of the reference.
    horizontal = (np.abs(below) <= _SECTOR * np.abs(right)) | (right == 0)
    middle, falls = middle[horizontal], right[horizontal] < 0
    rows, columns = np.divmod(middle, width)
    direction = np.where(falls, -1, 1)
    widths = _walk(levels, middle - 1, -1, columns - 1, direction)
    widths += _walk(levels, middle + 1, 1, width - 2 - columns, direction)
    return rows, columns, widths.astype(np.float64)


def _walk(
    levels: NDArray[np.int16],
    start: NDArray[np.int64],
    step: int,
    room: NDArray[np.int64],
    rising: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Pixels from an edge to where the picture stops rising (or falling) to one side.

    Args:
        levels: the picture, row after row.
        start: flat index of the edge's first neighbour on that side.
        step: -1 to the left, 1 to the right.
        room: pixels between *start* and the picture's border.
        rising: 1 where the picture rises from left to right, -1 where it falls.
    """
    length = np.ones(len(start), np.int64)
    going = np.flatnonzero(room > 0)
    place, sign = start[going], (rising[going] * step).astype(np.int16)
    for walked in range(1, _LONGEST_WALK):
        following = place + step
        further = (levels[following] - levels[place]) * sign > 0
        going, place, sign = going[further], following[further], sign[further]
        if not len(going):
            break
        length[going] += 1
        inside = room[going] > walked
        if not inside.all():
            going, place, sign = going[inside], place[inside], sign[inside]
    return length


def _block_widths(gray: Gray, side: int, down: int, across: int) -> NDArray[np.float64]:
    """(down, across) just noticeable width in each block; 0 where a block has too few edges."""
    smooth = cv2.GaussianBlur(gray.astype(np.float32), (9, 9), 1.0, borderType=cv2.BORDER_REPLICATE)
    dx, dy = (
        cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=3, scale=_CANNY_SCALE)
        for order in ((1, 0), (0, 1))
    )
    low, high = (limit * _CANNY_SCALE for limit in _CANNY)
    edges = cv2.Canny(dx.astype(np.int16), dy.astype(np.int16), low, high, L2gradient=True) > 0
    blocks = _blocks(edges, side, down, across).sum((1, 3))
    contrasts = _blocks(gray, side, down, across)
    contrast = contrasts.max((1, 3)).astype(np.int64) - contrasts.min((1, 3))
    widths = np.where(contrast <= _CONTRAST, _WIDTH_LOW_CONTRAST, _WIDTH_HIGH_CONTRAST)
    return np.where(blocks > _EDGE_SHARE * side * side, widths, 0.0)


def _blocks(array: NDArray, side: int, down: int, across: int) -> NDArray:  # type: ignore[type-arg]
    return array[: down * side, : across * side].reshape(down, side, across, side)

"""FAN's crop of a face and its points in the frame, with every rounding of DFL (5.8)."""

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.extraction.finder import Frame, Points

Floats = NDArray[np.float32]
INPUT, MAPS = 256, 64
REACH = 200.0  # side of the crop, in scales
Centre = tuple[float, float]


def place(rect: tuple[float, ...]) -> tuple[Centre, float]:
    """Centre and scale of the crop for a box (left, top, right, bottom)."""
    left, top, right, bottom = rect
    return ((left + right) / 2, (top + bottom) / 2), ((right - left) + (bottom - top)) / 195.0


def cut(frame: Frame, centre: Centre, scale: float) -> Frame:
    """The crop (256, 256, 3); zeros beyond the frame."""
    corners = _to_frame(np.array([(1.0, 1.0), (INPUT, INPUT)]), centre, scale, INPUT)
    (left, top), (right, bottom) = corners.astype(np.int64).tolist()  # truncated towards zero
    height, width = frame.shape[:2]
    crop = np.zeros((max(bottom - top, 1), max(right - left, 1), 3), np.uint8)
    inside_x, inside_y = (
        slice(max(left, 0), min(right, width)),
        slice(max(top, 0), min(bottom, height)),
    )
    if inside_x.start < inside_x.stop and inside_y.start < inside_y.stop:
        part = frame[inside_y, inside_x]
        y, x = inside_y.start - top, inside_x.start - left
        crop[y : y + part.shape[0], x : x + part.shape[1]] = part
    picture = cv2.resize(crop, (INPUT, INPUT), interpolation=cv2.INTER_LINEAR)
    return np.asarray(picture, np.uint8)


def points(maps: Floats, centre: Centre, scale: float) -> Points:
    """Frame coordinates (68, 2) of the peaks of heat maps (68, 64, 64).

    A peak moves a quarter of a cell towards its higher neighbour; a border cell does not.
    """
    count = len(maps)
    at = maps.reshape(count, -1).argmax(1)
    y, x = np.divmod(at, MAPS)
    row = np.arange(count)
    left, right = maps[row, y, (x - 1).clip(0)], maps[row, y, (x + 1).clip(max=MAPS - 1)]
    above, below = maps[row, (y - 1).clip(0), x], maps[row, (y + 1).clip(max=MAPS - 1), x]
    inner = (x > 0) & (x < MAPS - 1) & (y > 0) & (y < MAPS - 1)
    shift = np.stack([np.sign(right - left), np.sign(below - above)], 1) * 0.25
    peaks = np.stack([x, y], 1) + np.where(inner[:, None], shift, 0.0) + 0.5
    return _to_frame(peaks, centre, scale, MAPS).astype(np.float32)


def _to_frame(
    crop_points: NDArray[np.float64], centre: Centre, scale: float, pixels: int
) -> NDArray[np.float64]:
    """Points of a crop *pixels* wide in the frame. By inverting the matrix, as DFL does: a formula
    solved by hand can fall on the other side of a whole number (5.8).
    """
    side = REACH * scale
    forward = np.eye(3)
    forward[0, 0] = forward[1, 1] = pixels / side
    forward[0, 2] = pixels * (-centre[0] / side + 0.5)
    forward[1, 2] = pixels * (-centre[1] / side + 0.5)
    back = np.linalg.inv(forward)
    ones = np.ones(len(crop_points))
    return np.asarray((back @ np.stack([*crop_points.T, ones])).T[:, :2], np.float64)

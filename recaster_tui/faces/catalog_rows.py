"""What the catalog knows of one face: a row of figures, measured from the file itself."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.face import DOUBT_KEY, Face
from recaster_tui.faces.jpeg import read_header
from recaster_tui.faces.pose import pitch_yaw_roll

_WINDOW = 9  # of the blur in Crete et al., 2007
_LARGEST = 1024
_MAX_PIXELS = 1 << 26


@dataclass(frozen=True)
class ColumnInfo:
    """A column of the catalog: what to call it and what it means."""

    label: str
    unit: str
    help: str


COLUMNS: Mapping[str, ColumnInfo] = MappingProxyType(
    {
        "pitch": ColumnInfo("pitch", "°", "head up (positive) or down"),
        "yaw": ColumnInfo("yaw", "°", "nose to the picture's right (positive) or left"),
        "roll": ColumnInfo(
            "roll", "°", "tilt of the line through the eyes in the frame, clockwise"
        ),
        "rect_area": ColumnInfo("area", "px²", "area of the face in its frame"),
        "size": ColumnInfo("size", "px", "side of the aligned picture"),
        "sharpness": ColumnInfo(
            "sharpness", "", "0 blurred to 1 sharp: what blurring it once more would destroy"
        ),
        "brightness": ColumnInfo("brightness", "", "mean luma of the face, 0 to 255"),
        "contrast": ColumnInfo("contrast", "", "standard deviation of the face's luma"),
        "jpeg_bytes": ColumnInfo("bytes", "B", "size of the file"),
        "has_polygons": ColumnInfo("polygons", "", "1 where a mask was drawn by hand"),
        "has_xseg": ColumnInfo("mask", "", "1 where a trained mask was applied"),
        "doubt": ColumnInfo("doubt", "", "1 where the extraction doubts the face"),
    }
)


def measure(data: bytes, scan: int, face: Face) -> tuple[NDArray[np.float32], int]:
    """The row of a face.

    Args:
        data: its complete JPEG.
        scan: where the picture data begin in it.
        face: its metadata.

    Returns:
        (len(COLUMNS),) float32, NaN where unknown, and a 64-bit name of the picture data, which
        editing metadata or renaming does not change.
    """
    values = dict.fromkeys(COLUMNS, float("nan"))
    height, width = face.shape[:2]
    pitch, yaw, _ = pitch_yaw_roll(face.landmarks, height)
    # DFL's yaw is positive for a nose at the picture's left; people expect the right.
    values |= zip(
        ("pitch", "yaw", "roll"), np.degrees((pitch, -yaw, _tilt(face))).tolist(), strict=True
    )
    if face.source_rect is not None:
        left, top, right, bottom = (float(v) for v in face.source_rect)
        values["rect_area"] = (right - left) * (bottom - top)
    values["size"] = max(height, width)
    values["jpeg_bytes"] = len(data)
    values["has_polygons"] = bool(face.polygons)
    values["has_xseg"] = face.xseg_mask is not None
    values["doubt"] = bool(face.extra.get(DOUBT_KEY))
    values |= _picture(data, face)
    row = np.array([values[key] for key in COLUMNS], np.float64)
    row[np.abs(row) > 3e38] = np.nan
    return row.astype(np.float32), picture_id(data, scan)


def picture_id(data: bytes, scan: int) -> int:
    """64 bits that name the picture data of a JPEG: CRC-32 and length."""
    return zlib.crc32(memoryview(data)[scan:]) << 32 | (len(data) - scan) & 0xFFFFFFFF


def picture_of(data: bytes) -> int:
    """:func:`picture_id` of a complete JPEG.

    Raises:
        FaceFileError: it is no JPEG.
    """
    return picture_id(data, read_header(lambda at, count: data[at : at + count], len(data)).scan)


def decode_small(
    data: bytes, shape: tuple[int, ...], at_least: int, *, gray: bool = False
) -> NDArray[Any] | None:
    """Decode a JPEG at 1, 1/2, 1/4 or 1/8 of its size, whichever is still >= *at_least*.

    Returns:
        (h, w, 3) uint8 BGR or (h, w) gray; None where it cannot be decoded.
    """
    if shape[0] * shape[1] > _MAX_PIXELS:
        return None
    side = min(shape[:2])
    flags = {
        8: (cv2.IMREAD_REDUCED_COLOR_8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
        4: (cv2.IMREAD_REDUCED_COLOR_4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
        2: (cv2.IMREAD_REDUCED_COLOR_2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
        1: (cv2.IMREAD_COLOR, cv2.IMREAD_GRAYSCALE),
    }
    factor = next(f for f in flags if side // f >= at_least or f == 1)
    try:
        image = cv2.imdecode(
            np.frombuffer(data, np.uint8), flags[factor][gray] | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error:
        return None
    return None if image is None else np.asarray(image)


def sharpness(gray: NDArray[Any]) -> float:
    """1 minus the blur metric of Crete, Dolmiere, Ladret and Nicolas, "The Blur Effect" (2007).

    Args:
        gray: (h, w), any scale.

    Returns:
        0 (blurring it more changes nothing) to 1; NaN for a picture without structure.
    """
    image = np.asarray(gray, np.float32)
    worst = 0.0
    for axis, window in ((0, (1, _WINDOW)), (1, (_WINDOW, 1))):
        if image.shape[axis] < 2:
            return float("nan")
        here = np.abs(np.diff(image, axis=axis))
        there = np.abs(np.diff(cv2.blur(image, window), axis=axis))
        total = float(here.sum())
        if total <= 0.0:
            return float("nan")
        lost = float(np.maximum(here - there, 0.0).sum())
        worst = max(worst, (total - lost) / total)
    return 1.0 - worst


def _tilt(face: Face) -> float:
    # The solver's roll is unusable (dfl-data.md 4.8), and an aligned face has none left.
    points = face.landmarks if face.source_landmarks is None else face.source_landmarks
    x, y = points[42:48].mean(0) - points[36:42].mean(0)
    return math.atan2(float(y), float(x))


def _picture(data: bytes, face: Face) -> dict[str, float]:
    image = decode_small(data, face.shape, _LARGEST // 2, gray=True)
    if image is None or not image.size:
        return {}
    points = face.landmarks * (image.shape[0] / face.shape[0])
    left, top = np.clip(points.min(0), 0, None).astype(int)
    right, bottom = np.clip(np.ceil(points.max(0)), 0, image.shape[::-1]).astype(int)
    inside = image[top:bottom, left:right]
    if min(inside.shape) < 16:  # landmarks outside of the picture, or a tiny one
        inside = image
        mask = None
    else:
        hull = cv2.convexHull(np.clip(points - (left, top), -4096, 4096).astype(np.int32))
        mask = np.zeros(inside.shape, np.uint8)
        cv2.fillConvexPoly(mask, hull, 1)
    mean, deviation = cv2.meanStdDev(inside, mask=mask)
    return {
        "sharpness": sharpness(inside),
        "brightness": float(mean[0, 0]),
        "contrast": float(deviation[0, 0]),
    }

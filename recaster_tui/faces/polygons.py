"""Filling polygons the way DFL's OpenCV did, whatever OpenCV runs here (dfl-data.md 1.6)."""

import cv2
import numpy as np
from numpy.typing import NDArray

_SHIFT = 16
_HALF = 1 << (_SHIFT - 1)


def fill_polygon(mask: NDArray[np.float32], points: NDArray[np.int32], value: float) -> None:
    """Fill a closed polygon into *mask* (H, W), even-odd, boundary included.

    ``cv2.fillPoly`` rounds the right ends of its rows differently since 4.11, which moves the
    border of a hand-drawn mask by a pixel here and there. This is the older rounding: crossings
    in 16.16 fixed point, both ends to the nearest pixel.

    Args:
        mask: changed in place.
        points: (n, 2) integer pixels; they may lie outside.
        value: what to write.
    """
    height = mask.shape[0]
    corners = [(int(x), int(y)) for x, y in points]
    edges: list[tuple[int, int, int, int]] = []
    for start, end in zip([*corners[-1:], *corners[:-1]], corners, strict=True):
        cv2.line(mask, start, end, value, 1, cv2.LINE_8)
        (x0, y0), (x1, y1) = (start, end) if start[1] <= end[1] else (end, start)
        if y0 != y1:
            run = (x1 - x0) << _SHIFT
            slope = abs(run) // (y1 - y0)  # rounded towards zero, as C does
            edges.append((y0, y1, x0 << _SHIFT, slope if run >= 0 else -slope))
    if not edges:
        return
    first = max(0, min(edge[0] for edge in edges))
    last = min(height, max(edge[1] for edge in edges))
    for y in range(first, last):
        crossings = sorted(x + (y - y0) * slope for y0, y1, x, slope in edges if y0 <= y < y1)
        for left, right in zip(crossings[::2], crossings[1::2], strict=True):
            begin = max(0, (left + _HALF) >> _SHIFT)
            mask[y, begin : max(begin, ((right + _HALF) >> _SHIFT) + 1)] = value

"""Boxes of faces from S3FD's answers, with every rounding of DFL (dfl-data.md 5.8)."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.extraction.finder import Frame
from recaster_tui.nets.s3fd import STRIDES

Floats = NDArray[np.float32]
Box = tuple[int, int, int, int]  # left, top, right, bottom in frame pixels

CANDIDATE = 0.05  # least score that takes part in the suppression
CERTAIN = 0.5  # least score that is kept
OVERLAP = 0.3
LARGEST = 4  # furthest edge of a box, in sides of the network's input
LEAST_SIDE = 40  # pixels of the frame
CHIN = 0.1  # share of its height by which a box reaches further down


def shrunk(frame: Frame) -> tuple[Frame, float]:
    """The frame as the network sees it, and how many frame pixels one of its pixels is."""
    height, width = frame.shape[:2]
    longer = max(width, height)
    target = max(64, 640 if longer >= 1280 else longer / 2)
    ratio = longer / target
    size = (int(width / ratio), int(height / ratio))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR), np.uint8), ratio


def boxes(levels: Sequence[tuple[Floats, Floats]], ratio: float) -> list[tuple[Box, float]]:
    """Faces with their scores, largest first.

    Args:
        levels: per stride scores (h, w) and boxes (4, h, w), see :class:`S3FD`.
        ratio: from :func:`shrunk`.
    """
    rows = [_level(*level, stride) for level, stride in zip(levels, STRIDES, strict=True)]
    found = np.concatenate(rows)
    # Weights that are none can give boxes of any size; a face larger than this is not cut out.
    limit = LARGEST * STRIDES[0] * max(levels[0][0].shape)
    found = _suppressed(found[(np.abs(found[:, :4]) <= limit).all(1)])
    result: list[tuple[Box, float]] = []
    for *box, score in found.tolist():
        if score < CERTAIN:
            continue
        left, top, right, bottom = (int(edge) * ratio for edge in box)
        height = bottom - top
        if min(right - left, height) < LEAST_SIDE:
            continue
        result.append(((int(left), int(top), int(right), int(bottom + CHIN * height)), score))
    result.sort(key=lambda each: -area(each[0]))
    return result


def area(box: Box) -> int:
    """Pixels in a box, whichever way round its edges are."""
    return abs((box[2] - box[0]) * (box[3] - box[1]))


def _level(scores: Floats, offsets: Floats, stride: int) -> NDArray[np.float64]:
    """(n, 5) left, top, right, bottom, score in pixels of the network's input."""
    row, column = np.nonzero(scores > CANDIDATE)
    move = offsets[:, row, column].astype(np.float64)
    prior, size = np.stack([column, row]) * stride + stride / 2, 4 * stride
    centre = prior + move[:2] * 0.1 * size
    reach = size * np.exp((move[2:] * 0.2).clip(max=50)) / 2
    corners = np.concatenate([centre - reach, centre + reach, scores[None, row, column]])
    return np.asarray(corners.T, np.float64)


def _suppressed(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those that no better one overlaps, best first; a pixel at both edges counts (+1)."""
    left, top, right, bottom, scores = found.T
    areas = (right - left + 1) * (bottom - top + 1)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, others = order[0], order[1:]
        kept.append(best)
        width = np.minimum(right[best], right[others]) - np.maximum(left[best], left[others]) + 1
        height = np.minimum(bottom[best], bottom[others]) - np.maximum(top[best], top[others]) + 1
        shared = width.clip(0) * height.clip(0)
        order = others[shared / (areas[best] + areas[others] - shared) <= OVERLAP]
    return found[np.array(kept, np.intp)]

"""The exact face mask of demo faces: as polygons for their files, as pixels for judging."""

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.demo.render import Rendering
from recaster_tui.faces.face import Polygon

Bits = NDArray[np.uint8]

SIMPLIFY = 0.75  # pixels of a 256-pixel face that an outline may leave the exact edge
SMALLEST = 24  # pixels of a 256-pixel face; smaller specks get no outline


def aligned_mask(rendering: Rendering, matrix: NDArray[np.float64], size: int) -> Bits:
    """The exact face mask (size, size), 0 or 1, in an aligned face.

    Args:
        rendering: of the frame.
        matrix: (2, 3) frame to aligned face.
        size: of the aligned face in pixels.
    """
    area = rendering.face.astype(np.float32)
    moved = cv2.warpAffine(area, matrix, (size, size), flags=cv2.INTER_LINEAR)
    return np.asarray(moved >= 0.5, np.uint8)


def outlines(mask: Bits) -> list[Polygon]:
    """Polygons that fill to *mask* (size, size) but for simplification, including ones first."""
    scale = mask.shape[0] / 256
    found = [Polygon(True, points) for points in _contours(mask, scale)]
    holes = np.uint8(1) - mask
    count, parts = cv2.connectedComponents(holes, connectivity=4)
    edge = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    for part in np.setdiff1d(np.arange(1, count), edge):
        hole = (parts == part).astype(np.uint8)
        found += [Polygon(False, points) for points in _contours(hole, scale)]
    return found


def _contours(mask: Bits, scale: float) -> list[NDArray[np.float32]]:
    """Outer outlines (n, 2) of the parts of *mask* that are large enough."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    kept = []
    for contour in contours:
        if cv2.contourArea(contour) >= SMALLEST * scale**2:
            points = cv2.approxPolyDP(contour, SIMPLIFY * scale, True)
            if len(points) >= 3:
                kept.append(points[:, 0].astype(np.float32))
    return kept

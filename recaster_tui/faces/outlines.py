"""From a mask to the outlines that fill to it: labels that people can correct."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.face import Polygon

SIMPLIFY = 0.75  # pixels of a 256-pixel face that an outline may leave the exact edge
SMALLEST = 24  # pixels of a 256-pixel face; smaller specks get no outline


def outlines(mask: NDArray[Any]) -> list[Polygon]:
    """Polygons that fill to *mask* but for simplification, including ones first.

    Args:
        mask: (H, W); above 0.5 (boolean: True) is face. Holes become excluding polygons.
    """
    bits = np.asarray(mask > 0.5, np.uint8)
    scale = bits.shape[0] / 256
    found = [Polygon(True, points) for points in _contours(bits, scale)]
    holes = np.uint8(1) - bits
    count, parts = cv2.connectedComponents(holes, connectivity=4)
    edge = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    for part in np.setdiff1d(np.arange(1, count), edge):
        hole = (parts == part).astype(np.uint8)
        found += [Polygon(False, points) for points in _contours(hole, scale)]
    return found


def _contours(mask: NDArray[np.uint8], scale: float) -> list[NDArray[np.float32]]:
    """Outer outlines (n, 2) of the parts of *mask* that are large enough."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    kept = []
    for contour in contours:
        if cv2.contourArea(contour) >= SMALLEST * scale**2:
            points = cv2.approxPolyDP(contour, SIMPLIFY * scale, True)
            if len(points) >= 3:
                kept.append(points[:, 0].astype(np.float32))
    return kept

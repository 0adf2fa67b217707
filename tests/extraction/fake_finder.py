"""A detector for tests: a red rectangle is a face, and some pictures end it.

Landmarks are the mean face in that rectangle, so the truth is known. The frame's first pixel says
more: green ends the process, blue hangs it.
"""

import os
import time
from pathlib import Path

import cv2
import numpy as np

from recaster_tui.extraction.finder import FoundFace
from recaster_tui.faces.tables import MEAN_FACE_2D

NAME = "tests.extraction.fake_finder:FakeFinder"
RED, GREEN, BLUE = (0, 0, 255), (0, 255, 0), (255, 0, 0)


def mean_face(left: float, top: float, width: float, height: float) -> np.ndarray:
    """(68, 2): the mean face in a rectangle, with a round jaw."""
    angle = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.5 + 0.5 * np.cos(angle), 0.4 + 0.6 * np.sin(angle)], 1)
    inner = np.asarray(MEAN_FACE_2D, np.float64)[-51:] * (0.7, 0.6) + (0.15, 0.15)
    return (np.concatenate([jaw, inner]) * (width, height) + (left, top)).astype(np.float32)


class FakeFinder:
    """See the module."""

    name = "fake"

    def __init__(self, threads: int = 1, weights: Path | None = None) -> None:
        self.calls = 0

    def find(self, frame_bgr: np.ndarray, *, max_faces: int = 0) -> list[FoundFace]:
        """Red rectangles, largest first."""
        first = frame_bgr[:2, :2].reshape(-1, 3).astype(int).mean(0)
        if np.abs(first - GREEN).max() < 40:
            os._exit(9)
        if np.abs(first - BLUE).max() < 40:
            time.sleep(600)
        wide = frame_bgr.astype(int)
        red = (wide[..., 2] > 150) & (wide[..., 0] < 100) & (wide[..., 1] < 100)
        _, _, boxes, _ = cv2.connectedComponentsWithStats(red.astype(np.uint8))
        found = []
        for left, top, width, height, area in boxes[1:]:
            if area < 100:
                continue
            mesh = np.full((478, 3), (left, top, 0), np.float32)
            found.append(
                FoundFace(
                    np.array([left, top, left + width, top + height], np.float32),
                    mean_face(left, top, width, height),
                    mesh,
                    1.0,
                    "at the edge" if left == 0 else None,
                )
            )
        return sorted(found, key=lambda f: -float(np.prod(f.rect[2:] - f.rect[:2])))

"""The exact face mask of demo faces: as polygons for their files, as pixels for judging."""

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.demo.render import Rendering
from recaster_tui.faces.outlines import outlines

__all__ = ["aligned_mask", "outlines"]

Bits = NDArray[np.uint8]


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

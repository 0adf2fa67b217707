"""How blurred a face is, in pixels of one common scale, whatever the size of its picture.

The width of its edges is estimated from how much steeper they get between two smoothings
(J. H. Elder, S. W. Zucker, "Local scale control for edge detection and blur estimation", PAMI
20(7), 1998; S. Zhuo, T. Sim, "Defocus map estimation from a single image", Pattern Recognition
44(9), 2011): a step blurred by s0 and then by s has a gradient of 1 / sqrt(s0² + s²). Contrast and
brightness drop out of the ratio, and so does the number of edges.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

UNIT = 120.0
"""Pixels of a unit square at the common scale: about that of a whole face of 256 pixels."""
_FINE, _COARSE = 0.8, 1.8
WIDEST = 8.0


@dataclass(frozen=True)
class EdgeBlur:
    """Standard deviation of the blur of edges, in pixels of the common scale.

    Attributes:
        all: of all edges.
        across, down: of edges that are steep from left to right, and from top to bottom:
            motion blurs one of them much more.
        contrast: mean strength of the edges in grey levels a pixel.
    """

    all: float
    across: float
    down: float
    contrast: float


def edge_blur(grey: NDArray[np.uint8], mask: NDArray[np.uint8], unit: float) -> EdgeBlur:
    """Blur of the edges inside *mask*.

    Args:
        grey: (H, W) picture.
        mask: (H, W), not 0 where to look.
        unit: pixels of the face's unit square in it.
    """
    scale = min(1.0, UNIT / unit)
    if scale < 0.9:
        size = (max(8, round(grey.shape[1] * scale)), max(8, round(grey.shape[0] * scale)))
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
        mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        unit *= scale
    image = grey.astype(np.float32)
    fx, fy = _gradient(image, _FINE)
    cx, cy = _gradient(image, _COARSE)
    fine, coarse = np.hypot(fx, fy), np.hypot(cx, cy)
    inner = np.zeros_like(mask)
    inner[3:-3, 3:-3] = mask[3:-3, 3:-3] > 0
    level = np.abs(cx) > np.abs(cy)
    left, right = coarse[:, :-2], coarse[:, 2:]
    ridge = np.zeros(coarse.shape, bool)
    middle = coarse[:, 1:-1]
    ridge[:, 1:-1] |= level[:, 1:-1] & (middle >= left) & (middle > right)
    middle = coarse[1:-1]
    ridge[1:-1] |= ~level[1:-1] & (middle >= coarse[:-2]) & (middle > coarse[2:])
    ridge &= inner > 0
    if ridge.sum() < 30:
        return EdgeBlur(WIDEST, WIDEST, WIDEST, 0.0)
    strong = ridge & (coarse >= np.quantile(coarse[ridge], 0.7))
    factor = np.float32(UNIT / unit)

    def width(where: NDArray[np.bool_]) -> float:
        if where.sum() < 12:
            return float("nan")
        ratio = fine[where] / np.maximum(coarse[where], 1e-3)
        r2 = np.maximum(ratio * ratio, 1.0 + 1e-3)
        square = (_COARSE**2 - r2 * _FINE**2) / (r2 - 1)
        return float(min(WIDEST, np.sqrt(max(float(np.median(square)), 0.0)) * factor))

    return EdgeBlur(
        width(strong), width(strong & level), width(strong & ~level), float(coarse[strong].mean())
    )


def _gradient(image: Floats, sigma: float) -> tuple[Floats, Floats]:
    smooth = cv2.GaussianBlur(image, (0, 0), sigma)
    kernel = np.array([[-0.5, 0.0, 0.5]], np.float32)
    across = cv2.filter2D(smooth, -1, kernel)
    down = cv2.filter2D(smooth, -1, kernel.T)
    return np.asarray(across, np.float32), np.asarray(down, np.float32)

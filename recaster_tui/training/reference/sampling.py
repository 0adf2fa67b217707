"""Image resampling as OpenCV 4 computes it, so that the reference is the same on OpenCV 5.

OpenCV 4 (which made the goldens) rounds source coordinates to 1/32 pixel before it weights the
neighbours; OpenCV 5 and torch do not. The difference reaches 0.015 on noise-like pictures, so the
reference carries the old rule itself. Cubic kernel: Keys with A = -0.75.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

# Bits of the fraction kept by OpenCV's fixed-point coordinates, and of its affine sums.
_FRACTION = 5
_AFFINE = 10


def remap(image: Image, map_x: Image, map_y: Image, *, cubic: bool) -> Image:
    """``cv2.remap`` of an (H, W, C) image with a constant 0 border."""
    scale = 1 << _FRACTION
    x = np.rint(map_x.astype(np.float64) * scale).astype(np.int64)
    y = np.rint(map_y.astype(np.float64) * scale).astype(np.int64)
    return _sample(image, x, y, cubic=cubic, replicate=False)


def warp_affine(
    image: Image, matrix: NDArray[np.float64], side: int, *, cubic: bool, replicate: bool
) -> Image:
    """``cv2.warpAffine`` to (side, side) with a forward *matrix*; border replicate or 0."""
    inverse = cv2.invertAffineTransform(np.asarray(matrix, np.float64))
    scale = 1 << _AFFINE
    rounding = 1 << (_AFFINE - _FRACTION - 1)
    shift = _AFFINE - _FRACTION
    steps = np.arange(side)
    x, y = (
        (
            np.rint((row[1] * steps + row[2]) * scale).astype(np.int64)[:, None]
            + rounding
            + np.rint(row[0] * steps * scale).astype(np.int64)
        )
        >> shift
        for row in inverse
    )
    return _sample(image, x, y, cubic=cubic, replicate=replicate)


def _sample(
    image: Image, x: NDArray[np.int64], y: NDArray[np.int64], *, cubic: bool, replicate: bool
) -> Image:
    height, width = image.shape[:2]
    mask = (1 << _FRACTION) - 1
    weights = _cubic_weights if cubic else _linear_weights
    weights_x, weights_y = weights(x & mask), weights(y & mask)
    first = -1 if cubic else 0
    x0, y0 = (x >> _FRACTION) + first, (y >> _FRACTION) + first
    out = np.zeros((*x.shape, image.shape[2]), np.float32)
    for j in range(weights_y.shape[-1]):
        for i in range(weights_x.shape[-1]):
            column, row = x0 + i, y0 + j
            weight = weights_x[..., i] * weights_y[..., j]
            if not replicate:
                weight = weight * ((column >= 0) & (column < width) & (row >= 0) & (row < height))
            pixels = image[row.clip(0, height - 1), column.clip(0, width - 1)]
            out += pixels * weight[..., None]
    return out


def _linear_weights(fraction: NDArray[np.int64]) -> Image:
    t = fraction.astype(np.float32) / (1 << _FRACTION)
    return np.stack([1 - t, t], axis=-1)


def _cubic_weights(fraction: NDArray[np.int64], a: float = -0.75) -> Image:
    t = fraction.astype(np.float32) / np.float32(1 << _FRACTION)

    def near(d: Image) -> Image:
        return np.asarray(((a + 2) * d - (a + 3)) * d * d + 1, np.float32)

    def far(d: Image) -> Image:
        return np.asarray(((a * d - 5 * a) * d + 8 * a) * d - 4 * a, np.float32)

    one = np.float32(1)
    return np.stack([far(t + one), near(t), near(one - t), far(one + one - t)], axis=-1)

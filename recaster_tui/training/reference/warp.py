"""Random grid warp and affine transform of one image (spec/dfl-models.md 7.4)."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.training.reference.sampling import remap, warp_affine

# Below this side the original works on an enlarged copy.
SMALLEST_SIDE = 64


@dataclass(frozen=True)
class WarpParams:
    """Geometry shared by every output of one face.

    Attributes:
        side: side at which the maps and the matrix are valid (at least 64).
        resized_from: the wanted side when it is below 64, else None.
        map_x: (side, side) float32, source column of each pixel.
        map_y: (side, side) float32, source row; the transpose of map_x (Quirk 2).
        coarse: (n, n, 2) float32, the grid of (x, y) the maps were enlarged from.
        matrix: (2, 3) float64, forward affine matrix (destination = matrix · source).
        flip: mirror horizontally at the end.
    """

    side: int
    resized_from: int | None
    map_x: NDArray[np.float32]
    map_y: NDArray[np.float32]
    coarse: NDArray[np.float32]
    matrix: NDArray[np.float64]
    flip: bool


def truncated_normal(
    shape: tuple[int, ...], rnd: np.random.RandomState, limit: float = 2.5
) -> NDArray[np.float32]:
    """Standard normals redrawn one by one until within ±limit, divided by it: float32 in ±1."""
    values = np.empty(int(np.prod(shape)), np.float32)
    for i in range(values.size):
        draw = rnd.normal()
        while not -limit <= draw <= limit:
            draw = rnd.normal()
        values[i] = draw / limit
    return values.reshape(shape)


def warp_params(
    side: int,
    *,
    flip: bool,
    rnd: np.random.RandomState,
    warp_rnd: np.random.RandomState,
    rotation: tuple[float, float] = (-10, 10),
    scale: tuple[float, float] = (-0.15, 0.15),
    shift: tuple[float, float] = (-0.05, 0.05),
) -> WarpParams:
    """Draw one face's geometry.

    Args:
        side: output resolution in pixels.
        flip: whether mirroring is allowed (40 % then).
        rnd: stream of transform and flip.
        warp_rnd: stream of the warp grid.
        rotation: degrees, positive counter-clockwise.
        scale: (s_lo, s_hi); the factor is uniform in 1/(1-s_lo) … 1+s_hi.
        shift: fraction of the side, for x and y.
    """
    w = max(side, SMALLEST_SIDE)
    angle = rnd.uniform(*rotation)
    factor = rnd.uniform(1 / (1 - scale[0]), 1 + scale[1])
    tx = rnd.uniform(*shift)
    ty = rnd.uniform(*shift)
    mirrored = bool(flip and rnd.randint(10) < 4)

    cell = (w // 2, w // 4, w // 8)[warp_rnd.randint(3)]
    n = w // cell + 1
    inner = (n - 2, n - 2)
    first = truncated_normal(inner, warp_rnd) * (cell * 0.24)
    second = truncated_normal(inner, warp_rnd) * (cell * 0.24)
    # float64, one after the other and enlarged as such: equal to the original's maps to the last
    # bit, on which the rounding to 1/32 pixel hangs.
    grid_x = np.broadcast_to(np.linspace(0, w, n), (n, n)).astype(np.float64)
    grid_x[1:-1, 1:-1] += first
    grid_x[1:-1, 1:-1] += second.T
    grid_y = grid_x.T.copy()

    half = cell // 2
    maps = [
        cv2.resize(grid, (w + cell, w + cell))[half : half + w, half : half + w]
        for grid in (grid_x, grid_y)
    ]
    matrix = np.asarray(cv2.getRotationMatrix2D((w // 2, w // 2), angle, factor), np.float64)
    matrix[:, 2] += np.array([tx * w, ty * w])
    return WarpParams(
        side=w,
        resized_from=side if side < SMALLEST_SIDE else None,
        map_x=np.ascontiguousarray(maps[0], np.float32),
        map_y=np.ascontiguousarray(maps[1], np.float32),
        coarse=np.stack([grid_x, grid_y], axis=-1).astype(np.float32),
        matrix=matrix,
        flip=mirrored,
    )


def warp_by_params(
    params: WarpParams,
    image: NDArray[np.float32],
    *,
    warp: bool,
    transform: bool,
    flip: bool,
    replicate_border: bool,
    cubic: bool = True,
) -> NDArray[np.float32]:
    """Apply the geometry to an (side, side, C) image: warp, then transform, then mirror.

    Images are sampled with *cubic* interpolation, masks without (linear).
    """
    small = params.resized_from
    method = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    if small is not None and (warp or transform):
        image = _resize(image, params.side, method)
    if warp:
        image = remap(image, params.map_x, params.map_y, cubic=cubic)
    if transform:
        image = warp_affine(
            image, params.matrix, params.side, cubic=cubic, replicate=replicate_border
        )
    if small is not None and (warp or transform):
        image = _resize(image, small, method)
    if flip and params.flip:
        image = image[:, ::-1]
    return image


def _resize(image: NDArray[np.float32], side: int, method: int) -> NDArray[np.float32]:
    resized = cv2.resize(image, (side, side), interpolation=method)
    # OpenCV drops a lone channel axis.
    return np.asarray(resized, np.float32).reshape(side, side, image.shape[2])

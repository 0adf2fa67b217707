"""A z-buffer in numpy: which triangle each pixel shows, and where on it.

All candidate (triangle, pixel) pairs are listed flat (each triangle's bounding box), tested with
barycentric coordinates, and resolved by a minimum over depth: exact, no loop over triangles.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recaster_tui.demo.mesh import Floats, Ints


@dataclass(frozen=True)
class Fragments:
    """The visible surface, one entry per covered pixel, ordered by pixel.

    Barycentric weights are those of the screen: at a head's depth range and this distance the
    perspective correction would be far below a pixel.
    """

    width: int
    height: int
    pixel: NDArray[np.int32]  # (n,) row * width + column
    triangle: Ints  # (n,) row of the triangle list
    weights: Floats  # (3, n)
    depth: Floats  # (n,)

    def interpolate(self, triangles: Ints, attributes: Floats) -> Floats:
        """Vertex *attributes* (V, k) at each fragment: (k, n), one contiguous row per attribute."""
        corners = np.ascontiguousarray(triangles[self.triangle].T)
        mixed = np.empty((attributes.shape[1], len(self.pixel)), np.float32)
        # Attribute by attribute, so that each gather reads one small contiguous array.
        for out, values in zip(mixed, np.ascontiguousarray(attributes.T), strict=True):
            np.multiply(np.take(values, corners[0]), self.weights[0], out=out)
            for corner, weight in zip(corners[1:], self.weights[1:], strict=True):
                share = np.take(values, corner)
                share *= weight
                out += share
        return mixed

    def depth_map(self) -> Floats:
        """(height, width) depth, infinite where nothing is."""
        flat = np.full(self.width * self.height, np.inf, np.float32)
        flat[self.pixel] = self.depth
        return flat.reshape(self.height, self.width)


def rasterize(points: Floats, depth: Floats, triangles: Ints, width: int, height: int) -> Fragments:
    """Resolve what is visible at each pixel centre.

    Args:
        points: (V, 2) x (right) and y (down) in pixels; the centre of the first pixel is 0.5.
        depth: (V,) distance from the viewer, smaller is nearer.
        triangles: (T, 3) counter-clockwise seen from outside (y up); others are culled.
        width: of the image in pixels.
        height: likewise.
    """
    (ax, bx, cx), (ay, by, cy) = (points[:, k][triangles.T] for k in (0, 1))
    left, right = _pixels_between(ax, bx, cx, width)
    top, bottom = _pixels_between(ay, by, cy, height)
    abx, aby, acx, acy = bx - ax, by - ay, cx - ax, cy - ay
    area = abx * acy - aby * acx
    kept = np.flatnonzero((area < -1e-6) & (right >= left) & (bottom >= top))
    left, top = left[kept], top[kept]
    across, down = right[kept] - left + 1, bottom[kept] - top + 1

    # Barycentric coordinates and depth are affine in the pixel: value = v0 + vx * x + vy * y,
    # taken relative to the box's first pixel so that float32 suffices.
    inverse = 1 / area[kept]
    vx, vy = acy[kept] * inverse, -acx[kept] * inverse
    wx, wy = -aby[kept] * inverse, abx[kept] * inverse
    first_x = left.astype(np.float32) + np.float32(0.5) - ax[kept]
    first_y = top.astype(np.float32) + np.float32(0.5) - ay[kept]
    v0 = vx * first_x + vy * first_y
    w0 = wx * first_x + wy * first_y

    count = across * down
    which = np.repeat(np.arange(len(kept)), count)
    offset = np.arange(len(which), dtype=np.int32)
    offset -= np.repeat((np.cumsum(count) - count).astype(np.int32), count)
    columns = across[which]
    dy = offset // columns
    dx = offset - dy * columns
    x, y = dx.astype(np.float32), dy.astype(np.float32)
    v = v0[which] + vx[which] * x + vy[which] * y
    w = w0[which] + wx[which] * x + wy[which] * y
    inside = np.flatnonzero((v >= 0) & (w >= 0) & (v + w <= 1))

    which, v, w = which[inside], v[inside], w[inside]
    u = 1 - v - w
    pixel = (top[which] + dy[inside]) * np.int32(width) + left[which] + dx[inside]
    triangle = kept[which]
    az, bz, cz = depth[triangles[kept].T]
    z = az[which] * u + bz[which] * v + cz[which] * w
    nearest = np.full(width * height, np.inf, np.float32)
    np.minimum.at(nearest, pixel, z)
    winner = np.full(width * height, -1, np.int64)
    front = np.flatnonzero(z <= nearest[pixel])
    winner[pixel[front]] = front
    seen = np.flatnonzero(winner >= 0)
    chosen = winner[seen]
    return Fragments(
        width,
        height,
        seen.astype(np.int32),
        triangle[chosen],
        np.stack([u[chosen], v[chosen], w[chosen]]),
        z[chosen],
    )


def _pixels_between(
    a: Floats, b: Floats, c: Floats, size: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """First and last pixel whose centre may lie between three coordinates, within 0..size."""
    low = np.ceil(np.minimum(np.minimum(a, b), c) - np.float32(0.5))
    high = np.floor(np.maximum(np.maximum(a, b), c) - np.float32(0.5))
    return np.maximum(low, 0).astype(np.int32), np.minimum(high, size - 1).astype(np.int32)

"""Random geometry of a batch: one set of numbers, two ways to apply it.

Drawing follows spec/dfl-models.md 7.4 in distribution (not in draw order: the original draws face
by face, here a batch is drawn at once). The warp grid is always held with 9 x 9 knots: the coarser
grids of the original (3 and 5 knots) are linear between knots that lie on it, so nothing is lost.
Knot *i* sits at pixel ``i · side / 8 - 0.5``.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recaster_tui.training.models.base import SideAugment

KNOTS = 9
_NOISE_LIMIT = 2.5
_NOISE_GAIN = 0.24
_FLIP_CHANCE = 0.4


@dataclass(frozen=True)
class Geometry:
    """Where each output pixel of each face comes from.

    Attributes:
        side: R in pixels.
        inverse: (B, 2, 3) float64, output pixel → pixel of the (possibly warped) face, mirroring
            included.
        field: (B, 2, 9, 9) float32, x and y in pixels of the fitted face at each knot of the warp.
    """

    side: int
    inverse: NDArray[np.float64]
    field: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        side: int,
        matrices: NDArray[np.float64],
        flips: NDArray[np.bool_],
        field: NDArray[np.float32],
    ) -> "Geometry":
        """From forward affine *matrices* (B, 2, 3) and *flips* (B,)."""
        linear = np.linalg.inv(matrices[:, :, :2])
        offset = -(linear @ matrices[:, :, 2:])
        inverse = np.concatenate([linear, offset], axis=2)
        # The mirror comes last, so its inverse first: x → side - 1 - x.
        inverse[flips, :, 2] += inverse[flips, :, 0] * (side - 1)
        inverse[flips, :, 0] *= -1
        return cls(side, inverse, field)


def draw_geometry(
    rng: np.random.Generator, batch: int, side: int, augment: SideAugment
) -> Geometry:
    """Geometry of *batch* faces.

    Rotation is uniform in ±``rotation`` degrees, the scale factor in 1/(1+s) … 1+s, shifts in
    ±``shift`` of the side; 40 % are mirrored where allowed. The same numbers are drawn whatever is
    switched on, so that switching one thing leaves the others as they were.
    """
    angle = np.radians(rng.uniform(-augment.rotation, augment.rotation, batch))
    factor = rng.uniform(1 / (1 + augment.scale), 1 + augment.scale, batch)
    shift = rng.uniform(-augment.shift, augment.shift, (batch, 2)) * side
    flips = (rng.random(batch) < _FLIP_CHANCE) & augment.flip
    field = draw_field(rng, batch, side)
    return Geometry.of(side, affine_matrices(side, angle, factor, shift), flips, field)


def plain_geometry(batch: int, side: int) -> Geometry:
    """Nothing moves."""
    matrices = np.tile(np.eye(2, 3), (batch, 1, 1))
    return Geometry.of(side, matrices, np.zeros(batch, np.bool_), knot_grid(batch, side))


def affine_matrices(
    side: int,
    angle: NDArray[np.float64],
    factor: NDArray[np.float64],
    shift: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(B, 2, 3): rotation (radians, counter-clockwise) and scale about the centre, then shift."""
    centre = side // 2
    cos, sin = factor * np.cos(angle), factor * np.sin(angle)
    matrices = np.empty((len(angle), 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = cos
    matrices[:, 0, 1] = sin
    matrices[:, 1, 0] = -sin
    matrices[:, 0, 2] = (1 - cos - sin) * centre + shift[:, 0]
    matrices[:, 1, 2] = (1 - cos + sin) * centre + shift[:, 1]
    return matrices


def knot_grid(batch: int, side: int) -> NDArray[np.float32]:
    """(B, 2, 9, 9) warp field of a face at rest, as the original has it: i · side / 8.

    That is half a pixel more than the knots' own place, which is why even a still grid moves the
    picture by half a pixel; the unwarped outputs never go through it.
    """
    line = np.linspace(0, side, KNOTS, dtype=np.float32)
    x = np.broadcast_to(line, (KNOTS, KNOTS))
    return np.broadcast_to(np.stack([x, x.T]), (batch, 2, KNOTS, KNOTS)).copy()


def draw_field(rng: np.random.Generator, batch: int, side: int) -> NDArray[np.float32]:
    """Random warp fields (B, 2, 9, 9); the y grid is the transpose of the x grid (Quirk 2)."""
    cells = rng.integers(0, 3, batch)
    noise = _truncated_normal(rng, (batch, 2, KNOTS - 2, KNOTS - 2))
    field = np.empty((batch, 2, KNOTS, KNOTS), np.float32)
    for i, choice in enumerate(cells):
        divisions = 2 << int(choice)
        inner = slice(0, divisions - 1)
        grid = np.tile(np.linspace(0, side, divisions + 1), (divisions + 1, 1))
        gain = _NOISE_GAIN * side / divisions
        grid[1:-1, 1:-1] += (noise[i, 0, inner, inner] + noise[i, 1, inner, inner].T) * gain
        field[i, 0] = refine(grid)
        field[i, 1] = field[i, 0].T
    return field


def refine(grid: NDArray[np.floating]) -> NDArray[np.float32]:
    """A (3, 3), (5, 5) or (9, 9) grid at 9 x 9 knots, by linear interpolation (exact)."""
    divisions = grid.shape[0] - 1
    weights = _refining_weights(divisions)
    return np.asarray(weights @ grid @ weights.T, np.float32)


def dense_maps(field: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Enlarge fields (B, 2, 9, 9) to (B, side, side, 2) source coordinates (x, y) in pixels.

    Bilinear between knots: what enlarging by OpenCV and cropping half a cell gives.
    """
    # In torch: numpy's BLAS would wake its own threads, which fight the training step's.
    weights = torch.from_numpy(knot_weights(side))
    rows = torch.from_numpy(field) @ weights.T
    # x and y interleaved while this is small, so that the large product comes out in order.
    rows = rows.permute(0, 2, 3, 1).reshape(len(field), KNOTS, 2 * side)
    return np.asarray((weights @ rows).view(-1, side, side, 2).numpy(), np.float32)


@cache
def _refining_weights(divisions: int) -> NDArray[np.float32]:
    return _hat_weights(np.linspace(0, divisions, KNOTS), divisions + 1)


@cache
def knot_weights(side: int) -> NDArray[np.float32]:
    """(side, 9) share of each knot in each pixel along one axis."""
    return _hat_weights((np.arange(side) + 0.5) * ((KNOTS - 1) / side), KNOTS)


def _hat_weights(positions: NDArray[Any], count: int) -> NDArray[np.float32]:
    """(n, count) linear interpolation weights of knots 0 … count-1 at *positions*."""
    distance = np.abs(positions[:, None] - np.arange(count))
    return np.asarray(np.maximum(0, 1 - distance), np.float32)


def _truncated_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    values = rng.standard_normal(shape)
    while (outside := np.abs(values) > _NOISE_LIMIT).any():
        values[outside] = rng.standard_normal(int(outside.sum()))
    return values / _NOISE_LIMIT

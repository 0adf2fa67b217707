"""Two views in which faces of a set can be compared: one upright crop, one without shape.

The *crop* follows the landmarks by a similarity only, so what lies where the eyes should be shows
whether the landmarks fit. The *texture* is warped triangle by triangle onto the mean face, so
that pose and shape are gone and the same pixel is the same part of the face.

Unit coordinates are those of the mean face (dfl-data.md 4.3): brows to nostrils fill 0..1.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.geometry import transform_points, umeyama, unit_square_matrix
from recaster_tui.faces.tables import ALIGNMENT_POINTS, ALIGNMENT_TARGET, MEAN_FACE_3D

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

CROP = 64
"""Side of the crop in pixels."""
CROP_CENTRE = (0.49, 0.45)
CROP_HALF = 0.95
"""Half the side of the crop in unit coordinates."""
TEXTURE = 40
"""Side of the texture in pixels."""

# Brow points and the eye points above which they stand: where the forehead begins.
_BROWS = np.arange(17, 27)
_BELOW = np.array([36, 36, 37, 38, 39, 42, 43, 44, 45, 45])
_FOREHEAD = 0.6


@dataclass(frozen=True)
class Atlas:
    """The mean face of the texture.

    Attributes:
        points: (78, 2) reference points in texture pixels (68 landmarks and the forehead).
        triangles: (T, 3) of them.
        corners: (n, 3) points of the triangle that each covered texel lies in.
        weights: (n, 3) barycentric weights of the texel in it.
        texel: (n,) flat index of the covered texels.
    """

    points: Floats
    triangles: NDArray[np.intp]
    corners: NDArray[np.intp]
    weights: Floats
    texel: NDArray[np.intp]

    @property
    def covered(self) -> NDArray[np.bool_]:
        """(TEXTURE, TEXTURE): where there is face."""
        mask = np.zeros(TEXTURE * TEXTURE, bool)
        mask[self.texel] = True
        return mask.reshape(TEXTURE, TEXTURE)


def mean_shape() -> Floats:
    """(68, 2) the frontal mean face in unit coordinates, jaw included."""
    front = MEAN_FACE_3D[:, :2].astype(np.float64)
    matrix = umeyama(front[list(ALIGNMENT_POINTS)], ALIGNMENT_TARGET)[:2]
    return transform_points(front, matrix).astype(np.float32)


def with_forehead(landmarks: NDArray[np.floating]) -> Floats:
    """(78, 2): *landmarks* (68, 2) and ten points above the brows."""
    points = np.asarray(landmarks, np.float32)
    brows = points[_BROWS]
    up = brows + np.float32(_FOREHEAD) * (brows - points[_BELOW])
    return np.concatenate([points, up])


@lru_cache(maxsize=1)
def atlas() -> Atlas:
    """The texture's mean face."""
    reference = with_forehead(mean_shape())
    low, high = reference.min(0), reference.max(0)
    scale = (TEXTURE - 1) / float((high - low).max())
    reference = (reference - (low + high) / 2) * scale + (TEXTURE - 1) / 2
    finder = cv2.Subdiv2D((-10, -10, TEXTURE + 20, TEXTURE + 20))
    for x, y in reference.tolist():
        finder.insert((x, y))
    corners = np.asarray(finder.getTriangleList(), np.float32).reshape(-1, 3, 2)
    distance = np.linalg.norm(corners[:, :, None] - reference[None, None], axis=3)
    inside = (distance.min(2) < 1e-2).all(1)
    triangles = distance.argmin(2)[inside]
    grid = np.stack(np.meshgrid(np.arange(TEXTURE), np.arange(TEXTURE)), 2).reshape(-1, 2)
    owner = np.full(len(grid), -1)
    bary = np.zeros((len(grid), 3), np.float32)
    for number, triangle in enumerate(triangles):
        a, b, c = reference[triangle].astype(np.float64)
        basis = np.stack([b - a, c - a], 1)
        if abs(np.linalg.det(basis)) < 1e-6:
            continue
        uv = np.linalg.solve(basis, (grid - a).T).T
        weight = np.stack([1 - uv.sum(1), uv[:, 0], uv[:, 1]], 1)
        hit = (weight >= -1e-6).all(1) & (owner < 0)
        owner[hit] = number
        bary[hit] = weight[hit]
    texel = np.flatnonzero(owner >= 0)
    return Atlas(reference, triangles, triangles[owner[texel]], bary[texel], texel)


def unit_landmarks(landmarks: NDArray[np.floating]) -> tuple[Floats, NDArray[np.float64]]:
    """Landmarks (68, 2) in unit coordinates, and the (2, 3) matrix that takes them there."""
    matrix = unit_square_matrix(landmarks)
    return transform_points(np.asarray(landmarks, np.float64), matrix).astype(np.float32), matrix


def unit_to_crop() -> NDArray[np.float64]:
    """(2, 3) unit coordinates to pixels of the crop."""
    scale = CROP / (2 * CROP_HALF)
    x, y = (CROP / 2 - c * scale for c in CROP_CENTRE)
    return np.array([(scale, 0, x), (0, scale, y)])


def crop_matrix(to_unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 3) picture to crop, of the (2, 3) matrix picture to unit."""
    return np.asarray(unit_to_crop() @ np.vstack([to_unit, (0, 0, 1)]), np.float64)


def crop(picture: Bytes, to_unit: NDArray[np.float64]) -> Bytes:
    """The upright crop (CROP, CROP[, 3]) of a picture.

    The picture is reduced by whole octaves first: a warp to so few pixels would alias.
    """
    matrix = crop_matrix(to_unit)
    while abs(np.linalg.det(matrix[:, :2])) < 0.35 and min(picture.shape[:2]) >= 2:
        picture = np.asarray(cv2.pyrDown(picture), np.uint8)
        # pyrDown keeps even pixels: x' = x / 2.
        matrix = matrix @ np.array([(2, 0, 0), (0, 2, 0), (0, 0, 1.0)])
    warped = cv2.warpAffine(
        picture, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped, np.uint8)


def texture(picture: Bytes, landmarks: NDArray[np.floating]) -> Bytes:
    """The shape-free face (TEXTURE, TEXTURE, 3), black where the atlas has no face."""
    parts = atlas()
    points = with_forehead(landmarks)
    span = np.linalg.norm(points[16] - points[0]) + np.linalg.norm(points[8] - points[27])
    scale = 1.0
    while span / scale > 4.0 * TEXTURE and min(picture.shape[:2]) >= 2:
        picture = np.asarray(cv2.pyrDown(picture), np.uint8)
        scale *= 2
    where = (points[parts.corners] * parts.weights[:, :, None]).sum(1) / np.float32(scale)
    values = cv2.remap(
        picture,
        where[None, :, 0].astype(np.float32),
        where[None, :, 1].astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )[0]
    flat = np.zeros((TEXTURE * TEXTURE, 3), np.uint8)
    flat[parts.texel] = values
    return flat.reshape(TEXTURE, TEXTURE, 3)

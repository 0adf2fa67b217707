"""Similarity fit and the alignment matrix of every face type (dfl-data.md 4.2 to 4.4)."""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from recaster_tui.errors import BadInputError
from recaster_tui.faces.pose import averaged_yaw
from recaster_tui.faces.tables import ALIGNMENT_POINTS, ALIGNMENT_TARGET, MIRROR_ORDER
from recaster_tui.faces.types import FaceType

Matrix = NDArray[np.float64]

_ALIGNMENT_INDEX = np.array(ALIGNMENT_POINTS)
_UNIT_SQUARE = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0.5, 0.5)], np.float32)


def umeyama(source: ArrayLike, target: ArrayLike, *, with_scale: bool = True) -> Matrix:
    """Least-squares similarity that maps *source* to *target* points.

    S. Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", PAMI 13(4), 1991, eq. 40 to 43.

    Args:
        source: (n, d) points.
        target: (n, d) where they should go.
        with_scale: estimate a uniform scale too; otherwise rotation and shift only.

    Returns:
        (d+1, d+1) homogeneous matrix; all NaN when the source points do not span the space.
    """
    p = np.asarray(source, np.float64)
    q = np.asarray(target)  # in its own precision: the mean of a float32 target is a float32
    count, dim = p.shape
    mean_p, mean_q = p.mean(0), q.mean(0)
    p, q = p - mean_p, q - mean_q
    covariance = q.T @ p / count
    result = np.eye(dim + 1)
    if not np.isfinite(covariance).all():
        return result * np.nan
    u, singular, v = np.linalg.svd(covariance)
    sign = np.ones(dim)
    if np.linalg.det(covariance) < 0:
        sign[-1] = -1
    rank = int(np.linalg.matrix_rank(covariance))
    if rank == 0:
        return result * np.nan
    if rank == dim - 1:
        if np.linalg.det(u) * np.linalg.det(v) > 0:
            rotation = u @ v
        else:
            flip = sign.copy()
            flip[-1] = -1
            rotation = u @ np.diag(flip) @ v
    else:
        rotation = u @ np.diag(sign) @ v
    scale = float(singular @ sign) / float(p.var(0).sum()) if with_scale else 1.0
    result[:dim, :dim] = rotation * scale
    result[:dim, dim] = mean_q - scale * (rotation @ mean_p)
    return result


def unit_square_matrix(landmarks: ArrayLike) -> Matrix:
    """(2, 3) similarity from image pixels to the mean face's unit square.

    Raises:
        BadInputError: *landmarks* are not (68, 2) finite points that span a plane.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 2):
        raise BadInputError(f"a face has 68 landmarks (x, y), not an array of shape {points.shape}")
    matrix = umeyama(points[_ALIGNMENT_INDEX], ALIGNMENT_TARGET)[:2]
    determinant = matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]
    if not np.isfinite(matrix).all() or abs(determinant) < 1e-18:
        raise BadInputError("these landmarks do not describe a face: no alignment exists")
    return matrix


def transform_points(
    points: NDArray[Any], matrix: ArrayLike, *, invert: bool = False
) -> NDArray[Any]:
    """Apply a (2, 3) affine *matrix* (or its inverse) to (n, 2) *points*.

    Returns:
        (n, 2) in the floating type of *points* (float64 for integers: nothing is rounded,
        unlike in DFL).
    """
    affine = np.asarray(matrix, np.float64)
    if invert:
        affine = np.asarray(cv2.invertAffineTransform(affine), np.float64)
    array = np.asarray(points)
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    # OpenCV computes in the points' own precision, and so does DFL: alignment depends on it.
    mapped: NDArray[Any] = cv2.transform(array[:, None, :], affine)
    return mapped[:, 0, :]


def alignment_matrix(
    landmarks: ArrayLike, size: int, face_type: FaceType, scale: float = 1.0
) -> Matrix:
    """The (2, 3) matrix that cuts an aligned face out of a picture (dfl-data.md 4.4).

    Args:
        landmarks: (68, 2) pixels of the picture.
        size: side of the aligned face in pixels; its outer corners map to 0 and *size*.
        face_type: how much to show.
        scale: larger than 1 shows less, so the face gets larger.

    Returns:
        float64, picture pixels to pixels of the aligned face (for ``cv2.warpAffine``).

    Raises:
        BadInputError: the type has no alignment, or the landmarks describe no face.
    """
    padding = face_type.padding
    if padding is None:
        raise BadInputError(f"faces of type {face_type.value!r} have no alignment")
    to_unit = unit_square_matrix(landmarks)
    # float32 throughout, as DFL: the golden matrices carry its rounding (dfl-data.md 4.4).
    square = transform_points(_UNIT_SQUARE, to_unit, invert=True)
    top_left, top_right, bottom_right, bottom_left, centre = square
    down = bottom_right - top_left
    diagonal = np.linalg.norm(down)
    down /= diagonal
    up = top_right - bottom_left
    up /= np.linalg.norm(up)
    half = np.float32(1.0 / scale * float(diagonal) * (padding * math.sqrt(2.0) + 0.5))

    if face_type is FaceType.WHOLE:
        centre = centre + np.float32(0.07) * (top_left - bottom_left)
    elif face_type is FaceType.HEAD:
        # A turned head reaches further on the side it turns away from.
        yaw = averaged_yaw(transform_points(np.asarray(landmarks), to_unit))
        yaw *= abs(math.tanh(2 * yaw))
        centre = centre - (top_left - top_right) * np.float32(yaw / 2)
        centre = centre + np.float32(0.50) * (top_left - bottom_left)

    corners = np.array([centre - down * half, centre + up * half, centre + down * half])
    if not face_type.aligned:
        reach = np.float32(math.sqrt(_float32_area(np.array([*corners, centre - up * half]))) / 2)
        corners = centre + reach * np.array([(-1, -1), (1, -1), (1, 1)], np.float32)
    wanted = np.array([(0, 0), (size, 0), (size, size)], np.float32)
    return np.asarray(cv2.getAffineTransform(corners.astype(np.float32), wanted), np.float64)


def landmarks_rect(landmarks: ArrayLike) -> NDArray[np.float32]:
    """(4,) left, top, right, bottom of the upright full-face square around *landmarks*."""
    matrix = alignment_matrix(landmarks, 256, FaceType.FULL_NO_ALIGN)
    corners = np.array([(0, 0), (255, 255)], np.float32)
    return transform_points(corners, matrix, invert=True).reshape(4).astype(np.float32)


def mirror_landmarks(landmarks: NDArray[Any], width: int) -> NDArray[Any]:
    """The (68, 2) landmarks of the picture mirrored left to right, *width* pixels wide."""
    mirrored: NDArray[Any] = np.array(landmarks)[MIRROR_ORDER]
    mirrored[:, 0] = width - mirrored[:, 0] - 1
    return mirrored


def polygon_area(points: ArrayLike) -> float:
    """Area of a simple polygon (n, 2) by the shoelace formula."""
    x, y = np.asarray(points, np.float64).T
    return 0.5 * abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1)))


def _float32_area(square: NDArray[np.float32]) -> float:
    """Area of a (4, 2) polygon, rounded as DFL's: single-precision products, added pairwise.

    Cancellation makes that up to 0.03 pixels of the crop's position; left to ``@`` it would
    also depend on the machine's BLAS.
    """
    x, y = square.T
    one, two = x * np.roll(y, 1), y * np.roll(x, 1)
    difference = ((one[0] + one[1]) + (one[2] + one[3])) - ((two[0] + two[1]) + (two[2] + two[3]))
    return 0.5 * abs(float(difference))

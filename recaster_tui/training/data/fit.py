"""Fitting a face to the training resolution: the deterministic part of a sample, done once.

Order and interpolation of spec/dfl-models.md 7.5 step 1; the result is kept as uint8, which costs
at most half a grey level (users.md C3).
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.codec import decode_pixels
from recaster_tui.faces.face import Face
from recaster_tui.faces.geometry import alignment_matrix
from recaster_tui.faces.masks import eyes_mask, face_mask, mouth_mask
from recaster_tui.faces.types import FaceType
from recaster_tui.training.data.segmented_sample import fit_labelled

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


def fit_face(face: Face, resolution: int, face_type: FaceType) -> tuple[Bytes, Bytes]:
    """The (R, R, 3) BGR picture and its (R, R) full-face mask.

    Raises:
        FaceFileError: pixels or stored mask are damaged.
    """
    pixels = decode_pixels(face)
    matrix = _matrix(face, resolution, face_type)
    image = _fit(pixels, matrix, resolution, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
    return image, _fit_mask(face_mask(face), matrix, resolution)


def fit_parts(face: Face, resolution: int, face_type: FaceType) -> tuple[Bytes, Bytes]:
    """The (R, R) eye mask and mouth mask, zero outside the full-face mask.

    Raises:
        FaceFileError: the stored mask is damaged.
        BadInputError: the picture is lower than 32 pixels.
    """
    matrix = _matrix(face, resolution, face_type)
    inside = face_mask(face) != 0
    return (
        _fit_mask(eyes_mask(face.shape, face.landmarks) * inside, matrix, resolution),
        _fit_mask(mouth_mask(face.shape, face.landmarks) * inside, matrix, resolution),
    )


def shrink_picture(face: Face, resolution: int) -> Bytes:
    """The whole aligned picture at (R, R, 3), not realigned: a colour-transfer reference."""
    return np.asarray(cv2.resize(decode_pixels(face), (resolution, resolution)), np.uint8)


def _matrix(face: Face, resolution: int, face_type: FaceType) -> NDArray[np.float64] | None:
    # "custom" faces are used as they are, whatever the model calls its face type.
    if face_type in (face.face_type, FaceType.CUSTOM) or face.face_type is FaceType.CUSTOM:
        return None
    return alignment_matrix(face.landmarks, resolution, face_type)


def _fit_mask(mask: Floats, matrix: NDArray[np.float64] | None, resolution: int) -> Bytes:
    fitted = _fit(mask, matrix, resolution, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
    return np.asarray(np.rint(np.clip(fitted, 0, 1) * 255), np.uint8)


def _fit(
    image: NDArray[np.uint8] | Floats,
    matrix: NDArray[np.float64] | None,
    resolution: int,
    interpolation: int,
    border: int,
) -> NDArray[Any]:
    size = (resolution, resolution)
    if matrix is not None:
        return cv2.warpAffine(image, matrix, size, flags=interpolation, borderMode=border)
    if image.shape[:2] != size:
        return cv2.resize(image, size, interpolation=interpolation)
    return image


Fitter = Callable[[Face], NDArray[np.uint8]]


def record_fitter(kind: str, resolution: int, face_type: FaceType) -> tuple[int, Fitter]:
    """(planes, function face → flat record) of a cache *kind*."""

    def face_only(face: Face) -> NDArray[np.uint8]:
        return np.concatenate([part.ravel() for part in fit_face(face, resolution, face_type)])

    def with_parts(face: Face) -> NDArray[np.uint8]:
        planes = (
            *fit_face(face, resolution, face_type),
            *fit_parts(face, resolution, face_type),
        )
        return np.concatenate([part.ravel() for part in planes])

    def picture(face: Face) -> NDArray[np.uint8]:
        return shrink_picture(face, resolution).ravel()

    def segmented(face: Face) -> NDArray[np.uint8]:
        found = fit_labelled(face, face_type)
        return np.concatenate(
            [
                np.rint(np.clip(part, 0, 1) * 255).astype(np.uint8).ravel()
                for part in (found.image, found.mask)
            ]
        )

    return {
        "face": (4, face_only),
        "face+parts": (6, with_parts),
        "picture": (3, picture),
        "segmented": (4, segmented),
    }[kind]

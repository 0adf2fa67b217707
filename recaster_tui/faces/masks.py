"""Face masks: the landmarks' hull, eyes, mouth, hand-drawn polygons, stored XSeg masks.

All masks are (H, W) float32 in 0..1, 1 = face (dfl-data.md 1.6, 1.7, 4.5 to 4.7).
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from recaster_tui.errors import BadInputError
from recaster_tui.faces.face import Face, FaceFileError, Polygon
from recaster_tui.faces.polygons import fill_polygon

Mask = NDArray[np.float32]

# A stored mask larger than this would not leave room for the rest in one APP15 segment.
XSEG_MASK_LIMIT = 50_000
_MAX_MASK_SIDE = 4096

_HULL_PARTS: tuple[tuple[int, ...], ...] = (
    (*range(9), 17),
    (*range(8, 17), 26),
    (*range(17, 20), 8),
    (*range(24, 27), 8),
    (*range(19, 25), 8),
    (*range(17, 22), 27, *range(31, 36), 8),
    (*range(22, 27), 27, *range(31, 36), 8),
    (*range(27, 31), *range(31, 36)),
)
_EYES = (range(36, 42), range(42, 48))
_MOUTH = (range(60, 68),)


def expand_eyebrows(landmarks: ArrayLike, amount: float = 1.0) -> NDArray[np.int64]:
    """Landmarks truncated to integers, brows moved up and outwards (dfl-data.md 4.5).

    Args:
        landmarks: (68, 2) pixels.
        amount: 0 leaves the brows, 1 moves them by half their distance to the eyes.
    """
    points = np.asarray(landmarks).astype(np.int64)
    result = points.copy()
    right_quarter = (points[36] + (points[36] + points[0]) // 2) // 2
    left_quarter = (points[45] + (points[16] + points[45]) // 2) // 2
    right_anchor = np.stack([right_quarter, *points[36:40]])
    left_anchor = np.stack([*points[42:46], left_quarter])
    for brows, anchor in ((slice(17, 22), right_anchor), (slice(22, 27), left_anchor)):
        moved = points[brows] + amount * 0.5 * (points[brows] - anchor)
        result[brows] = moved.astype(np.int64)
    return result


def hull_mask(shape: Sequence[int], landmarks: ArrayLike, eyebrows_expand: float = 1.0) -> Mask:
    """The default face mask: eight filled hulls over jaw, cheeks, brows and nose; 0 or 1.

    Args:
        shape: (height, width, ...) of the picture.
        landmarks: (68, 2) pixels of it.
        eyebrows_expand: see :func:`expand_eyebrows`.
    """
    mask = np.zeros((shape[0], shape[1]), np.float32)
    points = expand_eyebrows(landmarks, eyebrows_expand)
    for part in _HULL_PARTS:
        _fill_hull(mask, points[list(part)])
    return mask


def eyes_mask(shape: Sequence[int], landmarks: ArrayLike) -> Mask:
    """Both eyes, dilated and blurred.

    Raises:
        BadInputError: the picture is lower than 32 pixels.
    """
    return _soft_parts(shape, landmarks, _EYES)


def mouth_mask(shape: Sequence[int], landmarks: ArrayLike) -> Mask:
    """The inner lips, dilated and blurred. Raises as :func:`eyes_mask`."""
    return _soft_parts(shape, landmarks, _MOUTH)


def polygon_mask(shape: Sequence[int], polygons: Iterable[Polygon]) -> Mask:
    """Hand-drawn outlines as a hard mask: includes are filled first, excludes carved out."""
    mask = np.zeros((shape[0], shape[1]), np.float32)
    for polygon in sorted(polygons, key=lambda p: not p.include):
        points = polygon.points.astype(np.int32)
        if len(points):
            fill_polygon(mask, points, 1.0 if polygon.include else 0.0)
    return mask


def face_mask(face: Face) -> Mask:
    """What training uses: the stored XSeg mask, else the hull of the landmarks (4.7).

    Raises:
        FaceFileError: the stored mask cannot be decoded (code ``damaged``).
    """
    height, width = face.shape[:2]
    if face.xseg_mask is None:
        return hull_mask(face.shape, face.landmarks, face.eyebrows_expand)
    try:
        mask = decode_xseg_mask(face.xseg_mask)
    except FaceFileError as error:
        raise FaceFileError(
            error.message, code=error.code, where=face.path, hint=error.hint
        ) from error
    if mask.shape != (height, width):
        resized = cv2.resize(mask, (width, height), interpolation=cv2.INTER_CUBIC)
        mask = np.asarray(resized, np.float32)
    return np.clip(mask, 0.0, 1.0).astype(np.float32, copy=False)


def decode_xseg_mask(data: bytes) -> Mask:
    """A stored mask at its own resolution, normally 256×256.

    Raises:
        FaceFileError: not a picture (code ``damaged``).
    """
    hint = "delete the mask and apply it again"
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        picture = None
    if picture is None or max(picture.shape[:2]) > _MAX_MASK_SIDE:
        raise FaceFileError("the stored mask is not a picture", code="damaged", hint=hint)
    if picture.ndim == 3:
        picture = picture[:, :, 0]
    full = 65535.0 if picture.dtype == np.uint16 else 255.0
    return np.asarray(picture, np.float32) / np.float32(full)


def encode_xseg_mask(mask: ArrayLike) -> bytes:
    """A mask (H, W) or (H, W, 1) in 0..1 as PNG, or as JPEG where PNG exceeds 50,000 bytes."""
    array = np.nan_to_num(np.asarray(mask, np.float32))
    if array.ndim == 3:
        array = array[:, :, 0]
    picture = np.clip(array * 255, 0, 255).astype(np.uint8)
    data = _encoded(".png", picture, [])
    quality = 100
    while len(data) > XSEG_MASK_LIMIT and quality >= 0:
        data = _encoded(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        quality -= 1
    if len(data) > XSEG_MASK_LIMIT:
        raise BadInputError(
            f"a mask of {picture.shape[1]}×{picture.shape[0]} pixels does not fit in a face file",
            hint="store it at 256×256",
        )
    return data


def _encoded(suffix: str, picture: NDArray[np.uint8], parameters: list[int]) -> bytes:
    try:
        done, buffer = cv2.imencode(suffix, picture, parameters)
    except cv2.error:
        done = False
    if not done:
        raise BadInputError(f"OpenCV could not encode the mask as {suffix}")
    return bytes(buffer)


def _fill_hull(mask: Mask, points: NDArray[np.int64]) -> None:
    cv2.fillConvexPoly(mask, cv2.convexHull(points.astype(np.int32)), 1.0)


def _soft_parts(shape: Sequence[int], landmarks: ArrayLike, parts: Sequence[range]) -> Mask:
    height = int(shape[0])
    if height < 32:
        raise BadInputError(f"eye and mouth masks need pictures of 32 pixels, not {height}")
    mask = np.zeros((height, int(shape[1])), np.float32)
    points = np.asarray(landmarks).astype(np.int64)
    for part in parts:
        _fill_hull(mask, points[list(part)])
    side = height // 32
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    blur = height // 16
    blur += blur % 2 == 0
    return np.asarray(cv2.GaussianBlur(cv2.dilate(mask, kernel), (blur, blur), 0), np.float32)

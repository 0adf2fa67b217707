"""Cutting faces out of a frame and writing them as DFL does (dfl-data.md 5.5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.errors import BadInputError
from recaster_tui.extraction.finder import FoundFace
from recaster_tui.faces.codec import write_face
from recaster_tui.faces.face import DOUBT_KEY, MESH_KEY, Face
from recaster_tui.faces.geometry import alignment_matrix, polygon_area, transform_points
from recaster_tui.faces.masks import hull_mask
from recaster_tui.faces.types import FaceType
from recaster_tui.files import write_atomic

Picture = NDArray[np.uint8]
Matrix = NDArray[np.float64]

DEBUG_QUALITY = 50

_GREEN, _BLUE, _RED = (0, 255, 0), (255, 0, 0), (0, 0, 255)
_OPEN = (range(17), range(17, 22), range(22, 27), (*range(27, 36), 30))
_CLOSED = (range(36, 42), range(42, 48), range(48, 60), range(60, 68))


@dataclass(frozen=True)
class Cut:
    """A face cut out of a frame: (size, size, 3) uint8 BGR and the matrix that did it."""

    picture: Picture
    matrix: Matrix
    found: FoundFace


def cut_faces(
    frame: Picture, faces: Sequence[FoundFace], size: int, face_type: FaceType
) -> list[Cut]:
    """The aligned faces of a frame, largest first as found; those DFL would drop are dropped."""
    cuts = []
    for found in faces:
        try:
            matrix = alignment_matrix(found.landmarks, size, face_type)
        except BadInputError:  # landmarks in a heap
            continue
        if not np.isfinite(matrix).all() or misplaced(matrix, found.rect, size, face_type):
            continue
        cuts.append(Cut(warp(frame, matrix, size), matrix, found))
    return cuts


def misplaced(matrix: Matrix, rect: NDArray[Any], size: int, face_type: FaceType) -> bool:
    """DFL's area filter: the aligned square is more than four times the detected rectangle.

    Only for face types up to "full, not aligned"; the square's corners are rounded to integers,
    as there.
    """
    if face_type.dfl_number > FaceType.FULL_NO_ALIGN.dfl_number:
        return False
    last = size - 1
    corners = np.array([(0, 0), (last, 0), (last, last), (0, last)], np.float64)
    square = np.rint(transform_points(corners, matrix, invert=True))
    left, top, right, bottom = (float(v) for v in rect)
    return polygon_area(square) > 4 * abs((right - left) * (bottom - top))


def warp(frame: Picture, matrix: Matrix, size: int) -> Picture:
    """Cut by *matrix*; bilinear, as DFL's extractor does in effect.

    Where the frame is shrunk to less than half, bilinear sampling would skip pixels: then a
    larger cut is averaged down (*matrix* holds for both).
    """
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    finer = min(8, int(1 / max(scale, 1e-6)))
    if finer < 2:
        return np.asarray(cv2.warpAffine(frame, matrix, (size, size), flags=cv2.INTER_LINEAR))
    # Pixel i of the result is the mean of pixels finer*i to finer*i + finer - 1.
    fine = matrix * finer
    fine[:, 2] += (finer - 1) / 2
    large = cv2.warpAffine(frame, fine, (size * finer,) * 2, flags=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA))


def face_record(path: Path, cut: Cut, face_type: FaceType, source_filename: str) -> Face:
    """The complete metadata of a cut (dfl-data.md 1.5); our own keys are in ``extra``."""
    found = cut.found
    extra: dict[str, Any] = {}
    if found.mesh is not None:
        extra[MESH_KEY] = np.asarray(
            transform_points(np.asarray(found.mesh[:, :2], np.float64), cut.matrix), np.float32
        )
    if found.doubt:
        extra[DOUBT_KEY] = found.doubt
    size = cut.picture.shape[0]
    return Face(
        path=path,
        name=path.name,
        face_type=face_type,
        landmarks=transform_points(np.asarray(found.landmarks, np.float32), cut.matrix),
        shape=(size, size, 3),
        source_filename=source_filename,
        source_rect=np.rint(np.asarray(found.rect, np.float64)).astype(np.int64),
        source_landmarks=np.asarray(found.landmarks, np.float32),
        image_to_face_mat=cut.matrix,
        extra=extra,
    )


def write_cut(
    path: Path, cut: Cut, face_type: FaceType, source_filename: str, quality: int
) -> bool:
    """Write one face; False where a file of that name is there: nothing is overwritten."""
    if path.exists():
        return False
    record = face_record(path, cut, face_type, source_filename)
    write_face(path, cut.picture, record, quality, durable=False)
    return True


def write_frame(path: Path, frame: Picture) -> None:
    """Write a frame of a video as a picture, where none of that name is there."""
    if path.exists():
        return
    if path.suffix == ".png":
        # Level 1: half the time of the default for a few percent more.
        options = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    else:
        options = [cv2.IMWRITE_JPEG_QUALITY, 95]
    done, data = cv2.imencode(path.suffix, frame, options)
    if not done:
        raise OSError(f"OpenCV could not encode {path.name}")
    write_atomic(path, data.tobytes(), durable=False)


def debug_picture(frame: Picture, faces: Sequence[FoundFace], cuts: Sequence[Cut]) -> Picture:
    """The frame with everything that was found drawn in (dfl-data.md 4.10).

    Hull dimmed, landmarks green, rectangle blue, aligned square red with a mark at its top left;
    a face that was dropped has no square.
    """
    drawn = frame.copy()
    squares = {id(cut.found): cut for cut in cuts}
    for found in faces:
        hull = hull_mask(drawn.shape, found.landmarks)[..., None]
        drawn = np.asarray(drawn * (1 - 0.5 * hull), np.uint8)
        _draw_landmarks(drawn, found.landmarks)
        left, top, right, bottom = (int(v) for v in np.rint(found.rect))
        cv2.rectangle(drawn, (left, top), (right, bottom), _BLUE, 2, cv2.LINE_AA)
        if (cut := squares.get(id(found))) is not None:
            side = float(cut.picture.shape[0] - 1)
            _outline(drawn, cut.matrix, [(0, 0), (side, 0), (side, side), (0, side)])
            _outline(drawn, cut.matrix, [(0.05 * side, 0), (0.1 * side,) * 2, (0, 0.1 * side)])
    return drawn


def write_debug(path: Path, picture: Picture) -> None:
    """As DFL: quality 50. An older one is replaced."""
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, DEBUG_QUALITY])
    if not done:
        raise OSError(f"OpenCV could not encode {path.name}")
    write_atomic(path, data.tobytes(), durable=False)


def _draw_landmarks(picture: Picture, landmarks: NDArray[Any]) -> None:
    points = np.rint(landmarks).astype(np.int32)
    for part in _OPEN:
        cv2.polylines(picture, [points[list(part)]], False, _GREEN, 1, cv2.LINE_AA)
    for part in _CLOSED:
        cv2.polylines(picture, [points[list(part)]], True, _GREEN, 1, cv2.LINE_AA)
    for index, (x, y) in enumerate(points):
        cv2.circle(picture, (int(x), int(y)), 2 if index < 17 else 1, _GREEN, 1, cv2.LINE_AA)


def _outline(picture: Picture, matrix: Matrix, corners: list[tuple[float, float]]) -> None:
    points = transform_points(np.array(corners, np.float64), matrix, invert=True)
    cv2.polylines(picture, [np.rint(points).astype(np.int32)], True, _RED, 2, cv2.LINE_AA)

"""Facesets of another size or face type (dfl-data.md 3.2)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.errors import BadInputError
from recaster_tui.faces.catalog import Catalog
from recaster_tui.faces.codec import Image, compose_face
from recaster_tui.faces.edits import FaceEdits
from recaster_tui.faces.face import MESH_KEY, Face, FaceFileError, Polygon
from recaster_tui.faces.geometry import alignment_matrix, transform_points
from recaster_tui.faces.masks import decode_xseg_mask, encode_xseg_mask
from recaster_tui.faces.tools import ToolResult, each, new_folder
from recaster_tui.faces.types import FaceType
from recaster_tui.files import write_atomic
from recaster_tui.jobs import Reporter

SMALLEST, LARGEST = 64, 2048

_MASK_SIDE = 256


def resize_face(
    image: Image, face: Face, size: int, face_type: FaceType | None = None
) -> tuple[Image, Face]:
    """A face at another size, or cropped as another face type.

    Args:
        image: (S, S, 3) uint8, its picture.
        face: its metadata.
        size: new side in pixels.
        face_type: None keeps the type and resizes; another one warps, black where the old crop
            showed nothing.

    Returns:
        the picture, (size, size, 3) uint8, and metadata in its pixels.

    Raises:
        BadInputError: the picture is not square, or the landmarks describe no face.
        FaceFileError: the stored mask is damaged.
    """
    height, width = image.shape[:2]
    if height != width:
        raise BadInputError(f"only square faces can be resized, this is {width}×{height}")
    same = face_type is None or face_type is face.face_type
    target = face.face_type if face_type is None else face_type
    how = cv2.INTER_LANCZOS4
    if same:
        scale = size / width
        matrix = np.array([(scale, 0, 0), (0, scale, 0)], np.float64)
        picture = cv2.resize(image, (size, size), interpolation=how)
        mask = face.xseg_mask
    else:
        matrix = alignment_matrix(face.landmarks, size, target)
        picture = cv2.warpAffine(image, matrix, (size, size), flags=how)
        mask = None if face.xseg_mask is None else _warp_mask(face.xseg_mask, face, width, target)
    to_face = face.image_to_face_mat
    if to_face is not None and face.source_landmarks is not None and target.padding is not None:
        to_face = alignment_matrix(face.source_landmarks, size, target)
    extra = dict(face.extra)
    if MESH_KEY in extra:
        extra[MESH_KEY] = _moved(extra[MESH_KEY], matrix)
    moved = replace(
        face,
        face_type=target,
        shape=(size, size, 3),
        landmarks=_moved(face.landmarks, matrix),
        polygons=[Polygon(p.include, _moved(p.points, matrix)) for p in face.polygons],
        xseg_mask=mask,
        image_to_face_mat=to_face,
        extra={key: value for key, value in extra.items() if value is not None},
    )
    return np.asarray(picture, np.uint8), moved


def resize_faceset(
    folder: Path,
    report: Reporter,
    *,
    size: int,
    face_type: FaceType | None = None,
    quality: int = 100,
    to: Path | None = None,
    in_place: bool = False,
) -> ToolResult:
    """Resize every face into ``<folder>_resized``, or in place as one undoable edit.

    Args:
        folder: of the faces, loose or packed.
        report: told of progress.
        size: see :func:`resize_face`; 64 to 2048.
        face_type: see :func:`resize_face`.
        quality: of the JPEGs, 1 to 100.
        to: another folder to write into; it must be empty.
        in_place: replace the faces themselves; the old files are kept for undoing.

    Raises:
        BadInputError: size, type or quality make no sense, or the folder is not empty.
    """
    if not SMALLEST <= size <= LARGEST:
        raise BadInputError(f"the size must be {SMALLEST} to {LARGEST} pixels, not {size}")
    if not 1 <= quality <= 100:
        raise BadInputError(f"JPEG quality is 1 to 100, not {quality}")
    if face_type is not None and face_type.padding is None:
        raise BadInputError(f"faces cannot be cropped as {face_type.value!r}")
    if in_place and to is not None:
        raise BadInputError("faces are resized in place or into a folder, not both")
    catalog = Catalog.open(folder)
    result = ToolResult()
    if in_place:
        words = f"resized to {size} px" + (f", {face_type.value}" if face_type else "")
        with FaceEdits(folder).batch(words) as batch:
            for index, data in _resized(catalog, result, report, size, face_type, quality):
                batch.replace_file(catalog.names[index], data)
        return result
    whole = folder.resolve()
    made = result.made = new_folder(to or whole.with_name(f"{whole.name}_resized"))
    for index, data in _resized(catalog, result, report, size, face_type, quality):
        write_atomic(made / catalog.names[index], data, durable=False)
    return result


def _resized(
    catalog: Catalog,
    result: ToolResult,
    report: Reporter,
    size: int,
    face_type: FaceType | None,
    quality: int,
) -> Iterator[tuple[int, bytes]]:
    for index in each(catalog, result, report, "resizing"):
        name = catalog.names[index]
        try:
            picture, face = resize_face(catalog.pixels(index), catalog.face(index), size, face_type)
            data = compose_face(picture, face, quality, where=catalog.folder / name)
        except (FaceFileError, BadInputError) as error:
            result.skip(name, error)
            continue
        yield index, data
        result.done += 1


def _moved(points: Any, matrix: NDArray[np.float64]) -> Any:
    """(n, 2) points through *matrix*, float32; what are no points is left out (None)."""
    array = np.asarray(points)
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iuf":
        return None
    return transform_points(array.astype(np.float64), matrix).astype(np.float32)


def _warp_mask(stored: bytes, face: Face, width: int, face_type: FaceType) -> bytes:
    """A stored mask as the new crop shows it, at 256×256, 0 or 1."""
    mask = decode_xseg_mask(stored)
    side = (_MASK_SIDE, _MASK_SIDE)
    if mask.shape != side:
        mask = np.asarray(cv2.resize(mask, side, interpolation=cv2.INTER_LINEAR), np.float32)
    points = face.landmarks.astype(np.float64) * (_MASK_SIDE / width)
    matrix = alignment_matrix(points, _MASK_SIDE, face_type)
    warped = cv2.warpAffine(mask, matrix, side, flags=cv2.INTER_LANCZOS4)
    return encode_xseg_mask(np.where(warped >= 0.5, 1.0, 0.0))

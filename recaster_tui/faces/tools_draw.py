"""Pictures for people: landmarks on faces, masks as files (dfl-data.md 4.10, 6.4)."""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from recaster_tui.errors import BadInputError
from recaster_tui.faces.catalog import Catalog
from recaster_tui.faces.codec import Image, encode_jpeg
from recaster_tui.faces.face import Face, FaceFileError
from recaster_tui.faces.geometry import alignment_matrix, transform_points
from recaster_tui.faces.masks import Mask, decode_xseg_mask, hull_mask, polygon_mask
from recaster_tui.faces.tools import ToolResult, each, new_folder
from recaster_tui.faces.types import FaceType
from recaster_tui.files import write_atomic
from recaster_tui.jobs import Reporter

_GREEN, _BLUE, _RED = (0, 255, 0), (255, 0, 0), (0, 0, 255)
_OPEN = (range(17, 22), range(22, 27), range(17), (*range(27, 36), 30))
_CLOSED = (range(36, 42), range(42, 48), range(48, 60), range(60, 68))
_JAW = 17
_DEBUG_QUALITY = 50

_Draw = Callable[[Catalog, int], bytes]


def draw_landmarks(image: Image, face: Face, *, darken: bool = False) -> Image:
    """A copy of (H, W, 3) BGR *image* with the 68 landmarks and their lines in green.

    Args:
        image: the face's picture.
        face: its metadata; a face of type ``mark-only`` gets its rectangle and the square of the
            full face too.
        darken: halve the brightness inside the hull.
    """
    drawn = image.copy()
    points = np.rint(face.landmarks).astype(np.int32)
    if darken:
        inside = hull_mask(image.shape, face.landmarks, face.eyebrows_expand) > 0
        drawn[inside] //= 2
    for parts, closed in ((_OPEN, False), (_CLOSED, True)):
        lines = [points[list(part)].reshape(-1, 1, 2) for part in parts]
        cv2.polylines(drawn, lines, closed, _GREEN, 1, cv2.LINE_AA)
    for number, (x, y) in enumerate(points.tolist()):
        cv2.circle(drawn, (x, y), 2 if number < _JAW else 1, _GREEN, 1, cv2.LINE_AA)
    if face.face_type is FaceType.MARK_ONLY:
        _draw_crop(drawn, face)
    return drawn


def _draw_crop(image: Image, face: Face) -> None:
    """Rectangle of the detector in blue; the aligned square in red, a triangle at its top."""
    if face.source_rect is not None:
        left, top, right, bottom = (round(float(v)) for v in face.source_rect)
        cv2.rectangle(image, (left, top), (right, bottom), _BLUE, 2)
    try:
        matrix = alignment_matrix(face.landmarks, 1000, FaceType.FULL)
    except BadInputError:
        return
    square = ((0, 0), (1000, 0), (1000, 1000), (0, 1000))
    triangle = ((50, 0), (100, 100), (0, 100))
    for corners in (square, triangle):
        outline = transform_points(np.array(corners, np.float64), matrix, invert=True)
        whole = np.rint(outline).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(image, [whole], True, _RED, 2, cv2.LINE_AA)


def export_mask(face: Face) -> Mask:
    """The mask that DFL exports: the stored XSeg mask, 0 or 1 at its own resolution, else the
    polygons at the picture's.

    Raises:
        BadInputError: the face has neither.
        FaceFileError: the stored mask is damaged.
    """
    if face.xseg_mask is not None:
        mask = decode_xseg_mask(face.xseg_mask)
        return np.where(mask >= 0.5, 1.0, 0.0).astype(np.float32)
    if face.polygons:
        return polygon_mask(face.shape, face.polygons)
    raise BadInputError("it has neither a stored mask nor polygons")


def write_debug_images(folder: Path, report: Reporter, to: Path | None = None) -> ToolResult:
    """Write ``<stem>_debug.jpg`` with landmarks and darkened hull for every face.

    Into ``<folder>_landmarks``, not among the faces as the original does: they are no faces.

    Raises:
        BadInputError: that folder has something in it already.
    """

    def draw(catalog: Catalog, index: int) -> bytes:
        face = catalog.face(index)
        return encode_jpeg(draw_landmarks(catalog.pixels(index), face, darken=True), _DEBUG_QUALITY)

    return _write(folder, report, to, ("_landmarks", "_debug", "drawing landmarks"), draw)


def write_masks(folder: Path, report: Reporter, to: Path | None = None) -> ToolResult:
    """Write ``<stem>_mask.jpg`` (quality 100, 0 or 255) for every face that has a mask.

    Into ``<folder>_masks``, not among the faces.

    Raises:
        BadInputError: that folder has something in it already.
    """

    def draw(catalog: Catalog, index: int) -> bytes:
        mask = export_mask(catalog.face(index))
        gray = np.asarray(mask * 255, np.uint8)
        return encode_jpeg(np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), np.uint8), 100)

    return _write(folder, report, to, ("_masks", "_mask", "exporting masks"), draw)


def _write(
    folder: Path, report: Reporter, to: Path | None, words: Sequence[str], draw: _Draw
) -> ToolResult:
    beside, ending, text = words
    catalog = Catalog.open(folder)
    whole = folder.resolve()
    made = new_folder(to or whole.with_name(whole.name + beside))
    result = ToolResult(made=made)
    for index in each(catalog, result, report, text):
        name = PurePosixPath(catalog.names[index])
        try:
            data = draw(catalog, index)
        except (FaceFileError, BadInputError) as error:
            result.skip(str(name), error)
            continue
        write_atomic(made / name.with_name(f"{name.stem}{ending}.jpg"), data, durable=False)
        result.done += 1
    return result

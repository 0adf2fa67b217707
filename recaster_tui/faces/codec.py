"""Reading and writing one aligned face: a JPEG with DFL's metadata in it (dfl-data.md 1)."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.errors import BadInputError
from recaster_tui.faces.face import Face, FaceFileError, PackEntry
from recaster_tui.faces.jpeg import (
    MAX_FILE,
    JpegHeader,
    Reader,
    picture_end,
    read_header,
    replace_metadata,
)
from recaster_tui.faces.metadata import face_from_metadata, metadata_from_face
from recaster_tui.faces.pickling import dumps
from recaster_tui.faces.unpickle import FACE_RULES, RefusedPickleError, restricted_loads
from recaster_tui.files import write_atomic

Image = NDArray[np.uint8]

_MAX_PIXELS = 1 << 26


def read_face(path: Path) -> Face:
    """Read a face's metadata; of the file only the part before the picture data.

    Raises:
        FaceFileError: the file cannot be used as a face; ``code`` says why.
    """
    header = _open_header(path)
    try:
        return face_from_metadata(_metadata(header), header.shape, path, path.name)
    except FaceFileError as error:
        raise _placed(error, path) from error


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata dictionary exactly as stored, unknown keys and all.

    Raises:
        FaceFileError: as :func:`read_face`, except that the entries are not looked at.
    """
    header = _open_header(path)
    try:
        return _metadata(header)
    except FaceFileError as error:
        raise _placed(error, path) from error


def read_jpeg_face(read: Reader, size: int, path: Path, name: str) -> tuple[Face, dict[str, Any]]:
    """Like :func:`read_face` for a JPEG inside another file; also gives the raw metadata.

    Raises:
        FaceFileError: as :func:`read_face`. OSErrors of *read* pass.
    """
    header = read_header(read, size)
    metadata = _metadata(header)
    return face_from_metadata(metadata, header.shape, path, name), metadata


def jpeg_bytes(face: Face | Path) -> bytes:
    """The complete JPEG of a face, from its own file or from its pack.

    Raises:
        FaceFileError: unreadable, empty or truncated (nothing else is checked).
    """
    path = face if isinstance(face, Path) else face.path
    packed = None if isinstance(face, Path) else face.packed
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            place = packed or PackEntry(0, size)
            if place.size > MAX_FILE:
                raise FaceFileError("this is too large for a face", code="too-large", where=path)
            data = os.pread(file.fileno(), place.size, place.offset)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) < place.size:
        raise FaceFileError("the file has become shorter", code="truncated", where=path)
    if not data:
        raise FaceFileError("the file is empty", code="empty", where=path)
    return data


def decode_pixels(face: Face | Path) -> Image:
    """The picture of a face.

    Returns:
        (H, W, 3) uint8 BGR. EXIF orientation is ignored, as DFL does: landmarks belong to the
        pixels as stored.

    Raises:
        FaceFileError: unreadable, truncated, damaged, too-large.
    """
    return decode_jpeg(jpeg_bytes(face), face if isinstance(face, Path) else face.path)


def decode_jpeg(data: bytes, path: Path) -> Image:
    """:func:`decode_pixels` of a complete JPEG, which came from *path*."""
    try:
        header = read_header(lambda offset, size: data[offset : offset + size], len(data))
        picture_end(data, header.scan)
        height, width = header.shape[:2]
        if height * width > _MAX_PIXELS:
            raise FaceFileError(f"{width}×{height} pixels are too many", code="too-large")
    except FaceFileError as error:
        raise _placed(error, path) from error
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None or image.shape != header.shape:
        raise FaceFileError("the picture cannot be decoded", code="damaged", where=path)
    return np.asarray(image, np.uint8)


def write_face(
    path: Path,
    picture: bytes | Image,
    face: Face,
    quality: int = 95,
    *,
    durable: bool = True,
) -> None:
    """Write a face that DFL can read, replacing *path* in one step or not at all.

    Args:
        path: where; the suffix must be ``.jpg``, the only one that DFL looks into.
        picture: a JPEG, whose pixels are kept byte for byte and whose metadata are replaced
            (entries that *face* does not change keep their stored value to the last bit), or
            (H, W, 3) uint8 BGR pixels to encode.
        face: the metadata; its ``path``, ``name`` and ``shape`` are not stored.
        quality: JPEG quality for pixels, 1 to 100.
        durable: survive a power cut; False is much faster for files that can be made again.

    Raises:
        BadInputError: another suffix, a picture of another type, or the face type ``custom``,
            which DFL does not know.
        FaceFileError: the JPEG is damaged, or the result would not be readable for DFL
            (metadata over 65,533 bytes, restart markers). The old file is untouched.
        OSError: the disk.
    """
    path = Path(path)
    if path.suffix != ".jpg":
        raise BadInputError("a face file must be named .jpg, in lower case", where=path)
    write_atomic(path, compose_face(picture, face, quality, where=path), durable=durable)


def compose_face(
    picture: bytes | Image, face: Face, quality: int = 95, *, where: Path | None = None
) -> bytes:
    """The file that :func:`write_face` would write.

    Raises:
        BadInputError: a picture of another type, or the face type ``custom``.
        FaceFileError: see :func:`write_face`.
    """
    if face.face_type.value == "custom":
        raise BadInputError("a face file cannot have the face type 'custom'", where=where)
    original: dict[str, Any] | None = None
    if isinstance(picture, np.ndarray):
        data = encode_jpeg(picture, quality)
    else:
        data = picture
        original = _stored(data)
    try:
        return replace_metadata(data, dumps(metadata_from_face(face, original)))
    except FaceFileError as error:
        raise _placed(error, where or face.path) from error


def save_metadata(face: Face) -> None:
    """Write changed metadata of a loose face back into its file; the picture stays as it is.

    Raises:
        BadInputError: the face lies in a pack (unpack it first).
        FaceFileError: see :func:`write_face`.
    """
    if face.packed is not None:
        raise BadInputError(
            "faces in a pack cannot be edited", where=face.path, hint="unpack the faceset first"
        )
    write_face(face.path, jpeg_bytes(face), face)


def encode_jpeg(image: Image, quality: int = 95) -> bytes:
    """A baseline JPEG without restart markers of (H, W, 3) uint8 BGR pixels.

    Raises:
        BadInputError: another type or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise BadInputError(
            f"a picture is (H, W, 3) uint8, not {image.dtype} of shape {image.shape}"
        )
    done, buffer = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    if not done:
        raise BadInputError("OpenCV could not encode the picture")
    return bytes(buffer)


def _stored(data: bytes) -> dict[str, Any] | None:
    """Metadata already inside a JPEG that is being replaced; unusable ones are none."""
    try:
        header = read_header(lambda offset, size: data[offset : offset + size], len(data))
        return _metadata(header)
    except FaceFileError:
        return None


def _metadata(header: JpegHeader) -> dict[str, Any]:
    payload = header.metadata
    if payload is None:
        raise FaceFileError(
            "the JPEG has no face metadata",
            code="no-metadata",
            hint="only pictures that were extracted as faces have them",
        )
    try:
        value = restricted_loads(payload, FACE_RULES)
    except RefusedPickleError as error:
        raise FaceFileError(
            f"the face's metadata are not plain data: {error.message}"
            if error.code == "refused-pickle"
            else f"the face's metadata are damaged: {error.message}",
            code=error.code,
            hint=error.hint,
        ) from error
    if not isinstance(value, dict):
        raise FaceFileError("the face's metadata are no dictionary", code="bad-metadata")
    if not value:
        raise FaceFileError("the file's metadata are empty", code="no-metadata")
    return value


def _open_header(path: Path) -> JpegHeader:
    try:
        with path.open("rb", buffering=0) as file:
            descriptor = file.fileno()
            size = os.fstat(descriptor).st_size
            return read_header(lambda offset, count: os.pread(descriptor, count, offset), size)
    except OSError as error:
        raise _unreadable(path, error) from error
    except FaceFileError as error:
        raise _placed(error, path) from error


def _unreadable(path: Path, error: OSError) -> FaceFileError:
    return FaceFileError(
        f"the file cannot be read: {error.strerror or error}", code="unreadable", where=path
    )


def _placed(error: FaceFileError, path: Path) -> FaceFileError:
    return FaceFileError(error.message, code=error.code, where=path, hint=error.hint)

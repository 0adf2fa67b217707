"""Frames that lie in a folder as pictures (dfl-data.md 5.1)."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.errors import BadInputError, DamagedError
from recaster_tui.faces.picture_header import check_header

Picture = NDArray[np.uint8]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
MAX_BYTES = 1 << 30


def list_pictures(folder: Path) -> tuple[list[Path], list[Path]]:
    """The pictures of *folder* in the order of their names, and those left out.

    Merging finds faces by the frame's stem, so of ``7.jpg`` and ``7.png`` only the first is taken.

    Raises:
        BadInputError: the folder cannot be listed.
    """
    try:
        paths = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise BadInputError(
            f"the folder cannot be read: {error.strerror or error}", where=folder
        ) from error
    taken: list[Path] = []
    twice: list[Path] = []
    stems: set[str] = set()
    for path in paths:
        (twice if path.stem in stems else taken).append(path)
        stems.add(path.stem)
    return taken, twice


def read_picture(path: Path) -> Picture:
    """A picture as a frame: (H, W, 3) uint8 BGR.

    Grey is repeated to three channels, a fourth one left out, 16 bits rounded to 8. EXIF
    orientation is ignored, as in DFL: its tools place the face in the pixels as stored.

    Raises:
        DamagedError: unreadable, cut off, no picture, or too large to be one.
    """
    try:
        size = path.stat().st_size
        if size == 0:
            raise DamagedError("the picture is empty (0 bytes)", where=path)
        if size > MAX_BYTES:
            raise DamagedError(f"a file of {size:,} bytes is no frame", where=path)
        data = path.read_bytes()
    except OSError as error:
        raise DamagedError(
            f"the picture cannot be read: {error.strerror or error}", where=path
        ) from error
    check_header(path)
    _check_end(path, data)
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError):
        picture = None
    if picture is None:
        raise DamagedError("the picture cannot be decoded", where=path)
    return frame_of(np.asarray(picture), path)


def frame_of(picture: NDArray[np.generic], path: Path) -> Picture:
    """Three channels of 8 bits, whatever was stored."""
    if picture.dtype == np.uint16:
        picture = np.asarray((picture.astype(np.uint32) + 128) // 257, np.uint8)
    if picture.dtype != np.uint8:
        raise DamagedError(f"pictures of {picture.dtype} values are not supported", where=path)
    if picture.ndim == 2:
        picture = picture[:, :, None]
    if picture.shape[2] < 3:
        picture = np.repeat(picture[:, :, :1], 3, axis=2)
    return np.ascontiguousarray(picture[:, :, :3], np.uint8)


def even(picture: Picture) -> Picture:
    """Without an odd last row or column, as DFL cuts frames."""
    height, width = picture.shape[:2]
    return np.ascontiguousarray(picture[: height - height % 2, : width - width % 2])


def _check_end(path: Path, data: bytes) -> None:
    """OpenCV fills a cut-off picture up with grey and says nothing."""
    cut = False
    if data[:2] == b"\xff\xd8":
        cut = data.find(b"\xff\xd9", data.rfind(b"\xff\xda") + 1) < 0
    elif data[:4] == b"\x89PNG":
        cut = data.rfind(b"IEND") < 0
    if cut:
        raise DamagedError("the picture is cut off", where=path)

"""The segments of a JPEG file, as far as DFL's metadata are concerned (dfl-data.md 1.1, 1.2)."""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from recaster_tui.faces.face import FaceFileError

MAX_PAYLOAD = 65_533
MAX_FILE = 256 << 20

_APP0, _APP15 = 0xE0, 0xEF
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_DRI = 0xDD
_FIRST_READ = 16 << 10
# The next marker inside picture data: not a stuffed zero, not a restart, not a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]").search

Reader = Callable[[int, int], bytes]


class _CutOffError(Exception):
    """The header goes on beyond the bytes at hand."""


@dataclass(frozen=True)
class JpegHeader:
    """Everything before the picture data.

    Attributes:
        segments: (marker, body) in file order, SOI left out.
        shape: (height, width, 3), from the frame header; grayscale is reported as 3 too, as DFL
            does.
        scan: byte offset of the first SOS marker.
    """

    segments: tuple[tuple[int, bytes], ...]
    shape: tuple[int, int, int]
    scan: int

    @property
    def metadata(self) -> bytes | None:
        """Payload of the last APP15 segment that starts like a pickle; it wins over others."""
        found = [body for marker, body in self.segments if marker == _APP15 and body[:1] == b"\x80"]
        return found[-1] if found else None


def read_header(read: Reader, size: int) -> JpegHeader:
    """Read a JPEG's header, and no more of the file than that takes.

    Args:
        read: gives *n* bytes from an offset (fewer only at the end).
        size: of the JPEG in bytes.

    Raises:
        FaceFileError: empty, not-jpeg, too-large, truncated, damaged. OSErrors of *read* pass.
    """
    if size == 0:
        raise FaceFileError("the file is empty", code="empty")
    if size > MAX_FILE:
        raise FaceFileError("this is too large for a face", code="too-large")
    want = min(size, _FIRST_READ)
    while True:
        data = read(0, want)
        try:
            header = parse_header(data)
        except _CutOffError:
            if want >= size or len(data) < want:
                raise FaceFileError("the JPEG ends inside its header", code="truncated") from None
            want = min(size, want * 4)
            continue
        break
    if read(size - 2, 2) != b"\xff\xd9":
        # Rare: cut off, or something appended. Only the whole file can tell.
        picture_end(read(0, size), header.scan)
    return header


def parse_header(data: bytes) -> JpegHeader:
    """Split *data* up to the first scan into segments.

    Raises:
        FaceFileError: not-jpeg or damaged.
        _CutOffError: *data* ends before the first scan.
    """
    if data[:2] != b"\xff\xd8":
        raise FaceFileError("this is not a JPEG file", code="not-jpeg")
    segments: list[tuple[int, bytes]] = []
    shape: tuple[int, int, int] | None = None
    position = 2
    while True:
        if position + 4 > len(data):
            raise _CutOffError
        if data[position] != 0xFF:
            raise FaceFileError("the JPEG's segments are damaged", code="damaged")
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0xDA:
            if shape is None:
                raise FaceFileError("the JPEG has no frame header", code="damaged")
            return JpegHeader(tuple(segments), shape, position)
        if marker < 0xC0 or 0xD0 <= marker <= 0xD9:
            raise FaceFileError("the JPEG's segments are damaged", code="damaged")
        (length,) = struct.unpack_from(">H", data, position + 2)
        end = position + 2 + length
        if length < 2:
            raise FaceFileError("the JPEG's segments are damaged", code="damaged")
        if end > len(data):
            raise _CutOffError
        body = data[position + 4 : end]
        segments.append((marker, body))
        if marker in _SOF:
            if len(body) < 6:
                raise FaceFileError("the JPEG's frame header is damaged", code="damaged")
            height, width = struct.unpack_from(">HH", body, 1)
            if not height or not width:
                raise FaceFileError("the JPEG says that it has no pixels", code="damaged")
            shape = (height, width, 3)
        position = end


def picture_end(data: bytes, scan: int) -> int:
    """Offset just behind the EOI marker that ends the picture starting at *scan*.

    Raises:
        FaceFileError: there is none (truncated).
    """
    position = scan
    while True:
        found = _MARKER(data, position)
        if found is None:
            raise FaceFileError(
                "the JPEG is cut off: its picture has no end",
                code="truncated",
                hint="copy the file again or delete it",
            )
        if data[found.start() + 1] == 0xD9:
            return found.end()
        # SOS or, between the scans of a progressive file, a table: its body may hold anything.
        body = data[found.end() : found.end() + 2]
        position = found.end() + max(2, int.from_bytes(body, "big"))


def replace_metadata(data: bytes, payload: bytes) -> bytes:
    """The JPEG *data* with *payload* as its only APP15 segment; the picture byte for byte.

    What DFL's parser trips over is left out where nothing is lost by it: bytes after the end,
    fill bytes, empty segments, APP0 other than JFIF (dfl-data.md 1.2).

    Raises:
        FaceFileError: *data* is no whole JPEG; the payload exceeds 65,533 bytes, or the file has
            restart markers, which DFL cannot read (code ``unsupported``).
    """
    if len(payload) > MAX_PAYLOAD:
        raise FaceFileError(
            f"{len(payload)} bytes of metadata do not fit in a face file ({MAX_PAYLOAD} do)",
            code="unsupported",
            hint="remove the stored mask or some polygons",
        )
    try:
        header = parse_header(data)
    except _CutOffError:
        raise FaceFileError("the JPEG ends inside its header", code="truncated") from None
    end = picture_end(data, header.scan)
    if any(marker == _DRI and any(body) for marker, body in header.segments):
        raise FaceFileError(
            "this JPEG has restart markers, which DeepFaceLab cannot read",
            code="unsupported",
            hint="encode the picture again",
        )
    kept = [
        (marker, body)
        for marker, body in header.segments
        if body
        and marker not in (_APP15, _DRI)
        and not (marker == _APP0 and not body.startswith(b"JFIF"))
    ]
    last_app = max((i for i, (m, _) in enumerate(kept) if _APP0 <= m <= _APP15), default=-1)
    kept.insert(last_app + 1, (_APP15, payload))
    out = bytearray(b"\xff\xd8")
    for marker, body in kept:
        out += struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
    return bytes(out) + data[header.scan : end]

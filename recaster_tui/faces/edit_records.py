"""Old and new contents of rewritten faces: what undoing a change of metadata needs.

A record holds both versions of a file up to where they begin to be the same (in a change of
metadata: the picture data, which are most of it).
"""

import logging
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recaster_tui.faces.face import FaceFileError
from recaster_tui.faces.jpeg import read_header

log = logging.getLogger(__name__)

_HEAD = struct.Struct("<4sIQQQI")  # magic, length of name, of old, of new, of the tail; CRC-32
_MAGIC = b"rfr1"


@dataclass(frozen=True)
class Record:
    """A rewritten file: ``old + tail`` became ``new + tail``; *tail* is *tail_size* bytes."""

    name: str
    old: bytes
    new: bytes
    tail_size: int

    def content(self, present: bytes, *, old: bool) -> bytes | None:
        """The file before (*old*) or after, made from the *present* file, which must be the
        other one; None where it is neither."""
        cut = len(present) - self.tail_size
        if cut < 0 or present[:cut] not in (self.old, self.new):
            return None
        return (self.old if old else self.new) + present[cut:]

    def is_new(self, present: bytes) -> bool:
        """Whether the file is in its state after the change."""
        return present[: max(0, len(present) - self.tail_size)] == self.new


def make_record(name: str, old: bytes, new: bytes) -> Record:
    """The record of replacing *old* by *new*; short when the picture stays the same."""
    try:
        first, second = _scan(old), _scan(new)
    except FaceFileError:
        return Record(name, old, new, 0)
    if old[first:] == new[second:]:
        return Record(name, old[:first], new[:second], len(old) - first)
    return Record(name, old, new, 0)


def append_record(path: Path, record: Record) -> None:
    """Add a record; it is on the disk when this returns.

    Raises:
        OSError: the disk. A part of a record at the end is left out by :func:`read_records`.
    """
    name = record.name.encode("utf-8", "surrogateescape")
    body = name + record.old + record.new
    head = _HEAD.pack(
        _MAGIC, len(name), len(record.old), len(record.new), record.tail_size, zlib.crc32(body)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        data = memoryview(head + body)
        while data:
            data = data[os.write(fd, data) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def read_records(path: Path) -> Iterator[Record]:
    """Every whole record of a file, in order; nothing where there is no such file."""
    try:
        file = path.open("rb")
    except OSError:
        return
    with file:
        left = os.fstat(file.fileno()).st_size
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            magic, name_size, old_size, new_size, tail_size, checksum = _HEAD.unpack(head)
            left -= _HEAD.size
            if magic != _MAGIC or name_size + old_size + new_size > left:
                log.warning("%s: a record is torn", path)
                return
            body = file.read(name_size + old_size + new_size)
            left -= len(body)
            if zlib.crc32(body) != checksum:
                log.warning("%s: a record is damaged", path)
                return
            cut = name_size + old_size
            name = body[:name_size].decode("utf-8", "surrogateescape")
            yield Record(name, body[name_size:cut], body[cut:], tail_size)


def _scan(data: bytes) -> int:
    return read_header(lambda offset, count: data[offset : offset + count], len(data)).scan

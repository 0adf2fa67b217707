"""Files with their hashes: written once, synced, hashed as they go by."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from recaster_tui.errors import EnvironmentProblem

_CHUNK = 4 << 20

SPARE = 4 << 20
"""Bytes that a save leaves free on the disk: journal and app must go on telling of it."""


class NoRoomError(EnvironmentProblem):
    """The disk has too little room for what is to be written; nothing was written."""

    code = "disk-full"


def require_room(folder: Path, needed: int) -> None:
    """Whether *needed* bytes fit on the disk of *folder*.

    Looked at beforehand, because a write that fails halfway has filled the disk for everybody.

    Raises:
        NoRoomError: they do not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE:
        raise NoRoomError(
            f"the disk is full: {free / 1e6:,.0f} MB are free, {needed / 1e6:,.0f} MB are needed",
            where=folder,
            hint="free some space",
        )


@dataclass(frozen=True)
class FileDigest:
    """Size in bytes and SHA-256 (hex) of a file."""

    size: int
    sha256: str


def write_hashed(path: Path, chunks: Iterable[bytes | memoryview]) -> FileDigest:
    """Write a new file, sync it to the disk, and return what it should hold."""
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as file:
        for chunk in chunks:
            view = memoryview(chunk)
            for start in range(0, len(view), _CHUNK):
                piece = view[start : start + _CHUNK]
                digest.update(piece)
                file.write(piece)
            size += len(view)
        file.flush()
        os.fsync(file.fileno())
        # The read-back that follows shall see the disk, not our own pages.
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return FileDigest(size, digest.hexdigest())


def digest_file(path: Path) -> FileDigest:
    """Read *path* and return its size and hash. Raises ``OSError``."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
            size += len(piece)
    return FileDigest(size, digest.hexdigest())


def file_pieces(path: Path) -> Iterator[bytes]:
    """The bytes of *path*, some megabytes at a time. Raises ``OSError``."""
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece

"""Files with their hashes: written once, synced, hashed as they go by."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 4 << 20


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

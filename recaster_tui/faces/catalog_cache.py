"""The catalog's rows on disk: one file per folder of faces in the user's cache folder.

Nothing in here is precious: a file that is damaged, foreign or of another version is ignored and
written anew, and where nothing can be written the catalog works without.
"""

import hashlib
import json
import logging
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recaster_tui.errors import BadInputError
from recaster_tui.files import write_atomic
from recaster_tui.paths import cache_dir

log = logging.getLogger(__name__)

_MAGIC = b"recaster-faces-2"
_HEAD = struct.Struct("<16sIQ")  # magic, CRC-32 of what follows, length of the JSON

ROW = np.dtype(
    [
        ("size", "<i8"),
        ("stamp", "<i8"),  # mtime_ns of a file; CRC-32 of the beginning of a packed face
        ("inode", "<u8"),
        ("offset", "<i8"),  # in the pack; -1 for a file
        ("key", "<u8"),  # names the row's thumbnail; survives renaming
        ("picture", "<u8"),  # see catalog_rows.picture_id
        ("known", "?"),
    ]
)


@dataclass
class Rows:
    """Rows of a catalog, parallel to *names*.

    Attributes:
        pack: (size, mtime_ns, inode) of the .pak that was listed, None for a folder.
        names: file names; in a pack of several persons ``person/name``.
        facts: (n,) of :data:`ROW`.
        values: (n, columns) float32, NaN where unknown.
        sources: names of the frames.
        problems: code of why a file is no usable face, "" where it is one.
    """

    pack: tuple[int, int, int] | None
    names: list[str]
    facts: NDArray[np.void]
    values: NDArray[np.float32]
    sources: list[str | None]
    problems: list[str]
    extra: dict[str, Any] = field(default_factory=dict)


def empty_rows(names: list[str], columns: int, pack: tuple[int, int, int] | None = None) -> Rows:
    """Rows about which nothing is known yet."""
    count = len(names)
    facts = np.zeros(count, ROW)
    facts["offset"] = -1
    values = np.full((count, columns), np.nan, np.float32)
    return Rows(pack, names, facts, values, [None] * count, [""] * count)


def cache_folder(folder: Path) -> Path:
    """Where what is remembered of the faces in *folder* lies. It need not exist."""
    name = hashlib.blake2b(os.fsencode(folder.resolve()), digest_size=12).hexdigest()
    return cache_dir() / "faces" / name


def save_rows(path: Path, rows: Rows, columns: Sequence[str]) -> bool:
    """Write *rows*; False where that is impossible (which is logged, not raised)."""
    head = {
        "columns": list(columns),
        "count": len(rows.names),
        "pack": rows.pack,
    }
    parts = [
        json.dumps(head).encode(),
        rows.facts.tobytes(),
        np.ascontiguousarray(rows.values, "<f4").tobytes(),
        _join(rows.names),
        _join([source or "" for source in rows.sources]),
        _join(rows.problems),
    ]
    body = b"".join([struct.pack("<5Q", *map(len, parts[1:])), *parts])
    data = _HEAD.pack(_MAGIC, zlib.crc32(body), len(parts[0])) + body
    return save_bytes(path, data)


def load_rows(path: Path, columns: Sequence[str]) -> Rows | None:
    """What :func:`save_rows` wrote; None where there is nothing that can be used."""
    try:
        data = path.read_bytes()
        magic, checksum, head_size = _HEAD.unpack_from(data)
        body = memoryview(data)[_HEAD.size :]
        if magic != _MAGIC or zlib.crc32(body) != checksum:
            raise ValueError("it is damaged or another program's")
        sizes = struct.unpack_from("<5Q", body)
        position = 40
        parts = []
        for size in (head_size, *sizes):
            parts.append(body[position : position + size])
            position += size
        head = json.loads(bytes(parts[0]))
        count = int(head["count"])
        if head["columns"] != list(columns):
            raise ValueError("its columns are another version's")
        names, sources, problems = (_split(part, count) for part in parts[3:])
        return Rows(
            pack=None if head["pack"] is None else tuple(head["pack"]),
            names=names,
            facts=np.frombuffer(parts[1], ROW, count).copy(),
            values=np.frombuffer(parts[2], "<f4").reshape(count, len(columns)).astype(np.float32),
            sources=[source or None for source in sources],
            problems=problems,
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, struct.error) as error:
        log.info("%s is made anew: %s", path, error)
        return None


def save_bytes(path: Path, data: bytes) -> bool:
    """Write a file of the cache; False where that is impossible."""
    try:
        write_atomic(path, data, durable=False)
    except (OSError, BadInputError) as error:
        log.warning("the cache of faces cannot be written, so it works without: %s", error)
        return False
    return True


def _join(texts: Sequence[str]) -> bytes:
    # Names may hold any bytes but NUL; Python keeps those that are no text as lone surrogates.
    return b"\0".join(text.encode("utf-8", "surrogateescape") for text in texts)


def _split(part: memoryview, count: int) -> list[str]:
    texts = bytes(part).decode("utf-8", "surrogateescape").split("\0") if count else []
    if len(texts) != count:
        raise ValueError("it contradicts itself")
    return texts

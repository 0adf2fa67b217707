"""Where a catalog's faces come from: a folder of .jpg files, or a ``faceset.pak``."""

import os
import zlib
from collections import Counter
from pathlib import Path
from typing import Protocol

import numpy as np

from recaster_tui.errors import BadInputError
from recaster_tui.faces.catalog_cache import Rows, empty_rows
from recaster_tui.faces.catalog_rows import COLUMNS
from recaster_tui.faces.codec import jpeg_bytes, read_face
from recaster_tui.faces.face import Face, FaceFileError
from recaster_tui.faces.jpeg import MAX_FILE
from recaster_tui.faces.pack import PACK_NAME, PackReader

_SIGNED_BYTES = 16 << 10  # of a packed face: where its metadata are


class Source(Protocol):
    """Lists faces and reads them."""

    def rows(self, cached: Rows | None) -> Rows:
        """The names there are now, with sizes and stamps; what they hold is not known yet."""
        ...

    def jpeg(self, rows: Rows, index: int) -> bytes:
        """The complete file of a face."""
        ...

    def face(self, rows: Rows, index: int) -> Face:
        """Its metadata."""
        ...


def find_source(folder: Path) -> Source:
    """The pack in *folder* (or *folder* itself, if it is a .pak), else the folder's files."""
    pack = folder if folder.suffix == ".pak" and not folder.is_dir() else folder / PACK_NAME
    return PackSource(pack) if pack.is_file() else FolderSource(folder)


class FolderSource:
    """The .jpg files of a folder, in the order of their names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self, cached: Rows | None) -> Rows:
        """See :class:`Source`."""
        found: list[tuple[str, int, int, int]] = []
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    name = entry.name
                    if not name.endswith(".jpg") or name.startswith("."):
                        continue
                    try:
                        if not entry.is_file():
                            continue
                        stat = entry.stat()
                    except OSError:
                        continue  # gone between listing and looking
                    found.append((name, stat.st_size, stat.st_mtime_ns, stat.st_ino))
        except OSError as error:
            raise BadInputError(
                f"the faces folder cannot be read: {error.strerror or error}",
                where=self.folder,
                hint="extract faces first, or name the folder that holds the aligned faces",
            ) from error
        found.sort()
        rows = empty_rows([item[0] for item in found], len(COLUMNS))
        for column, position in (("size", 1), ("stamp", 2), ("inode", 3)):
            kind = np.uint64 if column == "inode" else np.int64
            rows.facts[column] = np.array([item[position] for item in found], kind)
        return rows

    def jpeg(self, rows: Rows, index: int) -> bytes:
        """See :class:`Source`."""
        return jpeg_bytes(self.folder / rows.names[index])

    def face(self, rows: Rows, index: int) -> Face:
        """See :class:`Source`."""
        return read_face(self.folder / rows.names[index])


class PackSource:
    """A pack. Its index (slow to read, large) is read only when the cache cannot tell."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader: PackReader | None = None

    def rows(self, cached: Rows | None) -> Rows:
        """See :class:`Source`."""
        stamp = self._stamp()
        if cached is not None and cached.pack == stamp:
            return cached
        reader = self._index()
        rows = empty_rows(pack_names(reader), len(COLUMNS), stamp)
        for i in range(len(reader)):
            place = reader.place(i)
            head = reader.read(i, _SIGNED_BYTES)
            rows.facts[i]["size"], rows.facts[i]["offset"] = place.size, place.offset
            rows.facts[i]["stamp"] = zlib.crc32(head)
        return rows

    def jpeg(self, rows: Rows, index: int) -> bytes:
        """See :class:`Source`."""
        facts = rows.facts[index]
        size = int(facts["size"])
        if size > MAX_FILE:
            raise FaceFileError("this is too large for a face", code="too-large", where=self.path)
        try:
            with self.path.open("rb", buffering=0) as file:
                if _stamp(os.fstat(file.fileno())) != rows.pack:
                    raise FaceFileError("the pack has changed", code="unreadable", where=self.path)
                data = os.pread(file.fileno(), size, int(facts["offset"]))
        except OSError as error:
            raise FaceFileError(
                f"the pack cannot be read: {error.strerror or error}",
                code="unreadable",
                where=self.path,
            ) from error
        if len(data) < size:
            raise FaceFileError("the pack is cut off", code="truncated", where=self.path)
        if not data:
            raise FaceFileError("the file is empty", code="empty", where=self.path)
        return data

    def face(self, rows: Rows, index: int) -> Face:
        """See :class:`Source`."""
        if self._stamp() != rows.pack:
            raise FaceFileError("the pack has changed", code="unreadable", where=self.path)
        return self._index().face(index)

    def _index(self) -> PackReader:
        if self._reader is None:
            self._reader = PackReader(self.path)
        return self._reader

    def _stamp(self) -> tuple[int, int, int]:
        try:
            return _stamp(self.path.stat())
        except OSError as error:
            raise BadInputError(
                f"the pack cannot be read: {error.strerror or error}", where=self.path
            ) from error


def pack_names(reader: PackReader) -> list[str]:
    """Names of a pack's faces, each once: ``person/name`` where it has persons.

    A name that comes again gets `` (2)`` before its suffix, and so on.
    """
    seen: Counter[str] = Counter()
    names = []
    for i in range(len(reader)):
        person = reader.person(i)
        name = reader.name(i) if person is None else f"{person}/{reader.name(i)}"
        while (again := seen[name]) > 0:
            seen[name] += 1
            stem, dot, suffix = name.rpartition(".")
            name = f"{stem} ({again + 1}){dot}{suffix}" if dot else f"{name} ({again + 1})"
        seen[name] += 1
        names.append(name)
    return names


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_size, stat.st_mtime_ns, stat.st_ino

"""Where a catalog's faces come from: a folder of .jpg files, or a ``faceset.pak``."""

import os
import threading
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from recaster_tui.errors import BadInputError
from recaster_tui.faces.catalog_cache import Rows, empty_rows
from recaster_tui.faces.catalog_rows import COLUMNS
from recaster_tui.faces.codec import jpeg_bytes, read_face, read_jpeg_face
from recaster_tui.faces.face import Face, FaceFileError, PackEntry
from recaster_tui.faces.jpeg import MAX_FILE
from recaster_tui.faces.pack import PACK_NAME, PackReader
from recaster_tui.faces.pack_names import quick_names

STAMPED_BYTES = 16 << 10
PackStamp = tuple[int, int, int]


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
    """A pack. Its index (slow to read, large) is read only when there is no other way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._reader: PackReader | None = None
        self._stamp: PackStamp | None = None
        self._broken: FaceFileError | None = None

    def rows(self, cached: Rows | None) -> Rows:
        """See :class:`Source`."""
        stamp = self._present()
        if cached is not None and cached.pack == stamp:
            return cached
        names, places = self._list()
        rows = empty_rows(names, len(COLUMNS), stamp)
        rows.facts["size"] = [place.size for place in places]
        rows.facts["offset"] = [place.offset for place in places]
        if cached is not None:
            # What was known of a face in the pack before it was rewritten may still be true.
            for i in range(len(rows.names)):
                rows.facts["stamp"][i] = packed_stamp(self._read(rows, i, STAMPED_BYTES))
        return rows

    def _list(self) -> tuple[list[str], list[PackEntry]]:
        try:
            quick = quick_names(self.path)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if quick is not None:
            return quick
        reader = self._index()
        return pack_names(reader), [reader.place(i) for i in range(len(reader))]

    def jpeg(self, rows: Rows, index: int) -> bytes:
        """See :class:`Source`."""
        size = int(rows.facts["size"][index])
        if size > MAX_FILE:
            raise FaceFileError("this is too large for a face", code="too-large", where=self.path)
        data = self._read(rows, index, size)
        if len(data) < size:
            raise FaceFileError("the pack is cut off", code="truncated", where=self.path)
        if not data:
            raise FaceFileError("the file is empty", code="empty", where=self.path)
        return data

    def face(self, rows: Rows, index: int) -> Face:
        """See :class:`Source`. What the face's own file says; the index, which repeats it, is
        asked only where that says nothing."""
        if self._reader is None:
            size = int(rows.facts["size"][index])
            name = rows.names[index]
            person, _, last = name.rpartition("/")

            def read(offset: int, count: int) -> bytes:
                return self._read(rows, index, max(0, min(count, size - offset)), offset)

            try:
                face, _ = read_jpeg_face(read, size, self.path, last)
            except FaceFileError as error:
                if error.code not in ("no-metadata", "no-landmarks"):
                    raise
            else:
                place = PackEntry(int(rows.facts["offset"][index]), size)
                return replace(face, person=person or None, packed=place)
        reader = self._index()
        if self._stamp != rows.pack:
            raise _changed(self.path)
        return reader.face(index)

    def _read(self, rows: Rows, index: int, count: int, start: int = 0) -> bytes:
        try:
            with self.path.open("rb", buffering=0) as file:
                if _stamp(os.fstat(file.fileno())) != rows.pack:
                    raise _changed(self.path)
                count = min(count, int(rows.facts["size"][index]) - start)
                return os.pread(file.fileno(), count, int(rows.facts["offset"][index]) + start)
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def _index(self) -> PackReader:
        with self._lock:
            if self._broken is not None:
                raise self._broken
            if self._reader is None:
                self._stamp = self._present()
                try:
                    self._reader = PackReader(self.path)
                except FaceFileError as error:
                    self._broken = error
                    raise
            return self._reader

    def _present(self) -> PackStamp:
        try:
            return _stamp(self.path.stat())
        except OSError as error:
            raise _unreadable(self.path, error) from error


def packed_stamp(data: bytes) -> int:
    """What tells a packed face from what was packed under its name before: CRC-32 of its
    beginning, where the metadata are."""
    return zlib.crc32(memoryview(data)[:STAMPED_BYTES]) or 1


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


def _changed(path: Path) -> FaceFileError:
    return FaceFileError("the pack has changed", code="unreadable", where=path)


def _unreadable(path: Path, error: OSError) -> FaceFileError:
    return FaceFileError(
        f"the pack cannot be read: {error.strerror or error}", code="unreadable", where=path
    )


def _stamp(stat: os.stat_result) -> PackStamp:
    return stat.st_size, stat.st_mtime_ns, stat.st_ino

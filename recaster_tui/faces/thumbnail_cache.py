"""Thumbnails on disk: two growing files per folder of faces, in the user's cache folder.

``thumbs.bin`` holds small JPEGs one after another, ``thumbs.idx`` a record for each: key, place,
length, CRC-32. Whoever holds the lock may append; everyone else reads. A torn or foreign record is
a miss, never an error.
"""

import contextlib
import fcntl
import logging
import os
import threading
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)

MAX_BYTES = 512 << 20
"""Most that the thumbnails of all folders may take on disk."""

_RECORD = np.dtype([("key", "<u8"), ("offset", "<u8"), ("length", "<u4"), ("crc", "<u4")])
_LARGEST = 1 << 20
_SLACK = 16 << 20


class ThumbnailCache:
    """Small pictures by key. All methods may be called from any thread.

    Args:
        folder: where the two files lie; it is made when something is written.
        live: keys that still mean something; when much is dead, the files are written anew.
    """

    def __init__(self, folder: Path, live: Iterable[int] = ()) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._places: dict[int, tuple[int, int, int]] = {}
        self._data = -1
        self._index = -1
        self._guard = -1
        self._end = 0
        self._load()
        self._become_writer(live)

    @property
    def writable(self) -> bool:
        """Whether new pictures are kept."""
        return self._index >= 0

    def __contains__(self, key: int) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: int) -> bytes | None:
        """The picture of *key*, None where there is none."""
        place = self._places.get(key)
        if place is None or self._data < 0:
            return None
        offset, length, crc = place
        with contextlib.suppress(OSError):
            data = os.pread(self._data, length, offset)
            if len(data) == length and zlib.crc32(data) == crc:
                return data
        self._places.pop(key, None)
        return None

    def put(self, key: int, data: bytes) -> None:
        """Keep a picture; nothing happens where that is impossible."""
        with self._lock:
            if self._index < 0 or self._end + len(data) > MAX_BYTES or len(data) > _LARGEST:
                return
            record = np.array([(key, self._end, len(data), zlib.crc32(data))], _RECORD)
            try:
                # A short write is found out by the checksum.
                os.pwrite(self._data, data, self._end)
                os.write(self._index, record.tobytes())
            except OSError as error:
                log.warning("thumbnails cannot be kept: %s", error)
                self._close_writing()
                return
            self._places[key] = (self._end, len(data), zlib.crc32(data))
            self._end += len(data)

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._close_writing()
            if self._data >= 0:
                os.close(self._data)
                self._data = -1
            self._places.clear()

    # --- opening ----------------------------------------------------------------------------

    def _load(self) -> None:
        try:
            index = (self._folder / "thumbs.idx").read_bytes()
            self._data = os.open(self._folder / "thumbs.bin", os.O_RDONLY)
            size = os.fstat(self._data).st_size
        except OSError:
            return
        records = np.frombuffer(index, _RECORD, len(index) // _RECORD.itemsize)
        good = records[
            (records["length"] <= _LARGEST)
            & (records["offset"] <= size)
            & (records["offset"] + records["length"] <= size)
        ]
        columns = [good[name].tolist() for name in ("key", "offset", "length", "crc")]
        self._places = {k: (o, n, c) for k, o, n, c in zip(*columns, strict=True)}

    def _become_writer(self, live: Iterable[int]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._guard = os.open(self._folder / "thumbs.lock", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._close_writing()  # another process writes; what it has we read
                return
            except OSError:
                log.info("no locks in %s", self._folder)
            _make_room(self._folder)
            self._compact(set(live))
            flags = os.O_RDWR | os.O_CREAT
            data = os.open(self._folder / "thumbs.bin", flags, 0o644)
            if self._data >= 0:
                os.close(self._data)
            self._data = data
            self._index = os.open(self._folder / "thumbs.idx", flags | os.O_APPEND, 0o644)
            # A torn last record would shift all that follow.
            size = os.fstat(self._index).st_size
            os.ftruncate(self._index, size - size % _RECORD.itemsize)
            self._end = os.fstat(self._data).st_size
        except OSError as error:
            log.info("thumbnails are not kept: %s", error)
            self._close_writing()

    def _compact(self, live: set[int]) -> None:
        if self._data < 0:
            return
        total = os.fstat(self._data).st_size
        kept = {key: place for key, place in self._places.items() if key in live}
        alive = sum(length for _, length, _ in kept.values())
        if total - alive <= max(alive, _SLACK):
            return
        new_data, new_index = self._folder / "thumbs.bin.new", self._folder / "thumbs.idx.new"
        places: dict[int, tuple[int, int, int]] = {}
        records = np.zeros(len(kept), _RECORD)
        end = 0
        with new_data.open("wb") as file:
            for number, (key, (_, length, crc)) in enumerate(kept.items()):
                data = self.get(key)
                if data is None:
                    continue
                file.write(data)
                places[key] = (end, length, crc)
                records[number] = (key, end, length, crc)
                end += length
        new_index.write_bytes(records[records["length"] > 0].tobytes())
        # In between the two, every old record fails its checksum: misses, nothing worse.
        new_data.replace(self._folder / "thumbs.bin")
        new_index.replace(self._folder / "thumbs.idx")
        os.close(self._data)
        self._data = -1
        self._places = places

    def _close_writing(self) -> None:
        for name in ("_index", "_guard"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                os.close(descriptor)
                setattr(self, name, -1)


def _make_room(own: Path) -> None:
    """Remove the thumbnails of other folders, those not used for longest first, if there are
    too many; nobody is asked, since they can be made again."""
    found = []
    for path in own.parent.glob("*/thumbs.bin"):
        with contextlib.suppress(OSError):
            stat = path.stat()
            found.append((path.parent == own, stat.st_mtime, stat.st_size, path))
    total = sum(size for _, _, size, _ in found)
    for is_own, _, size, path in sorted(found):
        if total <= MAX_BYTES or is_own:
            break
        for name in ("thumbs.idx", "thumbs.bin"):
            (path.parent / name).unlink(missing_ok=True)
        total -= size

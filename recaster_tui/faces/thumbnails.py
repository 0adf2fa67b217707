"""Thumbnails of a catalog's faces, made by threads and remembered on disk."""

import logging
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.catalog import Catalog, cache_folder
from recaster_tui.faces.catalog_rows import decode_small
from recaster_tui.faces.face import FaceFileError
from recaster_tui.faces.jpeg import read_header
from recaster_tui.faces.thumbnail_cache import ThumbnailCache

log = logging.getLogger(__name__)

SIZES = (64, 128)

_STORED = 128
_QUALITY = 85
_MEMORY = 24 << 20

Thumbnail = NDArray[np.uint8]


class Thumbnails:
    """Thumbnails by index of a catalog. All methods may be called from any thread.

    What is asked for last is made first; when nothing is asked for, the threads go through the
    whole catalog, so that the next opening finds everything.

    Args:
        catalog: of the faces.
        on_ready: called with an index when its thumbnail can be had (or is known to be
            impossible), from a worker thread.
        workers: threads.
        background: whether to go through the whole catalog.
    """

    def __init__(
        self,
        catalog: Catalog,
        on_ready: Callable[[int], None] | None = None,
        *,
        workers: int | None = None,
        background: bool = True,
    ) -> None:
        self._catalog = catalog
        self._on_ready = on_ready
        self._keys = catalog.keys
        self._cache = ThumbnailCache(cache_folder(catalog.folder), self._keys)
        self._memory: OrderedDict[tuple[int, int], Thumbnail] = OrderedDict()
        self._bytes = 0
        self._failed: set[int] = set()
        self._wanted: deque[int] = deque()
        self._queued: set[int] = set()
        self._next = 0 if background else len(catalog)
        self._closed = False
        self._condition = threading.Condition()
        count = workers if workers is not None else min(2, os.cpu_count() or 1)
        self._threads = [
            threading.Thread(target=self._work, name=f"thumbnails-{n}", daemon=True)
            for n in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, index: int, size_px: int = 64) -> Thumbnail | None:
        """(size_px, size_px, 3) uint8 RGB, read-only; None where it is not there yet (it is then
        made next) or cannot be made (:meth:`failed`)."""
        if size_px not in SIZES:
            raise ValueError(f"thumbnails are {SIZES} pixels wide, not {size_px}")
        with self._condition:
            found = self._memory.get((index, size_px))
            if found is not None:
                self._memory.move_to_end((index, size_px))
                return found
            if index in self._failed or self._closed:
                return None
        data = self._cache.get(self._keys[index])
        if data is not None and (stored := _decode(data)) is not None:
            return self._remember(index, size_px, stored)
        self.prefetch((index,))
        return None

    def failed(self, index: int) -> bool:
        """Whether there will be no thumbnail of this face: its picture cannot be decoded."""
        return index in self._failed

    def prefetch(self, indices: Iterable[int]) -> None:
        """Make these next, in this order, before all that was asked for earlier."""
        with self._condition:
            new = [i for i in indices if i not in self._failed and self._keys[i] not in self._cache]
            if not new or self._closed:
                return
            chosen = set(new)
            self._wanted = deque(
                [*dict.fromkeys(new), *(i for i in self._wanted if i not in chosen)]
            )
            self._condition.notify_all()

    @property
    def made(self) -> int:
        """How many faces are done with, impossible ones included."""
        return sum(key in self._cache or i in self._failed for i, key in enumerate(self._keys))

    def close(self) -> None:
        """End the threads; harmless when repeated."""
        with self._condition:
            self._closed = True
            self._wanted.clear()
            self._condition.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self._cache.close()

    # --- the threads ------------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._take()) is not None:
            index, asked = job
            try:
                self._make(index)
            except Exception:  # a thread that dies would leave its pictures grey for ever
                log.exception("thumbnail of face %s", index)
                self._failed.add(index)
            if asked and self._on_ready is not None and not self._closed:
                self._on_ready(index)

    def _take(self) -> tuple[int, bool] | None:
        with self._condition:
            while not self._closed:
                if self._wanted:
                    return self._wanted.popleft(), True
                while self._next < len(self._catalog) and self._cache.writable:
                    index = self._next
                    self._next += 1
                    if self._keys[index] not in self._cache:
                        return index, False
                self._condition.wait()
        return None

    def _make(self, index: int) -> None:
        key = self._keys[index]
        if key in self._cache or (index, _STORED) in self._memory:
            return
        try:
            data = self._catalog.jpeg(index)
            header = read_header(lambda offset, count: data[offset : offset + count], len(data))
            image = decode_small(data, header.shape, _STORED)
        except FaceFileError as error:
            log.info("no thumbnail: %s", error.message)
            image = None
        if image is None or not image.size:
            self._failed.add(index)
            return
        small = square(image, _STORED)
        done, buffer = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if done:
            self._cache.put(key, bytes(buffer))
        if not self._cache.writable:
            # Then memory is all there is, for both sizes.
            for size in SIZES:
                self._remember(index, size, small)

    def _remember(self, index: int, size: int, stored: NDArray[np.uint8]) -> Thumbnail:
        if size != _STORED:
            stored = np.asarray(cv2.resize(stored, (size, size), interpolation=cv2.INTER_AREA))
        picture = np.ascontiguousarray(stored[..., ::-1])
        picture.flags.writeable = False
        with self._condition:
            old = self._memory.pop((index, size), None)
            self._memory[index, size] = picture
            self._bytes += picture.nbytes - (old.nbytes if old is not None else 0)
            while self._bytes > _MEMORY:
                _, gone = self._memory.popitem(last=False)
                self._bytes -= gone.nbytes
        return picture


def square(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """(side, side, 3): *image* (H, W, 3) scaled to fit, in the middle of black."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
    if small.shape[:2] == (side, side):
        return small
    result = np.zeros((side, side, 3), np.uint8)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    result[top : top + size[1], left : left + size[0]] = small
    return result


def _decode(data: bytes) -> NDArray[np.uint8] | None:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    if image is None or image.shape != (_STORED, _STORED, 3):
        return None
    return np.asarray(image, np.uint8)

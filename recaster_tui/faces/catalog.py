"""A faceset as columns: what a screen needs to list, sort and filter tens of thousands of faces.

Opening lists names and takes from the cache what is still true (a row belongs to a name, a size
and a time of change); :meth:`Catalog.refresh`, run in a thread, measures the rest and remembers it.
The cache may be deleted, damaged or impossible to write at any time.
"""

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.catalog_cache import Rows, cache_folder, load_rows, save_bytes, save_rows
from recaster_tui.faces.catalog_rows import COLUMNS, ColumnInfo, measure
from recaster_tui.faces.catalog_source import Source, find_source, packed_stamp
from recaster_tui.faces.catalog_values import StoredValues
from recaster_tui.faces.codec import decode_jpeg
from recaster_tui.faces.face import Face, FaceFileError
from recaster_tui.faces.filters import FINDING_PREFIX, Filter, name_matches, parse_filter
from recaster_tui.faces.jpeg import read_header

__all__ = [
    "COLUMNS",
    "FINDING_PREFIX",
    "Catalog",
    "ColumnInfo",
    "Filter",
    "cache_folder",
    "parse_filter",
    "shown_name",
]

log = logging.getLogger(__name__)

_CHUNK = 32
_SAVE_EVERY = 10.0
_KEYS = tuple(COLUMNS)
_INDEX = {key: i for i, key in enumerate(COLUMNS)}


def shown_name(name: str) -> str:
    """*name* for screens and logs: file names need not be valid text."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class Catalog:
    """The faces of a folder (or its pack) at the time of opening; indices never change.

    Every .jpg is listed, also one that is no usable face (:meth:`problem` says why). After faces
    came, went or were renamed, :meth:`reopened` gives a new catalog. All methods may be called
    from any thread.

    Attributes:
        folder: of the faces.
        pack: whether they come from a ``faceset.pak``.
        names: file names, in a pack of persons ``person/name``. Not every name is valid text, see
            :func:`shown_name`.
    """

    COLUMNS: Mapping[str, ColumnInfo] = COLUMNS

    def __init__(
        self,
        folder: Path,
        source: Source,
        rows: Rows,
        marks: list[tuple[str, int]] | None = None,
    ) -> None:
        self.folder = folder
        self.names = rows.names
        self.pack = rows.pack is not None
        self._source = source
        self._rows = rows
        self._cache = cache_folder(folder)
        self._lock = threading.Lock()
        self._values = StoredValues(self._cache / "values.json")
        self._index: dict[str, int] | None = None
        self._marked = self._load_marks(marks)

    @classmethod
    def open(cls, folder: Path) -> "Catalog":
        """List the faces in *folder*, or in its pack; what the cache knows is known at once.

        Args:
            folder: the folder of aligned faces, or a .pak file.

        Raises:
            BadInputError: there is no such folder, or it cannot be read.
            FaceFileError: the pack as a whole cannot be used.
        """
        folder = Path(folder)
        return cls._open(folder, load_rows(cache_folder(folder) / "index.bin", _KEYS))

    @classmethod
    def _open(
        cls, folder: Path, cached: Rows | None, marks: list[tuple[str, int]] | None = None
    ) -> "Catalog":
        source = find_source(folder)
        rows = source.rows(cached)
        if cached is not None and cached is not rows:
            _carry_over(cached, rows)
        _make_keys(rows)
        return cls(folder, source, rows, marks)

    def reopened(self) -> "Catalog":
        """The same folder as it is now; what this catalog knows is not measured again.

        Raises:
            BadInputError, FaceFileError: as :meth:`open`.
        """
        marks = self._marks()
        new = self._open(self.folder, self._rows, marks)
        if new._marks() != marks:
            new.mark(())  # writes them down as they are called now
        return new

    def __len__(self) -> int:
        return len(self.names)

    @property
    def known(self) -> int:
        """How many rows have been measured."""
        return int(np.count_nonzero(self._rows.facts["known"]))

    @property
    def columns(self) -> dict[str, ColumnInfo]:
        """Every column there is: :data:`COLUMNS` and what was stored by :meth:`store_values`."""
        return {**COLUMNS, **self._values.columns}

    def index(self, name: str) -> int | None:
        """Where *name* is; None where it is not."""
        if self._index is None:
            self._index = {known: i for i, known in enumerate(self.names)}
        return self._index.get(name)

    # --- measuring --------------------------------------------------------------------------

    def refresh(self, stop: Callable[[], bool] = lambda: False) -> Iterator[int]:
        """Measure the rows that are not known, in a few threads; to be run in a thread.

        What is known is saved now and then, and when the iterator ends or is closed.

        Args:
            stop: asked often; True ends it soon.

        Yields:
            how many rows are known.
        """
        missing = np.flatnonzero(~self._rows.facts["known"])
        yield self.known
        if not len(missing):
            if not (self._cache / "index.bin").exists():
                self.save()
            return
        saved = time.monotonic()
        chunks = [missing[i : i + _CHUNK] for i in range(0, len(missing), _CHUNK)]

        def work(chunk: NDArray[np.intp]) -> None:
            for index in chunk:
                if stop():
                    return
                self._measure(int(index))

        with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "catalog") as pool:
            try:
                for _ in pool.map(work, chunks):
                    if time.monotonic() - saved > _SAVE_EVERY:
                        self.save()
                        saved = time.monotonic()
                    yield self.known
                    if stop():
                        break
            finally:
                pool.shutdown(cancel_futures=True)
                self.save()

    def save(self) -> bool:
        """Remember what is known; False where the cache cannot be written."""
        with self._lock:
            return save_rows(self._cache / "index.bin", self._rows, _KEYS)

    def _measure(self, index: int) -> None:
        rows = self._rows
        row = np.full(len(_KEYS), np.nan, np.float32)
        picture, source, problem = 0, None, ""
        try:
            data = self._source.jpeg(rows, index)
            header = read_header(lambda offset, count: data[offset : offset + count], len(data))
            row[_INDEX["jpeg_bytes"]] = len(data)
            row[_INDEX["size"]] = max(header.shape[:2])
            face = self._source.face(rows, index)
            source = face.source_filename
            row, picture = measure(data, header.scan, face)
            if np.isnan(row[_INDEX["brightness"]]):
                problem = "damaged"
        except FaceFileError as error:
            problem = error.code
        except cv2.error as error:  # a picture that OpenCV takes for valid, and stumbles over
            log.info("%s: %s", shown_name(rows.names[index]), error)
            problem = "damaged"
        else:
            if self.pack and not rows.facts["stamp"][index]:
                rows.facts["stamp"][index] = packed_stamp(data)
        rows.values[index] = row
        rows.sources[index] = source
        rows.problems[index] = problem
        rows.facts["picture"][index] = picture
        rows.facts["known"][index] = True

    # --- one face ---------------------------------------------------------------------------

    def face(self, index: int) -> Face:
        """Metadata of a face, read from its file now.

        Raises:
            FaceFileError: it is no usable face, or gone.
        """
        return self._source.face(self._rows, index)

    def jpeg(self, index: int) -> bytes:
        """The complete file of a face.

        Raises:
            FaceFileError: it cannot be read.
        """
        return self._source.jpeg(self._rows, index)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 BGR, as stored.

        Raises:
            FaceFileError: it cannot be read or decoded.
        """
        return decode_jpeg(self.jpeg(index), self.folder / self.names[index])

    def source_filename(self, index: int) -> str | None:
        """Name of the frame it was cut from; None where unknown."""
        return self._rows.sources[index]

    def problem(self, index: int) -> str | None:
        """Why it is no usable face (``FaceFileError.code``); None where it is, or unknown."""
        return self._rows.problems[index] or None

    @property
    def keys(self) -> list[int]:
        """:meth:`key` of every face."""
        keys: list[int] = self._rows.facts["key"].tolist()
        return keys

    def key(self, index: int) -> int:
        """64 bits that name this state of the file, but not its name: for thumbnails."""
        return int(self._rows.facts["key"][index])

    @property
    def pictures(self) -> list[int]:
        """64 bits of every face that name its picture, whatever the file is called and its
        metadata say; 0 where it is not measured yet, or cannot be read."""
        pictures: list[int] = self._rows.facts["picture"].tolist()
        return pictures

    # --- columns ----------------------------------------------------------------------------

    def column(self, key: str) -> NDArray[np.float32]:
        """(n,) float32: a column; NaN where unknown.

        Raises:
            KeyError: there is no such column.
        """
        if key in _INDEX:
            return self._rows.values[:, _INDEX[key]].copy()
        facts = self._rows.facts
        return self._values.column(key, self.names, facts["picture"], facts["size"], facts["stamp"])

    def store_values(
        self,
        values: Mapping[str, Mapping[str, float]],
        columns: Mapping[str, ColumnInfo] | None = None,
        *,
        of_metadata: bool = False,
        replace: bool = False,
    ) -> None:
        """Add columns measured elsewhere: name of the face -> column -> value.

        They belong to the picture: renaming a face or editing its metadata keeps them, another
        picture under the same name loses them.

        Args:
            values: names that are not in the catalog are left out. A face that is not mentioned
                keeps the values it has.
            columns: what the columns mean.
            of_metadata: these values say something about the metadata (its mask, its landmarks)
                and are forgotten when those change.
            replace: first forget what any face had in the columns that occur here.
        """
        wanted = [i for name in values if (i := self.index(name)) is not None]
        for i in wanted:
            if not self._rows.facts["known"][i]:
                self._measure(i)
        facts = self._rows.facts
        identities = {
            self.names[i]: (
                int(facts["picture"][i]),
                int(facts["size"][i]),
                int(facts["stamp"][i]),
            )
            for i in wanted
        }
        with self._lock:
            self._values.store(values, identities, columns or {}, of_metadata, replace)

    def sorted_by(self, key: str, descending: bool = False) -> NDArray[np.intp]:
        """Indices in the order of a column (stable), unknown ones last.

        Args:
            key: a column, or ``name`` or ``source`` (the frame's name).
            descending: the largest first.

        Raises:
            KeyError: there is no such column.
        """
        if key in ("name", "source"):
            texts = self.names if key == "name" else [s or "" for s in self._rows.sources]
            some = [i for i in range(len(self)) if texts[i]]
            some.sort(key=texts.__getitem__, reverse=descending)
            return np.array(some + [i for i in range(len(self)) if not texts[i]], np.intp)
        values = self.column(key)
        if descending:
            values = -values
        return np.argsort(values, kind="stable")  # numpy puts NaN last

    def matching(self, wanted: Filter) -> NDArray[np.bool_]:
        """(n,) bool: which faces meet every condition of *wanted*.

        Raises:
            KeyError: it names a column that is not there.
        """
        chosen = np.ones(len(self), np.bool_)
        for key, (low, high) in wanted.ranges.items():
            values = self.column(key)
            # Comparisons with NaN are false: unknown values never match.
            chosen &= (values >= (-np.inf if low is None else np.float32(low))) & (
                values <= (np.inf if high is None else np.float32(high))
            )
        for column, flag in (("has_polygons", wanted.labelled), ("has_xseg", wanted.masked)):
            if flag is not None:
                chosen &= self.column(column) == (1.0 if flag else 0.0)
        if wanted.doubtful is not None:
            chosen &= (self.column("doubt") == 1.0) == wanted.doubtful
        if wanted.marked is not None:
            chosen &= self._marked == wanted.marked
        if wanted.damaged is not None:
            chosen &= np.array([bool(p) for p in self._rows.problems], np.bool_) == wanted.damaged
        for codes, has in ((wanted.findings, True), (wanted.without, False)):
            for code in codes:
                chosen &= self.has_finding(code) == has
        words = wanted.text.lower().split()
        if words or wanted.names or wanted.frames:
            for i in np.flatnonzero(chosen):
                chosen[i] = self._named(int(i), words, wanted)
        return chosen

    def has_finding(self, code: str) -> NDArray[np.bool_]:
        """(n,) bool: which faces the check accuses of *code* (``any``: of anything)."""
        found = np.zeros(len(self), np.bool_)
        for key in self._values.columns:
            own = key.removeprefix(FINDING_PREFIX)
            if own != key and (code == "any" or own.startswith(code)):
                found |= self.column(key) > 0
        return found

    def _named(self, index: int, words: Sequence[str], wanted: Filter) -> bool:
        name, source = self.names[index], self._rows.sources[index] or ""
        text = f"{name}\0{source}".lower()
        return (
            all(word in text for word in words)
            and (not wanted.names or name_matches(wanted.names, name))
            and (not wanted.frames or name_matches(wanted.frames, source))
        )

    # --- marks ------------------------------------------------------------------------------

    @property
    def marked(self) -> NDArray[np.bool_]:
        """(n,) bool: what the user has marked; remembered."""
        return self._marked.copy()

    def mark(self, indices: Iterable[int] | NDArray[np.intp], marked: bool = True) -> None:
        """Mark faces, or take their marks away."""
        self._marked[np.asarray(list(indices), np.intp)] = marked
        data = json.dumps(self._marks()).encode()
        with self._lock:
            save_bytes(self._cache / "marks.json", data)

    def _marks(self) -> list[tuple[str, int]]:
        # By key, so that a mark stays with its face when names are swapped; editing metadata
        # changes the key, but not the name.
        return [(self.names[i], self.key(int(i))) for i in np.flatnonzero(self._marked)]

    def _load_marks(self, marks: list[tuple[str, int]] | None) -> NDArray[np.bool_]:
        marked = np.zeros(len(self), np.bool_)
        if marks is None:
            try:
                stored = json.loads((self._cache / "marks.json").read_bytes())
                marks = [(str(name), int(key)) for name, key in stored]
            except (OSError, ValueError, TypeError, RecursionError):
                return marked
        if not marks:
            return marked
        by_key = {key: i for i, key in enumerate(self._rows.facts["key"].tolist())}
        known = self._rows.facts["known"]
        for name, key in marks:
            index = by_key.get(key)
            if index is None:
                # Changed since, so not known any more; or gone, and another one has its name.
                index = self.index(name)
                if index is None or known[index]:
                    continue
            marked[index] = True
        return marked


def _carry_over(old: Rows, new: Rows) -> None:
    """What is known of files that are still the same: same name, size and time; or renamed."""
    by_name = {name: i for i, name in enumerate(old.names)}
    renamed: dict[tuple[int, int, int], int] = {}
    packed = new.pack is not None
    identity = ("size", "stamp") if packed else ("size", "stamp", "inode")
    facts = [tuple(row) for row in zip(*(old.facts[k].tolist() for k in identity), strict=True)]
    now = [tuple(row) for row in zip(*(new.facts[k].tolist() for k in identity), strict=True)]
    pairs: list[tuple[int, int]] = []
    left: list[int] = []
    for i, name in enumerate(new.names):
        j = by_name.get(name)
        if j is not None and facts[j][:2] == now[i][:2]:
            pairs.append((i, j))
        else:
            left.append(i)
    if left:
        taken = {j for _, j in pairs}
        for j in range(len(old.names)):
            if j not in taken:
                renamed[facts[j]] = j
        for i in left:
            j = renamed.get(now[i])
            if j is not None:
                pairs.append((i, j))
    if not pairs:
        return
    to, of = np.array(pairs, np.intp).T
    for key in ("key", "picture", "known"):
        new.facts[key][to] = old.facts[key][of]
    new.values[to] = old.values[of]
    for i, j in pairs:
        new.sources[i], new.problems[i] = old.sources[j], old.problems[j]


def _make_keys(rows: Rows) -> None:
    missing = np.flatnonzero(rows.facts["key"] == 0)
    if not len(missing):
        return
    sizes, stamps = (rows.facts[key][missing].tolist() for key in ("size", "stamp"))
    keys = []
    for i, size, stamp in zip(missing.tolist(), sizes, stamps, strict=True):
        raw = f"{size} {stamp or rows.pack} {rows.names[i]}".encode("utf-8", "surrogateescape")
        keys.append(int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest()) or 1)
    rows.facts["key"][missing] = np.array(keys, np.uint64)

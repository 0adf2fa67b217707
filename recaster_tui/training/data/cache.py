"""Every face of a faceset, decoded and fitted once, in one memory-mapped file (DESIGN 6).

File: ``count`` records of ``planes · R · R`` bytes (BGR picture interleaved, then full mask, then
eyes and mouth where kept), a JSON index, and a trailer of 8 bytes index length + 8 bytes magic. The
index lies last because damaged faces are only known once everything has been decoded.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recaster_tui.errors import BadInputError, EnvironmentProblem, RecasterError
from recaster_tui.faces.face import Face
from recaster_tui.faces.faceset import Faceset, Skipped
from recaster_tui.faces.pose import pitch_yaw_roll
from recaster_tui.faces.types import FaceType
from recaster_tui.training.data.fit import record_fitter

log = logging.getLogger(__name__)

Kind = Literal["face", "face+parts", "picture", "segmented"]
Progress = Callable[[int, int, str], None]
"""Called with (done, total, what is being done)."""

FORMAT_VERSION = 1
_TRAILER = struct.Struct("<Q8s")
_MAGIC = b"RTFACES\n"
_FREE_SPACE_LEFT = 64 << 20


@dataclass(frozen=True)
class _Entry:
    """One face of the index; *code* is empty when record *row* holds it."""

    key: str
    yaw: float
    code: str
    message: str


class FaceCache:
    """The usable faces of a faceset at one resolution and face type, read through a mapping.

    Attributes:
        faces: metadata of each usable face, in faceset order.
        records: (faces in the set, planes · R · R) uint8, read-only mapping.
        rows: (n,) int64, record of each usable face.
        yaw: (n,) float32 radians, the negated estimate that uniform yaw bins by (7.2).
        skipped: faces whose pixels or masks turned out to be damaged.
        resolution: R.
        kind: ``face``, ``face+parts`` (eye and mouth masks too), ``picture`` (whole picture,
            no masks) or ``segmented`` (XSeg's truth as the mask).
        reused: how many faces did not have to be decoded again.
    """

    def __init__(
        self,
        faceset: Faceset,
        path: Path,
        records: NDArray[np.uint8],
        entries: Sequence[_Entry],
        *,
        resolution: int,
        kind: Kind,
        reused: int,
    ) -> None:
        usable = [i for i, entry in enumerate(entries) if not entry.code]
        self.path = path
        self.faces: list[Face] = [faceset.faces[i] for i in usable]
        self.records = records
        self.rows = np.array(usable, np.int64)
        self.yaw = np.array([entries[i].yaw for i in usable], np.float32)
        self.skipped = [
            Skipped(face.name, entry.code, entry.message)
            for face, entry in zip(faceset.faces, entries, strict=True)
            if entry.code
        ]
        self.resolution = resolution
        self.kind = kind
        self.reused = reused

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def open(
        cls,
        faceset: Faceset,
        resolution: int,
        face_type: FaceType,
        cache_dir: Path,
        *,
        kind: Kind = "face",
        progress: Progress | None = None,
        what: str = "faces",
        threads: int | None = None,
    ) -> "FaceCache":
        """Map the cache of *faceset*, decoding first what is missing or has changed.

        Args:
            faceset: opened with :func:`recaster_tui.faces.faceset.open_faceset`.
            resolution: R in pixels.
            face_type: the model's.
            cache_dir: folder of the cache files; made if missing.
            kind: what is kept of a face.
            progress: called with (done, total, *what*); an exception in it ends the work.
            what: name for *progress*.
            threads: decoders; default: one a core.

        Raises:
            EnvironmentProblem: no room or no right to write the cache.
        """
        path = cache_dir / _file_name(faceset, resolution, face_type, kind, cache_dir)
        planes, fit = record_fitter(kind, resolution, face_type)
        size = planes * resolution * resolution
        keys = [_face_key(face) for face in faceset.faces]
        old = _read(path, size)
        if old is not None and [entry.key for entry in old[1]] == keys:
            return cls(
                faceset, path, old[0], old[1], resolution=resolution, kind=kind, reused=len(keys)
            )
        known = {entry.key: row for row, entry in enumerate(old[1])} if old else {}

        def make(row: int, target: NDArray[np.uint8]) -> _Entry:
            face, key = faceset.faces[row], keys[row]
            if old is not None and key in known:
                target[row] = old[0][known[key]]
                return old[1][known[key]]
            try:
                target[row] = fit(face)
                yaw = -pitch_yaw_roll(face.landmarks, face.shape[1])[1]
            except RecasterError as error:
                code = str(getattr(error, "code", "unusable"))
                # What the system would not read today it may read tomorrow: try again then.
                return _Entry("" if code == "unreadable" else key, 0.0, code, error.message)
            return _Entry(key, float(yaw), "", "")

        with _new_file(path, len(keys) * size) as temporary:
            entries = _fill(
                temporary, size, len(keys), make, threads, lambda n: _tell(progress, what, n, keys)
            )
            _append_index(temporary, size, entries)
        fresh = _read(path, size)
        if fresh is None:
            raise EnvironmentProblem("the face cache cannot be read back", where=path)
        reused = sum(key in known for key in keys)
        log.info("%s: %d faces fitted, %d reused, %s", what, len(keys) - reused, reused, path)
        return cls(
            faceset, path, fresh[0], fresh[1], resolution=resolution, kind=kind, reused=reused
        )

    def image(self, index: int) -> NDArray[np.uint8]:
        """(R, R, 3) uint8 BGR of usable face *index*; a view of the mapping."""
        side = self.resolution
        return self.records[self.rows[index], : 3 * side * side].reshape(side, side, 3)

    def plane(self, index: int, plane: int) -> NDArray[np.uint8]:
        """(R, R) uint8 mask of usable face *index*: plane 0 full face, 1 eyes, 2 mouth."""
        side = self.resolution
        start = (3 + plane) * side * side
        return self.records[self.rows[index], start : start + side * side].reshape(side, side)

    @property
    def has_parts(self) -> bool:
        """Whether eye and mouth masks are kept."""
        return self.kind == "face+parts"


def _face_key(face: Face) -> str:
    """Changes whenever the fitted face could: file name, size, time, and the metadata used."""
    try:
        stat = face.path.stat()
        place: tuple[Any, ...] = (stat.st_size, stat.st_mtime_ns)
    except OSError:
        place = ("gone",)
    if face.packed is not None:
        place = (*place, face.packed.offset, face.packed.size)
    digest = hashlib.sha256()
    digest.update(
        repr((face.name, place, face.face_type.value, face.shape, face.eyebrows_expand)).encode()
    )
    digest.update(np.ascontiguousarray(face.landmarks).tobytes())
    digest.update(face.xseg_mask or b"")
    return digest.hexdigest()[:32]


def _file_name(
    faceset: Faceset, resolution: int, face_type: FaceType, kind: Kind, cache_dir: Path
) -> str:
    # Relative, so that a workspace that is moved or synced keeps its cache.
    folder = os.path.relpath(faceset.folder.resolve(), cache_dir.resolve())
    short = hashlib.sha256(folder.encode()).hexdigest()[:10]
    return f"{short}-{resolution}-{face_type.value}-{kind}.v{FORMAT_VERSION}.faces"


def _read(path: Path, size: int) -> tuple[NDArray[np.uint8], list[_Entry]] | None:
    """Records and index of a complete file, None for one that is missing or not whole."""
    try:
        with path.open("rb") as file:
            file.seek(-_TRAILER.size, os.SEEK_END)
            length, magic = _TRAILER.unpack(file.read(_TRAILER.size))
            total = file.tell()
            if magic != _MAGIC or length > total - _TRAILER.size:
                return None
            file.seek(total - _TRAILER.size - length)
            index = json.loads(file.read(length))
        entries = [_Entry(*row) for row in index["faces"]]
        if index["record"] != size or total != len(entries) * size + length + _TRAILER.size:
            return None
        if not entries:
            return np.empty((0, size), np.uint8), entries
        return np.memmap(path, np.uint8, "r", shape=(len(entries), size)), entries
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _new_file(path: Path, size: int) -> Iterator[Path]:
    """A temporary of *size* bytes beside *path* that takes its place when the block succeeds."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        with os.fdopen(fd, "wb") as file:
            _reserve(file.fileno(), path.parent, size)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write the face cache ({size / 1e6:.0f} MB): {error.strerror or error}",
            where=path.parent,
            hint="free some disk space or make the folder writable",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _reserve(fd: int, folder: Path, size: int) -> None:
    # Writing a mapping on a full disk kills the process (SIGBUS); find out before.
    if shutil.disk_usage(folder).free < size + _FREE_SPACE_LEFT:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.ftruncate(fd, size)
    if size and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            # Some file systems cannot reserve; the check above has to do there.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


def _fill(
    path: Path,
    size: int,
    count: int,
    make: Callable[[int, NDArray[np.uint8]], _Entry],
    threads: int | None,
    tell: Callable[[int], None],
) -> list[_Entry]:
    if count == 0:
        return []
    records = np.memmap(path, np.uint8, "r+", shape=(count, size))
    entries: list[_Entry] = []
    # OpenCV releases the interpreter lock: threads decode as fast as processes (libraries.md 5).
    with ThreadPoolExecutor(threads or os.cpu_count() or 1, "fit") as pool:
        futures: list[Future[_Entry]] = [pool.submit(make, row, records) for row in range(count)]
        try:
            for future in futures:
                entries.append(future.result())
                tell(len(entries))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    records.flush()
    return entries


def _tell(progress: Progress | None, what: str, done: int, keys: Sequence[str]) -> None:
    # A hundred reports are enough for any bar.
    total = len(keys)
    if progress is not None and (done == total or done % max(1, total // 100) == 0):
        progress(done, total, what)


def _append_index(path: Path, size: int, entries: Sequence[_Entry]) -> None:
    index = json.dumps(
        {
            "record": size,
            "faces": [(e.key, e.yaw, e.code, e.message) for e in entries],
        }
    ).encode()
    with path.open("ab") as file:
        file.write(index + _TRAILER.pack(len(index), _MAGIC))


def require_faces(cache: FaceCache, side: str, folder: Path, minimum: int) -> None:
    """Refuse a set too small to train on.

    Raises:
        BadInputError: fewer than *minimum* usable faces.
    """
    if len(cache) >= minimum:
        return
    bad = f", {len(cache.skipped)} could not be used" if cache.skipped else ""
    raise BadInputError(
        f"the {side} faceset has {len(cache)} usable faces{bad}; training needs {minimum} or more",
        where=folder,
        hint="extract more faces into this folder",
    )

"""Values of faces that were measured elsewhere (a check, a mask's error), kept in the cache."""

import contextlib
import fcntl
import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.catalog_cache import save_bytes
from recaster_tui.faces.catalog_rows import ColumnInfo

log = logging.getLogger(__name__)

_VERSION = 1
Identity = tuple[int, int, int]
"""(picture, size, stamp) of a face when its values were stored."""


class StoredValues:
    """Columns by name of the face and by its picture. See ``Catalog.store_values``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._columns: dict[str, dict[str, Any]] = {}
        self._faces: dict[str, dict[str, Any]] = {}
        self._by_picture: dict[int, dict[str, Any]] = {}
        self._lock = threading.RLock()
        self._load()

    @property
    def columns(self) -> dict[str, ColumnInfo]:
        """What is there now, another process's new columns included."""
        with self._lock:
            self._load()
            return {
                key: ColumnInfo(info["label"], info["unit"], info["help"])
                for key, info in self._columns.items()
            }

    def column(
        self,
        key: str,
        names: Sequence[str],
        pictures: NDArray[np.uint64],
        sizes: NDArray[np.int64],
        stamps: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """(n,) float32, NaN where unknown.

        Raises:
            KeyError: there is no such column.
        """
        with self._lock:
            if key not in self._columns:
                self._load()
            of_metadata = bool(self._columns[key]["of_metadata"])
            result = np.full(len(names), np.nan, np.float32)
            known = pictures.tolist()
            for i, name in enumerate(names):
                entry = self._faces.get(name)
                if entry is None or entry["id"][0] != known[i]:
                    entry = self._by_picture.get(known[i]) if known[i] else None
                if entry is None or key not in entry["values"]:
                    continue
                if of_metadata and entry["meta"].get(key) != [int(sizes[i]), int(stamps[i])]:
                    continue
                result[i] = entry["values"][key]
            return result

    def store(
        self,
        values: Mapping[str, Mapping[str, float]],
        identities: Mapping[str, Identity],
        columns: Mapping[str, ColumnInfo],
        of_metadata: bool,
        replace: bool,
    ) -> None:
        """Add values and write them; see ``Catalog.store_values``."""
        with self._lock, self._alone():
            self._load()
            found = {key for row in values.values() for key in row} | set(columns)
            for key in found:
                info = columns.get(key) or ColumnInfo(key.replace("_", " "), "", "")
                if key not in self._columns or key in columns:
                    self._columns[key] = {**asdict(info), "of_metadata": of_metadata}
            if replace:
                for entry in self._faces.values():
                    for key in found:
                        entry["values"].pop(key, None)
                        entry["meta"].pop(key, None)
            for name, (picture, size, stamp) in identities.items():
                known = self._faces.get(name)
                if known is not None and known["id"][0] == picture:
                    entry = known
                else:
                    old = self._by_picture.get(picture) or {"values": {}, "meta": {}}
                    entry = {"values": dict(old["values"]), "meta": dict(old["meta"])}
                    self._faces[name] = entry
                entry["id"] = [picture, size, stamp]
                for key, value in values[name].items():
                    entry["values"][key] = float(value)
                    if of_metadata:
                        entry["meta"][key] = [size, stamp]
            self._index()
            data = {"version": _VERSION, "columns": self._columns, "faces": self._faces}
            if save_bytes(self._path, json.dumps(data).encode()):
                self._stamp = self._file()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Check, masks and screen may store at once: nobody may write what he read before."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = self._path.with_suffix(".lock").open("a")
        except OSError as error:
            log.info("%s is not locked: %s", self._path, error)
            yield
            return
        with lock:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _file(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _load(self) -> None:
        stamp = self._file()
        if stamp is None or stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            data = json.loads(self._path.read_bytes())
            if data["version"] != _VERSION:
                raise ValueError("another version")
            columns = {
                str(key): {
                    "label": str(info["label"]),
                    "unit": str(info["unit"]),
                    "help": str(info["help"]),
                    "of_metadata": bool(info["of_metadata"]),
                }
                for key, info in data["columns"].items()
            }
            faces = {
                str(name): {
                    "id": [int(v) for v in entry["id"]],
                    "values": {str(k): float(v) for k, v in entry["values"].items()},
                    "meta": {str(k): [int(x) for x in v] for k, v in entry["meta"].items()},
                }
                for name, entry in data["faces"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            log.info("%s is not used: %s", self._path, error)
            return
        self._columns, self._faces = columns, faces
        self._index()

    def _index(self) -> None:
        self._by_picture = {entry["id"][0]: entry for entry in self._faces.values()}

"""One file that lists all records, so that ten thousand runs need not be parsed at each start.

``<data>/history.index`` holds what the heads of the record files say, with each file's time of
change, size and inode. A record is taken from it only where these still fit; everything else is
read from its own TOML. So the index may be missing, damaged, old or written by two programs in
turn: the list is always that of the TOML files.
"""

import json
import logging
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recaster_tui.files import write_atomic

log = logging.getLogger(__name__)

VERSION = 1

Stamp = tuple[int, int, int]
"""Time of change (ns), size and inode of a record's file."""

Table = dict[str, tuple[Stamp, dict[str, Any]]]
"""Values of each record's head, and the stamp of the file they were read from, by run id."""


def stamp_of(found: os.stat_result) -> Stamp:
    """What changes whenever a record is replaced."""
    return found.st_mtime_ns, found.st_size, found.st_ino


def scan(folder: Path) -> dict[str, Stamp]:
    """The record files that are there: stamp by run id. An absent folder holds none."""
    stamps: dict[str, Stamp] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".toml") and not entry.name.startswith("."):
                    try:
                        stamps[entry.name[:-5]] = stamp_of(entry.stat())
                    except OSError:
                        continue  # replaced or removed this instant
    except OSError as error:
        if folder.exists():
            log.warning("cannot list the history: %s", error)
    return stamps


def read_index(path: Path) -> Table:
    """What the index says; empty where there is none or it is damaged."""
    try:
        raw = path.read_bytes()
        head, _, body = raw.partition(b"\n")
        about = json.loads(head)
        if about["index"] != VERSION or about["crc"] != zlib.crc32(body):
            raise ValueError("another version, or damaged")
        return dict(_unpack(json.loads(body)))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        log.warning("the index of the history is made anew: %s", error)
        return {}


def write_index(path: Path, table: Table) -> None:
    """Replace the index. It may be lost at any time, so that no sync is waited for."""
    body = json.dumps(_pack(table), separators=(",", ":")).encode()
    head = json.dumps({"index": VERSION, "crc": zlib.crc32(body)}).encode()
    write_atomic(path, head + b"\n" + body, durable=False)


def _pack(table: Table) -> dict[str, Any]:
    """Rows of values; options as differences from the first run of the same type."""
    keys = list(dict.fromkeys(k for _, values in table.values() for k in values if k != "options"))
    bases: list[dict[str, Any]] = []
    base_of: dict[str, int] = {}
    rows = []
    for run_id, (stamp, values) in table.items():
        options = values.get("options", {})
        kind = str(values.get("model_class"))
        if kind not in base_of:
            base_of[kind] = len(bases)
            bases.append(options)
        number = base_of[kind]
        base = bases[number]
        changed = {k: v for k, v in options.items() if k not in base or not _same(base[k], v)}
        removed = [k for k in base if k not in options]
        row: list[Any] = [run_id, stamp, [values.get(k) for k in keys], number, changed]
        rows.append([*row, removed] if removed else row)
    return {"keys": keys, "bases": bases, "rows": rows}


def _unpack(body: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Stamp, dict[str, Any]]]]:
    keys, bases = body["keys"], body["bases"]
    for run_id, (changed_at, size, inode), values, number, changed, *removed in body["rows"]:
        # Runs with the same options share them: a table of ten thousand is mostly that.
        options = bases[number]
        if changed or removed:
            options = {**options, **changed}
            for key in removed[0] if removed else ():
                options.pop(key, None)
        found = {k: v for k, v in zip(keys, values, strict=True) if v is not None}
        found["options"] = options
        yield run_id, ((changed_at, size, inode), found)


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)

"""Every sort of DFL (dfl-data.md 6.2, 6.3) and, by the catalog's columns, ours.

A sort answers with names in order and what it would drop; nothing is touched. Renaming files to
that order, which is all that DFL's sorts can do, is :func:`apply_sort`, through undoable edits.

Where the original is unkind, this is not: pictures below 64 px have a sharpness; missing
rectangles and frame names come last instead of breaking off; ``oneface`` accepts frame names that
are no numbers; ``absdiff`` compares pictures of 64×64 pixels; ``hist`` puts its chunks together in
their order, not in the order in which they get ready; ``final`` takes small targets. What
cannot be decoded is always dropped, with its reason. Pictures other than ``.jpg`` are no faces and
are left alone.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recaster_tui.errors import BadInputError
from recaster_tui.faces.catalog import Catalog, ColumnInfo
from recaster_tui.faces.edits import EditInfo, FaceEdits
from recaster_tui.faces.face import Face, FaceFileError
from recaster_tui.faces.sorting_best import best_faces
from recaster_tui.faces.sorting_chains import difference_chain, dissimilarity, histogram_chain
from recaster_tui.faces.sorting_methods import METADATA, SORTS, Kind, Needs, SortMethod
from recaster_tui.jobs import Reporter, Silent

__all__ = [
    "DEFAULT_TARGET",
    "SORTS",
    "SortMethod",
    "SortResult",
    "apply_sort",
    "new_names",
    "remember",
    "sort_keys",
    "sort_order",
]

DEFAULT_TARGET = 2000
"""Faces that ``final`` keeps unless told otherwise."""
COLUMN_PREFIX = "sort_"
"""Of the catalog columns that :func:`remember` writes."""

_CHUNK = 20_000
_MOST_CHUNKS = 12
_FRAME_AND_FACE = re.compile(r"(.+)_(\d+)")
_READ_AT_ONCE = 16


@dataclass(frozen=True)
class SortResult:
    """Where every face belongs.

    Attributes:
        method: key of the sort.
        order: names of the faces to keep, in their new order.
        trash: names of those that the sort drops.
        reasons: why, by name.
        values: figure by name (radians for poses), where the sort has one.
        complete: False when it was stopped; nothing else is filled in then.
    """

    method: str
    order: list[str] = field(default_factory=list)
    trash: list[str] = field(default_factory=list)
    reasons: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    complete: bool = True


def sort_order(
    source: Path | Catalog,
    method: str,
    report: Reporter | None = None,
    *,
    target: int = DEFAULT_TARGET,
    reverse: bool = False,
    workers: int | None = None,
) -> SortResult:
    """The order that a sort gives to the faces of a folder or pack. Nothing is changed.

    Args:
        source: the folder, or its catalog.
        method: a key of :data:`SORTS`, a column of the catalog (the largest first), ``name`` or
            ``source``.
        report: told of progress; asked whether to stop.
        target: about how many faces ``final`` and ``final-fast`` keep.
        reverse: the other way round.
        workers: threads; as many as there are cores where left out.

    Raises:
        BadInputError: there is no such sort, folder or number of faces.
        FaceFileError: the pack as a whole cannot be read.
    """
    report = report or Silent()
    catalog = source if isinstance(source, Catalog) else Catalog.open(source)
    if target < 1:
        raise BadInputError(f"{target} faces cannot be chosen", hint="give a number from 1 on")
    if method not in SORTS:
        result = _by_column(catalog, method, report)
    else:
        result = _by_method(catalog, SORTS[method], report, target, workers)
    if reverse:
        result.order.reverse()
    return result


def sort_keys(catalog: Catalog) -> list[str]:
    """Every sort there is for this faceset, DFL's first."""
    return [*SORTS, *(key for key in ("name", "source", *catalog.columns) if key not in SORTS)]


def remember(catalog: Catalog, result: SortResult, report: Reporter | None = None) -> None:
    """Keep a sort's outcome as the catalog's column ``sort_<method>``, for screens and filters.

    Where the sort has figures the column holds them, otherwise the place in the order; what the
    sort drops is unknown there. Measures the rows that the catalog does not know yet.
    """
    method = SORTS.get(result.method)
    if method is None or not result.complete or not _refreshed(catalog, report or Silent()):
        return
    own = bool(result.values) and method.kind is Kind.VALUE
    values = result.values if own else {name: i for i, name in enumerate(result.order)}
    key = COLUMN_PREFIX + method.key.replace("-", "_")
    text = method.help if own else f"place in the order: {method.help}"
    info = ColumnInfo(method.label, "", text)
    rows = {name: {key: float(value)} for name, value in values.items() if value == value}
    catalog.store_values(rows, {key: info}, of_metadata=method.needs == METADATA, replace=True)


def new_names(order: Sequence[str]) -> dict[str, str]:
    """Names as DFL gives them after a sort, ``00000.jpg`` onwards; a person's stay with it."""
    renamed = {}
    for number, name in enumerate(order):
        person, slash, _ = name.rpartition("/")
        renamed[name] = f"{person}{slash}{number:05}.jpg"
    return renamed


def apply_sort(edits: FaceEdits, result: SortResult) -> list[EditInfo]:
    """Rename the files to a sort's order and move what it drops to the trash.

    Both can be undone. ``oneface`` renames nothing, as in the original.

    Returns:
        the edits made, in their order.

    Raises:
        BadInputError: the sort was stopped, or the faces have changed since; nothing is changed.
        EnvironmentProblem: the disk.
    """
    if not result.complete:
        raise BadInputError("the sort was stopped: it has no order")
    method = SORTS.get(result.method)
    words = f"sorted by {method.label if method else result.method}"
    done = [edits.trash(result.trash, words)] if result.trash else []
    if result.method != "oneface":
        pairs = {old: new for old, new in new_names(result.order).items() if old != new}
        done += [edits.rename(pairs, words)] if pairs else []
    return [edit for edit in done if edit is not None]


# --- reading --------------------------------------------------------------------------------


def _refreshed(catalog: Catalog, report: Reporter) -> bool:
    """Whether every row is known now; False when it was stopped."""
    for known in catalog.refresh(report.stop_requested):
        report.progress(known, len(catalog), "measuring faces")
    return not report.stop_requested()


def _by_column(catalog: Catalog, key: str, report: Reporter) -> SortResult:
    if key not in sort_keys(catalog):
        raise BadInputError(
            f"there is no sort called {key!r}", hint="they are " + ", ".join(sort_keys(catalog))
        )
    if key != "name" and not _refreshed(catalog, report):
        return SortResult(key, complete=False)
    down = key not in ("name", "source")
    order = [catalog.names[i] for i in catalog.sorted_by(key, descending=down)]
    values: dict[str, float] = {}
    if down:
        values = dict(zip(catalog.names, catalog.column(key).tolist(), strict=True))
    return SortResult(key, order, values=values)


def _by_method(
    catalog: Catalog, method: SortMethod, report: Reporter, target: int, workers: int | None
) -> SortResult:
    names = catalog.names
    reasons: dict[str, str] = {}
    if method.key == "oneface":
        found = _one_face(catalog, report)
        if found is None:
            return SortResult(method.key, complete=False)
        several = found
        order = [name for name in names if name not in several]
        return SortResult(method.key, order, list(several), several)

    usable: list[str] = []
    features: list[Any] = []
    for index, feature in _measured(catalog, method, report, workers):
        if isinstance(feature, FaceFileError):
            reasons[names[index]] = feature.message
        elif method.drops_zero and feature == 0:
            reasons[names[index]] = "nothing sharp in it"
        else:
            usable.append(names[index])
            features.append(feature)
    if report.stop_requested():
        return SortResult(method.key, complete=False)

    places = _arrange(method, usable, features, report, target)
    if report.stop_requested():
        return SortResult(method.key, complete=False)
    order, values = places
    kept = set(order)
    for name in usable:
        if name not in kept:
            reasons[name] = "not among the best"
    trash = [name for name in names if name in reasons]
    return SortResult(method.key, order, trash, reasons, values)


def _measured(
    catalog: Catalog, method: SortMethod, report: Reporter, workers: int | None
) -> Iterator[tuple[int, Any]]:
    """(index, feature or FaceFileError) of every face; ends early when asked to stop."""
    wants_pixels = Needs.PIXELS in method.needs
    wants_metadata = Needs.METADATA in method.needs

    def measure(index: int) -> Any:
        face: Face | None = None
        try:
            try:
                if wants_metadata or method.key == "hist-dissim":
                    face = catalog.face(index)
            except FaceFileError:
                if wants_metadata:
                    raise
            image = catalog.pixels(index) if wants_pixels else None
            return method.measure(image, face)
        except FaceFileError as error:
            return error

    def some(indices: range) -> list[Any]:
        return [] if report.stop_requested() else [measure(i) for i in indices]

    total = len(catalog)
    chunks = [range(i, min(i + _READ_AT_ONCE, total)) for i in range(0, total, _READ_AT_ONCE)]
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1), "sort") as pool:
        try:
            for indices, found in zip(chunks, pool.map(some, chunks), strict=True):
                if not found:
                    return
                yield from zip(indices, found, strict=True)
                report.progress(indices.stop, total, "reading faces")
        finally:
            pool.shutdown(cancel_futures=True)


# --- arranging ------------------------------------------------------------------------------


def _arrange(
    method: SortMethod, names: list[str], features: list[Any], report: Reporter, target: int
) -> tuple[list[str], dict[str, float]]:
    """Names in order, and figures by name."""
    if not names:
        return [], {}
    match method.key:
        case "origname":
            some = sorted((source, name) for source, name in zip(features, names, strict=True)
                          if source)  # fmt: skip
            none = [name for source, name in zip(features, names, strict=True) if not source]
            return [name for _, name in some] + none, {}
        case "hist":
            return _named(names, _in_chunks(np.stack(features), histogram_chain, report)), {}
        case "absdiff" | "absdiff-dissim":
            chain = partial(difference_chain, farthest=method.key == "absdiff-dissim")
            return _named(names, _in_chunks(np.stack(features), chain, report)), {}
        case "final" | "final-fast":
            *figures, histograms = zip(*features, strict=True)
            quality, yaw, pitch = (np.array(some, np.float64) for some in figures)
            quality = np.nan_to_num(quality, nan=-1.0)
            chosen = best_faces(quality, yaw, pitch, np.stack(histograms), target)
            return _named(names, chosen), dict(zip(names, quality.tolist(), strict=True))
        case "hist-dissim":
            values = dissimilarity(np.stack(features), partial(_tick, report, len(names), 0))
        case _:
            values = np.array(features, np.float64)
    # Stable, so that equal ones keep their order; NaN comes last either way.
    order = np.argsort(values if method.ascending else -values, kind="stable")
    return _named(names, order.tolist()), dict(zip(names, values.tolist(), strict=True))


def _in_chunks(data: Any, chain: Callable[..., list[int]], report: Reporter) -> list[int]:
    """Chains of at most 20,000 faces (dfl-data.md 6.2), one after the other."""
    count = len(data)
    size = _CHUNK if count <= _CHUNK * _MOST_CHUNKS else int(count / (_MOST_CHUNKS - 0.1))
    order: list[int] = []
    for start in range(0, count, size):
        part = chain(data[start : start + size], partial(_tick, report, count, start))
        order += [start + i for i in part]
    return order


def _tick(report: Reporter, total: int, before: int, done: int) -> bool:
    report.progress(before + done, total, "comparing faces")
    return not report.stop_requested()


def _named(names: Sequence[str], indices: Sequence[int]) -> list[str]:
    return [names[i] for i in indices]


def _one_face(catalog: Catalog, report: Reporter) -> dict[str, str] | None:
    """Names of faces whose frame has several, with the reason; None when stopped.

    ``<frame>_<k>`` in the file's name tells where it does (any k but 0: there are more); faces
    that were renamed are counted by their frame.
    """
    frames: dict[str, str] = {}
    crowded: set[str] = set()
    counts: Counter[str] = Counter()
    for index, name in enumerate(catalog.names):
        if report.stop_requested():
            return None
        person, _, file = name.rpartition("/")
        match = _FRAME_AND_FACE.fullmatch(Path(file).stem)
        if match:
            frame = f"{person}/{match[1]}"
            if int(match[2]):
                crowded.add(frame)
        else:
            try:
                source = catalog.face(index).source_filename
            except FaceFileError:
                source = None
            if source is None:
                continue
            frame = f"{person}:{source}"
            counts[frame] += 1
        frames[name] = frame
        report.progress(index + 1, len(catalog), "reading names")
    crowded |= {frame for frame, count in counts.items() if count > 1}
    return {name: "its frame has several faces" for name, f in frames.items() if f in crowded}

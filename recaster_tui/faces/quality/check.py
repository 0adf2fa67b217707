"""Checking a set of faces: measure what is new, judge all, propose what had better leave."""

import hashlib
import json
import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from recaster_tui.errors import BadInputError, RecasterError
from recaster_tui.faces.catalog import Catalog
from recaster_tui.faces.catalog_rows import ColumnInfo
from recaster_tui.faces.catalog_source import find_source
from recaster_tui.faces.edits import EditInfo, FaceEdits
from recaster_tui.faces.faceset import Skipped
from recaster_tui.faces.quality.judge import judge
from recaster_tui.faces.quality.measure import Measurements
from recaster_tui.faces.quality.model import (
    CODES,
    PROPOSE_FROM,
    Check,
    FaceScore,
    Proposal,
)
from recaster_tui.faces.quality.parallel import measure_all
from recaster_tui.faces.quality.store import (
    Stamp,
    Store,
    load_check,
    load_store,
    save_check,
    save_store,
)
from recaster_tui.faces.quality.wire import chosen, joined
from recaster_tui.helpers import default_workers
from recaster_tui.jobs import Reporter, Silent

COLUMNS = {
    "score": ColumnInfo("score", "", "0 useless to 100 fine, from the findings of the check"),
    "blur": ColumnInfo("blur", "px", "width of the edges in a face of 256 pixels"),
    "face_px": ColumnInfo("face width", "px", "brows from end to end in the frame"),
    "exposure": ColumnInfo("exposure", "", "middle brightness of the face, 0 to 255"),
    "misaligned": ColumnInfo("misaligned", "", "how far the landmarks are off, in face sizes"),
    "occluded": ColumnInfo("occluded", "", "share of the face in one unusual patch"),
    "unlike": ColumnInfo("unlike", "σ", "how unlike the rest of the set the face looks"),
}
"""What a check adds to the catalog of the faces."""

_SAVE_EVERY = 2000


def check_faceset(folder: Path, *, workers: int = 0, report: Reporter | None = None) -> Check:
    """Check every face in *folder* (or its pack).

    Only new and changed files are measured; the judgement compares all of them. The result is
    kept for :func:`~recaster_tui.faces.quality.store.load_check`, and its values become columns
    of the catalog.

    Args:
        folder: of aligned faces.
        workers: helper processes; 0 = one a core.
        report: told how far it is; asked whether to stop.

    Returns:
        the result; ``complete`` is False, and nothing is judged, when it was stopped.

    Raises:
        BadInputError: there is no such folder, or no face in it.
        FaceFileError: the pack as a whole cannot be read.
        EnvironmentProblem: a helper process died.
    """
    folder = Path(folder)
    told = report or Silent()
    names, stamps = _list(folder)
    if not names:
        raise BadInputError("there are no faces to check", where=folder, hint="extract faces first")
    store = load_store(folder)
    before = dict(zip(store.names, range(len(store.names)), strict=True))
    rows: dict[str, int] = {}
    damage: dict[str, tuple[Stamp, str, str]] = {}
    fresh = []
    for name, stamp in zip(names, stamps, strict=True):
        if name in before and store.stamps[before[name]] == stamp:
            rows[name] = before[name]
        elif name in store.damage and store.damage[name][0] == stamp:
            damage[name] = store.damage[name]
        else:
            fresh.append(name)
    parts = [] if store.known is None else [store.known]
    measured = len(names) - len(fresh)
    stamp_of = dict(zip(names, stamps, strict=True))
    told.progress(measured, len(names), "measuring faces")
    unsaved = 0
    stopped = False
    offset = 0 if store.known is None else len(store.known)
    with closing(measure_all(folder, fresh, workers or default_workers())) as batches:
        for good, found, bad in batches:
            if good:
                rows.update({name: offset + i for i, name in enumerate(good)})
                offset += len(good)
                parts.append(found)
            damage.update({n: (stamp_of[n], code, text) for n, (code, text) in bad.items()})
            measured += len(good) + len(bad)
            unsaved += len(good)
            told.progress(measured, len(names), "measuring faces", damaged=len(damage))
            if unsaved >= _SAVE_EVERY:
                unsaved = 0
                parts = [_remember(folder, parts, rows, stamp_of, damage)]
                rows = {name: i for i, name in enumerate(rows)}
                offset = len(rows)
            if told.stop_requested():
                stopped = measured < len(names)
                break
    if fresh:
        _drop_changed(folder, stamp_of, rows, damage, told)
    if parts and rows:
        known = _remember(folder, parts, rows, stamp_of, damage) if fresh else parts[0]
        if fresh:
            rows = {name: i for i, name in enumerate(rows)}
    if stopped:
        return Check(folder, complete=False, computed=len(fresh) - (len(names) - measured))
    damaged = [Skipped(n, damage[n][1], damage[n][2]) for n in names if n in damage]
    scores: list[FaceScore] = []
    if parts and rows:
        told.progress(0, 100, "comparing the faces")
        good_names = [name for name in names if name in rows]
        scores = judge(
            good_names,
            chosen(known, [rows[name] for name in good_names]),
            lambda percent: told.progress(percent, 100, "comparing the faces"),
        )
    check = Check(
        folder,
        scores,
        proposals(scores, damaged),
        damaged,
        computed=len(fresh),
        listing=_fingerprint(names, stamps),
        pictures=_store_columns(folder, scores, told),
    )
    save_check(check)
    return check


def proposals(scores: Sequence[FaceScore], damaged: Sequence[Skipped]) -> list[Proposal]:
    """Which faces had better leave the set, by name; damaged files among them."""
    found = [Proposal(item.name, f"damaged: {item.message}", ("damaged",)) for item in damaged]
    for score in scores:
        grave = [f for f in score.findings if f.severity >= PROPOSE_FROM]
        if grave:
            codes = tuple(dict.fromkeys(f.code for f in grave))
            found.append(Proposal(score.name, "; ".join(f.reason for f in grave), codes))
    return sorted(found, key=lambda proposal: proposal.name)


def only(some: Sequence[Proposal], codes: Sequence[str]) -> list[Proposal]:
    """Those that have one of *codes*; all where there are none.

    Raises:
        BadInputError: a code that does not exist.
    """
    unknown = [code for code in codes if code not in CODES]
    if unknown:
        raise BadInputError(
            f"unknown finding {unknown[0]!r}", hint="the findings are " + ", ".join(CODES)
        )
    return [p for p in some if not codes or any(code in codes for code in p.codes)]


def apply_prune(folder: Path, some: Sequence[Proposal]) -> EditInfo | None:
    """Move proposed faces to the trash beside *folder*; ``FaceEdits.undo`` brings them back.

    Raises:
        BadInputError, EnvironmentProblem: as ``FaceEdits.trash``; then nothing has changed.
    """
    reasons = sorted({code for proposal in some for code in proposal.codes})
    return FaceEdits(folder).trash([p.name for p in some], "pruned: " + ", ".join(reasons))


def current_check(folder: Path) -> Check | None:
    """The last result, where no face came, went or changed since; None otherwise.

    Raises:
        BadInputError, FaceFileError: as :func:`check_faceset`.
    """
    check = load_check(folder)
    return check if check is not None and check.listing == _fingerprint(*_list(folder)) else None


def _fingerprint(names: Sequence[str], stamps: Sequence[Stamp]) -> str:
    words = json.dumps([list(names), [list(stamp) for stamp in stamps]])
    return hashlib.blake2b(words.encode("ascii"), digest_size=12).hexdigest()


def _list(folder: Path) -> tuple[list[str], list[Stamp]]:
    rows = find_source(folder).rows(None)
    facts = rows.facts
    pack = rows.pack or ()
    stamps: list[Stamp] = [
        (int(size), int(stamp), int(offset), *(int(v) for v in pack[:2]))
        for size, stamp, offset in zip(facts["size"], facts["stamp"], facts["offset"], strict=True)
    ]
    return list(rows.names), stamps


def _drop_changed(
    folder: Path,
    stamps: dict[str, Stamp],
    rows: dict[str, int],
    damage: dict[str, tuple[Stamp, str, str]],
    told: Reporter,
) -> None:
    """Leave out faces whose name may have stood for another file when they were measured."""
    now = dict(zip(*_list(folder), strict=True))
    changed = [name for name, stamp in stamps.items() if now.get(name) != stamp]
    for name in changed:
        rows.pop(name, None)
        damage.pop(name, None)
    if changed:
        told.warning(
            f"{len(changed):,} faces were edited or renamed while the set was checked",
            "check again: they are not judged yet",
        )


def _remember(
    folder: Path,
    parts: list[Measurements],
    rows: dict[str, int],
    stamps: dict[str, Stamp],
    damage: dict[str, tuple[Stamp, str, str]],
) -> Measurements:
    """Everything known of the faces there are, in the order of *rows*; also kept in the cache."""
    known = chosen(joined(parts), list(rows.values()))
    save_store(folder, Store(list(rows), [stamps[name] for name in rows], known, damage))
    return known


def _store_columns(folder: Path, scores: Sequence[FaceScore], told: Reporter) -> dict[str, int]:
    """Add the values to the catalog; what pictures they belong to."""
    values = {
        score.name: {
            "score": score.score,
            **{key: v for key, v in score.values.items() if key in COLUMNS and math.isfinite(v)},
        }
        for score in scores
    }
    try:
        catalog = Catalog.open(folder)
        catalog.store_values(values, COLUMNS, replace=True)
        catalog.save()  # renamed faces are known again by it
    except RecasterError as error:
        told.warning(f"the values of the check cannot be sorted by: {error.message}", error.hint)
        return {}
    return dict(zip(catalog.names, catalog.pictures, strict=True))

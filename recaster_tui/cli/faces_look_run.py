"""``recaster faces info``, ``list`` and ``sort``."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from recaster_tui.cli.faces_words import (
    edit_json,
    faces_folder,
    faces_word,
    plain,
    say,
    say_json,
    say_skipped,
    skipped_json,
)
from recaster_tui.cli.progress import terminal_reporter
from recaster_tui.cli.words import size as size_word
from recaster_tui.errors import ExitCode
from recaster_tui.faces.catalog import Catalog, parse_filter, shown_name
from recaster_tui.faces.edits import EditInfo, FaceEdits
from recaster_tui.faces.faceset import open_faceset
from recaster_tui.faces.pose import pitch_yaw_roll
from recaster_tui.faces.sorting import SortResult, apply_sort, new_names, remember, sort_order
from recaster_tui.files import write_atomic
from recaster_tui.jobs import Reporter, reporting

_COLUMNS = ("size", "yaw", "pitch", "sharpness", "brightness", "has_polygons", "has_xseg")
_SHOWN = 20
ORDER_NAME = "order.json"
"""In a job's folder: what a sort found."""


def show_info(workspace: Path, side: str, *, as_json: bool) -> int:
    """Print what the faceset holds; see the command's help."""
    folder = faces_folder(workspace, side)
    with reporting(None, "faces", side, lambda: terminal_reporter(as_json)) as report:
        faceset = open_faceset(folder, lambda n, total: report.progress(n, total, "reading"))
    faces = faceset.faces
    poses = np.degrees([pitch_yaw_roll(f.landmarks, f.shape[1])[:2] for f in faces] or [(0, 0)])
    sizes = Counter(max(face.shape[:2]) for face in faces)
    types = Counter(face.face_type.value for face in faces)
    found = {
        "folder": folder,
        "pack": faceset.pack,
        "faces": len(faces),
        "frames": len({face.source_filename for face in faces if face.source_filename}),
        "persons": sorted({face.person for face in faces if face.person}),
        "bytes": sum(f.packed.size if f.packed else f.path.stat().st_size for f in faces),
        "face_types": dict(types.most_common()),
        "sizes": {str(key): count for key, count in sizes.most_common()},
        "with_polygons": sum(bool(face.polygons) for face in faces),
        "with_mask": sum(face.xseg_mask is not None for face in faces),
        "pitch": [float(poses[:, 0].min()), float(poses[:, 0].max())] if faces else None,
        "yaw": [float(poses[:, 1].min()), float(poses[:, 1].max())] if faces else None,
        "trashed": len(FaceEdits(folder).trashed()),
        "skipped": skipped_json(faceset.skipped),
    }
    if as_json:
        say_json(found)
        return ExitCode.OK
    say_skipped(faceset.skipped)
    lines = [
        ("folder", str(folder)),
        ("kept as", "faceset.pak" if faceset.pack else "files"),
        ("faces", f"{len(faces):,} of {found['frames']:,} frames"),
        ("persons", ", ".join(found["persons"]) or "not told apart"),  # type: ignore[arg-type]
        ("files", size_word(float(str(found["bytes"])))),
        ("types", ", ".join(f"{n:,} {key}" for key, n in types.most_common())),
        ("sizes", ", ".join(f"{n:,} of {key} px" for key, n in sizes.most_common(6))),
        ("polygons", f"{found['with_polygons']:,}"),
        ("masks", f"{found['with_mask']:,}"),
    ]
    if faces:
        for key, column in (("pitch", 0), ("yaw", 1)):
            low, high = poses[:, column].min(), poses[:, column].max()
            lines.append((key, f"{low:.0f}° to {high:.0f}°"))
    lines.append(("in the trash", f"{found['trashed']:,}"))
    lines.append(("not usable", f"{len(faceset.skipped):,}"))
    for key, text in lines:
        say(f"{key:<13} {text}".rstrip())
    return ExitCode.OK


def list_faces(
    workspace: Path, side: str, terms: str, by: str, *, reverse: bool, as_json: bool
) -> int:
    """Print one line for each face; see the command's help."""
    folder = faces_folder(workspace, side)
    catalog = Catalog.open(folder)
    with reporting(None, "faces", side, lambda: terminal_reporter(as_json)) as report:
        for known in catalog.refresh(report.stop_requested):
            report.progress(known, len(catalog), "measuring faces")
        result = sort_order(catalog, by, report, reverse=reverse)
        if report.stop_requested():
            return ExitCode.INTERRUPTED
    wanted = catalog.matching(parse_filter(terms, catalog.columns))
    places = {name: i for i, name in enumerate(catalog.names)}
    order = [places[name] for name in [*result.order, *result.trash] if wanted[places[name]]]
    keys = list(catalog.columns)
    columns = {key: catalog.column(key) for key in keys}
    if as_json:
        say_json([_row(catalog, columns, i) for i in order])
        return ExitCode.OK
    width = max((len(shown_name(catalog.names[i])) for i in order), default=4)
    shown = [key for key in _COLUMNS if key in columns]
    say("  ".join([f"{'NAME':<{width}}", *(f"{catalog.columns[key].label:>10}" for key in shown)]))
    for i in order:
        problem = catalog.problem(i)
        cells = [f"{_figure(float(columns[key][i])):>10}" for key in shown]
        rest = f"  cannot be used: {problem}" if problem else "  ".join(["", *cells])
        say(f"{shown_name(catalog.names[i]):<{width}}{rest}")
    return ExitCode.OK


def _row(catalog: Catalog, columns: dict[str, Any], index: int) -> dict[str, Any]:
    return {
        "name": catalog.names[index],
        "source": catalog.source_filename(index),
        "problem": catalog.problem(index),
        **{key: float(values[index]) for key, values in columns.items()},
    }


def _figure(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def sort_faces(
    workspace: Path,
    side: str,
    by: str,
    *,
    target: int,
    reverse: bool,
    apply: bool,
    as_json: bool,
    job: Path | None,
) -> int:
    """Sort, show, and where asked to apply; see the command's help."""
    folder = faces_folder(workspace, side)
    edits: list[EditInfo] = []
    with reporting(job, "sort", side, lambda: terminal_reporter(as_json)) as report:
        catalog = Catalog.open(folder)
        result = sort_order(catalog, by, report, target=target, reverse=reverse)
        if not result.complete:
            return ExitCode.INTERRUPTED
        remember(catalog, result, report)
        answer = _answer(result, apply)
        if job is not None:
            write_atomic(job / ORDER_NAME, json.dumps(plain(answer)), durable=False)
        if apply:
            edits = apply_sort(FaceEdits(folder), result)
        if job is not None:
            _note(report, result)
    if as_json:
        say_json({**answer, "edits": [edit_json(edit) for edit in edits]})
        return ExitCode.OK
    if job is not None:
        return ExitCode.OK
    renamed = new_names(result.order)
    for name in result.order[:_SHOWN]:
        value = result.values.get(name)
        figure = "" if value is None else f"  {_figure(value)}"
        say(f"{renamed[name] if by != 'oneface' else name}  {name}{figure}")
    if len(result.order) > _SHOWN:
        say(f"… and {len(result.order) - _SHOWN:,} more")
    for name in result.trash[:_SHOWN]:
        say(f"dropped  {name}: {result.reasons[name]}")
    if len(result.trash) > _SHOWN:
        say(f"… and {len(result.trash) - _SHOWN:,} more dropped")
    for edit in edits:
        say(edit.words)
    if not apply:
        say("nothing was changed; --apply renames the files" + _moves(result))
    return ExitCode.OK


def _answer(result: SortResult, apply: bool) -> dict[str, Any]:
    return {
        "method": result.method,
        "order": result.order,
        "trash": [{"name": name, "reason": result.reasons[name]} for name in result.trash],
        "values": result.values,
        "applied": apply,
    }


def _note(report: Reporter, result: SortResult) -> None:
    text = f"{faces_word(len(result.order))} sorted by {result.method}"
    report.note(text + (f", {len(result.trash)} dropped" if result.trash else ""))


def _moves(result: SortResult) -> str:
    return f" and moves {faces_word(len(result.trash))} to the trash" if result.trash else ""

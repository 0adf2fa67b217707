"""``recaster model list``, ``info`` and ``verify``."""

import json
import math
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from recaster_tui.cli.model_store import (
    Entry,
    Facts,
    OurEntry,
    choose,
    count_parameters,
    facts,
    find_all,
    label,
)
from recaster_tui.cli.words import size
from recaster_tui.errors import ExitCode, RecasterError
from recaster_tui.interop.dfl_folder import DflEntry
from recaster_tui.interop.remarks import Level, Remarks, printable
from recaster_tui.workspace import open_workspace

_OURS, _DFL = "recaster", "DeepFaceLab"


def list_models(folder: Path, *, as_json: bool) -> int:
    """Print one line for each model; see the command's help."""
    workspace = open_workspace(folder)
    rows, code = [], int(ExitCode.OK)
    for entry in find_all(workspace):
        row = _row(entry)
        try:
            row |= _figures(facts(entry))
        except RecasterError as error:
            row["problem"] = error.message
            code = max(code, error.exit_code)
        rows.append(row)
    if as_json:
        _say_json(rows)
    elif not rows:
        sys.stdout.write(f"no models in {workspace.models}\n")
    else:
        _print_rows(rows)
    return code


def _row(entry: Entry) -> dict[str, Any]:
    ours = isinstance(entry, OurEntry)
    return {
        "name": entry.name,
        "label": label(entry),
        "format": _OURS if ours else _DFL,
        "class": entry.model_class.title,
        "path": str(entry.folder if isinstance(entry, OurEntry) else entry.data),
    }


def _figures(known: Facts) -> dict[str, Any]:
    return {
        "iteration": known.iteration,
        "saved": known.saved,
        "bytes": known.bytes,
        "last_losses": [x if math.isfinite(x) else None for x in known.last_losses],
    }


def _print_rows(rows: list[dict[str, Any]]) -> None:
    names = [printable(row["label"]) for row in rows]
    width = max(len(name) for name in [*names, "MODEL"])
    head = f"{'MODEL':<{width}}  {'CLASS':<7}  {'FORMAT':<11}"
    sys.stdout.write(f"{head}  {'ITERATION':>9}  {'SIZE':>8}  SAVED\n")
    for name, row in zip(names, rows, strict=True):
        start = f"{name:<{width}}  {row['class']:<7}  {row['format']:<11}"
        if "problem" in row:
            sys.stdout.write(f"{start}  damaged: {row['problem']}\n")
            continue
        sys.stdout.write(
            f"{start}  {row['iteration']:>9,}  {size(row['bytes']):>8}  {_date(row['saved'])}\n"
        )


def show_model(folder: Path, name: str | None, *, as_json: bool) -> int:
    """Print everything about one model; see the command's help.

    Raises:
        BadInputError: there is no such model, or several.
        DamagedError: it cannot be read.
    """
    workspace = open_workspace(folder)
    entry = choose(find_all(workspace), name, workspace.models)
    known = facts(entry)
    if isinstance(entry, OurEntry):
        parameters = count_parameters(entry)
    else:
        from recaster_tui.interop.dfl_read import read_model

        networks = read_model(entry, optimizers=False).networks
        parameters = {n: sum(a.size for a in arrays.values()) for n, arrays in networks.items()}
    if as_json:
        more = {
            "options": {key: _plain(value) for key, value in known.options.items()},
            "parameters": parameters,
            "files": dict(known.files),
        }
        _say_json(_row(entry) | _figures(known) | more)
        return ExitCode.OK
    lines = [
        ("model", printable(label(entry))),
        ("class", entry.model_class.title),
        ("format", _OURS if isinstance(entry, OurEntry) else _DFL),
        ("path", str(entry.folder)),
        ("iteration", f"{known.iteration:,}"),
        ("saved", _date(known.saved)),
        ("last losses", " ".join(f"{x:.4f}" for x in known.last_losses) or "none"),
        ("parameters", f"{sum(parameters.values()):,}"),
        *((f"  {part}", f"{count:,}") for part, count in parameters.items()),
        ("files", size(known.bytes)),
        *((f"  {printable(file)}", size(count)) for file, count in known.files.items()),
        ("options", ""),
        *((f"  {printable(k)}", printable(_plain(v))) for k, v in known.options.items()),
    ]
    width = max(len(key) for key, _ in lines)
    for key, text in lines:
        sys.stdout.write(f"{key:<{width}}  {text}".rstrip() + "\n")
    return ExitCode.OK


def verify_models(folder: Path, name: str | None, *, as_json: bool) -> int:
    """Check one or all models and print what was found; see the command's help.

    Raises:
        BadInputError: there is no such model, or several.
    """
    workspace = open_workspace(folder)
    entries = find_all(workspace)
    if name is not None:
        entries = [choose(entries, name, workspace.models)]
    reports, code = [], int(ExitCode.OK)
    for entry in entries:
        remarks = Remarks()
        try:
            what = _check_ours(entry, remarks) if isinstance(entry, OurEntry) else None
            what = what or (_check_dfl(entry, remarks) if isinstance(entry, DflEntry) else "")
        except RecasterError as error:
            what = ""
            if not remarks.errors:
                place = error.where or str(entry.folder)
                remarks.error(Path(place).name, error.message)
        if remarks.errors:
            code = int(ExitCode.DAMAGED)
        found = [{"level": r.level, "where": r.where, "text": r.text} for r in remarks]
        reports.append(_row(entry) | {"ok": not remarks.errors, "checked": what, "found": found})
        if not as_json:
            verdict = "DAMAGED" if remarks.errors else "ok"
            sys.stdout.write(f"{verdict:<8} {printable(label(entry))}  {what}".rstrip() + "\n")
            for remark in remarks:
                sys.stdout.write(f"         {printable(remark.where)}: {remark.text}\n")
    if as_json:
        _say_json(reports)
    elif not reports:
        sys.stdout.write(f"no models in {workspace.models}\n")
    return code


def _check_ours(entry: OurEntry, remarks: Remarks) -> str:
    from recaster_tui.checkpoints.store import current_name, verify
    from recaster_tui.errors import DamagedError

    checked = total = usable = 0
    for kind in ("generations", "backups"):
        root = entry.folder / kind
        for path in sorted(root.iterdir()) if root.is_dir() else ():
            if path.name.startswith(".") or not path.is_dir():
                continue
            checked += 1
            try:
                total += verify(path).bytes
                usable += kind == "generations"
            except DamagedError as error:
                remarks.error(f"{kind}/{path.name}", error.message)
    if current_name(entry.folder) is None:
        remarks.error("CURRENT", "names no save that is there")
    if not usable:
        remarks.error("generations", "no save can be used")
    elif remarks.errors:
        remarks.note("generations", f"{usable} can still be used; training takes the newest")
    saves = "save" if checked == 1 else "saves"
    return f"{checked} {saves}, {size(total)}, hashes checked"


def _check_dfl(entry: DflEntry, remarks: Remarks) -> str:
    from recaster_tui.interop.dfl_convert import from_dfl_model
    from recaster_tui.interop.dfl_read import read_model

    if "_" in entry.stem.removesuffix(f"_{entry.model_class.title}"):
        remarks.warn(entry.data.name, "DFL cannot find a model whose name has an underscore")
    model = read_model(entry)
    from_dfl_model(model, remarks)
    count = sum(a.size for arrays in model.networks.values() for a in arrays.values())
    return f"{len(entry.files())} files, {count:,} parameters, shapes checked"


def say_remarks(remarks: Remarks) -> None:
    """Print notes and warnings to stderr, so that a result on stdout stays clean."""
    for remark in remarks:
        if remark.level is not Level.ERROR:
            text = f"{remark.level}: {printable(remark.where)}: {remark.text}"
            sys.stderr.write(f"{text}\n")


def remarks_json(remarks: Remarks) -> list[dict[str, str]]:
    """For ``--json``."""
    return [{"level": str(r.level), "where": r.where, "text": r.text} for r in remarks]


def _say_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")

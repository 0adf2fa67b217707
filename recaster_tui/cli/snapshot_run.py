"""What ``recaster snapshot`` does."""

import json
import math
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from recaster_tui.checkpoints.lock import is_run, lock_holder
from recaster_tui.checkpoints.snapshots import (
    RestorePoint,
    check_name,
    create_snapshot,
    delete_snapshot,
    export_snapshot,
    find_point,
    rename_snapshot,
    restore_points,
)
from recaster_tui.checkpoints.store import Generation, verify
from recaster_tui.cli.model_store import OurEntry, choose, find_ours
from recaster_tui.cli.words import size
from recaster_tui.errors import BadInputError, ExitCode, RecasterError
from recaster_tui.supervisor.restoring import beside_trainer, disk_words, restore_point
from recaster_tui.workspace import open_workspace

_SECONDS = 600.0


def create_one(
    workspace: Path, name: str, model: str | None, note: str, source: str | None, *, as_json: bool
) -> int:
    """Through the trainer where one holds the model, so that nothing since the last save lacks."""
    folder = _folder(workspace, model)
    check_name(folder, name)
    chosen: Generation | None = None
    if source is not None:
        kept = find_point(folder, source)
        chosen = verify(kept.path, kept.iteration)
    holder = lock_holder(folder)
    if holder is None or chosen is not None or not is_run(holder):
        with disk_words(folder), beside_trainer(folder, "snapshot create"):
            point = create_snapshot(folder, name, note, source=chosen)
    else:
        _ask_trainer(workspace, holder, name, note)
        point = find_point(folder, name)
    return _tell(point, f"kept iteration {point.iteration:,} as '{point.name}'", as_json=as_json)


def _ask_trainer(workspace: Path, run_id: str, name: str, note: str) -> None:
    from recaster_tui.cli.watch import in_supervisor
    from recaster_tui.protocol import CommandName
    from recaster_tui.supervisor import Supervisor

    async def action(supervisor: Supervisor) -> int:
        await supervisor.adopt(open_workspace(workspace))
        run = await supervisor.attach(run_id)
        ack = await run.command(CommandName.SNAPSHOT, snapshot=name, note=note, timeout=_SECONDS)
        if not ack.ok:
            raise RecasterError(f"the trainer refused: {ack.message}", where=run.run_id)
        return 0

    in_supervisor(action)


def list_all(workspace: Path, model: str | None, *, as_json: bool) -> int:
    """A table, or JSON."""
    folder = _folder(workspace, model)
    points = restore_points(folder)
    if as_json:
        sys.stdout.write(json.dumps([p.as_dict() for p in points], indent=2) + "\n")
        return 0
    if not points:
        sys.stdout.write(
            f"{folder.name} has no snapshots or backups; recaster snapshot create makes one\n"
        )
        return 0
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "kind"):
        table.add_column(heading, no_wrap=True)
    for heading in ("iteration", "src", "dst", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("made", no_wrap=True)
    table.add_column("note", overflow="fold")
    for p in points:
        table.add_row(
            escape(p.name),
            p.kind,
            f"{p.iteration:,}",
            _loss(p.src),
            _loss(p.dst),
            size(p.bytes),
            datetime.fromtimestamp(p.created).strftime("%Y-%m-%d %H:%M"),
            escape(p.note),
        )
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    return 0


def rename_one(
    workspace: Path, name: str, new: str | None, model: str | None, note: str | None
) -> int:
    """Name, note, or both."""
    folder = _folder(workspace, model)
    find_point(folder, name)  # says which there are, where there is no such
    if new is None and note is None:
        raise BadInputError("nothing to change", hint="give a new name, or --note TEXT")
    with disk_words(folder), beside_trainer(folder, "snapshot rename"):
        point = rename_snapshot(folder, find_point(folder, name), name=new, note=note)
    return _tell(point, f"'{point.name}' {point.note}".rstrip(), as_json=False)


def delete_one(workspace: Path, name: str, model: str | None, *, sure: bool) -> int:
    """Only with --yes, or when somebody at a terminal says so."""
    folder = _folder(workspace, model)
    point = find_point(folder, name)
    what = f"{point.kind} '{point.name}' of iteration {point.iteration:,} ({size(point.bytes)})"
    if not sure:
        if not sys.stdin.isatty():
            raise BadInputError(f"this would remove {what}", hint="say so with --yes")
        sys.stdout.write(f"remove {what} for ever? [y/N] ")
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return ExitCode.INTERRUPTED
    with disk_words(folder), beside_trainer(folder, "snapshot delete"):
        delete_snapshot(point)
    sys.stdout.write(f"removed {what}\n")
    return 0


def export_one(
    workspace: Path, name: str, target: Path, model: str | None, *, as_json: bool
) -> int:
    """A model folder of its own."""
    folder = _folder(workspace, model)
    point = find_point(folder, name)
    with disk_words(target):
        made = export_snapshot(folder, point, target)
    return _tell(point, f"{made}", as_json=as_json, exported=str(made))


def restore_one(workspace: Path, name: str, model: str | None, *, as_json: bool) -> int:
    """Refused while somebody trains the model."""
    folder = _folder(workspace, model)
    point = find_point(folder, name)
    restored = restore_point(folder, point, open_workspace(workspace).runs)
    generation, kept = restored.generation, restored.kept
    text = f"the model is at iteration {generation.iteration:,} again ('{point.name}')"
    if kept is not None:
        text += f"; what was is kept as '{kept.name}' (iteration {kept.iteration:,})"
    more = {"kept": kept.as_dict() if kept is not None else None, "run": restored.run_id}
    return _tell(point, text, as_json=as_json, **more)


def _folder(workspace: Path, model: str | None) -> Path:
    models = open_workspace(workspace).models
    entry = choose(list(find_ours(models)), model, models)
    assert isinstance(entry, OurEntry)
    return entry.folder


def _tell(point: RestorePoint, text: str, *, as_json: bool, **more: Any) -> int:
    if as_json:
        sys.stdout.write(json.dumps(point.as_dict() | more, indent=2) + "\n")
    else:
        sys.stdout.write(text + "\n")
    return 0


def _loss(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "–"

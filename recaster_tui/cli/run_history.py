"""What ``recaster runs`` and ``recaster runs relocate`` do."""

import json
import math
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from recaster_tui.cli.watch import in_supervisor
from recaster_tui.cli.words import duration
from recaster_tui.errors import BadInputError, EnvironmentProblem
from recaster_tui.supervisor import RunRecord, Supervisor
from recaster_tui.supervisor.run_filter import SORTS, RunFilter, order, parse
from recaster_tui.workspace import open_workspace


def list_runs(
    folder: Path | None,
    *,
    words: str,
    sort: str,
    reverse: bool,
    last: int,
    live: bool,
    as_json: bool,
) -> int:
    """Print the history, repaired first so that it tells the truth."""
    if sort not in SORTS:
        raise BadInputError(
            f"runs cannot be sorted by '{sort}'", hint="there is " + ", ".join(SORTS)
        )
    if last < 0:
        raise BadInputError(f"the last {last} runs", hint="give how many, or --last 0 for all")
    parse(words)  # before anything is read

    async def action(supervisor: Supervisor) -> int:
        await supervisor.repair()
        if folder is not None:
            workspace = open_workspace(folder)
            await supervisor.adopt(workspace)
        wanted: RunFilter = parse(words, gone=supervisor.gone)
        records = wanted.choose(supervisor.records())
        if folder is not None:
            records = [r for r in records if r.workspace == str(workspace.root)]
        if live:
            records = [r for r in records if r.state.live and r.run_id not in supervisor.gone]
        if sort != "started" or reverse:
            records = order(records, sort, descending=SORTS[sort][1] != reverse)
        shown = records[:last] if last > 0 else records
        if as_json:
            table = [_plain(r, r.run_id in supervisor.gone) for r in shown]
            sys.stdout.write(json.dumps(table, indent=2) + "\n")
        else:
            _print_table(shown, len(records), supervisor.gone, chosen=bool(wanted) or live)
        return 0

    return in_supervisor(action)


def relocate_runs(old: Path, new: Path, *, as_json: bool) -> int:
    """Point the runs of a moved workspace to where it is."""
    if not new.is_dir():
        raise BadInputError(
            "there is no such folder",
            where=new,
            hint="the old place comes first, then the folder where the workspace is now",
        )

    async def action(supervisor: Supervisor) -> int:
        await supervisor.load_history()
        try:
            moved = await supervisor.relocate(old, new)
        except OSError as error:
            raise EnvironmentProblem(
                f"the history cannot be written: {error.strerror or error}",
                where=supervisor.history.folder,
            ) from error
        if as_json:
            sys.stdout.write(json.dumps([_plain(r, False) for r in moved], indent=2) + "\n")
        else:
            many = "1 run is" if len(moved) == 1 else f"{len(moved):,} runs are"
            sys.stdout.write(f"{many} found in {new.resolve()} now\n")
        return 0

    return in_supervisor(action)


def _plain(record: RunRecord, gone: bool) -> dict[str, Any]:
    table = asdict(record)
    table["missing"] = gone
    for key, value in table.items():
        if isinstance(value, float) and not math.isfinite(value):
            table[key] = None
    return table


def _print_table(
    records: list[RunRecord], total: int, gone: frozenset[str], *, chosen: bool
) -> None:
    if not records:
        nothing = "no run fits" if chosen else "no runs yet; start one with: recaster train, or"
        sys.stdout.write(f"{nothing}\n" if chosen else f"{nothing} recaster demo\n")
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    # Into a pipe a table must not be cut to 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "model", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("iteration", "src", "dst", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    costs = any(r.cost for r in records)
    if costs:
        table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("device", no_wrap=True)
    table.add_column("started", no_wrap=True)
    table.add_column("workspace", overflow="ellipsis", no_wrap=True)
    for r in records:
        state = "killed" if r.outcome == "killed" else r.state.value
        table.add_row(
            r.run_id,
            escape(f"{r.model_name}.{r.model_class}"),
            "gone" if r.run_id in gone else state,
            f"{r.iteration:,}",
            _loss(r.loss_src),
            _loss(r.loss_dst),
            duration(r.duration),
            *([f"${r.cost:,.2f}" if r.cost else ""] if costs else []),
            escape(r.device_name),
            datetime.fromtimestamp(r.created).strftime("%Y-%m-%d %H:%M"),
            escape(r.workspace),
        )
    console.print(table)
    if total > len(records):
        sys.stdout.write(f"… and {total - len(records):,} more: recaster runs --last 0\n")


def _loss(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "–"

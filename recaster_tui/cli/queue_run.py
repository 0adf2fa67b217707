"""What ``recaster queue`` does."""

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recaster_tui.cli.training import check_device, make_request
from recaster_tui.cli.words import duration
from recaster_tui.errors import BadInputError, RecasterError
from recaster_tui.supervisor.history import History
from recaster_tui.supervisor.queue import Queue
from recaster_tui.supervisor.queue_device import device_of
from recaster_tui.supervisor.queue_entry import QueueEntry, QueueState
from recaster_tui.workspace import open_workspace


def list_all(*, as_json: bool) -> int:
    """A table, or JSON."""
    queue = _queue()
    queue.wake()
    entries, paused, slots = queue.entries(), queue.paused, queue.slots()
    problems = queue.problems()
    if as_json:
        table = {
            "entries": [plain(queue, e) for e in entries],
            "slots": slots,
            "paused": paused,
            "problems": problems,
        }
        sys.stdout.write(json.dumps(table, indent=2) + "\n")
        return 0
    for problem in problems:
        sys.stderr.write(f"warning: {problem}\n")
    if not entries:
        sys.stdout.write("the queue is empty; recaster queue add, or Q on the Train screen\n")
        return 0
    _print_table(queue, entries)
    counts = ", ".join(f"{name} {count}" for name, count in slots.items())
    sys.stdout.write(f"slots: {counts or 'one each'}\n")
    if paused:
        sys.stdout.write("the queue is paused: recaster queue resume\n")
    return 0


def add_one(
    workspace: Path,
    *,
    config: str,
    assignments: Sequence[str],
    name: str | None,
    iterations: int | None,
    seconds: float,
    device: str,
    as_json: bool,
) -> int:
    """At the end."""
    project = open_workspace(workspace)
    request = make_request(
        project,
        config=config,
        assignments=assignments,
        name=name,
        iterations=iterations,
        seconds=seconds,
        device=device,
    )
    queue = _queue()
    entry = queue.add(project, request)
    queue.wake()
    if as_json:
        sys.stdout.write(json.dumps(plain(queue, entry), indent=2) + "\n")
        return 0
    place = _place(queue, entry)
    text = f"{entry.id}: {entry.model_name} waits for {entry.slot}"
    sys.stdout.write(f"{text}, number {place}\n" if place else f"{text}\n")
    if queue.paused:
        sys.stderr.write("the queue is paused: recaster queue resume\n")
    return 0


def move_one(text: str, position: int) -> int:
    """To a place."""
    queue = _queue()
    entry = queue.find(text)
    here = _place(queue, entry)
    if not here:
        raise BadInputError(f"{entry.model_name} does not wait: it is {entry.state}")
    if position < 1:
        raise BadInputError(f"there is no position {position}", hint="1 is next")
    queue.move(entry.id, position - here)
    queue.wake()
    sys.stdout.write(f"{entry.model_name} is number {_place(queue, entry)}\n")
    return 0


def remove_one(text: str) -> int:
    """Off the list."""
    queue = _queue()
    entry = queue.find(text)
    queue.remove(entry.id)
    sys.stdout.write(f"{entry.model_name} is off the queue\n")
    if entry.state is QueueState.RUNNING:
        sys.stderr.write(f"its run goes on: recaster attach {entry.run_id}\n")
    return 0


def start_one(text: str) -> int:
    """Now."""
    queue = _queue()
    entry = queue.start_now(queue.find(text).id)
    queue.wake()
    sys.stdout.write(f"{entry.model_name} starts now\n")
    return 0


def again_one(text: str) -> int:
    """Once more."""
    queue = _queue()
    entry = queue.again(queue.find(text).id)
    queue.wake()
    sys.stdout.write(f"{entry.model_name} waits again, number {_place(queue, entry)}\n")
    return 0


def show_slots(device: str | None, count: int | None, *, as_json: bool) -> int:
    """Show, or set first."""
    if device is not None:
        check_device(device)
    queue = _queue()
    if device is not None and count is not None:
        queue.set_slots(device_of(device), count)
        queue.wake()
    slots = queue.slots()
    if device is not None:
        slots = {name: queue.settings().slots_of(name) for name in [device_of(device)]}
    if as_json:
        sys.stdout.write(json.dumps(slots, indent=2) + "\n")
    else:
        lines = [f"{name} {number}" for name, number in slots.items()]
        sys.stdout.write("\n".join(lines or ["every device takes one run at a time"]) + "\n")
    return 0


def set_pause(paused: bool) -> int:
    """Pause or go on."""
    queue = _queue()
    queue.set_paused(paused)
    queue.wake()
    running = sum(e.state.active for e in queue.entries())
    goes_on = f"; {running} running {'goes' if running == 1 else 'go'} on" if running else ""
    sys.stdout.write(f"the queue is paused{goes_on}\n" if paused else "the queue goes on\n")
    return 0


def clear_all() -> int:
    """Forget what is over."""
    count = _queue().clear()
    sys.stdout.write(f"{count} {'entry' if count == 1 else 'entries'} removed\n")
    return 0


def keep_queue(data: Path | None) -> int:
    """The keeper's process."""
    import asyncio

    from recaster_tui.supervisor.queue_keeper import keep

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if not asyncio.run(keep(data)):
        sys.stderr.write("another keeper is at work\n")
    return 0


def wake_quietly() -> None:
    """A keeper that was killed is started again by whatever command comes next."""
    try:
        Queue().wake()
    except RecasterError as error:
        sys.stderr.write(f"warning: {error}\n")


def plain(queue: Queue, entry: QueueEntry) -> dict[str, Any]:
    """An entry as JSON shows it; ``position`` is null where it does not wait."""
    table = entry.model_dump(mode="json", exclude={"launch", "boot", "order", "restarts"})
    return {"position": _place(queue, entry) or None, **table, "slot": entry.slot}


def _queue() -> Queue:
    return Queue()


def _place(queue: Queue, entry: QueueEntry) -> int:
    ids = [e.id for e in queue.waiting()]
    return ids.index(entry.id) + 1 if entry.id in ids else 0


def _target(entry: QueueEntry) -> str:
    parts = []
    if entry.target_iterations:
        parts.append(f"{entry.target_iterations:,} it")
    if entry.target_seconds:
        parts.append(duration(entry.target_seconds))
    return " or ".join(parts)


def _print_table(queue: Queue, entries: list[QueueEntry]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    # Into a pipe a table must not be cut to 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 200)
    history = History(queue.data_dir)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    for name in ("state", "model"):
        table.add_column(name, no_wrap=True)
    table.add_column("iteration", justify="right", no_wrap=True)
    for name in ("target", "device"):
        table.add_column(name, no_wrap=True)
    table.add_column("workspace", overflow="ellipsis", no_wrap=True)
    table.add_column("run or id", no_wrap=True)
    table.add_column("why", overflow="fold")
    places = {e.id: i for i, e in enumerate(queue.waiting(), start=1)}
    for entry in entries:
        record = history.get(entry.run_id) if entry.run_id else None
        iteration = record.iteration if record is not None else entry.iteration
        why = " ".join(entry.why.split())
        if queue.paused and entry.state is QueueState.WAITING and not entry.now:
            why = "the queue is paused"
        table.add_row(
            str(places.get(entry.id, "")),
            entry.state.value,
            escape(f"{entry.model_name}.{entry.model_class}"),
            f"{iteration:,}" if iteration else "",
            _target(entry),
            entry.device if entry.device == entry.slot else f"{entry.device} ({entry.slot})",
            escape(entry.workspace),
            entry.run_id or entry.id,
            escape(why),
        )
    console.print(table)

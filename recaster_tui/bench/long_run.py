"""``recaster bench long-run``: attaching to a run of half a million iterations.

The run folder is generated, a trainer would need days for it: the journal has what a trainer
writes in that time, at two densities. A quick model flushes five iterations a line, a slow one
every iteration, so that the same iterations make a journal several times as long.
"""

import asyncio
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from recaster_tui.bench.report import Row, median_row
from recaster_tui.bench.stream import synthetic_losses
from recaster_tui.options import ModelClass, defaults
from recaster_tui.protocol import (
    Event,
    EventType,
    Phase,
    RunFolder,
    RunSpec,
    encode_event,
    write_losses,
    write_run_spec,
)
from recaster_tui.supervisor.launcher import ProcessId
from recaster_tui.supervisor.run import write_process

ITERATIONS = 500_000
BUDGET = 1.0
"""Seconds, DESIGN section 8: attach to a run with 500,000 iterations, to a full chart."""
_CHART_COLUMNS = 200


def measure(rounds: int = 5) -> list[Row]:
    """All rows; takes about a minute. *rounds* is how often each run is attached to."""
    rows = []
    for title, each, pace in (("20 it/s", 5, 0.05), ("2 it/s", 1, 0.5)):
        with tempfile.TemporaryDirectory(prefix="recaster-bench-") as name:
            sys.stderr.write(f"writing {ITERATIONS:,} iterations at {title} ...\n")
            folder = RunFolder(Path(name) / "runs" / "20261101T000000-saehd-0001")
            make_long_run(folder, ITERATIONS, each, pace)
            lines = folder.journal.read_bytes().count(b"\n")
            size = folder.journal.stat().st_size / 1e6
            took = [asyncio.run(_attach(folder)) for _ in range(rounds)]
            note = f"{lines:,} lines, {size:,.0f} MB"
            rows += [
                median_row(
                    f"{title}: attach, to the values of a full chart",
                    [sum(parts) for parts in took],
                    "s",
                    BUDGET,
                    note,
                ),
                Row(
                    f"{title}: of it the journal and the losses",
                    statistics.median(parts[0] for parts in took),
                    "s",
                ),
                Row(
                    f"{title}: of it trend, verdict and chart",
                    statistics.median(parts[1] for parts in took),
                    "s",
                ),
                median_row(
                    f"{title}: every look after that",
                    [1000 * asyncio.run(_look(folder)) for _ in range(3)],
                    "ms",
                    50.0,
                ),
            ]
    return rows


def make_long_run(folder: RunFolder, iterations: int, each: int, pace: float) -> None:
    """Write the run folder of a model in training: *each* iterations a line, *pace* seconds each.

    It belongs to this process, so that whoever attaches finds a trainer alive.
    """
    folder.root.mkdir(parents=True)
    begun = time.time() - iterations * pace
    spec = RunSpec(
        run_id=folder.run_id,
        created=begun,
        model_name="long",
        model_class=ModelClass.SAEHD,
        options=defaults(ModelClass.SAEHD).model_dump(mode="json"),
        device="cpu",
    )
    write_run_spec(folder.spec, spec)
    with folder.journal.open("wb") as file:
        for seq, (t, kind, data) in enumerate(_events(iterations, each, pace, begun), 1):
            file.write(encode_event(Event(seq, t, kind.value, data)))
    write_losses(folder.losses, synthetic_losses(iterations))
    process = psutil.Process()
    write_process(folder, ProcessId(process.pid, process.create_time(), socket.gethostname()))


def _events(
    iterations: int, each: int, pace: float, begun: float
) -> Iterator[tuple[float, EventType, dict[str, object]]]:
    """What a trainer says: losses all the time, metrics every 10 s, saves, previews, backups."""
    process = psutil.Process()
    losses = synthetic_losses(iterations)
    table = losses["src"].tolist(), losses["dst"].tolist()
    hello = {"pid": process.pid, "started": process.create_time(), "host": socket.gethostname()}
    device = {"kind": "cpu", "name": "bench"}
    yield begun, EventType.HELLO, {**hello, "device": device, "iteration": 0, "resumed": False}
    yield begun, EventType.PHASE, {"phase": Phase.TRAINING.value, "text": "training"}
    due = {EventType.METRICS: 10.0, EventType.SAVED: 30.0, EventType.PREVIEW: 60.0}
    last = dict.fromkeys(due, 0.0)
    hours = 1.0
    for first in range(1, iterations + 1, each):
        spent = (first + each - 1) * pace
        rows = [
            [round(table[0][i], 6), round(table[1][i], 6)]
            for i in range(first - 1, first - 1 + each)
        ]
        yield (
            begun + spent,
            EventType.ITERATIONS,
            {
                "first": first,
                "rows": rows,
                "ms": 1000 * pace,
                "its": round(1 / pace, 3),
                "data_share": 0.0213,
                "trained": round(spent, 2),
            },
        )
        for kind in (kind for kind, seconds in due.items() if spent - last[kind] >= seconds):
            last[kind] = spent
            yield begun + spent, kind, _data(kind, first)
        if spent >= 3600 * hours:
            hours += 1
            note = {"note": "", "folder": f"model/long.saehd/backups/{first:09d}"}
            yield begun + spent, EventType.BACKUP, {**_data(EventType.SAVED, first), **note}


def _data(kind: EventType, iteration: int) -> dict[str, object]:
    if kind is EventType.METRICS:
        figures = {"cpu": 63.2, "ram": 9_812_127_744, "ram_total": 33_655_062_528}
        return {**figures, "process_ram": 2_912_423_936, "learning_rate": 5e-05}
    if kind is EventType.PREVIEW:
        views: list[dict[str, object]] = [
            {"view": view, "file": f"previews/{iteration:09d}/{view}.jpg", "columns": [], "rows": 4}
            for view in ("source", "destination", "swap", "swap masked", "masks")
        ]
        return {"iteration": iteration, "views": views}
    name = f"{iteration:09d}"
    return {"iteration": iteration, "generation": name, "bytes": 95_212_300, "seconds": 0.812,
            "sha256": "ab" * 32}  # fmt: skip


async def _attach(folder: RunFolder) -> tuple[float, float]:
    """Seconds until a new watcher knows the run, and from there to what a chart draws."""
    from recaster_tui.protocol import read_run_spec
    from recaster_tui.supervisor.local import LocalLauncher
    from recaster_tui.supervisor.run import Run
    from recaster_tui.ui.decimate import Decimator, bucket_width

    begun = time.perf_counter()
    run = Run(folder, read_run_spec(folder.spec), LocalLauncher())
    await run.poll()
    known = time.perf_counter()
    if run.iteration != ITERATIONS or len(run.losses) != ITERATIONS:
        raise RuntimeError(f"only {run.iteration:,} of {ITERATIONS:,} iterations were found")
    width = bucket_width(ITERATIONS, _CHART_COLUMNS)
    for key in ("src", "dst"):
        Decimator().update(run.losses, key, width)
    _ = run.trend, run.verdict, run.phase_text, run.elapsed_seconds
    return known - begun, time.perf_counter() - known


async def _look(folder: RunFolder) -> float:
    """Seconds of one poll after another line was written."""
    from recaster_tui.protocol import read_run_spec
    from recaster_tui.supervisor.local import LocalLauncher
    from recaster_tui.supervisor.run import Run

    run = Run(folder, read_run_spec(folder.spec), LocalLauncher())
    await run.poll()
    seq = folder.journal.read_bytes().count(b"\n")
    line = encode_event(Event(seq + 1, time.time(), EventType.ALIVE.value, {"iteration": 1}))
    with folder.journal.open("ab", buffering=0) as file:
        os.write(file.fileno(), line)
    begun = time.perf_counter()
    await run.poll()
    return time.perf_counter() - begun

"""``recaster bench history``: ten thousand runs, half a million iterations, from outside.

The installed command runs in a pseudo-terminal of 120 × 40 over generated files: 10,000 records
of workspaces that are not there (each with its TOML file), a workspace with an ended run of
500,000 iterations and its whole journal (4 events a second, saves, previews, figures), and one
that streams 20 iterations a second. Times are from the key going in to the text coming out.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from recaster_tui.bench.report import Row, median_row, percentile
from recaster_tui.bench.stream import synthetic_losses
from recaster_tui.bench.terminal import Terminal
from recaster_tui.options import ModelClass, defaults
from recaster_tui.protocol import (
    Event,
    RunFolder,
    RunSpec,
    encode_event,
    write_losses,
    write_run_spec,
)
from recaster_tui.supervisor import History, RunRecord, RunState
from recaster_tui.workspace import open_workspace

RECORDS = 10_000
ITERATIONS = 500_000
_RECASTER = (sys.executable, "-m", "recaster_tui")
_STARTS = 5
_KEYS = 40
_IDLE_SECONDS = 10.0
_WHOLE_CHART = r"[45]00k|0\.5M"  # the last label of its axis
_NAMES = ("anna-to-bert", "second try", "night-shoot")


def measure() -> list[Row]:
    """All rows; takes about two minutes."""
    with tempfile.TemporaryDirectory(prefix="recaster-bench-") as scratch:
        root = Path(scratch)
        env = _environment(root)
        data = root / "home" / "data"
        ids = write_records(data, root / "vanished", RECORDS)
        empty = root / "nowhere"
        empty.mkdir()
        rows = [_first_time(env, empty)]
        rows += _many(env, empty, ids)
        for events in (5, 1):
            workspace = root / f"long {events}"
            write_long_run(workspace, ITERATIONS, events)
            rows += _long(env, workspace, events)
        rows.append(_idle(env, root))
        return rows


def _environment(root: Path) -> dict[str, str]:
    keep = {k: os.environ[k] for k in ("PATH", "HOME", "LANG", "PYTHONPATH") if k in os.environ}
    return {
        **keep,
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LC_ALL": "C.UTF-8",
        "RECASTER_HOME": str(root / "home"),
    }


def write_records(data: Path, vanished: Path, count: int) -> list[str]:
    """*count* records of runs in twenty workspaces below *vanished*; their ids, newest first."""
    history = History(data)
    now = time.time()
    losses = synthetic_losses(2_000)
    templates = []
    for name, model in zip(_NAMES, ModelClass, strict=False):
        record = RunRecord(
            run_id="TEMPLATE",
            model_name=name,
            model_class=model.value,
            workspace="WORKSPACE",
            state=RunState.FINISHED,
            created=111.25,
            ended=now,
            duration=3_600.0,
            iteration=222_222,
            loss_src=0.25,
            loss_dst=0.3,
            outcome="finished",
            device={"kind": "cuda", "name": "NVIDIA GeForce RTX 4090"},
            options=defaults(model).model_dump(mode="json"),
        )
        history.save(record, losses)
        templates.append((model, history.path("TEMPLATE").read_text()))
    history.remove("TEMPLATE")
    ids = []
    for i in range(count):
        model, text = templates[i % len(templates)]
        created = now - 86_400 - 600.0 * i
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(created))
        run_id = f"{stamp}-{model.value}-{i:04x}"
        for old, new in (
            ('"TEMPLATE"', f'"{run_id}"'),
            ('"WORKSPACE"', f'"{vanished / f"film {i % 20}"}"'),
            ("111.25", str(created)),
            ("222222", str(10_000 + 13 * i)),
        ):
            text = text.replace(old, new, 1)
        history.path(run_id).write_text(text)
        ids.append(run_id)
    return ids


def write_long_run(root: Path, iterations: int, per_event: int) -> RunFolder:
    """An ended run with the journal that a trainer would have written.

    4 events of losses a second with *per_event* iterations each, figures every 5 s, a save every
    30 s, a preview every 150 s.
    """
    for side in ("src", "dst"):
        (root / f"data_{side}" / "aligned").mkdir(parents=True)
    run_id = f"20260101T00000{per_event}-saehd-be0c"
    folder = RunFolder(open_workspace(root).runs / run_id)
    folder.root.mkdir(parents=True)
    spec = RunSpec(
        run_id=run_id,
        created=time.time() - iterations / per_event / 4,
        model_name="long",
        model_class=ModelClass.SAEHD,
        options=defaults(ModelClass.SAEHD).model_dump(mode="json"),
    )
    write_run_spec(folder.spec, spec)
    rows = synthetic_losses(iterations)
    write_losses(folder.losses, rows)
    pairs = zip(rows["src"].tolist(), rows["dst"].tolist(), strict=True)
    losses = [[round(a, 6), round(b, 6)] for a, b in pairs]
    clock, seq = spec.created, 0
    views = ("src-src", "dst-dst", "swap")
    with folder.journal.open("wb") as file:

        def say(kind: str, **data: object) -> None:
            nonlocal seq
            seq += 1
            file.write(encode_event(Event(seq, clock, kind, data)))

        say("hello", pid=0, started=1.0, host="elsewhere", device={"name": "CPU"}, iteration=0)
        say("phase", phase="training", text="")
        for number, first in enumerate(range(0, iterations, per_event), 1):
            clock += 0.25
            at = min(first + per_event, iterations)
            say("iterations", first=first + 1, rows=losses[first:at], ms=250 / per_event,
                its=4.0 * per_event, data_share=0.04)  # fmt: skip
            if number % 20 == 0:
                say("metrics", cpu=50.0, ram=2**30, ram_total=2**34, learning_rate=5e-5)
            if number % 120 == 0:
                say("saved", iteration=at, generation=f"{at:08d}", bytes=10**8, seconds=1.0)
            if number % 600 == 0:
                files = [{"view": v, "file": f"previews/{at}/{v}.jpg", "rows": 4} for v in views]
                say("preview", iteration=at, views=files)
        say("done", outcome="stopped", iteration=iterations, saved=iterations)
    return folder


def _open_runs(terminal: Terminal) -> tuple[float, float]:
    """Press 4 with the first paint: (moment of the key, moment of the whole list)."""
    terminal.wait_for(r"Project.*Runs")
    pressed = terminal.send("4")
    return pressed, terminal.wait_for(rf"{RECORDS:,} runs", since=pressed, timeout=60)


def _first_time(env: dict[str, str], cwd: Path) -> Row:
    with Terminal(_RECASTER, env={**env, "PWD": str(cwd)}) as terminal:
        pressed, shown = _open_runs(terminal)
        terminal.wait_for(r"vanished|gone", since=pressed, timeout=60)
        time.sleep(1.0)
    note = "every record is parsed, the index is written; once"
    return Row(f"{RECORDS:,} records without an index", shown - pressed, "s", None, note=note)


def _many(env: dict[str, str], cwd: Path, ids: list[str]) -> list[Row]:
    first, starts = [], []
    for _ in range(_STARTS):
        with Terminal(_RECASTER, env={**env, "PWD": str(cwd)}) as terminal:
            pressed, shown = _open_runs(terminal)
            first.append(shown - pressed)
            starts.append(shown - terminal.started)
    with Terminal(_RECASTER, env={**env, "PWD": str(cwd)}) as terminal:
        pressed, _ = _open_runs(terminal)
        terminal.wait_for("gone", since=pressed)
        time.sleep(4.0)  # sparklines, the looking for vanished workspaces
        moves = []
        for run_id in ids[1 : _KEYS + 1]:
            time.sleep(0.11)
            pressed = terminal.send("j")
            moves.append(1000 * (terminal.wait_for(run_id, since=pressed) - pressed))
        terminal.send("/")
        time.sleep(0.5)
        echoes, rows = [], []
        for word in ("night", "class:saehd its>20k", "-second loss<1 after:90d"):
            typed = ""
            for letter in word:
                time.sleep(0.11)
                typed += letter
                pressed = terminal.send(letter)
                if letter != " ":
                    shown = terminal.wait_for(_escaped(typed), since=pressed)
                    echoes.append(1000 * (shown - pressed))
            shown = terminal.wait_for(f"filter: {_escaped(word)}", since=pressed)
            rows.append(1000 * (shown - pressed))
            time.sleep(0.5)
            terminal.send("\x15")  # ctrl+u: an empty line again
            time.sleep(0.6)
        memory = terminal.process.memory_info().rss / 1e6
    title = f"with {RECORDS:,} runs: "
    return [
        median_row(title + "4 pressed with the first paint, list", first, "s", 1.0),
        median_row(title + "from start of the program to the list", starts, "s", None),
        _latency(title + "cursor down, detail", moves),
        _latency(title + "a letter of the filter", echoes),
        median_row(title + "last letter to the rows", rows, "ms", None, "waits 200 ms for more"),
        Row(title + "memory", memory, "MB", 150.0, note="resident"),
    ]


def _escaped(text: str) -> str:
    # The bar that is the text cursor may stand in the midst of what is drawn.
    return "".join(f"\\{c}" if not c.isalnum() and c != " " else c for c in text)


def _latency(what: str, values: list[float]) -> Row:
    note = f"p95; median {percentile(values, 0.5):.0f}, worst {max(values):.0f}"
    return Row(what, percentile(values, 0.95), "ms", 50.0, len(values), note)


def _long(env: dict[str, str], workspace: Path, events: int) -> list[Row]:
    size = sum(p.stat().st_size for p in workspace.rglob("journal.jsonl")) / 1e6
    title = f"{ITERATIONS:,} iterations, journal of {size:.0f} MB: "
    elsewhere = workspace.with_name("elsewhere")
    for side in ("src", "dst"):
        (elsewhere / f"data_{side}" / "aligned").mkdir(parents=True, exist_ok=True)
    # The first start takes the run into the history, as watching it would have done.
    with Terminal([*_RECASTER, str(workspace)], env=env) as terminal:
        terminal.wait_for(_WHOLE_CHART, timeout=60)
        time.sleep(2.0)
    starts, details, trains = [], [], []
    for _ in range(_STARTS):
        with Terminal([*_RECASTER, str(workspace)], env=env) as terminal:
            starts.append(terminal.wait_for(_WHOLE_CHART, timeout=60) - terminal.started)
        # Somebody who looks at it from another project: nothing of it is in memory.
        with Terminal([*_RECASTER, str(elsewhere)], rows=60, env=env) as terminal:
            terminal.wait_for(r"Project.*Runs")
            pressed = terminal.send("4")
            terminal.wait_for("Runs  this workspace", since=pressed)
            terminal.send("a")
            terminal.wait_for(r"[\d,]{5,} runs", since=pressed)
            terminal.send("/")
            time.sleep(0.5)
            pressed = terminal.send(f"model=long id:00000{events}")
            shown = terminal.wait_for("Saves and changes", since=pressed)
            details.append(shown - pressed)
            terminal.send("\r")
            time.sleep(0.5)
            pressed = terminal.send("\r")
            trains.append(terminal.wait_for(_WHOLE_CHART, since=pressed) - pressed)
    return [
        median_row(title + "start to full chart", starts, "s", None),
        median_row(title + "its detail on Runs, from the filter's keys", details, "s", 1.0),
        median_row(title + "enter: Train with the full chart", trains, "s", 1.0),
    ]


def _idle(env: dict[str, str], root: Path) -> Row:
    """Runs open on all records while one of them streams."""
    workspace = root / "streaming"
    for side in ("src", "dst"):
        (workspace / f"data_{side}" / "aligned").mkdir(parents=True)
    from recaster_tui.bench.ui import _make_run, _wait_for_journal

    folder = _make_run(workspace)
    stream = subprocess.Popen(
        [sys.executable, "-m", "recaster_tui.bench.stream", str(folder.root),
         "--history", str(ITERATIONS), "--seconds", "120"],
        env=env,
    )  # fmt: skip
    try:
        _wait_for_journal(folder)
        with Terminal([*_RECASTER, str(workspace)], env=env) as terminal:
            terminal.wait_for(r"Project.*Runs")
            pressed = terminal.send("4")
            terminal.wait_for("Runs  this workspace", since=pressed)
            terminal.send("a")
            terminal.wait_for(r"[\d,]{5,} runs · 1 alive", since=pressed)
            time.sleep(5.0)
            share = _share(terminal.process)
    finally:
        stream.terminate()
        stream.wait()
    note = f"over {_IDLE_SECONDS:.0f} s, all runs listed, one streams 20 it/s, no key pressed"
    return Row(f"with {RECORDS:,} runs: screen + supervisor", share, "% of a core", 5.0, note=note)


def _share(process: psutil.Process) -> float:
    def spent() -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    began, before = time.perf_counter(), spent()
    time.sleep(_IDLE_SECONDS)
    return 100 * (spent() - before) / (time.perf_counter() - began)

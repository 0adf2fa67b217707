"""``recaster bench ui``: the screen's budgets, measured from outside through a pseudo-terminal.

What is timed is the installed command as a user starts it: a fresh process, a terminal of
120 × 40 with true colour, a workspace whose run streams 20 iterations a second over a history of
half a million (see ``stream``). Latency is from the key going in to the expected text coming out.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from recaster_tui.bench.report import Row, median_row, percentile
from recaster_tui.bench.terminal import Terminal
from recaster_tui.options import ModelClass, defaults
from recaster_tui.protocol import RunFolder, RunSpec, write_run_spec
from recaster_tui.workspace import open_workspace

HISTORY = 500_000
_RECASTER = (sys.executable, "-m", "recaster_tui")
_STARTS = 7
_IDLE_SECONDS = 20.0
_KEYS = 60


def measure() -> list[Row]:
    """All rows; takes about a minute."""
    with tempfile.TemporaryDirectory(prefix="recaster-bench-") as scratch:
        root = Path(scratch)
        env = _environment(root)
        rows = [median_row("recaster --help", [_help(env) for _ in range(_STARTS)], "s", 0.3)]
        empty = _workspace(root / "empty")
        paints = [_first_paint(empty, env) for _ in range(_STARTS)]
        rows.append(median_row("first paint", paints, "s", 0.8, "empty workspace"))
        rows += _streaming(_workspace(root / "streaming"), env)
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


def _workspace(root: Path) -> Path:
    for side in ("src", "dst"):
        (root / f"data_{side}" / "aligned").mkdir(parents=True)
    return root


def _help(env: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([*_RECASTER, "--help"], env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _first_paint(workspace: Path, env: dict[str, str]) -> float:
    with Terminal([*_RECASTER, str(workspace)], env=env) as terminal:
        # The bar with the modes is the top line of the first frame.
        return terminal.wait_for(r"Train.*Runs") - terminal.started


def _streaming(workspace: Path, env: dict[str, str]) -> list[Row]:
    folder = _make_run(workspace)
    stream = subprocess.Popen(
        [
            sys.executable,
            *("-m", "recaster_tui.bench.stream", str(folder.root)),
            *("--history", str(HISTORY), "--seconds", "300"),
        ],
        env=env,
    )
    try:
        _wait_for_journal(folder)
        with Terminal([*_RECASTER, str(workspace)], env=env) as terminal:
            # The whole chart is there when its axis reaches the last iterations.
            shown = terminal.wait_for(r"500[,.]?\d{3}|500k|0\.5M") - terminal.started
            time.sleep(5.0)  # the first previews, lazy imports
            rows = [Row(f"attach to {HISTORY:,} iterations", shown, "s", None, note="from start")]
            rows += _idle(terminal)
            rows += _latency(terminal)
        return rows
    finally:
        stream.terminate()
        stream.wait()


def _make_run(workspace: Path) -> RunFolder:
    run_id = "20260101T000000-saehd-be0c"
    folder = RunFolder(open_workspace(workspace).runs / run_id)
    folder.root.mkdir(parents=True)
    spec = RunSpec(
        run_id=run_id,
        created=time.time(),
        model_name="bench",
        model_class=ModelClass.SAEHD,
        options=defaults(ModelClass.SAEHD).model_dump(mode="json"),
    )
    write_run_spec(folder.spec, spec)
    return folder


def _wait_for_journal(folder: RunFolder) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if folder.journal.exists() and b'"iterations"' in folder.journal.read_bytes():
            return
        time.sleep(0.05)
    raise TimeoutError("the streaming process did not start")


def _idle(terminal: Terminal) -> list[Row]:
    process = terminal.process
    began, before = time.perf_counter(), _cpu_seconds(process)
    time.sleep(_IDLE_SECONDS)
    wall = time.perf_counter() - began
    share = 100 * (_cpu_seconds(process) - before) / wall
    kilobytes = terminal.bytes_since(began) / wall / 1000
    memory = process.memory_info().rss / 1e6
    note = f"over {wall:.0f} s, a run streaming 20 it/s, no key pressed"
    return [
        Row("screen + supervisor", share, "% of a core", 5.0, note=note),
        Row("bytes to the terminal", kilobytes, "KB/s", 20.0, note=note),
        Row("memory", memory, "MB", 150.0, note="resident"),
    ]


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _latency(terminal: Terminal) -> list[Row]:
    """Cursor moves in the form: the panel below it must explain the row gone to."""
    terminal.send("\x1b[Z")  # shift+tab: from the chart, which a live run shows first, to the form
    time.sleep(1.0)
    terminal.send("j" * 12)  # past name and device, which have no default to wait for
    time.sleep(2.0)
    latencies = []
    for index in range(_KEYS):
        time.sleep(0.11)  # faster than anyone types, slower than the screen draws
        sent = terminal.send("j" if index % 20 < 10 else "k")
        # Only the explanation of a row has these words; chart and status never do.
        seen = terminal.wait_for("default|best |folds or unfolds", since=sent, timeout=5)
        latencies.append(1000 * (seen - sent))
    note = f"median {percentile(latencies, 0.5):.1f} ms, slowest {max(latencies):.1f} ms"
    return [Row("key to repaint, p95", percentile(latencies, 0.95), "ms", 50.0, _KEYS, note)]

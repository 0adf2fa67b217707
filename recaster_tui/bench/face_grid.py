"""The grid of faces through a pseudo-terminal: what a cursor move costs at 5,000 faces."""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from recaster_tui.bench.report import Row, percentile
from recaster_tui.bench.terminal import Terminal

FACES = 5_000
_MOVES = 60
_PAGES = 12
_BEFORE_REST = 0.14  # seconds: what comes later is the large face, shown when the keys rest
_AFTER_REST = 1.2


def grid_rows(count: int = FACES) -> list[Row]:
    """Cursor moves and pages, warm, at 120 × 40 with true colour; and moves while measuring."""
    from recaster_tui.bench.faces import make_faces
    from recaster_tui.bench.ui import _environment

    with tempfile.TemporaryDirectory(prefix="recaster-bench-") as scratch:
        root = Path(scratch)
        workspace = root / "film"
        make_faces(workspace / "data_src" / "aligned", count)
        make_faces(workspace / "data_dst" / "aligned", 64)
        env = _environment(root)
        command = [sys.executable, "-m", "recaster_tui", str(workspace)]
        rows: list[Row] = []
        with Terminal(command, env=env) as terminal:
            terminal.wait_for(r"Train.*Runs")
            asked = terminal.send("2")
            shown = terminal.wait_for(r"00000_0", since=asked) - asked
            note = f"{count:,} faces never seen; key 2 to the first captions"
            rows.append(Row("Faces screen", shown, "s", 1.0, note=note))
            time.sleep(3.0)
            moves = [_move(terminal, i) for i in range(20)]
            cold = [1000 * seconds for seconds, _, _ in moves]
            note = f"slowest {max(cold):.0f} ms; values and thumbnails are being made meanwhile"
            rows.append(
                Row("cursor move while measuring", statistics.median(cold), "ms", None, 20, note)
            )
            _wait_until_measured(terminal)
            rows += _warm(terminal, count)
        return rows


def _wait_until_measured(terminal: Terminal) -> None:
    """Until the frame no longer counts up and nothing is drawn."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        began = time.perf_counter()
        time.sleep(3.0)
        if "measuring" not in terminal.text(began):
            return


def _warm(terminal: Terminal, count: int) -> list[Row]:
    moves = [_move(terminal, i) for i in range(_MOVES)]
    times = [1000 * seconds for seconds, _, _ in moves]
    sizes = [float(size) for _, size, _ in moves]
    later = [float(size) for _, _, size in moves if size]
    spread = f"p95 {percentile(times, 0.95):.1f} ms, slowest {max(times):.1f} ms"
    at = f"{count:,} faces, 120×40"
    rows = [
        Row("cursor move", statistics.median(times), "ms", 16.0, len(times), f"{at}; {spread}"),
        Row("cursor move, bytes", max(sizes), "B", 1024, len(sizes), f"the most of all; {at}"),
        Row(
            "large face after a rest",
            statistics.median(later) / 1024 if later else 0.0,
            "KiB",
            None,
            len(later),
            "half-blocks; not sent while a key is held",
        ),
    ]
    pages = [_page(terminal) for _ in range(_PAGES)]
    took = [1000 * seconds for seconds, _ in pages]
    size = statistics.median(size for _, size in pages) / 1024
    note = f"slowest {max(took):.0f} ms; pictures from the cache"
    rows.append(Row("page down", statistics.median(took), "ms", 100.0, _PAGES, note))
    rows.append(Row("page down, bytes", size, "KiB", 200, _PAGES, "all pictures are others"))
    return rows


def _move(terminal: Terminal, index: int) -> tuple[float, int, int]:
    """Seconds until the next caption is drawn, bytes until then, and bytes of what follows."""
    forth = index % 2 == 0
    name = "00001_0" if forth else "00000_0"
    sent = terminal.send("l" if forth else "h")
    seen = terminal.wait_for(name, since=sent, timeout=10)
    time.sleep(max(0.0, sent + _BEFORE_REST - time.perf_counter()))
    first = terminal.bytes_since(sent)
    time.sleep(_AFTER_REST)
    return seen - sent, first, terminal.bytes_since(sent) - first


def _page(terminal: Terminal) -> tuple[float, int]:
    """Seconds until the last byte before the large face, and bytes."""
    sent = terminal.send("\x1b[6~")
    time.sleep(_BEFORE_REST + 0.02)
    chunks = [(at, len(data)) for at, data in list(terminal.chunks) if at >= sent]
    size = sum(number for _, number in chunks)
    time.sleep(_AFTER_REST)
    return (chunks[-1][0] - sent if chunks else 0.0), size

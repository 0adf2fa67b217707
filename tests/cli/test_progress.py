"""The terminal reporter in real processes: through a pseudo-terminal, into a pipe, as JSON."""

import json
import os
import pty
import signal
import subprocess
import sys

import pyte

PROGRAM = """
import sys
from recaster_tui.cli.progress import terminal_reporter
report = terminal_reporter("--json" in sys.argv)
if "--quick" not in sys.argv:
    report.quiet = 0.0
report.progress(20, 40, "finding", faces=3)
report.warning("name\\x1b[2Jof a file", "look")
if "--wait" in sys.argv:
    report.note("ready")
    import time
    while not report.stop_requested():
        time.sleep(0.01)
    report.note("stopping")
report.progress(40, 40, "finding", faces=12)
report.close()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_one_line_on_a_terminal():
    reading, writing = pty.openpty()
    environment = dict(os.environ, COLUMNS="80", LINES="24")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=writing, stderr=writing, env=environment
    )
    os.close(writing)
    data = b""
    try:
        while chunk := os.read(reading, 4096):
            data += chunk
    except OSError:  # the other end is closed
        pass
    assert process.wait(30) == 0
    screen = pyte.Screen(80, 24)
    pyte.ByteStream(screen).feed(data)
    shown = [line.rstrip() for line in screen.display if line.strip()]
    assert shown[0] == "warning: name?[2Jof a file (look)"
    (line,) = shown[1:]
    assert "40/40" in line and "faces 12" in line and line.startswith("━" * 20)
    assert screen.cursor.x == 0  # the prompt begins on a line of its own


def test_lines_for_a_log_and_json():
    plain = run()
    assert plain.stdout == ""
    assert plain.stderr.splitlines() == [
        "20/40  faces 3  finding",
        "warning: name?[2Jof a file (look)",
        *(line for line in plain.stderr.splitlines() if line.startswith("40/40")),
    ]
    events = [json.loads(line) for line in run("--json").stderr.splitlines()]
    assert [event["type"] for event in events] == ["progress", "warning", "progress"]
    assert events[2]["current"] == events[2]["total"] == 40 and events[2]["counts"] == {"faces": 12}
    assert events[1]["hint"] == "look"


def test_quick_work_shows_no_progress():
    assert run("--quick").stderr.splitlines() == ["warning: name?[2Jof a file (look)"]


def test_signals_ask_to_stop():
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "--json", "--wait"], stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        for line in process.stderr:
            if "ready" in line:
                break
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(30) == 0 and "stopping" in rest

"""Jobs: real processes, real kills."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from recaster_tui.errors import BadInputError
from recaster_tui.files import write_toml
from recaster_tui.jobs import JobStatus, job_folder, read_job, reporting, running_jobs, stop_job

_WORK = """
import sys, time
from pathlib import Path
from recaster_tui.jobs import reporting
with reporting(Path(sys.argv[1]), "test", "src") as report:
    for n in range(1, 100_000):
        report.progress(n, 100_000, "counting", faces=2 * n)
        if report.stop_requested():
            break
        time.sleep(0.01)
"""


def _begin(workspace: Path) -> subprocess.Popen[bytes]:
    folder = job_folder(workspace, "test", "src")
    child = subprocess.Popen([sys.executable, "-c", _WORK, str(folder)])
    _wait(lambda: (state := read_job(workspace, "test", "src")) is not None and state.current > 3)
    return child


def _wait(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def test_a_job_is_followed_stopped_and_remembered(tmp_path: Path) -> None:
    child = _begin(tmp_path)
    state = read_job(tmp_path, "test", "src")
    assert state is not None and state.status is JobStatus.RUNNING
    assert state.total == 100_000 and state.counts["faces"] == 2 * state.current
    assert state.eta_seconds is not None and state.eta_seconds > 10
    assert running_jobs(tmp_path) == ["test src"]
    stop_job(tmp_path, "test", "src")
    child.wait(20)
    state = read_job(tmp_path, "test", "src")
    assert state is not None and state.status is JobStatus.STOPPED
    assert running_jobs(tmp_path) == []


def test_a_killed_job_is_lost_not_running(tmp_path: Path) -> None:
    child = _begin(tmp_path)
    os.kill(child.pid, signal.SIGKILL)
    child.wait(20)
    state = read_job(tmp_path, "test", "src")
    assert state is not None and state.status is JobStatus.LOST
    assert not psutil.pid_exists(child.pid)


def test_errors_are_its_last_word_and_torn_lines_are_left_out(tmp_path: Path) -> None:
    folder = job_folder(tmp_path, "check", "dst")
    with pytest.raises(BadInputError), reporting(folder, "check", "dst") as report:
        report.warning("one file is damaged", "look at it")
        with (folder / "events.jsonl").open("ab") as file:
            file.write(b'{"t": 1, "type": "pro\n[1]\n')
        raise BadInputError("no faces", hint="extract first")
    state = read_job(tmp_path, "check", "dst")
    assert state is not None
    assert (state.status, state.text, state.hint) == (JobStatus.FAILED, "no faces", "extract first")
    assert state.warnings == ("one file is damaged (look at it)",)


@pytest.mark.parametrize(
    ("job", "event"),
    [
        ({"pid": -5}, "{}"),
        ({"pid": 10**18}, "{}"),
        ({"process_started": "soon"}, "{}"),
        ({}, '{"type": "progress", "current": Infinity, "total": NaN}'),
        ({}, '{"type": "progress", "current": 1e999, "counts": {"faces": [1]}, "eta": NaN}'),
        ({}, '{"type": "end", "t": "never", "outcome": [], "hint": {}}'),
    ],
)
def test_a_damaged_folder_is_never_an_exception(tmp_path: Path, job: dict, event: str) -> None:
    folder = job_folder(tmp_path, "test", "src")
    folder.mkdir(parents=True)
    write_toml(folder / "job.toml", {"started": 1.0, "pid": 1, **job})
    (folder / "events.jsonl").write_text(event + "\n")
    state = read_job(tmp_path, "test", "src")
    assert state is None or (state.current, state.total) == (0, 0)

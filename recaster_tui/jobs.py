"""Long work on faces (extraction, checking, masking) that outlives the screen.

A job is a command line that reports into a folder of the workspace, ``jobs/<kind>-<side>/``:

* ``job.toml``: what was started, written once: kind, side, arguments, pid, start time, host.
* ``events.jsonl``: append-only, one line per event ``{"t": unix, "type": …}``; types ``progress``
  (current, total, text, counts, eta), ``note``, ``warning`` (text, hint) and, once, ``end``
  (outcome ``done``, ``stopped`` or ``failed``, text, hint).
* ``stop``: made by whoever wants the job to end soon; it finishes the file it is at.

The screen starts jobs detached and reads them like a run: closing it touches nothing.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import psutil

from recaster_tui.errors import BadInputError, EnvironmentProblem, RecasterError
from recaster_tui.files import read_toml, write_toml

FOLDER = "jobs"
_SAME_START_SECONDS = 2.0
_PROGRESS_EVERY = 0.25
_TAIL = 256 * 1024
_LARGEST = 1e15
# What Textual and our probe set for the screen means nothing to a job.
_SCREEN_VARIABLES = ("TEXTUAL", "RECASTER_UI", "COLUMNS", "LINES", "PYTEST_")


class Reporter(Protocol):
    """What long work tells while it goes on. Every call is cheap."""

    def progress(self, current: int, total: int, text: str = "", **counts: int) -> None:
        """So far *current* of *total* (0 = unknown); *counts* are named figures (faces=12)."""

    def note(self, text: str) -> None:
        """Something worth knowing."""

    def warning(self, text: str, hint: str | None = None) -> None:
        """Something went wrong, the work goes on."""

    def stop_requested(self) -> bool:
        """Whether to end soon, with everything written so far whole."""


class Silent:
    """A reporter that nobody listens to."""

    def progress(self, current: int, total: int, text: str = "", **counts: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def warning(self, text: str, hint: str | None = None) -> None:
        """Nothing."""

    def stop_requested(self) -> bool:
        """Never."""
        return False


class JobStatus(StrEnum):
    """Where a job stands. ``lost``: its process is gone without a last word."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True)
class JobState:
    """What a job's folder says.

    Attributes:
        seconds: from its start to now, or to its end.
        eta_seconds: None where it cannot be told.
        counts: named figures of the last progress event.
        text: of the last progress event, or the last word.
        warnings: the newest last, each with its hint where it has one.
    """

    kind: str
    side: str
    status: JobStatus
    started: float
    seconds: float
    current: int = 0
    total: int = 0
    text: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    eta_seconds: float | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    hint: str | None = None

    @property
    def fraction(self) -> float | None:
        """0 to 1, or None while the total is unknown."""
        return min(1.0, self.current / self.total) if self.total else None


def job_folder(workspace: Path, kind: str, side: str) -> Path:
    """Where the job of this *kind* on this *side* (``src``, ``dst``) reports."""
    return workspace / FOLDER / f"{kind}-{side}"


def start_job(workspace: Path, kind: str, side: str, arguments: Sequence[str]) -> None:
    """Run ``recaster ARGUMENTS --job DIR`` detached from this process.

    Raises:
        BadInputError: such a job is running.
        EnvironmentProblem: the process or its folder cannot be made.
    """
    state = read_job(workspace, kind, side)
    if state is not None and state.status is JobStatus.RUNNING:
        raise BadInputError(
            f"{kind} of {side} is already running", where=job_folder(workspace, kind, side)
        )
    folder = job_folder(workspace, kind, side)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_SCREEN_VARIABLES)}
    command = [sys.executable, "-m", "recaster_tui", *arguments, "--job", str(folder)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("events.jsonl", "stop", "job.toml"):
            (folder / name).unlink(missing_ok=True)
        with (folder / "output.log").open("wb") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        _write_job(folder, kind, side, list(arguments), child.pid)
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot start the job: {error.strerror or error}", where=folder
        ) from error


def stop_job(workspace: Path, kind: str, side: str) -> None:
    """Ask a job to end soon; does nothing where none runs."""
    folder = job_folder(workspace, kind, side)
    if folder.is_dir():
        (folder / "stop").touch()


def read_job(workspace: Path, kind: str, side: str) -> JobState | None:
    """What the job's folder says now; None where there never was one, or it is damaged."""
    folder = job_folder(workspace, kind, side)
    try:
        job = read_toml(folder / "job.toml")
        started, pid = float(job["started"]), int(job["pid"])
        process_started = float(job.get("process_started", 0.0))
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, OverflowError):
        return None
    events = _events(folder)
    nothing: dict[str, Any] = {}
    progress = next((e for e in reversed(events) if e.get("type") == "progress"), nothing)
    end = next((e for e in reversed(events) if e.get("type") == "end"), None)
    hint = None
    if end is not None:
        status, now = _status(end), _number(end.get("t"), time.time())
        text, hint = str(end.get("text", "")), end.get("hint")
    else:
        now = time.time()
        alive = _alive(pid, process_started, str(job.get("host", "")))
        status = JobStatus.RUNNING if alive else JobStatus.LOST
        text = str(progress.get("text", ""))
        if status is JobStatus.LOST:
            text, hint = _last_words(folder), f"its output: {folder / 'output.log'}"
    counts = progress.get("counts")
    if not isinstance(counts, dict):
        counts = nothing
    eta = progress.get("eta")
    return JobState(
        kind=kind,
        side=side,
        status=status,
        started=started,
        seconds=max(0.0, now - started),
        current=int(_number(progress.get("current"), 0)),
        total=int(_number(progress.get("total"), 0)),
        text=text,
        counts={name: int(_number(value, 0)) for name, value in counts.items()},
        eta_seconds=_number(eta, 0.0) if isinstance(eta, int | float) else None,
        notes=tuple(str(e.get("text", "")) for e in events if e.get("type") == "note"),
        warnings=tuple(_warning(e) for e in events if e.get("type") == "warning"),
        hint=str(hint) if hint else None,
    )


def running_jobs(workspace: Path) -> list[str]:
    """``extract src`` and the like: what goes on in *workspace* at this moment."""
    found = []
    for folder in sorted((workspace / FOLDER).glob("*-*")):
        kind, _, side = folder.name.rpartition("-")
        state = read_job(workspace, kind, side)
        if state is not None and state.status is JobStatus.RUNNING:
            found.append(f"{kind} {side}")
    return found


@contextmanager
def reporting(
    folder: Path | None, kind: str, side: str, otherwise: Callable[[], Reporter] = Silent
) -> Iterator[Reporter]:
    """The reporter of a command: into *folder* when it runs as a job, else ``otherwise()``.

    A job's last word (done, stopped or failed) is written when the block ends; the block may say
    it itself by ``JobReporter.finish``. Errors go on to the caller.
    """
    if folder is None:
        shown = otherwise()
        try:
            yield shown
        finally:
            close = getattr(shown, "close", None)
            if close is not None:
                close()
        return
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "job.toml").exists():  # started by hand with --job
        _write_job(folder, kind, side, sys.argv[1:], os.getpid())
    reporter = JobReporter(folder)
    try:
        yield reporter
    except RecasterError as error:
        reporter.finish(JobStatus.FAILED, error.message, error.hint)
        raise
    except KeyboardInterrupt:
        reporter.finish(JobStatus.STOPPED, "stopped")
        raise
    except BaseException as error:
        reporter.finish(JobStatus.FAILED, f"unexpected {type(error).__name__}: {error}")
        raise
    stopped = reporter.stop_requested()
    reporter.finish(JobStatus.STOPPED if stopped else JobStatus.DONE, "")


class JobReporter:
    """Writes a job's events into its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._events = folder / "events.jsonl"
        self._begun = time.monotonic()
        self._first: int | None = None
        self._last = 0
        self._told = 0.0
        self._ended = False

    def progress(self, current: int, total: int, text: str = "", **counts: int) -> None:
        """At most four times a second, and always when *current* reaches *total*."""
        now = time.monotonic()
        if self._first is None or current < self._last:  # the next stage of the work
            self._first, self._begun = current, now  # work found done counts for no speed
        self._last = current
        if now - self._told < _PROGRESS_EVERY and not (total and current >= total):
            return
        self._told = now
        event = {"current": current, "total": total, "text": text, "counts": counts}
        done = current - self._first
        if total and done > 0:
            event["eta"] = round((now - self._begun) / done * max(0, total - current), 1)
        self._write("progress", **event)

    def note(self, text: str) -> None:
        """See :class:`Reporter`."""
        self._write("note", text=text)

    def warning(self, text: str, hint: str | None = None) -> None:
        """See :class:`Reporter`."""
        self._write("warning", text=text, hint=hint)

    def stop_requested(self) -> bool:
        """See :class:`Reporter`."""
        return (self._folder / "stop").exists()

    def finish(self, status: JobStatus, text: str, hint: str | None = None) -> None:
        """The last word; only the first one counts."""
        if not self._ended:
            self._ended = True
            self._write("end", outcome=status.value, text=text, hint=hint)

    def _write(self, kind: str, **values: Any) -> None:
        line = json.dumps({"t": round(time.time(), 3), "type": kind, **values}) + "\n"
        fd = os.open(self._events, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)


def _write_job(folder: Path, kind: str, side: str, arguments: list[str], pid: int) -> None:
    started = 0.0
    with contextlib.suppress(psutil.Error):
        started = psutil.Process(pid).create_time()
    table = {
        "kind": kind,
        "side": side,
        "arguments": arguments,
        "started": time.time(),
        "pid": pid,
        "process_started": started,
        "host": socket.gethostname(),
    }
    write_toml(folder / "job.toml", table, durable=False)


def _events(folder: Path) -> list[dict[str, Any]]:
    """The newest events; lines that are torn or no events are left out."""
    try:
        with (folder / "events.jsonl").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            found.append(event)
    return found


def _status(end: Mapping[str, Any]) -> JobStatus:
    try:
        return JobStatus(str(end.get("outcome")))
    except ValueError:
        return JobStatus.FAILED


def _alive(pid: int, started: float, host: str) -> bool:
    if host and host != socket.gethostname():
        return True  # nobody here can tell
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < _SAME_START_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):  # a number that no process can have
        return False


def _last_words(folder: Path) -> str:
    try:
        lines = (folder / "output.log").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    words = next((line for line in lines if line.startswith("error: ")), None)
    return words.removeprefix("error: ") if words else "its process ended without a last word"


def _warning(event: Mapping[str, Any]) -> str:
    text, hint = str(event.get("text", "")), event.get("hint")
    return f"{text} ({hint})" if hint else text


def _number(value: Any, otherwise: float) -> float:
    usable = isinstance(value, int | float) and abs(value) < _LARGEST
    return float(value) if usable else otherwise

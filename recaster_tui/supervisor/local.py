"""Trainers as processes of this machine."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil

from recaster_tui.errors import EnvironmentProblem
from recaster_tui.supervisor.launcher import ProcessId

# What Textual, our probe and pytest set for the screen means nothing to a trainer.
_SCREEN_VARIABLES = ("TEXTUAL", "RECASTER_UI", "COLUMNS", "LINES", "PYTEST_")

_SAME_START_SECONDS = 2.0


class LocalLauncher:
    """Starts trainers detached from this process and answers for them through psutil."""

    def __init__(self) -> None:
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._returned: dict[ProcessId, int] = {}

    async def start(self, command: Sequence[str], *, log: Path, cwd: Path) -> ProcessId:
        """See :class:`Launcher`. The child gets its own session, so no signal of our terminal."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_SCREEN_VARIABLES)}
        environment["PYTHONUNBUFFERED"] = "1"
        try:
            log.touch()
        except OSError as error:
            raise EnvironmentProblem(
                f"cannot write in the run folder: {error.strerror or error}",
                where=log.parent,
                hint="the workspace must be writable, and its disk must have room",
            ) from error
        try:
            with log.open("ab") as output:
                child = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=cwd,
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            raise EnvironmentProblem(
                f"cannot start the trainer: {error.strerror or error}", where=command[0]
            ) from error
        try:
            started = psutil.Process(child.pid).create_time()
        except psutil.NoSuchProcess:
            started = 0.0
        self._children[child.pid] = child
        # Nobody asks after a trainer that said it is done; it shall not stay as a zombie until
        # the app ends.
        threading.Thread(target=child.wait, name=f"reap-{child.pid}", daemon=True).start()
        return ProcessId(child.pid, started, socket.gethostname())

    async def read(self, path: Path, offset: int, limit: int) -> bytes:
        """See :class:`Launcher`."""
        with path.open("rb") as file:
            if offset < 0:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size + offset))
            else:
                file.seek(offset)
            return file.read(limit)

    async def append(self, path: Path, line: bytes) -> None:
        """See :class:`Launcher`."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(fd, line)
        finally:
            os.close(fd)

    async def copy(self, source: Path, target: Path) -> None:
        """See :class:`Launcher`."""
        await asyncio.to_thread(shutil.copyfile, source, target)

    async def alive(self, process: ProcessId, marker: str = "") -> bool | None:
        """See :class:`Launcher`. A child that ended is reaped here."""
        self._reap(process)
        if process.host and process.host != socket.gethostname():
            return None
        try:
            found = psutil.Process(process.pid)
            if found.status() == psutil.STATUS_ZOMBIE:
                return False
            if abs(found.create_time() - process.started) <= _SAME_START_SECONDS:
                return True
            return bool(marker) and any(marker in word for word in found.cmdline())
        except psutil.NoSuchProcess:
            return False
        except (psutil.Error, OSError):  # of a process that is just going, psutil may raise either
            return None

    async def signal(self, process: ProcessId, number: int) -> bool:
        """See :class:`Launcher`."""
        self._reap(process)
        if process.host and process.host != socket.gethostname():
            raise EnvironmentProblem(
                f"process {process.pid} runs on {process.host}", hint="signal it from there"
            )
        if process.pid <= 0 or process.started <= 0:
            raise EnvironmentProblem(f"nobody knows when process {process.pid} was started")
        return send_signal(process, number)

    async def room(self, path: Path) -> int | None:
        """See :class:`Launcher`."""
        try:
            return (await asyncio.to_thread(shutil.disk_usage, path)).free
        except OSError:
            return None

    def exit_note(self, process: ProcessId) -> str:
        """See :class:`Launcher`. Only known for our own children."""
        code = self._returned.get(process)
        if code is None:
            return ""
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"

    def _reap(self, process: ProcessId) -> None:
        child = self._children.get(process.pid)
        if child is not None and (code := child.poll()) is not None:
            self._returned[process] = code
            del self._children[process.pid]


def send_signal(process: ProcessId, number: int) -> bool:
    """Send *number* to the local process of this pid and start time; False where there is none.

    The pid is pinned by a file descriptor first (Linux), then the start time is compared: however
    the timing, the signal cannot reach a process that got the pid afterwards.

    Raises:
        EnvironmentProblem: it belongs to somebody else.
    """
    try:
        pinned = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    except (AttributeError, OSError):  # not Linux, or a sandbox without the call
        pinned = -1
    try:
        found = psutil.Process(process.pid)
        if found.status() == psutil.STATUS_ZOMBIE:
            return False
        if abs(found.create_time() - process.started) > _SAME_START_SECONDS:
            return False
        if pinned >= 0:
            signal.pidfd_send_signal(pinned, signal.Signals(number))
        else:
            os.kill(process.pid, number)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    except (psutil.AccessDenied, PermissionError) as error:
        raise EnvironmentProblem(
            f"process {process.pid} belongs to another user", hint="ask them to end it"
        ) from error
    finally:
        if pinned >= 0:
            os.close(pinned)
    return True

"""One writer per model: ``flock`` on a file that names its holder (DESIGN section 4).

The kernel drops the lock when the process dies, however it dies, so there is no stale lock to
clean up; the text inside is only for the message.
"""

import fcntl
import json
import os
import socket
import time
from pathlib import Path

import psutil

from recaster_tui.errors import EnvironmentProblem

LOCK_NAME = "lock"
_LOOKS, _LOOK_SECONDS = 4, 0.01


class ModelLockedError(EnvironmentProblem):
    """Another process trains this model, or runs in this run folder."""

    code = "model-locked"


class FileLock:
    """An exclusive lock, held until :meth:`release` or the end of the process."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    def release(self) -> None:
        """Give the lock back. The file stays: removing it would race with a waiting process."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def lock_model(folder: Path, run_id: str) -> FileLock:
    """Take the lock of the model in *folder* (made if missing).

    Raises:
        ModelLockedError: another process holds it; the message names it.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_NAME
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _take(fd)
    except BlockingIOError as error:
        holder = _holder(fd)
        os.close(fd)
        raise ModelLockedError(
            f"this model is {holder}",
            where=folder,
            hint="attach to that run, or stop it first"
            if "trained" in holder
            else "wait until that has ended, then try again",
        ) from error
    record = {
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "host": socket.gethostname(),
        "run": run_id,
    }
    os.ftruncate(fd, 0)
    os.pwrite(fd, (json.dumps(record) + "\n").encode(), 0)
    return FileLock(path, fd)


def _take(fd: int) -> None:
    """Lock, or raise ``BlockingIOError``; who only looks whether somebody has it, is waited for."""
    for attempt in range(_LOOKS):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if attempt == _LOOKS - 1:
                raise
            time.sleep(_LOOK_SECONDS)


def lock_holder(folder: Path) -> str | None:
    """The run that trains the model in *folder* now; None where nobody does."""
    try:
        fd = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            return str(json.loads(os.pread(fd, 4096, 0))["run"])
        except (ValueError, KeyError, TypeError, OSError):
            return ""
    finally:
        os.close(fd)
    return None


def _holder(fd: int) -> str:
    try:
        record = json.loads(os.pread(fd, 4096, 0))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(record["started"])))
        process = f"process {int(record['pid'])} on {record['host']}"
        run = str(record["run"])
        if is_run(run):
            return f"being trained by {process}, run {run}, started {since}"
        return f"in use by {process} ({run}), started {since}"
    except (ValueError, KeyError, TypeError, OSError):
        return "being trained by another process"


def is_run(holder: str) -> bool:
    """Whether the name in a lock is a run's id, not the short work of an app or a command."""
    return holder[:8].isdigit() and holder[8:9] == "T"

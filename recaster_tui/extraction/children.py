"""Helper processes: started, spoken to, found dead or hanging, ended."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import recaster_tui
from recaster_tui.errors import EnvironmentProblem

_SINGLE_THREADED = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_LAST_WORDS = 2000


class Child:
    """``python -m MODULE FD`` with a connection to it; one thread per computation.

    Not ``multiprocessing``: no re-import of the caller's main module, and a child whose parent
    is gone sees the end of its connection and leaves.
    """

    def __init__(self, module: str, setup: Any, *, memory: int) -> None:
        ours, theirs = socket.socketpair()
        environment = dict(os.environ) | dict.fromkeys(_SINGLE_THREADED, "1")
        here = str(Path(recaster_tui.__file__).parent.parent)
        paths = [here, environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(p for p in paths if p)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno()), str(memory)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=environment,
                pass_fds=(theirs.fileno(), memory),
                start_new_session=True,  # ctrl-c is for us; we end the children
            )
        except OSError as error:
            ours.close()
            self._errors.close()
            raise EnvironmentProblem(
                f"cannot start a helper process ({error})", hint="try again with --workers 1"
            ) from error
        finally:
            theirs.close()
        self.connection = Connection(ours.detach())
        self.pid = self._process.pid
        self.since = time.monotonic()
        self.send(setup)

    def send(self, message: Any) -> bool:
        """False where the child is gone."""
        self.since = time.monotonic()
        try:
            self.connection.send(message)
        except OSError:
            return False
        return True

    def receive(self) -> Any:
        """The next message. Raises EOFError where the child is gone."""
        self.since = time.monotonic()
        try:
            return self.connection.recv()
        except OSError as error:
            raise EOFError from error

    @property
    def silent_seconds(self) -> float:
        """Since something was last sent to it, or came from it."""
        return time.monotonic() - self.since

    def last_words(self) -> str:
        """The end of what it wrote to stderr, and how it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.poll()
        with contextlib.suppress(OSError, ValueError):
            size = self._errors.seek(0, os.SEEK_END)
            self._errors.seek(max(0, size - _LAST_WORDS))
            lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
            if lines:
                return lines[-1]
        if code is not None and code < 0:
            return f"ended by signal {-code}" + (" (is memory short?)" if code == -9 else "")
        return f"exit code {code}"

    def end(self, patience: float = 0.0) -> None:
        """End it: its connection is closed, and after so many seconds it is killed."""
        with contextlib.suppress(OSError):
            self.connection.close()
        if patience:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._errors.close()


def child_connection(arguments: list[str]) -> tuple[Connection, int]:
    """A child's end: the connection and the shared memory's descriptor."""
    return Connection(int(arguments[0])), int(arguments[1])

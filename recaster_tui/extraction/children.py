"""Helper processes: started, spoken to, found dead or hanging, ended."""

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from multiprocessing.connection import Connection
from typing import Any

from recaster_tui.errors import EnvironmentProblem
from recaster_tui.helpers import start_helper

_LAST_WORDS = 2000


class Child:
    """``python -m MODULE FD`` with a connection to it; see :mod:`recaster_tui.helpers`."""

    def __init__(self, module: str, setup: Any, *, memory: int) -> None:
        ours, theirs = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        try:
            self._process = start_helper(
                module,
                str(theirs.fileno()),
                str(memory),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=(theirs.fileno(), memory),
            )
        except EnvironmentProblem:
            ours.close()
            self._errors.close()
            raise
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

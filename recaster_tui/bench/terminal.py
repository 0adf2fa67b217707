"""A program in a pseudo-terminal: send keys, see what it draws and when."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import threading
import time
from collections.abc import Sequence
from types import TracebackType

import psutil

_ESCAPES = re.compile(
    rb"\x1b\[[0-9;:?<>=]*[ -/]*[@-~]"  # CSI
    rb"|\x1b[\]P_][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC, DCS, APC
    rb"|\x1b[()][A-Z0-9]|\x1b[=>78cDEHMNOZ]"
)
_ATTRIBUTES_REPLY = b"\x1b[?62;22c"  # a VT220 with colour: answers the app's probe at once


class Terminal:
    """Runs *command* on a pty of *columns* × *rows*; a thread collects its output with times."""

    def __init__(
        self, command: Sequence[str], *, columns: int = 120, rows: int = 40, env: dict[str, str]
    ) -> None:
        self.started = time.perf_counter()
        self.chunks: list[tuple[float, bytes]] = []
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.environ.clear()
            os.environ.update(env)
            os.execvp(command[0], list(command))
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = psutil.Process(self._pid)
        self._closing = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self) -> None:
        while not self._closing:
            ready, _, _ = select.select([self._fd], [], [], 0.1)
            if not ready:
                continue
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:
                return
            self.chunks.append((time.perf_counter(), data))
            if b"\x1b[c" in data or b"\x1b[0c" in data:
                os.write(self._fd, _ATTRIBUTES_REPLY)

    def send(self, keys: str) -> float:
        """Type *keys*; gives the moment just before."""
        moment = time.perf_counter()
        os.write(self._fd, keys.encode())
        return moment

    def text(self, since: float = 0.0) -> str:
        """What was drawn since a moment, escapes removed (cursor moves become nothing)."""
        raw = b"".join(data for at, data in list(self.chunks) if at >= since)
        return _ESCAPES.sub(b"", raw).decode(errors="replace")

    def bytes_since(self, since: float) -> int:
        """Bytes drawn since a moment."""
        return sum(len(data) for at, data in list(self.chunks) if at >= since)

    def wait_for(self, pattern: str, *, since: float = 0.0, timeout: float = 30.0) -> float:
        """The moment by which *pattern* (a regular expression) stood in the output.

        Raises:
            TimeoutError: it did not appear; the message holds the end of the output.
        """
        wanted = re.compile(pattern)
        deadline = time.perf_counter() + timeout
        seen = -1
        while time.perf_counter() < deadline:
            chunks = list(self.chunks)
            if len(chunks) != seen:
                seen = len(chunks)
                if wanted.search(self.text(since)):
                    return self._first_match(wanted, since, chunks)
            time.sleep(0.001)
        raise TimeoutError(
            f"no {pattern!r} within {timeout:.0f} s; the end: {self.text()[-400:]!r}"
        )

    def _first_match(
        self, wanted: re.Pattern[str], since: float, chunks: list[tuple[float, bytes]]
    ) -> float:
        recent = [(at, data) for at, data in chunks if at >= since]
        low, high = 0, len(recent) - 1
        while low < high:
            middle = (low + high) // 2
            raw = b"".join(data for _, data in recent[: middle + 1])
            if wanted.search(_ESCAPES.sub(b"", raw).decode(errors="replace")):
                high = middle
            else:
                low = middle + 1
        return recent[low][0]

    def close(self) -> None:
        """End the program, politely first."""
        self._closing = True
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                os.kill(self._pid, number)
            deadline = time.monotonic() + 3
            while time.monotonic() < deadline:
                if os.waitpid(self._pid, os.WNOHANG)[0]:
                    os.close(self._fd)
                    return
                time.sleep(0.02)

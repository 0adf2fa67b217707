"""Reading ``control.jsonl`` by byte offset (DESIGN section 4).

A line is known by the offset at which it starts; the ``ack`` event repeats it (beside the id),
so that a restarted trainer knows which lines were answered, in whatever order.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from recaster_tui.protocol import Command, decode_command

MAX_LINE = 1 << 20


@dataclass(frozen=True)
class Request:
    """One line of the control file.

    Attributes:
        command: what is asked; None when the line is not a command.
        offset: where the line starts.
        stale: written before this process started and never answered.
        problem: why there is no command.
    """

    command: Command | None
    offset: int
    stale: bool = False
    problem: str = ""


def control_size(path: Path) -> int:
    """Bytes in the control file now; taken first thing, it tells stale lines from new ones."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class ControlReader:
    """Gives each complete line once, except those that *acked* names."""

    def __init__(self, path: Path, acked: set[int], stale_before: int = 0) -> None:
        self._path = path
        self._acked = acked
        self._stale_before = stale_before
        self._offset = 0
        self._fd = -1

    def poll(self) -> list[Request]:
        """New complete lines since the last call; a line without its newline waits."""
        if self._fd < 0:
            try:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return []
        if os.fstat(self._fd).st_size <= self._offset:
            return []
        raw = os.pread(self._fd, MAX_LINE, self._offset)
        complete = raw.rfind(b"\n") + 1
        if complete == 0:
            # A megabyte without a newline is no command: step over it.
            self._offset += len(raw) if len(raw) == MAX_LINE else 0
            return []
        requests = []
        for line in raw[:complete].splitlines(keepends=True):
            if self._offset not in self._acked and line.strip():
                requests.append(self._request(line, self._offset))
            self._offset += len(line)
        return requests

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _request(self, line: bytes, offset: int) -> Request:
        stale = offset < self._stale_before
        try:
            return Request(decode_command(line), offset, stale)
        except (ValueError, RecursionError) as error:
            return Request(None, offset, stale, f"not a command: {error}")

"""Writing ``journal.jsonl``: one ``write(2)`` a line, ``seq`` without gaps (DESIGN section 4)."""

import fcntl
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recaster_tui.checkpoints.lock import ModelLockedError
from recaster_tui.protocol import Event, EventType, decode_event, encode_event
from recaster_tui.training.failures import DISK_FULL_ERRNOS, DiskFullError

log = logging.getLogger(__name__)

BACKLOG_LIMIT = 128 << 20
"""Bytes of events kept in memory while the disk takes none: a day of training and more."""


class JournalWriter:
    """The only writer of a run's journal. Every method may be called from any thread.

    Opening repairs what a crash left: a last line without its newline is completed when it is
    a whole event and cut off otherwise; ``seq`` goes on from the last event.

    Attributes:
        resumed: there was an earlier start of this run.
        acked: byte offsets of the control lines that earlier starts acknowledged.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = lambda: time.time()) -> None:
        """Open or create the journal at *path*.

        Raises:
            ModelLockedError: a trainer is running in this run folder.
        """
        self._clock = clock
        self._mutex = threading.Lock()
        self._backlog: deque[bytes] = deque()
        self._waiting = 0
        self._refused: OSError | None = None
        self._last_emit = time.monotonic()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._fd)
            raise ModelLockedError(
                "a trainer is already running in this run folder", where=path.parent
            ) from error
        self.acked: set[int] = set()
        self.resumed = False
        self._seq = self._repair(path)

    @property
    def silent_seconds(self) -> float:
        """Seconds since the last event."""
        return time.monotonic() - self._last_emit

    def emit(self, kind: EventType, **data: Any) -> int:
        """Write one event and return its ``seq``.

        A disk that is full, broken or read-only does not lose events: they wait in memory and
        are written, in order, as soon as that works.

        Raises:
            DiskFullError: more than ``BACKLOG_LIMIT`` bytes are waiting.
        """
        with self._mutex:
            self._seq += 1
            self._last_emit = time.monotonic()
            line = encode_event(Event(self._seq, self._clock(), kind.value, data))
            self._backlog.append(line)
            self._waiting += len(line)
            self._drain()
            return self._seq

    @property
    def refused(self) -> OSError | None:
        """Why events wait in memory; None while all are written."""
        return self._refused

    def sync(self) -> None:
        """Force what was written to the disk, for the events that must survive a power cut."""
        try:
            with self._mutex:
                self._drain()
                fd = os.dup(self._fd)
            # Outside: a slow disk must not keep the loop from telling what it does.
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            log.warning("cannot sync the journal: %s", error)

    def close(self) -> None:
        """Sync and close. The lock goes with the descriptor."""
        self.sync()
        with self._mutex:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _drain(self) -> None:
        while self._backlog:
            line = self._backlog[0]
            try:
                written = os.write(self._fd, line)
            except OSError as error:
                if self._refused is None:
                    log.error("the journal cannot be written: %s", error)
                self._refused = error
                if self._waiting > BACKLOG_LIMIT:
                    full = error.errno in DISK_FULL_ERRNOS
                    raise DiskFullError(
                        f"{'the disk is full' if full else 'the disk takes nothing'} and too many "
                        f"events wait to be written ({error.strerror})",
                        hint="free some space and resume the run; the last save is whole",
                    ) from error
                return
            self._waiting -= written
            if written < len(line):  # the disk filled up inside this line: the rest must follow
                self._backlog[0] = line[written:]
            else:
                self._backlog.popleft()
        self._refused = None

    def _repair(self, path: Path) -> int:
        seq, end, last = 0, 0, b""
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    last = line
                    break
                end += len(line)
                # Cheap filters first: a journal of days has a million lines.
                if b'"type":"ack"' in line or b'"type":"hello"' in line:
                    self._remember(line)
                seq = _seq_of(line) or seq
        if last and _seq_of(last) == seq + 1:
            os.write(self._fd, b"\n")
            self._remember(last)
            return seq + 1
        if last:
            log.warning("dropped a torn line of %d bytes at the end of the journal", len(last))
            os.ftruncate(self._fd, end)
        return seq

    def _remember(self, line: bytes) -> None:
        try:
            event = decode_event(line)
        except ValueError:
            return
        if event.type == EventType.HELLO:
            self.resumed = True
        elif event.type == EventType.ACK and isinstance(event.data.get("offset"), int):
            self.acked.add(event.data["offset"])


def _seq_of(line: bytes) -> int | None:
    try:
        return decode_event(line).seq
    except ValueError:
        return None

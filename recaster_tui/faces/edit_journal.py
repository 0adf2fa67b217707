"""What was edited in a faceset, so that it can be undone after any crash: an append-only journal.

``<folder>_trash/journal.jsonl`` holds a line for every step, flushed to the disk before the step is
taken. An operation is a line with ``do`` (everything that undoing needs), lines with ``phase`` and
``way`` as it goes on, and one with ``end``. The last operation without an end was interrupted.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recaster_tui.errors import BadInputError, EnvironmentProblem
from recaster_tui.files import fsync_dir

log = logging.getLogger(__name__)

JOURNAL = "journal.jsonl"
OLD = "old"
_WAIT_SECONDS = 2.0


@dataclass
class Operation:
    """One edit as the journal tells it.

    Attributes:
        number: counts up from 1.
        kind: ``moves``, ``records`` or ``pack``.
        time: Unix seconds.
        words: what it does, e.g. ``moved 3 faces to the trash``.
        count: how many faces it is about.
        data: everything else of its first line.
        phase, way: how far it came: the phase that was begun last, and ``do`` or ``back``.
        ended: ``done``, ``undone``, or None while it runs (or after a crash).
        exact: whether undoing put everything back, so that it can be done again.
        dropped: undone, and then something else was done.
    """

    number: int
    kind: str
    time: float
    words: str
    count: int
    data: dict[str, Any] = field(default_factory=dict)
    phase: int = 0
    way: str = "do"
    ended: str | None = None
    exact: bool = True
    dropped: bool = False


class Journal:
    """The journal in a trash folder. It is made by the first edit."""

    def __init__(self, trash: Path) -> None:
        self.trash = trash
        self.path = trash / JOURNAL
        self.operations: list[Operation] = []
        self._by_number: dict[int, Operation] = {}
        self._offset = 0
        self._identity: tuple[int, int] | None = None
        self._torn = False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the faceset for one edit, with what others did meanwhile taken in.

        Raises:
            BadInputError: another process keeps it.
            EnvironmentProblem: the trash folder cannot be made or written.
        """
        try:
            self.trash.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.trash / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise self.problem(error) from error
        try:
            self._lock(fd)
            self.read()
            yield
        finally:
            os.close(fd)

    def read(self) -> None:
        """Take in lines that were written since the last call."""
        try:
            with self.path.open("rb") as file:
                stat = os.fstat(file.fileno())
                if (stat.st_dev, stat.st_ino) != self._identity or stat.st_size < self._offset:
                    self.operations, self._by_number, self._offset = [], {}, 0
                    self._identity = stat.st_dev, stat.st_ino
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            self.operations, self._by_number, self._offset = [], {}, 0
            self._identity = None
            return
        except OSError as error:
            raise self.problem(error) from error
        whole = data.rfind(b"\n") + 1
        self._torn = whole < len(data)
        self._offset += whole
        for line in data[:whole].splitlines():
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                log.warning("%s: a line is not understood: %s", self.path, error)

    def begin(self, kind: str, words: str, count: int, data: dict[str, Any]) -> Operation:
        """Write down an operation before anything of it is done."""
        number = self.next_number
        line = {"id": number, "t": round(time.time(), 3), "do": kind, "words": words}
        self.append({**line, "count": count, **data})
        return self._by_number[number]

    def mark(self, operation: Operation, phase: int, way: str, *, complete: bool) -> None:
        """Write down that *phase* is begun now.

        Args:
            operation: the one that goes on.
            phase: from 0.
            way: ``do`` or ``back``.
            complete: the operation had been done as a whole before.
        """
        again = way == "do" and (phase == 0 or bool(operation.data.get("again")))
        data = {"complete": complete, "again": again}
        self.append({"id": operation.number, "phase": phase, "way": way, "data": data})

    @property
    def next_number(self) -> int:
        """Of the next operation."""
        return max(self._by_number, default=0) + 1

    def append(self, line: dict[str, Any]) -> None:
        """Write a line to the disk, then take it in.

        Raises:
            EnvironmentProblem: the disk is full, or worse.
        """
        raw = json.dumps(line).encode() + b"\n"
        if self._torn:
            raw = b"\n" + raw
        try:
            new = not self.path.exists()
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try:
                if os.write(fd, raw) != len(raw):
                    raise OSError(errno.ENOSPC, "the line was written in part only")
                os.fsync(fd)
            finally:
                os.close(fd)
            if new:
                fsync_dir(self.trash)
        except OSError as error:
            self._torn = True
            raise self.problem(error) from error
        self.read()

    @contextlib.contextmanager
    def understood(self) -> Iterator[None]:
        """Around what trusts the contents of a line: it may be a stranger's.

        Raises:
            BadInputError: a line says something that makes no sense.
        """
        try:
            yield
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            log.warning("%s makes no sense", self.path, exc_info=True)
            raise self.damaged() from error

    def damaged(self) -> BadInputError:
        """A line cannot be meant."""
        return BadInputError(
            "the journal of edits is damaged",
            where=self.path,
            hint="move it elsewhere; then older edits cannot be undone any more",
        )

    def problem(self, error: OSError) -> EnvironmentProblem:
        """*error* in words."""
        return EnvironmentProblem(
            f"the faces cannot be edited: {error.strerror or error}",
            where=self.trash,
            hint="edits are written down in this folder before they are made; make room, or make "
            "it writable",
        )

    def _take(self, line: dict[str, Any]) -> None:
        number = int(line.pop("id"))
        if "do" in line:
            if number in self._by_number:
                raise ValueError("its number comes twice")
            operation = Operation(
                number=number,
                kind=str(line.pop("do")),
                time=float(line.pop("t")),
                words=str(line.pop("words")),
                count=int(line.pop("count")),
                data=line,
            )
            for other in self.operations:
                other.dropped = other.dropped or other.ended == "undone"
            self.operations.append(operation)
            self._by_number[number] = operation
            return
        operation = self._by_number[number]
        if "end" in line:
            operation.ended = str(line["end"])
            operation.exact = bool(line.get("exact", True))
            operation.words = str(line.get("words", operation.words))
            operation.count = int(line.get("count", operation.count))
            operation.dropped = operation.dropped or bool(line.get("dropped", False))
        else:
            operation.ended = None
            operation.phase, operation.way = int(line["phase"]), str(line["way"])
            operation.data.update(line.get("data", {}))

    def _lock(self, fd: int) -> None:
        until = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise BadInputError(
                        "these faces are being edited by another process",
                        where=self.trash,
                        hint="wait until it is done, or stop it",
                    ) from None
                time.sleep(0.05)
            except OSError:
                log.info("no locks in %s", self.trash)  # some network file systems
                return
            else:
                return

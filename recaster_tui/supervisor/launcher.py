"""The five questions that tell a local run from a remote one; nothing else does (DESIGN 1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class ProcessId:
    """A process that cannot be mistaken for another: pids are used again, start times not.

    ``started`` is unix seconds as psutil reports it; ``host`` the machine's name.
    """

    pid: int
    started: float
    host: str


class Launcher(Protocol):
    """Where trainers run. Paths are those of that machine."""

    async def start(self, command: Sequence[str], *, log: Path, cwd: Path) -> ProcessId:
        """Start *command* so that it survives us; its output is appended to *log*.

        Raises:
            EnvironmentProblem: it cannot be started.
        """
        ...

    async def read(self, path: Path, offset: int, limit: int) -> bytes:
        """At most *limit* bytes from byte *offset*; a negative one counts from the end.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: the file, or the machine, cannot be read now.
        """
        ...

    async def append(self, path: Path, line: bytes) -> None:
        """Append one whole line by a single write; the file is made where it is missing."""
        ...

    async def copy(self, source: Path, target: Path) -> None:
        """Bring the file *source* of that machine to *target* on this one."""
        ...

    async def alive(self, process: ProcessId, marker: str = "") -> bool | None:
        """Whether *process* exists; None when nobody can tell.

        *marker* is a part of its command line (the run folder), a second proof of identity for
        when a clock that was set makes start times disagree.
        """
        ...

    async def signal(self, process: ProcessId, number: int) -> bool:
        """Send signal *number* to *process*; False where it exists no more.

        Only ever to the very process: its pid *and* its start time must fit, since pids are used
        again. Nothing else (a name, a part of the command line) counts as proof here.

        Raises:
            EnvironmentProblem: it runs elsewhere, its start time is not known, or we may not.
        """
        ...

    async def room(self, path: Path) -> int | None:
        """Bytes free on the disk of *path*; None when nobody can tell."""
        ...

    def exit_note(self, process: ProcessId) -> str:
        """How it ended ("killed by SIGKILL"), where that is known; else empty."""
        ...

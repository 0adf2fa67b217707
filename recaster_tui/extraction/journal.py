"""What has been extracted into a folder: a line per frame, so that an extraction can go on.

``<aligned>/.extraction.jsonl`` lies with the faces it speaks of (other tools look only at
pictures): a line ``{"run": {…}}`` for each run with its settings, then a line per frame.
A frame in it is done, even where its faces were moved to the trash since. Torn lines are no lines.
"""

import fcntl
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from recaster_tui.errors import BadInputError

log = logging.getLogger(__name__)

NAME = ".extraction.jsonl"


@dataclass(frozen=True)
class FrameRecord:
    """What became of a frame.

    Attributes:
        doubts: (number of the face, why).
        problem: why it could not be read or worked on; such a frame is tried again.
    """

    stem: str
    filename: str
    faces: int
    doubts: tuple[tuple[int, str], ...] = ()
    problem: str | None = None
    run: int = 0


class Journal:
    """The journal of a folder, locked: one extraction at a time writes into it.

    Attributes:
        runs: settings of each run, oldest first.
        frames: the newest record of each frame, by stem.

    Raises:
        BadInputError: another extraction is writing into this folder.
        OSError: the disk.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.runs: list[dict[str, Any]] = []
        self.frames: dict[str, FrameRecord] = {}
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._fd)
            raise BadInputError(
                "another extraction is writing into this folder", where=folder
            ) from error
        except OSError:
            log.info("no locks in %s", folder)  # some network file systems
        data = self.path.read_bytes()
        for line in data.splitlines():
            self._take(line)
        if data and not data.endswith(b"\n"):
            os.write(self._fd, b"\n")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    @property
    def faces(self) -> int:
        """Of all frames."""
        return sum(record.faces for record in self.frames.values())

    def begin(self, run: dict[str, Any]) -> None:
        """A new run; its frames belong to it."""
        self.runs.append(run)
        self._write({"run": run})

    def add(self, record: FrameRecord) -> None:
        """A frame of the last run."""
        run = len(self.runs) - 1
        self.frames[record.stem] = FrameRecord(
            record.stem, record.filename, record.faces, record.doubts, record.problem, run
        )
        line: dict[str, Any] = {"f": record.stem, "name": record.filename, "n": record.faces}
        if record.doubts:
            line["doubts"] = [list(doubt) for doubt in record.doubts]
        if record.problem is not None:
            line["problem"] = record.problem
        self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._fd, json.dumps(line).encode() + b"\n")

    def _take(self, raw: bytes) -> None:
        try:
            line = json.loads(raw)
            if "run" in line:
                if isinstance(line["run"], dict):
                    self.runs.append(line["run"])
                return
            problem = line.get("problem")
            record = FrameRecord(
                stem=str(line["f"]),
                filename=str(line["name"]),
                faces=int(line["n"]),
                doubts=tuple((int(k), str(why)) for k, why in line.get("doubts", ())),
                problem=None if problem is None else str(problem),
                run=max(0, len(self.runs) - 1),
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return
        self.frames[record.stem] = record

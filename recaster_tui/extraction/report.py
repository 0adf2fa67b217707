"""What an extraction came to: ``data_<side>/extraction.toml``, and the answer of the command."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recaster_tui.extraction.journal import FrameRecord
from recaster_tui.files import read_toml, write_toml

NAME = "extraction.toml"


@dataclass
class ExtractReport:
    """Frames and faces of a side, those of earlier runs too.

    Attributes:
        folder: where the faces are.
        input: what was read, relative to the workspace where it lies inside.
        kind: ``video`` or ``pictures``.
        settings: of the last run.
        none, several: file names of frames with no face, and with more than one.
        doubtful: (frame, number of its face, why).
        unreadable: (frame, why): damaged, or skipped because the detector failed on it.
        problems: what was wrong with the video, in words.
        new_frames, new_faces: of the last run.
        seconds: it took.
        stages: seconds of work in each stage, over all processes.
        complete: every frame was looked at; False where it was stopped or broke off.
    """

    folder: Path
    input: str
    kind: str
    settings: dict[str, Any]
    frames: int = 0
    faces: int = 0
    none: list[str] = field(default_factory=list)
    several: list[str] = field(default_factory=list)
    doubtful: list[tuple[str, int, str]] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    new_frames: int = 0
    new_faces: int = 0
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    complete: bool = True

    def fill(self, records: Iterable[FrameRecord]) -> None:
        """The figures and lists, anew from the journal."""
        self.frames = self.faces = 0
        for names in (self.none, self.several, self.doubtful, self.unreadable):
            names.clear()
        for record in sorted(records, key=lambda record: record.stem):
            if record.problem is not None:
                self.unreadable.append((record.filename, record.problem))
                continue
            self.frames += 1
            self.faces += record.faces
            if record.faces == 0:
                self.none.append(record.filename)
            elif record.faces > 1:
                self.several.append(record.filename)
            self.doubtful += [(record.filename, k, why) for k, why in record.doubts]

    def table(self) -> dict[str, Any]:
        """As TOML and JSON have it."""
        return {
            "extraction": {
                "input": self.input,
                "kind": self.kind,
                **self.settings,
                "complete": self.complete,
                "seconds": round(self.seconds, 1),
                "new_frames": self.new_frames,
                "new_faces": self.new_faces,
                "problems": self.problems,
            },
            "counts": {
                "frames": self.frames,
                "faces": self.faces,
                "none": len(self.none),
                "several": len(self.several),
                "doubtful": len(self.doubtful),
                "unreadable": len(self.unreadable),
            },
            "stages_seconds": {name: round(value, 3) for name, value in self.stages.items()},
            "frames": {"none": self.none, "several": self.several},
            "doubtful": [
                {"frame": name, "face": face, "why": why} for name, face, why in self.doubtful
            ],
            "unreadable": [{"frame": name, "why": why} for name, why in self.unreadable],
        }

    def write(self, folder: Path) -> None:
        """Into ``folder/extraction.toml``. Raises OSError."""
        write_toml(folder / NAME, self.table())


def read_earlier(folder: Path) -> dict[str, Any] | None:
    """Input, kind and settings of the extraction before, from ``extraction.toml`` in *folder*.

    None where there is none that can be read, or it read pictures and could not use one.
    """
    try:
        table = read_toml(folder / NAME)
        found = table["extraction"]
        used = found["kind"] == "video" or table["counts"]["frames"] > 0
        return found if used and isinstance(found["input"], str) else None
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError):
        return None

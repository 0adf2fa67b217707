"""Is everything still there? An independent reader of models, journals, losses and records.

Nothing here uses our own loaders, but for :func:`loads`, which asks them as well: hashes come from
hashlib, tensors from the safetensors library, the journal is read line by line as JSON.
"""

import fcntl
import hashlib
import json
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_ROW = np.dtype([("iteration", "<u8"), ("src", "<f4"), ("dst", "<f4"), ("ms", "<f4")])
_FILES = ("weights.safetensors", "optimizer.safetensors", "state.toml", "losses.bin")


@dataclass
class Story:
    """What a journal tells.

    Attributes:
        iteration: the last one told.
        saved: of the last save (or what a rollback went back to); 0 = none.
        last_saved: of the last save, whatever was rolled back.
        first: the iteration at which the run began.
        saves: of every save that is still valid, in order.
        kept: folders of backups with a note and of snapshots, relative to the workspace.
        losses: source loss by iteration, what is void left out.
        starts: how often a trainer said hello.
        training: unix time at which the last trainer began to train; None = it did not.
        over: whether the last trainer said that it is done.
        bytes: of whole lines.
        torn: whether the last line is not whole.
        problems: lines that are none, numbers left out.
    """

    iteration: int = 0
    saved: int = 0
    last_saved: int = 0
    first: int = 0
    saves: list[int] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    losses: dict[int, float | None] = field(default_factory=dict)
    starts: int = 0
    training: float | None = None
    over: bool = False
    bytes: int = 0
    torn: bool = False
    problems: list[str] = field(default_factory=list)

    def hear(self, event: dict[str, Any]) -> None:
        """Take in one event."""
        match event["type"]:
            case "hello":
                self.starts += 1
                if self.starts == 1:
                    self.first = int(event["iteration"])
                self.training, self.over = None, False
                self._back_to(int(event["iteration"]))
            case "iterations":
                for number, row in enumerate(event["rows"], int(event["first"])):
                    self.losses[number] = row[0]
                    self.iteration = number
            case "saved":
                self.saved = self.last_saved = int(event["iteration"])
                self.saves.append(self.saved)
            case "backup" if event.get("note"):
                self.kept.append(str(event["folder"]))
            case "snapshot":
                self.kept.append(str(event["folder"]))
            case "rolled-back":
                self._back_to(int(event["to_iteration"]))
                self.saved = min(self.saved, self.iteration)
                self.saves = [s for s in self.saves if s <= self.iteration]
            case "phase" if event["phase"] == "training" and self.training is None:
                self.training = float(event["t"])
            case "done":
                self.over = True
                self.iteration = int(event["iteration"])
                self.last_saved = int(event["saved"] or self.last_saved)

    def _back_to(self, iteration: int) -> None:
        self.iteration = iteration
        self.losses = {k: v for k, v in self.losses.items() if k <= iteration}


def read_story(path: Path) -> Story:
    """Read a whole journal."""
    story, seq = Story(), 0
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return story
    for line in raw.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            story.torn = True
            break
        story.bytes += len(line)
        try:
            event = json.loads(line)
            number = int(event["seq"])
            story.hear(event)
        except (ValueError, KeyError, TypeError) as error:
            story.problems.append(f"journal: a line that is none ({error!r}): {line[:80]!r}")
            continue
        if number != seq + 1:
            story.problems.append(f"journal: line {number} follows {seq}")
        seq = number
    return story


@dataclass
class ModelFindings:
    """What is found in a model's folder.

    Attributes:
        iteration: of the generation that ``CURRENT`` names; where there was no time to write that
            after the very first save, of this one; 0 = there is none.
        whole: iterations of the generations that are whole.
        problems: what is wrong.
    """

    iteration: int = 0
    whole: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def inspect_model(folder: Path, story: Story) -> ModelFindings:
    """Look at a model of which *story* tells."""
    found = ModelFindings()
    current = _current(folder)
    for path in _subfolders(folder / "generations"):
        problem = inspect_generation(path)
        if not problem:
            found.whole.append(int(path.name[:9]))
        else:
            found.problems.append(f"generation {path.name}: {problem}")
        if path.name == current:
            found.iteration = 0 if problem else int(path.name[:9])
    if current and not (folder / "generations" / current).is_dir():
        found.problems.append(f"CURRENT names {current}, which is not there")
    if not current and not story.saves:
        found.iteration = max(found.whole, default=0)
    if story.saves and not found.iteration:
        found.problems.append(f"no current generation, though {story.saved} was saved")
    if len(set(story.saves)) >= 2 and len(found.whole) < 2:
        found.problems.append(f"only {found.whole} of two generations are left")
    if current and found.iteration:
        found.problems += _losses_problems(folder / "generations" / current, story, found.iteration)
    for name in story.kept:
        path = folder.parent.parent / name
        problem = inspect_generation(path) if path.is_dir() else "is gone"
        if problem:
            found.problems.append(f"{name}: {problem}")
    for kind in ("backups", "snapshots"):
        for path in _subfolders(folder / kind):
            if problem := inspect_generation(path):
                found.problems.append(f"{kind}/{path.name}: {problem}")
    if (folder / "damaged").exists():
        found.problems.append("something was set aside as damaged")
    if not lock_is_free(folder / "lock"):
        found.problems.append("the model's lock is held by nobody who lives")
    return found


def inspect_generation(path: Path) -> str:
    """What is wrong with a generation, a backup or a snapshot; empty = nothing."""
    try:
        manifest = json.loads((path / "manifest.json").read_bytes())
        for name in _FILES:
            raw = (path / name).read_bytes()
            told = manifest["files"][name]
            if len(raw) != told["size"] or hashlib.sha256(raw).hexdigest() != told["sha256"]:
                return f"{name} is not what the manifest says"
        state = tomllib.loads((path / "state.toml").read_text())
        rows = np.frombuffer((path / "losses.bin").read_bytes(), _ROW)
        problem = _tensor_problem(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return repr(error)
    iteration = manifest["iteration"]
    if problem or state["iteration"] != iteration or str(iteration) not in path.name:
        return problem or "iterations differ between manifest, state and name"
    if not np.array_equal(rows["iteration"], np.arange(1, iteration + 1)):
        return f"losses.bin has {len(rows)} rows for {iteration} iterations"
    return ""


def _tensor_problem(path: Path) -> str:
    from safetensors.numpy import load_file

    for name in _FILES[:2]:
        tensors = load_file(path / name)
        if not tensors:
            return f"{name} is empty"
        for key, tensor in tensors.items():
            if np.issubdtype(tensor.dtype, np.floating) and not np.isfinite(tensor).all():
                return f"{key} is not finite"
    return ""


def _losses_problems(generation: Path, story: Story, iteration: int) -> Iterator[str]:
    """Whether the losses beside the weights are those that the journal told."""
    raw = (generation / "losses.bin").read_bytes()
    rows = np.frombuffer(raw, _ROW)
    for row in rows[-2000:]:
        told = story.losses.get(int(row["iteration"]))
        if told is not None and abs(told - float(row["src"])) > 2e-6 * max(1.0, abs(told)):
            yield f"losses of {iteration}: {row['iteration']} is {row['src']}, told was {told}"
            return


def inspect_losses(path: Path, story: Story) -> list[str]:
    """Whether a run's ``losses.bin`` and its journal tell the same."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return ["losses.bin is missing"] if story.losses else []
    rows = np.frombuffer(raw[: len(raw) // _ROW.itemsize * _ROW.itemsize], _ROW)
    if len(blank := np.flatnonzero(rows["iteration"] == 0)):
        rows = rows[: blank[0]]  # zeros, from a power cut: no row is of iteration 0
    if not np.array_equal(rows["iteration"], np.arange(1, len(rows) + 1)):
        return ["losses.bin has gaps"]
    values = rows["src"]
    for number, told in story.losses.items():
        if told is None or number > len(values):
            continue
        if abs(float(values[number - 1]) - told) > 2e-6 * max(1.0, abs(told)):
            return [f"losses.bin says {values[number - 1]} at {number}, the journal {told}"]
    return []


def loads(folder: Path) -> tuple[int, str]:
    """What our own loader makes of a model: its iteration (0 = none) and what it says."""
    from recaster_tui.errors import DamagedError
    from recaster_tui.training.generations import load_model

    try:
        loaded = load_model(folder)
    except DamagedError as error:
        return 0, error.message
    if loaded is None:
        return 0, ""
    damage = "; ".join(f"{d.path.name}: {d.reason}" for d in loaded.damaged)
    return loaded.generation.iteration, damage


@dataclass(frozen=True, order=True)
class Leftover:
    """A temporary file or folder. Equal only where it is the very same one, not one like it."""

    name: str
    inode: int
    changed: float


def leftovers(folder: Path) -> list[Leftover]:
    """Temporary files and folders below *folder*, named relative to it."""
    found = []
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if name.startswith(".") and (name.startswith(".tmp-") or name.endswith(".tmp")):
                path = Path(place) / name
                stat = path.stat()
                found.append(Leftover(str(path.relative_to(folder)), stat.st_ino, stat.st_mtime))
        folders[:] = [f for f in folders if not f.startswith(".tmp-")]
    return sorted(found)


def lock_is_free(path: Path) -> bool:
    """Whether nobody holds the model."""
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def _current(folder: Path) -> str:
    try:
        return (folder / "CURRENT").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError:
        return []

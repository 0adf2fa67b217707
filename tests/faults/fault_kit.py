"""What the tests of faults share: small models on disk, real trainer processes, a small disk."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

_TRAINING = Path(__file__).parents[1] / "training"
if str(_TRAINING) not in sys.path:
    sys.path.append(str(_TRAINING))

from trainer_fakes import make_run, of, tell  # noqa: E402

from recaster_tui.protocol import Event, RunFolder, decode_event  # noqa: E402
from recaster_tui.protocol.losses import loss_rows  # noqa: E402
from recaster_tui.training.generations import Snapshot  # noqa: E402

TRAINER = (sys.executable, str(_TRAINING / "fake_trainer.py"))
"""The real trainer with a model of 17 numbers in it."""

__all__ = ["TRAINER", "make_run", "of", "tell"]


def small_model(iteration: int) -> Snapshot:
    """A model of a few numbers, all of which tell the iteration."""
    weights = {"line/weight": torch.full((3, 5), float(iteration)), "line/bias": torch.rand(7)}
    optimizer = {"0/step": torch.tensor(iteration)}
    state = {"run_id": "run-1", "options": {"x": 1.5}, "data": "{}", "trained_seconds": 3.0}
    losses = loss_rows(1, [[0.5, 0.25]] * iteration, 10.0)
    return Snapshot(iteration, weights, optimizer, state, losses)


def fingerprint(folder: Path) -> dict[str, str]:
    """Every path below *folder* with size, time of change, and hash of its content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        found[str(path.relative_to(folder))] = f"{info.st_size} {info.st_mtime_ns} {content}"
    return found


def journal(folder: RunFolder) -> list[Event]:
    """The whole lines of the journal so far."""
    if not folder.journal.exists():
        return []
    raw = folder.journal.read_bytes()
    return [decode_event(line) for line in raw[: raw.rfind(b"\n") + 1].splitlines()]


def numbered_whole(found: list[Event]) -> bool:
    """Whether no line is missing."""
    return [event.seq for event in found] == list(range(1, len(found) + 1))


def wait_until(met: Callable[[], Any], what: str = "", seconds: float = 40.0) -> Any:
    """Wait for something of another process; its (true) value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := met():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not seen within {seconds:.0f} s: {what}")


def wait_for(folder: RunFolder, wanted: Callable[[list[Event]], Any], seconds: float = 40.0) -> Any:
    """Wait for something in the journal."""
    try:
        return wait_until(lambda: wanted(journal(folder)), seconds=seconds)
    except AssertionError as error:
        log = folder.log.read_text()[-2000:] if folder.log.exists() else ""
        tail = folder.journal.read_text()[-2000:] if folder.journal.exists() else ""
        raise AssertionError(f"{error}\n{tail}\n{log}") from None


def iterations(found: list[Event]) -> int:
    """The last iteration told."""
    told = of(found, "iterations")
    return int(told[-1]["first"]) + len(told[-1]["rows"]) - 1 if told else 0


def warnings(found: list[Event], code: str) -> list[dict[str, Any]]:
    """The warnings of one code."""
    return [data for data in of(found, "warning") if data["code"] == code]


@contextmanager
def trainer(
    folder: RunFolder,
    *,
    before: Callable[[], None] | None = None,
    disk: "SmallDisk | None" = None,
    **environment: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """A real trainer process on *folder*, in its own session; killed at the end of the block."""
    command = [*TRAINER, str(folder.root)]
    if disk is not None:
        command = [*disk.enter, *TRAINER, str(disk.inside / folder.root.relative_to(disk.path))]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=folder.log.open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=before,
        env={**os.environ, "FAKE_STEP": "0.005", "OMP_NUM_THREADS": "1", **environment},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def stop(folder: RunFolder, process: subprocess.Popen[bytes], name: str = "end") -> int:
    """Ask for a stop with a save; the exit code."""
    tell(folder, "stop", name)
    return process.wait(timeout=60)


@dataclass(frozen=True)
class SmallDisk:
    """A tmpfs in a namespace of its own, so that it needs no right and goes away by itself.

    Attributes:
        path: where this process sees it; not to be resolved.
        inside: where a process that was started by *enter* sees it.
        enter: goes before a command.
    """

    path: Path
    inside: Path
    enter: tuple[str, ...]


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[SmallDisk]:
    """A disk of the size that the mount *options* tell, on *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    script = f"mount -t tmpfs -o {options} none {folder} && echo mounted && exec sleep 600"
    try:
        holder = subprocess.Popen(
            ["unshare", "-Urm", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare(1) here")
    try:
        assert holder.stdout is not None
        if holder.stdout.readline().strip() != b"mounted":
            pytest.skip("mounting in a namespace of our own is not allowed here")
        enter = ("nsenter", "-t", str(holder.pid), "-U", "-m", "--preserve-credentials")
        yield SmallDisk(Path(f"/proc/{holder.pid}/root{folder}"), folder, enter)
    finally:
        holder.kill()
        holder.communicate()

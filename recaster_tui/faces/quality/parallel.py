"""Measuring many faces: in this process, or spread over helper processes."""

import json
import queue
import subprocess
import threading
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

from recaster_tui.errors import EnvironmentProblem, RecasterError
from recaster_tui.faces.quality.measure import Measurements, stack
from recaster_tui.faces.quality.wire import from_bytes
from recaster_tui.faces.quality.worker import Damage, Measurer
from recaster_tui.helpers import end_helper, start_helper

_CHUNK = 16
_WORTH_HELPERS = 96  # starting them takes as long as measuring some fifty faces

Batch = tuple[list[str], Measurements, Damage]


def measure_all(folder: Path, names: list[str], workers: int) -> Generator[Batch]:
    """Measure the faces *names* of *folder* in batches, in any order. Closing it ends the helpers.

    Raises:
        EnvironmentProblem: a helper process cannot be started or died.
    """
    chunks = [names[at : at + _CHUNK] for at in range(0, len(names), _CHUNK)]
    if workers <= 1 or len(names) < _WORTH_HELPERS:
        measurer = Measurer(folder)
        for chunk in chunks:
            good, found, damage = measurer(chunk)
            yield good, stack(found), damage
        return
    waiting: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
    for chunk in chunks:
        waiting.put(chunk)
    done: queue.SimpleQueue[Batch | RecasterError] = queue.SimpleQueue()
    with ExitStack() as stack_:
        for number in range(min(workers, len(chunks))):
            process = start_helper("recaster_tui.faces.quality.worker", folder)
            stack_.callback(end_helper, process)
            threading.Thread(
                target=_drive, args=(process, waiting, done), name=f"check {number}", daemon=True
            ).start()
        for _ in chunks:
            batch = done.get()
            if isinstance(batch, RecasterError):
                raise batch
            yield batch


def _drive(
    process: subprocess.Popen[bytes],
    waiting: "queue.SimpleQueue[list[str]]",
    done: "queue.SimpleQueue[Batch | RecasterError]",
) -> None:
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None and stdout is not None
    while True:
        try:
            chunk = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            stdin.write(json.dumps(chunk).encode("ascii") + b"\n")
            stdin.flush()
            length = int(stdout.readline() or b"-1")
            data = stdout.read(max(length, 0))
            if length < 0 or len(data) < length:
                raise ValueError("the pipe ended")
            found, more = from_bytes(data)
            damage = {name: (str(c), str(m)) for name, (c, m) in more["damage"].items()}
            done.put((list(more["names"]), found, damage))
        except (OSError, ValueError):  # the pipe broke, or end_helper closed it
            done.put(
                EnvironmentProblem(
                    "a helper process of the check ended early",
                    hint="is memory short? Run it again: it goes on where it stopped",
                )
            )
            return

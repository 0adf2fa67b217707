"""A machine for the keeper that lives in this test: trainers are entries of a table."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from recaster_tui.protocol import Event, RunFolder, decode_event, encode_event, read_run_spec
from recaster_tui.supervisor import LocalLauncher, ProcessId, Supervisor, queue_keeper
from recaster_tui.supervisor.queue import Queue
from recaster_tui.supervisor.queue_keeper import Keeper


class KilledError(BaseException):
    """kill -9 of the keeper: nothing of it may go on."""


class Machine(LocalLauncher):
    """Starts trainers that do as they are told; may kill whoever asks it, and be restarted."""

    def __init__(self) -> None:
        super().__init__()
        self.boot = "boot 1"
        self.running: dict[ProcessId, RunFolder] = {}
        self.launches: Counter[str] = Counter()
        self.order: list[str] = []
        self.countdown = -1
        self.points = 0
        self._pid = 10_000_000  # above what a kernel gives

    # -- as the keeper sees it

    async def start(self, command: Sequence[str], *, log: Path, cwd: Path) -> ProcessId:
        self.point()
        folder = RunFolder(Path(command[-1]))
        assert folder not in self.running.values(), "two trainers on one run"
        self._pid += 1
        process = ProcessId(self._pid, time.time(), socket.gethostname())
        self.running[process] = folder
        self.launches[folder.run_id] += 1
        if folder.run_id not in self.order:
            self.order.append(folder.run_id)
        self.point()
        return process

    async def alive(self, process: ProcessId, marker: str = "") -> bool | None:
        return any(p.pid == process.pid for p in self.running)

    def worked_on(self, folder: RunFolder) -> bool:
        return folder in self.running.values()

    # -- as fate has it

    def point(self) -> None:
        """Here the keeper may die."""
        self.points += 1
        if self.countdown == 0:
            self.countdown = -1
            raise KilledError
        self.countdown -= self.countdown > 0

    def reboot(self) -> None:
        self.boot += "+"
        self.running.clear()

    def say(self, folder: RunFolder, kind: str, **data: Any) -> None:
        lines = folder.journal.read_bytes().splitlines() if folder.journal.exists() else []
        seq = decode_event(lines[-1]).seq + 1 if lines else 1
        with folder.journal.open("ab") as file:
            file.write(encode_event(Event(seq, time.time(), kind, data)))

    def train(self, outcome: str = "finished", *, linger: bool = False) -> None:
        """Every trainer says its first word, or, if it has, its last; it may *linger* after."""
        for process, folder in list(self.running.items()):
            if not folder.journal.exists() or b'"done"' in folder.journal.read_bytes()[-400:]:
                self.say(
                    folder, "hello", pid=process.pid, started=process.started, iteration=0,
                    host=process.host, device={"kind": "cpu", "name": "fake"},
                )  # fmt: skip
            else:
                target = read_run_spec(folder.spec).target_iterations
                done = {"iteration": target, "saved": target, "message": ""}
                self.say(folder, "done", outcome=outcome, **done)
                if not linger:
                    del self.running[process]


@contextmanager
def deadly(machine: Machine, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each new name on the disk is a point at which the keeper may die, before and after."""
    inside = asyncio.current_task()

    def around(name: str) -> None:
        real = getattr(Path, name)

        def call(self: Path, *arguments: Any, **more: Any) -> Any:
            mine = asyncio.current_task() is inside
            if mine:
                machine.point()
            result = real(self, *arguments, **more)
            if mine:
                machine.point()
            return result

        patch.setattr(Path, name, call)

    with patch.context() as patch:
        for name in ("replace", "mkdir"):
            around(name)
        yield


async def keeper_life(
    machine: Machine,
    data: Path,
    patch: pytest.MonkeyPatch,
    *,
    steps: int,
    countdown: int = -1,
    train: bool = True,
) -> bool:
    """One keeper: *steps* looks, or death at its *countdown*-th point; whether it survived."""
    patch.setattr(queue_keeper, "boot_id", lambda: machine.boot)
    patch.setattr(queue_keeper, "_worked_on", machine.worked_on)
    queue = Queue(data)
    lock = queue.hold()
    assert lock is not None
    supervisor = Supervisor(data, launcher=machine, command=("trainer",))
    keeper = Keeper(queue, supervisor, machine)
    machine.countdown = countdown
    try:
        with deadly(machine, patch):
            for _ in range(steps):
                await keeper.step()
                if train:
                    machine.train()
    except KilledError:
        return False
    finally:
        machine.countdown = -1
        tasks = list(supervisor._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        lock.release()
    return True

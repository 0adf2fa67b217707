"""The keeper: a process that works the queue off, whether or not an app is open.

What was decided is on disk before it is done, so a keeper that dies is replaced by another at any
point:

* *waiting → starting*: the entry gets the id of its run. Dying before that, nothing has happened.
* the trainer is launched on the run folder of that id. A keeper that finds *starting* looks whether
  one was: its ``process.toml`` or journal is not what it was, or a process works on the folder.
  If not, it launches, under the same id.
* *starting → running → done, stopped, failed*: read off the run folder, at any later time.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from recaster_tui.checkpoints.lock import lock_holder
from recaster_tui.errors import RecasterError
from recaster_tui.protocol import RunFolder, new_run_id
from recaster_tui.supervisor.launcher import Launcher
from recaster_tui.supervisor.local import LocalLauncher
from recaster_tui.supervisor.queue import KeeperLock, Queue
from recaster_tui.supervisor.queue_entry import (
    NEVER_LAUNCHED,
    QueueEntry,
    QueueState,
    boot_id,
    launch_mark,
)
from recaster_tui.supervisor.queue_neighbours import Neighbours
from recaster_tui.supervisor.request import ModelBusyError
from recaster_tui.supervisor.run import Run
from recaster_tui.supervisor.state import RunState
from recaster_tui.supervisor.supervisor import Supervisor
from recaster_tui.workspace import open_workspace

log = logging.getLogger(__name__)

STEP_SECONDS = 0.5
_AFTER_TROUBLE_SECONDS = 5.0
_LEAVING_SECONDS = 60.0
MOST_RESTARTS = 3
"""So often a run goes on after the machine went down while it ran: it may be the reason."""

_OUTCOMES = {
    RunState.FINISHED: QueueState.DONE,
    RunState.STOPPED: QueueState.STOPPED,
    RunState.FAILED: QueueState.FAILED,
}


class Keeper:
    """Works off one queue. :meth:`step` may be interrupted anywhere and done again by another."""

    def __init__(
        self, queue: Queue, supervisor: Supervisor, launcher: Launcher | None = None
    ) -> None:
        self.queue = queue
        self._supervisor = supervisor
        self._launcher = launcher or LocalLauncher()
        self._neighbours = Neighbours(queue.data_dir, self._launcher)
        self._leaving: dict[str, float] = {}

    async def run(self, lock: KeeperLock) -> None:
        """Until nothing runs and nothing waits."""
        while True:
            try:
                await self.step()
                if self.queue.release_when_idle(lock):
                    return
            except Exception:
                log.exception("one look at the queue")  # a full disk, say: a later one may do
                await asyncio.sleep(_AFTER_TROUBLE_SECONDS)
            await asyncio.sleep(STEP_SECONDS)

    async def step(self) -> None:
        """Look once at everything."""
        for entry in self.queue.entries():
            if entry.state is QueueState.STARTING:
                await self._guarded(self._take_over, entry)
        for entry in self.queue.entries():
            if entry.state is QueueState.RUNNING:
                await self._guarded(self._look_at, entry)
        await self._start_next()

    async def _guarded(
        self, look: Callable[[QueueEntry], Awaitable[None]], entry: QueueEntry
    ) -> None:
        """Whatever is wrong with one entry, the others shall have their turn."""
        try:
            await look(entry)
        except Exception as error:
            log.exception("looking at %s", entry.id)
            self.queue.update(entry.id, why=f"unexpected {type(error).__name__}: {error}")

    # -- starting ---------------------------------------------------------------------------

    async def _start_next(self) -> None:
        entries = self.queue.entries()
        settings = self.queue.settings()
        waiting = [e for e in entries if e.state is QueueState.WAITING]
        waiting = [e for e in waiting if e.now or not settings.paused]
        if not waiting:
            return
        own = {e.run_id for e in entries if e.state.active}
        others = [n for n in await self._neighbours.living() if n.run_id not in own]
        names = {e.slot: e.model_name for e in entries if e.state.active}
        names |= {n.device: n.name for n in others}
        taken = Counter(e.slot for e in entries if e.state.active)
        taken.update(n.device for n in others)
        models = {e.model_folder: e.run_id for e in entries if e.state.active}
        models |= {n.model_folder: n.run_id for n in others}
        for entry in sorted(waiting, key=lambda e: (not e.now, e.rank)):
            if entry.run_id and models.get(entry.model_folder) == entry.run_id:
                # Somebody was quicker and resumed it by hand.
                self.queue.update(entry.id, state=QueueState.RUNNING, why="", boot=boot_id())
                continue
            slots = settings.slots_of(entry.slot)
            if not entry.now and taken[entry.slot] >= slots:
                why = f"{entry.slot}: {taken[entry.slot]} of {slots} slots taken"
                if slots == 1:
                    why = f"{entry.slot} is taken by {names.get(entry.slot, 'another run')}"
                self.queue.update(entry.id, why=why)
                continue
            holder = models.get(entry.model_folder) or lock_holder(entry.model_folder)
            if holder is not None:
                self.queue.update(entry.id, why=f"its model is being trained by run {holder}")
                continue
            chosen = self.queue.claim(entry.id, new_run_id(entry.model_class), boot_id())
            if chosen is not None and await self._launch(chosen):
                taken[chosen.slot] += 1
                names[chosen.slot] = chosen.model_name
                models[chosen.model_folder] = chosen.run_id

    async def _launch(self, entry: QueueEntry) -> bool:
        """Start the trainer of a chosen entry; whether one runs now."""
        try:
            workspace = open_workspace(Path(entry.workspace))
            if entry.folder.spec.is_file() and launch_mark(entry.folder) != NEVER_LAUNCHED:
                await self._supervisor.resume(entry.record)
            else:
                await self._supervisor.start(workspace, entry.request, run_id=entry.run_id)
        except ModelBusyError as error:
            self.queue.update(entry.id, state=QueueState.WAITING, why=error.message)
            return False
        except RecasterError as error:
            self._end(entry, QueueState.FAILED, str(error))
            return False
        except Exception as error:
            # Whatever is wrong with this one, the next shall have its turn.
            log.exception("starting %s", entry.id)
            self._end(entry, QueueState.FAILED, f"unexpected {type(error).__name__}: {error}")
            return False
        log.info("%s: run %s started", entry.id, entry.run_id)
        self.queue.update(entry.id, state=QueueState.RUNNING, now=False)
        return True

    async def _take_over(self, entry: QueueEntry) -> None:
        """Somebody chose it and died."""
        if launch_mark(entry.folder) != entry.launch or _worked_on(entry.folder):
            self.queue.update(entry.id, state=QueueState.RUNNING, now=False)
        elif (again := self.queue.update(entry.id, boot=boot_id())) is not None:
            await self._launch(again)

    # -- watching ---------------------------------------------------------------------------

    async def _look_at(self, entry: QueueEntry) -> None:
        try:
            run = await self._supervisor.attach(entry.run_id, record=entry.record)
            await run.poll()
        except RecasterError as error:
            self._end(entry, QueueState.FAILED, str(error))
            return
        if run.state.over:
            if not await self._still_leaving(run):
                self._note_end(entry, run)
        elif run.state is RunState.LOST and not entry.folder.spec.is_file():
            if not _worked_on(entry.folder):
                self._end(entry, QueueState.FAILED, f"its run folder is gone: {entry.folder.root}")
        elif run.state in (RunState.STALLED, RunState.LOST):
            why = f"{run.message}; it keeps its place until it ends or is removed from the queue"
            self.queue.update(entry.id, why=why)
        elif entry.why:
            self.queue.update(entry.id, why="")

    async def _still_leaving(self, run: Run) -> bool:
        """Whether its process has said goodbye, but may still hold the memory of its device."""
        since = self._leaving.setdefault(run.run_id, time.monotonic())
        patient = time.monotonic() - since < _LEAVING_SECONDS
        if patient and run.process and await self._launcher.alive(run.process, run.run_id):
            return True
        del self._leaving[run.run_id]
        return False

    def _note_end(self, entry: QueueEntry, run: Run) -> None:
        state = _OUTCOMES[run.state]
        rebooted = bool(entry.boot) and entry.boot != boot_id()
        # A machine that goes down asks its processes to end: nobody wanted this run stopped.
        cut_off = state is QueueState.STOPPED or (
            state is QueueState.FAILED and not run.status.said.over
        )
        if rebooted and cut_off:
            self._interrupted(entry, run)
            return
        why = "" if state is QueueState.DONE else run.message or "somebody stopped it"
        self._end(entry, state, why, run.iteration)

    def _interrupted(self, entry: QueueEntry, run: Run) -> None:
        """The machine was restarted: it is the next to go on, from its last save."""
        if entry.restarts >= MOST_RESTARTS:
            why = f"the machine went down {entry.restarts + 1} times while it ran"
            self._end(entry, QueueState.FAILED, why, run.iteration)
            return
        saved = run.facts.saved_iteration
        first = min((e.order for e in self.queue.waiting()), default=entry.order)
        self.queue.update(
            entry.id,
            state=QueueState.WAITING,
            order=min(first, entry.order) - 1.0,
            restarts=entry.restarts + 1,
            why=f"the machine was restarted; goes on from iteration {saved:,}",
        )

    def _end(self, entry: QueueEntry, state: QueueState, why: str, iteration: int = 0) -> None:
        log.info("%s: %s %s", entry.id, state, why)
        self.queue.update(
            entry.id, state=state, why=why, ended=time.time(), iteration=iteration, now=False
        )


async def keep(data_dir: Path | None = None) -> bool:
    """Work the queue off; returns whether this process was the keeper (there is only one)."""
    queue = Queue(data_dir)
    lock = queue.hold()
    if lock is None:
        return False
    try:
        async with Supervisor(queue.data_dir) as supervisor:
            await Keeper(queue, supervisor).run(lock)
    finally:
        lock.release()
    return True


def _worked_on(folder: RunFolder) -> bool:
    """Whether a process has this run folder among its arguments."""
    wanted = str(folder.root)
    return any(wanted in (p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))

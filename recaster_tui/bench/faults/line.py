"""One model and its run, killed again and again: start it, resume it, judge what is left."""

import asyncio
import contextlib
import math
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from recaster_tui.bench.faults.forkserver import ForkServer
from recaster_tui.bench.faults.judge import (
    Leftover,
    ModelFindings,
    Story,
    inspect_losses,
    inspect_model,
    leftovers,
    loads,
    read_story,
)
from recaster_tui.bench.faults.victim import FlightData, Orders, read_flight
from recaster_tui.files import TEMPORARY_SECONDS
from recaster_tui.options import ModelClass
from recaster_tui.protocol import RunFolder
from recaster_tui.supervisor import Run, RunRequest, RunState, Supervisor
from recaster_tui.supervisor.launcher import ProcessId
from recaster_tui.supervisor.local import LocalLauncher
from recaster_tui.workspace import Workspace

OPTIONS: dict[str, Any] = {
    "architecture": "df",
    "resolution": 64,
    "autoencoder_dims": 32,
    "encoder_dims": 16,
    "decoder_dims": 16,
    "mask_decoder_dims": 16,
    "batch_size": 1,
    "preview_samples": 1,
    "autosave_seconds": 5,
    "seed": 1,
}
DEADLINE = 60.0
"""Seconds after which a process that should have died or begun is a fault of its own."""


class ForkLauncher(LocalLauncher):
    """Launches trainers by the fork server; everything else as on any machine."""

    def __init__(
        self, server: ForkServer, orders: Orders, before: Callable[[], None] | None = None
    ) -> None:
        super().__init__()
        self._server = server
        self._orders = orders
        self._before = before

    async def start(self, command: Sequence[str], *, log: Path, cwd: Path) -> ProcessId:
        """See :class:`recaster_tui.supervisor.launcher.Launcher`."""
        if self._before is not None:
            self._before()
        pid = await self._server.fork("train", [command[-1]], self._orders.as_dict(), log)
        try:
            started = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:
            started = 0.0
        return ProcessId(pid, started, socket.gethostname())


@dataclass
class Finding:
    """What the judge says after a kill.

    Attributes:
        lost: iterations trained that the model does not have.
        beyond: those of them that a save had been announced for; must be 0.
        model: faults of the model, ``history`` of journal, losses and records, ``other`` of the
            rest: leftovers, a save that came late.
        gone: the model does not load, or its current generation is not whole.
    """

    lost: int = 0
    beyond: int = 0
    gone: bool = False
    model: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """All of them."""
        return [*self.model, *self.history, *self.other]

    def add(self, other: "Finding") -> None:
        """Both."""
        self.lost, self.beyond = max(self.lost, other.lost), max(self.beyond, other.beyond)
        self.gone |= other.gone
        self.model += other.model
        self.history += other.history
        self.other += other.other


class Line:
    """A model that is trained, killed and resumed.

    Attributes:
        kills: how often it was killed so far.
        folder: of its run; made at the first start.
    """

    def __init__(self, workspace: Workspace, data_dir: Path, name: str, scratch: Path) -> None:
        self.workspace = workspace
        self.data_dir = data_dir
        self.name = name
        self.kills = 0
        self.folder: RunFolder | None = None
        self._flight = scratch / f"flight-{name}"
        self._leftovers: set[Leftover] = set()
        self._starts = 0
        self.resumed_at = math.inf

    @property
    def model_folder(self) -> Path:
        """``model/<name>.saehd``."""
        return self.workspace.models / f"{self.name}.saehd"

    def orders(self, **more: Any) -> Orders:
        """Orders for its next trainer."""
        self._flight.unlink(missing_ok=True)
        return Orders(flight=str(self._flight), root=str(self.workspace.root), **more)

    def story(self) -> Story:
        """What its journal tells now."""
        return read_story(self.folder.journal) if self.folder is not None else Story()

    @contextlib.asynccontextmanager
    async def supervisor(self, launcher: LocalLauncher | None = None) -> AsyncIterator[Supervisor]:
        """A fresh one, as if the app had just been started; its history is brought up to date."""
        async with Supervisor(self.data_dir, launcher) as supervisor:
            await supervisor.repair()
            await supervisor.adopt(self.workspace)
            yield supervisor

    async def launch(self, supervisor: Supervisor) -> Run:
        """Start its run, or resume it."""
        self.resumed_at = time.time()
        if self.folder is None:
            request = RunRequest(ModelClass.SAEHD, OPTIONS, model_name=self.name, device="cpu")
            run = await supervisor.start(self.workspace, request)
            self.folder = run.folder
        else:
            run = await supervisor.resume(self.folder.run_id)
        return run

    # -- after a kill -----------------------------------------------------------------------

    async def judge(self, *, history: bool = True) -> Finding:
        """What is left, and whether it is what should be."""
        story, flight = self.story(), read_flight(self._flight)
        finding = self.judge_model(self.model_folder, story, flight)
        if self.folder is not None:
            finding.history += inspect_losses(self.folder.losses, story)
        finding.history += story.problems
        if history:
            finding.history += await self._judge_history(story)
        finding.other += self._judge_leftovers(story)
        # The loop looks after each iteration: it may be late by one, and by what else it does then.
        if flight.late > 1.0 + 3.0 * flight.slowest:
            finding.other.append(f"an autosave came {flight.late:.1f} s late")
        return finding

    def judge_model(self, folder: Path, story: Story, flight: FlightData) -> Finding:
        """The model in *folder* by an independent reader and by our own loader."""
        found: ModelFindings = inspect_model(folder, story)
        iteration, said = loads(folder)
        finding = Finding(model=list(found.problems))
        if said:
            finding.model.append(f"our loader says: {said}")
        if iteration != found.iteration:
            finding.model.append(f"our loader gives {iteration}, CURRENT is {found.iteration}")
        saved = story.saved
        if flight.nan:  # a rollback may have been under way
            saved = max((s for s in story.saves if s < flight.nan), default=0)
        finding.gone = bool(story.saves) and not (iteration and found.iteration)
        finding.beyond = max(0, saved - iteration)
        finding.lost = max(0, (flight.trained or story.iteration) - iteration)
        # One save is in flight at a time: when it was begun, the one before it was whole.
        if not flight.nan and iteration < flight.before:
            finding.model.append(f"{iteration} is left, a save of {flight.before} was done")
        if finding.beyond:
            finding.model.append(f"{iteration} is left, {saved} was saved")
        return finding

    def _judge_leftovers(self, story: Story) -> list[str]:
        """What the next trainer has not removed, and the app not after a while."""
        places = {"model": self.model_folder}
        if self.folder is not None:
            places["run"] = self.folder.root
        now = {
            Leftover(f"{place}/{each.name}", each.inode, each.changed)
            for place, folder in places.items()
            for each in leftovers(folder)
            # The app's own: it may be writing them now, so age is the rule for them.
            if not each.name.startswith((".process.toml", ".run.toml"))
        }
        began = story.starts > self._starts
        self._starts = story.starts
        stale = now & self._leftovers if began else set()
        self._leftovers = now if began else now | self._leftovers
        old = [
            each
            for each in leftovers(self.data_dir)
            if time.time() - each.changed > 2 * TEMPORARY_SECONDS
        ]
        return [f"left behind by an earlier kill: {e.name}" for e in sorted([*stale, *old])]

    async def _judge_history(self, story: Story) -> list[str]:
        """Whether an app that is started now shows what the journal tells."""
        if self.folder is None:
            return []
        async with self.supervisor() as supervisor:
            record = next((r for r in supervisor.records() if r.run_id == self.folder.run_id), None)
        if record is None:
            return ["the run is not in the history"]
        told = {
            "iteration": story.iteration,
            "saved_iteration": story.last_saved,
            "start_iteration": story.first,
            "journal_bytes": story.bytes,
        }
        shown = {name: getattr(record, name) for name in told}
        problems = []
        if told != shown:
            problems.append(f"the history shows {shown}, the journal tells {told}")
        if story.over != (record.state in (RunState.STOPPED, RunState.FINISHED)):
            problems.append(f"the history says {record.state.value}, over is {story.over}")
        elif not story.over and record.state is not RunState.FAILED:
            problems.append(f"the history says {record.state.value} of a run that was killed")
        return problems


async def kill(pid: int) -> None:
    """SIGKILL, whatever it is doing."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


async def until_training(run: Run, pid: int) -> bool:
    """Wait until *run* trains; False where its process ended first."""
    deadline = time.monotonic() + DEADLINE
    while run.state is not RunState.TRAINING:
        if run.state.over or not psutil.pid_exists(pid) or time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
        await run.poll()
    return True

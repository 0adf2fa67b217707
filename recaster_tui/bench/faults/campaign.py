"""The rounds of ``recaster bench faults``: one model, one kill after the other.

The model goes on from round to round, so that damage would pile up; now and then a fresh one takes
its place. Most rounds use processes of the fork server; a cold start launches the trainer by the
supervisor's own command line.
"""

import asyncio
import contextlib
import logging
import os
import random
import shutil
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from recaster_tui.bench.faults.apps import headless_app, real_app, starting_app
from recaster_tui.bench.faults.fileops import read_log
from recaster_tui.bench.faults.forkserver import ForkServer
from recaster_tui.bench.faults.judge import read_story
from recaster_tui.bench.faults.line import Finding, ForkLauncher, Line, kill, until_training
from recaster_tui.bench.faults.powercut import POLICIES, Disk, Policy, write_tree
from recaster_tui.bench.faults.tally import Report
from recaster_tui.bench.faults.victim import Orders, read_flight
from recaster_tui.demo import make_demo
from recaster_tui.errors import RecasterError
from recaster_tui.paths import data_dir
from recaster_tui.supervisor import Run

log = logging.getLogger(__name__)

FACES = 12
FRESH_AFTER = 30
"""Rounds after which another model begins."""
PATIENCE = 6.0
"""Seconds until a process that does not come to its place is killed where it is."""

WEIGHTS = {
    "at a random instant": 20,
    "inside a save": 30,
    "inside the first save": 6,
    "inside a backup": 6,
    "inside a snapshot": 6,
    "while it loads": 8,
    "inside a rollback": 6,
    "inside a journal line": 3,
    "inside losses.bin": 2,
    "inside a preview": 3,
    "inside the last save": 6,
    "power cut": 10,
    "app without a screen": 6,
    "app starting a run": 1,
    "app in a terminal": 2,
}
COLD = "cold start"

_MORE = tuple(Policy("some", "some") for _ in range(4))


class Campaign:
    """The rounds, one after the other."""

    def __init__(
        self, scratch: Path, server: ForkServer, luck: random.Random, report: Report
    ) -> None:
        self.scratch, self.server, self.luck, self.report = scratch, server, luck, report
        self.data_dir = data_dir()
        self.workspace = make_demo(
            scratch / "ws", faces=FACES, video_seconds=1.0, size=96, workers=1
        )
        self.line: Line | None = None
        self.lines: list[Line] = []
        self.cold = self._new_line("cold")
        self._last: dict[str, str] = {}
        self._steps: dict[str, int] = {}
        self._kinds: dict[str, Callable[[str], Awaitable[Finding]]] = {
            "at a random instant": self._at_random,
            "inside a save": self._inside_a_save,
            "inside the first save": self._inside_the_first_save,
            "inside a backup": self._inside_a_backup,
            "inside a snapshot": self._inside_a_snapshot,
            "while it loads": self._while_it_loads,
            "inside a rollback": self._inside_a_rollback,
            "inside a journal line": self._inside_a_line,
            "inside losses.bin": self._inside_losses,
            "inside a preview": self._inside_a_preview,
            "inside the last save": self._inside_the_last_save,
            "power cut": self._power_cut,
            "app without a screen": lambda _: headless_app(self),
            "app starting a run": lambda _: starting_app(self),
            "app in a terminal": lambda _: real_app(self),
            COLD: self._cold_start,
        }

    async def round(self, number: int, kind: str) -> None:
        """One kill, and its judgement."""
        row = self.report.row(kind)
        row.rounds += 1
        try:
            finding = await self._kinds[kind](kind)
        except Exception as error:
            log.exception("round %d", number)
            frames = traceback.extract_tb(error.__traceback__)
            way = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in frames[:-7:-1])
            finding = Finding(other=[f"the round could not be done: {error} ({way})"])
        row.add(finding)
        self.report.faults += [f"round {number}, {kind}: {fault}" for fault in finding.faults]

    async def finish(self) -> None:
        """Every model of this campaign must still load, also those given up long ago."""
        for line in self.lines:
            if line.folder is None:
                continue
            finding = await line.judge()
            finding.other = []
            if finding.faults:
                self.report.row("at the end").add(finding)
                self.report.faults += [f"at the end, {line.name}: {f}" for f in finding.faults]

    def end_processes(self) -> None:
        """What still lives of the trainers in our workspace; by their command line or folder."""
        root = str(self.scratch)
        for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
            words = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
            if process.pid != os.getpid() and any(word.startswith(root) for word in words):
                with contextlib.suppress(psutil.Error):
                    process.kill()

    # -- lines ------------------------------------------------------------------------------

    def present(self, *, fresh: bool = False) -> Line:
        """The model whose turn it is."""
        if self.line is None or fresh or self.line.kills >= FRESH_AFTER:
            self.line = self._new_line(f"m{len(self.lines):03d}")
        return self.line

    def _new_line(self, name: str) -> Line:
        line = Line(self.workspace, self.data_dir, name, self.scratch)
        self.lines.append(line)
        return line

    async def judged(self, line: Line, kind: str, finding: Finding | None = None) -> Finding:
        """What is left of *line* after a kill of this kind."""
        story = line.story()
        if story.training is not None and story.training >= line.resumed_at:
            row = self.report.row(self._last.get(line.name, kind))
            row.slowest = max(row.slowest, story.training - line.resumed_at)
        self._last[line.name] = kind
        line.kills += 1
        total = finding or Finding()
        total.add(await line.judge())
        return total

    # -- kinds of kills ----------------------------------------------------------------------

    async def _at_random(self, kind: str) -> Finding:
        line = self.present()
        return await self._trainer(kind, line, line.orders(), delay=self.luck.uniform(0.0, 2.0))

    async def _inside_a_save(self, kind: str) -> Finding:
        line = self.present()
        orders = line.orders(
            place="save",
            count=self._step(kind, most=70),
            torn=self.luck.choice((-1, -1, 0, 20, 60)),
        )
        return await self._trainer(kind, line, orders)

    async def _inside_the_first_save(self, kind: str) -> Finding:
        line = self.present(fresh=True)
        orders = line.orders(
            place="save", count=self._step(kind, most=30), torn=self.luck.choice((-1, 0))
        )
        return await self._trainer(kind, line, orders)

    async def _inside_a_backup(self, kind: str) -> Finding:
        return await self._kept(kind, "backup", note="before a kill")

    async def _inside_a_snapshot(self, kind: str) -> Finding:
        name = f"kept {self.luck.randrange(10**9)}"
        return await self._kept(kind, "snapshot", snapshot=name)

    async def _kept(self, kind: str, command: str, **arguments: str) -> Finding:
        line = self.present()
        orders = line.orders(place=command, count=self._step(kind), torn=self.luck.choice((-1, 0)))

        async def ask(run: Run) -> None:
            await run.command(command, timeout=0, **arguments)

        return await self._trainer(kind, line, orders, act=ask)

    async def _while_it_loads(self, kind: str) -> Finding:
        line = self.present()
        orders = line.orders(place="start", count=self._step(kind), torn=self.luck.choice((-1, 0)))
        return await self._trainer(kind, line, orders)

    async def _inside_a_rollback(self, kind: str) -> Finding:
        line = self.present()
        orders = line.orders(
            place="any",
            after="@nan",
            nan_at=self.luck.randint(4, 20),
            count=self._step(kind, most=30),
            torn=self.luck.choice((-1, 0)),
        )
        return await self._trainer(kind, line, orders)

    async def _inside_a_line(self, kind: str) -> Finding:
        line = self.present()
        orders = line.orders(place="journal", count=self.luck.randint(1, 30), torn=0)
        return await self._trainer(kind, line, orders)

    async def _inside_losses(self, kind: str) -> Finding:
        line = self.present()
        orders = line.orders(place="losses", count=self.luck.randint(1, 8), torn=0)
        return await self._trainer(kind, line, orders)

    async def _inside_a_preview(self, kind: str) -> Finding:
        line = self.present()
        orders = line.orders(
            place="previews", count=self._step(kind, most=40), torn=self.luck.choice((-1, 0))
        )

        async def ask(run: Run) -> None:
            await run.command("preview", timeout=0)

        return await self._trainer(kind, line, orders, act=ask)

    async def _inside_the_last_save(self, kind: str) -> Finding:
        line = self.present()
        orders = line.orders(
            place="save",
            after='"phase":"stopping"',
            count=self._step(kind, most=32),
            torn=self.luck.choice((-1, 0, 20)),
        )

        async def ask(run: Run) -> None:
            await asyncio.sleep(self.luck.uniform(0.1, 0.6))
            await run.command("stop", timeout=0)

        return await self._trainer(kind, line, orders, act=ask)

    async def _cold_start(self, kind: str) -> Finding:
        line = self.cold
        if line.kills >= FRESH_AFTER:
            line = self.cold = self._new_line(f"cold{len(self.lines)}")
        line.orders()
        loading = self.luck.random() < 0.4  # dies while it loads, else some time later
        delay = self.luck.uniform(0.0, 4.0)
        async with line.supervisor() as supervisor:
            run = await line.launch(supervisor)
            assert run.process is not None
            pid = run.process.pid
            if not loading:
                await until_training(run, pid)
            until = time.monotonic() + delay
            while time.monotonic() < until and psutil.pid_exists(pid):
                await asyncio.sleep(0.3)
                if self.luck.random() < 0.2:
                    with contextlib.suppress(RecasterError):
                        await run.command(self.luck.choice(("save", "preview")), timeout=0)
            await kill(pid)
            await asyncio.to_thread(_gone, pid)
        self.report.row(kind).reached += 1
        return await self.judged(line, kind)

    async def _power_cut(self, kind: str) -> Finding:
        line = self.present(fresh=self.luck.random() < 0.25)
        log = self.scratch / "operations"
        log.unlink(missing_ok=True)
        orders = line.orders(place="any", count=self.luck.randint(1, 260), log=str(log))
        disk: list[Disk] = []

        def scan() -> None:
            disk.append(Disk(self.workspace.root, ("model", "runs")))

        await self._die(kind, line, orders, before=scan)
        self.report.row(kind).reached += read_flight(Path(orders.flight)).stops >= orders.count
        assert line.folder is not None
        for op in read_log(log):
            disk[0].apply(op)
        story, flight = line.story(), read_flight(Path(orders.flight))
        finding, trees = Finding(), []
        for number, policy in enumerate((*POLICIES, *_MORE)):
            tree = disk[0].after_power_cut(policy, self.luck)
            trees.append(tree)
            place = self.scratch / f"cut{number}"
            write_tree(place, {k: v for k, v in tree.items() if _concerns(k, line)})
            state = line.judge_model(place / "model" / line.model_folder.name, story, flight)
            journal = place / "runs" / line.folder.run_id / "journal.jsonl"
            state.history += await asyncio.to_thread(_mended, journal)
            if state.faults:
                state.model = [f"{policy}: {fault}" for fault in state.model]
                state.model.append(f"that state of the disk is kept in {place}")
            else:
                shutil.rmtree(place)
            finding.add(state)
        self.report.row(kind).states += len(trees) - 1
        left = self.luck.choice(trees)
        self._put_back(line, left)
        line.orders()  # what that process knew went with the power
        return await self.judged(line, kind, finding)

    def _put_back(self, line: Line, tree: dict[str, bytes | None]) -> None:
        """Let the workspace be what the disk held; what others wrote there stays."""
        assert line.folder is not None
        shutil.rmtree(line.model_folder, ignore_errors=True)
        for path in line.folder.root.iterdir():
            if path.name not in ("process.toml", "run.toml", "trainer.log", "control.jsonl"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        write_tree(
            self.workspace.root,
            {
                name: content
                for name, content in tree.items()
                if _concerns(name, line) and not name.endswith(("process.toml", "control.jsonl"))
            },
        )

    # -- a trainer's life ----------------------------------------------------------------------

    async def _trainer(
        self,
        kind: str,
        line: Line,
        orders: Orders,
        *,
        act: Callable[[Run], Awaitable[None]] | None = None,
        delay: float | None = None,
    ) -> Finding:
        await self._die(kind, line, orders, act=act, delay=delay)
        flight = read_flight(Path(orders.flight))
        reached = delay is not None or flight.stops >= orders.count > 0
        self.report.row(kind).reached += reached
        if not reached and kind in self._steps:
            self._steps[kind] = 0  # there are no more steps than that
        return await self.judged(line, kind)

    async def _die(
        self,
        kind: str,
        line: Line,
        orders: Orders,
        *,
        act: Callable[[Run], Awaitable[None]] | None = None,
        delay: float | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        watched = self.luck.random() < 0.5  # is anybody looking when it dies?
        launcher = ForkLauncher(self.server, orders, before)
        async with line.supervisor(launcher) as supervisor:
            run = await line.launch(supervisor)
            assert run.process is not None
            pid = run.process.pid
            if act is not None and await until_training(run, pid):
                while run.iteration == 0 and not run.state.over:  # nothing to save or to show yet
                    await asyncio.sleep(0.05)
                with contextlib.suppress(RecasterError):  # it may be dead by now
                    await act(run)
            if watched:
                await self._end(pid, delay)
        if not watched:
            await self._end(pid, delay)

    async def _end(self, pid: int, delay: float | None) -> None:
        patience = delay if delay is not None else PATIENCE
        try:
            await asyncio.wait_for(self.server.ended(pid), patience)
        except TimeoutError:
            await kill(pid)
            await self.server.ended(pid)

    def _step(self, kind: str, most: int = 10**6) -> int:
        """The next place to die at: each in its turn, so that none is left out."""
        step = self._steps.get(kind, 0) % most + 1
        self._steps[kind] = step
        return step


def _concerns(name: str, line: Line) -> bool:
    assert line.folder is not None
    wanted = (f"model/{line.model_folder.name}", f"runs/{line.folder.run_id}")
    return name in ("model", "runs") or name.startswith(wanted)


def _mended(journal: Path) -> list[str]:
    """What is still wrong with a journal after the next start has opened it."""
    from recaster_tui.training.journal import JournalWriter

    if not journal.exists():
        return []
    JournalWriter(journal).close()
    story = read_story(journal)
    return story.problems + (["journal: the torn line is still there"] if story.torn else [])


def _gone(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(10)

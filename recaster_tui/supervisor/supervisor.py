"""All runs of this machine: starts them, finds them again, follows them, remembers them."""

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recaster_tui import paths
from recaster_tui.errors import BadInputError, EnvironmentProblem, RecasterError
from recaster_tui.files import fsync_dir
from recaster_tui.protocol import RunFolder, RunSpec, read_run_spec, write_run_spec
from recaster_tui.supervisor.history import History, Recorder, RunRecord, find_run, record_of
from recaster_tui.supervisor.launcher import Launcher
from recaster_tui.supervisor.local import LocalLauncher
from recaster_tui.supervisor.looking import (
    gone_runs,
    has_news,
    newest_change,
    perhaps_alive,
    searchable,
    told_more,
    with_news,
)
from recaster_tui.supervisor.request import (
    ModelBusyError,
    RunRequest,
    make_spec,
    require_faces,
    require_way_to_go,
)
from recaster_tui.supervisor.run import POLL_SECONDS, Run, parse_process, write_process
from recaster_tui.supervisor.state import RunState
from recaster_tui.workspace import Workspace, open_workspace

log = logging.getLogger(__name__)

# -P: the workspace is the working directory, and a file torch.py in it must not be run.
# RECASTER_TRAINER is for tests of faults: the name of another module that trains.
TRAINER_COMMAND = (
    sys.executable,
    "-P",
    "-m",
    os.environ.get("RECASTER_TRAINER") or "recaster_tui.training",
)

_SCAN_SECONDS = 2.0
_SCAN_SHARE = 0.02  # of the time may go into looking for runs of others
_HISTORY_SECONDS = 10.0
_LEAVING_SECONDS = 15.0
_LOST_SECONDS = 2.0


class Supervisor:
    """Holds the runs of one program. Closing it never touches a trainer.

    ``version`` grows with every change of any run or of the list; ``changed`` is an event that
    wakes everybody who waits for it at each of them. ``list_version`` grows only where the
    history changes beyond the figures of living runs. ``gone`` are runs whose folder was not
    there when it was last looked for.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        launcher: Launcher | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self.history = History(data_dir or paths.data_dir())
        self.version = 0
        self.changed = asyncio.Event()
        self._launcher: Launcher = launcher or LocalLauncher()
        self._command = tuple(command or TRAINER_COMMAND)
        self._runs: dict[str, Run] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._recorders: dict[str, Recorder] = {}
        self._background: asyncio.Task[None] | None = None
        self.list_version = 0
        self.gone: frozenset[str] = frozenset()
        self._records: dict[str, RunRecord] | None = None
        self._ordered: tuple[list[RunRecord], dict[str, int]] | None = None
        self._looked: Run | None = None
        self._history_changed = 0
        self._history_read = 0.0
        self._forgotten: dict[str, float] | None = None
        self._seen: dict[str, tuple[int, RunRecord]] = {}
        self._workspaces: dict[Path, Workspace] = {}
        self._listeners: list[Callable[[], None]] = []
        self._starting = asyncio.Lock()
        self.ready = asyncio.Event()

    async def __aenter__(self) -> "Supervisor":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # -- lists ------------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """Runs held in memory: every live one known, and those that ended meanwhile."""
        return sorted(self._runs.values(), key=lambda run: run.spec.created, reverse=True)

    def live_runs(self) -> list[Run]:
        """Runs with a trainer, newest first."""
        return [run for run in self.runs() if run.state.live]

    def live_records(self) -> list[RunRecord]:
        """What :meth:`live_runs` say now."""
        return [record_of(run) for run in self.live_runs()]

    def records(self) -> list[RunRecord]:
        """The history, newest first; what is held in memory with its present values."""
        ordered, places = self._in_order()
        found, more = list(ordered), []
        for run_id, run in self._runs.items():
            if run_id in places:
                found[places[run_id]] = record_of(run)
            else:
                more.append(record_of(run))
        return sorted([*found, *more], key=_age, reverse=True) if more else found

    def _in_order(self) -> tuple[list[RunRecord], dict[str, int]]:
        """The remembered records newest first, and where each of them stands."""
        if self._ordered is None:
            ordered = sorted(self._record_table().values(), key=_age, reverse=True)
            self._ordered = ordered, {r.run_id: i for i, r in enumerate(ordered)}
        return self._ordered

    def run(self, run_id: str) -> Run | None:
        """A run held in memory."""
        return self._runs.get(run_id)

    def recent_workspaces(self) -> list[Path]:
        """Workspaces of the history that still exist, the last used first."""
        newest: dict[str, float] = {}
        for record in self.records():
            newest[record.workspace] = max(newest.get(record.workspace, 0.0), record.created)
        ordered = sorted(newest, key=lambda name: newest[name], reverse=True)
        return [path for path in map(Path, ordered) if path.is_dir()]

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call *listener* at each change; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # -- actions ----------------------------------------------------------------------------

    async def start(
        self, workspace: Workspace, request: RunRequest, *, run_id: str | None = None
    ) -> Run:
        """Make a run folder and start a trainer on it.

        Args:
            workspace: the project.
            request: what is wanted.
            run_id: the id that the run shall have; a new one by default. Its folder may be there
                (whoever made it died before the launch), its trainer not.

        Raises:
            OptionsError, BadInputError: what was asked for cannot be done; nothing was made.
            ModelBusyError: another run trains this model; nothing was made.
            EnvironmentProblem: the run folder or the process cannot be made.
        """
        spec = make_spec(workspace, request, run_id)
        require_faces(workspace, request.model_class, spec.options)
        require_way_to_go(workspace, spec)
        async with self._starting:
            return await self._start(workspace, spec, begun=run_id is not None)

    async def resume(
        self,
        run: str | RunRecord,
        *,
        changes: Mapping[str, Any] | None = None,
        target_iterations: int | None = None,
        target_seconds: float | None = None,
    ) -> Run:
        """Train on with the model of an ended run.

        As it was, the same run goes on, in its folder. With *changes* (option values) or
        another target a new run of the same model begins, since ``run.toml`` is never rewritten.

        Raises:
            BadInputError: it is still running, it has reached its target and no other is given,
                or its folder is gone.
        """
        record = run if isinstance(run, RunRecord) else find_run(run, self.records())
        held = await self.attach(record.run_id, record=record)
        if held.state.live and held.state is not RunState.LOST:
            raise BadInputError(
                f"run {held.run_id} is still {held.state.value}",
                hint="a paused run goes on by the command resume; there is nothing to start",
            )
        workspace = open_workspace(held.workspace_root, must_look_right=False)
        spec = held.spec
        # Of what a trainer that died had trained, only what it had saved counts.
        finished = held.state is RunState.FINISHED
        there = held.iteration if finished else held.facts.saved_iteration
        reached = 0 < spec.target_iterations <= there
        changed = bool(changes) or target_iterations is not None or target_seconds is not None
        if reached and not changed:
            raise BadInputError(
                f"run {held.run_id} has reached its {spec.target_iterations:,} iterations",
                hint=f"give it another one: recaster resume {held.run_id} --iterations N",
            )
        if changed:
            return await self.start(
                workspace,
                RunRequest(
                    model_class=spec.model_class,
                    options={**held.options, **(changes or {})},
                    model_name=spec.model_name,
                    device=spec.device,
                    target_iterations=target_iterations,
                    target_seconds=spec.target_seconds
                    if target_seconds is None
                    else target_seconds,
                ),
            )
        async with self._starting:
            await self._refuse_second(workspace, spec)
            await self._launch(held)
        return held

    async def attach(self, run_id: str, *, record: RunRecord | None = None) -> Run:
        """The run of this id (or unique prefix, or ``last``), read up to now and followed.

        Raises:
            BadInputError: no such run, or its folder is gone.
            DamagedError: its folder cannot be read.
        """
        if (run := self._runs.get(run_id)) is None:
            record = record or find_run(run_id, self.records())
            if (run := self._runs.get(record.run_id)) is None:
                if record.missing:
                    raise BadInputError(
                        f"the folder of run {record.run_id} is gone",
                        where=record.folder.root,
                        hint="moved? open the workspace where it is now, or: "
                        "recaster runs relocate OLD NEW",
                    )
                looked, self._looked = self._looked, None
                if looked is not None and looked.folder == record.folder:
                    run = looked  # its journal need not be read a second time
                else:
                    run = Run(record.folder, read_run_spec(record.folder.spec), self._launcher)
                await run.poll()
                run = self._runs.setdefault(run.run_id, run)
                self._touch()
        await run.check_relaunch()
        self._follow(run)
        return run

    def look(self, record: RunRecord) -> Run:
        """Read a run that is not held, from its start; for a thread. Attaching to it goes on there.

        Raises:
            OSError, RecasterError: its folder cannot be read.
        """
        run = Run(record.folder, read_run_spec(record.folder.spec), self._launcher)
        asyncio.run(run.poll())
        self._looked = run if run.state.over else None
        return run

    async def adopt(self, workspace: Workspace, *, at_once: int | None = None) -> None:
        """Take in the runs of *workspace*, also those this machine has never watched.

        Runs that are known from a place where they are no more have moved here with it.

        Args:
            workspace: the project.
            at_once: how many, the newest first; the others come with :meth:`start_background`.
        """
        self._workspaces[workspace.root] = workspace
        await self.load_history()
        table = dict(self._record_table())
        folders = await asyncio.to_thread(with_news, [workspace], table, frozenset(self._runs))
        for folder in folders[:at_once]:
            await self._take_in(folder)

    @property
    def loaded(self) -> bool:
        """Whether the records were read; until then asking for them waits for the disk."""
        return self._records is not None

    async def load_history(self) -> None:
        """Read the records in a thread: thousands of them take a second."""
        if self._records is None:
            found = await asyncio.to_thread(searchable, self.history)
            if self._records is None:
                self._records = {record.run_id: record for record in found}
                self._ordered = None
                self.list_version += 1
                self._touch()

    async def relocate(self, old: Path, new: Path) -> list[RunRecord]:
        """Runs of workspace *old* (or of those inside it), which is gone, are found in *new*.

        Returns:
            The records that were changed.

        Raises:
            BadInputError: no run is known from *old*, its runs are still there, or *new* does
                not hold them.
            OSError: the history cannot be written.
        """
        old, new = old.absolute(), new.resolve()
        known = [r for r in self.records() if Path(r.workspace).is_relative_to(old)]
        if not known:
            places = dict.fromkeys(r.workspace for r in self.records() if r.run_id in self.gone)
            raise BadInputError(
                "no run is remembered from this workspace",
                where=old,
                hint=f"gone are: {', '.join([*places][:3])}" if places else None,
            )
        gone = await asyncio.to_thread(gone_runs, known)
        if not gone:
            raise BadInputError("the runs of this workspace are still there", where=old)
        moved: list[RunRecord] = []
        for record in known:
            place = new / Path(record.workspace).relative_to(old)
            there = RunFolder(place / "runs" / record.run_id).spec
            if record.run_id in gone and await asyncio.to_thread(there.is_file):
                moved.append(await self._relocate(record, place))
        if not moved:
            raise BadInputError(
                f"there is none of the {len(gone):,} runs that are missing",
                where=new / "runs",
                hint="give the folder that the workspace is now",
            )
        return moved

    async def _relocate(self, record: RunRecord, workspace: Path) -> RunRecord:
        self._drop(record.run_id)  # or its recorder might write the old place back
        moved = await asyncio.to_thread(self.history.relocate, record, workspace)
        self.gone -= {record.run_id}
        self._put(moved, save=False)
        await self._take_in(moved.folder)
        return self._record_table()[record.run_id]

    def forget(self, run_id: str) -> None:
        """Remove an ended run from the history. Its folder stays; started again, it comes back.

        Raises:
            BadInputError: there is no such run, or it is alive.
            OSError: the history cannot be written.
        """
        record = find_run(run_id, self.records())
        run = self._runs.get(record.run_id)
        if (run.state if run is not None else record.state).live and not record.missing:
            raise BadInputError(
                f"run {record.run_id} is still {record.state.value}", hint="stop it first"
            )
        self._drop(record.run_id)
        self.history.forget(record.run_id, newest_change(record.folder))
        self._forgotten = self.history.forgotten()
        self._record_table().pop(record.run_id, None)
        self._ordered = None
        self.list_version += 1
        self._touch()

    def _drop(self, run_id: str) -> None:
        """Hold a run no longer; nothing of it is written from now on."""
        if task := self._tasks.pop(run_id, None):
            task.cancel()
        if recorder := self._recorders.pop(run_id, None):
            recorder.retire()
        self._runs.pop(run_id, None)

    async def repair(self) -> None:
        """Bring every record up to its journal: the app may have died, or nobody watched.

        Of runs that are over only the size of the journal is asked for, and of vanished
        workspaces only whether they are there.
        """
        await self.load_history()
        records = list(self._record_table().values())
        self._note_gone(await asyncio.to_thread(gone_runs, records))
        for record in records:
            vanished = record.run_id in self.gone and record.run_id not in self._runs
            if vanished and record.state.live and record.state is not RunState.LOST:
                lost = replace(record, state=RunState.LOST, message="its run folder is gone")
                await asyncio.to_thread(self.history.save, lost, self.history.losses(lost.run_id))
                self._put(lost, save=False)
        here = [r for r in records if r.run_id not in self.gone]
        for record in await asyncio.to_thread(told_more, here):
            await self._take_in(record.folder)

    def _note_gone(self, gone: frozenset[str]) -> None:
        if gone != self.gone:
            self.gone = gone
            self.list_version += 1
            self._touch()

    async def refresh_history(self) -> None:
        """Take in what other programs have written into the history meanwhile."""
        try:
            changed_at = self.history.folder.stat().st_mtime_ns
        except OSError:
            changed_at = 0
        if changed_at != self._history_changed:
            self._history_changed = changed_at
            changed, removed = await asyncio.to_thread(self.history.refresh)
            table = self._record_table()
            for record in changed.values():
                if record.run_id not in self._runs:
                    self._put(record, save=False)
                    if record.state.live and record.run_id not in self.gone:
                        await self._take_in(record.folder)
            for run_id in removed & table.keys() - self._runs.keys():
                del table[run_id]
                self._ordered = None
                self.list_version += 1
        records = list(self._record_table().values())
        self._note_gone(await asyncio.to_thread(gone_runs, records))

    def start_background(self, workspace: Workspace | None = None) -> None:
        """Repair the history, then watch known workspaces for runs that others start."""
        if workspace is not None:
            self._workspaces[workspace.root] = workspace
        if self._background is None or self._background.done():
            self._background = asyncio.create_task(self._watch(), name="supervisor")

    async def aclose(self) -> None:
        """Stop watching; save the records. Trainers go on."""
        tasks = [t for t in (self._background, *self._tasks.values()) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for run_id, run in self._runs.items():
            recorder = self._recorders.get(run_id)
            # What is over was written when it ended; another program may know more by now.
            if recorder is not None and run.version and (run.state.live or not recorder.told):
                recorder.save()
        self._tasks.clear()
        self._background = None

    # -- inside -----------------------------------------------------------------------------

    async def _start(self, workspace: Workspace, spec: RunSpec, *, begun: bool) -> Run:
        await self._refuse_second(workspace, spec)
        folder = RunFolder(workspace.runs / spec.run_id)
        try:
            folder.root.mkdir(parents=True, exist_ok=begun)
            write_run_spec(folder.spec, spec)
            for parent in (workspace.runs, workspace.root):
                fsync_dir(parent)  # a name is safe once its folder was synced
        except OSError as error:
            raise EnvironmentProblem(
                f"cannot make the run folder: {error.strerror or error}", where=folder.root
            ) from error
        self._workspaces[workspace.root] = workspace
        run = Run(folder, spec, self._launcher, fresh=True)
        await self._launch(run)
        return run

    async def _launch(self, run: Run) -> None:
        process = await self._launcher.start(
            [*self._command, str(run.folder.root)], log=run.folder.log, cwd=run.workspace_root
        )
        try:
            write_process(run.folder, process)
        except OSError as error:  # it runs; its first word will say who it is
            log.warning("cannot write %s: %s", run.folder.process, error)
        run.relaunched(process)
        self._runs[run.run_id] = run
        self._follow(run)
        self._touch()

    async def _refuse_second(self, workspace: Workspace, spec: RunSpec) -> None:
        await self.load_history()
        table = dict(self._record_table())
        for folder in await asyncio.to_thread(perhaps_alive, workspace, table):
            try:
                other = read_run_spec(folder.spec)
                process, _ = parse_process(folder.process.read_bytes())
            except (OSError, ValueError, KeyError, TypeError, RecasterError):
                continue
            if other.model_folder != spec.model_folder:
                continue
            deadline = time.monotonic() + _LEAVING_SECONDS
            run = self._runs.get(other.run_id) or Run(folder, other, self._launcher)
            while await self._launcher.alive(process, other.run_id):
                # A trainer that said goodbye may need a moment to let go of the model.
                await run.poll()
                if not run.state.over or time.monotonic() > deadline:
                    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(process.started))
                    raise ModelBusyError(
                        f"model '{spec.model_name}' is already being trained by run "
                        f"{other.run_id} ({run.state.value}, iteration {run.iteration:,}), process "
                        f"{process.pid} on {process.host or 'this machine'} since {since}",
                        where=workspace.root / spec.model_folder,
                        hint=f"attach to it (recaster attach {other.run_id}), stop it first, "
                        "or give this one another name",
                    )
                await asyncio.sleep(0.1)

    def _follow(self, run: Run) -> None:
        self._recorders.setdefault(run.run_id, Recorder(self.history, run))
        task = self._tasks.get(run.run_id)
        if task is None or task.done():
            self._tasks[run.run_id] = asyncio.create_task(
                self._follow_run(run), name=f"follow {run.run_id}"
            )

    async def _follow_run(self, run: Run) -> None:
        recorder = self._recorders[run.run_id]
        while True:
            try:
                if await run.poll():
                    self._touch()
            except Exception:
                log.exception("following %s", run.run_id)
                await asyncio.sleep(1.0)
            if recorder.due():
                self._put(await asyncio.to_thread(recorder.save), save=False)
            if run.state.over:
                return
            lost = run.state is RunState.LOST
            await asyncio.sleep(_LOST_SECONDS if lost else POLL_SECONDS)

    async def _watch(self) -> None:
        try:
            await self.repair()
        except Exception:
            log.exception("repairing the history")
        self.ready.set()
        while True:
            began = time.monotonic()
            try:
                places, table = list(self._workspaces.values()), dict(self._record_table())
                held = frozenset(self._runs)
                for folder in await asyncio.to_thread(with_news, places, table, held):
                    await self._take_in(folder)
                if began - self._history_read >= _HISTORY_SECONDS:
                    self._history_read = began
                    await self.refresh_history()
            except Exception:
                log.exception("looking for runs")
            spent = time.monotonic() - began
            await asyncio.sleep(max(_SCAN_SECONDS, spent / _SCAN_SHARE))

    async def _take_in(self, folder: RunFolder) -> None:
        """Look at a run folder as cheaply as possible, and follow or record it if need be."""
        held = self._runs.get(folder.run_id)
        if held is not None:
            # Over, it may be started again, or its model may be restored, by others.
            if held.state.over and (await held.check_relaunch() or await held.poll()):
                self._follow(held)
                self._touch()
            return
        record = self._record_table().get(folder.run_id)
        if record is not None and record.folder.root != folder.root and record.missing:
            record = await asyncio.to_thread(
                self.history.relocate, record, folder.root.parent.parent
            )
            self.gone -= {record.run_id}
            self._put(record, save=False)
        if record is not None and record.state.over and not has_news(folder, record):
            return
        if record is None and self._is_forgotten(folder):
            return
        try:
            spec = read_run_spec(folder.spec)
            if spec.run_id != folder.run_id:
                return
            run = Run(folder, spec, self._launcher)
            await run.poll()
            await run.check_relaunch()
        except (OSError, RecasterError) as error:
            log.warning("cannot take in %s: %s", folder.root, error)
            return
        if folder.run_id in self._runs:  # somebody attached meanwhile
            return
        if run.state.live:
            self._runs[run.run_id] = run
            self._follow(run)
            self._touch()
        else:
            fresh = record_of(run)
            try:
                await asyncio.to_thread(self.history.save, fresh, run.losses)
            except Exception:  # whatever one run holds, the next ones are looked at
                log.exception("saving the record of %s", run.run_id)
            self._put(fresh, save=False)

    def _is_forgotten(self, folder: RunFolder) -> bool:
        if self._forgotten is None:
            self._forgotten = self.history.forgotten()
        seen = self._forgotten.get(folder.run_id)
        return seen is not None and newest_change(folder) <= seen

    def _record_table(self) -> dict[str, RunRecord]:
        if self._records is None:
            self._records = {record.run_id: record for record in self.history.records()}
        return self._records

    def _put(self, record: RunRecord, *, save: bool = True) -> None:
        table = self._record_table()
        before = table.get(record.run_id)
        table[record.run_id] = record
        if self._ordered is not None:
            ordered, places = self._ordered
            if before is None or before.created != record.created:
                self._ordered = None
            else:
                ordered[places[record.run_id]] = record
        if before is None or record.state.over or before.state.over:
            self.list_version += 1
        if save:
            with contextlib.suppress(OSError):
                self.history.save(record, self.history.losses(record.run_id))
        self._touch()

    def _touch(self) -> None:
        self.version += 1
        self.changed.set()
        self.changed.clear()
        for listener in list(self._listeners):
            listener()


def _age(record: RunRecord) -> tuple[float, str]:
    return record.created, record.run_id

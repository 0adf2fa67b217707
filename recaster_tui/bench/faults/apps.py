"""Kills of the app: its trainers must not notice, and the next one must know all."""

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from recaster_tui.bench.faults.line import (
    DEADLINE,
    Finding,
    ForkLauncher,
    Line,
    kill,
    until_training,
)
from recaster_tui.bench.faults.victim import Orders, read_flight
from recaster_tui.bench.terminal import Terminal
from recaster_tui.protocol import RunFolder
from recaster_tui.supervisor import RunState, Supervisor

if TYPE_CHECKING:
    from recaster_tui.bench.faults.campaign import Campaign

_GROWS_WITHIN = 15.0


async def headless_app(campaign: "Campaign") -> Finding:
    """A supervisor without a screen dies, at random or inside the writing of its history."""
    kind = "app without a screen"
    line = campaign.present()
    pid = await _trainer(campaign, line)
    flight = campaign.scratch / "flight-app"
    flight.unlink(missing_ok=True)
    orders = Orders(
        flight=str(flight),
        root=str(campaign.data_dir),
        place="any",
        count=campaign.luck.randint(1, 15),
        torn=campaign.luck.choice((-1, 0)),
    )
    arguments = [str(campaign.data_dir), str(campaign.workspace.root)]
    app = await campaign.server.fork(
        "watch", arguments, orders.as_dict(), campaign.scratch / "app.log"
    )
    try:
        await asyncio.wait_for(campaign.server.ended(app), campaign.luck.uniform(0.5, 3.0))
    except TimeoutError:
        await kill(app)
        await campaign.server.ended(app)
    finding = Finding()
    if read_flight(flight).stops >= orders.count:
        campaign.report.row(kind).reached += 1
    finding.other += await _unharmed(line, pid)
    finding.history += await _shows(line, pid)
    await _end(campaign, pid)
    finding.add(await campaign.judged(line, kind))
    return finding


async def real_app(campaign: "Campaign") -> Finding:
    """The app itself, in a terminal, on a workspace with a living run."""
    kind = "app in a terminal"
    line = campaign.present()
    pid = await _trainer(campaign, line)
    keep = {k: os.environ[k] for k in ("PATH", "HOME", "RECASTER_HOME") if k in os.environ}
    env = {**keep, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
    command = [sys.executable, "-P", "-m", "recaster_tui", str(campaign.workspace.root)]
    with Terminal(command, env=env) as terminal:
        with contextlib.suppress(TimeoutError):
            await asyncio.to_thread(terminal.wait_for, "Train.*Runs", timeout=DEADLINE)
        await asyncio.sleep(campaign.luck.uniform(0.0, 3.0))
        await kill(terminal.process.pid)
    campaign.report.row(kind).reached += 1
    finding = Finding(other=await _unharmed(line, pid))
    finding.history += await _shows(line, pid)
    await _end(campaign, pid)
    finding.add(await campaign.judged(line, kind))
    return finding


async def starting_app(campaign: "Campaign") -> Finding:
    """The app dies while it starts a run: between the folder, the process and its note of it."""
    kind = "app starting a run"
    flight = campaign.scratch / "flight-app"
    flight.unlink(missing_ok=True)
    orders = Orders(
        flight=str(flight),
        root=str(campaign.workspace.root),
        place="any",
        count=campaign.luck.randint(1, 14),
    )
    before = set(_run_ids(campaign))
    name = f"s{len(campaign.lines):03d}"
    arguments = [str(campaign.data_dir), str(campaign.workspace.root), name]
    app = await campaign.server.fork(
        "begin", arguments, orders.as_dict(), campaign.scratch / "app.log"
    )
    await campaign.server.ended(app)
    if read_flight(flight).stops >= orders.count:
        campaign.report.row(kind).reached += 1
    finding = Finding()
    for run_id in set(_run_ids(campaign)) - before:
        folder = RunFolder(campaign.workspace.runs / run_id)
        pids = _trainers_of(folder)
        if len(pids) > 1:
            finding.other.append(f"{run_id} has {len(pids)} trainers")
        if not folder.spec.is_file():
            if pids:
                finding.other.append(f"{run_id} has a trainer, but no run.toml")
            continue
        if not pids:
            continue  # it was never launched: for a while somebody may be about to
        line = Line(campaign.workspace, campaign.data_dir, name, campaign.scratch)
        line.folder = folder
        line.orders()
        campaign.lines.append(line)
        for pid in pids:
            finding.history += await _shows(line, pid)
            await kill(pid)
            with contextlib.suppress(psutil.Error):
                await asyncio.to_thread(psutil.Process(pid).wait, 10)
        finding.add(await campaign.judged(line, kind))
    return finding


async def _trainer(campaign: "Campaign", line: Line) -> int:
    """A trainer of *line* that trains, started by an app that was closed since; its pid."""
    launcher = ForkLauncher(campaign.server, line.orders())
    async with line.supervisor(launcher) as supervisor:
        run = await line.launch(supervisor)
        assert run.process is not None
        await until_training(run, run.process.pid)
        return run.process.pid


async def _end(campaign: "Campaign", pid: int) -> None:
    await kill(pid)
    await campaign.server.ended(pid)


async def _unharmed(line: Line, pid: int) -> list[str]:
    """Whether the trainer lives and its journal goes on."""
    before = line.story().bytes
    deadline = time.monotonic() + _GROWS_WITHIN
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid):
            return ["the trainer died with the app"]
        if line.story().bytes > before:
            return []
        await asyncio.sleep(0.05)
    return [f"the journal stands still for {_GROWS_WITHIN:.0f} s after the app died"]


async def _shows(line: Line, pid: int) -> list[str]:
    """Whether an app that is started now finds the living run, and by the right process."""
    assert line.folder is not None
    async with Supervisor(line.data_dir) as supervisor:
        supervisor.start_background(line.workspace)
        await supervisor.ready.wait()
        deadline = time.monotonic() + DEADLINE
        while True:
            run = supervisor.run(line.folder.run_id)
            if run is not None and run.state is RunState.TRAINING:
                break
            if time.monotonic() > deadline:
                state = run.state.value if run is not None else "not there"
                return [f"the next app shows a living run as {state}"]
            await asyncio.sleep(0.05)
        found = run.process.pid if run.process is not None else 0
        problems = [] if found == pid else [f"the next app takes {found} for the trainer {pid}"]
        await run.poll()
        story = line.story()
        if not 0 <= story.iteration - run.iteration <= 100:
            problems.append(f"the next app shows {run.iteration}, told was {story.iteration}")
        return problems


def _run_ids(campaign: "Campaign") -> list[str]:
    try:
        return [p.name for p in campaign.workspace.runs.iterdir() if not p.name.startswith(".")]
    except OSError:
        return []


def _trainers_of(folder: RunFolder) -> list[int]:
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or ()
        if any(Path(word) == folder.root for word in words if word.startswith("/")):
            found.append(process.pid)
    return found

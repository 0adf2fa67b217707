"""Signals that a trainer meets: the terminal gone, stopped for a while, another clock."""

import asyncio
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from fault_kit import (
    iterations,
    journal,
    make_run,
    numbered_whole,
    of,
    stop,
    tell,
    trainer,
    wait_for,
    wait_until,
)

from recaster_tui.protocol import read_run_spec
from recaster_tui.supervisor import state as run_state
from recaster_tui.supervisor.local import LocalLauncher
from recaster_tui.supervisor.run import Run, write_process
from recaster_tui.supervisor.state import RunState
from recaster_tui.training import clock
from recaster_tui.training.clock import RunningClock


def test_the_clock_of_training_stands_while_the_process_is_stopped() -> None:
    now = 100.0
    running = RunningClock(lambda: now)
    now += 1000.0
    assert running() == 1100.0  # nobody looked all the time: it may have been a long iteration
    running.watch(True)
    for _ in range(20):
        now += 0.5
        running()
    assert running() == 1110.0
    now += 3600.0  # stopped
    assert running() == 1110.0
    now += 0.5
    assert running() == 1110.5
    running.watch(False)
    now += 60.0
    assert running() == 1170.5


def test_a_hangup_does_not_touch_a_trainer(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    with trainer(folder) as process:
        # Before its first word as well: Python itself dies of a hangup.
        at = wait_for(folder, iterations)
        os.kill(process.pid, signal.SIGHUP)
        wait_for(folder, lambda found: iterations(found) > at + 20)
        assert stop(folder, process) == 0
    found = journal(folder)
    assert of(found, "done")[-1]["outcome"] == "stopped"


async def test_stopped_and_continued_it_is_stalled_and_trains_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The real limits are half a minute; what is judged is the order of states, not their length.
    monkeypatch.setattr(run_state, "SILENCE_SECONDS", 7.0)
    folder = make_run(tmp_path)
    with trainer(folder) as process:
        wait_for(folder, iterations)
        launcher = LocalLauncher()
        run = Run(folder, read_run_spec(folder.spec), launcher)
        await run.poll()
        assert run.state is RunState.TRAINING
        begun = time.monotonic()
        os.kill(process.pid, signal.SIGSTOP)
        await asyncio.to_thread(
            wait_until, lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED
        )
        await run.poll()
        before = run.elapsed_seconds
        async with asyncio.timeout(30):
            while run.state is not RunState.STALLED:
                await asyncio.sleep(0.1)
                await run.poll()
        assert "alive but silent" in run.message
        assert run.elapsed_seconds == pytest.approx(before, abs=5.0)
        os.kill(process.pid, signal.SIGCONT)
        at = run.iteration
        async with asyncio.timeout(30):
            while run.state is not RunState.TRAINING or run.iteration <= at + 50:
                await asyncio.sleep(0.1)
                await run.poll()
        stood = time.monotonic() - begun
        assert stood > clock.GAP_SECONDS
        tell(folder, "stop", "end")
        assert await asyncio.to_thread(process.wait, 60) == 0
        await run.poll()
        assert run.state is RunState.STOPPED
    found = journal(folder)
    assert numbered_whole(found)
    told = of(found, "iterations")
    trained = told[-1]["trained"]
    lived = found[-1].t - found[0].t
    assert trained < lived - clock.GAP_SECONDS  # the hour at the debugger is no hour of training
    assert run.elapsed_seconds == pytest.approx(trained)
    # Nor do the iterations look slow: the speed is that of a process that runs.
    assert max(data["ms"] for data in told) < 1000 * clock.GAP_SECONDS


@pytest.mark.parametrize("jump", [-86_400, 86_400 * 365])
async def test_a_clock_that_is_set_while_it_trains_changes_neither_state_nor_durations(
    tmp_path: Path, jump: int
) -> None:
    """The trainer's clock jumps (as all clocks of its machine would, the app's a moment before)."""
    folder = make_run(tmp_path)
    # Written by whoever launched it, by the clock as it was before.
    with trainer(folder, FAKE_CLOCK=f"40,{jump}") as process:
        launcher = LocalLauncher()
        from recaster_tui.supervisor.launcher import ProcessId

        started = psutil.Process(process.pid).create_time()
        write_process(folder, ProcessId(process.pid, started, os.uname().nodename))
        run = Run(folder, read_run_spec(folder.spec), launcher)
        seen = set()
        async with asyncio.timeout(60):
            while run.iteration < 120:
                await run.poll()
                if run.iteration > 45:
                    seen.add(run.state)
                await asyncio.sleep(0.02)
        assert seen == {RunState.TRAINING}
        assert 0 < run.elapsed_seconds < 60
        fresh = Run(folder, read_run_spec(folder.spec), launcher)  # somebody attaches now
        await fresh.poll()
        if jump > 0:
            assert fresh.state is RunState.TRAINING
        tell(folder, "save", "now")
        tell(folder, "backup", "too", note="")
        tell(folder, "stop", "end")
        assert await asyncio.to_thread(process.wait, 60) == 0
        await run.poll()
        assert run.state is RunState.STOPPED
        assert 0 < run.elapsed_seconds < 60
    found = journal(folder)
    assert numbered_whole(found)
    assert abs(found[-1].t - found[0].t) > 3600  # it did jump
    assert of(found, "backup")

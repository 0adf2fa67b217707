"""Trainers that do not react are ended: real processes, and never another one."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
from supervisor_kit import QUICK, until

from recaster_tui.errors import EnvironmentProblem, RecasterError
from recaster_tui.protocol import CommandName, decode_event
from recaster_tui.supervisor import LocalLauncher, NoAnswerError, ProcessId, RunState
from recaster_tui.supervisor.ending import How, end_run, unsaved
from recaster_tui.supervisor.local import send_signal


async def trained(supervisor, workspace, iterations: int = 5):
    run = await supervisor.start(workspace, QUICK)
    await until(run, lambda r: r.iteration >= iterations)
    return run


async def test_one_that_listens_is_asked_and_nothing_more(supervisor, workspace) -> None:
    run = await trained(supervisor, workspace)
    told: list[str] = []
    assert await end_run(run, tell=told.append) is How.STOPPED
    assert run.state is RunState.STOPPED and not await run.process_alive()
    assert told[0] == "asking it to stop" and not any("SIG" in step for step in told)
    assert await end_run(run) is How.OVER


async def test_a_stopped_one_is_woken_and_saves(supervisor, workspace) -> None:
    run = await trained(supervisor, workspace)
    os.kill(run.process.pid, signal.SIGSTOP)
    assert await end_run(run, grace=10.0) is How.STOPPED
    assert run.state is RunState.STOPPED
    assert run.facts.saved_iteration == run.iteration


async def test_a_deaf_one_gets_sigterm_and_still_saves(supervisor, workspace, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_DEAF", "1")
    run = await trained(supervisor, workspace)
    assert await end_run(run, grace=0.5) is How.TERMINATED
    assert run.state is RunState.STOPPED
    assert unsaved(run).iterations == 0
    assert not await run.process_alive()


async def test_a_stubborn_one_is_killed_and_the_record_says_so(
    supervisor, workspace, monkeypatch
) -> None:
    monkeypatch.setenv("FAKE_STUBBORN", "1")
    monkeypatch.setenv("FAKE_DEAF", "save")
    run = await trained(supervisor, workspace)
    assert (await run.command(CommandName.SAVE)).ok
    saved = run.facts.saved_iteration
    await until(run, lambda r: r.iteration > saved)
    told: list[str] = []
    how = await end_run(run, grace=0.5, tell=told.append)
    assert how is How.KILLED
    assert run.state is RunState.STOPPED and "killed by SIGKILL" in run.message
    lost = run.iteration - saved
    assert f"iteration {saved:,}" in run.message and f"{lost:,} iteration" in run.message
    assert "SIGKILL" in told[-1]
    record = next(r for r in supervisor.records() if r.run_id == run.run_id)
    assert (record.state, record.message) == (RunState.STOPPED, run.message)
    assert record.saved_iteration == saved
    # The journal is whole, and the run goes on in it.
    lines = run.folder.journal.read_bytes().splitlines()
    assert [decode_event(line).seq for line in lines] == list(range(1, len(lines) + 1))
    assert decode_event(lines[-1]).data["killed"] is True
    monkeypatch.delenv("FAKE_STUBBORN")
    monkeypatch.delenv("FAKE_DEAF")
    again = await supervisor.resume(run.run_id)
    await until(again, lambda r: r.iteration > record.iteration)
    assert await end_run(again) is How.STOPPED


async def test_without_asking_and_saving_it_is_killed_at_once(supervisor, workspace) -> None:
    run = await trained(supervisor, workspace)
    assert await end_run(run, ask=False, save=False) is How.KILLED
    assert "saved nothing yet" in run.message
    assert run.state is RunState.STOPPED


async def test_one_that_said_goodbye_must_go(supervisor, workspace, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_LINGER", "600")
    run = await trained(supervisor, workspace)
    assert (await run.command(CommandName.STOP)).ok
    await until(run, lambda r: r.state is RunState.STOPPED)
    assert await run.process_alive()
    assert await end_run(run, grace=0.2) is How.KILLED  # its SIGTERM handler only sets a flag
    assert not await run.process_alive()
    assert run.state is RunState.STOPPED and "killed" not in run.message


@pytest.fixture
def bystander():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


async def test_a_reused_pid_is_never_signalled(supervisor, workspace, bystander) -> None:
    """The trainer died; its pid is another process's now."""
    run = await trained(supervisor, workspace)
    old = run.process
    process = psutil.Process(old.pid)
    process.kill()
    await asyncio.to_thread(process.wait)
    # As far as anybody can tell, this is the trainer's pid, with the start time of the trainer.
    run.process = replace(old, pid=bystander.pid, started=old.started - 3600)
    launcher = LocalLauncher()
    for number in (signal.SIGCONT, signal.SIGTERM, signal.SIGKILL):
        assert not await run.signal(number)
        assert not await launcher.signal(run.process, number)
    assert await end_run(run, grace=0.1) is How.OVER
    assert await end_run(run, grace=0.1, ask=False, save=False) is How.OVER
    assert bystander.poll() is None


def test_the_start_time_is_compared_after_the_pid_is_pinned(bystander, monkeypatch) -> None:
    """The process may die and its pid be given away between any two of our steps."""
    started = psutil.Process(bystander.pid).create_time()
    process = ProcessId(bystander.pid, started, "")
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append(number))
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: started + 5.0)
    assert not send_signal(process, signal.SIGTERM)
    monkeypatch.undo()
    assert sent == [] and bystander.poll() is None
    order: list[str] = []
    pin, look = os.pidfd_open, psutil.Process.create_time
    monkeypatch.setattr(os, "pidfd_open", lambda pid: order.append("pin") or pin(pid))
    monkeypatch.setattr(
        psutil.Process, "create_time", lambda self: order.append("look") or look(self)
    )
    assert send_signal(process, signal.SIGTERM)
    assert order[0] == "pin" and order[-1] == "look"
    assert bystander.wait(timeout=30) == -signal.SIGTERM
    assert not send_signal(process, signal.SIGKILL)


async def test_unknown_or_elsewhere_is_no_target(bystander) -> None:
    launcher = LocalLauncher()
    with pytest.raises(EnvironmentProblem, match="nobody knows"):
        await launcher.signal(ProcessId(bystander.pid, 0.0, ""), signal.SIGTERM)
    with pytest.raises(EnvironmentProblem, match="runs on other"):
        await launcher.signal(ProcessId(bystander.pid, time.time(), "other"), signal.SIGTERM)
    assert bystander.poll() is None


async def test_one_that_was_started_meanwhile_is_left_alone(
    supervisor, workspace, bystander, monkeypatch
) -> None:
    """The run has another trainer by the time that signals are due."""
    monkeypatch.setenv("FAKE_DEAF", "1")
    run = await trained(supervisor, workspace)
    old = run.process
    started = psutil.Process(bystander.pid).create_time()

    def tell(step: str) -> None:
        if "SIGTERM" in step:
            run.process = ProcessId(bystander.pid, started, old.host)

    with pytest.raises(RecasterError, match="another trainer of this run"):
        await end_run(run, grace=0.3, tell=tell)
    assert bystander.poll() is None
    run.process = old
    assert await end_run(run, grace=0.3) is How.TERMINATED


async def test_one_that_cannot_be_asked_is_ended_by_a_signal(supervisor, workspace) -> None:
    """A full disk takes no command."""
    run = await trained(supervisor, workspace)
    with pytest.MonkeyPatch.context() as patch:

        async def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(run._launcher, "append", full)
        with pytest.raises(NoAnswerError, match="No space left"):
            await run.command(CommandName.STOP)
        assert await end_run(run, grace=5.0) is How.TERMINATED
    assert run.state is RunState.STOPPED and unsaved(run).iterations == 0

"""Whole runs with real processes, and everything that may happen to them."""

import asyncio
import json
import os
import shutil
import signal
import sys
import tomllib
from pathlib import Path

import numpy as np
import psutil
import pytest
from supervisor_kit import FAKE, QUICK, until

from recaster_tui.errors import BadInputError
from recaster_tui.options import OptionsError
from recaster_tui.protocol import CommandName
from recaster_tui.supervisor import (
    LocalLauncher,
    NoAnswerError,
    ProcessId,
    RunRequest,
    RunState,
    Supervisor,
    default_model_name,
)


def limited(iterations: int) -> RunRequest:
    return RunRequest(QUICK.model_class, model_name="first", target_iterations=iterations)


async def test_a_run_trains_to_its_target(supervisor, workspace, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_STEP", "0.002")
    run = await supervisor.start(workspace, limited(60))
    assert run.state is RunState.STARTING
    await until(run, lambda r: r.state.over)
    assert run.state is RunState.FINISHED and run.iteration == 60
    assert np.array_equal(run.losses["iteration"], np.arange(1, 61))
    assert run.device["name"] == "fake" and [m.kind for m in run.markers] == ["saved"]
    assert run.spec.src == "data_src/aligned" and run.spec.options["batch_size"]
    await supervisor.aclose()
    record = supervisor.history.get(run.run_id)
    assert record is not None
    assert (record.state, record.iteration, record.saved_iteration) == ("finished", 60, 60)
    assert record.options == run.spec.options and record.workspace == str(workspace.root)
    assert np.allclose(supervisor.history.losses(run.run_id)["src"], run.losses["src"], rtol=1e-4)
    assert supervisor.recent_workspaces() == [workspace.root]


async def test_commands_are_acknowledged_and_show(supervisor, workspace) -> None:
    run = await supervisor.start(workspace, QUICK)
    await until(run, lambda r: r.state is RunState.TRAINING)
    assert (await run.command(CommandName.PAUSE)).ok
    await until(run, lambda r: r.state is RunState.PAUSED)
    trained = run.elapsed_seconds
    assert (await run.command(CommandName.SAVE)).ok
    assert (await run.command(CommandName.BACKUP, note="before GAN")).ok
    assert (await run.command(CommandName.RESUME)).ok
    assert (await run.command(CommandName.SET, key="target_iterations", value=10**6)).ok
    await until(run, lambda r: r.state is RunState.TRAINING)
    assert run.target_iterations == 10**6 and run.eta_seconds > 0
    assert [m.kind for m in run.markers] == ["saved", "backup", "option"]
    ack = await run.command("dance")
    assert not ack.ok and "unknown" in ack.message
    assert (await run.command(CommandName.STOP)).ok
    await until(run, lambda r: r.state is RunState.STOPPED)
    assert run.elapsed_seconds >= trained
    with pytest.raises(BadInputError, match="not running"):
        await run.command(CommandName.PAUSE)


async def test_closing_the_supervisor_leaves_the_trainer_and_another_finds_it(
    tmp_path, supervisor, workspace
) -> None:
    run = await supervisor.start(workspace, QUICK)
    await until(run, lambda r: r.iteration >= 5)
    await supervisor.aclose()
    async with Supervisor(tmp_path / "data", command=FAKE) as second:
        found = await second.attach("last")
        assert found.run_id == run.run_id and found.state is RunState.TRAINING
        assert found.losses["iteration"][0] == 1
        await until(found, lambda r: r.iteration > run.iteration + 5)
        await found.command(CommandName.STOP)
        await until(found, lambda r: r.state is RunState.STOPPED)
    assert not found.notices


async def test_a_killed_trainer_is_failed_within_ten_seconds(supervisor, workspace) -> None:
    run = await supervisor.start(workspace, QUICK)
    await until(run, lambda r: r.iteration >= 5)
    os.kill(run.process.pid, signal.SIGKILL)
    await until(run, lambda r: r.state is RunState.FAILED, seconds=10)
    assert "SIGKILL" in run.error
    # And it goes on in the same folder, with the same curve.
    last = run.iteration
    again = await supervisor.resume(run.run_id)
    assert again is run
    await until(run, lambda r: r.iteration >= last + 5)
    assert "resumed" in [m.kind for m in run.markers]
    assert np.array_equal(run.losses["iteration"], np.arange(1, len(run.losses) + 1))
    assert not run.notices


async def test_why_a_trainer_failed_is_told(supervisor, workspace, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_CRASH", "cannot find the flux capacitor")
    run = await supervisor.start(workspace, QUICK)
    await until(run, lambda r: r.state.over)
    assert run.state is RunState.FAILED and "flux capacitor" in run.error
    assert "exit code 1" in run.error
    monkeypatch.delenv("FAKE_CRASH")
    monkeypatch.setenv("FAKE_FATAL", "too few faces")
    run = await supervisor.start(workspace, QUICK)
    await until(run, lambda r: r.state.over)
    assert run.error == "too few faces"
    assert supervisor.records()[0].message == "too few faces"


async def test_a_second_run_on_the_same_model_is_refused(supervisor, workspace) -> None:
    run = await supervisor.start(workspace, QUICK)
    with pytest.raises(BadInputError, match=f"already being trained by run {run.run_id}"):
        await supervisor.start(workspace, QUICK)
    with pytest.raises(BadInputError, match="is still"):
        await supervisor.resume(run.run_id)
    other = await supervisor.start(workspace, RunRequest(QUICK.model_class, model_name="other"))
    assert len(list(workspace.runs.iterdir())) == 2
    await until(other, lambda r: r.state is RunState.TRAINING)
    # One may start right behind the goodbye of the other.
    await until(run, lambda r: r.state is RunState.TRAINING)
    await run.command(CommandName.STOP)
    await until(run, lambda r: r.state.over)
    await supervisor.start(workspace, QUICK)


async def test_bad_requests_make_nothing(supervisor, workspace) -> None:
    with pytest.raises(OptionsError, match="batch_size"):
        await supervisor.start(workspace, RunRequest(QUICK.model_class, {"batch_sise": 3}))
    with pytest.raises(BadInputError, match="cannot be a model's name"):
        await supervisor.start(workspace, RunRequest(QUICK.model_class, model_name="../up"))
    (workspace.dst_faces / "face.jpg").rename(workspace.dst_faces / "face.png")
    with pytest.raises(BadInputError, match="no destination faces"):
        await supervisor.start(workspace, QUICK)
    shutil.rmtree(workspace.dst_faces)
    with pytest.raises(BadInputError, match="no destination faces"):
        await supervisor.start(workspace, QUICK)
    assert not workspace.runs.exists()


async def test_a_target_that_the_model_has_reached_is_refused(supervisor, workspace) -> None:
    folder = workspace.models / "first.quick96"
    (folder / "generations" / "000000060").mkdir(parents=True)
    (folder / "CURRENT").write_text("000000060\n")
    for target in (10, 60):
        with pytest.raises(BadInputError, match=f"has 60 iterations, the target is {target}"):
            await supervisor.start(workspace, limited(target))
    assert not workspace.runs.exists() or not list(workspace.runs.iterdir())
    run = await supervisor.start(workspace, limited(61))
    assert run.target_iterations == 61


async def test_a_finished_run_needs_another_target(supervisor, workspace, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_STEP", "0.001")
    run = await supervisor.start(workspace, limited(5))
    await until(run, lambda r: r.state.over)
    with pytest.raises(BadInputError, match="has reached its 5 iterations"):
        await supervisor.resume(run.run_id)
    more = await supervisor.resume(run.run_id, target_iterations=9, changes={"batch_size": 2})
    assert more.run_id != run.run_id and more.spec.model_folder == run.spec.model_folder
    assert more.spec.options["batch_size"] == 2 and more.spec.target_iterations == 9
    await until(more, lambda r: r.state.over)
    assert more.state is RunState.FINISHED


async def test_history_is_repaired_from_runs_nobody_watched(
    tmp_path, supervisor, workspace
) -> None:
    run = await supervisor.start(workspace, limited(40))
    await until(run, lambda r: r.iteration >= 1)
    supervisor._follow(run)
    await supervisor.aclose()
    assert supervisor.history.get(run.run_id).state.live
    while await LocalLauncher().alive(run.process):
        await asyncio.sleep(0.02)
    # The app's record is stale; and of a run of another machine there is none at all.
    foreign = workspace.runs / "20200101T000000-quick96-abcd"
    shutil.copytree(run.folder.root, foreign)
    text = (foreign / "run.toml").read_text().replace(run.run_id, foreign.name)
    (foreign / "run.toml").write_text(text)
    async with Supervisor(tmp_path / "data", command=FAKE) as second:
        second.start_background(workspace)
        await second.ready.wait()
        while len(second.records()) < 2:
            await second.changed.wait()
    for run_id in (run.run_id, foreign.name):
        record = second.history.get(run_id)
        assert (record.state, record.iteration) == ("finished", 40)
        assert len(second.history.losses(run_id)) == 40


async def test_the_background_finds_runs_that_others_start_and_restart(
    tmp_path, supervisor, workspace
) -> None:
    supervisor.start_background(workspace)
    async with Supervisor(tmp_path / "elsewhere", command=FAKE) as other:
        run = await other.start(workspace, QUICK)
        async with asyncio.timeout(20):
            while supervisor.run(run.run_id) is None:
                await supervisor.changed.wait()
        seen = supervisor.run(run.run_id)
        await until(seen, lambda r: r.iteration >= 3)
        await seen.command(CommandName.STOP)
        await until(seen, lambda r: r.state is RunState.STOPPED)
        await until(run, lambda r: r.state is RunState.STOPPED)
        await other.resume(run.run_id)
        await until(seen, lambda r: r.state is RunState.TRAINING)
        assert seen.process == run.process


async def test_a_folder_that_vanishes_is_lost_and_then_missing(
    tmp_path, supervisor, workspace
) -> None:
    run = await supervisor.start(workspace, QUICK)
    await until(run, lambda r: r.iteration >= 3)
    await run.command(CommandName.PAUSE)
    moved = workspace.root.with_name("moved")
    workspace.root.rename(moved)
    await until(run, lambda r: r.state is RunState.LOST)
    moved.rename(workspace.root)
    await until(run, lambda r: r.state is RunState.PAUSED)
    workspace.root.rename(moved)
    await supervisor.aclose()
    async with Supervisor(tmp_path / "data", command=FAKE) as second:
        await second.repair()
        assert second.records()[0].state is RunState.LOST
        with pytest.raises(BadInputError, match="is gone"):
            await second.attach(run.run_id)
    moved.rename(workspace.root)


async def test_a_deaf_trainer_and_a_frozen_one(supervisor, workspace, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_DEAF", "1")
    run = await supervisor.start(workspace, QUICK)
    await until(run, lambda r: r.iteration >= 1)
    with pytest.raises(NoAnswerError, match="did not answer"):
        await run.command(CommandName.PAUSE, timeout=0.3)
    monkeypatch.setattr("recaster_tui.supervisor.state.SILENCE_SECONDS", 0.5)
    os.kill(run.process.pid, signal.SIGSTOP)
    await until(run, lambda r: r.state is RunState.STALLED)
    os.kill(run.process.pid, signal.SIGCONT)
    await until(run, lambda r: r.state is RunState.TRAINING)


async def test_trainers_start_detached_and_clean(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setenv("RECASTER_HOME", "kept")
    script = (
        "import os, json, sys; sys.stdout.write(json.dumps({'sid': os.getsid(0), "
        "'env': dict(os.environ), 'in': sys.stdin.read()})); sys.stderr.write('!')"
    )
    launcher, log = LocalLauncher(), tmp_path / "trainer.log"
    log.write_text("before\n")
    process = await launcher.start([sys.executable, "-c", script], log=log, cwd=tmp_path)
    while await launcher.alive(process):
        await asyncio.sleep(0.01)
    assert launcher.exit_note(process) == "exit code 0"
    assert not psutil.pid_exists(process.pid), "a dead child is reaped"
    first, said = log.read_text().split("\n")
    told = json.loads(said.rstrip("!"))
    assert first == "before" and said.endswith("!")
    assert told["sid"] == process.pid and told["in"] == ""
    assert "TEXTUAL_ANIMATIONS" not in told["env"] and told["env"]["RECASTER_HOME"] == "kept"


async def test_a_pid_used_again_is_not_taken_for_the_trainer() -> None:
    me, launcher = psutil.Process(), LocalLauncher()
    mine = ProcessId(me.pid, me.create_time(), "")
    assert await launcher.alive(mine) is True
    assert await launcher.alive(ProcessId(me.pid, me.create_time() - 100, "")) is False
    # A clock that was set: the command line still proves who it is.
    shifted = ProcessId(me.pid, me.create_time() - 100, "")
    assert await launcher.alive(shifted, me.cmdline()[-1]) is True
    assert await launcher.alive(ProcessId(me.pid, me.create_time(), "other-machine")) is None


async def test_a_workspaces_own_modules_are_never_run(tmp_path, workspace) -> None:
    trap = workspace.root / "recaster_tui"
    trap.mkdir()
    (trap / "__init__.py").write_text("open('sprung', 'w')")
    (workspace.root / "torch.py").write_text("open('sprung', 'w')")
    async with Supervisor(tmp_path / "data") as supervisor:
        run = await supervisor.start(workspace, limited(1))
        await until(run, lambda r: r.state.over, seconds=90)
    assert not (workspace.root / "sprung").exists()


async def test_records_are_plain_toml_and_damaged_ones_do_no_harm(supervisor, workspace) -> None:
    run = await supervisor.start(workspace, limited(3))
    await until(run, lambda r: r.state.over)
    await supervisor.aclose()
    path: Path = supervisor.history.path(run.run_id)
    table = tomllib.loads(path.read_text())
    assert table["losses"]["iteration"] == [1, 2, 3] and table["model_name"] == "first"
    path.with_name("broken.toml").write_text("run_id = ")
    assert [r.run_id for r in supervisor.history.records()] == [run.run_id]
    assert supervisor.history.find(run.run_id[-4:]).run_id == run.run_id
    with pytest.raises(BadInputError, match="no run 'nonsense'"):
        supervisor.history.find("nonsense")


@pytest.mark.parametrize(
    ("text", "name"),
    [("saehd_128", "saehd-128"), ("  ..", "new"), ("Ünï", "n"), ("a b.c-d", "a b.c-d")],
)
def test_default_model_names_are_valid(text: str, name: str) -> None:
    found = default_model_name(text)
    assert found == name


async def test_a_relaunched_trainer_is_not_judged_by_its_dead_predecessor(
    tmp_path, supervisor, workspace, monkeypatch
) -> None:
    run = await supervisor.start(workspace, QUICK)
    await until(run, lambda r: r.iteration >= 3)
    os.kill(run.process.pid, signal.SIGKILL)
    await until(run, lambda r: r.state is RunState.FAILED)
    monkeypatch.setenv("FAKE_SLOW_START", "3")
    await supervisor.resume(run.run_id)
    # The journal of this moment ends with the words of the dead one.
    async with Supervisor(tmp_path / "elsewhere", command=FAKE) as other:
        await other.adopt(workspace)
        seen = await other.attach(run.run_id)
        assert seen.state.live and seen.process == run.process
        await until(seen, lambda r: r.facts.hellos == 2)
    # And one that dies before its first word does not look like a slow starter.
    os.kill(run.process.pid, signal.SIGKILL)
    await until(run, lambda r: r.state is RunState.FAILED)


async def test_a_trainer_killed_before_its_first_word_is_failed(
    tmp_path, supervisor, workspace, monkeypatch
) -> None:
    monkeypatch.setenv("FAKE_SLOW_START", "60")
    run = await supervisor.start(workspace, QUICK)
    os.kill(run.process.pid, signal.SIGKILL)
    await until(run, lambda r: r.state is RunState.FAILED, seconds=10)
    async with Supervisor(tmp_path / "elsewhere", command=FAKE) as other:
        await other.adopt(workspace)
        assert (await other.attach(run.run_id)).state is RunState.FAILED

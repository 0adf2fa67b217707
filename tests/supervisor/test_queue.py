"""The queue: its files, who is next, and a keeper that may die anywhere."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_kit import Machine, keeper_life
from supervisor_kit import FAKE, until

from recaster_tui.errors import BadInputError
from recaster_tui.options import ModelClass, OptionsError
from recaster_tui.supervisor import RunRequest, RunState, Supervisor, queue_device
from recaster_tui.supervisor import queue as queue_module
from recaster_tui.supervisor.queue import Queue
from recaster_tui.supervisor.queue_entry import QueueState, launch_mark
from recaster_tui.supervisor.queue_keeper import Keeper
from recaster_tui.workspace import Workspace, open_workspace

WAITING, RUNNING, DONE = QueueState.WAITING, QueueState.RUNNING, QueueState.DONE


def wish(name: str, iterations: int = 20, **more: object) -> RunRequest:
    return RunRequest(ModelClass.QUICK96, model_name=name, target_iterations=iterations, **more)  # type: ignore[arg-type]


def make_workspace(root: Path) -> Workspace:
    for side in ("src", "dst"):
        faces = root / f"data_{side}" / "aligned"
        faces.mkdir(parents=True)
        (faces / "face.jpg").touch()
    return open_workspace(root)


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path / "data")


def names(queue: Queue) -> str:
    return "".join(e.model_name for e in queue.waiting())


# -- files ----------------------------------------------------------------------------------------


def test_an_entry_is_a_file_and_another_program_reads_the_same(queue, workspace) -> None:
    entry = queue.add(workspace, wish("a", 40, options={"batch_size": 3}, device="cpu"))
    assert (queue.folder / f"{entry.id}.toml").is_file()
    assert Queue(queue.data_dir).entries() == [entry]
    assert entry.options["batch_size"] == 3 and entry.target_iterations == 40
    assert (entry.state, entry.slot, entry.workspace) == (WAITING, "cpu", str(workspace.root))
    queue.remove(entry.id)
    assert Queue(queue.data_dir).entries() == [] and queue.entries() == []


def test_what_would_never_end_or_cannot_be_done_is_refused(queue, workspace) -> None:
    with pytest.raises(BadInputError, match="needs an end") as caught:
        queue.add(workspace, wish("a", 0))
    assert "--iterations" in str(caught.value)
    with pytest.raises(OptionsError):
        queue.add(workspace, wish("a", options={"batch_size": "many"}))
    with pytest.raises(BadInputError, match="cannot be a model's name"):
        queue.add(workspace, wish("a/b"))
    assert not queue.entries()
    timed = queue.add(workspace, wish("a", 0, target_seconds=60.0))
    assert timed.target_seconds == 60.0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-5, 5)), max_size=12), st.booleans())
@settings(max_examples=40)
def test_moving_keeps_everybody_and_does_what_a_list_does(moves, tied: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        workspace = make_workspace(Path(folder) / "ws")
        queue = Queue(Path(folder) / "data")
        ids = [queue.add(workspace, wish(name)).id for name in "abcde"]
        if tied:  # as two programs may have left them: who was added first comes first
            for id_ in ids:
                queue.update(id_, order=1.0)
        expected = list(ids)
        for which, step in moves:
            here = expected.index(ids[which])
            there = max(0, min(here + step, 4))
            assert queue.move(ids[which], step) == (there != here)
            expected.insert(there, expected.pop(here))
            assert [e.id for e in Queue(queue.data_dir).waiting()] == expected


def test_moving_back_and_forth_for_ever_finds_room(queue, workspace) -> None:
    a, _, _ = (queue.add(workspace, wish(name)) for name in "abc")
    for _ in range(120):  # halves the room each time; a float has 53 bits
        assert queue.move(a.id, 1) and names(queue) == "bac"
        assert queue.move(a.id, -1) and names(queue) == "abc"


@pytest.mark.parametrize("content", [b"", b"\0" * 300, b"id = 3\n", b"[", b"\xff\xfe"])
def test_a_damaged_file_is_named_and_set_aside_the_rest_goes_on(
    queue, workspace, content: bytes
) -> None:
    bad, good = (queue.add(workspace, wish(name)) for name in "ab")
    path = queue.folder / f"{bad.id}.toml"
    path.write_bytes(content)
    (queue.folder / "settings.toml").write_bytes(b"slots = 3")
    assert names(queue) == "b" and queue.get(good.id) == good
    assert queue.settings().slots_of("cpu") == 1 and not queue.paused
    problems = queue.problems()
    assert len(problems) == 2 and any(bad.id in text for text in problems)
    assert (queue.folder / "damaged" / path.name).read_bytes() == content  # nothing is lost
    queue.add(workspace, wish("c"))
    assert names(queue) == "bc"


def test_a_half_written_file_is_no_entry(queue, workspace) -> None:
    queue.add(workspace, wish("a"))
    (queue.folder / ".x.toml.abc.tmp").write_text("half")
    (queue.folder / "note.txt").write_text("mine")
    assert names(queue) == "a" and not queue.problems()


def test_slots_and_pause_are_kept(queue, workspace) -> None:
    queue.add(workspace, wish("a", device="cuda"))
    queue.set_slots("cpu", 3)
    queue.set_paused(True)
    again = Queue(queue.data_dir)
    assert again.slots() == {"cpu": 3, "cuda:0": 1} and again.paused and not again.has_work()
    for wrong in (0, 17):
        with pytest.raises(BadInputError, match="must be 1 to 16"):
            queue.set_slots("cpu", wrong)


def test_entries_are_found_by_place_id_run_and_name(queue, workspace) -> None:
    a, b = (queue.add(workspace, wish(name)) for name in ("anna", "bert"))
    assert queue.find("2") == b and queue.find("anna") == a and queue.find(a.id) == a
    assert queue.find(b.id[-6:]) == b
    with pytest.raises(BadInputError, match="has no 'carl'"):
        queue.find("carl")
    queue.add(workspace, wish("anna", 30))
    with pytest.raises(BadInputError, match="fits 2 entries"):
        queue.find("anna")


def test_auto_is_counted_as_what_it_takes(monkeypatch) -> None:
    monkeypatch.setattr(queue_device, "_GPU_NODES", ("/dev/null",))
    monkeypatch.setattr(queue_device, "version", lambda _: "2.13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for taken, env, build in (
        ("cuda:0", None, "2.13.0"), ("cpu", "", "2.13.0"), ("cpu", None, "2.13.0+cpu"),
    ):  # fmt: skip
        queue_device._automatic.cache_clear()
        monkeypatch.setattr(queue_device, "version", lambda _, b=build: b)
        if env is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", env)
        else:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        assert queue_device.device_of("auto") == (taken if sys.platform == "linux" else "mps")
    queue_device._automatic.cache_clear()
    assert queue_device.device_of("cuda") == "cuda:0"
    assert queue_device.device_of("cuda:1") == "cuda:1"


# -- a keeper that dies ---------------------------------------------------------------------------


def _queue_of(folder: str, *wishes: str) -> tuple[Queue, list[str]]:
    workspace = make_workspace(Path(folder) / "ws")
    queue = Queue(Path(folder) / "data")
    return queue, [queue.add(workspace, wish(name, device="cpu")).id for name in wishes]


async def _finish(machine: Machine, queue: Queue, patch: pytest.MonkeyPatch) -> None:
    for _ in range(8):
        if not queue.has_work():
            return
        assert await keeper_life(machine, queue.data_dir, patch, steps=6)


async def test_every_single_point_of_death(monkeypatch) -> None:
    """Killed at each point between choosing, launching and noting: started once, never lost."""
    point = 0
    while True:
        with tempfile.TemporaryDirectory() as folder:
            machine = Machine()
            queue, ids = _queue_of(folder, "a", "b")
            survived = await keeper_life(
                machine, queue.data_dir, monkeypatch, steps=6, countdown=point
            )
            await _finish(machine, queue, monkeypatch)
            found = {e.id: e for e in queue.entries()}
            assert [found[i].state for i in ids] == [DONE, DONE], point
            assert [machine.launches[found[i].run_id] for i in ids] == [1, 1], point
            assert machine.order == [found[i].run_id for i in ids], point
            assert len(list((Path(folder) / "ws" / "runs").iterdir())) == 2
        if survived:
            break
        point += 1
    assert point > 20  # there were many


_fates = st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=5)


@given(_fates)
@settings(max_examples=25)
def test_deaths_and_restarts_of_the_machine_in_any_order(fates) -> None:
    async def live() -> None:
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            machine = Machine()
            queue, ids = _queue_of(folder, "a", "b", "c")
            reboots = 0
            for countdown, reboot in fates:
                await keeper_life(machine, queue.data_dir, patch, steps=2, countdown=countdown)
                if reboot and reboots < 3:
                    reboots += 1
                    machine.reboot()
                else:
                    machine.train()
            await _finish(machine, queue, patch)
            found = {e.id: e for e in queue.entries()}
            # Machine.start itself refuses two trainers on one run.
            assert [found[i].state for i in ids] == [DONE] * 3
            assert machine.order == [found[i].run_id for i in ids]
            assert all(machine.launches[found[i].run_id] <= 1 + reboots for i in ids)
            assert reboots or set(machine.launches.values()) == {1}

    asyncio.run(live())


async def test_a_machine_that_goes_down_each_time_is_not_asked_for_ever(
    tmp_path, queue, workspace, monkeypatch
) -> None:
    machine = Machine()
    first, second = (queue.add(workspace, wish(n, device="cpu")).id for n in "ab")
    for restarts in range(4):
        await keeper_life(machine, queue.data_dir, monkeypatch, steps=1, train=False)
        entry = queue.get(first)
        assert (entry.state, entry.restarts) == (RUNNING, restarts)
        machine.reboot()
    await keeper_life(machine, queue.data_dir, monkeypatch, steps=1, train=False)
    entry = queue.get(first)
    assert entry.state is QueueState.FAILED and "went down 4 times" in entry.why
    await _finish(machine, queue, monkeypatch)
    assert queue.get(second).state is DONE and machine.launches[entry.run_id] == 4


async def test_the_next_one_waits_until_the_process_before_has_gone(
    queue, workspace, monkeypatch
) -> None:
    """Its last word said, it may still hold the memory of the device."""
    machine = Machine()
    first, second = (queue.add(workspace, wish(n, device="cpu")).id for n in "ab")

    async def look() -> tuple[str, str]:
        await keeper_life(machine, queue.data_dir, monkeypatch, steps=1, train=False)
        return queue.get(first).state.value, queue.get(second).state.value

    await look()
    machine.train()
    machine.train(linger=True)
    assert b'"done"' in queue.get(first).folder.journal.read_bytes()
    assert await look() == ("running", "waiting")
    machine.running.clear()
    assert await look() == ("done", "running")


# -- who may start --------------------------------------------------------------------------------


class Stage:
    """A keeper over fake trainers that are real processes, looked at by hand."""

    def __init__(self, queue: Queue, supervisor: Supervisor) -> None:
        self.queue, self.supervisor = queue, supervisor
        self.keeper = Keeper(queue, supervisor)

    def states(self) -> dict[str, str]:
        return {e.model_name: e.state.value for e in self.queue.entries()}

    async def until(self, condition, seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await self.keeper.step()
                await asyncio.sleep(0.02)


@pytest.fixture
async def stage(queue: Queue, supervisor: Supervisor, monkeypatch) -> Stage:
    monkeypatch.setenv("FAKE_STEP", "0.01")
    return Stage(queue, supervisor)


async def test_slots_are_per_device_and_order_is_kept(stage, workspace) -> None:
    for name in "abc":
        stage.queue.add(workspace, wish(name, 10**6, device="cpu"))
    stage.queue.add(workspace, wish("gpu", 10**6, device="cuda:1"))
    await stage.keeper.step()
    assert stage.states() == {"a": "running", "gpu": "running", "b": "waiting", "c": "waiting"}
    assert "cpu is taken by a" in stage.queue.waiting()[0].why
    stage.queue.move(stage.queue.waiting()[1].id, -1)  # c before b
    stage.queue.set_slots("cpu", 2)
    await stage.keeper.step()
    assert stage.states()["c"] == "running" and stage.states()["b"] == "waiting"
    assert "2 of 2" in stage.queue.waiting()[0].why
    stage.queue.start_now(stage.queue.waiting()[0].id)
    stage.queue.set_paused(True)  # now means now
    await stage.keeper.step()
    assert set(stage.states().values()) == {"running"}


async def test_runs_that_others_start_take_slots_too(stage, workspace, tmp_path) -> None:
    async with Supervisor(stage.queue.data_dir, command=FAKE) as other:
        by_hand = await other.start(workspace, wish("hand", 10**6, device="cpu"))
        await until(by_hand, lambda r: r.state is RunState.TRAINING)
        stage.queue.add(workspace, wish("a", 5, device="cpu"))
        await stage.until(lambda: "taken by hand" in stage.queue.waiting()[0].why)
        await stage.keeper.step()
        assert stage.states() == {"a": "waiting"}
        await by_hand.command("stop")
        await until(by_hand, lambda r: r.state.over)
    await stage.until(lambda: stage.states() == {"a": "done"})


async def test_a_model_that_is_trained_already_waits_and_others_pass(stage, workspace) -> None:
    stage.queue.set_slots("cpu", 4)
    stage.queue.add(workspace, wish("same", 10**6, device="cpu"))
    stage.queue.add(workspace, wish("same", 10**6 + 1, device="cpu"))
    stage.queue.add(workspace, wish("other", 5, device="cpu"))
    await stage.until(lambda: stage.states().get("other") == "done")
    first, second = (e for e in stage.queue.entries() if e.model_name == "same")
    assert (first.state, second.state) == (RUNNING, WAITING)
    assert f"trained by run {first.run_id}" in second.why
    run = await stage.supervisor.attach(first.run_id)
    await run.command("stop")
    await stage.until(lambda: stage.queue.get(second.id).state is RUNNING)
    assert stage.queue.get(first.id).state is QueueState.STOPPED


async def test_one_that_cannot_start_fails_with_the_reason_and_the_next_has_its_turn(
    stage, workspace, tmp_path, monkeypatch
) -> None:
    gone = make_workspace(tmp_path / "gone")
    empty = make_workspace(tmp_path / "empty")
    stage.queue.add(gone, wish("gone", device="cpu"))
    stage.queue.add(empty, wish("empty", device="cpu"))
    stage.queue.add(workspace, wish("good", 5, device="cpu"))
    (tmp_path / "gone").rename(tmp_path / "moved")
    (empty.src_faces / "face.jpg").unlink()
    await stage.until(lambda: stage.states().get("good") == "done")
    found = {e.model_name: e for e in stage.queue.entries()}
    assert "no such workspace" in found["gone"].why and str(tmp_path / "gone") in found["gone"].why
    assert "no source faces" in found["empty"].why
    assert {found[n].state for n in ("gone", "empty")} == {QueueState.FAILED}
    (tmp_path / "moved").rename(tmp_path / "gone")  # mended: r, and its turn comes
    stage.queue.again(found["gone"].id)
    await stage.until(lambda: stage.states()["gone"] == "done")


async def test_a_trainer_that_fails_or_is_killed_ends_its_entry_and_may_go_on(
    stage, workspace, monkeypatch
) -> None:
    monkeypatch.setenv("FAKE_FATAL", "out of patience")
    bad = stage.queue.add(workspace, wish("bad", device="cpu"))
    await stage.until(lambda: stage.queue.get(bad.id).state is QueueState.FAILED)
    assert "out of patience" in stage.queue.get(bad.id).why
    monkeypatch.delenv("FAKE_FATAL")
    shot = stage.queue.add(workspace, wish("shot", 10**6, device="cpu"))
    await stage.until(lambda: stage.queue.get(shot.id).state is RUNNING)
    run = await stage.supervisor.attach(stage.queue.get(shot.id).run_id)
    await until(run, lambda r: r.iteration > 3)
    os.kill(run.process.pid, signal.SIGKILL)
    await stage.until(lambda: stage.queue.get(shot.id).state is QueueState.FAILED)
    assert "without a last word" in stage.queue.get(shot.id).why
    stage.queue.again(shot.id)
    await stage.until(lambda: stage.queue.get(shot.id).state is RUNNING)
    assert stage.queue.get(shot.id).run_id == run.run_id  # the same run goes on
    with pytest.raises(BadInputError, match="does not wait"):
        stage.queue.start_now(shot.id)
    stage.queue.remove(shot.id)
    await stage.keeper.step()
    assert psutil.pid_exists(run.process.pid)  # only the list forgets it


async def test_a_restarted_machine_goes_on_and_who_was_quicker_is_left_alone(
    stage, workspace, monkeypatch
) -> None:
    entry = stage.queue.add(workspace, wish("a", 10**6, device="cpu"))
    await stage.until(lambda: stage.queue.get(entry.id).state is RUNNING)
    run = await stage.supervisor.attach(stage.queue.get(entry.id).run_id)
    await until(run, lambda r: r.iteration > 3)
    stage.queue.set_paused(True)
    os.kill(run.process.pid, signal.SIGKILL)
    monkeypatch.setattr("recaster_tui.supervisor.queue_keeper.boot_id", lambda: "another boot")
    await stage.until(lambda: stage.queue.get(entry.id).state is WAITING)
    assert "machine was restarted" in stage.queue.get(entry.id).why
    await stage.supervisor.resume(run.run_id)  # by hand, before its turn has come
    await until(run, lambda r: r.state is RunState.TRAINING)
    stage.queue.set_paused(False)
    await stage.until(lambda: stage.queue.get(entry.id).state is RUNNING)
    assert stage.queue.get(entry.id).run_id == run.run_id
    assert len(list(workspace.runs.iterdir())) == 1


async def test_the_workspace_vanishes_while_its_run_is_alive(stage, workspace, tmp_path) -> None:
    entry = stage.queue.add(workspace, wish("a", 10**6, device="cpu"))
    after = stage.queue.add(make_workspace(tmp_path / "ws2"), wish("b", 5, device="cpu"))
    await stage.until(lambda: stage.queue.get(entry.id).state is RUNNING)
    run = stage.supervisor.run(stage.queue.get(entry.id).run_id)
    await until(run, lambda r: r.state is RunState.TRAINING)
    workspace.root.rename(tmp_path / "elsewhere")
    await stage.until(lambda: run.state is RunState.LOST or run.state.over)
    os.kill(run.process.pid, signal.SIGKILL)
    await stage.until(lambda: stage.queue.get(entry.id).state is QueueState.FAILED)
    await stage.until(lambda: stage.queue.get(after.id).state is DONE)
    (tmp_path / "elsewhere").rename(workspace.root)


# -- keepers as processes -------------------------------------------------------------------------

FAKE_RECASTER = Path(__file__).parent.parent / "cli" / "recaster_with_fake_trainer.py"


@pytest.fixture
def detached(queue: Queue, monkeypatch):
    """Keepers of this queue are real processes with fake trainers; none stays behind."""
    command = (sys.executable, str(FAKE_RECASTER), "queue", "keep")
    monkeypatch.setattr(queue_module, "KEEPER_COMMAND", command)
    monkeypatch.setenv("FAKE_STEP", "0.01")

    def keepers() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            words = process.info["cmdline"] or []
            if str(queue.data_dir) in words and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found

    yield keepers
    for process in keepers():
        process.kill()


def wait_for(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_three_runs_are_done_in_order_though_keepers_are_killed(queue, workspace, detached) -> None:
    ids = [queue.add(workspace, wish(name, 120, device="cpu")).id for name in "abc"]
    killed = 0
    for id_ in ids:
        assert queue.wake() or queue.keeper_alive() or not queue.has_work()
        wait_for(lambda i=id_: queue.get(i).state is RUNNING)
        for process in detached():
            process.kill()
            killed += 1
        wait_for(lambda: not queue.keeper_alive())
        assert not queue.get(id_).state.over
        wait_for(queue.wake)  # as soon as the death of the one before is known here
        wait_for(lambda i=id_: queue.get(i).state.over)
    wait_for(lambda: not queue.keeper_alive())  # nothing waits: it has ended by itself
    assert killed == 3 and not queue.wake()
    entries = [queue.get(i) for i in ids]
    assert [e.state for e in entries] == [DONE] * 3
    assert [e.iteration for e in entries] == [120] * 3
    for before, after in pairwise(entries):
        assert before.ended <= after.started
    for entry in entries:
        journal = entry.folder.journal.read_bytes()
        assert journal.count(b'"type":"hello"') == 1  # started once
    assert len(list(workspace.runs.iterdir())) == 3


def test_there_is_one_keeper_however_many_are_started(queue, workspace, detached) -> None:
    queue.add(workspace, wish("a", 150, device="cpu"))
    command = [*queue_module.KEEPER_COMMAND, "--data", str(queue.data_dir)]
    several = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    first = {p.pid for p in several if p.poll() is None}
    ended = [p for p in several if p.communicate(timeout=60)[1].find(b"another keeper") >= 0]
    assert len(ended) == 2 and len(first) == 3
    assert all(p.returncode == 0 for p in several)
    (entry,) = queue.entries()
    assert entry.state is DONE and len(list(workspace.runs.iterdir())) == 1


def test_a_trainer_launched_by_a_keeper_that_died_before_noting_it_is_found(
    queue, workspace, detached
) -> None:
    """Killed between the launch and process.toml: only the process itself tells of it."""
    entry = queue.add(workspace, wish("a", 100, device="cpu"))
    chosen = queue.claim(entry.id, "20261122T153000-quick96-0001", "boot")
    from recaster_tui.protocol import write_run_spec
    from recaster_tui.supervisor import make_spec

    folder = chosen.folder
    folder.root.mkdir(parents=True)
    write_run_spec(folder.spec, make_spec(workspace, chosen.request, chosen.run_id))
    environment = {**os.environ, "FAKE_SLOW_START": "4"}
    trainer = subprocess.Popen([*FAKE, str(folder.root)], env=environment)
    assert launch_mark(folder) == chosen.launch
    assert queue.wake()
    wait_for(lambda: queue.get(entry.id).state is RUNNING)
    assert not folder.process.exists()
    assert trainer.wait(60) == 0
    wait_for(lambda: queue.get(entry.id).state.over)
    assert queue.get(entry.id).state is DONE
    assert folder.journal.read_bytes().count(b'"type":"hello"') == 1


def test_a_paused_queue_needs_no_keeper_and_an_empty_one_neither(queue, workspace) -> None:
    assert not queue.wake() and not queue.folder.exists()
    queue.add(workspace, wish("a"))
    queue.set_paused(True)
    assert not queue.wake()


async def test_an_entry_that_nobody_can_look_at_does_not_hold_up_the_others(
    queue, workspace, monkeypatch
) -> None:
    machine = Machine()
    first = queue.add(workspace, wish("a"))
    assert await keeper_life(machine, queue.data_dir, monkeypatch, steps=1)
    assert queue.get(first.id).state is RUNNING
    second = queue.add(workspace, wish("b"))
    queue.set_slots(second.slot, 2)

    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("an example")

    with monkeypatch.context() as patch:
        patch.setattr(Supervisor, "attach", broken)
        assert await keeper_life(machine, queue.data_dir, monkeypatch, steps=1, train=False)
    assert "ZeroDivisionError" in queue.get(first.id).why
    assert queue.get(first.id).state is RUNNING  # its run goes on, it keeps its place
    assert queue.get(second.id).state is RUNNING

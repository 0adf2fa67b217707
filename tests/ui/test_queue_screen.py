"""The queue on the screen: Q on Train adds, Q on Runs shows it, keys change the files."""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Stage
from history_kit import Rig
from scripted import ScriptedTrainer
from textual.pilot import Pilot

from recaster_tui.options import ModelClass
from recaster_tui.supervisor import RunRequest
from recaster_tui.supervisor.queue import Queue
from recaster_tui.supervisor.queue_entry import QueueState
from recaster_tui.ui.queue_list import QueueView, added_text
from recaster_tui.ui.screens.dialogs import Confirm
from recaster_tui.ui.screens.queue import QueueScreen
from recaster_tui.ui.screens.quit import QuitScreen
from recaster_tui.ui.screens.runs import RunsScreen
from recaster_tui.ui.screens.train import TrainScreen

Live = tuple[Rig, QueueScreen, Pilot[int]]


def wish(name: str, iterations: int = 1000, device: str = "cpu") -> RunRequest:
    return RunRequest(
        ModelClass.QUICK96, model_name=name, device=device, target_iterations=iterations
    )


async def settle(pilot: Pilot[int]) -> None:
    for _ in range(2):
        await pilot.pause()
        await pilot.app.workers.wait_for_complete()
        if isinstance(pilot.app.screen, QueueScreen):
            pilot.app.screen.tick()
    await pilot.pause()


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield Rig(tmp_path)
    time.tzset()


@pytest.fixture
async def live(rig: Rig) -> AsyncIterator[Live]:
    """One running (the scripted trainer), three waiting, one failed."""
    app = rig.app(mode="runs")
    queue = app.queue
    running, *_, bad = [
        queue.add(rig.workspace, wish(name)) for name in ("anna-to-bert", "b", "c", "d", "bad")
    ]
    run_id = rig.live.spec.run_id
    queue.update(running.id, state=QueueState.RUNNING, run_id=run_id, started=1.0)
    why = "no such workspace folder\n  in: /gone\n  hint: bring it back"
    queue.update(bad.id, state=QueueState.FAILED, why=why, ended=2.0)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("Q")
        await settle(pilot)
        assert isinstance(app.screen, QueueScreen)
        yield rig, app.screen, pilot


def rows(screen: QueueScreen) -> list[str]:
    return [screen.table.render_line(i + 1).text for i in range(len(screen.table.keys))]


def waiting(screen: QueueScreen) -> str:
    return "".join(e.model_name for e in Queue(screen.queue.data_dir).waiting())


async def test_rows_say_what_each_entry_does_and_why(live: Live) -> None:
    _, screen, pilot = live
    first, second, *_, last = rows(screen)
    assert "● running" in first and "anna-to-bert" in first
    assert "3,000/1,000" in first and "training" in first  # what its run says now
    assert "1 ○ waiting" in second and "Quick96" in second and "film" in second
    assert "✖ failed" in last and "no such workspace folder" in last and "hint" not in last
    await pilot.press("G")
    await settle(pilot)
    assert "bring it back" in screen.query_one("#queue-detail").render_line(0).text
    panel = screen.query_one("#queue-panel")
    assert "3 runs waiting" in str(panel.border_subtitle)
    assert "cpu 1/1" in str(panel.border_subtitle)
    assert "not queued" not in str(panel.border_subtitle)
    running = next(e for e in screen.queue.entries() if e.state is QueueState.RUNNING)
    screen.queue.remove(running.id)  # its run goes on, and its slot stays taken
    await settle(pilot)
    assert "cpu 1/1 (1 not queued)" in str(panel.border_subtitle)


async def test_keys_change_the_order_and_the_cursor_stays_on_its_entry(live: Live) -> None:
    _, screen, pilot = live
    await pilot.press("j", "J")
    assert waiting(screen) == "cbd" and screen.table.entry().model_name == "b"
    await pilot.press("shift+down")
    assert waiting(screen) == "cdb"
    await pilot.press("shift+down")  # there is no later
    assert waiting(screen) == "cdb"
    await pilot.press("K", "shift+up", "K")
    assert waiting(screen) == "bcd" and screen.table.entry().model_name == "b"


async def test_pause_slots_now_again_remove_and_clear(live: Live) -> None:
    _, screen, pilot = live
    queue = Queue(screen.queue.data_dir)
    await pilot.press("space")
    assert queue.paused
    await settle(pilot)
    assert "paused" in str(screen.query_one("#queue-panel").border_title)
    assert "the queue is paused" in rows(screen)[1]
    await pilot.press("space")
    assert not queue.paused
    await pilot.press("plus", "plus", "minus")
    assert queue.slots() == {"cpu": 2}
    await pilot.press("minus", "minus")
    assert queue.slots() == {"cpu": 1}  # never none: that would be a pause nobody sees
    await pilot.press("j", "s")
    (entry,) = (e for e in queue.waiting() if e.now)
    assert entry.model_name == "b"
    await pilot.press("d")
    await settle(pilot)
    assert isinstance(pilot.app.screen, Confirm) and len(queue.waiting()) == 3
    await pilot.press("y")
    await settle(pilot)
    assert waiting(screen) == "cd"
    await pilot.press("G", "r")
    assert waiting(screen) == "cdbad"
    queue.update(queue.waiting()[0].id, state=QueueState.DONE)
    await settle(pilot)
    await pilot.press("c")
    assert [e.model_name for e in queue.entries()] == ["anna-to-bert", "d", "bad"]


async def test_enter_opens_the_run_and_escape_goes_back(live: Live) -> None:
    rig, _, pilot = live
    await pilot.press("escape")
    await settle(pilot)
    assert isinstance(pilot.app.screen, RunsScreen)
    await pilot.press("Q", "g", "enter")
    await settle(pilot)
    assert isinstance(pilot.app.screen, TrainScreen)
    assert pilot.app.current_run.run_id == rig.live.spec.run_id


async def test_another_program_changes_the_files(live: Live) -> None:
    rig, screen, pilot = live
    other = Queue(screen.queue.data_dir)
    other.add(rig.workspace, wish("e"))
    other.set_slots("cpu", 3)
    (other.folder / "broken.toml").write_text("id = [")
    await settle(pilot)
    assert "4 ○ waiting" in rows(screen)[4] and "e" in rows(screen)[4]
    assert "cpu 1/3" in str(screen.query_one("#queue-panel").border_subtitle)
    assert "broken.toml is damaged" in screen.query_one("#queue-detail").render_line(0).text


@pytest.mark.parametrize("size", [(80, 24), (60, 16), (200, 60)])
async def test_it_fits(rig: Rig, size: tuple[int, int]) -> None:
    app = rig.app(mode="runs")
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("Q")
        await settle(pilot)
        assert "The queue is empty" in "".join(
            app.screen.query_one("#queue-table").render_line(y).text for y in (1, 2)
        )
        app.queue.add(rig.workspace, wish("only", 250_000))
        await settle(pilot)
        line = rows(app.screen)[0]
        assert "waiting" in line and "only" in line and "250,000" in line


# -- Q on Train ---------------------------------------------------------------------------------


@pytest.fixture
def train(tmp_path: Path, workspace, trainer: ScriptedTrainer) -> Stage:
    return Stage(tmp_path / "data", workspace, trainer)


def messages(pilot: Pilot[int]) -> str:
    return " | ".join(f"{n.title}: {n.message}" for n in pilot.app._notifications)


async def test_q_queues_what_is_configured_and_says_that_it_waits(train: Stage) -> None:
    async with train.app.run_test(size=(120, 40)) as pilot:
        await train.settle(pilot)
        await pilot.press("Q")  # the model that trains goes there already
        await train.settle(pilot)
        assert "on its way to iteration 100,000 already" in messages(pilot)
        await pilot.press("n")
        await train.settle(pilot)
        form = train.train.form_model
        form.values["target_iterations"] = 0
        await pilot.press("Q")
        await train.settle(pilot)
        assert "a queued run needs an end" in messages(pilot)
        assert not train.app.queue.entries()
        assert train.train.form.rows.row.field.key == "target_iterations"
        form.values["target_iterations"] = 5000
        await pilot.press("Q")
        await train.settle(pilot)
        (entry,) = train.app.queue.entries()
        assert (entry.model_name, entry.target_iterations) == (form.name, 5000)
        assert f"{form.name} is in the queue: number 1: waits until anna-to-bert" in messages(pilot)
        await pilot.press("Q")
        await train.settle(pilot)
        assert "waits already" in messages(pilot) and len(train.app.queue.entries()) == 1


async def test_leaving_tells_of_the_queue_and_stopping_pauses_it(
    train: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    async with train.app.run_test(size=(100, 30)) as pilot:
        await train.settle(pilot)
        train.app.queue.add(train.app.workspace, wish("next"))
        await pilot.press("q")
        await pilot.pause()
        assert isinstance(train.app.screen, QuitScreen)
        text = train.app.screen.query_one("DialogText Static").render()
        assert "1 in the queue" in str(text)
        await pilot.press("s")
        await train.until(pilot, lambda: train.app.queue.paused)
        await train.until(pilot, lambda: train.app._exit)
    assert "1 run waits in the paused queue" in capsys.readouterr().err


async def test_the_app_tells_of_turns_and_of_a_keeper_that_does_not_stay(
    tmp_path: Path, workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path / "data", workspace)
    queue, watch = stage.app.queue, stage.app.queue_watch
    monkeypatch.setattr("recaster_tui.supervisor.queue.KEEPER_COMMAND", ("true",))
    entry = queue.add(workspace, wish("a"))
    said = []
    for _ in range(6):
        said += await watch.look()
        assert queue._child is not None
        queue._child.wait(30)
    assert [(n.title, n.severity) for n in said] == [("Queue", "warning")]
    assert "keeper.log" in said[0].text
    queue.set_paused(True)
    queue.update(entry.id, state=QueueState.RUNNING, run_id="r")
    (news,) = await watch.look()
    assert (news.title, news.run_id) == ("a", "r") and "its turn has come" in news.text
    queue.update(entry.id, state=QueueState.FAILED, why="no faces")
    (news,) = await watch.look()
    assert (news.text, news.severity) == ("no faces", "error")
    assert await watch.look() == []


def test_what_is_said_of_an_added_entry(tmp_path: Path, workspace) -> None:
    queue = Queue(tmp_path / "data")
    first = queue.add(workspace, wish("a"))
    view = QueueView.of(queue)
    assert added_text(first, view, []) == "it starts in a moment"
    second = queue.add(workspace, wish("b"))
    assert "number 2: waits for those before it on cpu" in added_text(
        second, QueueView.of(queue), []
    )
    queue.update(first.id, state=QueueState.RUNNING, run_id="r")
    assert "number 1: waits until a ends on cpu" in added_text(second, QueueView.of(queue), [])
    assert "the queue is paused" in added_text(
        second, replace(QueueView.of(queue), paused=True), []
    )

"""The Snapshots screen over a model on disk: what keys do to its folder, and what is refused."""

import fcntl
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Stage
from scripted import NOW, ScriptedTrainer
from textual.pilot import Pilot
from textual.widgets import Input

from recaster_tui.checkpoints.snapshots import create_snapshot, find_point, restore_points
from recaster_tui.checkpoints.store import (
    FILES,
    LOSSES,
    MANIFEST,
    OPTIMIZER,
    STATE,
    WEIGHTS,
    current_name,
    publish,
    verify,
    write_backup,
)
from recaster_tui.files import write_toml
from recaster_tui.protocol import EventType, decode_event, read_losses
from recaster_tui.protocol.losses import loss_rows
from recaster_tui.supervisor import RunState
from recaster_tui.ui import snapshot_work, stopping
from recaster_tui.ui.screens.dialog_words import AskWords
from recaster_tui.ui.screens.dialogs import Confirm
from recaster_tui.ui.screens.quit import QuitScreen
from recaster_tui.ui.screens.snapshots import SnapshotsScreen
from recaster_tui.workspace import Workspace

Live = tuple[Stage, Pilot[int]]


def generation(folder: Path, iteration: int, run_id: str = "", **live: float) -> None:
    """A generation as a trainer writes it; the store does not look into tensors."""

    def fill(place: Path, name: str) -> None:
        (place / WEIGHTS).write_bytes(b"w" * 4000 + bytes([iteration % 256]))
        (place / OPTIMIZER).write_bytes(b"o" * 2000)
        state = {"run_id": run_id, "model_class": "saehd", "trained_seconds": 2.0 * iteration}
        write_toml(place / STATE, state | {"options": {"batch_size": iteration}, "live": live})
        rows = loss_rows(1, [[100.0 / i, 50.0 / i] for i in range(1, iteration + 1)], 10.0)
        (place / LOSSES).write_bytes(rows.tobytes())
        from recaster_tui.checkpoints.files import digest_file

        digests = {f: digest_file(place / f) for f in FILES}
        files = {f: {"size": d.size, "sha256": d.sha256} for f, d in digests.items()}
        manifest = {"format": 1, "generation": name, "iteration": iteration, "files": files}
        (place / MANIFEST).write_text(json.dumps(manifest))

    publish(folder, iteration, fill)


@pytest.fixture
def model(workspace: Workspace, trainer: ScriptedTrainer) -> Path:
    """The model of the scripted run: a backup at 40, a snapshot at 60, the present at 100."""
    folder = workspace.models / "anna-to-bert.saehd"
    run_id = trainer.spec.run_id
    generation(folder, 40, run_id)
    write_backup(folder, verify(folder / "generations" / "000000040"), "first hour")
    generation(folder, 60, run_id, learning_rate=2e-5)
    create_snapshot(folder, "before GAN", "looks good")
    generation(folder, 100, run_id)
    return folder


@pytest.fixture
async def over(
    stage: Stage, trainer: ScriptedTrainer, model: Path
) -> AsyncIterator[tuple[Stage, Pilot[int]]]:
    """The run has ended; the screen is open."""
    trainer.done("stopped")
    async with stage.app.run_test(size=(120, 40)) as pilot:
        await stage.settle(pilot)
        assert stage.app.current_run is not None
        assert stage.app.current_run.state is RunState.STOPPED
        await pilot.press("V")
        await opened(stage, pilot)
        yield stage, pilot


@pytest.fixture
async def live(stage: Stage, model: Path) -> AsyncIterator[tuple[Stage, Pilot[int]]]:
    async with stage.app.run_test(size=(120, 40)) as pilot:
        await stage.settle(pilot)
        yield stage, pilot


async def opened(stage: Stage, pilot: Pilot[int]) -> SnapshotsScreen:
    await stage.until(pilot, lambda: isinstance(stage.app.screen, SnapshotsScreen))
    screen = stage.app.screen
    assert isinstance(screen, SnapshotsScreen)
    await stage.until(pilot, lambda: bool(screen.table.keys))
    return screen


async def idle(stage: Stage, pilot: Pilot[int], screen: SnapshotsScreen) -> None:
    await stage.until(pilot, lambda: not screen.busy)
    await stage.app.workers.wait_for_complete()
    await pilot.pause()


async def dialog(stage: Stage, pilot: Pilot[int], kind: type) -> None:
    await stage.until(pilot, lambda: isinstance(stage.app.screen, kind))
    await pilot.pause()


async def type_in(pilot: Pilot[int], key: str, text: str) -> None:
    pilot.app.screen.query_one(f"#words-{key}", Input).value = text
    await pilot.pause()


def told(stage: Stage) -> str:
    return "\n".join(f"{n.title}: {n.message}" for n in stage.app._notifications)


def names(screen: SnapshotsScreen) -> list[tuple[str, int]]:
    points = [screen.table.points[k] for k in screen.table.keys]
    return [(screen.table.name_of(p), p.iteration) for p in points]


async def test_everything_one_can_go_back_to_is_listed(over: Live, model: Path) -> None:
    stage, pilot = over
    screen = await opened(stage, pilot)
    assert set(names(screen)) == {
        ("the present", 100),
        ("the save before", 60),
        ("before GAN", 60),
        ("backup", 40),
    }
    older = replace(
        next(
            p for p in screen.table.points.values() if screen.table.name_of(p) == "the save before"
        ),
        path=model / "generations" / "000000001",
        created=1.0,
    )
    screen.table.points[str(older.path)] = older
    assert screen.table.name_of(older) == "the last good save"
    del screen.table.points[str(older.path)]
    screen.table.goto(str(find_point(model, "before GAN").path))
    await pilot.pause(0.2)
    await screen.detail.settled()
    text = screen.detail.plain
    for word in ("before GAN", "looks good", "40 before the present", "2m 00s", "Batch size"):
        assert word in text
    assert "60" in text.split("Batch size")[1] and "now 100" in text.split("Batch size")[1]
    await pilot.press("slash", *"gan", "enter")
    assert names(screen) == [("before GAN", 60)]
    await pilot.press("escape", "o", "o", "o")  # by iterations, the most first
    assert [n for _, n in names(screen)] == [100, 60, 60, 40]
    await pilot.press("O", "g")
    assert screen.table.point is not None and screen.table.point.iteration == 40
    await pilot.press("G")
    assert screen.table.point is not None and screen.table.point.iteration == 100
    await pilot.press("enter")
    assert screen.has_class("-detail") and screen.focused is screen.detail
    await pilot.press("escape", "escape")
    await stage.until(pilot, lambda: stage.app.screen is not screen)


async def test_restore_goes_back_and_everybody_shows_it(
    over: Live, model: Path, trainer: ScriptedTrainer
) -> None:
    stage, pilot = over
    screen = await opened(stage, pilot)
    run = stage.app.current_run
    assert run is not None and run.iteration == 20_000
    screen.table.goto(str(find_point(model, "before GAN").path))
    await pilot.press("r")
    await dialog(stage, pilot, Confirm)
    await pilot.press("y")
    await stage.until(pilot, lambda: current_name(model) == "000000060-2")
    await idle(stage, pilot, screen)
    kept = find_point(model, "before restoring before GAN")
    assert (kept.kind, kept.iteration) == ("snapshot", 100)
    assert "is at iteration 60 again" in told(stage) and kept.name in told(stage)
    # The run says so: figures, curve, marks, options, and its record.
    assert (run.iteration, run.facts.saved_iteration, len(run.losses)) == (60, 60, 60)
    assert run.state is RunState.STOPPED and "restored to iteration 60" in run.message
    assert all(m.iteration <= 60 for m in run.markers) and run.markers[-1].kind == "restored"
    assert all(p.iteration <= 60 for p in run.previews)
    assert run.options["learning_rate"] == 2e-5  # changed live, and saved with it
    assert np.array_equal(
        read_losses(trainer.folder.losses), read_losses(model / "generations/000000060-2" / LOSSES)
    )
    assert stage.supervisor.records()[0].iteration == 60
    lines = trainer.folder.journal.read_bytes().splitlines()
    assert [decode_event(line).seq for line in lines] == list(range(1, len(lines) + 1))
    await pilot.press("escape")
    await stage.until(pilot, lambda: stage.app.screen is not screen)
    await stage.settle(pilot)
    chart = stage.train.chart
    assert len(run.losses) == 60 and any(m.kind == "restored" for m in chart._marks)
    # And forward again: nothing was lost.
    await pilot.press("V")
    screen = await opened(stage, pilot)
    screen.table.goto(str(find_point(model, kept.name).path))
    await pilot.press("r")
    await dialog(stage, pilot, Confirm)
    await pilot.press("y")
    await stage.until(pilot, lambda: (current_name(model) or "").startswith("000000100"))
    await idle(stage, pilot, screen)
    assert run.iteration == 100


async def test_rename_note_delete_export(over: Live, model: Path, workspace: Workspace) -> None:
    stage, pilot = over
    screen = await opened(stage, pilot)
    place = find_point(model, "before GAN").path
    screen.table.goto(str(place))
    await pilot.press("e")
    await dialog(stage, pilot, AskWords)
    await type_in(pilot, "name", "")
    await pilot.press("enter")
    assert isinstance(stage.app.screen, AskWords)  # says why and stays
    await type_in(pilot, "name", "Ünder way")
    await pilot.press("enter")
    await stage.until(pilot, lambda: any(p.name == "Ünder way" for p in restore_points(model)))
    await idle(stage, pilot, screen)
    screen.table.goto(str(place))
    await pilot.press("t")
    await dialog(stage, pilot, AskWords)
    await type_in(pilot, "note", "[bold]kept[/]")
    await pilot.press("enter")
    await stage.until(pilot, lambda: find_point(model, "Ünder way").note == "[bold]kept[/]")
    await idle(stage, pilot, screen)
    await pilot.press("x")
    await dialog(stage, pilot, AskWords)
    await type_in(pilot, "folder", "out/one")
    await pilot.press("enter")
    made = workspace.root / "out" / "one" / model.name
    await stage.until(pilot, lambda: (made / "CURRENT").exists())
    await idle(stage, pilot, screen)
    assert verify(made / "generations" / "000000060").iteration == 60
    # A backup has no name: it is kept under one.
    backup = next(p for p in restore_points(model) if p.kind == "backup")
    screen.table.goto(str(backup.path))
    await pilot.press("e")
    await dialog(stage, pilot, AskWords)
    await type_in(pilot, "name", "from backup")
    await pilot.press("enter")
    await stage.until(pilot, lambda: any(p.name == "from backup" for p in restore_points(model)))
    await idle(stage, pilot, screen)
    assert find_point(model, "from backup").note == "first hour" and backup.path.is_dir()
    screen.table.goto(str(backup.path))
    await pilot.press("d")
    await dialog(stage, pilot, Confirm)
    await pilot.press("enter")  # the harmless answer has the focus
    assert backup.path.is_dir()
    await pilot.press("d")
    await dialog(stage, pilot, Confirm)
    await pilot.press("y")
    await stage.until(pilot, lambda: not backup.path.exists())
    await idle(stage, pilot, screen)
    # The present cannot be deleted, nor restored.
    screen.table.goto(str(screen._current))
    for key, word in (("d", "no need to be deleted"), ("t", "no note"), ("r", "is now")):
        await pilot.press(key)
        await stage.until(pilot, lambda word=word: word in told(stage))
    assert stage.app.screen is screen


async def test_damage_and_a_full_disk_are_told(
    over: Live, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, pilot = over
    screen = await opened(stage, pilot)
    point = find_point(model, "before GAN")
    raw = bytearray((point.path / WEIGHTS).read_bytes())
    raw[100] ^= 1
    (point.path / WEIGHTS).write_bytes(bytes(raw))
    screen.table.goto(str(point.path))
    await pilot.press("r")
    await dialog(stage, pilot, Confirm)
    await pilot.press("y")
    await stage.until(pilot, lambda: "does not match its hash" in told(stage))
    await idle(stage, pilot, screen)
    assert current_name(model) == "000000100"
    assert not [p for p in restore_points(model) if p.name.startswith("before restoring")]
    shutil.rmtree(point.path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recaster_tui.checkpoints.store.write_hashed", full)
    await pilot.press("n")
    await dialog(stage, pilot, AskWords)
    assert stage.app.screen.query_one("#words-name", Input).value == "at 100"
    await pilot.press("enter")
    await stage.until(pilot, lambda: "No space left" in told(stage))
    await idle(stage, pilot, screen)
    assert "hint" in told(stage)
    assert [p.kind for p in restore_points(model)] == ["backup"]
    assert not list((model / "snapshots").glob(".tmp*"))


async def test_who_holds_the_model_is_told(
    over: Live, model: Path, trainer: ScriptedTrainer
) -> None:
    """Another process trains it that this app does not know."""
    stage, pilot = over
    screen = await opened(stage, pilot)
    with (model / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run_id = "20261122T160000-saehd-beef"
        holder = {"pid": 4711, "started": NOW - 100, "host": "rig", "run": run_id}
        lock.write(json.dumps(holder))
        lock.flush()
        screen.table.goto(str(find_point(model, "before GAN").path))
        await pilot.press("r")
        await dialog(stage, pilot, Confirm)
        await pilot.press("y")
        await stage.until(pilot, lambda: "4711" in told(stage))
        await idle(stage, pilot, screen)
    for word in ("process 4711 on rig", run_id, "stop that run first"):
        assert word in told(stage)
    assert current_name(model) == "000000100"


async def test_while_it_trains_keys_go_through_the_trainer(
    live: Live, model: Path, trainer: ScriptedTrainer
) -> None:
    stage, pilot = live
    await pilot.press("v")
    await dialog(stage, pilot, AskWords)
    await type_in(pilot, "name", "now")
    await type_in(pilot, "note", "why not")
    await pilot.press("enter")
    await stage.until(pilot, lambda: "snapshot" in [c for c, _ in trainer.commands])
    assert trainer.commands[-1] == ("snapshot", {"snapshot": "now", "note": "why not"})
    await stage.until(pilot, lambda: "'now' is kept" in told(stage))
    await pilot.press("b")
    await dialog(stage, pilot, AskWords)
    await pilot.press("enter")
    await stage.until(pilot, lambda: trainer.commands[-1] == ("backup", {"note": ""}))
    await pilot.press("V")
    screen = await opened(stage, pilot)
    screen.table.goto(str(find_point(model, "before GAN").path))
    await pilot.press("r")
    await stage.until(pilot, lambda: "Restore is refused" in told(stage))
    for word in (trainer.spec.run_id, "process 4242", "iteration 20,000", "stop that run first"):
        assert word in told(stage)
    # The same keys on Runs are about the run under the cursor.
    await pilot.press("escape", "4")
    await stage.until(pilot, lambda: bool(stage.app.screen.query("#runs-table")))
    await stage.until(pilot, lambda: bool(stage.app.screen.query_one("#runs-table").keys))
    await pilot.press("V")
    assert (await opened(stage, pilot)).folder == model


async def test_x_on_one_that_does_not_react_offers_to_end_it(
    live: Live, trainer: ScriptedTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, pilot = live
    monkeypatch.setattr(stopping, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(stopping, "grace_of", lambda run: 0.2)
    trainer.deaf = True
    await pilot.press("x")
    await dialog(stage, pilot, Confirm)
    text = "\n".join(str(s.render()) for s in stage.app.screen.query("Static"))
    for word in ("process 4242", "15,000 iterations are lost", "iteration 5,000", "SIGTERM"):
        assert word in text
    await pilot.press("enter")  # waiting is the harmless answer
    await stage.until(pilot, lambda: not isinstance(stage.app.screen, Confirm))
    assert stage.launcher.signals == []
    await pilot.press("x")
    await dialog(stage, pilot, Confirm)
    await pilot.press("y")
    run = stage.app.current_run
    assert run is not None
    await stage.until(pilot, lambda: run.state.over)
    await stage.until(pilot, lambda: not stage.app.ending)
    assert [s.name for s in map(_signal, stage.launcher.signals)] == [
        "SIGCONT", "SIGTERM", "SIGCONT", "SIGKILL",
    ]  # fmt: skip
    assert run.state is RunState.STOPPED and "killed by SIGKILL" in run.message
    assert "15,000 iterations" in run.message and "is ended" in told(stage)


def _signal(number: int) -> object:
    import signal

    return signal.Signals(number)


async def test_quitting_does_not_wait_for_ever(
    live: Live, trainer: ScriptedTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, pilot = live
    monkeypatch.setattr(stopping, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(stopping, "grace_of", lambda run: 0.2)
    trainer.deaf = True
    await pilot.press("q")
    await dialog(stage, pilot, QuitScreen)
    await pilot.press("s")
    await dialog(stage, pilot, Confirm)
    await pilot.press("escape")
    await stage.until(pilot, lambda: not isinstance(stage.app.screen, Confirm))
    assert stage.app.is_running and trainer.alive
    await pilot.press("q")
    await dialog(stage, pilot, QuitScreen)
    await pilot.press("s")
    await dialog(stage, pilot, Confirm)
    await pilot.press("y")
    await stage.until(pilot, lambda: stage.app._exit)
    assert not trainer.alive


async def test_stop_without_saving_asks_first(live: Live, trainer: ScriptedTrainer) -> None:
    stage, pilot = live
    await pilot.press("X")
    await dialog(stage, pilot, Confirm)
    text = "\n".join(str(s.render()) for s in stage.app.screen.query("Static"))
    assert "15,000 iterations are lost" in text
    await pilot.press("enter")
    await stage.settle(pilot)
    assert trainer.commands == []
    await pilot.press("X")
    await dialog(stage, pilot, Confirm)
    await pilot.press("y")
    await stage.until(pilot, lambda: bool(trainer.commands))
    assert trainer.commands == [("stop", {"save": False})]
    await stage.settle(pilot)
    assert trainer.folder.journal.read_bytes().count(EventType.DONE.encode()) == 1


def test_suggested_names_are_free(model: Path) -> None:
    assert snapshot_work.suggested_name(model, 100) == "at 100"
    create_snapshot(model, "at 100")
    assert snapshot_work.suggested_name(model, 100) == "at 100 (2)"


@pytest.mark.parametrize("size", [(80, 24), (60, 16)])
async def test_small_windows_keep_the_rows(
    stage: Stage, trainer: ScriptedTrainer, model: Path, size: tuple[int, int]
) -> None:
    trainer.done("stopped")
    async with stage.app.run_test(size=size) as pilot:
        await stage.settle(pilot)
        await pilot.press("V")
        screen = await opened(stage, pilot)
        await pilot.pause()
        shown = "\n".join(
            screen.table.render_line(y).text for y in range(1, screen.table.size.height)
        )
        for word in ("the present", "before GAN", "100", "40"):
            assert word in shown
        await pilot.press("enter")
        assert screen.detail.size.height > 5
        await pilot.press("e")
        await dialog(stage, pilot, AskWords)
        for item in stage.app.screen.query(Input):
            region = item.region
            assert region.height == 1 and region.bottom <= size[1] and region.right <= size[0]

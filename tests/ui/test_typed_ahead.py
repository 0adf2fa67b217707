"""Keys that arrive in one piece: a paste, or a line that hangs and then delivers all at once."""

from pathlib import Path

import pytest
from conftest import Stage
from history_kit import Rig, settle
from scripted import ScriptedTrainer
from test_faces_screen import film, live  # noqa: F401
from test_snapshots_screen import idle, model, opened, over  # noqa: F401
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot

from recaster_tui.ui.screens.dialogs import Confirm, Dialog
from recaster_tui.ui.screens.faces import FacesScreen
from recaster_tui.ui.screens.runs import RunsScreen


async def burst(pilot: Pilot[int], text: str) -> None:
    """All keys of *text* at once, none waiting for what the one before did."""
    for letter in text:
        key = "enter" if letter == "\r" else _character_to_key(letter)
        pilot.app.post_message(events.Key(key, letter))
    for _ in range(3):
        await pilot.pause()


async def test_a_path_pasted_into_the_filter_of_snapshots_restores_nothing(
    over: tuple[Stage, Pilot[int]],  # noqa: F811
    model: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, pilot = over
    screen = await opened(stage, pilot)
    before = sorted(str(p) for p in model.rglob("*"))
    await pilot.press("j")
    await burst(pilot, "/r/work/dx\r")
    await stage.until(pilot, lambda: screen.query_text == "r/work/dx")
    assert stage.app.screen is screen and screen.focused is screen.table
    assert sorted(str(p) for p in model.rglob("*")) == before
    await pilot.press("escape")

    # Without the slash they are keys, but one question is asked, and nothing typed answers it.
    monkeypatch.setattr(Dialog, "DEAF_SECONDS", 60.0)
    await stage.until(pilot, lambda: bool(screen.table.keys))
    screen.table.goto(next(k for k in screen.table.keys if "backup" in k))
    await burst(pilot, "rrrd")
    await stage.until(pilot, lambda: isinstance(stage.app.screen, Confirm))
    await burst(pilot, "y\rdy")
    asked = stage.app.screen
    assert isinstance(asked, Confirm) and stage.app.screen_stack[-2] is screen
    assert sorted(str(p) for p in model.rglob("*")) == before
    asked._listen()  # its first moment is over
    await pilot.press("escape")
    await idle(stage, pilot, screen)
    assert stage.app.screen is screen
    assert sorted(str(p) for p in model.rglob("*")) == before


async def test_a_question_listens_after_its_first_moment(
    stage: Stage, trainer: ScriptedTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dialog, "DEAF_SECONDS", 0.05)
    async with stage.app.run_test() as pilot:
        await stage.settle(pilot)
        answers: list[bool | None] = []
        stage.app.push_screen(Confirm("Sure?", "really", yes="Do it"), answers.append)
        await pilot.pause()
        asked = stage.app.screen
        assert isinstance(asked, Confirm)
        await stage.until(pilot, lambda: not asked._deaf)
        await pilot.press("y")
        await stage.until(pilot, lambda: answers == [True])


async def test_what_follows_the_slash_on_runs_is_the_filter(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    app = rig.app(mode="runs")
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        await burst(pilot, "/opt:d/xpsQ")
        assert screen.filter_input.value == "opt:d/xpsQ"
        assert app.screen is screen and not rig.live.folder.control.exists()


async def test_what_follows_the_slash_on_faces_is_the_filter(
    live: tuple[FacesScreen, Pilot[int]],  # noqa: F811
) -> None:
    screen, pilot = live
    await burst(pilot, "/name:d/du")
    field = screen.query_one("#faces-filter-input")
    assert field.value == "name:d/du" and screen.focused is field  # type: ignore[attr-defined]
    assert screen.side is not None and not list(screen.side.workspace.root.rglob("trash/*/*.jpg"))

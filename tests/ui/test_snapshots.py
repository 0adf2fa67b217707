"""What the screens look like. After a change on purpose: pytest tests/ui --snapshot-update."""

import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Stage
from scripted import ScriptedTrainer
from textual.pilot import Pilot

from recaster_tui.protocol import EventType
from recaster_tui.workspace import Workspace

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="one baseline Python for pictures"
)

SIZES = [(80, 24), (120, 40), (200, 60)]


def _ids(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


@pytest.mark.parametrize("size", SIZES, ids=_ids)
def test_training(stage: Stage, size: tuple[int, int], snap_compare: Any) -> None:
    assert snap_compare(stage.app, terminal_size=size, run_before=stage.settle)


@pytest.mark.parametrize("size", SIZES, ids=_ids)
def test_configuring(empty_stage: Stage, size: tuple[int, int], snap_compare: Any) -> None:
    async def edit(pilot: Pilot[int]) -> None:
        await empty_stage.settle(pilot)
        empty_stage.train.form.rows.goto("resolution")
        await pilot.press("enter", "7", "enter")
        await empty_stage.settle(pilot)

    assert snap_compare(empty_stage.app, terminal_size=size, run_before=edit)


def test_preview_tab_when_narrow(stage: Stage, snap_compare: Any) -> None:
    async def show(pilot: Pilot[int]) -> None:
        await stage.settle(pilot)
        stage.train.open_tab("preview")
        await stage.settle(pilot)

    assert snap_compare(stage.app, terminal_size=(80, 24), run_before=show)


def test_loading(tmp_path: Path, workspace: Workspace, frozen: None, snap_compare: Any) -> None:
    trainer = ScriptedTrainer(workspace)
    trainer.hello()
    trainer.say(EventType.PHASE, phase="loading-data", text="reading faces")
    trainer.say(
        EventType.PROGRESS,
        what="faces src",
        current=173,
        total=400,
        unit="faces",
        text="reading source faces",
    )
    stage = Stage(tmp_path / "data", workspace, trainer)
    assert snap_compare(stage.app, terminal_size=(120, 40), run_before=stage.settle)


@pytest.mark.parametrize("key", ["question_mark", "q"], ids=["help", "quit"])
def test_dialogs(stage: Stage, key: str, snap_compare: Any) -> None:
    async def ask(pilot: Pilot[int]) -> None:
        await stage.settle(pilot)
        await pilot.press(key)
        await pilot.pause()

    assert snap_compare(stage.app, terminal_size=(80, 24), run_before=ask)


def test_day_theme(stage: Stage, snap_compare: Any) -> None:
    stage.app.theme = "day"
    assert snap_compare(stage.app, terminal_size=(120, 40), run_before=stage.drawn)

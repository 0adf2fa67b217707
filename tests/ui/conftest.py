import time
from collections.abc import Callable
from pathlib import Path

import pytest
from scripted import NOW, ScriptedLauncher, ScriptedTrainer, make_workspace
from textual.pilot import Pilot

from recaster_tui.protocol import EventType
from recaster_tui.supervisor import Supervisor
from recaster_tui.ui.app import RecasterApp
from recaster_tui.ui.screens.dialogs import Dialog
from recaster_tui.ui.screens.train import TrainScreen
from recaster_tui.workspace import Workspace


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the developer's own settings is read or written."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("RECASTER_HOME", str(folder))
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return folder


@pytest.fixture(autouse=True)
def alert(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dialogs listen at once; the tests of typing ahead have it otherwise."""
    monkeypatch.setattr(Dialog, "DEAF_SECONDS", 0.0)


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path / "demo")
    for folder in (made.src_faces, made.dst_faces):
        (folder / "face.jpg").touch()  # without any nothing can be started
    return made


@pytest.fixture
def trainer(workspace: Workspace, frozen: None) -> ScriptedTrainer:
    """A run in the middle of training."""
    trainer = ScriptedTrainer(workspace)
    trainer.hello()
    trainer.train(20_000)
    trainer.say(EventType.SAVED, iteration=5_000, generation="g", bytes=1, t=NOW - 40)
    trainer.say(EventType.BACKUP, iteration=12_000, generation="g", bytes=1, t=NOW - 30)
    trainer.say(EventType.OPTION, iteration=15_000, key="learning_rate", value=1e-5, t=NOW - 20)
    trainer.preview(10_000)
    trainer.preview()
    return trainer


class Stage:
    """An app over scripted trainers."""

    def __init__(self, folder: Path, workspace: Workspace, *trainers: ScriptedTrainer) -> None:
        self.launcher = ScriptedLauncher(*trainers)
        self.supervisor = Supervisor(folder, launcher=self.launcher)
        self.app = RecasterApp(workspace, supervisor=self.supervisor, watch=False)
        self.app.animation_level = "none"

    @property
    def train(self) -> TrainScreen:
        screen = self.app.screen
        assert isinstance(screen, TrainScreen)
        return screen

    async def settle(self, pilot: object) -> None:
        """Until everything that was asked for has been drawn."""
        pause = pilot.pause  # type: ignore[attr-defined]
        for _ in range(2):
            await pause()
            await self.app.workers.wait_for_complete()
            for run in self.supervisor.runs():
                await run.poll()
            screens = [s for s in self.app.screen_stack if isinstance(s, TrainScreen)]
            for screen in screens:
                screen.tick()
                await pause()
                await screen.preview.settled()
            await pause()

    async def until(self, pilot: Pilot[int], condition: Callable[[], bool]) -> None:
        """Until *condition* holds; a busy machine may need a while for what was asked."""
        for _ in range(200):
            if condition():
                return
            await pilot.pause(0.05)
        assert condition(), "waited in vain"

    async def drawn(self, pilot: Pilot[int]) -> None:
        """Settled, no drawing of the chart put off, and the screen the same twice over."""
        seen: list[str] = []

        def still() -> bool:
            seen.append(self.app.export_screenshot())
            return seen[-2:-1] == seen[-1:]

        await self.settle(pilot)
        await self.until(pilot, lambda: not self.train.chart._pending)
        await self.until(pilot, still)


@pytest.fixture
def stage(tmp_path: Path, workspace: Workspace, trainer: ScriptedTrainer) -> Stage:
    return Stage(tmp_path / "data", workspace, trainer)


@pytest.fixture
def empty_stage(tmp_path: Path, workspace: Workspace, frozen: None) -> Stage:
    return Stage(tmp_path / "data", workspace)

"""Runs and faces for the Project and Runs screens, without a trainer."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scripted import NOW, ScriptedLauncher, ScriptedTrainer, make_workspace
from textual.pilot import Pilot

from recaster_tui.options import ModelClass, defaults
from recaster_tui.protocol import LOSS_DTYPE, EventType
from recaster_tui.supervisor import History, RunRecord, RunState, Supervisor
from recaster_tui.ui.app import RecasterApp
from recaster_tui.workspace import Workspace


def losses(count: int, seed: int = 0, step: int = 50, level: float = 0.2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.zeros(count, LOSS_DTYPE)
    rows["iteration"] = np.arange(1, count + 1) * step
    for key, factor in (("src", 1.0), ("dst", 1.3)):
        curve = level * factor + 1.6 / (1 + np.arange(count) / 40)
        rows[key] = curve * (1 + 0.05 * rng.standard_normal(count))
    rows["ms"] = 80
    return rows


def record(number: int, workspace: Path, **more: Any) -> RunRecord:
    model = list(ModelClass)[number % 3]
    states = (RunState.STOPPED, RunState.FINISHED, RunState.FAILED)
    options = defaults(model).model_dump(mode="json") | {"batch_size": 4 + number % 5}
    made = RunRecord(
        run_id=f"20261120T15{number // 60 % 60:02d}{number % 60:02d}-{model.value}-{number:04x}",
        model_name=("anna-to-bert", "second try", "night-shoot")[number % 3],
        model_class=model.value,
        workspace=str(workspace),
        state=states[number % 3],
        created=NOW - 5000 - 7000 * number,
        ended=NOW - 100,
        duration=600.0 + 61 * number,
        iteration=10_000 + 137 * number,
        saved_iteration=10_000 + 137 * number,
        loss_src=0.2 + 0.001 * number,
        loss_dst=0.3 - 0.0001 * number,
        device={"kind": "cuda", "name": "NVIDIA GeForce RTX 4090"},
        options=options,
    )
    return replace(made, **more)


def fill_history(data_dir: Path, workspace: Path, count: int, start: int = 1) -> list[RunRecord]:
    history = History(data_dir)
    made = []
    for number in range(start, start + count):
        item = record(number, workspace)
        history.save(item, losses(200, number))
        made.append(item)
    return made


class Rig:
    """A workspace with a scripted live run, an ended run on disk, and remembered ones."""

    def __init__(self, root: Path, *, remembered: int = 6, elsewhere: int = 3) -> None:
        self.workspace: Workspace = make_workspace(root / "film")
        self.data = root / "data"
        self.live = ScriptedTrainer(self.workspace, options={"batch_size": 6}, created=NOW - 4000)
        self.live.hello()
        self.live.say(EventType.SAVED, iteration=2500, generation="g", bytes=10**8, t=NOW - 60)
        self.live.train(3000)
        self.ended = ScriptedTrainer(
            self.workspace,
            run_id="20261121T101500-quick96-77aa",
            model=ModelClass.QUICK96,
            name="first",
            target=0,
            created=NOW - 90_000,
        )
        self.ended.hello()
        self.ended.train(800, seed=3)
        self.ended.say(
            EventType.WARNING,
            code="skipped-faces",
            message="2 files of data_dst/aligned cannot be used",
            hint="recaster faces check lists them",
            files=["a.jpg", "b.jpg"],
            t=NOW - 89_000,
        )
        self.ended.folder.log.write_text("first line\n\x1b[31mERROR\x1b[0m no such thing\nlast\n")
        self.ended.done("stopped")
        fill_history(self.data, self.workspace.root, remembered)
        fill_history(self.data, root / "elsewhere", elsewhere, start=100)
        self.supervisor = Supervisor(self.data, ScriptedLauncher(self.live, self.ended))

    def app(self, **more: Any) -> RecasterApp:
        return RecasterApp(self.workspace, supervisor=self.supervisor, **({"watch": False} | more))


async def settle(pilot: Pilot[Any]) -> None:
    """Workers done, everything drawn."""
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()

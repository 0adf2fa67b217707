"""Several living runs on Train: each keeps its own state; R and m of Runs."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from history_kit import record
from scripted import NOW, ScriptedLauncher, ScriptedTrainer, make_workspace
from textual.pilot import Pilot
from textual.widgets import Input

from recaster_tui.protocol import EventType
from recaster_tui.supervisor import RunState, Supervisor
from recaster_tui.ui.app import RecasterApp
from recaster_tui.ui.form_model import NAME
from recaster_tui.ui.screens.dialogs import AskFolder
from recaster_tui.ui.screens.runs import RunsScreen
from recaster_tui.ui.screens.train import TrainScreen
from recaster_tui.ui.widgets.status_line import StatusLine


@dataclass
class Stage:
    trainers: list[ScriptedTrainer]
    supervisor: Supervisor
    screen: TrainScreen
    pilot: Pilot[int]

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(2):
            await self.pilot.app.workers.wait_for_complete()
            await self.pilot.pause()
            self.screen._tick()
            await self.screen.preview.settled()
        await self.pilot.pause()

    @property
    def shown(self) -> str:
        run = self.screen.recaster.current_run
        return run.spec.model_name if run is not None else ""

    @property
    def status(self) -> str:
        line = self.screen.query_one(StatusLine)
        return line.lines(line.size.width, line.size.height)[0].text


@pytest.fixture
async def stage(tmp_path: Path, frozen: None) -> AsyncIterator[Stage]:
    workspace, other = make_workspace(tmp_path / "film"), make_workspace(tmp_path / "second film")
    trainers = [
        ScriptedTrainer(
            other if i == 2 else workspace,
            run_id=f"20261122T15300{i}-saehd-{i:04x}",
            name=f"model {i}",
            created=NOW - 4000 + i,
        )
        for i in range(3)
    ]
    for trainer in trainers:
        trainer.hello()
        trainer.train(2_000)
        trainer.preview(1_000)
        trainer.preview(2_000)
    supervisor = Supervisor(tmp_path / "data", ScriptedLauncher(*trainers))
    app = RecasterApp(workspace, supervisor=supervisor, watch=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.app.workers.wait_for_complete()
        await supervisor.adopt(other)
        assert isinstance(app.screen, TrainScreen)
        made = Stage(trainers, supervisor, app.screen, pilot)
        await made.settle()
        yield made


async def test_each_living_run_keeps_panel_chart_preview_and_form(stage: Stage) -> None:
    screen, press = stage.screen, stage.press
    first = stage.shown
    assert first in ("model 0", "model 1") and "of 3" in stage.status
    await press("r", "y", "e", "tab")  # 50k, logarithmic, smoother; the preview's panel
    await press("space", "left_square_bracket", "plus")
    left = screen.chart.settings, screen.preview.caption, screen.preview.age(NOW), screen._tab
    assert "looking back" in left[2] and left[0] == "50k · log · smoother"
    seen = [first]
    for _ in range(2):
        await press("greater_than_sign")
        seen.append(stage.shown)
    assert sorted(seen) == ["model 0", "model 1", "model 2"]
    assert stage.screen.recaster.workspace is not None
    await press("r")  # this one only
    await press("greater_than_sign")
    assert stage.shown == first
    assert left == (
        screen.chart.settings, screen.preview.caption, screen.preview.age(NOW), screen._tab
    )  # fmt: skip
    await press("less_than_sign")
    assert stage.shown == seen[-1]
    assert screen.chart.settings != left[0]
    assert "looking back" not in screen.preview.age(NOW)


async def test_which_of_how_many_follows_those_that_end(stage: Stage) -> None:
    names = []
    for place in (1, 2, 3):
        while f"run {place} of 3" not in stage.status:
            await stage.press("greater_than_sign")
        names.append(stage.shown)
    assert names == ["model 0", "model 1", "model 2"]  # in the order of their start
    stage.trainers[2].done("stopped")
    stage.trainers[1].done("stopped")
    for run in stage.supervisor.runs():
        await run.poll()
    await stage.settle()
    assert " of " not in stage.status.split("100,000")[0]
    await stage.press("less_than_sign")
    assert stage.shown == "model 0"
    assert stage.screen.check_action("run", (1,)) is False  # no other one lives


async def test_a_new_model_beside_living_runs_says_how_to_reach_them(stage: Stage) -> None:
    await stage.press("n")
    assert stage.shown == "" and "3 runs go on: < >" in stage.status
    for trainer in stage.trainers[1:]:
        trainer.done("stopped")
    for run in stage.supervisor.runs():
        await run.poll()
    await stage.settle()
    assert "1 run goes on: >" in stage.status
    await stage.press("greater_than_sign")
    assert stage.shown == "model 0" and "goes on" not in stage.status


async def test_edits_not_started_with_wait_for_their_run(stage: Stage) -> None:
    screen = stage.screen
    while "run 1 of 3" not in stage.status:
        await stage.press("greater_than_sign")
    stage.trainers[0].done("stopped")
    for run in stage.supervisor.runs():
        await run.poll()
    await stage.settle()
    form = screen.form_model
    before = form.values["batch_size"]
    (item,) = [f for f in form.fields() if f.key == "batch_size"]
    form.set(item, 13)
    screen.form.rows.goto("batch_size")
    await stage.press("greater_than_sign")
    assert stage.shown == "model 1" and form.values["batch_size"] == before
    ended = stage.supervisor.run(stage.trainers[0].spec.run_id)
    screen.recaster.show_run(ended)
    await stage.settle()
    assert form.values["batch_size"] == 13 and form.name == "model 0"
    assert screen.form.rows.row is not None and screen.form.rows.row.field is not None
    assert screen.form.rows.row.field.key == "batch_size"


async def test_a_live_change_is_sent_to_the_run_it_was_made_for(stage: Stage) -> None:
    screen = stage.screen
    while "run 1 of 3" not in stage.status:
        await stage.press("greater_than_sign")
    screen._send["target_iterations"] = 555  # typed a moment ago
    screen.form_model.values["target_iterations"] = 555
    await stage.press("greater_than_sign")
    assert ("set", {"key": "target_iterations", "value": 555}) in stage.trainers[0].commands
    assert not any(name == "set" for name, _ in stage.trainers[1].commands)
    assert screen.form_model.values["target_iterations"] == 100_000
    await stage.press("less_than_sign")
    for run in stage.supervisor.runs():
        await run.poll()
    await stage.settle()
    assert screen.form_model.values["target_iterations"] == 555


async def test_a_configuration_begun_for_a_new_model_is_found_again(stage: Stage) -> None:
    screen = stage.screen
    await stage.press("n")
    screen.form_model.name = "third"
    screen.form_model.values["batch_size"] = 21
    await stage.press("escape", "greater_than_sign")
    assert stage.shown and screen.form_model.name == stage.shown
    await stage.press("n")
    assert (screen.form_model.name, screen.form_model.values["batch_size"]) == ("third", 21)
    row = screen.form.rows.row
    assert row is not None and row.field is not None and row.field.key == NAME


# -- what Runs offers for the past --------------------------------------------------------------


async def test_r_loads_the_configuration_and_m_finds_a_moved_workspace(
    stage: Stage, tmp_path: Path
) -> None:
    pilot, supervisor = stage.pilot, stage.supervisor
    old = make_workspace(tmp_path / "old film")
    trainer = ScriptedTrainer(old, run_id="20261101T000000-saehd-aaaa", name="elder",
                              options={"batch_size": 7}, created=NOW - 9000)  # fmt: skip
    trainer.hello()
    trainer.train(100)
    trainer.say(EventType.DONE, outcome="stopped", iteration=100, saved=100)
    trainer.alive = False
    await supervisor.adopt(old)
    supervisor._workspaces.pop(old.root)
    shutil.move(old.root, tmp_path / "moved film")
    await supervisor.repair()
    assert supervisor.gone == {trainer.spec.run_id}
    await pilot.press("4", "a", "end")
    runs = pilot.app.screen
    assert isinstance(runs, RunsScreen)
    runs._tick()
    await pilot.pause()
    await pilot.press("end")
    assert runs.table.key == trainer.spec.run_id
    assert "gone" in runs.table.render_line(len(runs.table.keys)).text
    assert "m here" in " ".join(runs.detail.plain.split())
    await pilot.press("m")
    await pilot.pause()
    assert isinstance(pilot.app.screen, AskFolder)
    field = pilot.app.screen.query_one(Input)
    field.value = str(tmp_path / "nowhere")
    await pilot.press("enter")
    await pilot.pause()
    await pilot.pause()
    assert isinstance(pilot.app.screen, AskFolder)  # asks again
    pilot.app.screen.query_one(Input).value = "~nobody-of-this-name"
    await pilot.press("enter")
    await pilot.pause()
    await pilot.pause()
    assert isinstance(pilot.app.screen, AskFolder)
    pilot.app.screen.query_one(Input).value = str(tmp_path / "moved film")
    await pilot.press("enter")
    await pilot.app.workers.wait_for_complete()
    runs._tick()
    await pilot.pause()
    assert not supervisor.gone
    assert runs.table.goto(trainer.spec.run_id)
    assert runs.table.record().workspace == str(tmp_path / "moved film")  # type: ignore[union-attr]
    await pilot.press("R")
    await stage.settle()
    assert pilot.app.screen is stage.screen and stage.shown == "elder"
    assert stage.screen.form_model.values["batch_size"] == 7
    assert stage.screen._tab == "form"
    assert stage.screen.recaster.workspace.root == tmp_path / "moved film"  # type: ignore[union-attr]


async def test_filter_line_explains_itself_and_living_come_first(stage: Stage) -> None:
    pilot, supervisor = stage.pilot, stage.supervisor
    for i in range(3):
        made = record(i, supervisor.runs()[0].workspace_root)
        supervisor._put(replace(made, outcome="failed", state=RunState.FAILED), save=False)
    await pilot.press("4", "a")
    runs = pilot.app.screen
    assert isinstance(runs, RunsScreen)
    runs._tick()
    await pilot.pause()
    assert len(runs.table.keys) == 6
    assert all(runs.table.record(k).state.live for k in runs.table.keys[:3])  # type: ignore[union-attr]
    assert "ETA" in runs.table.render_line(0).text
    await pilot.press("o")  # by another column: the living stay first
    assert all(runs.table.record(k).state.live for k in runs.table.keys[:3])  # type: ignore[union-attr]
    note = runs.query_one("#runs-filter-note")
    await pilot.press("slash", *"state:fail")
    assert len(runs.table.keys) == 3 and "its>10k" in str(note.render())
    await pilot.press("x")
    assert "there is no state 'failx'" in str(note.render()) and note.has_class("-wrong")
    assert len(runs.table.keys) == 3
    await pilot.press("escape")
    assert len(runs.table.keys) == 6 and not note.display
    await pilot.press("L")
    assert len(runs.table.keys) == 3 and "living" in str(runs.query_one("#runs-panel").border_title)
    await pilot.press("question_mark")
    await pilot.pause()
    table = pilot.app.screen.query_one("#help-table")
    assert "opt:batch_size=8" in "\n".join(
        strip.text for strip in table.render_lines(table.size.region)
    )

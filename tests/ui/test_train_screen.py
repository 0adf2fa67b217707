"""The Train screen with a scripted trainer: what keys do, what is shown, what is sent."""

import math
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Stage
from scripted import NOW, ScriptedTrainer
from textual import events
from textual.command import CommandPalette
from textual.pilot import Pilot

from recaster_tui.options import ModelClass
from recaster_tui.protocol import EventType, append_losses, read_run_spec
from recaster_tui.protocol.losses import loss_rows
from recaster_tui.supervisor import RunState
from recaster_tui.ui.form_model import MODEL, FormRow
from recaster_tui.ui.screens.help import HelpScreen, Picker
from recaster_tui.ui.screens.quit import QuitScreen
from recaster_tui.ui.widgets.bars import KeyBar
from recaster_tui.ui.widgets.loss_chart import LossChart
from recaster_tui.ui.widgets.option_form import FilterLine, OptionHelp
from recaster_tui.ui.widgets.panel import Lines
from recaster_tui.ui.widgets.status_line import StatusLine
from recaster_tui.workspace import Workspace


def text_of(widget: Lines) -> str:
    return "\n".join(s.text for s in widget.lines(widget.content_size.width, widget.size.height))


@pytest.fixture
async def live(stage: Stage) -> AsyncIterator[tuple[Stage, Pilot[int]]]:
    async with stage.app.run_test(size=(120, 40)) as pilot:
        await stage.settle(pilot)
        yield stage, pilot


async def test_status_chart_and_preview_show_the_run(live: tuple[Stage, Pilot[int]]) -> None:
    stage, _ = live
    status = text_of(stage.train.query_one(StatusLine))
    for word in ("training", "anna-to-bert", "20,000 / 100,000", "20%", "12.3 it/s", "data 4%"):
        assert word in status
    assert "CPU (2 cores)" in status
    chart = text_of(stage.train.chart)
    assert "src 0.3" in chart
    for word in ("src", "dst"):  # one number, both places
        assert status.split(f"{word} ")[1][:6] == chart.split(f"{word} ")[1][:6]
    assert "20k" in chart
    assert "◆" in chart  # the backup
    assert "▲" in chart  # the changed option
    assert "▀" in text_of(stage.train.preview)
    assert "swap" in text_of(stage.train.preview)
    assert stage.train.query_one("#preview-panel").border_subtitle == "iteration 20,000 · 12s ago"


async def test_pause_save_resume_stop(
    live: tuple[Stage, Pilot[int]], trainer: ScriptedTrainer
) -> None:
    stage, pilot = live
    await pilot.press("p")
    await stage.settle(pilot)
    assert "paused" in text_of(stage.train.query_one(StatusLine))
    await pilot.press("p", "w")
    await stage.settle(pilot)
    assert stage.app.current_run is not None
    assert stage.app.current_run.state is RunState.TRAINING
    await pilot.press("x")
    await stage.settle(pilot)
    assert [name for name, _ in trainer.commands] == ["pause", "resume", "save", "stop"]
    assert trainer.commands[-1][1] == {"save": True}
    assert stage.app.current_run.state is RunState.STOPPED
    keys = {a.binding.id for a in stage.train.active_bindings.values()}
    assert "train-start-again" in keys
    assert "train-pause" not in keys


async def test_live_options_are_sent_once_and_others_refused(
    live: tuple[Stage, Pilot[int]], trainer: ScriptedTrainer
) -> None:
    stage, pilot = live
    rows = stage.train.form.rows
    rows.focus()
    rows.goto("batch_size")
    await pilot.press("enter", "1", "2", "enter")
    rows.goto("seed")
    await pilot.press("right")
    await pilot.pause(0.6)  # the quiet time after which a change is sent
    await stage.settle(pilot)
    assert trainer.commands == [("set", {"key": "batch_size", "value": 12})]
    assert stage.app.current_run is not None
    assert stage.app.current_run.options["batch_size"] == 12
    assert stage.train.form_model.value("seed") == 0


async def test_an_automatic_batch_size_is_chosen_found_and_shown(
    live: tuple[Stage, Pilot[int]], trainer: ScriptedTrainer
) -> None:
    stage, pilot = live
    rows, form = stage.train.form.rows, stage.train.form_model
    rows.focus()
    rows.goto("batch_size")
    await pilot.press("enter", "a", "enter")
    await pilot.pause(0.6)  # the quiet time after which a change is sent
    await stage.settle(pilot)
    assert trainer.commands == [("set", {"key": "batch_size", "value": "auto"})]
    run = stage.app.current_run
    assert run is not None and run.batch_found == 0
    trainer.say(EventType.PHASE, phase="probing-batch", text="finding the batch size")
    trainer.say(
        EventType.PROGRESS, what="batch size", current=2, total=4, unit="sizes",
        text="batch size: trying 4",
    )  # fmt: skip
    await stage.settle(pilot)
    status = text_of(stage.train.query_one(StatusLine))
    assert "trying 4" in status and "2/4 sizes" in status
    trainer.say(EventType.OPTION, key="batch_size", value=6, iteration=9, auto=True, why="speed")
    trainer.say(EventType.PHASE, phase="training", text="training")
    await stage.settle(pilot)
    assert (run.options["batch_size"], run.batch_found) == ("auto", 6)
    assert "batch 6" in text_of(stage.train.query_one(StatusLine))
    assert form.value("batch_size") == "auto"
    assert "auto (6)" in rows.render_line(rows.cursor - rows.scroll_offset.y).text
    trainer.say(EventType.OPTION, key="batch_size", value=5, iteration=9)
    await stage.settle(pilot)
    assert run.batch_found == 0 and form.value("batch_size") == 5 and not form.meanings


async def test_views_and_time(live: tuple[Stage, Pilot[int]]) -> None:
    stage, pilot = live
    preview = stage.train.preview

    def at(iteration: int) -> bool:
        return preview.current is not None and preview.current.iteration == iteration

    await stage.until(pilot, lambda: preview.caption == "plain 1/3")
    await pilot.press("space")
    await stage.until(pilot, lambda: preview.caption == "warped 2/3")
    await pilot.press("comma", "comma")
    await stage.until(pilot, lambda: preview.caption == "masked 3/3")
    await pilot.press("left_square_bracket")
    await stage.until(pilot, lambda: at(10_000))
    assert "looking back" in preview.age()
    await pilot.press("right_square_bracket")
    await stage.until(pilot, lambda: at(20_000))
    await pilot.press("f")
    await stage.settle(pilot)
    await stage.until(pilot, lambda: preview.size.width > 110)
    await pilot.press("escape")
    await stage.settle(pilot)
    assert stage.train.chart.size.height > 0


async def test_chart_settings_and_cursor(live: tuple[Stage, Pilot[int]]) -> None:
    stage, pilot = live
    await pilot.press("r", "r", "y", "e")
    panel = stage.train.query_one("#chart-panel")
    assert panel.border_subtitle == "10k · log · smoother"
    stage.train.chart.focus()
    await pilot.press("home")
    first = text_of(stage.train.chart).splitlines()[0]
    await pilot.press("end")
    last = text_of(stage.train.chart).splitlines()[0]
    assert "at 10," in first
    assert "at 19," in last or "at 20," in last


async def test_the_form_says_why_while_typing(empty_stage: Stage) -> None:
    async with empty_stage.app.run_test(size=(120, 40)) as pilot:
        await empty_stage.settle(pilot)
        form = empty_stage.train.form
        form.rows.goto("batch_size")
        await pilot.press("enter", "9", "9", "9", "9")
        assert form.rows.editing
        help_text = str(form.query_one("#form-help").render())  # type: ignore[attr-defined]
        assert "out of range" in help_text
        # Letters that are keys elsewhere are text here.
        await pilot.press("s")
        assert empty_stage.launcher.started == []
        await pilot.press("escape")
        assert empty_stage.train.form_model.value("batch_size") == 8


async def test_start_writes_the_request_and_shows_the_run(
    empty_stage: Stage, workspace: Workspace
) -> None:
    async with empty_stage.app.run_test(size=(120, 40)) as pilot:
        await empty_stage.settle(pilot)
        form = empty_stage.train.form
        await pilot.press("right", "right")  # SAEHD, AMP, Quick96
        form.rows.goto("batch_size")
        await pilot.press("enter", "2", "enter", "s")
        await empty_stage.settle(pilot)
        (folder,) = empty_stage.launcher.started
        spec = read_run_spec(folder / "run.toml")
        assert spec.model_class is ModelClass.QUICK96
        assert spec.model_name == "demo"
        assert spec.options["batch_size"] == 2
        assert empty_stage.app.current_run is not None
        assert empty_stage.app.current_run.run_id == spec.run_id


async def test_a_wrong_configuration_does_not_start(empty_stage: Stage) -> None:
    async with empty_stage.app.run_test(size=(120, 40)) as pilot:
        await empty_stage.settle(pilot)
        form = empty_stage.train.form
        form.rows.goto("resolution")
        await pilot.press("enter", "9", "enter")
        form.rows.goto("seed")
        await pilot.press("s")
        await empty_stage.settle(pilot)
        assert empty_stage.launcher.started == []
        assert form.rows.row is not None
        assert form.rows.row.field is not None
        assert form.rows.row.field.key == "resolution"


@pytest.mark.parametrize(("key", "commands"), [("l", []), ("s", ["stop"]), ("escape", None)])
async def test_quit_asks_what_becomes_of_the_run(
    stage: Stage, trainer: ScriptedTrainer, key: str, commands: list[str] | None
) -> None:
    async with stage.app.run_test(size=(120, 40)) as pilot:
        await stage.settle(pilot)
        await pilot.press("q")
        await pilot.pause()
        assert isinstance(stage.app.screen, QuitScreen)
        await pilot.press(key)
        await stage.app.workers.wait_for_complete()
        await pilot.pause()
        if commands is None:
            assert stage.app.is_running
            assert stage.app.screen is stage.train
        else:
            assert stage.app.return_value == 0
    assert [name for name, _ in trainer.commands] == (commands or [])


async def test_quit_without_runs_just_quits(empty_stage: Stage) -> None:
    async with empty_stage.app.run_test() as pilot:
        await empty_stage.settle(pilot)
        await pilot.press("q")
        await pilot.pause()
    assert empty_stage.app.return_value == 0


@pytest.mark.parametrize("size", [(80, 24), (120, 24), (110, 32), (200, 60), (60, 20)])
async def test_nothing_is_cut_off(stage: Stage, size: tuple[int, int]) -> None:
    async with stage.app.run_test(size=size) as pilot:
        await stage.settle(pilot)
        region = stage.train.region
        for _ in range(3):
            assert stage.train.query_one(StatusLine).size.height >= 2
            shown = [w for w in stage.train.query("*") if w.is_on_screen and w.display]
            for widget in shown:
                if widget.region:
                    assert region.contains_region(widget.region), widget
            focused = stage.app.focused
            assert focused is not None
            assert focused.size.height >= 5
            await pilot.press("tab")
            await stage.settle(pilot)


async def test_help_lists_every_key_of_the_screen(live: tuple[Stage, Pilot[int]]) -> None:
    stage, pilot = live
    bound = [a.binding.description for a in stage.train.active_bindings.values()]
    await pilot.press("question_mark")
    await pilot.pause()
    assert isinstance(stage.app.screen, HelpScreen)
    table = stage.app.screen.query_one("#help-table")
    text = str(stage.app.console.render_str("")) + "".join(
        s.text
        for line in stage.app.console.render_lines(table.content)
        for s in line  # type: ignore[attr-defined]
    )
    for name in ("Pause", "Stop", "Save", "Backup", "View", "Range", "Theme", "Quit"):
        assert name in bound
        assert name in text


async def test_palette_has_every_action(live: tuple[Stage, Pilot[int]]) -> None:
    stage, _ = live
    titles = {c.title for c in stage.app.get_system_commands(stage.train)}
    assert {"Pause", "Stop", "Save", "New preview", "Theme", "Quit", "Runs", "Screenshot"} <= titles
    assert "Start" not in titles


async def test_load_config_offers_the_shipped_ones(empty_stage: Stage) -> None:
    async with empty_stage.app.run_test(size=(120, 40)) as pilot:
        await empty_stage.settle(pilot)
        await pilot.press("o")
        await pilot.pause()
        assert isinstance(empty_stage.app.screen, Picker)
        await pilot.press("enter")
        await pilot.pause()
        assert empty_stage.train.form_model.errors() == {}


async def test_nan_and_single_losses_are_drawn(
    tmp_path: Path, workspace: Workspace, frozen: None
) -> None:
    trainer = ScriptedTrainer(workspace, model=ModelClass.XSEG, name="mask")
    trainer.hello()
    trainer.train(500, single=True)
    append_losses(trainer.folder.losses, loss_rows(501, [[math.nan]] * 20, 80.0))
    trainer.say(EventType.ITERATIONS, first=501, rows=[[math.nan]] * 20, ms=80.0, its=12.0)
    stage = Stage(tmp_path / "data", workspace, trainer)
    async with stage.app.run_test(size=(120, 40)) as pilot:
        await stage.settle(pilot)
        chart = text_of(stage.train.chart)
        assert "loss" in chart
        assert "dst" not in chart
        assert any("⠀" < c <= "⣿" for c in chart)


async def test_failure_is_said_and_start_goes_on_with_the_run(
    stage: Stage, trainer: ScriptedTrainer
) -> None:
    async with stage.app.run_test(size=(120, 40)) as pilot:
        await stage.settle(pilot)
        trainer.say(EventType.ERROR, code="oom", message="out of memory", fatal=True)
        trainer.done("failed", "out of memory")
        await stage.settle(pilot)
        assert "out of memory" in text_of(stage.train.query_one(StatusLine))
        # The learning rate was changed after the last save: the trainer would not know of it.
        await pilot.press("s")
        await stage.settle(pilot)
        (folder,) = stage.launcher.started
        assert folder != trainer.folder.root
        assert read_run_spec(folder / "run.toml").options["learning_rate"] == 1e-5


async def test_only_changed_rows_are_repainted(live: tuple[Stage, Pilot[int]]) -> None:
    stage, pilot = live
    chart = stage.train.chart
    before = chart.lines(chart.content_size.width, chart.content_size.height)
    regions: list[object] = []
    real = LossChart.refresh

    def spy(self: LossChart, *args: object, **kwargs: object) -> object:
        regions.extend(args)
        if not args and not kwargs:
            regions.append("everything")
        return real(self, *args, **kwargs)  # type: ignore[arg-type]

    LossChart.refresh = spy  # type: ignore[assignment,method-assign]
    try:
        rows = np.concatenate([chart._rows, loss_rows(20_001, [[0.3, 0.4]], 80.0)])  # type: ignore[list-item]
        chart.set_data(rows, chart._marks)
        chart._draw()
    finally:
        LossChart.refresh = real  # type: ignore[method-assign]
    await pilot.pause()
    assert "everything" not in regions
    assert len(regions) < len(before) // 2


async def test_theme_choice_is_kept(stage: Stage, home: Path) -> None:
    async with stage.app.run_test() as pilot:
        await stage.settle(pilot)
        stage.app.theme = "day"
        await pilot.pause()
    settings = tomllib.loads((home / "config" / "settings.toml").read_text())
    assert settings["theme"] == "day"
    assert NOW  # the clock was frozen throughout


async def test_messages_with_brackets_are_no_markup(live: tuple[Stage, Pilot[int]]) -> None:
    stage, pilot = live
    stage.train.notify("cannot read [/nope] [Errno 2]", title="[a-z]")
    await pilot.pause()
    await pilot.pause()
    assert stage.app.is_running


async def test_a_run_started_elsewhere_replaces_one_that_is_over(
    stage: Stage, trainer: ScriptedTrainer, workspace: Workspace
) -> None:
    async with stage.app.run_test(size=(120, 40)) as pilot:
        await stage.settle(pilot)
        trainer.done("stopped")
        await stage.settle(pilot)
        other = ScriptedTrainer(workspace, run_id="20261122T160000-quick96-0001", name="other",
                                model=ModelClass.QUICK96, created=NOW - 10)  # fmt: skip
        other.hello()
        other.train(300)
        stage.launcher.trainers[other.folder.root] = other
        await stage.supervisor.adopt(workspace)
        await stage.settle(pilot)
        assert "other" in text_of(stage.train.query_one(StatusLine))
        assert stage.train.form_model.model is ModelClass.QUICK96


async def test_a_new_model_while_a_run_is_live_leaves_the_chart_empty(
    live: tuple[Stage, Pilot[int]],
) -> None:
    stage, pilot = live
    stage.train.chart.focus()
    await pilot.press("end")
    await pilot.press("n")
    await stage.settle(pilot)
    assert stage.app.is_running
    assert stage.app.current_run is None
    stage.train.chart.focus()  # another colour: drawn again
    await stage.settle(pilot)
    assert "first iterations" in text_of(stage.train.chart)


@pytest.mark.parametrize("key", ["ctrl+p", "colon"])
async def test_both_keys_open_the_palette(live: tuple[Stage, Pilot[int]], key: str) -> None:
    stage, pilot = live
    for widget in (stage.train.form.rows, stage.train.chart, stage.train.preview):
        widget.focus()
        await pilot.pause()
        await pilot.press(key)
        await pilot.pause()
        assert isinstance(stage.app.screen, CommandPalette)
        await pilot.press("escape")
        await pilot.pause()
        assert stage.app.screen is stage.app.screen_stack[0]


async def test_start_goes_on_with_an_unchanged_run_after_the_app_was_reopened(
    tmp_path: Path, workspace: Workspace, trainer: ScriptedTrainer
) -> None:
    trainer.say(EventType.SAVED, iteration=20_000, generation="g", bytes=1, t=NOW - 5)
    trainer.done("stopped")
    stage = Stage(tmp_path / "data", workspace, trainer)  # a live change is among what it read
    async with stage.app.run_test(size=(120, 40)) as pilot:
        await stage.settle(pilot)

        def name_of_s() -> str:
            return stage.train.active_bindings["s"].binding.description

        assert name_of_s() == "Resume"
        rows = stage.train.form.rows
        rows.focus()
        rows.goto("batch_size")
        await pilot.press("right")
        assert name_of_s() == "Start"
        await pilot.press("left")
        assert name_of_s() == "Resume"
        await pilot.press("s")
        await stage.settle(pilot)
        assert stage.launcher.started == [trainer.folder.root]


@pytest.mark.parametrize("start", ["form", "chart", "preview"])
async def test_what_follows_the_slash_in_one_burst_is_the_filter(
    live: tuple[Stage, Pilot[int]], start: str
) -> None:
    stage, pilot = live
    stage.train.open_tab(start)
    await pilot.pause()
    for key in ("slash", *"lr_drop"):  # no waiting: all are queued at once
        stage.app.post_message(events.Key(key, "/" if key == "slash" else key))
    await stage.settle(pilot)
    form = stage.train.form_model
    assert form.query == "lr_drop"
    assert form.model is ModelClass.SAEHD
    assert [r.field.key for r in form.rows() if r.field] == ["learning_rate_dropout"]
    assert "lr_drop" in text_of(stage.train.form.query_one(FilterLine))
    await pilot.press("enter", "escape")
    assert form.query == ""


async def test_filter_finds_hidden_options_and_says_when_they_are_shown(
    empty_stage: Stage,
) -> None:
    async with empty_stage.app.run_test(size=(120, 40)) as pilot:
        await empty_stage.settle(pilot)
        train = empty_stage.train
        await pilot.press("slash", *"gan_patch", "enter", "right")
        assert train.form.rows.row is not None
        assert "shown when GAN power is above 0" in train.form.rows.row.absent
        assert train.form_model.value("gan_patch_size") == 0
        await pilot.press("escape", "slash", *"nonsense")
        await pilot.pause()
        text = str(train.form.query_one(OptionHelp).content)
        assert "No option matches" in text
        assert "folds" not in text


@pytest.mark.parametrize("model", list(ModelClass))
async def test_the_recommendation_of_every_option_is_in_sight(
    empty_stage: Stage, model: ModelClass
) -> None:
    async with empty_stage.app.run_test(size=(120, 40)) as pilot:
        await empty_stage.settle(pilot)
        form = empty_stage.train.form_model
        form.switch(model)
        box = empty_stage.train.form.query_one(OptionHelp)
        for item in form.fields():
            box.show(form, FormRow(item.group, item))
            lines = str(box.content).splitlines()
            assert len(lines) <= box.content_size.height
            shown = " ".join(" ".join(lines).split())
            assert item.recommended in shown, item.key
            assert item.help in shown or shown.endswith("…"), item.key


async def test_a_live_value_out_of_range_goes_back_to_the_running_one(
    live: tuple[Stage, Pilot[int]], trainer: ScriptedTrainer
) -> None:
    stage, pilot = live
    rows = stage.train.form.rows
    rows.focus()
    rows.goto("batch_size")
    await pilot.press("enter", *"4000", "enter")
    await stage.settle(pilot)
    assert stage.train.form_model.value("batch_size") == 8
    assert stage.train.form_model.errors() == {}
    assert any("stays 8" in n.message for n in stage.app._notifications)
    assert trainer.commands == []


async def test_going_back_to_a_model_type_finds_what_was_typed(
    tmp_path: Path, workspace: Workspace, trainer: ScriptedTrainer
) -> None:
    trainer.done("stopped")
    (workspace.models / "anna-to-bert.saehd").mkdir(parents=True)
    (workspace.models / "anna-to-bert.saehd" / "CURRENT").write_text("g\n")
    stage = Stage(tmp_path / "data", workspace, trainer)
    async with stage.app.run_test(size=(120, 40)) as pilot:
        await stage.settle(pilot)
        rows = stage.train.form.rows
        rows.focus()
        rows.goto("batch_size")
        await pilot.press("enter", "1", "2", "enter")
        rows.goto(MODEL)
        await pilot.press("right", "left")
        assert stage.train.form_model.model is ModelClass.SAEHD
        assert stage.train.form_model.value("batch_size") == 12


async def test_the_key_bar_shows_the_keys_of_the_focused_panel(
    live: tuple[Stage, Pilot[int]],
) -> None:
    stage, pilot = live
    bar = stage.train.query_one(KeyBar)
    for widget, keys in (
        (stage.train.form.rows, "b Backup  enter Edit  / Filter"),
        (stage.train.chart, "b Backup  r Range"),
        (stage.train.preview, "b Backup  space View  f Full"),
    ):
        widget.focus()
        await pilot.pause()
        assert "p Pause  x Stop  w Save" in text_of(bar)
        assert keys in text_of(bar)


async def test_a_killed_trainer_says_what_is_safe(stage: Stage, trainer: ScriptedTrainer) -> None:
    async with stage.app.run_test(size=(120, 40)) as pilot:
        await stage.settle(pilot)
        trainer.alive = False
        for run in stage.supervisor.runs():
            run._asked = 0.0
        await stage.settle(pilot)
        status = text_of(stage.train.query_one(StatusLine))
        assert "20,000  the trainer's process is gone" in status
        assert "iteration 5,000 is safe (15,000 lost); s goes on from it" in status


async def test_a_stop_on_a_full_disk_says_what_one_can_do(
    stage: Stage, trainer: ScriptedTrainer
) -> None:
    said = "the disk is full: waiting 60 s for room to save; a stop without saving ends that"
    async with stage.app.run_test(size=(120, 40)) as pilot:
        await stage.settle(pilot)
        trainer.say(
            EventType.WARNING,
            code="disk-full",
            message="iteration 20,000 could not be saved: no space left; free some space",
        )
        trainer.say(EventType.PHASE, phase="saving", text=said, t=NOW - 20)
        await stage.settle(pilot)
        line = stage.train.query_one(StatusLine)
        wanted = "disk full: free some space within 40 s; X stops without saving"
        assert wanted in line.lines(line.size.width, 4)[3].text
        assert wanted in line.lines(80, 3)[1].text
        assert "saved 5,000" not in line.lines(80, 3)[1].text
        trainer.say(EventType.SAVED, iteration=20_000, generation="g", bytes=1)
        await stage.settle(pilot)
        assert "free some space" not in text_of(line)


async def test_small_screens_say_what_is_saved(stage: Stage) -> None:
    async with stage.app.run_test(size=(80, 24)) as pilot:
        await stage.settle(pilot)
        assert "saved 5,000" in text_of(stage.train.query_one(StatusLine))


async def test_status_says_each_thing_once(
    tmp_path: Path, workspace: Workspace, frozen: None
) -> None:
    trainer = ScriptedTrainer(workspace, target=0)
    trainer.hello()
    trainer.train(501)
    trainer.say(EventType.SAVED, iteration=501, generation="g", bytes=1, t=NOW - 360)
    trainer.say(EventType.METRICS, cpu=80.0)
    stage = Stage(tmp_path / "data", workspace, trainer)
    async with stage.app.run_test(size=(120, 40)) as pilot:
        await stage.settle(pilot)
        status = text_of(stage.train.query_one(StatusLine))
        assert status.count("trained ") == 1
        assert "saved at 501, 6m 00s ago" in status

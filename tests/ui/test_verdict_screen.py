"""Is it done? on the Train screen, and going back through the previews."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conftest import Stage
from scripted import NOW, ScriptedTrainer
from textual.pilot import Pilot

from recaster_tui.protocol import EventType
from recaster_tui.ui.screens.verdict import VerdictScreen
from recaster_tui.ui.widgets.loss_chart import RING
from recaster_tui.ui.widgets.panel import Lines
from recaster_tui.ui.widgets.status_line import StatusLine
from recaster_tui.ui.widgets.verdict import VerdictPane


def text_of(widget: Lines) -> str:
    return "\n".join(s.text for s in widget.lines(widget.content_size.width, widget.size.height))


def measured(trainer: ScriptedTrainer, iteration: int, held: float, trained: float) -> None:
    figures = {
        "iteration": iteration,
        "since": 0,
        "faces": {"src": 6, "dst": 5},
        "src": {"held_out": held, "trained": trained},
        "dst": {"held_out": held + 0.1, "trained": trained + 0.1},
        "mask": {"held_out": 0.91, "trained": 0.93},
        "sharpness": 0.62,
        "seconds": 1.0,
        "share": 0.004,
    }
    trainer.say(EventType.METRICS, held_out=figures)


@pytest.fixture(params=[(120, 40), (80, 24), (120, 24)], ids=lambda size: f"{size[0]}x{size[1]}")
async def live(
    stage: Stage, trainer: ScriptedTrainer, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Stage, Pilot[int]]]:
    for i in range(12):
        measured(trainer, 1_500 * (i + 1), 0.5 - 0.01 * i, 0.4 - 0.01 * i)
    async with stage.app.run_test(size=request.param) as pilot:
        await stage.settle(pilot)
        yield stage, pilot


async def test_one_line_of_the_status_says_how_it_does(live: tuple[Stage, Pilot[int]]) -> None:
    stage, _ = live
    status = stage.train.query_one(StatusLine)
    lines = text_of(status).splitlines()
    (said,) = [line for line in lines if "healthy  the loss falls" in line]
    assert "per 1,000 iterations" in said and len(said) == status.content_size.width
    assert "held-out 0.440" in said or status.content_size.width < 78
    assert lines.index(said) < status.size.height
    assert any("training  anna-to-bert" in line for line in lines)


async def test_the_chart_has_a_ring_for_each_measurement(live: tuple[Stage, Pilot[int]]) -> None:
    stage, pilot = live
    stage.train.open_tab("chart")
    await stage.settle(pilot)
    await stage.until(pilot, lambda: RING in text_of(stage.train.chart))
    chart = text_of(stage.train.chart).splitlines()
    assert f"{RING} held-out" in chart[0]
    assert sum(line.count(RING) for line in chart[1:]) >= 12
    assert len({len(line) for line in chart}) == 1  # no cell too many
    await pilot.press("y")
    await stage.settle(pilot)
    assert sum(line.count(RING) for line in text_of(stage.train.chart).splitlines()[1:]) >= 12


async def test_i_opens_figures_reasons_and_series(
    live: tuple[Stage, Pilot[int]], trainer: ScriptedTrainer
) -> None:
    stage, pilot = live
    await pilot.press("i")
    await stage.until(pilot, lambda: isinstance(stage.app.screen, VerdictScreen))
    pane = stage.app.screen.query_one(VerdictPane)
    await stage.until(pilot, lambda: "healthy" in pane.plain)
    for word in (
        "the loss falls",
        "(95 %)",
        "held-out trained gap",
        "source loss 0.3900 0.2900 +34 %",
        "mask overlap 0.9100 0.9300 -2 %",
        "62 % of the real face's",
        "18,000 0.3900/0.2900",
        "0.4 % of the time",
    ):
        assert word in " ".join(pane.plain.split()), word
    assert stage.app.current_run is not None
    measured(trainer, 19_500, 0.2, 0.2)
    await stage.app.current_run.poll()
    await stage.until(pilot, lambda: "19,500" in pane.plain)  # it follows
    await pilot.press("escape")
    await stage.until(pilot, lambda: not isinstance(stage.app.screen, VerdictScreen))


@pytest.mark.parametrize(
    ("options", "faces", "words"),
    [
        ({"held_out_percent": 0.0}, None, "held_out_percent is 0"),
        ({}, {"src": 0, "dst": 0}, "fewer than 100"),
        ({}, {"src": 7, "dst": 0}, "7 source faces are held out"),
        ({"pretrain": True}, None, "While pretraining"),
    ],
)
async def test_why_there_are_no_figures(
    tmp_path: Path,
    workspace: object,
    frozen: None,
    options: dict[str, object],
    faces: dict[str, int] | None,
    words: str,
) -> None:
    trainer = ScriptedTrainer(workspace, options=options)  # type: ignore[arg-type]
    trainer.hello()
    if faces is not None:
        trainer.say(EventType.METRICS, held_out_faces=faces, held_out_history=[])
    trainer.train(200)
    stage = Stage(tmp_path / "data", workspace, trainer)  # type: ignore[arg-type]
    async with stage.app.run_test(size=(120, 40)) as pilot:
        await stage.settle(pilot)
        assert "too early to say: 200 of 500" in text_of(stage.train.query_one(StatusLine))
        await pilot.press("i")
        await stage.until(pilot, lambda: isinstance(stage.app.screen, VerdictScreen))
        pane = stage.app.screen.query_one(VerdictPane)
        await stage.until(pilot, lambda: words in pane.plain)


@pytest.fixture
async def shown(stage: Stage, trainer: ScriptedTrainer) -> AsyncIterator[tuple[Stage, Pilot[int]]]:
    for iteration in (2_000, 4_000, 6_000, 8_000):
        trainer.preview(16_000 + iteration, tile=32, rows=1)
    # The trainer went back to 19,000: what was shown after that is of a model that is no more.
    trainer.preview(19_000, tile=32, rows=1)
    for iteration in (20_000, 21_000, 22_000, 23_000):
        trainer.preview(iteration, tile=32, rows=1)
    shutil.rmtree(trainer.folder.previews / "0021000")  # thinned out
    async with stage.app.run_test(size=(120, 40)) as pilot:
        await stage.settle(pilot)
        yield stage, pilot


async def test_the_previews_are_gone_through_in_both_directions(
    shown: tuple[Stage, Pilot[int]],
) -> None:
    stage, pilot = shown
    preview = stage.train.preview

    async def at(key: str, iteration: int, position: str) -> None:
        await pilot.press(key)
        await stage.until(
            pilot, lambda: preview.current is not None and preview.current.iteration == iteration
        )
        assert preview.position == position
        if iteration != 23_000:
            assert f"iteration {iteration:,}" in preview.age()
            assert preview.age().endswith(f"looking back {position}")

    # 10,000 18,000 19,000 20,000 22,000 23,000
    assert preview.position == "6/6"
    await at("left_square_bracket", 22_000, "5/6")
    await at("left_square_bracket", 20_000, "4/6")  # 21,000 is gone
    await at("left_square_bracket", 19_000, "3/6")
    await at("left_square_bracket", 18_000, "2/6")
    await at("right_square_bracket", 19_000, "3/6")
    await at("left_curly_bracket", 10_000, "1/6")
    await at("left_square_bracket", 10_000, "1/6")
    await at("right_curly_bracket", 23_000, "6/6")
    assert "looking back" not in preview.age()


async def test_a_picture_that_is_thinned_out_while_looked_at(
    shown: tuple[Stage, Pilot[int]], trainer: ScriptedTrainer
) -> None:
    stage, pilot = shown
    preview = stage.train.preview
    await pilot.press("left_square_bracket", "left_square_bracket")
    await stage.until(pilot, lambda: preview.current.iteration == 20_000)  # type: ignore[union-attr]
    shutil.rmtree(trainer.folder.previews / "0020000")
    trainer.preview(24_000, tile=32, rows=1)
    await stage.settle(pilot)
    assert preview.current is not None and preview.current.iteration == 19_000
    await pilot.press("right_square_bracket")
    await stage.until(pilot, lambda: preview.current.iteration == 22_000)  # type: ignore[union-attr]


async def test_playing_ends_at_the_newest_and_a_key_stops_it(
    shown: tuple[Stage, Pilot[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, pilot = shown
    preview = stage.train.preview
    monkeypatch.setattr("recaster_tui.ui.widgets.preview.PLAY_SECONDS", 0.02)
    seen: list[int] = []
    look_at = preview._look_at

    def watched(index: int) -> None:
        look_at(index)
        assert preview.current is not None
        seen.append(preview.current.iteration)

    monkeypatch.setattr(preview, "_look_at", watched)
    await pilot.press("a")
    await stage.until(pilot, lambda: not preview.playing)
    assert seen == [10_000, 18_000, 19_000, 20_000, 22_000, 23_000]
    monkeypatch.setattr("recaster_tui.ui.widgets.preview.PLAY_SECONDS", 60.0)
    await pilot.press("a")
    assert preview.playing and preview.current.iteration == 10_000  # type: ignore[union-attr]
    await pilot.press("a")
    assert not preview.playing
    await pilot.press("a", "right_square_bracket")
    assert not preview.playing and "looking back" in preview.age(NOW)

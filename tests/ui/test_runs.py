"""The Runs screen over a scripted live run, an ended one, and remembered ones."""

import asyncio
import sys
import threading
import time
import tomllib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from history_kit import Rig, fill_history, losses, record
from hypothesis import given
from hypothesis import strategies as st
from scripted import make_workspace
from textual.pilot import Pilot
from textual.widgets import Input

from recaster_tui.protocol import LOSS_DTYPE, write_run_spec
from recaster_tui.supervisor import Run, RunRecord, RunState, Supervisor
from recaster_tui.ui import sparkline
from recaster_tui.ui.app import RecasterApp
from recaster_tui.ui.run_list import Order, arrange, changed_options, option_differences
from recaster_tui.ui.screens.compare import ComparePane
from recaster_tui.ui.screens.dialogs import AskTarget, Confirm
from recaster_tui.ui.screens.run_log import LogPane, read_tail
from recaster_tui.ui.screens.runs import RunsScreen

pictures = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="one baseline Python for pictures"
)
Live = tuple[Rig, RunsScreen, Pilot[int]]


@pytest.fixture
def rig(tmp_path: Path, frozen: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv("HOME", str(tmp_path))  # paths are shown below ~
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield Rig(tmp_path)
    time.tzset()


async def settle(pilot: Pilot[Any]) -> None:
    """Until everything that was asked for has been drawn."""
    for _ in range(2):
        await pilot.pause()
        await pilot.app.workers.wait_for_complete()
        for screen in pilot.app.screen_stack:
            if isinstance(screen, RunsScreen):
                screen._tick()
                await screen.table.settled()
                await screen.detail.settled()
        await pilot.pause()


@pytest.fixture
async def live(rig: Rig) -> AsyncIterator[Live]:
    app = rig.app(mode="runs")
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert isinstance(app.screen, RunsScreen)
        yield rig, app.screen, pilot


def row(screen: RunsScreen, number: int) -> str:
    return screen.table.render_line(number + 1).text


async def test_rows_say_what_each_run_is_and_the_detail_why(live: Live) -> None:
    _, screen, pilot = live
    assert len(screen.table.keys) == 8
    assert "● training" in row(screen, 0)
    assert "3,000" in row(screen, 0)
    assert "▁" in row(screen, 0)
    assert "a shows 3 runs of other workspaces" in screen.table.render_line(9).text
    assert "Batch size" in screen.detail.plain  # 6 is not the default
    await pilot.press("end")
    await settle(pilot)
    assert "first" in row(screen, 7)
    detail = screen.detail.plain
    assert "2 files of data_dst/aligned cannot be used" in detail
    assert "hint: recaster faces check lists them" in detail
    assert "a.jpg, b.jpg" in detail
    await pilot.press("up")
    await settle(pilot)
    assert "the run folder is gone" in screen.detail.plain


async def test_a_live_run_changes_in_place(live: Live) -> None:
    rig, screen, pilot = live
    repainted: list[Any] = []
    original = screen.table.refresh
    screen.table.refresh = lambda *r, **k: (repainted.extend(r), original(*r, **k))[1]  # type: ignore
    rig.live.train(500)
    (run,) = rig.supervisor.live_runs()
    await run.poll()
    rig.supervisor._touch()
    screen.tick()
    await settle(pilot)
    assert "3,500" in row(screen, 0)
    assert repainted
    assert all(region.height == 1 and region.y == 1 for region in repainted)
    assert max(region.width for region in repainted) < 30  # cells, not whole rows


async def test_keys_command_the_run_under_the_cursor(live: Live) -> None:
    rig, screen, pilot = live
    for key, state in (("p", "paused"), ("p", "training")):
        await pilot.press(key)
        await settle(pilot)
        (run,) = rig.supervisor.live_runs()
        await run.poll()
        assert run.state.value == state
        rig.supervisor._touch()
        await settle(pilot)
    await pilot.press("w")
    await settle(pilot)
    await pilot.press("x")
    await settle(pilot)
    assert [name for name, _ in rig.live.commands] == ["pause", "resume", "save", "stop"]
    for _ in range(200):  # the answer and the end of the run come in their own time
        for known in rig.supervisor.runs():
            await known.poll()
        rig.supervisor._touch()
        screen.tick()
        await pilot.pause(0.02)
        if screen.check_action("resume", ()):
            break
    assert screen.check_action("resume", ()) is True
    assert screen.check_action("stop", ()) is False


async def test_enter_opens_on_train_and_resume_starts_again(live: Live) -> None:
    rig, screen, pilot = live
    await pilot.press("end", "enter")
    await settle(pilot)
    assert pilot.app.current_mode == "train"
    assert pilot.app.current_run.run_id == rig.ended.spec.run_id  # type: ignore[attr-defined]
    await pilot.press("4")
    await settle(pilot)
    assert screen.table.key == rig.ended.spec.run_id
    await pilot.press("r")
    await settle(pilot)
    assert rig.supervisor._launcher.started == [rig.ended.folder.root]  # type: ignore[attr-defined]
    assert pilot.app.current_mode == "train"


async def test_a_run_at_its_target_asks_for_another(tmp_path: Path, rig: Rig) -> None:
    rig.ended.spec.options["target_iterations"] = 800
    spec = rig.ended.spec.model_copy(update={"target_iterations": 800})
    write_run_spec(rig.ended.folder.spec, spec)
    for folder in (rig.workspace.src_faces, rig.workspace.dst_faces):
        (folder / "face.jpg").touch()
    app = rig.app(mode="runs")
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("end", "r")
        await pilot.pause()
        await pilot.pause()
        assert isinstance(app.screen, AskTarget)
        field = app.screen.query_one(Input)
        field.value = "700"
        await pilot.press("enter")
        assert isinstance(app.screen, AskTarget)  # less than it has
        field.value = "1200"
        await pilot.press("enter")
        await settle(pilot)
        assert app.current_run is not None
        assert app.current_run.spec.target_iterations == 1200
        assert app.current_run.spec.model_name == "first"


async def test_filter_sort_and_all_workspaces(live: Live) -> None:
    _, screen, pilot = live
    await pilot.press("a")
    assert len(screen.table.keys) == 11
    await pilot.press("slash", *"night")
    assert len(screen.table.keys) == 3
    assert all("night-shoot" in row(screen, i) for i in range(3))
    await pilot.press("enter")
    assert screen.focused is screen.table
    await pilot.press("escape")
    assert len(screen.table.keys) == 11
    while screen.table.order.column != "src":
        await pilot.press("o")
    assert screen.table.record(screen.table.keys[0]).state.live  # type: ignore[union-attr]
    values = [screen.table.record(k).loss_src for k in screen.table.keys[1:]]  # type: ignore[union-attr]
    assert values == sorted(values)
    await pilot.press("O")
    values = [screen.table.record(k).loss_src for k in screen.table.keys[1:]]  # type: ignore[union-attr]
    assert values == sorted(values, reverse=True)


async def test_half_a_word_hides_no_run(live: Live) -> None:
    _, screen, pilot = live
    await pilot.press("a", "slash")
    for letter in "loss<abc":
        await pilot.press(letter)
        assert screen.table.keys, f"empty at {letter} of {screen.query_text}"
    assert len(screen.table.keys) == 11
    screen.filter_input.value = "class:quick96 its"
    await pilot.pause()
    assert 0 < len(screen.table.keys) < 11
    screen.filter_input.value = "its>10000000"
    await pilot.pause()
    assert not screen.table.keys
    screen.filter_input.value = "its"
    await pilot.pause()
    assert len(screen.table.keys) == 11
    await pilot.press("enter")  # now it is meant
    assert not screen.table.keys


async def test_compare_shows_only_what_differs(live: Live) -> None:
    _, screen, pilot = live
    await pilot.press("c")
    assert isinstance(pilot.app.screen, RunsScreen)  # nothing is marked
    await pilot.press("down", "down", "down", "space", "down", "down", "space", "c")
    await settle(pilot)
    text = pilot.app.screen.query_one(ComparePane).plain
    assert "Options that differ (1)" in text
    assert "Batch size" in text
    assert "Resolution" not in text
    curves = [line for line in text.splitlines() if "┤" in line]
    assert "source loss" in text and len(curves) >= 3 and any(c in text for c in "⠉⠒⠤⣀")
    await pilot.press("o", "space")
    more = pilot.app.screen.query_one(ComparePane).plain
    assert "Resolution" in more and "Every option (1 of" in more and "destination loss" in more
    await pilot.press("y")
    assert pilot.app.screen.query_one(ComparePane).plain != more  # another axis
    await pilot.press("escape")
    assert screen.table.marked


async def test_forgetting_keeps_every_file_and_stays_forgotten(live: Live) -> None:
    rig, screen, pilot = live
    await pilot.press("d")
    assert isinstance(pilot.app.screen, Confirm)
    await pilot.press("y")
    await settle(pilot)
    assert len(screen.table.keys) == 8  # it is alive: refused
    await pilot.press("end", "d", "enter")
    assert len(screen.table.keys) == 8  # enter alone is no
    before = sorted(p for p in rig.workspace.root.rglob("*"))
    await pilot.press("d", "y")
    await settle(pilot)
    assert rig.ended.spec.run_id not in screen.table.keys
    await rig.supervisor.adopt(rig.workspace)
    assert rig.ended.spec.run_id not in {r.run_id for r in rig.supervisor.records()}
    assert sorted(p for p in rig.workspace.root.rglob("*")) == before
    forgotten = tomllib.loads((rig.data / "forgotten.toml").read_text())
    assert list(forgotten) == [rig.ended.spec.run_id]


async def test_log_without_escapes(live: Live) -> None:
    _, _, pilot = live
    await pilot.press("end", "l")
    await settle(pilot)
    pane = pilot.app.screen.query_one(LogPane)
    assert pane.rows == ["first line", "ERROR no such thing", "last"]
    await pilot.press("escape")
    await pilot.press("home", "l")
    await settle(pilot)
    assert "There is no log" in pilot.app.screen.query_one(LogPane).plain


def test_tail_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "trainer.log"
    path.write_bytes(b"x" * 50 + b"\nstep 1\rstep 2\r\n\x1b]0;title\x07caf\xc3\xa9\xff\n")
    assert read_tail(path, 40) == ["step 2", "café�"]


async def test_two_thousand_runs_draw_only_what_is_seen(
    tmp_path: Path, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [record(i, rig.workspace.root) for i in range(2_000)]
    rig.supervisor._records = {r.run_id: r for r in many}
    app = rig.app(mode="runs")
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        asked: set[str] = set()
        original = screen.table.cell
        monkeypatch.setattr(
            screen.table, "cell", lambda key, *a: (asked.add(key), original(key, *a))[1]
        )
        await pilot.press("end")
        await settle(pilot)
        assert screen.table.key == many[-1].run_id
        assert "runs of other" not in screen.table.render_line(0).text
        assert len(asked) < 60


@pictures
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=lambda s: f"{s[0]}x{s[1]}")
def test_picture(rig: Rig, size: tuple[int, int], snap_compare: Any) -> None:
    assert snap_compare(rig.app(mode="runs"), terminal_size=size, run_before=settle)


@pictures
def test_picture_of_compare(rig: Rig, snap_compare: Any) -> None:
    async def compare(pilot: Pilot[int]) -> None:
        await settle(pilot)
        await pilot.press("space", "down", "down", "c")
        await settle(pilot)

    assert snap_compare(rig.app(mode="runs"), terminal_size=(120, 40), run_before=compare)


@pictures
def test_picture_without_runs(tmp_path: Path, frozen: None, snap_compare: Any) -> None:
    app = RecasterApp(
        make_workspace(tmp_path / "film"),
        supervisor=Supervisor(tmp_path / "data"),
        watch=False,
        mode="runs",
    )
    assert snap_compare(app, terminal_size=(80, 24), run_before=settle)


# -- pure parts ---------------------------------------------------------------------------------


def test_order_keeps_missing_values_last(tmp_path: Path) -> None:
    some = [replace(record(i, tmp_path), loss_src=v) for i, v in enumerate([0.3, np.nan, 0.1])]
    for reverse in (False, True):
        shown = arrange(some, Order("src", reverse))
        assert np.isnan(shown[-1].loss_src)
    here = tmp_path / "other"
    some.append(record(9, here))
    assert arrange(some, Order(), here=here)[0].workspace == str(here)
    assert arrange(some, Order(), here=here, everywhere=False) == [some[-1]]
    assert arrange(some, Order(), "SECOND failed") == []
    assert arrange(some, Order(), "SECOND finished") == [some[1]]


def test_option_differences() -> None:
    assert option_differences({"a": 1, "b": True}, {"a": 1.0, "b": 1}) == [("b", True, 1)]
    assert option_differences({"a": 1}, {"c": 2}, ["c", "a"]) == [("c", None, 2), ("a", 1, None)]
    keys = [k for k, _, _ in changed_options(record(3, Path("/x")))]
    assert keys == ["batch_size"]


@given(
    count=st.integers(1, 300),
    width=st.integers(1, 60),
    holes=st.floats(0, 0.9),
    seed=st.integers(0, 9),
)
def test_sparkline_keeps_means_and_never_fails(
    count: int, width: int, holes: float, seed: int
) -> None:
    rows = losses(count, seed)
    rng = np.random.default_rng(seed)
    rows["src"][rng.random(count) < holes] = np.nan
    curve = sparkline.points(rows, width, "src")
    assert len(curve) == width
    finite = rows["src"][np.isfinite(rows["src"])]
    if len(finite):
        low, high = sparkline.span(curve)
        assert finite.min() * 0.999 <= low <= high <= finite.max() * 1.001
    for height in (1, 3):
        lines = sparkline.draw(curve, height)
        assert [len(line) for line in lines] == [width] * height


def test_sparkline_falls_and_marks_extremes() -> None:
    rows = np.zeros(800, LOSS_DTYPE)
    rows["iteration"] = np.arange(1, 801)
    rows["src"] = np.geomspace(8, 1, 800)
    rows["dst"] = np.nan
    (line,) = sparkline.draw(sparkline.points(rows, 8, "both"))
    assert line == "█▇▆▅▄▃▂▁"
    assert sparkline.draw(np.full(3, np.nan)) == ["   "]
    assert sparkline.draw(np.full(3, 0.5)) == ["▅▅▅"]


def test_history_of_a_running_state_survives(tmp_path: Path) -> None:
    """A record saved as alive is shown alive until somebody looks; sorting takes it first."""
    made = fill_history(tmp_path, tmp_path / "w", 3)
    alive = replace(made[-1], state=RunState.TRAINING)
    shown = arrange([*made[:-1], alive], Order("state"))
    assert shown[0].state is RunState.TRAINING


async def test_reading_a_long_run_is_not_begun_anew_by_the_news_of_another(live: Live) -> None:
    rig, screen, pilot = live
    asked: list[str] = []
    may_end = threading.Event()

    def slow(item: RunRecord) -> Run:
        asked.append(item.run_id)
        assert may_end.wait(30)
        return rig.supervisor.look(item)

    screen.detail.look = slow
    await pilot.press("end")
    for _ in range(500):
        if asked:
            break
        await asyncio.sleep(0.01)
    for _ in range(3):  # the living run says something while the other is read
        rig.live.train(10)
        (run,) = rig.supervisor.live_runs()
        await run.poll()
        rig.supervisor._touch()
        screen.tick()
        await pilot.pause()
    may_end.set()
    await settle(pilot)
    assert asked == [rig.ended.spec.run_id]
    assert "2 files of data_dst/aligned cannot be used" in screen.detail.plain


async def test_a_bug_in_a_worker_is_logged_and_told(
    live: Live, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, screen, pilot = live

    async def broken(*_: Any, **__: Any) -> Run:
        raise ZeroDivisionError("an example")

    monkeypatch.setattr(rig.supervisor, "attach", broken)
    await pilot.press("w")
    await settle(pilot)
    assert screen.is_current and pilot.app.crash is None  # type: ignore[attr-defined]
    told = [n.message for n in pilot.app._notifications]
    assert any("ZeroDivisionError: an example" in text and "app.log" in text for text in told)
    assert any(r.exc_info and r.exc_info[0] is ZeroDivisionError for r in caplog.records)


async def test_the_filter_follows_what_goes_and_comes(live: Live) -> None:
    rig, screen, pilot = live
    await pilot.press("slash", *"state:gone", "enter")
    before = set(screen.table.keys)
    assert rig.ended.spec.run_id not in before
    rig.supervisor._note_gone(rig.supervisor.gone | {rig.ended.spec.run_id})
    screen.tick()
    assert set(screen.table.keys) == before | {rig.ended.spec.run_id}

"""Dialogs in small windows, the help, themes to choose, screenshots, the last word."""

from pathlib import Path

import pytest
from conftest import Stage
from textual.widgets import Button, Static

from recaster_tui.ui.screens.help import HelpScreen, grouped
from recaster_tui.ui.screens.run_log import wrapped
from recaster_tui.ui.theme import OwnThemes, load_themes
from recaster_tui.ui.widgets.loss_chart import MARKS
from recaster_tui.ui.widgets.run_table import RunTable


@pytest.mark.parametrize("size", [(40, 10), (60, 15), (80, 24)], ids=str)
async def test_the_quit_dialog_always_shows_its_buttons(
    stage: Stage, size: tuple[int, int]
) -> None:
    async with stage.app.run_test(size=size) as pilot:
        await stage.settle(pilot)
        await pilot.press("q")
        await pilot.pause()
        dialog = stage.app.screen.query_one("#quit-dialog")
        assert stage.app.screen.region.contains_region(dialog.region)
        buttons = list(stage.app.screen.query(Button))
        assert len(buttons) == 3
        for button in buttons:
            assert dialog.content_region.contains_region(button.region)
            assert button.region.width >= len(str(button.label))


async def test_leaving_says_how_to_come_back(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    async with stage.app.run_test(size=(80, 24)) as pilot:
        await stage.settle(pilot)
        run = stage.supervisor.live_runs()[0]
        await pilot.press("q", "l")
        await pilot.pause()
    assert f"training goes on: recaster attach {run.run_id}\n" in capsys.readouterr().err


@pytest.mark.parametrize("size", [(40, 10), (60, 15), (200, 12)], ids=str)
async def test_small_windows_show_a_run(stage: Stage, size: tuple[int, int]) -> None:
    async with stage.app.run_test(size=size) as pilot:
        await stage.settle(pilot)
        await pilot.press("4")
        await pilot.pause()
        table = stage.app.screen.query_one(RunTable)
        assert table.visible_keys()


async def test_the_help_names_no_internals(stage: Stage) -> None:
    async with stage.app.run_test(size=(120, 60)) as pilot:
        await stage.settle(pilot)
        stage.train.form.rows.focus()
        await pilot.pause()
        groups = grouped(list(stage.app.screen.active_bindings.values()))
        assert "Configuration" in [name for name, _ in groups]
        said = [name for name, _ in groups] + [label for _, rows in groups for _, label, _ in rows]
        assert not [text for text in said if text in ("OptionForm", "Scroll Left", "Page Right")]
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(stage.app.screen, HelpScreen)
        table = stage.app.screen.query_one("#help-table", Static)
        shown = "\n".join(strip.text for strip in table.render_lines(table.size.region))
        assert "Marks on the chart" in shown
        # Nothing takes snapshots yet.
        assert all(glyph in shown for kind, (glyph, _) in MARKS.items() if kind != "snapshot")


async def test_only_our_themes_are_offered(stage: Stage) -> None:
    async with stage.app.run_test(size=(80, 24)):
        offered = [name for name, _ in OwnThemes(stage.app.screen).commands]
        assert offered == sorted(load_themes().files)


async def test_a_screenshot_goes_into_the_workspace(stage: Stage) -> None:
    async with stage.app.run_test(size=(80, 24)) as pilot:
        await stage.settle(pilot)
        stage.app.action_screenshot()
        await pilot.pause()
        assert stage.app.workspace is not None
        saved = list((stage.app.workspace.root / "screenshots").glob("*.svg"))
        assert len(saved) == 1
        assert saved[0].read_text().startswith("<svg")
        assert [toast.message for toast in stage.app._notifications] == [str(saved[0])]

        blocked = Path(saved[0]).parent / "blocked"
        blocked.write_text("")
        stage.app.action_screenshot(path=str(blocked))
        await pilot.pause()
        # What is said in passing makes room, errors stay, and nothing is said twice.
        assert [t.severity for t in stage.app._notifications] == ["error"]
        stage.app.action_screenshot(path=str(blocked))
        stage.app.notify("by the way")
        await pilot.pause()
        assert [t.severity for t in stage.app._notifications] == ["error", "information"]


def test_long_log_lines_break_between_words_and_say_so() -> None:
    row = "  reading /a/long/path/face-1.jpg and /another/one.jpg"
    assert wrapped(row, 40) == ["  reading /a/long/path/face-1.jpg and", "  ↳ /another/one.jpg"]
    assert wrapped(row, 80) == [row]
    assert wrapped("", 40) == [""]
    assert "".join(part.removeprefix("  ↳ ") for part in wrapped("x" * 100, 40)) == "x" * 100

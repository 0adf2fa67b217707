"""What starting costs and needs."""

import subprocess
import sys
from pathlib import Path

from textual.widgets import Input

from recaster_tui.ui.app import RecasterApp
from recaster_tui.ui.hires import pixel_widget
from recaster_tui.ui.terminal import Images, TerminalInfo
from recaster_tui.workspace import open_workspace


def _imported(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_probe_comes_before_textual() -> None:
    assert "textual" not in _imported("import recaster_tui.ui.run")


def test_the_first_screen_needs_neither_torch_nor_plotext() -> None:
    loaded = _imported("import recaster_tui.ui.app, recaster_tui.ui.screens.train")
    assert "textual" in loaded
    assert not loaded & {"torch", "plotext", "cv2", "PIL", "asyncssh", "textual_image"}


def test_half_blocks_need_no_library() -> None:
    info = TerminalInfo(
        "xterm", "truecolor", False, False, False, None, False, False, Images.HALF, True
    )
    assert pixel_widget(info) is None
    assert pixel_widget(None) is None


async def test_the_first_screens_are_composed_without_an_input(tmp_path: Path) -> None:
    # From Python 3.12 on Textual starts tasks eagerly, and an Input that is mounted with the
    # first mode's screen looks for that screen before it stands on its stack: no start at all.
    for side in ("src", "dst"):
        (tmp_path / f"data_{side}" / "aligned").mkdir(parents=True)
    for mode in ("train", "project"):
        app = RecasterApp(open_workspace(tmp_path), mode=mode, watch=False)
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            assert not app.screen.query(Input)

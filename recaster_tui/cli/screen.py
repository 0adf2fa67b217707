"""Opening the app."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from recaster_tui.errors import EnvironmentProblem
from recaster_tui.workspace import open_workspace

if TYPE_CHECKING:
    from recaster_tui.supervisor import RunRequest


def open_screen(
    folder: Path | None,
    *,
    theme: str | None = None,
    images: str = "auto",
    probe: bool = True,
    mouse: bool = True,
    autostart: "RunRequest | None" = None,
) -> int:
    """Check what can be checked before the screen is taken, then open the app.

    Raises:
        BadInputError: no such workspace.
        EnvironmentProblem: there is no terminal to draw on.
    """
    workspace = open_workspace(folder) if folder is not None else None
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise EnvironmentProblem(
            "the app needs a terminal, and this is none",
            hint="without one: recaster train WORKSPACE --config NAME, or recaster demo --headless",
        )
    if os.environ.get("TERM") == "dumb":
        raise EnvironmentProblem(
            "this terminal (TERM=dumb) cannot show an app",
            hint="use another terminal, or: recaster train WORKSPACE --config NAME",
        )
    if "SSH_CONNECTION" in os.environ:
        # Smooth scrolling and fading send many times the bytes (spec/terminal.md 12.26).
        os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
        os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
    from recaster_tui.ui.run import run_app

    root = workspace.root if workspace is not None else None
    return run_app(root, images=images, probe=probe, mouse=mouse, theme=theme, autostart=autostart)

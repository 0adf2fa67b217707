"""Starting the app: look at the terminal first, import Textual after.

Textual reads the environment when it is imported, so the probe's answers must be there before
(spec/terminal.md 5.4). Nothing here imports Textual at the top.
"""

import gc
import logging
import logging.handlers
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from recaster_tui import paths
from recaster_tui.ui import terminal
from recaster_tui.ui.leaving import watch_terminal
from recaster_tui.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from recaster_tui.supervisor import RunRequest

log = logging.getLogger(__name__)


def run_app(
    workspace: Workspace | Path | None,
    *,
    images: str = "auto",
    probe: bool = True,
    mouse: bool = True,
    theme: str | None = None,
    autostart: "RunRequest | None" = None,
    mode: str | None = None,
) -> int:
    """Open the app and return its exit code when the user leaves it.

    Args:
        workspace: the project; None opens the Project screen to choose one.
        images: ``auto``, ``half``, ``sixel``, ``kitty`` or ``off``.
        probe: ask the terminal what it can do (costs 1 s where it does not answer).
        mouse: follow the mouse.
        theme: name of a theme for this time.
        autostart: begin this run unless one is alive in the workspace.
        mode: the screen to begin with; by default Train, or Project without a workspace.

    Raises:
        EnvironmentProblem: there is no terminal to draw on.
        BadInputError: the workspace is none.
        Exception: a bug; the terminal has been given back, and the log file has it.
    """
    terminal.require_terminal()
    gc.disable()  # a tenth of the time to the first frame went into collecting what imports make
    project = open_workspace(workspace) if isinstance(workspace, Path) else workspace
    _log_to_file()
    info = terminal.probe(images=images, ask=probe)
    terminal.apply_environment(info)
    log.info("terminal: %s", info)

    from recaster_tui.ui.app import RecasterApp

    app = RecasterApp(project, theme=theme, autostart=autostart, terminal=info, mode=mode)
    watch_terminal()
    gc.freeze()
    gc.enable()
    result = app.run(mouse=mouse)
    if app.crash is not None:
        raise app.crash
    return result if result is not None else (app.return_code or 0)


def _log_to_file() -> None:
    """Textual owns the terminal: everything that wants to be said goes to a file."""
    folder = paths.log_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler: logging.Handler = logging.handlers.RotatingFileHandler(
            folder / "app.log", maxBytes=1_000_000, backupCount=2, encoding="utf-8", delay=True
        )
    except OSError:
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(os.environ.get("RECASTER_LOG", "INFO").upper())
    logging.captureWarnings(True)
    sys.excepthook = _log_exception


def _log_exception(kind: type[BaseException], error: BaseException, trace: object) -> None:
    log.critical("uncaught", exc_info=(kind, error, error.__traceback__))
    sys.__excepthook__(kind, error, error.__traceback__)

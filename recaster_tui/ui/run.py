"""Starting the app: look at the terminal first, import Textual after.

Textual reads the environment when it is imported, so the probe's answers must be there before
(spec/terminal.md 5.4). Nothing here imports Textual at the top.
"""

import gc
import logging
import logging.handlers
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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

    watch_terminal()
    gc.freeze()
    gc.enable()
    with _screen_to_itself():
        app = RecasterApp(project, theme=theme, autostart=autostart, terminal=info, mode=mode)
        result = app.run(mouse=mouse)
    if app.crash is not None:
        raise app.crash
    return result if result is not None else (app.return_code or 0)


@contextmanager
def _screen_to_itself() -> Iterator[None]:
    """Only Textual writes on the screen, which it does through ``sys.__stderr__``.

    Libraries in C write to file descriptor 2 what they think of a file ("Corrupt JPEG data"), in
    the middle of the screen: that goes to ``stderr.log`` beside the app's log.
    """
    before = sys.__stderr__
    if before is None:
        yield
        return
    before.flush()
    screen = os.dup(before.fileno())
    try:
        log_file = os.open(
            paths.log_dir() / "stderr.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666
        )
    except OSError:
        log_file = os.open(os.devnull, os.O_WRONLY)
    os.dup2(log_file, before.fileno())
    os.close(log_file)
    file = os.fdopen(os.dup(screen), "w", encoding=before.encoding, errors=before.errors)
    sys.__stderr__ = file  # type: ignore[misc]
    try:
        yield
    finally:
        os.dup2(screen, before.fileno())
        os.close(screen)
        sys.__stderr__ = before  # type: ignore[misc]
        with suppress(OSError):  # a terminal that is gone
            file.close()


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

"""Opening the app."""

from pathlib import Path
from typing import TYPE_CHECKING

from recaster_tui.workspace import open_workspace

if TYPE_CHECKING:
    from recaster_tui.supervisor import RunRequest


def require_screen() -> None:
    """Refuse early where no app can be shown. Raises EnvironmentProblem."""
    from recaster_tui.ui.terminal import require_terminal

    require_terminal()


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

    Without *folder* the Project screen shows the current one or, if that is no workspace, the
    one opened last.

    Raises:
        BadInputError: no such workspace.
        EnvironmentProblem: there is no terminal to draw on.
    """
    workspace = open_workspace(folder) if folder is not None else None
    require_screen()
    from recaster_tui.ui.recent import usual_workspace
    from recaster_tui.ui.run import run_app

    if workspace is None:
        workspace = usual_workspace(Path.cwd())
    return run_app(
        workspace.root if workspace is not None else None,
        images=images,
        probe=probe,
        mouse=mouse,
        theme=theme,
        autostart=autostart,
        mode="project" if folder is None else None,
    )

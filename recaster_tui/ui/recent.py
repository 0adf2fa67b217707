"""Workspaces that were opened before (``recent.toml`` beside the settings)."""

import logging
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recaster_tui import paths
from recaster_tui.errors import RecasterError
from recaster_tui.files import read_toml, write_toml
from recaster_tui.workspace import Workspace, open_workspace

log = logging.getLogger(__name__)

MOST = 30


@dataclass(frozen=True)
class Recent:
    """A workspace and when it was opened last (unix seconds)."""

    path: Path
    opened: float


def _file() -> Path:
    return paths.config_dir() / "recent.toml"


def recent_workspaces() -> list[Recent]:
    """Last opened first; those whose folder is gone are left out. Never fails."""
    try:
        table = read_toml(_file())
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        log.warning("the list of recent workspaces is unreadable and is not used: %s", error)
        return []
    found: dict[Path, Recent] = {}
    entries = table.get("workspace")
    for entry in entries if isinstance(entries, list) else []:
        item = _parse(entry)
        if item is not None and item.path.is_dir():
            known = found.get(item.path)
            if known is None or known.opened < item.opened:
                found[item.path] = item
    return sorted(found.values(), key=lambda item: item.opened, reverse=True)


def remember_workspace(root: Path) -> None:
    """Put *root* first. A read-only home is no reason to fail."""
    root = root.resolve()
    others = [item for item in recent_workspaces() if item.path != root]
    items = [Recent(root, time.time()), *others][:MOST]
    table = {"workspace": [{"path": str(i.path), "opened": i.opened} for i in items]}
    try:
        write_toml(_file(), table, durable=False)
    except OSError as error:
        log.warning("cannot remember the workspace: %s", error)


def usual_workspace(folder: Path) -> Workspace | None:
    """Where to begin when no workspace is named: *folder* if it is one, else the last opened.

    ``src`` or ``model`` alone make no workspace here: many folders have those.
    """
    named = (folder / "data_src", folder / "data_dst", folder / "recaster.toml")
    own = all((folder / side).is_dir() for side in ("src", "dst"))
    candidates = [folder] if own or any(path.exists() for path in named) else []
    for root in [*candidates, *(item.path for item in recent_workspaces())]:
        try:
            return open_workspace(root)
        except (RecasterError, OSError) as error:
            log.info("not opened: %s", error)
    return None


def _parse(entry: Any) -> Recent | None:
    if not isinstance(entry, dict):
        return None
    path, opened = entry.get("path"), entry.get("opened", 0.0)
    if not isinstance(path, str) or not isinstance(opened, int | float):
        return None
    return Recent(Path(path), float(opened))

"""Where the project lies, how it is laid out, and how much room the disk has."""

import logging
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.strip import Strip

from recaster_tui.files import read_toml
from recaster_tui.ui import words
from recaster_tui.ui.widgets.panel import Lines, Words
from recaster_tui.ui.widgets.project_tables import printable, short_path
from recaster_tui.ui.widgets.text_pane import paragraph
from recaster_tui.workspace import VIDEO_SUFFIXES, Workspace

log = logging.getLogger(__name__)

LOW_DISK = 5 * 2**30


@dataclass(frozen=True)
class WorkspaceFacts:
    """Figures of one project folder; made in a thread."""

    workspace: Workspace
    layout: str
    runs: int
    merged: int
    results: tuple[str, ...]
    free: int
    total: int
    settings: dict[str, Any]
    problem: str = ""


def read_workspace(workspace: Workspace) -> WorkspaceFacts:
    """Look at *workspace*; never fails."""
    problem = ""
    settings: dict[str, Any] = {}
    try:
        settings = read_toml(workspace.root / "recaster.toml")
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problem = f"recaster.toml cannot be read: {error}"
    try:
        usage = shutil.disk_usage(workspace.root)
        free, total = usage.free, usage.total
    except OSError:
        free = total = 0
    return WorkspaceFacts(
        workspace,
        _layout(workspace),
        _count(workspace.runs, "*/run.toml"),
        _count(workspace.merged, "*"),
        tuple(f"result{s}" for s in VIDEO_SUFFIXES if (workspace.root / f"result{s}").is_file()),
        free,
        total,
        settings,
        problem,
    )


def _layout(workspace: Workspace) -> str:
    root = workspace.root
    dfl = any((root / f"data_{side}").is_dir() for side in ("src", "dst"))
    own = any((root / side).is_dir() for side in ("src", "dst"))
    if dfl:
        return "DeepFaceLab's (data_src, data_dst)"
    return "Recaster's (src, dst)" if own else "no faces folders yet"


def _count(folder: Path, pattern: str) -> int:
    try:
        return sum(1 for _ in folder.glob(pattern))
    except OSError:
        return 0


class WorkspaceView(Lines):
    """The facts as a short list."""

    facts: WorkspaceFacts | None = None

    def show(self, facts: WorkspaceFacts | None) -> None:
        """Take the facts."""
        self.facts = facts
        self.update_lines()

    def lines(self, width: int, height: int) -> list[Strip]:
        """One fact a line, the most useful first."""
        colours, facts = self.colours, self.facts
        muted = colours.muted()
        if facts is None:
            head = Words().add(" No workspace is open", colours.style("warning", bold=True))
            hints = (
                "o opens a folder with data_src/aligned and data_dst/aligned (DeepFaceLab's "
                "layout), or src and dst.\nTo make one to try things on: recaster demo"
            )
            found = [head, *paragraph(hints, muted, width - 1, 1)]
            return [line.strip(width) for line in found][:height]
        workspace = facts.workspace
        low = 0 < facts.free < LOW_DISK
        room = width - 9
        rows: list[tuple[str, str, str]] = [
            ("folder", short_path(workspace.root, room), "text"),
            ("layout", facts.layout, "text"),
            ("disk", f"{words.size(facts.free)} free of {words.size(facts.total)}",
             "warning" if low else "text"),
            ("runs", f"{facts.runs:,}" if facts.runs else "none yet", "text"),
        ]  # fmt: skip
        if facts.merged or facts.results:
            merged = f"{facts.merged:,} files" if facts.merged else "no frames"
            rows.append(("merged", ", ".join([merged, *facts.results]), "text"))
        for key in ("consent", "note", "description"):
            text = facts.settings.get(key)
            if isinstance(text, str) and text.strip():
                rows.append((key[:7], printable(" ".join(text.split())), "text"))
        lines = []
        for label, text, style in rows:
            line = Words().add(f" {label:<7} ", muted)
            first, *rest = paragraph(text, colours.style(style), room)
            lines.append(line.extend(first))
            lines += [Words().add(" " * 9).extend(more) for more in rest]
        if low:
            lines.append(Words().add(" A model with backups may need more.", muted))
        if facts.problem:
            lines += paragraph(facts.problem, colours.style("warning"), width - 1, 1)
        return [line.strip(width) for line in lines][:height]

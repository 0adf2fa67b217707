"""The queue as a table, and what is known of the entry under its cursor."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from textual.strip import Strip

from recaster_tui.supervisor import Run
from recaster_tui.supervisor.queue_entry import QueueEntry
from recaster_tui.ui import clock, words
from recaster_tui.ui.palette import Palette
from recaster_tui.ui.queue_list import (
    STATE_COLOURS,
    STATE_GLYPHS,
    QueueView,
    device,
    progress,
    reason,
)
from recaster_tui.ui.run_list import changed_options, class_title, labels
from recaster_tui.ui.widgets.panel import Lines, Words
from recaster_tui.ui.widgets.project_tables import printable, short_path
from recaster_tui.ui.widgets.table_view import Cell, Column, TableView


class QueueTable(TableView):
    """Rows are entry ids: what runs, what waits in order, what is over."""

    BINDING_GROUP_TITLE = "Queue"
    EMPTY = (
        "The queue is empty. On the Train screen (3), Q lets a configuration wait for its turn;\n"
        "in a shell: recaster queue add."
    )
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("place", "#", 3, right=True),
        Column("state", "state", 10),
        Column("model", "model", 12, most=20),
        Column("class", "class", 7, rank=4),
        Column("progress", "iterations", 15, most=19, right=True),
        Column("device", "device", 8, rank=3),
        Column("workspace", "workspace", 12, rank=5, most=16),
        Column("why", "why", 24, rank=1, most=90),
    )

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._entries: dict[str, QueueEntry] = {}
        self._runs: Mapping[str, Run] = {}
        self._view: QueueView | None = None

    def show(self, view: QueueView, runs: Mapping[str, Run]) -> None:
        """Take what there is; *runs* by id are those that are followed."""
        self._view, self._runs = view, runs
        self._entries = {e.id: e for e in view.entries}
        self.set_rows([e.id for e in view.entries])

    def entry(self) -> QueueEntry | None:
        """Under the cursor."""
        return self._entries.get(self.key) if self.key is not None else None

    def cell(self, key: str, column: str, width: int, colours: Palette) -> Cell:
        """One value."""
        entry, view = self._entries.get(key), self._view
        if entry is None or view is None:
            return ()
        run = self._runs.get(entry.run_id)
        faint = entry.state.over
        match column:
            case "place":
                place = view.places.get(key)
                return ((str(place) if place else "", colours.style("accent", bold=True)),)
            case "state":
                state = entry.state.value
                return ((f"{STATE_GLYPHS[state]} {state}", colours.style(STATE_COLOURS[state])),)
            case "model":
                name = printable(entry.model_name)
                return ((name, colours.style("text", bold=not faint)),)
            case "class":
                return ((class_title(entry.model_class), colours.muted()),)
            case "progress":
                return ((progress(entry, run), colours.style("text")),)
            case "device":
                return ((entry.slot, colours.muted()),)
            case "workspace":
                return ((printable(Path(entry.workspace).name), colours.muted()),)
            case "why":
                return ((printable(reason(entry, run, paused=view.paused)), colours.muted()),)
        return ()


class QueueDetail(Lines):
    """One entry, with its whole reason."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._entry: QueueEntry | None = None
        self._run: Run | None = None
        self._paused = False
        self._problems: tuple[str, ...] = ()

    def show(
        self, entry: QueueEntry | None, run: Run | None, *, paused: bool, problems: tuple[str, ...]
    ) -> None:
        """Take one."""
        self._entry, self._run, self._paused, self._problems = entry, run, paused, problems
        self.update_lines()

    def lines(self, width: int, height: int) -> list[Strip]:
        """Facts, then the reason as far as there is room."""
        colours = self.colours
        room = max(10, width - 13)
        lines: list[Words] = []

        def row(name: str, text: str, style: str = "text") -> None:
            for i, part in enumerate(textwrap.wrap(printable(text), room) or [""]):
                line = Words().add(f" {name if not i else '':<11}", colours.muted())
                lines.append(line.add(part, colours.style(style)))

        for problem in self._problems:
            row("warning", problem, "warning")
        entry = self._entry
        if entry is not None:
            bad = "error" if entry.state.value == "failed" else "text"
            if why := reason(entry, self._run, paused=self._paused, whole=True):
                row("why", why, bad)
            row("target", f"{_target(entry)}, on {device(entry)}")
            row("workspace", short_path(Path(entry.workspace), room))
            row("run", entry.run_id or "not started yet")
            row("added", _times(entry))
            names = labels(entry.model_class.value)
            changed = [
                f"{names.get(key, key)} {words.plain(value)}"
                for key, value, _ in changed_options(entry.record)
                if key != "target_iterations"
            ]
            if changed:
                row("options", ", ".join(changed))
        return [line.strip(width) for line in lines[:height]]


def _target(entry: QueueEntry) -> str:
    parts = []
    if entry.target_iterations:
        parts.append(f"{words.count(entry.target_iterations)} iterations")
    if entry.target_seconds:
        parts.append(f"{words.duration(entry.target_seconds)} of training")
    return " or ".join(parts)


def _times(entry: QueueEntry) -> str:
    text = clock.stamp(entry.created)
    if entry.started:
        text += f", started {clock.stamp(entry.started)}"
    if entry.ended:
        text += f", ended {clock.stamp(entry.ended)}"
    return text

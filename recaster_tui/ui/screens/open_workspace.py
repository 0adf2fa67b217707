"""Typing a path, with the folders that it may mean."""

import itertools
import os
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from recaster_tui.errors import RecasterError
from recaster_tui.files import expanded
from recaster_tui.ui.palette import palette
from recaster_tui.workspace import looks_like_workspace, open_workspace

MOST = 200


def completions(text: str, base: Path) -> list[Path]:
    """Folders whose path begins with *text*, in order of their names; hidden ones on request.

    Args:
        text: as typed: ``~`` is the home folder; relative to *base*.
        base: where the program was started.
    """
    typed = expanded(text) if text else Path()
    folder, start = (typed, "") if text.endswith("/") or not text else (typed.parent, typed.name)
    if text in ("~", ".."):
        folder, start = expanded(text), ""
    folder = folder if folder.is_absolute() else base / folder
    found: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                hidden = entry.name.startswith(".") and not start.startswith(".")
                if hidden or not entry.name.lower().startswith(start.lower()):
                    continue
                if entry.is_dir():
                    found.append(Path(entry.path))
                if len(found) >= 10 * MOST:
                    break
    except OSError:
        return []
    return sorted(found, key=lambda p: p.name.lower())[:MOST]


def _common_start(names: list[str]) -> str:
    first, last = min(names), max(names)
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(a for a, _ in same)


class OpenScreen(ModalScreen[Path | None]):
    """Dismissed with the root of a workspace, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="open-cancel"),
        Binding("tab", "complete", "Complete", id="open-complete", priority=True),
        Binding("down", "move(1)", "Down", show=False, id="open-down", priority=True),
        Binding("up", "move(-1)", "Up", show=False, id="open-up", priority=True),
    ]

    def __init__(self, start: Path) -> None:
        super().__init__()
        self._base = Path.cwd()
        self._start = start
        self._found: list[Path] = []

    def compose(self) -> ComposeResult:
        """Path above, folders below."""
        with Vertical(classes="dialog", id="open-dialog") as dialog:
            dialog.border_title = "Open a workspace"
            dialog.border_subtitle = "tab completes · enter opens · ◆ is a workspace · esc leaves"
            text = str(self._start).rstrip("/") + "/"
            yield Input(text, id="open-path", placeholder="path of a folder", compact=True,
                        select_on_focus=False)  # fmt: skip
            yield OptionList(id="open-list")
            yield Static("", id="open-problem", markup=False)

    def on_mount(self) -> None:
        """The caret after the path."""
        field = self.query_one(Input)
        field.focus()
        field.cursor_position = len(field.value)
        self._list()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Other folders fit."""
        self.query_one("#open-problem", Static).update("")
        self._list()

    def _list(self) -> None:
        listing = self.query_one(OptionList)
        self._found = completions(self.query_one(Input).value, self._base)
        _, _, ground, ink = listing.colors
        colours = palette(self.app, ground, ink)
        options = []
        for path in self._found:
            text = Text("◆ " if looks_like_workspace(path) else "  ", colours.style("accent"))
            text.append(path.name + "/", colours.style("text"))
            options.append(Option(text))
        listing.clear_options()
        listing.add_options(options)
        listing.highlighted = None

    def action_move(self, step: int) -> None:
        """Arrows choose among the folders."""
        listing = self.query_one(OptionList)
        if step > 0:
            listing.action_cursor_down()
        else:
            listing.action_cursor_up()

    def action_complete(self) -> None:
        """Take the chosen folder, or what all that fit have in common."""
        listing, field = self.query_one(OptionList), self.query_one(Input)
        if listing.highlighted is not None:
            self._take(self._found[listing.highlighted])
        elif len(self._found) == 1:
            self._take(self._found[0])
        elif self._found:
            common = _common_start([p.name for p in self._found])
            typed = "" if field.value.endswith("/") else field.value.rpartition("/")[2]
            if len(common) > len(typed):
                self._write(field.value[: len(field.value) - len(typed)] + common)

    def _take(self, path: Path) -> None:
        home = Path.home()
        short = f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
        self._write(short + "/")

    def _write(self, text: str) -> None:
        field = self.query_one(Input)
        field.value = text
        field.cursor_position = len(text)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click on a folder goes into it."""
        event.stop()
        self._take(self._found[event.option_index])
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter: the chosen folder if it is a workspace, else go into it; else the typed one."""
        listing = self.query_one(OptionList)
        if listing.highlighted is not None:
            chosen = self._found[listing.highlighted]
            if not looks_like_workspace(chosen):
                self._take(chosen)
                return
            self._open(chosen)
            return
        text = event.value.strip()
        if text:
            path = expanded(text)
            self._open(path if path.is_absolute() else self._base / path)

    def _open(self, path: Path) -> None:
        try:
            workspace = open_workspace(path)
        except (RecasterError, OSError, RuntimeError) as error:
            self.query_one("#open-problem", Static).update(str(error))
            return
        self.dismiss(workspace.root)

    def on_paste(self, event: events.Paste) -> None:
        """A pasted path replaces nothing; the field takes it."""
        self.query_one(Input).focus()

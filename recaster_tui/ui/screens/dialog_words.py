"""A dialog that asks for a few words: a name, a note, a folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from recaster_tui.errors import RecasterError
from recaster_tui.ui.screens.dialogs import Dialog, DialogText

Check = Callable[[dict[str, str]], None]


@dataclass(frozen=True)
class Line:
    """One line to type: its key in the answer, its label, what stands there at first."""

    key: str
    label: str
    value: str = ""
    placeholder: str = ""


class AskWords(Dialog[dict[str, str] | None]):
    """Dismissed with what was typed, by key; None = nothing shall happen.

    Args:
        check: looks at the answer before it counts; a :class:`RecasterError` says why not.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="words-cancel"),
        Binding("down,tab", "next(1)", "Next line", show=False, id="words-next", priority=True),
        Binding("up,shift+tab", "next(-1)", "Line before", show=False, id="words-previous",
                priority=True),
    ]  # fmt: skip

    def __init__(
        self, title: str, text: str, lines: Sequence[Line], *, done: str, check: Check | None = None
    ) -> None:
        super().__init__()
        self._heading, self._text, self._lines = title, text, lines
        self._done, self._check = done, check

    def compose(self) -> ComposeResult:
        """What it is for, and the lines."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = self._heading
            more = "tab next line · " if len(self._lines) > 1 else ""
            dialog.border_subtitle = f"{more}enter {self._done} · esc leaves"
            if self._text:
                yield DialogText(self._text)
            for line in self._lines:
                yield Static(line.label, classes="dialog-label", markup=False)
                yield Input(
                    line.value,
                    placeholder=line.placeholder,
                    id=f"words-{line.key}",
                    compact=True,
                    select_on_focus=True,
                )
            yield Static("", id="words-problem", markup=False)

    def on_mount(self) -> None:
        """Ready to type."""
        self.query(Input).first().focus()

    @property
    def values(self) -> dict[str, str]:
        """What stands in the lines."""
        return {
            line.key: self.query_one(f"#words-{line.key}", Input).value.strip()
            for line in self._lines
        }

    def action_next(self, step: int) -> None:
        """Another line."""
        inputs = list(self.query(Input))
        here = next((i for i, item in enumerate(inputs) if item.has_focus), 0)
        inputs[(here + step) % len(inputs)].focus()

    def on_input_changed(self) -> None:
        """What was wrong may be right now."""
        self.query_one("#words-problem", Static).update("")

    def on_input_submitted(self) -> None:
        """Enter, in any line."""
        values = self.values
        try:
            if self._check is not None:
                self._check(values)
        except (RecasterError, OSError) as error:
            text = error.message if isinstance(error, RecasterError) else str(error)
            if isinstance(error, RecasterError) and error.hint:
                text += f" ({error.hint})"
            self.query_one("#words-problem", Static).update(text)
            return
        self.dismiss(values)

"""Small questions over a screen."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

T = TypeVar("T")


class DialogText(VerticalScroll, can_focus=False):
    """What a dialog says; it scrolls where the window is small, so that the buttons stay."""

    def __init__(self, text: str) -> None:
        super().__init__(Static(text, markup=False), classes="dialog-text")


class Dialog(ModalScreen[T], Generic[T]):
    """A question that fits every window: small ones stack its buttons and scroll its text."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (80, "-wide")]  # noqa: RUF012 - Textual's type
    VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "scroll_text(1)", "Down", show=False, id="dialog-down"),
        Binding("up,k", "scroll_text(-1)", "Up", show=False, id="dialog-up"),
    ]
    DEAF_SECONDS: ClassVar[float] = 0.3  # keys that arrive so soon were typed before it was seen

    def __init__(self) -> None:
        super().__init__()
        self._made = time.monotonic()

    @property
    def fresh(self) -> bool:
        """Whether nobody can have read it yet: of keys in a row only the first asks."""
        return time.monotonic() - self._made < self.DEAF_SECONDS

    def action_scroll_text(self, step: int) -> None:
        """Move the text."""
        self.query_one(DialogText).scroll_relative(y=step, animate=False)


class Confirm(Dialog[bool]):
    """Yes or no; the harmless answer has the focus.

    For its first moment it takes no answer: what was typed before it could be read is none.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="confirm-yes"),
        Binding("escape,n,q", "answer(False)", "No", id="confirm-no"),
        Binding("left,h", "app.focus_previous", "Previous", show=False, id="confirm-previous"),
        Binding("right,l", "app.focus_next", "Next", show=False, id="confirm-next"),
    ]

    def __init__(self, title: str, text: str, *, yes: str, no: str = "Cancel") -> None:
        super().__init__()
        self._title, self._text, self._yes, self._no = title, text, yes, no
        self._deaf = self.DEAF_SECONDS > 0

    def compose(self) -> ComposeResult:
        """The question and two buttons."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = self._title
            yield DialogText(self._text)
            with Horizontal(classes="dialog-buttons"):
                yield Button(f"{self._yes} (y)", id="yes")
                yield Button(f"{self._no} (esc)", id="no")

    def on_mount(self) -> None:
        """Enter alone does nothing bad."""
        self.query_one("#no").focus()
        if self._deaf:  # counted from when it can be seen
            self.call_after_refresh(self.set_timer, self.DEAF_SECONDS, self._listen)

    def _listen(self) -> None:
        self._deaf = False
        self.query_one("#no").focus()  # wherever the keys before led

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button."""
        self.action_answer(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        """A key."""
        if not self._deaf:
            self.dismiss(yes)


class AskTarget(Dialog[int | None]):
    """Up to which iteration a run that reached its target goes on; 0 = no end."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="target-cancel"),
    ]

    def __init__(self, name: str, reached: int) -> None:
        super().__init__()
        self._name, self._reached = name, reached

    def compose(self) -> ComposeResult:
        """One number."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "Train on"
            dialog.border_subtitle = "enter starts · esc leaves"
            yield DialogText(
                f"{self._name} has reached its {self._reached:,} iterations.\n"
                "Up to which iteration should it go on? (0: until it is stopped)"
            )
            yield Input(str(self._reached * 2), id="target", type="integer", compact=True)
            yield Static("", id="target-problem", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        try:
            value = int(event.value.strip().replace(",", "").replace("_", ""))
        except ValueError:
            value = -1
        if value != 0 and value <= self._reached:
            self.query_one("#target-problem", Static).update(
                f"must be 0, or more than {self._reached:,}"
            )
            return
        self.dismiss(value)


class AskFolder(Dialog[str | None]):
    """Where a workspace that has vanished is now."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="folder-cancel"),
    ]

    def __init__(self, old: Path) -> None:
        super().__init__()
        self._old = old

    def compose(self) -> ComposeResult:
        """One path."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "Workspace moved"
            dialog.border_subtitle = "enter looks there · esc leaves"
            yield DialogText(
                f"{self._old} is not there any more.\n"
                "Which folder is it now? All its runs are looked for there."
            )
            yield Input(str(self._old), id="folder", compact=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        self.dismiss(event.value.strip() or None)


def plural(count: int, one: str, many: str = "") -> str:
    """``1 face``, ``2 faces``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def joined(names: Sequence[str], most: int = 4) -> str:
    """A few names, then how many more."""
    shown = ", ".join(names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")

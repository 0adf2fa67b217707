"""A few settings in a dialog: choices by left and right, numbers and text by typing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from recaster_tui.ui.widgets.panel import Lines, Words
from recaster_tui.ui.widgets.text_pane import paragraph


@dataclass
class Field:
    """One setting.

    Attributes:
        choices: (value, label); empty for typed ones.
        number: only digits can be typed; *decimal*: and one point.
        low, high: of a number.
        optional: may be empty.
    """

    key: str
    label: str
    value: str
    help: str = ""
    choices: Sequence[tuple[str, str]] = field(default=())
    number: bool = False
    decimal: bool = False
    low: float = 0
    high: float = 1e9
    optional: bool = False

    @property
    def problem(self) -> str:
        """Why the value cannot be used; else empty."""
        if self.choices:
            return ""
        if not self.value:
            return "" if self.optional else "must not be empty"
        if not self.number:
            return ""
        try:
            value = float(self.value)
        except ValueError:
            return "must be a number"
        if not self.low <= value <= self.high:
            return f"must be {self.low:g} to {self.high:g}"
        return ""

    @property
    def shown(self) -> str:
        """The value in words."""
        return dict(self.choices).get(self.value, self.value)


class FieldForm(Lines, can_focus=True):
    """Rows of label and value, the help of the row under the cursor below them."""

    BINDING_GROUP_TITLE = "Settings"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,shift+tab", "row(-1)", "Up", show=False, id="field-up"),
        Binding("down,tab", "row(1)", "Down", show=False, id="field-down"),
        Binding("left", "change(-1)", "Previous choice", show=False, id="field-previous"),
        Binding("right", "change(1)", "Next choice", show=False, id="field-next"),
        Binding("enter", "submit", "Start", show=False, id="field-submit"),
        Binding("backspace", "erase", "Erase", show=False, id="field-erase"),
    ]

    class Submitted(Message):
        """Enter, and every value can be used."""

    def __init__(self, fields: Sequence[Field], *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.fields = list(fields)
        self.at = 0
        self._typed = False
        self.styles.height = len(fields) + 4

    @property
    def values(self) -> dict[str, str]:
        """Value by key."""
        return {item.key: item.value for item in self.fields}

    @property
    def current(self) -> Field:
        """Under the cursor."""
        return self.fields[self.at]

    def action_row(self, step: int) -> None:
        """Another setting."""
        self.at = (self.at + step) % len(self.fields)
        self._typed = False
        self.update_lines()

    def action_change(self, step: int) -> None:
        """Another choice; numbers go up and down."""
        item = self.current
        if item.choices:
            values = [value for value, _ in item.choices]
            at = values.index(item.value) if item.value in values else 0
            item.value = values[(at + step) % len(values)]
        elif item.number and not item.problem and item.value:
            value = max(item.low, min(item.high, float(item.value) + step))
            item.value = f"{value:g}"
        self.update_lines()

    def action_erase(self) -> None:
        """The last letter."""
        if not self.current.choices:
            self.current.value = self.current.value[:-1]
            self._typed = True
            self.update_lines()

    def action_submit(self) -> None:
        """Start, or go to the first value that cannot be used."""
        for at, item in enumerate(self.fields):
            if item.problem:
                self.at = at
                self.update_lines()
                return
        self.post_message(self.Submitted())

    def on_key(self, event: events.Key) -> None:
        """Letters go into a typed value; the first one replaces it."""
        # Here and not through the bindings: those come round later, and keys that follow one
        # another quickly (a slow line) would change places.
        at_once: dict[str, Callable[[], None]] = {
            "backspace": self.action_erase,
            "enter": self.action_submit,
            "up": lambda: self.action_row(-1),
            "down": lambda: self.action_row(1),
            "left": lambda: self.action_change(-1),
            "right": lambda: self.action_change(1),
        }
        if (action := at_once.get(event.key)) is not None:
            event.stop()
            action()
            return
        item, letter = self.current, event.character
        if letter is None or not letter.isprintable():
            return
        if item.choices:
            if letter == " ":
                self.action_change(1)
                event.stop()
            elif letter in "hjkl":
                event.stop()
                moves = {"h": (0, -1), "l": (0, 1), "k": (-1, 0), "j": (1, 0)}
                row, change = moves[letter]
                if row:
                    self.action_row(row)
                else:
                    self.action_change(change)
            return
        if item.number and letter in "jk":
            event.stop()
            self.action_row(1 if letter == "j" else -1)
            return
        event.stop()
        allowed = not item.number or letter.isdigit() or (item.decimal and letter == ".")
        if allowed:
            item.value = (item.value if self._typed else "") + letter
            self._typed = True
            self.update_lines()

    def lines(self, width: int, height: int) -> list[Strip]:
        """A row each, then the help."""
        colours = self.colours
        label = max(len(item.label) for item in self.fields) + 2
        lines: list[Words] = []
        for at, item in enumerate(self.fields):
            here = at == self.at
            look = colours.tint("primary", 0.3) if here else None
            name = colours.style("text", bold=True) if here else colours.muted()
            line = Words().add(f" {item.label}".ljust(label), name + look if look else name)
            value = colours.style("text", bold=here)
            if item.problem:
                value = colours.style("error", bold=True)
            text = item.shown or "–"
            if len(text) > width - label - 6:
                text = "…" + text[-(width - label - 7) :]
            if item.choices and here:
                text = f"‹ {text} ›"
            elif here:
                text = f"{text}▏"
            line.add(text, value + look if look else value)
            if item.problem:
                line.add(f"  {item.problem}", colours.style("error"))
            lines.append(line.fill(width, look) if look else line)
        lines.append(Words())
        lines += paragraph(self.current.help, colours.muted(), width - 1, 1)[:3]
        return [line.strip(width) for line in lines][:height]

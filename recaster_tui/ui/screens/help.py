"""The keys of a screen, made from its bindings; and small dialogs."""

from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from recaster_tui.ui.palette import palette
from recaster_tui.ui.widgets.bars import key_name

T = TypeVar("T")


class HelpScreen(ModalScreen[None]):
    """Every key that works now, by the thing it belongs to."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss(None)", "Close", id="help-close"),
        Binding("j,down", "scroll(1)", "Down", show=False, id="help-down"),
        Binding("k,up", "scroll(-1)", "Up", show=False, id="help-up"),
    ]

    def __init__(
        self,
        bindings: Sequence[ActiveBinding],
        title: str,
        marks: Sequence[tuple[str, str, str]] = (),
        notes: tuple[str, Sequence[tuple[str, str]]] = ("", ()),
    ) -> None:
        super().__init__()
        self._active = bindings
        self._marks = marks
        self._notes = notes
        self._heading = title

    def compose(self) -> ComposeResult:
        """A frame with a scrolling table."""
        with Vertical(classes="dialog", id="help-dialog") as dialog:
            dialog.border_title = f"Keys: {self._heading}"
            dialog.border_subtitle = "esc closes"
            with VerticalScroll(id="help-scroll"):
                yield Static(id="help-table")

    def on_mount(self) -> None:
        """Fill the table with the theme's colours."""
        _, _, ground, ink = self.query_one("#help-table").colors
        colours = palette(self.app, ground, ink)
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", no_wrap=True)
        table.add_column()
        for group, rows in grouped(self._active):
            table.add_row("", Text(group, colours.style("primary", bold=True)))
            for keys, label, tooltip in rows:
                text = Text(label)
                if tooltip and tooltip != label:
                    text.append(f"  {tooltip}", colours.muted())
                table.add_row(Text(keys, colours.style("accent", bold=True)), text)
            table.add_row("", "")
        if self._marks:
            table.add_row("", Text("Marks on the chart", colours.style("primary", bold=True)))
            for glyph, colour, meaning in self._marks:
                table.add_row(Text(glyph, colours.style(colour, bold=True)), Text(meaning))
        heading, notes = self._notes
        if notes:
            table.add_row("", Text(heading, colours.style("primary", bold=True)))
            for example, meaning in notes:
                text = Text(example, colours.style("accent", bold=True))
                table.add_row("", text.append(f"  {meaning}", colours.muted()))
        self.query_one("#help-table", Static).update(table)

    def action_scroll(self, step: int) -> None:
        """Move the table."""
        self.query_one("#help-scroll").scroll_relative(y=step, animate=False)


_MEANINGS = {
    "saved": "the model was saved",
    "backup": "a backup was made",
    "option": "an option was changed while training",
    "resumed": "training was started again",
    "rolled-back": "training went back to an earlier save",
    "restored": "the model was put back to a snapshot or backup",
}
_TEXTUALS_OWN = frozenset({"screen.copy_text", "help_quit"})


def grouped(active: Sequence[ActiveBinding]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """(group, [(keys, label, tooltip)]): keys of one action together, in order of binding."""
    groups: dict[str, dict[str, tuple[list[str], str, str]]] = {}
    for item in active:
        binding = item.binding
        if not binding.description or binding.system or binding.action in _TEXTUALS_OWN:
            continue
        # Ours have ids; what Textual's scrolling widgets add says nothing that a person seeks.
        if not binding.id and binding.action.startswith(("scroll_", "page_")):
            continue
        rows = groups.setdefault(_group_of(item.node), {})
        keys, _, _ = rows.setdefault(
            binding.action, ([], binding.description, binding.tooltip or "")
        )
        name = key_name(binding.key_display or binding.key)
        if name not in keys:
            keys.append(name)
    return [
        (group, [(" ".join(keys), label, tip) for keys, label, tip in rows.values()])
        for group, rows in groups.items()
    ]


def _group_of(node: DOMNode) -> str:
    """The title of *node*, or of what it is part of; class names mean nothing to a user."""
    for part in node.ancestors_with_self:
        if part.BINDING_GROUP_TITLE:
            return part.BINDING_GROUP_TITLE
    return "Everywhere"


def chart_marks(screen: Screen[object]) -> list[tuple[str, str, str]]:
    """(glyph, colour, meaning) of each mark that a loss chart on *screen* may show."""
    from recaster_tui.ui.widgets.loss_chart import MARKS, LossChart

    if not screen.query(LossChart):
        return []
    return [(*MARKS[kind], text) for kind, text in _MEANINGS.items() if kind in MARKS]


class Picker(ModalScreen[T | None], Generic[T]):
    """Choose one of a list: (label, note, value). Dismissed with the value, or None.

    The cursor begins at item *at*.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Cancel", id="picker-cancel"),
        Binding("j", "move(1)", "Down", show=False, id="picker-down"),
        Binding("k", "move(-1)", "Up", show=False, id="picker-up"),
    ]

    subtitle = "enter takes · esc leaves"

    def __init__(self, title: str, items: Sequence[tuple[str, str, T]], at: int = 0) -> None:
        super().__init__()
        self._heading = title
        self._items = items
        self._at = at

    def compose(self) -> ComposeResult:
        """A framed list."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = self._heading
            dialog.border_subtitle = self.subtitle
            yield OptionList(id="picker-list")

    def on_mount(self) -> None:
        """Labels with notes below."""
        listing = self.query_one(OptionList)
        _, _, ground, ink = listing.colors
        colours = palette(self.app, ground, ink)
        for label, note, _ in self._items:
            text = Text(label, colours.style("text", bold=True))
            if note:
                text.append(f"\n  {note}", colours.muted())
            listing.add_option(Option(text))
        listing.focus()
        if self._items:
            listing.highlighted = self._at

    def action_move(self, step: int) -> None:
        """j and k."""
        listing = self.query_one(OptionList)
        if step > 0:
            listing.action_cursor_down()
        else:
            listing.action_cursor_up()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Taken."""
        event.stop()
        self.dismiss(self._items[event.option_index][2])

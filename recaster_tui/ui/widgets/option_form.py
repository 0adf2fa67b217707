"""The form: the rows, the filter above them and what the row under the cursor means below."""

from collections.abc import Mapping
from typing import Any, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from recaster_tui.options import ModelClass
from recaster_tui.ui import words
from recaster_tui.ui.form_model import FormModel, FormRow
from recaster_tui.ui.palette import palette
from recaster_tui.ui.widgets.option_rows import OptionRows


class OptionHelp(Static):
    """What the row under the cursor means: error, help, range, default, recommended."""

    def show(self, form: FormModel, row: FormRow | None) -> None:
        """Explain *row*."""
        _, _, ground, ink = self.colors
        colours = palette(self.app, ground, ink)
        text = Text()
        whole = form.errors().get("")
        if row is None or row.field is None:
            text.append(row.group if row else "No option matches", colours.style("text", bold=True))
            text.append("\nspace folds or unfolds the group", colours.muted())
            if whole:
                text.append(f"\n{whole}", colours.style("state-bad"))
            self.update(text)
            return
        item = row.field
        text.append(item.label, colours.style("accent", bold=True))
        if item.dfl and item.dfl != item.key:
            text.append(f"  DFL: {item.dfl}", colours.muted())
        error = form.errors().get(item.key) or whole
        if error:
            text.append(f"\n{error}", colours.style("state-bad", bold=True))
        fixed = form.why_fixed(item)
        if fixed:
            text.append(f"\n{fixed}", colours.style("state-hold"))
        elif form.running:
            text.append("\ntakes effect while training", colours.style("state-good"))
        facts = [item.range_text] if item.range_text else []
        if not item.key.startswith("@"):
            facts.append(f"default {words.plain(item.default)}")
        if facts:
            text.append("\n" + " · ".join(facts), colours.muted())
        text.append(f"\n{item.help}")
        if item.recommended:
            text.append("\nbest ", colours.style("state-good"))
            text.append(item.recommended, colours.style("text", dim=0.15))
        self.update(text)


class OptionForm(Vertical):
    """Rows, the filter above them and the help below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", id="form-filter", tooltip="Find an option")
    ]

    def __init__(self, model: FormModel, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.form = model

    def compose(self) -> ComposeResult:
        """Rows and help; the filter comes above them when it is asked for."""
        yield OptionRows(self.form, id="form-rows")
        yield OptionHelp(id="form-help")

    @property
    def rows(self) -> OptionRows:
        """The list itself."""
        return self.query_one(OptionRows)

    def reload(self) -> None:
        """The model was changed from outside."""
        self.rows.reload()

    def load(self, model: ModelClass, values: Mapping[str, Any]) -> None:
        """Show a configuration."""
        self.form.load(model, values)
        self.reload()

    async def action_filter(self) -> None:
        """Ask for a filter."""
        # Not composed with the rest: on Python 3.12 (eager tasks) an Input in the first mode's
        # screen looks for that screen before Textual 8.2 has put it on its stack.
        box = self._box
        if box is None:
            box = Input(placeholder="filter: name, key or DFL name", id="form-filter-input")
            await self.mount(box, before=0)
        box.display = True
        box.focus()

    @property
    def _box(self) -> Input | None:
        found = self.query("#form-filter-input")
        return found.first(Input) if found else None

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter as typed."""
        event.stop()
        self.form.query = event.value
        self.rows.reload()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to what was found; the filter stays until esc."""
        event.stop()
        if not event.value:
            event.input.display = False
        self.rows.cursor = min(1, len(self.rows._rows) - 1)
        self.rows.focus()
        self.rows.reload()

    def on_key(self, event: events.Key) -> None:
        """Esc in the filter closes it."""
        box = self._box
        if box is not None and event.key == "escape" and (box.has_focus or self.form.query):
            event.stop()
            box.value = ""
            box.display = False
            self.form.query = ""
            self.rows.focus()
            self.rows.reload()

    def on_option_rows_moved(self) -> None:
        """The help follows the cursor."""
        self.query_one(OptionHelp).show(self.form, self.rows.row)

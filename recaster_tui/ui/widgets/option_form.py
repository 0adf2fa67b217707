"""The form: the rows, the filter above them and what the row under the cursor means below."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.strip import Strip
from textual.widgets import Static

from recaster_tui.options import ModelClass
from recaster_tui.ui import words
from recaster_tui.ui.form_model import FormModel, FormRow
from recaster_tui.ui.palette import palette
from recaster_tui.ui.widgets.option_rows import OptionRows
from recaster_tui.ui.widgets.panel import Lines, Words

_HELP_HEIGHT = 11


class OptionHelp(Static):
    """What the row under the cursor means: error, range, default, recommended, help.

    What one must know comes first; what has no room ends in an ellipsis.
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._text = Text()

    def show(self, form: FormModel, row: FormRow | None) -> None:
        """Explain *row*."""
        self._text = self._explain(form, row)
        self._fit()

    def on_resize(self) -> None:
        """Another width, another end."""
        self._fit()

    def _fit(self) -> None:
        width, height = self.content_size
        if not width or not height:
            self.update(self._text)
            return
        lines = list(self._text.wrap(self.app.console, width))
        if len(lines) > height:
            del lines[height:]
            last = lines[-1]
            last.rstrip()
            last.truncate(max(0, width - 2))
            last.append(" …")
        self.update(Text("\n").join(lines))

    def _explain(self, form: FormModel, row: FormRow | None) -> Text:
        _, _, ground, ink = self.colors
        colours = palette(self.app, ground, ink)
        text = Text()
        whole = form.errors().get("")
        if row is None:
            text.append("No option matches", colours.style("text", bold=True))
            text.append(f"\n{form.query}", colours.style("accent"))
            text.append("\nesc shows every option again", colours.muted())
            return text
        if row.field is None:
            text.append(row.group, colours.style("text", bold=True))
            text.append("\nspace folds or unfolds the group", colours.muted())
            if whole:
                text.append(f"\n{whole}", colours.style("state-bad"))
            return text
        item = row.field
        text.append(item.label, colours.style("accent", bold=True))
        if item.dfl and item.dfl != item.key:
            text.append(f"  DFL: {item.dfl}", colours.muted())
        error = form.errors().get(item.key) or whole
        if error:
            text.append(f"\n{error}", colours.style("state-bad", bold=True))
        fixed = row.absent or form.why_fixed(item)
        if fixed:
            text.append(f"\n{fixed}", colours.style("state-hold"))
        elif form.running:
            text.append("\ntakes effect while training", colours.style("state-good"))
        facts = [item.range_text] if item.range_text else []
        if not item.key.startswith("@"):
            facts.append(f"default {words.plain(item.default)}")
        if facts:
            text.append("\n" + " · ".join(facts), colours.muted())
        if item.recommended:
            text.append("\nbest ", colours.style("state-good"))
            text.append(item.recommended, colours.style("text", dim=0.15))
        text.append(f"\n{item.help}")
        return text


class FilterLine(Lines):
    """What is looked for. The rows keep the focus: every key that follows / is for the filter."""

    def __init__(self, rows: OptionRows, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._rows = rows

    def lines(self, width: int, height: int) -> list[Strip]:
        """One line."""
        colours, query = self.colours, self._rows.form.query
        line = Words().add(" / ", colours.style("accent", bold=True))
        line.add(query[-max(1, width - 5) :], colours.style("text", bold=True))
        if self._rows.filtering:
            line.add(" ", colours.style("text", reverse=True))
            if not query:
                line.add(" name, key or DFL name", colours.muted())
        return [line.strip(width)]


class OptionForm(Vertical):
    """Rows, the filter above them and the help below."""

    def __init__(self, model: FormModel, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.form = model

    def compose(self) -> ComposeResult:
        """The filter's line is shown while there is a filter."""
        rows = OptionRows(self.form, id="form-rows")
        line = FilterLine(rows, id="form-filter-line")
        line.display = False
        yield line
        yield rows
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

    def on_resize(self) -> None:
        """A third of the height for the help, where there is much of it."""
        roomy = self.screen.has_class("-tall")
        height = max(_HELP_HEIGHT, self.size.height // 3) if roomy else None
        self.query_one(OptionHelp).styles.height = height

    def on_option_rows_moved(self) -> None:
        """Filter and help follow the cursor."""
        line = self.query_one(FilterLine)
        line.display = self.rows.filtering or bool(self.form.query)
        line.update_lines()
        self.query_one(OptionHelp).show(self.form, self.rows.row)

"""The rows of the form: every option on one line, drawn by lines, edited in place."""

from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from recaster_tui.ui.form_model import MODEL, Field, FormModel, FormRow, parse
from recaster_tui.ui.palette import Palette, palette
from recaster_tui.ui.widgets.panel import Words


class OptionRows(ScrollView, can_focus=True):
    """The rows. One key moves, one changes; typing begins an edit."""

    BINDING_GROUP_TITLE = "Configuration"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, id="form-up"),
        Binding("down,j", "move(1)", "Down", show=False, id="form-down"),
        Binding("pageup,ctrl+u", "move(-10)", "Page up", show=False, id="form-page-up"),
        Binding("pagedown,ctrl+d", "move(10)", "Page down", show=False, id="form-page-down"),
        Binding("home,g", "move(-9999)", "First", show=False, id="form-first"),
        Binding("end,G", "move(9999)", "Last", show=False, id="form-last"),
        Binding("left,h", "nudge(-1)", "Previous value", show=False, id="form-previous"),
        Binding("right,l", "nudge(1)", "Next value", show=False, id="form-next"),
        Binding("enter", "edit", "Edit", id="form-edit", tooltip="Edit or fold"),
        Binding("space", "change", "Toggle", show=False, id="form-toggle"),
        Binding("d", "reset", "Default", show=False, id="form-default", tooltip="Back to default"),
        Binding("escape", "clear_filter", "Clear filter", show=False, id="form-clear"),
    ]

    NEAR_KEYS = ("form-filter",)
    """Keys of the screen that belong to this widget, for the key bar."""

    class Moved(Message):
        """Another row, or other text under the cursor: the help below should follow."""

    class Changed(Message):
        """A value was changed by the user."""

        def __init__(self, key: str, value: Any) -> None:
            super().__init__()
            self.key = key
            self.value = value

    class Refused(Message):
        """The row cannot be changed now."""

        def __init__(self, label: str, why: str) -> None:
            super().__init__()
            self.label = label
            self.why = why

    def __init__(self, model: FormModel, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.form = model
        self.cursor = 1
        self._rows: list[FormRow] = model.rows()
        self._edit: str | None = None
        self._caret = 0
        self._fresh = False
        self._before: Any = None
        self.filtering = False

    # -- state ----------------------------------------------------------------------------------

    @property
    def editing(self) -> bool:
        """Whether a value is being typed."""
        return self._edit is not None

    @property
    def row(self) -> FormRow | None:
        """Under the cursor."""
        return self._rows[self.cursor] if 0 <= self.cursor < len(self._rows) else None

    @property
    def key_hints(self) -> tuple[tuple[str, str], ...]:
        """What the key bar shows instead of bindings while a value is typed."""
        if self.filtering:
            return (("enter", "to what was found"), ("esc", "all options again"))
        keys = (("enter", "take"), ("esc", "leave as it was"), ("↑ ↓", "take and move"))
        return keys if self.editing else ()

    def reload(self) -> None:
        """The model changed: show what it says, the cursor on the same field."""
        here = self.row
        self._rows = self.form.rows()
        self.virtual_size = Size(self.size.width, len(self._rows))
        if here is not None:
            key = here.field.key if here.field else here.group
            for i, row in enumerate(self._rows):
                if (row.field.key if row.field else row.group) == key:
                    self.cursor = i
                    break
        self.cursor = max(0, min(self.cursor, len(self._rows) - 1))
        self.refresh()
        self._moved()

    def on_mount(self) -> None:
        """Set the scrollable height."""
        self.reload()

    def on_resize(self) -> None:
        """Keep the width in step."""
        self.virtual_size = Size(self.size.width, len(self._rows))
        self._follow()

    def on_focus(self) -> None:
        """The cursor row is drawn brighter."""
        self.refresh()

    def on_blur(self) -> None:
        """Leaving takes the typed value."""
        if self.editing:
            self._finish()
        if self.filtering:
            self._filtered()
        self.refresh()

    def goto(self, key: str) -> None:
        """Put the cursor on a field, unfolding its group."""
        for item in self.form.fields():
            if item.key == key and item.group in self.form.folded:
                self.form.fold(item.group)
                self.reload()
        for i, row in enumerate(self._rows):
            if row.field is not None and row.field.key == key:
                self.cursor = i
                self._follow()
                self.refresh()
                self._moved()

    def _moved(self) -> None:
        self.post_message(self.Moved())

    def _follow(self) -> None:
        self.scroll_to_region(
            Region(0, self.cursor, max(1, self.size.width), 1), animate=False, force=True
        )

    # -- actions --------------------------------------------------------------------------------

    def action_move(self, step: int) -> None:
        """Move the cursor."""
        old = self.cursor
        self.cursor = max(0, min(self.cursor + step, len(self._rows) - 1))
        if self.cursor <= 1:
            self.scroll_to(y=0, animate=False)
        self._follow()
        self.refresh_line(old)
        self.refresh_line(self.cursor)
        self._moved()

    def _changeable(self) -> Field | None:
        row = self.row
        if row is None or row.field is None:
            return None
        if why := row.absent or self.form.why_fixed(row.field):
            self.post_message(self.Refused(row.field.label, why))
            return None
        return row.field

    def action_nudge(self, direction: int) -> None:
        """Previous or next value; folds and unfolds a heading."""
        row = self.row
        if row is not None and row.field is None:
            if (direction < 0) != (row.group in self.form.folded):
                self.action_change()
            return
        item = self._changeable()
        if item is not None:
            self._apply(item, self.form.nudge(item, direction))

    def action_change(self) -> None:
        """Switch a bool, next choice, fold a heading."""
        row = self.row
        if row is None:
            return
        if row.field is None:
            self.form.fold(row.group)
            self.reload()
        elif row.field.kind == "bool" or row.field.choices:
            self.action_nudge(1)
        else:
            self.action_edit()

    def action_edit(self) -> None:
        """Type a value; bools and choices take the next one."""
        row = self.row
        if row is None:
            return
        if row.field is None or row.field.kind in ("bool", "choice"):
            self.action_change()
            return
        item = self._changeable()
        if item is not None:
            self._begin(self.form.shown_value(item))

    def action_reset(self) -> None:
        """Back to the default."""
        item = self._changeable()
        if item is not None and not item.key.startswith("@"):
            self._apply(item, item.default)

    def action_clear_filter(self) -> None:
        """Show every row again."""
        self.filtering = False
        self._search("")
        self.refresh_bindings()

    # -- filter ---------------------------------------------------------------------------------

    def begin_filter(self) -> None:
        """From now on, what is typed is the filter."""
        if self.editing:
            self._finish()
        self.filtering = True
        self._moved()
        self.refresh_bindings()

    def _search(self, query: str) -> None:
        if query != self.form.query:
            self.form.query = query
            self.reload()
        self._moved()

    def _filtered(self) -> None:
        """The filter stays until esc; the cursor goes to what it found."""
        self.filtering = False
        if self.form.query:
            self.cursor = min(1, len(self._rows) - 1)
            self._follow()
        self._moved()
        self.refresh()
        self.refresh_bindings()

    def _filter_key(self, event: events.Key) -> None:
        query = self.form.query
        match event.key:
            case "enter" | "tab" | "shift+tab":
                self._filtered()
            case "up" | "down":
                self._filtered()
                self.action_move(-1 if event.key == "up" else 1)
            case "escape":
                self.action_clear_filter()
            case "backspace":
                self._search(query[:-1])
            case "ctrl+u":
                self._search("")
            case _:
                if event.character is not None and event.character.isprintable():
                    self._search(query + event.character)

    def _apply(self, item: Field, value: Any) -> None:
        if value == self.form.value(item.key):
            return
        self.form.set(item, value)
        self.reload()
        self.post_message(self.Changed(item.key, self.form.value(item.key)))

    # -- editing in place -----------------------------------------------------------------------

    def _begin(self, text: str) -> None:
        assert self.row is not None
        assert self.row.field is not None
        self._before = self.form.value(self.row.field.key)
        self._edit, self._caret = text, len(text)
        self._fresh = bool(text)  # the first letter replaces the old value
        self.refresh_line(self.cursor)
        self._moved()
        self.refresh_bindings()

    def _typed(self) -> None:
        # Take the text at once: what is wrong with it shows while typing.
        assert self.row is not None
        assert self.row.field is not None
        self.form.set(self.row.field, self._edit)
        self.refresh_line(self.cursor)
        self._moved()

    def _finish(self, *, keep: bool = True) -> None:
        assert self.row is not None
        assert self.row.field is not None
        item, text = self.row.field, self._edit
        self._edit = None
        if not keep:
            self.form.set(item, self._before)
        else:
            self.form.set(item, parse(item, text))
        changed = self.form.value(item.key) != self._before
        self.reload()
        self.refresh_bindings()
        if changed:
            self.post_message(self.Changed(item.key, self.form.value(item.key)))

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """While typing, letters are text and no bindings (hides them from the footer)."""
        typing = self.editing or self.filtering
        return typing and character is not None and character.isprintable()

    async def _on_key(self, event: events.Key) -> None:
        if not self.editing and not self.filtering:
            return
        event.stop()
        event.prevent_default()
        if self.filtering:
            self._filter_key(event)
            return
        assert self._edit is not None
        if event.key != "enter" and not event.is_printable:
            self._fresh = False
        match event.key:
            case "enter":
                self._finish()
            case "escape":
                self._finish(keep=False)
            case "up" | "down" | "tab" | "shift+tab":
                self._finish()
                if event.key == "up" or event.key == "shift+tab":
                    self.action_move(-1)
                else:
                    self.action_move(1)
            case "left":
                self._caret = max(0, self._caret - 1)
                self.refresh_line(self.cursor)
            case "right":
                self._caret = min(len(self._edit), self._caret + 1)
                self.refresh_line(self.cursor)
            case "home" | "ctrl+a":
                self._caret = 0
                self.refresh_line(self.cursor)
            case "end" | "ctrl+e":
                self._caret = len(self._edit)
                self.refresh_line(self.cursor)
            case "backspace":
                if self._caret:
                    self._edit = self._edit[: self._caret - 1] + self._edit[self._caret :]
                    self._caret -= 1
                    self._typed()
            case "delete":
                self._edit = self._edit[: self._caret] + self._edit[self._caret + 1 :]
                self._typed()
            case "ctrl+u":
                self._edit, self._caret = "", 0
                self._typed()
            case _:
                if event.character is not None and event.character.isprintable():
                    self._insert(event.character)

    def _insert(self, text: str) -> None:
        assert self._edit is not None
        if self._fresh:
            self._edit, self._caret, self._fresh = "", 0, False
        self._edit = self._edit[: self._caret] + text + self._edit[self._caret :]
        self._caret += len(text)
        self._typed()

    def _on_paste(self, event: events.Paste) -> None:
        if self.editing:
            event.stop()
            self._insert("".join(c for c in event.text if c.isprintable()))
        elif self.filtering:
            event.stop()
            self._search(self.form.query + "".join(c for c in event.text if c.isprintable()))

    def on_click(self, event: events.Click) -> None:
        """Select the row; on the selected one, change it."""
        y = event.y + self.scroll_offset.y
        if not 0 <= y < len(self._rows):
            return
        if self.editing:
            self._finish()
        self.filtering = False
        if y == self.cursor:
            self.action_edit()
        else:
            self.action_move(y - self.cursor)

    # -- drawing --------------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        """Theme changed."""
        super().notify_style_update()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One row of the visible part."""
        width = self.scrollable_content_region.width
        index = y + self.scroll_offset.y
        _, _, ground, text = self.colors
        colours = palette(self.app, ground, text)
        if index >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        row = self._rows[index]
        here = index == self.cursor
        line = (
            self._heading(row, width, colours)
            if row.field is None
            else self._absent(row, row.field, width, colours)
            if row.absent
            else self._field(row.field, width, colours, here=here)
        )
        base = self.rich_style
        if here and self.has_focus:
            base += colours.tint("primary", 0.22)
        elif here:
            base += colours.tint("text", 0.07)
        return line.strip(width).apply_style(base)

    def _heading(self, row: FormRow, width: int, colours: Palette) -> Words:
        folded = row.hidden > 0
        line = Words().add("▸ " if folded else "▾ ", colours.style("accent"))
        line.add(row.group, colours.style("accent", bold=True)).add(" ")
        tail = f" {row.hidden}" if folded else ""
        line.add("─" * max(0, width - line.length - len(tail) - 1), colours.faint())
        return line.add(tail, colours.muted())

    def _absent(self, row: FormRow, item: Field, width: int, colours: Palette) -> Words:
        line = Words().add("  ").add(item.label, colours.style("text", dim=0.5)).add("  ")
        room = width - line.length - 1
        why = row.absent if len(row.absent) <= room else row.absent[: max(0, room - 1)] + "…"
        line.fill(width - 1 - len(why))
        return line.add(why, colours.style("text", dim=0.6)).add(" ")

    def _field(self, item: Field, width: int, colours: Palette, *, here: bool) -> Words:
        form = self.form
        error = form.errors().get(item.key)
        fixed = form.why_fixed(item)
        line = Words()
        if error:
            line.add("! ", colours.style("state-bad", bold=True))
        elif not form.is_default(item):
            line.add("• ", colours.style("warning"))
        else:
            line.add("  ")
        value = self._value_words(item, colours, here=here, error=bool(error), fixed=bool(fixed))
        room = width - value.length - 1 - line.length - 1
        label = item.label if len(item.label) <= room else item.label[: max(0, room - 1)] + "…"
        if fixed:
            line.add(label, colours.style("text", dim=0.5))
        else:
            line.add(label, colours.style("text", bold=here))
        tag = ""
        if fixed and not form.running:
            tag = "fixed"
        elif form.running and item.live:
            tag = "live"
        space = width - 1 - value.length - line.length
        if tag and len(tag) + 2 <= space:
            line.fill(width - 1 - value.length - len(tag) - 1)
            style = colours.style("state-good") if tag == "live" else colours.style("text", dim=0.6)
            line.add(tag, style)
        return line.fill(width - 1 - value.length).extend(value).add(" ")

    def _value_words(
        self, item: Field, colours: Palette, *, here: bool, error: bool, fixed: bool
    ) -> Words:
        if here and self._edit is not None:
            return self._editor(colours, error=error)
        text = self.form.shown_value(item)
        shown = Words()
        if error:
            return shown.add(text or "(empty)", colours.style("state-bad", bold=True))
        if fixed:
            return shown.add(text, colours.style("text", dim=0.45))
        arrows = colours.style("accent", bold=True) if here else colours.faint()
        if item.kind == "bool":
            on = bool(self.form.value(item.key))
            style = colours.style("state-good", bold=True) if on else colours.muted()
            return shown.add("on " if on else "off ", style).add("●" if on else "○", style)
        style = colours.style("text", bold=not self.form.is_default(item) or here)
        if item.kind == "choice":
            strong = item.key == MODEL
            style = colours.style("primary", bold=True) if strong else style
            return shown.add("‹ ", arrows).add(text, style).add(" ›", arrows)
        shown.add(text, style)
        if meaning := self.form.meaning(item):
            shown.add(f" {meaning}", colours.muted())
        return shown

    def _editor(self, colours: Palette, *, error: bool) -> Words:
        assert self._edit is not None
        ink = colours.style("state-bad" if error else "text", bold=True)
        ink += colours.tint("text", 0.16)
        caret = colours.style("text", reverse=True)
        if self._fresh:
            return Words().add(" ", ink).add(self._edit, caret).add(" ", ink)
        text = self._edit + " "
        longest = max(8, self.size.width - 18)
        start = max(0, self._caret - longest + 2)
        shown = text[start : start + longest]
        at = self._caret - start
        left, mid, right = shown[:at], shown[at : at + 1] or " ", shown[at + 1 :]
        pad = " " * max(0, 8 - len(shown))
        return Words().add(" " + pad + left, ink).add(mid, caret).add(right, ink)

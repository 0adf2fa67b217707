"""The line above every screen (where am I) and the one below (which keys)."""

from typing import TYPE_CHECKING

from rich.style import Style
from textual import events
from textual.strip import Strip

from recaster_tui.ui.widgets.panel import Lines, Words, sides
from recaster_tui.ui.widgets.status_line import STATE_COLOURS, STATE_GLYPHS

if TYPE_CHECKING:
    from textual.binding import ActiveBinding
    from textual.screen import Screen

    from recaster_tui.supervisor import Run

MOST_KEYS = 8
_KEY_NAMES = {
    "question_mark": "?",
    "slash": "/",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "exclamation_mark": "!",
    "grave_accent": "`",
    "plus": "+",
    "equals_sign": "=",
    "minus": "-",
    "escape": "esc",
    "space": "space",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "full_stop": ".",
    "comma": ",",
    "colon": ":",
}


def key_name(key: str) -> str:
    """A key as a person presses it."""
    if key in _KEY_NAMES:
        return _KEY_NAMES[key]
    if key.startswith("ctrl+"):
        return "^" + key[5:]
    if key.startswith("shift+"):
        return "shift+" + _KEY_NAMES.get(key[6:], key[6:])
    return key


class TopBar(Lines):
    """Program, project, the modes with their keys, and whether something trains."""

    def __init__(self) -> None:
        super().__init__(classes="bar")
        self._targets: list[tuple[int, int, str]] = []

    def lines(self, width: int, height: int) -> list[Strip]:
        """One line."""
        from recaster_tui.ui.app import RecasterApp

        app = self.app
        colours = self.colours
        left = Words().add(" ◨ ", colours.style("accent", bold=True))
        left.add("recaster", colours.style("text", bold=True)).add("  ")
        self._targets = []
        run: Run | None = None
        if isinstance(app, RecasterApp):
            for mode in app.modes_shown:
                start = left.length
                if mode.name == app.current_mode:
                    on = colours.style("background", on="primary", bold=True)
                    left.add(f" {mode.key} {mode.title} ", on)
                else:
                    left.add(f" {mode.key}", colours.style("accent"))
                    left.add(f" {mode.title} ", colours.muted())
                self._targets.append((start, left.length, mode.name))
            run = app.current_run
        right = Words()
        if run is not None:
            style = colours.style(STATE_COLOURS.get(str(run.state), "text"))
            right.add(f"{STATE_GLYPHS.get(str(run.state), '●')} {run.state}", style).add("  ")
        if isinstance(app, RecasterApp):
            name = app.workspace.name if app.workspace else "no workspace"
            right.add(name, colours.style("text", bold=True))
        right.add(" ")
        return [sides(left, right, width)]

    def on_click(self, event: events.Click) -> None:
        """A click on a mode goes there."""
        for start, end, name in self._targets:
            if start <= event.x < end:
                self.app.switch_mode(name)


class KeyBar(Lines):
    """The keys that matter here and now; at most eight, then help and palette."""

    def __init__(self) -> None:
        super().__init__(classes="bar")
        self._targets: list[tuple[int, int, str]] = []

    def on_mount(self) -> None:
        """Follow what is bound."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, screen: "Screen[object]") -> None:
        if screen is self.screen and self.is_mounted:
            self.update_lines()

    def lines(self, width: int, height: int) -> list[Strip]:
        """One line."""
        colours = self.colours
        right = Words()
        actions = "all actions" if width >= 110 else "all"
        leave, leave_label, leave_key = getattr(self.screen, "LEAVE_KEY", ("q", "quit", "q"))
        for key, label in (("?", "keys"), ("^p", actions), (leave, leave_label)):
            right.add(key, colours.style("accent", bold=True))
            right.add(f" {label}  ", colours.muted())
        line = Words().add(" ")
        self._targets = []
        seen: set[str] = set()
        hints = getattr(self.screen.focused, "key_hints", ())
        for name, label in hints:
            line.add(name, colours.style("accent", bold=True)).add(f" {label}  ")
        if hints:
            return [line.strip(width)]
        # The keys of a run, then those of the widget that has the focus, then the screen's others.
        bound = sorted(self.screen.active_bindings.values(), key=self._rank)
        for active in bound:
            binding = active.binding
            if not binding.show or binding.action in seen or len(seen) >= MOST_KEYS:
                continue
            name, label = key_name(binding.key_display or binding.key), binding.description
            if line.length + len(name) + len(label) + 3 + right.length >= width:
                break
            seen.add(binding.action)
            start = line.length
            key_style = colours.style("accent", bold=True) if active.enabled else colours.faint()
            line.add(name, key_style)
            line.add(f" {label}", colours.style("text") if active.enabled else colours.faint())
            self._targets.append((start, line.length, binding.key))
            line.add("  ")
        offset = max(line.length, width - right.length)
        for part, key in (("?", "question_mark"), ("^p", "ctrl+p"), (leave, leave_key)):
            at = offset + "".join(s.text for s in right.strip()).find(part)
            self._targets.append((at, at + len(part) + 4, key))
        return [sides(line, right, width)]

    def _rank(self, active: "ActiveBinding") -> int:
        first = getattr(self.screen, "FIRST_KEYS", None)
        if first is None:
            return int(active.node is not self.screen)
        if active.binding.id in first:
            return 0
        return 1 if active.node is not self.screen or active.binding.id in self._near else 2

    @property
    def _near(self) -> tuple[str, ...]:
        """Keys of the screen that belong to the focused widget."""
        return getattr(self.screen.focused, "NEAR_KEYS", ())

    def on_click(self, event: events.Click) -> None:
        """A click is the key."""
        for start, end, key in self._targets:
            if start <= event.x < end:
                self.app.simulate_key(key)


class TabStrip(Lines):
    """Names of the panels where only one has room."""

    def __init__(self, tabs: tuple[tuple[str, str], ...], *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.tabs = tabs
        self.active = tabs[0][0]
        self._targets: list[tuple[int, int, str]] = []

    def activate(self, name: str) -> None:
        """Show *name* as the open one."""
        self.active = name
        self.update_lines()

    def lines(self, width: int, height: int) -> list[Strip]:
        """One line."""
        colours = self.colours
        line = Words().add(" ")
        self._targets = []
        for name, title in self.tabs:
            start = line.length
            if name == self.active:
                line.add(f" {title} ", colours.style("primary", bold=True) + Style(underline=True))
            else:
                line.add(f" {title} ", colours.muted())
            self._targets.append((start, line.length, name))
            line.add(" ")
        right = Words().add("tab ", colours.style("accent", bold=True))
        right.add("next panel ", colours.muted())
        return [sides(line, right, width)]

    def on_click(self, event: events.Click) -> None:
        """A click opens the panel."""
        for start, end, name in self._targets:
            open_tab = getattr(self.screen, "open_tab", None)
            if open_tab is not None and start <= event.x < end:
                open_tab(name)

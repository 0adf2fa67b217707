"""Colour themes: ``themes/*.toml`` as shipped, and the user's own beside the settings.

A file has ``name``, ``description``, ``author``, ``dark``, ``[colors]`` (Textual's eleven) and
``[variables]`` (Textual's, and our own of :func:`theme_variable_defaults`). A file that cannot be
used is a message, never the end of the app.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.theme import BUILTIN_THEMES, Theme, ThemeProvider

from recaster_tui import paths
from recaster_tui.errors import BadInputError

DEFAULT_THEME = "night"

COLOR_KEYS = (
    *("primary", "secondary", "accent", "success", "warning", "error"),
    *("foreground", "background", "surface", "panel", "boost"),
)

_OWN_VARIABLES: dict[str, str] = {
    "chart-source": "#6ea6ff",
    "chart-destination": "#f2cd60",
    "chart-marker": "#bb9af7",
    "chart-grid": "#3a3f5c",
    "loss-good": "#6cc98f",
    "loss-bad": "#ef6a6a",
    "state-good": "#6cc98f",
    "state-busy": "#5aa0f2",
    "state-hold": "#e8a04c",
    "state-bad": "#ef6a6a",
    "state-off": "#8a93a3",
}
# What a theme says of the key holds for the value, unless it sets that, too.
_FOLLOWERS = {
    "loss-src": "chart-source",
    "loss-dst": "chart-destination",
}
_TOP_KEYS = {
    "name": str,
    "description": str,
    "author": str,
    "dark": bool,
    "ansi": bool,
    "luminosity_spread": float,
    "colors": dict,
    "variables": dict,
}
_STYLE_WORDS = frozenset(
    (
        *("none", "not", "bold", "b", "dim", "d", "italic", "i", "underline", "u"),
        *("underline2", "uu", "reverse", "r", "strike", "s", "blink"),
    )
)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class ThemeFile:
    """A theme and where it comes from."""

    theme: Theme
    path: Path
    description: str = ""
    author: str = ""


@dataclass(frozen=True)
class Themes:
    """All themes that can be used, by name, and a message for each file that cannot."""

    files: dict[str, ThemeFile]
    problems: tuple[str, ...]

    def choose(self, wanted: str) -> tuple[Theme, str | None]:
        """The theme called *wanted*, or else a usable one and why it is another."""
        if wanted in self.files:
            return self.files[wanted].theme, None
        near = difflib.get_close_matches(wanted, self.files, n=1)
        fallback = self.files.get(DEFAULT_THEME)
        theme = fallback.theme if fallback else BUILTIN_THEMES["textual-dark"]
        message = f'no theme "{wanted}", showing {theme.name}'
        return theme, f"{message}: did you mean {near[0]}?" if near else message


class OwnThemes(ThemeProvider):
    """The theme files' themes for the palette: shipped ones and the user's."""

    @property
    def commands(self) -> list[tuple[str, Callable[[], None]]]:
        """(name, what takes it)."""
        own: frozenset[str] = getattr(self.app, "own_themes", frozenset())
        return [(name, take) for name, take in super().commands if name in own]


def theme_variable_defaults() -> dict[str, str]:
    """Our own variables, for ``App.get_theme_variable_defaults``: any theme may lack them."""
    followers = {name: _OWN_VARIABLES[source] for name, source in _FOLLOWERS.items()}
    return _OWN_VARIABLES | followers


def default_theme_name(environ: Mapping[str, str], colors: str = "truecolor") -> str:
    """The theme to start with when the user names none.

    Args:
        environ: environment; ``NO_COLOR`` asks for greys.
        colors: ``truecolor``, ``256`` or ``16``, as the terminal probe says.
    """
    if environ.get("NO_COLOR"):
        return "mono"
    return "ansi" if colors == "16" else DEFAULT_THEME


def load_themes() -> Themes:
    """Load every theme file, shipped and the user's own; a user's file replaces its namesake."""
    files: dict[str, ThemeFile] = {}
    problems: list[str] = []
    for path in paths.find_all("themes").values():
        try:
            loaded = load_theme(path)
        except BadInputError as error:
            problems.append(str(error))
            _keep_shipped(path, files)
        else:
            files[loaded.theme.name] = loaded
    return Themes(files, tuple(problems))


def _keep_shipped(broken: Path, files: dict[str, ThemeFile]) -> None:
    """When a user's broken file hides a shipped theme, the shipped one stays."""
    shipped = paths.shipped("themes") / broken.name
    if shipped != broken and shipped.is_file():
        loaded = load_theme(shipped)
        files.setdefault(loaded.theme.name, loaded)


def load_theme(path: Path) -> ThemeFile:
    """Read one theme file.

    Raises:
        BadInputError: it cannot be read, or holds unknown keys or colours; all are named.
    """
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInputError(f"cannot read the theme: {error}", where=path) from error
    faults = _faults(table)
    if faults:
        raise BadInputError("this theme cannot be used: " + "; ".join(faults), where=path)
    return ThemeFile(
        theme=_build(table, path.stem),
        path=path,
        description=table.get("description", ""),
        author=table.get("author", ""),
    )


def _build(table: Mapping[str, Any], stem: str) -> Theme:
    given: dict[str, str] = table.get("variables", {})
    variables = {
        follower: given[source] for follower, source in _FOLLOWERS.items() if source in given
    } | given
    return Theme(
        name=table.get("name", stem.lower()),
        dark=table.get("dark", True),
        ansi=table.get("ansi", False),
        luminosity_spread=table.get("luminosity_spread", 0.15),
        variables=variables,
        **table["colors"],
    )


def _faults(table: Mapping[str, Any]) -> list[str]:
    """Everything wrong with a theme's table."""
    faults = [f"unknown key {key}" for key in table if key not in _TOP_KEYS]
    for key, kind in _TOP_KEYS.items():
        if key in table and not isinstance(table[key], kind):
            faults.append(f"{key} must be {'a table' if kind is dict else kind.__name__}")
    if faults:
        return faults
    name = table.get("name")
    if name is not None and not _NAME.fullmatch(name):
        faults.append(f'name = "{name}" must be lower-case letters, digits and -')
    colors: Mapping[str, Any] = table.get("colors", {})
    if "primary" not in colors:
        faults.append("[colors] must have primary")
    for key, value in colors.items():
        if key not in COLOR_KEYS:
            faults.append(f"unknown color {key} (there are {', '.join(COLOR_KEYS)})")
        elif not _is_color(value):
            faults.append(f"{key} = {value!r} is not a color")
    known = _known_variables()
    for key, value in table.get("variables", {}).items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f", did you mean {near[0]}?" if near else ""
            faults.append(f"unknown variable {key}{hint}")
        elif not (
            _is_style(value) if key.endswith(("-style", "-style-hover")) else _is_color(value)
        ):
            faults.append(f"{key} = {value!r} is not a {'style' if 'style' in key else 'color'}")
    return faults


@cache
def _known_variables() -> frozenset[str]:
    """Names that Textual or we use; a typing mistake in a theme is told rather than ignored."""
    names = set(theme_variable_defaults()) | {"ansi-background", "ansi-foreground"}
    for theme in (BUILTIN_THEMES["textual-dark"], BUILTIN_THEMES["ansi-dark"]):
        names |= set(theme.to_color_system().generate())
    for theme in BUILTIN_THEMES.values():
        names |= set(theme.variables)
    return frozenset(names)


def _is_color(value: object) -> bool:
    """``#7aa2f7``, ``ansi_blue``, ``red``, each optionally with ``35%``; ``auto 87%``."""
    if not isinstance(value, str):
        return False
    color, _, alpha = value.strip().partition(" ")
    if alpha and not re.fullmatch(r"\d{1,3}(\.\d+)?%", alpha.strip()):
        return False
    if color == "auto":
        return True
    try:
        Color.parse(color)
    except ColorParseError:
        return False
    return True


def _is_style(value: object) -> bool:
    return isinstance(value, str) and bool(value.split()) and set(value.split()) <= _STYLE_WORDS

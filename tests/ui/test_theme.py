"""Themes: all load, all can be read, and a bad file is a message."""

from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.color import Color
from textual.widgets import Footer, Static

from recaster_tui import paths
from recaster_tui.errors import BadInputError
from recaster_tui.ui.theme import (
    DEFAULT_THEME,
    ThemeFile,
    default_theme_name,
    load_theme,
    load_themes,
    theme_variable_defaults,
)

SHIPPED = {path.stem: load_theme(path) for path in sorted(paths.shipped("themes").glob("*.toml"))}
DRAWN = [pytest.param(file, id=name) for name, file in SHIPPED.items() if not file.theme.ansi]
GROUNDS = ("background", "surface", "panel")


def luminance(color: Color) -> float:
    """WCAG 2 relative luminance, 0..1."""
    parts = [part / 255 for part in color.rgb]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Color, other: Color) -> float:
    """WCAG 2 contrast ratio, 1..21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def resolve(value: str, ground: Color) -> Color:
    """A theme variable as it is seen on *ground*, with alpha and ``auto`` worked out."""
    name, _, percent = value.partition(" ")
    alpha = float(percent.rstrip("%")) / 100 if percent else 1.0
    color = ground.get_contrast_text(1.0) if name == "auto" else Color.parse(name)
    return ground.blend(color.with_alpha(1.0), alpha * color.a, 1.0)


def variables(file: ThemeFile) -> dict[str, str]:
    generated = file.theme.to_color_system().generate()
    return theme_variable_defaults() | generated | file.theme.variables


def test_the_six_are_there_and_the_default_among_them() -> None:
    assert set(SHIPPED) >= {"night", "day", "high-contrast", "colour-blind", "mono", "ansi"}
    assert DEFAULT_THEME in SHIPPED
    assert all(file.theme.name == name for name, file in SHIPPED.items())
    assert all(file.description and file.author for file in SHIPPED.values())
    assert not SHIPPED["day"].theme.dark


def test_contrast_formula() -> None:
    assert contrast(Color.parse("#000"), Color.parse("#fff")) == pytest.approx(21)
    assert contrast(Color.parse("#777"), Color.parse("#fff")) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("file", DRAWN)
def test_text_can_be_read(file: ThemeFile) -> None:
    found = variables(file)
    least = 7.0 if file.theme.name == "high-contrast" else 4.5
    texts = (
        *("foreground", "text", "text-muted", "primary", "secondary", "accent"),
        *("success", "warning", "error", "loss-good", "loss-bad"),
        *("state-good", "state-busy", "state-hold", "state-bad"),
    )
    pairs = [(text, ground) for text in texts for ground in GROUNDS]
    pairs += [
        ("block-cursor-foreground", "block-cursor-background"),
        ("block-cursor-blurred-foreground", "block-cursor-blurred-background"),
        ("footer-key-foreground", "footer-background"),
        ("footer-description-foreground", "footer-background"),
        ("foreground", "block-hover-background"),
    ]
    poor = {}
    for text, ground in pairs:
        under = resolve(found[ground], resolve(found["background"], Color.parse("#000")))
        ratio = contrast(resolve(found[text], under), under)
        if ratio < least:
            poor[f"{text} on {ground}"] = round(ratio, 2)
    assert not poor


@pytest.mark.parametrize("file", DRAWN)
def test_series_can_be_seen_and_told_apart(file: ThemeFile) -> None:
    found = variables(file)
    series = ("chart-source", "chart-destination", "chart-marker", "state-off")
    for ground in ("background", "surface"):
        under = Color.parse(found[ground])
        for name in series:
            assert contrast(Color.parse(found[name]), under) >= 3, f"{name} on {ground}"
    source, destination = (Color.parse(found[name]) for name in series[:2])
    if file.theme.name == "mono":
        assert contrast(source, destination) >= 2.5
    else:
        assert source.b > source.r + 60, "the source is blue"
        assert destination.r > destination.b + 60 < destination.g, "the destination is yellow"
        assert abs(source.hsl.h - destination.hsl.h) > 0.3


def test_good_and_bad_are_told_apart_without_red_and_green() -> None:
    """Viénot, Brettel and Mollon 1999: protanopia and deuteranopia, in linear RGB."""
    # After that reduction red and green are one number; only it and blue remain.
    weights = {"protanopia": (0.112, 0.888), "deuteranopia": (0.293, 0.707)}
    found = variables(SHIPPED["colour-blind"])
    for red, green in weights.values():
        seen = []
        for name in ("loss-good", "loss-bad", "chart-source", "chart-destination"):
            r, g, b = (part / 255 for part in Color.parse(found[name]).rgb)
            seen.append(((red * r**2.2 + green * g**2.2) ** (1 / 2.2), b))
        good, bad, source, destination = seen
        assert abs(good[1] - bad[1]) + abs(good[0] - bad[0]) > 0.4
        assert abs(source[1] - destination[1]) + abs(source[0] - destination[0]) > 0.4


def test_ansi_uses_the_terminals_colours_only() -> None:
    file = SHIPPED["ansi"]
    assert file.theme.ansi
    own = {**file.theme.variables, "primary": file.theme.primary}
    assert all(Color.parse(value).ansi is not None for value in own.values())


@pytest.mark.parametrize("file", SHIPPED.values(), ids=list(SHIPPED))
def test_every_theme_sets_our_variables(file: ThemeFile) -> None:
    assert set(theme_variable_defaults()) <= set(file.theme.variables)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colors = 3", "colors must be a table"),
        ("[colors]\nsurface = '#fff'", "must have primary"),
        ("[colors]\nprimary = '#12'", "primary = '#12' is not a color"),
        ("[colors]\nprimary = 3", "primary = 3 is not a color"),
        ("[colors]\nprimary = '#fff'\nbackgroud = '#000'", "unknown color backgroud"),
        ("[colors]\nprimary = '#fff'\n[variables]\nchart-sorce = '#000'", "mean chart-source?"),
        (
            "[colors]\nprimary = '#fff'\n[variables]\nborder = 'blu'",
            "border = 'blu' is not a color",
        ),
        ("[colors]\nprimary = '#fff'\n[variables]\nlink-style = 'fat'", "is not a style"),
        ("colour = 1\n[colors]\nprimary = '#fff'", "unknown key colour"),
        ("name = 'A B'\n[colors]\nprimary = '#fff'", "lower-case letters"),
        ("[colors", "cannot read the theme"),
        ("dark = 'yes'\n[colors]\nprimary = '#fff'", "dark must be bool"),
    ],
)
def test_a_bad_theme_says_why_and_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(BadInputError) as caught:
        load_theme(path)
    assert message in str(caught.value) and "bad.toml" in str(caught.value)


def test_own_themes_join_and_bad_ones_harm_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECASTER_HOME", str(tmp_path))
    own = tmp_path / "config" / "themes"
    own.mkdir(parents=True)
    (own / "dusk.toml").write_text("[colors]\nprimary = 'teal'\n[variables]\nchart-source = '#00f'")
    (own / "broken.toml").write_bytes(b"\xff\x00")
    (own / "night.toml").write_text("[colors]\nprimary = 'nocolour'")
    (own / "day.toml").write_text("dark = false\n[colors]\nprimary = '#123456'")
    themes = load_themes()
    assert set(themes.files) == set(SHIPPED) | {"dusk"}
    assert len(themes.problems) == 2
    assert themes.files["dusk"].theme.variables["loss-src"] == "#00f"
    assert themes.files["day"].theme.primary == "#123456"
    assert themes.files["night"].theme.primary == SHIPPED["night"].theme.primary
    assert themes.choose("dusk") == (themes.files["dusk"].theme, None)
    theme, message = themes.choose("nigth")
    assert theme.name == "night" and message and "did you mean night?" in message


def test_the_theme_to_start_with() -> None:
    assert default_theme_name({}) == "night"
    assert default_theme_name({"NO_COLOR": "1"}) == "mono"
    assert default_theme_name({"NO_COLOR": ""}) == "night"
    assert default_theme_name({}, "16") == "ansi"


class Sample(App[None]):
    """Uses our variables in CSS under every theme, Textual's own ones too."""

    CSS = """
    #one { color: $chart-source; background: $panel; border: round $border; }
    #two { color: $chart-destination; background: $chart-marker; }
    #three { color: $state-bad; background: $loss-good; }
    """

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return theme_variable_defaults()

    def compose(self) -> ComposeResult:
        yield Static("one", id="one")
        yield Static("two", id="two")
        yield Static("three", id="three")
        yield Footer()


async def test_textual_takes_every_theme() -> None:
    app = Sample()
    for file in SHIPPED.values():
        app.register_theme(file.theme)
    async with app.run_test(size=(40, 12)) as pilot:
        for name in (*SHIPPED, "nord", "textual-light"):
            app.theme = name
            await pilot.pause()
            wanted = app.theme_variables["chart-source"]
            assert app.query_one("#one").styles.color == Color.parse(wanted)

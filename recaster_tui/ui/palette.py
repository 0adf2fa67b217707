"""Colours of the current theme for widgets that draw themselves."""

from dataclasses import dataclass

from rich.style import Style
from textual.app import App
from textual.color import Color


@dataclass(frozen=True)
class Palette:
    """Resolved colours, as Rich styles without background (the widget's own shows through)."""

    variables: dict[str, str]
    ground: Color
    text: Color

    def color(self, name: str) -> Color:
        """A theme variable as an opaque colour over the widget's background."""
        value = self.variables.get(name, "")
        try:
            color = Color.parse(value.split(" ")[0])
        except Exception:  # a theme variable such as "auto 87%" has no colour of its own
            return self.text
        if color.ansi is not None or color.a >= 1:
            return color
        return self.ground.blend(color, color.a, 1.0)

    def style(
        self,
        name: str,
        *,
        bold: bool = False,
        dim: float = 0.0,
        on: str | None = None,
        reverse: bool = False,
    ) -> Style:
        """*dim* moves the colour that part of the way to the background."""
        color = self.text if name == "text" else self.color(name)
        faded = None
        if dim and self._blends(color):
            color = color.blend(self.ground, dim)
        elif dim:
            faded = True
        background = self.color(on).rich_color if on else None
        return Style(
            color=color.rich_color,
            bgcolor=background,
            bold=bold or None,
            dim=faded,
            reverse=reverse or None,
        )

    def rgb(self, name: str, dim: float = 0.0) -> tuple[int, int, int]:
        """For plotext and pixels."""
        color = self.text if name == "text" else self.color(name)
        if dim and self._blends(color):
            color = color.blend(self.ground, dim)
        elif dim:  # drawn with the terminal's own dim; here only told apart
            color = color.darken(0.2)
        return color.rgb

    def tint(self, name: str, amount: float) -> Style:
        """A background that leans from the widget's own towards a colour."""
        color = self.text if name == "text" else self.color(name)
        if self._blends(color):
            return Style(bgcolor=self.ground.blend(color, amount).rich_color)
        return Style(bgcolor="bright_black") if amount >= 0.1 else Style()

    def _blends(self, color: Color) -> bool:
        # The terminal's own sixteen colours cannot be mixed: nobody knows what they are.
        return color.ansi is None and self.ground.ansi is None

    def muted(self, *, bold: bool = False) -> Style:
        """Text of second rank, still readable."""
        return self.style("text", dim=0.42, bold=bold)

    def faint(self) -> Style:
        """Rules and separators."""
        return self.style("text", dim=0.72)


def palette(app: App[object], ground: Color, text: Color) -> Palette:
    """The colours for a widget whose background is *ground*."""
    return Palette(app.theme_variables, ground, text)

"""Beside and below the polygon editor's picture: what is edited, and where."""

from dataclasses import dataclass, field

from textual.strip import Strip

from recaster_tui.faces.face import Polygon
from recaster_tui.ui.widgets.panel import Lines, Words, sides
from recaster_tui.ui.widgets.text_pane import paragraph

HINTS: dict[str, tuple[tuple[str, str], ...]] = {
    "edit": (
        ("space", "begin or grab"),
        ("r", "round the face"),
        ("m", "automatic mask"),
        ("b f", "from hull, mask"),
        ("tab p", "point, polygon"),
        ("o x", "insert, delete"),
        ("t", "include, exclude"),
        ("y i", "copy, interpolate"),
        ("u U", "undo, redo"),
        ("4 5 `", "views"),
        ("+ - 0", "zoom"),
        ("a d n g", "other faces"),
        ("X", "to the trash"),
    ),
    "draw": (
        ("space", "set a point"),
        ("enter", "close"),
        ("x", "take it back"),
        ("' . ,", "to a landmark"),
        ("HJKL", "far"),
        ("q w", "include, exclude"),
        ("esc", "leave it"),
    ),
    "move a point": (
        ("arrows", "move it"),
        ("HJKL", "far"),
        ("' . ,", "to a landmark"),
        ("space", "leave it here"),
        ("esc", "put it back"),
    ),
    "draw round the face": (
        ("space", "right: next ray"),
        ("k j", "farther out, in"),
        ("K J", "by four steps"),
        ("h", "the ray before"),
        ("enter", "take the rest"),
        ("tab", "another proposal"),
        ("esc", "leave it"),
    ),
    "no face": (("d", "next face"), ("X", "to the trash"), ("esc", "back")),
}


@dataclass(frozen=True)
class Facts:
    """What the panel and the status line say."""

    name: str = ""
    frame: str = ""
    number: int = 0
    total: int = 0
    labelled: int = 0
    unknown: int = 0
    mode: str = "edit"
    what: str = ""
    saved: str = ""
    changed: bool = False
    zoom: float = 1.0
    cursor: tuple[float, float] | None = None
    kind: bool = True
    polygons: tuple[Polygon, ...] = ()
    selected: int | None = None
    point: int | None = None
    layers: tuple[str, ...] = field(default=())
    busy: str = ""


class MaskPanel(Lines):
    """The face, its polygons, and the keys of the moment."""

    DEFAULT_CSS = "MaskPanel { width: 32; height: 1fr; padding: 0 1; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.facts = Facts()

    def show(self, facts: Facts) -> None:
        """Show them."""
        self.facts = facts
        self.update_lines()

    def lines(self, width: int, height: int) -> list[Strip]:
        """From above: face, count, polygons, keys."""
        facts, colours = self.facts, self.colours
        if not facts.name:  # the first face is being read
            return []
        muted, text = colours.muted(), colours.style("text", bold=True)
        made = [Words().add(_short(facts.name, width), text)]
        if facts.frame:
            made.append(Words().add(_short(f"frame {facts.frame}", width), muted))
        made.append(Words().add(f"face {facts.number:,} of {facts.total:,}", muted))
        if facts.layers:
            made += paragraph(" · ".join(facts.layers), colours.style("accent"), width)
        made.append(Words())
        keys = HINTS.get(facts.mode, ())
        room = height - len(made) - len(keys) - 3
        made += self._polygons(width, max(2, room))
        made.append(Words())
        made.append(Words().add(facts.mode.capitalize(), colours.style("primary", bold=True)))
        wide = max((len(key) for key, _ in keys), default=0)
        for key, label in keys:
            line = Words().add(f"{key:<{wide}}", colours.style("accent", bold=True))
            made.append(line.add(f"  {label}", muted))
        return [line.strip(width) for line in made][:height]

    def _polygons(self, width: int, room: int) -> list[Words]:
        facts, colours = self.facts, self.colours
        if not facts.polygons:
            return [Words().add("no polygons", colours.muted())]
        first = max(0, min((facts.selected or 0) - room // 2, len(facts.polygons) - room))
        made = []
        for i, polygon in list(enumerate(facts.polygons))[first : first + room]:
            chosen = i == facts.selected
            name, colour = ("include", "success") if polygon.include else ("exclude", "error")
            line = Words().add("▸ " if chosen else "  ", colours.style("accent", bold=True))
            line.add(f"{'━' if polygon.include else '┅'} ", colours.style(colour, bold=True))
            line.add(name, colours.style("text", bold=chosen))
            at = f" {facts.point + 1}/" if chosen and facts.point is not None else " "
            line.add(f"{at}{len(polygon.points)} points", colours.muted())
            made.append(line)
        left = len(facts.polygons) - room - first
        if left > 0:
            made[-1] = Words().add(f"  and {left + 1} more", colours.muted())
        return made


class MaskStatus(Lines):
    """One line: mode, what happens, saved or not, how many are labelled, where the cursor is."""

    DEFAULT_CSS = "MaskStatus { width: 1fr; height: 1; background: $surface; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.facts = Facts()

    def show(self, facts: Facts) -> None:
        """Show them."""
        self.facts = facts
        self.update_lines()

    def lines(self, width: int, height: int) -> list[Strip]:
        """One line; for what happens, the figures give way: place, zoom, count."""
        facts, colours = self.facts, self.colours
        if not facts.name:
            return []
        kind = ("include", "success") if facts.kind else ("exclude", "error")
        left = Words().add(f" {kind[0]} ", colours.style("background", on=kind[1], bold=True))
        if facts.changed:
            left.add(" ● not saved", colours.style("warning", bold=True))
        else:
            left.add(f" {facts.saved or 'saved'}", colours.style("success"))
        more = "+" if facts.unknown else ""
        parts = [
            (f"labelled {facts.labelled:,}{more} of {facts.total:,} ", colours.muted()),
            (f"{facts.zoom:g}×  ", colours.style("accent")),
        ]
        if facts.cursor is not None:
            where = f"x {facts.cursor[0]:.1f} y {facts.cursor[1]:.1f}  "
            parts.append((where, colours.style("text")))
        words = facts.busy or facts.what
        used = left.length + 3 + len(words)
        while words and parts and used + sum(len(text) for text, _ in parts) > width:
            parts.pop()
        right = Words()
        for text, style in reversed(parts):
            right.add(text, style)
        room = width - left.length - right.length - 3
        if words and room > 6:
            colour = colours.style("accent") if facts.busy else colours.style("text")
            left.add("  " + _short(words, room), colour)
        return [sides(left, right, width)]


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"

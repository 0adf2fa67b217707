"""What a model can go back to: a table, and all that is known of the row under its cursor."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.strip import Strip

from recaster_tui.checkpoints.snapshots import RestorePoint
from recaster_tui.checkpoints.store import LOSSES, STATE
from recaster_tui.files import read_toml
from recaster_tui.protocol import read_losses
from recaster_tui.ui import clock, words
from recaster_tui.ui.palette import Palette
from recaster_tui.ui.run_list import labels, option_differences
from recaster_tui.ui.widgets.panel import Words
from recaster_tui.ui.widgets.project_tables import printable, short_path
from recaster_tui.ui.widgets.table_view import Cell, Column, TableView
from recaster_tui.ui.widgets.text_pane import TextPane, paragraph

if TYPE_CHECKING:
    from recaster_tui.supervisor import LossArray

KINDS = {"snapshot": ("★", "state-good"), "backup": ("◆", "text"), "generation": ("·", "text")}
"""As the chart marks them."""

SORTS: dict[str, tuple[str, bool, Callable[[RestorePoint], Any]]] = {
    "made": ("age", True, lambda p: p.created),
    "name": ("name", False, lambda p: p.name.casefold()),
    "kind": ("kind", True, lambda p: p.kind),
    "iteration": ("iterations", True, lambda p: p.iteration),
    "src": ("source loss", False, lambda p: p.src),
    "dst": ("destination loss", False, lambda p: p.dst),
    "size": ("size", True, lambda p: p.bytes),
}
"""Column: (its name, whether the usual order is descending, what is compared)."""


@dataclass(frozen=True)
class PointOrder:
    """By which column, and whether against its usual direction."""

    column: str = "made"
    reverse: bool = False

    @property
    def descending(self) -> bool:
        """Whether the greatest comes first."""
        return SORTS[self.column][1] != self.reverse

    def by(self, column: str) -> "PointOrder":
        """Order by *column*; again by the same one turns the direction."""
        if column not in SORTS:
            return self
        if column == self.column:
            return PointOrder(column, not self.reverse)
        return PointOrder(column)

    def next(self) -> "PointOrder":
        """The next column, in its usual direction."""
        names = list(SORTS)
        return PointOrder(names[(names.index(self.column) + 1) % len(names)])


def arrange(points: Sequence[RestorePoint], order: PointOrder, query: str) -> list[RestorePoint]:
    """The rows to show: all *query* words occur in name, note or kind; no value comes last."""
    needles = query.casefold().split()
    chosen = [
        p
        for p in points
        if all(n in f"{p.name} {p.note} {p.kind} {p.iteration}".casefold() for n in needles)
    ]
    value = SORTS[order.column][2]

    def known(point: RestorePoint) -> bool:
        found = value(point)
        return not isinstance(found, float) or math.isfinite(found)

    present = sorted(filter(known, chosen), key=value, reverse=order.descending)
    return present + [p for p in chosen if not known(p)]


class SnapshotTable(TableView):
    """Rows are folders."""

    BINDING_GROUP_TITLE = "Snapshots"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("kind", "", 1),
        Column("name", "name", 14, most=36),
        Column("iteration", "iteration", 9, right=True),
        Column("src", "src", 6, rank=3, right=True),
        Column("dst", "dst", 6, rank=3, right=True),
        Column("made", "made", 9, rank=1),
        Column("size", "size", 5, rank=4, right=True),
        Column("note", "note", 12, rank=5, most=60),
    )
    EMPTY = "Nothing of this model is saved yet."

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.points: dict[str, RestorePoint] = {}
        self.current: Path | None = None
        self.order = PointOrder()

    @property
    def point(self) -> RestorePoint | None:
        """Under the cursor."""
        return self.points.get(self.key) if self.key is not None else None

    def show(
        self, points: Sequence[RestorePoint], current: Path | None, hint: str = "", more: str = ""
    ) -> None:
        """These, in this order."""
        self.points = {str(p.path): p for p in points}
        self.current = current
        self.set_rows(list(self.points), hint, more)

    def heading(self, column: Column) -> str:
        """With a mark on the column that orders."""
        if column.key != self.order.column:
            return column.title
        return f"{column.title}{'↓' if self.order.descending else '↑'}"

    def name_of(self, point: RestorePoint) -> str:
        """As shown: generations and backups have folder names only."""
        if point.kind == "generation":
            if point.path == self.current:
                return "the present"
            # A third one stays where the two newest were not judged yet.
            others = [p.created for p in self.points.values()
                      if p.kind == "generation" and p.path != self.current]  # fmt: skip
            newest = point.created >= max(others, default=0.0)
            return "the save before" if newest else "the last good save"
        if point.kind == "backup":
            return "backup"
        return printable(point.name)

    def cell(self, key: str, column: str, width: int, colours: Palette) -> Cell:
        """One value."""
        point = self.points.get(key)
        if point is None:
            return ()
        match column:
            case "kind":
                glyph, colour = KINDS[point.kind]
                return ((glyph, colours.style(colour, bold=True)),)
            case "name":
                style = (
                    colours.style("text", bold=True)
                    if point.kind == "snapshot"
                    else colours.muted()
                )
                return ((self.name_of(point), style),)
            case "iteration":
                return ((words.count(point.iteration), colours.style("text")),)
            case "src" | "dst":
                value = point.src if column == "src" else point.dst
                return ((words.loss(value), colours.style(f"loss-{column}")),)
            case "made":
                return ((clock.ago(point.created), colours.muted()),)
            case "size":
                return ((words.size(point.bytes), colours.muted()),)
            case "note":
                return ((printable(point.note), colours.muted()),)
        return ()


@dataclass(frozen=True)
class PointFacts:
    """What the files of a restore point say; the tensors are not read.

    Attributes:
        changes: options that are not as in the present: (key, here, now).
        problem: why nothing more is known.
    """

    losses: "LossArray | None" = None
    run_id: str = ""
    model_class: str = ""
    changes: tuple[tuple[str, Any, Any], ...] = ()
    problem: str = ""


def read_facts(point: RestorePoint, current: Path | None) -> PointFacts:
    """Read what the detail shows. Never fails."""
    try:
        state = read_toml(point.path / STATE)
        rows = read_losses(point.path / LOSSES)
    except (OSError, ValueError) as error:
        return PointFacts(problem=f"its files cannot be read: {error}")
    changes: list[tuple[str, Any, Any]] = []
    if current is not None and current != point.path:
        try:
            now = read_toml(current / STATE)
            kind = str(state.get("model_class") or "")
            changes = option_differences(
                dict(state.get("options") or {}), dict(now.get("options") or {}), list(labels(kind))
            )
        except (OSError, ValueError, TypeError):
            changes = []
    return PointFacts(
        rows,
        str(state.get("run_id") or ""),
        str(state.get("model_class") or ""),
        tuple(changes),
    )


class SnapshotDetail(TextPane):
    """One restore point."""

    BINDING_GROUP_TITLE = "Snapshot"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.point: RestorePoint | None = None
        self.shown_name = ""
        self.present: RestorePoint | None = None
        self._facts: dict[Path, tuple[float, PointFacts]] = {}
        self._reading: asyncio.Task[None] | None = None

    def show(self, point: RestorePoint | None, name: str, present: RestorePoint | None) -> None:
        """Show *point*; *present* is what the model is now."""
        if point is None or self.point is None or point.path != self.point.path:
            self.scroll_to(y=0, animate=False)
        self.point, self.shown_name, self.present = point, name, present
        if point is not None and self._known(point) is None:
            if self._reading is not None:
                self._reading.cancel()
            self._reading = asyncio.create_task(self._read(point))
        self.update_content()

    def _known(self, point: RestorePoint) -> PointFacts | None:
        found = self._facts.get(point.path)
        at = self.present.created if self.present is not None else 0.0
        return found[1] if found is not None and found[0] == at else None

    async def _read(self, point: RestorePoint) -> None:
        await asyncio.sleep(0.08)  # who holds an arrow key passes many rows
        present = self.present
        facts = await asyncio.to_thread(
            read_facts, point, present.path if present is not None else None
        )
        if len(self._facts) > 50:
            self._facts.clear()
        self._facts[point.path] = (present.created if present is not None else 0.0, facts)
        self.update_content()

    async def settled(self) -> None:
        """Wait until the files are read (for tests)."""
        while self._reading is not None and not self._reading.done():
            await asyncio.gather(self._reading, return_exceptions=True)

    def content(self, width: int) -> list[Strip]:
        """Facts, curve, options that differ."""
        point, colours = self.point, self.colours
        if point is None:
            return []
        glyph, colour = KINDS[point.kind]
        first = Words().add(f" {glyph} ", colours.style(colour, bold=True))
        first.add(self.shown_name, colours.style("text", bold=True))
        first.add(f"  {point.kind}", colours.muted())
        lines = [first]
        if point.note:
            lines += paragraph(printable(point.note), colours.style("text"), width - 1, 1)
        at = words.count(point.iteration)
        if self.present is not None and point.path != self.present.path:
            apart = point.iteration - self.present.iteration
            way = "before" if apart < 0 else "after"
            at += f"  {words.count(abs(apart))} {way} the present" if apart else "  as the present"
        losses = f"src {words.loss(point.src)}  dst {words.loss(point.dst)}"
        if not math.isfinite(point.dst):
            losses = words.loss(point.src)
        facts = self._known(point)
        rows = [
            ("iteration", at),
            ("losses", f"{losses}  mean of the last 100"),
            ("trained", words.duration(point.trained_seconds)),
            ("made", f"{clock.stamp(point.created)}  {clock.ago(point.created)}"),
            ("size", words.size(point.bytes)),
            ("folder", short_path(point.path, max(12, width - 13))),
        ]
        if facts is not None and facts.run_id:
            rows.append(("run", facts.run_id))
        for label, text in rows:
            lines.append(Words().add(f" {label:<11}", colours.muted()).add(text))
        if facts is not None:
            lines += self._more(facts, colours, width)
        return [line.strip(width) for line in lines]

    def _more(self, facts: PointFacts, colours: Palette, width: int) -> list[Words]:
        lines: list[Words] = []
        if facts.problem:
            lines += paragraph(facts.problem, colours.style("warning"), width - 1, 1)
        if facts.losses is not None and len(facts.losses) > 1:
            lines += [Words(), *_curves(facts.losses, colours, width)]
        if facts.changes:
            names = labels(facts.model_class)
            title = f" Options unlike those of the present ({len(facts.changes)})"
            lines += [Words(), Words().add(title, colours.style("primary", bold=True))]
            wide = min(28, max(12, width // 3))
            for key, here, now in facts.changes:
                line = Words().add(f"   {names.get(key, key)[:wide]:<{wide}} ", colours.muted())
                line.add(words.plain(here), colours.style("text", bold=True))
                line.add(f"  (now {words.plain(now)})", colours.muted())
                lines.append(line)
        return lines


def _curves(losses: "LossArray", colours: Palette, width: int) -> list[Words]:
    from recaster_tui.ui import sparkline

    room = max(8, width - 16)
    curves = {key: sparkline.points(losses, room, key) for key in ("src", "dst")}
    limits = sparkline.span(*curves.values())
    lines = []
    for key, title in (("src", "source"), ("dst", "destination")):
        low, _ = sparkline.span(curves[key])
        if low != low:
            continue
        for i, bar in enumerate(sparkline.draw(curves[key], 2, limits)):
            line = Words().add(f" {title if i == 0 else '':<12}", colours.muted())
            lines.append(line.add(bar, colours.style(f"loss-{key}")))
    return lines

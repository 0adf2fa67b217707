"""The map of poses of both sets; cells that the source lacks stand out."""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from recaster_tui.ui.coverage import Cell, Coverage, Need
from recaster_tui.ui.palette import Palette
from recaster_tui.ui.widgets.panel import Lines, Words

_LABEL = 6
_NARROWEST = 5
_LIST = 44


class CoverageMap(Lines, can_focus=True):
    """A cursor over cells; enter shows the faces of one."""

    BINDING_GROUP_TITLE = "Map of poses"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(0,-1)", "Left", show=False, id="coverage-left"),
        Binding("right,l", "move(0,1)", "Right", show=False, id="coverage-right"),
        Binding("up,k", "move(-1,0)", "Up", show=False, id="coverage-up"),
        Binding("down,j", "move(1,0)", "Down", show=False, id="coverage-down"),
        Binding("n", "gap(1)", "Next gap", id="coverage-next"),
        Binding("N", "gap(-1)", "Previous gap", show=False, id="coverage-previous"),
        Binding("enter,d", "choose('dst')", "Destination's faces", id="coverage-dst"),
        Binding("s", "choose('src')", "Source's faces", id="coverage-src"),
    ]

    class Chosen(Message):
        """Show the faces of a cell."""

        def __init__(self, cell: Cell, side: str) -> None:
            super().__init__()
            self.cell = cell
            self.side = side

    def __init__(self, coverage: Coverage, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.coverage = coverage
        first = coverage.gaps[:1]
        rows, columns = len(coverage.cells), len(coverage.cells[0])
        self.at = (first[0].row, first[0].column) if first else (rows // 2, columns // 2)
        self._gap = 0
        self._geometry = (_NARROWEST, 1)

    @property
    def cell(self) -> Cell:
        """Under the cursor."""
        return self.coverage.cells[self.at[0]][self.at[1]]

    def action_move(self, down: int, right: int) -> None:
        """To a neighbour."""
        rows, columns = len(self.coverage.cells), len(self.coverage.cells[0])
        self.at = (
            max(0, min(self.at[0] + down, rows - 1)),
            max(0, min(self.at[1] + right, columns - 1)),
        )
        self.update_lines()

    def action_gap(self, step: int) -> None:
        """To the next cell that the source lacks, the worst first."""
        gaps = self.coverage.gaps
        if not gaps:
            return
        here = [i for i, gap in enumerate(gaps) if (gap.row, gap.column) == self.at]
        self._gap = (here[0] + step if here else 0) % len(gaps)
        self.at = (gaps[self._gap].row, gaps[self._gap].column)
        self.update_lines()

    def action_choose(self, side: str) -> None:
        """Take the cell."""
        self.post_message(self.Chosen(self.cell, side))

    def on_click(self, event: events.Click) -> None:
        """Select a cell."""
        wide, tall = self._geometry
        row, column = (event.y - 1) // tall, (event.x - _LABEL) // wide
        if 0 <= row < len(self.coverage.cells) and 0 <= column < len(self.coverage.cells[0]):
            self.at = (row, column)
            self.update_lines()

    # -- drawing --------------------------------------------------------------------------------

    def lines(self, width: int, height: int) -> list[Strip]:
        """Yaw across, pitch down; each cell has the source's number above the destination's."""
        colours, cells = self.colours, self.coverage.cells
        rows, columns = len(cells), len(cells[0])
        listed = width >= _LABEL + columns * 6 + _LIST
        room = width - _LABEL - (_LIST if listed else 0)
        wide = max(_NARROWEST, min(11, room // columns))
        tall = 3 if height >= 3 * rows + 4 else 2 if height >= 2 * rows + 3 else 1
        self._geometry = (wide, tall)
        head = Words().add(" " * _LABEL)
        for column in range(columns):
            head.add(f"{cells[0][column].yaw[0]:+d}°".ljust(wide), colours.muted())
        result = [head]
        for row in range(rows):
            for line in range(tall):
                words = Words()
                label = f"{cells[row][0].pitch[0]:+d}°" if line == tall - 1 else ""
                words.add(label.rjust(_LABEL - 1) + " ", colours.muted())
                for column in range(columns):
                    for part in self._cell(cells[row][column], line, tall, wide, colours):
                        words.add(part.text, part.style)
                result.append(words)
        result += self._below(width, height - len(result), colours)
        if listed:
            beside = self._list(height - 2, colours)
            for words, gap in zip(result[1:], beside, strict=False):
                words.fill(width - _LIST + 2).extend(gap)
        return [words.strip(width) for words in result][:height]

    def _cell(self, cell: Cell, line: int, tall: int, wide: int, colours: Palette) -> list[Segment]:
        ground = {
            Need.MISSING: colours.tint("error", 0.45),
            Need.THIN: colours.tint("warning", 0.30),
            Need.FINE: colours.tint("success", 0.16),
            Need.NOTHING: colours.tint("text", 0.03),
        }[cell.need]
        if colours.ground.ansi is not None:
            ground = Style(reverse=True) if cell.need is Need.MISSING else Style()
        here = (cell.row, cell.column) == self.at
        if here:
            ground = colours.style("background", on="primary", bold=True)
            if colours.ground.ansi is not None:
                ground = Style(reverse=True, bold=True, underline=True)
        inner = wide - 1
        if tall == 1:
            text = f"{_short(cell.src)}/{_short(cell.dst)}" if cell.src or cell.dst else "·"
            text = _mark(cell, text)[:inner].center(inner)
            style = ground if here else colours.style("text") + ground
            return [Segment(text, style), Segment(" ")]
        if tall == 3 and line == 2:
            mark = {Need.MISSING: "none", Need.THIN: "few"}.get(cell.need, "")
            style = ground if here else colours.style("text", bold=True) + ground
            return [Segment(mark.center(inner), style), Segment(" ")]
        number, colour = (cell.src, "loss-src") if line == 0 else (cell.dst, "loss-dst")
        text = (f"{number:,}" if number else "·" if cell.src or cell.dst else "").rjust(inner - 1)
        style = ground if here else colours.style(colour, bold=bool(number)) + ground
        return [Segment(text[-inner:].ljust(inner), style), Segment(" ")]

    def _below(self, width: int, room: int, colours: Palette) -> list[Words]:
        if room < 2:
            return []
        cell, lines = self.cell, [Words()]
        line = Words().add(f" {cell.text}  ", colours.style("text", bold=True))
        line.add(f"source {cell.src:,}", colours.style("loss-src"))
        line.add(" · ", colours.muted())
        line.add(f"destination {cell.dst:,}", colours.style("loss-dst"))
        says = {
            Need.MISSING: ("  the source has none", "error"),
            Need.THIN: ("  the source has few", "warning"),
        }.get(cell.need)
        if says is not None and line.length + len(says[0]) < width:
            line.add(says[0], colours.style(says[1], bold=True))
        lines.append(line)
        if room >= 3:
            share = self.coverage.uncovered
            text = f" {share:.0%} of the destination's poses have no source face near"
            colour = "warning" if share >= 0.05 else "text"
            more = Words().add(text, colours.style(colour))
            gaps = len(self.coverage.gaps)
            if gaps and more.length + 26 <= width:
                more.add(f" · {gaps} cells to fill, ", colours.muted())
                more.add("n", colours.style("accent", bold=True)).add(" next", colours.muted())
            lines.append(more)
        return lines[:room]

    def _list(self, height: int, colours: Palette) -> list[Words]:
        gaps = self.coverage.gaps
        if not gaps:
            good = "The source covers what the destination needs."
            return [Words().add(good[: _LIST - 3], colours.style("success"))]
        lines = [Words().add("what the source lacks", colours.style("primary", bold=True))]
        for gap in gaps[: max(0, height - 2)]:
            here = (gap.row, gap.column) == self.at
            yaw = f"yaw {gap.yaw[0]:+d}..{gap.yaw[1]:+d}°".ljust(14)
            text = f"{yaw} pitch {gap.pitch[0]:+d}..{gap.pitch[1]:+d}°".ljust(30)
            line = Words().add(text, colours.style("text", bold=here))
            line.add(f"{gap.src:,}".rjust(5), colours.style("loss-src"))
            line.add("/", colours.muted()).add(f"{gap.dst:,}", colours.style("loss-dst"))
            lines.append(line)
        return lines


def _mark(cell: Cell, text: str) -> str:
    return "!" + text if cell.need is Need.MISSING else text


def _short(number: int) -> str:
    return f"{number}" if number < 1000 else f"{number / 1000:.0f}k"

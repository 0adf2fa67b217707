"""Two runs side by side: where their configurations differ, and both curves on one scale."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.strip import Strip

from recaster_tui.supervisor import History, Run, RunRecord
from recaster_tui.ui import clock, words
from recaster_tui.ui.palette import Palette
from recaster_tui.ui.run_list import (
    class_title,
    labels,
    mean_speed,
    option_differences,
    short_device,
)
from recaster_tui.ui.widgets.panel import Words
from recaster_tui.ui.widgets.project_tables import short_path
from recaster_tui.ui.widgets.status_line import STATE_COLOURS, STATE_GLYPHS
from recaster_tui.ui.widgets.text_pane import TextPane

if TYPE_CHECKING:
    from recaster_tui.supervisor import LossArray


class ComparePane(TextPane):
    """A label column and one column for each run."""

    BINDING_GROUP_TITLE = "Compare"

    def __init__(self, one: RunRecord, other: RunRecord) -> None:
        super().__init__(id="compare-pane")
        self.records = (one, other)
        self.losses: "tuple[LossArray, LossArray] | None" = None  # noqa: UP037

    def content(self, width: int) -> list[Strip]:
        """Facts, curves, options that differ."""
        colours = self.colours
        label = min(24, max(14, width // 5))
        room = (width - label - 3) // 2
        lines = [*self._facts(colours, label, room)]
        lines += [Words(), *self._curves(colours, label, room)]
        lines += [Words(), *self._options(colours, label, room)]
        return [line.strip(width) for line in lines]

    def _row(
        self, name: str, values: Sequence[tuple[str, str]], colours: Palette, label: int, room: int
    ) -> Words:
        line = Words().add(f" {name[: label - 1]:<{label - 1}} ", colours.muted())
        for i, (text, style) in enumerate(values):
            cut = text if len(text) <= room else text[: room - 1] + "…"
            line.fill(label + 1 + i * (room + 1))
            line.add(cut, colours.style(style, bold=style == "text"))
        return line

    def _facts(self, colours: Palette, label: int, room: int) -> list[Words]:
        pair = self.records

        def row(name: str, *values: str) -> Words:
            return self._row(name, [(v, "text") for v in values], colours, label, room)

        states = [
            (f"{STATE_GLYPHS.get(r.state.value, '●')} {r.state.value}",
             STATE_COLOURS.get(r.state.value, "text")) for r in pair
        ]  # fmt: skip
        return [
            row("model", *(f"{r.model_name} ({class_title(r.model_class)})" for r in pair)),
            self._row("state", states, colours, label, room),
            row("started", *(f"{clock.stamp(r.created)}" for r in pair)),
            row("iterations", *(words.count(r.iteration) for r in pair)),
            row("trained", *(words.duration(r.duration) for r in pair)),
            row("speed", *(words.speed(mean_speed(r)) for r in pair)),
            row("device", *(short_device(r.device_name) for r in pair)),
            row("workspace", *(short_path(Path(r.workspace), room) for r in pair)),
        ]

    def _curves(self, colours: Palette, label: int, room: int) -> list[Words]:
        from recaster_tui.ui import sparkline

        if self.losses is None:
            return [Words().add(" reading the losses …", colours.muted())]
        ends = [int(rows["iteration"][-1]) for rows in self.losses if len(rows)]
        starts = [int(rows["iteration"][0]) for rows in self.losses if len(rows)]
        if not ends:
            return [Words().add(" neither has losses", colours.muted())]
        lines = []
        for key, name in (("src", "source loss"), ("dst", "destination loss")):
            curves = [
                sparkline.points(rows, room - 1, key, min(starts), max(ends))
                for rows in self.losses
            ]
            limits = sparkline.span(*curves)
            if limits[0] != limits[0]:
                continue
            values = [getattr(r, f"loss_{key}") for r in self.records]
            lines.append(
                self._row(name, [(words.loss(v), f"loss-{key}") for v in values],
                          colours, label, room)
            )  # fmt: skip
            drawn = [sparkline.draw(curve, 3, limits) for curve in curves]
            for bars in zip(*drawn, strict=True):
                line = Words()
                for i, bar in enumerate(bars):
                    line.fill(label + 1 + i * (room + 1)).add(bar, colours.style(f"loss-{key}"))
                lines.append(line)
        reach = f"{words.count(min(starts))} to {words.count(max(ends))}"
        scale = f"both: iterations {reach}, one logarithmic scale"
        lines.append(Words().fill(label + 1).add(scale, colours.muted()))
        return lines

    def _options(self, colours: Palette, label: int, room: int) -> list[Words]:
        one, other = self.records
        names = {**labels(other.model_class), **labels(one.model_class)}
        differ = option_differences(one.options, other.options, list(names))
        if not differ:
            return [Words().add(" The configurations are the same.", colours.muted())]
        head = f" Options that differ ({len(differ)})"
        lines = [Words().add(head, colours.style("primary", bold=True))]
        for key, a, b in differ:
            texts = [("–" if v is None or v == "" else words.plain(v), "text") for v in (a, b)]
            lines.append(self._row(names.get(key, key), texts, colours, label, room))
        return lines


class CompareScreen(ModalScreen[None]):
    """Opened with two records, the older one left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,c", "dismiss(None)", "Close", id="compare-close"),
    ]

    def __init__(
        self, one: RunRecord, other: RunRecord, runs: Sequence[Run | None], history: History
    ) -> None:
        super().__init__()
        self._records, self._runs, self._history = (one, other), runs, history

    def compose(self) -> ComposeResult:
        """A large frame."""
        with Vertical(classes="dialog -large") as dialog:
            dialog.border_title = "Compare"
            dialog.border_subtitle = "esc closes"
            yield ComparePane(*self._records)

    async def on_mount(self) -> None:
        """Read the losses in a thread."""
        pane = self.query_one(ComparePane)
        pane.focus()
        losses = []
        for record, run in zip(self._records, self._runs, strict=True):
            held = run.losses if run is not None and len(run.losses) else None
            losses.append(
                held if held is not None
                else await asyncio.to_thread(self._history.losses, record.run_id)
            )  # fmt: skip
        pane.losses = (losses[0], losses[1])
        pane.update_content()

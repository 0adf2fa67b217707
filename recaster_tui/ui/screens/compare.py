"""Two runs side by side: what they are, both curves in one chart, where their options differ."""

import asyncio
from collections.abc import Container, Sequence
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


CURVES = ("loss-src", "loss-dst")
"""Colours of the older and of the newer run."""


class ComparePane(TextPane):
    """A label column and one column for each run."""

    BINDING_GROUP_TITLE = "Compare"

    def __init__(self, one: RunRecord, other: RunRecord, gone: Container[str] = ()) -> None:
        super().__init__(id="compare-pane")
        self.records = (one, other)
        self.gone = gone
        self.losses: "tuple[LossArray, LossArray] | None" = None  # noqa: UP037
        self.every_option = False
        self.loss_key = "src"
        self.log_scale = True

    def content(self, width: int) -> list[Strip]:
        """Facts, chart, options."""
        colours = self.colours
        label = min(24, max(14, width // 5))
        room = (width - label - 3) // 2
        lines = [*self._facts(colours, label, room)]
        lines += [Words(), *self._chart(colours, width)]
        lines += [Words(), *self._options(colours, label, room)]
        return [line.strip(width) for line in lines]

    @property
    def loss_keys(self) -> list[str]:
        """The losses that one of them has."""
        import numpy as np

        if self.losses is None:
            return []
        return [
            key
            for key in ("src", "dst")
            if any(len(rows) and np.isfinite(rows[key]).any() for rows in self.losses)
        ]

    def _row(
        self, name: str, values: Sequence[tuple[str, str]], colours: Palette, label: int, room: int
    ) -> Words:
        line = Words().add(f" {name[: label - 1]:<{label - 1}} ", colours.muted())
        for i, (text, style) in enumerate(values):
            cut = text if len(text) <= room else text[: room - 1] + "…"
            line.fill(label + 1 + i * (room + 1))
            muted = style == "text-muted"
            line.add(cut, colours.muted() if muted else colours.style(style, bold=style == "text"))
        return line

    def _facts(self, colours: Palette, label: int, room: int) -> list[Words]:
        pair = self.records

        def row(name: str, *values: str) -> Words:
            return self._row(name, [(v, "text") for v in values], colours, label, room)

        states = [
            ("∅ folder gone", "state-hold") if r.run_id in self.gone else
            (f"{STATE_GLYPHS.get(r.state.value, '●')} {r.state.value}",
             STATE_COLOURS.get(r.state.value, "text")) for r in pair
        ]  # fmt: skip
        costs = [f"${r.cost:,.2f}" if r.cost else "–" for r in pair]
        return [
            row("model", *(f"{r.model_name} ({class_title(r.model_class)})" for r in pair)),
            self._row("state", states, colours, label, room),
            row("started", *(f"{clock.stamp(r.created)}" for r in pair)),
            row("iterations", *(words.count(r.iteration) for r in pair)),
            row("trained", *(words.duration(r.duration) for r in pair)),
            row("speed", *(words.speed(mean_speed(r)) for r in pair)),
            row("device", *(short_device(r.device_name) for r in pair)),
            *([row("cost", *costs)] if any(r.cost for r in pair) else []),
            row("workspace", *(short_path(Path(r.workspace), room) for r in pair)),
        ]

    def _chart(self, colours: Palette, width: int) -> list[Words]:
        from recaster_tui.ui.compare_picture import draw_curves

        if self.losses is None:
            return [Words().add(" reading the losses …", colours.muted())]
        keys = self.loss_keys
        if not keys:
            return [Words().add(" neither has losses", colours.muted())]
        key = self.loss_key if self.loss_key in keys else keys[0]
        names = {"src": "source loss", "dst": "destination loss"}
        name = names[key] if len(keys) > 1 else "loss"
        head = Words().add(f" {name}", colours.style("primary", bold=True)).add("  ")
        for record, tone in zip(self.records, CURVES, strict=True):
            head.add("━━ ", colours.style(tone))
            head.add(f"{record.model_name} ", colours.muted())
            value = words.loss(getattr(record, f"loss_{key}"))
            head.add(value, colours.style(tone, bold=True)).add("   ")
        height = 14 if self.size.height >= 28 else 8
        tones = {colours.rgb(tone): colours.style(tone) for tone in CURVES}
        picture = draw_curves(self.losses, list(tones), key, width - 1, height, log=self.log_scale)
        lines = [head]
        for row in picture.rows if picture is not None else ():
            line = Words()
            for text, rgb in row:
                line.add(text, tones.get(rgb, colours.muted()) if rgb else colours.muted())
            lines.append(line)
        return lines

    def _options(self, colours: Palette, label: int, room: int) -> list[Words]:
        one, other = self.records
        names = {**labels(other.model_class), **labels(one.model_class)}
        differ = option_differences(one.options, other.options, list(names))
        unlike = {key for key, _, _ in differ}
        rows = differ
        if self.every_option:
            keys = [*names, *(k for k in [*one.options, *other.options] if k not in names)]
            rows = [
                (key, one.options.get(key), other.options.get(key))
                for key in dict.fromkeys(keys)
                if key in one.options or key in other.options
            ]
        head = f" Options that differ ({len(differ)})"
        if self.every_option:
            head = f" Every option ({len(differ)} of {len(rows)} differ)"
        lines = [Words().add(head, colours.style("primary", bold=True))]
        if not differ:
            text = " The configurations are the same."
            lines = [*(lines if rows else ()), Words().add(text, colours.muted())]
        for key, a, b in rows:
            style = "text" if key in unlike else "text-muted"
            texts = [("–" if v is None or v == "" else words.plain(v), style) for v in (a, b)]
            lines.append(self._row(names.get(key, key), texts, colours, label, room))
        return lines


class CompareScreen(ModalScreen[None]):
    """Opened with two records, the older one left."""

    BINDING_GROUP_TITLE = "Compare"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,c", "dismiss(None)", "Close", id="compare-close"),
        Binding("o", "options", "All options", id="compare-options",
                tooltip="Every option, or only those that differ"),
        Binding("space,e", "loss", "Other loss", id="compare-loss",
                tooltip="Source or destination"),
        Binding("y", "log", "Logarithmic loss axis", id="compare-log"),
    ]  # fmt: skip

    def __init__(
        self,
        one: RunRecord,
        other: RunRecord,
        runs: Sequence[Run | None],
        history: History,
        gone: Container[str] = (),
    ) -> None:
        super().__init__()
        self._records, self._runs, self._history = (one, other), runs, history
        self._gone = gone

    def compose(self) -> ComposeResult:
        """A large frame."""
        with Vertical(classes="dialog -large") as dialog:
            dialog.border_title = "Compare"
            dialog.border_subtitle = "o all options · space other loss · y log · esc closes"
            yield ComparePane(*self._records, self._gone)

    @property
    def pane(self) -> ComparePane:
        """The text."""
        return self.query_one(ComparePane)

    def action_options(self) -> None:
        """Every option, or only those that differ."""
        self.pane.every_option = not self.pane.every_option
        self.pane.update_content()

    def action_loss(self) -> None:
        """Source or destination."""
        pane = self.pane
        others = [key for key in pane.loss_keys if key != pane.loss_key]
        pane.loss_key = others[0] if others else pane.loss_key
        pane.update_content()

    def action_log(self) -> None:
        """Logarithmic or linear."""
        self.pane.log_scale = not self.pane.log_scale
        self.pane.update_content()

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

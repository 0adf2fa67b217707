"""The history as a table: one run a row, living ones with what they say now."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recaster_tui.supervisor import History, Run, RunRecord
from recaster_tui.ui import clock, words
from recaster_tui.ui.palette import Palette
from recaster_tui.ui.run_list import (
    Order,
    class_title,
    mean_speed,
    outcome_text,
    short_device,
)
from recaster_tui.ui.widgets.status_line import STATE_COLOURS, STATE_GLYPHS
from recaster_tui.ui.widgets.table_view import Cell, Column, TableView

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recaster_tui.supervisor import LossArray

log = logging.getLogger(__name__)

_POINTS = 24  # of a sparkline: as many as the widest column shows
_BATCH = 8


class RunTable(TableView):
    """Rows are run ids. Sparklines are read from the history in a thread, for rows in sight."""

    BINDING_GROUP_TITLE = "History"
    EMPTY = "No runs yet. Start one on the Train screen (3)."
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("mark", "", 1),
        Column("state", "state", 10),
        Column("model", "model", 12, most=26),
        Column("class", "class", 7, rank=6),
        Column("iteration", "iterations", 10, right=True),
        Column("src", "src loss", 8, rank=2, right=True),
        Column("dst", "dst loss", 8, rank=1, right=True),
        Column("curve", "loss", 8, rank=3, most=_POINTS),
        Column("eta", "ETA", 7, rank=4, right=True),
        Column("speed", "speed", 10, rank=8, right=True),
        Column("duration", "trained", 8, rank=7, right=True),
        Column("started", "started", 9, rank=5, right=True),
        Column("device", "device", 10, rank=10, most=24),
        Column("cost", "cost", 7, rank=12, right=True),
        Column("workspace", "workspace", 12, rank=9, most=20),
        Column("outcome", "outcome", 14, rank=11, most=44),
    )
    LIVING: ClassVar[dict[str, int]] = {"speed": 0, "eta": 0, "curve": 1, "src": 4, "dst": 3}
    """Ranks of columns where only living runs are shown: what they do now comes first."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.order = Order()
        self.marked: list[str] = []
        self.everywhere = False
        self.living_only = False
        self.gone: frozenset[str] = frozenset()
        self.costs = False
        self._records: dict[str, RunRecord] = {}
        self._live: dict[str, Run] = {}
        self._curves: dict[str, tuple[int, NDArray[np.float64]]] = {}
        self._bars: dict[str, tuple[int, NDArray[np.float64], str]] = {}
        self._history: History | None = None
        self._reading: asyncio.Task[None] | None = None

    def show(
        self,
        records: Sequence[RunRecord],
        live: Sequence[Run],
        history: History,
        hint: str = "",
        more: str = "",
    ) -> None:
        """Take what there is to show, in this order."""
        self._history = history
        before = self.columns()
        self._live = {run.run_id: run for run in live}
        self._records = {record.run_id: record for record in records}
        if self.columns() != before:
            self.redraw()
        self.marked = [m for m in self.marked if m in self._records]
        self.set_rows([r.run_id for r in records], hint, more)
        self.read_curves()

    def record(self, key: str | None = None) -> RunRecord | None:
        """The record of a row; of the one under the cursor by default."""
        key = key if key is not None else self.key
        return self._records.get(key) if key is not None else None

    def mark(self) -> None:
        """Mark or unmark the row under the cursor, and go on to the next."""
        if self.key is None:
            return
        if self.key in self.marked:
            self.marked.remove(self.key)
        else:
            self.marked.append(self.key)
        self.update_visible()
        self.action_move(1)

    def unmark(self) -> None:
        """No marks."""
        self.marked = []
        self.update_visible()

    # -- columns --------------------------------------------------------------------------------

    def columns(self) -> Sequence[Column]:
        """The workspace is named where there are several, the end where runs have one ahead."""
        shown = {"workspace": self.everywhere, "eta": bool(self._live), "cost": self.costs}
        columns = [c for c in self.COLUMNS if shown.get(c.key, True)]
        if self.living_only:
            columns = [replace(c, rank=self.LIVING.get(c.key, c.rank)) for c in columns]
        return columns

    def heading(self, column: Column) -> str:
        """An arrow at the column that orders."""
        if column.key != self.order.column:
            return column.title
        return column.title + ("↓" if self.order.descending else "↑")

    def cell(self, key: str, column: str, width: int, colours: Palette) -> Cell:
        """One value."""
        record = self._records.get(key)
        if record is None:
            return ()
        run = self._live.get(key)
        match column:
            case "mark":
                return (("◆" if key in self.marked else " ", colours.style("accent")),)
            case "state":
                if key in self.gone:
                    return (("∅ gone", colours.style("state-hold")),)
                state = record.state.value
                style = colours.style(STATE_COLOURS.get(state, "text"))
                return ((f"{STATE_GLYPHS.get(state, '●')} {state}", style),)
            case "model":
                return ((record.model_name, colours.style("text", bold=True)),)
            case "class":
                return ((class_title(record.model_class), colours.muted()),)
            case "iteration":
                return ((words.count(record.iteration), colours.style("text")),)
            case "src":
                return ((words.loss(record.loss_src), colours.style("loss-src")),)
            case "dst":
                return ((words.loss(record.loss_dst), colours.style("loss-dst")),)
            case "curve":
                return ((self._curve(key, width), colours.style("primary", dim=0.25)),)
            case "speed":
                its = run.its if run is not None else mean_speed(record)
                return ((words.speed(its), colours.style("text")),)
            case "eta":
                eta = run.eta_seconds if run is not None else None
                text = words.duration(eta) if run is not None else ""
                return ((text, colours.style("text")),)
            case "cost":
                text = f"${record.cost:,.2f}" if record.cost else ""
                return ((text, colours.style("text")),)
            case "outcome":
                return ((outcome_text(record, key in self.gone), colours.muted()),)
            case "duration":
                return ((words.duration(record.duration), colours.style("text")),)
            case "started":
                return ((clock.ago(record.created), colours.muted()),)
            case "device":
                return ((short_device(record.device_name), colours.muted()),)
            case "workspace":
                return ((Path(record.workspace).name, colours.muted()),)
        return ()

    # -- curves ---------------------------------------------------------------------------------

    def _curve(self, key: str, width: int) -> str:
        known = self._curves.get(key)
        if known is None:
            return ""
        from recaster_tui.ui import sparkline

        drawn = self._bars.get(key)
        if drawn is None or drawn[0] != width or drawn[1] is not known[1]:
            # Kept, since every row in sight is asked for it twice a second.
            bars = sparkline.draw(_fewer(known[1], width))[0]
            drawn = self._bars[key] = width, known[1], bars
        return drawn[2]

    def on_scroll(self) -> None:
        """Other rows come in sight."""
        self.read_curves()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Other rows come in sight."""
        super().watch_scroll_y(old_value, new_value)
        self.read_curves()

    def read_curves(self) -> None:
        """Read the losses of rows in sight that have none yet, or older ones."""
        if self._history is None or (self._reading is not None and not self._reading.done()):
            return
        if self.is_mounted and self._wanted():
            self._reading = asyncio.create_task(self._read())

    def _wanted(self) -> list[str]:
        wanted = []
        for key in self.visible_keys():
            record, known = self._records.get(key), self._curves.get(key)
            if record is None or not record.iteration:
                continue
            # A curve of so few cells looks the same until it is a fiftieth longer.
            if known is None or abs(record.iteration - known[0]) > known[0] // 50:
                wanted.append(key)
        return wanted

    async def _read(self) -> None:
        while (wanted := self._wanted()) and self._history is not None:
            batch = wanted[:_BATCH]
            held = {k: self._live[k].losses for k in batch if k in self._live}
            found = await asyncio.to_thread(_read_curves, self._history, batch, held)
            for key, curve in found.items():
                record = self._records.get(key)
                self._curves[key] = (record.iteration if record else 0, curve)
            self.update_visible()

    async def settled(self) -> None:
        """Wait until every curve in sight is read (for tests)."""
        while self._reading is not None and not self._reading.done():
            await self._reading


def _read_curves(
    history: History, keys: Sequence[str], held: "Mapping[str, LossArray]"
) -> "dict[str, NDArray[np.float64]]":
    from recaster_tui.ui import sparkline

    return {
        key: sparkline.points(held[key] if key in held else history.losses(key), _POINTS, "both")
        for key in keys
    }


def _fewer(curve: "NDArray[np.float64]", width: int) -> "NDArray[np.float64]":
    """The curve in *width* points."""
    import numpy as np

    if width >= len(curve):
        return curve
    edges = np.linspace(0, len(curve), width + 1).astype(int)
    out = np.full(width, np.nan)
    for i in range(width):
        part = curve[edges[i] : edges[i + 1]]
        part = part[np.isfinite(part)]
        if len(part):
            out[i] = part.mean()
    return out

"""Everything that is remembered of one run."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from textual.strip import Strip

from recaster_tui.errors import RecasterError
from recaster_tui.protocol import read_run_spec
from recaster_tui.supervisor import History, LocalLauncher, Marker, Notice, Run, RunRecord
from recaster_tui.supervisor.measures import Measure
from recaster_tui.supervisor.verdict import Verdict, held_out_words
from recaster_tui.ui import clock, words
from recaster_tui.ui.palette import Palette
from recaster_tui.ui.run_list import (
    changed_options,
    class_title,
    labels,
    mean_speed,
    short_device,
)
from recaster_tui.ui.widgets.panel import Words
from recaster_tui.ui.widgets.project_tables import short_path
from recaster_tui.ui.widgets.status_line import STATE_COLOURS, STATE_GLYPHS
from recaster_tui.ui.widgets.text_pane import TextPane, paragraph
from recaster_tui.ui.widgets.verdict import verdict_words

if TYPE_CHECKING:
    from recaster_tui.supervisor import LossArray

log = logging.getLogger(__name__)

_MOST_NOTICES = 12
_MOST_MARKERS = 8
_TWO_COLUMNS = 104
_PAUSE = 0.15  # seconds on a row before its folder is read


GONE = (
    "the run folder is gone; this is what was remembered. If the workspace was moved, open it "
    "where it is now (1), or press m here"
)


@dataclass(frozen=True)
class Digest:
    """What only the run folder and the history's loss table know."""

    notices: tuple[Notice, ...] = ()
    markers: tuple[Marker, ...] = ()
    losses: "LossArray | None" = None
    problem: str = ""
    verdict: Verdict | None = None
    measures: tuple[Measure, ...] = ()


def _look(record: RunRecord) -> Run:
    run = Run(record.folder, read_run_spec(record.folder.spec), LocalLauncher())
    asyncio.run(run.poll())
    return run


def read_digest(
    record: RunRecord, history: History, look: Callable[[RunRecord], Run] = _look
) -> Digest:
    """Read a run folder from its start; in a thread, since a journal may be long."""
    from recaster_tui.ui import sparkline

    losses = history.losses(record.run_id)
    if record.missing:
        return Digest(losses=losses, problem=GONE)
    try:
        run = look(record)
    except (OSError, RecasterError) as error:
        return Digest(losses=losses, problem=str(error))
    return Digest(
        tuple(run.notices),
        tuple(run.markers),
        sparkline.thinned(run.losses),
        verdict=run.verdict,
        measures=tuple(run.measures),
    )


class RunDetail(TextPane):
    """The run under the table's cursor."""

    BINDING_GROUP_TITLE = "Run"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.record: RunRecord | None = None
        self._run: Run | None = None
        self._digests: dict[str, tuple[int, Digest]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._read_key: tuple[str, int] = ("", 0)
        self._thinned: tuple[str, int, LossArray | None] = ("", 0, None)
        self._gone = False
        self.look: Callable[[RunRecord], Run] = _look

    def show(
        self, record: RunRecord | None, run: Run | None, history: History, *, gone: bool = False
    ) -> None:
        """Show *record*; *run* where it is held in memory (its journal need not be read).

        *gone*: its folder is not there.
        """
        self._gone = gone
        other = (record.run_id if record else "") != (self.record.run_id if self.record else "")
        self.record, self._run = record, run
        if other:
            self.scroll_to(y=0, animate=False)
        if record is not None and run is None:
            known = self._digests.get(record.run_id)
            if known is None or known[0] != record.journal_bytes:
                self._begin_reading(record, history)
        self.update_content()

    def _begin_reading(self, record: RunRecord, history: History) -> None:
        key = record.run_id, record.journal_bytes
        if self._reading is not None and not self._reading.done():
            if self._read_key == key:
                return  # shown again because another run has news: what is begun goes on
            self._reading.cancel()
        self._read_key = key
        self._reading = asyncio.create_task(self._read(record, history))

    async def _read(self, record: RunRecord, history: History) -> None:
        await asyncio.sleep(_PAUSE)  # who holds an arrow key passes many rows
        digest = await asyncio.to_thread(read_digest, record, history, self.look)
        if len(self._digests) > 50:
            self._digests.clear()
        self._digests[record.run_id] = (record.journal_bytes, digest)
        self.update_content()

    async def settled(self) -> None:
        """Wait until the run folder is read (for tests)."""
        while self._reading is not None and not self._reading.done():
            await asyncio.gather(self._reading, return_exceptions=True)

    def _digest(self, record: RunRecord) -> Digest | None:
        run = self._run
        if run is not None:
            return Digest(
                tuple(run.notices),
                tuple(run.markers),
                self._thin(run),
                verdict=run.verdict,
                measures=tuple(run.measures),
            )
        known = self._digests.get(record.run_id)
        return known[1] if known else None

    def _thin(self, run: Run) -> "LossArray":
        """The losses in few rows, made anew where they are a two-hundredth longer."""
        from recaster_tui.ui import sparkline

        run_id, count, rows = self._thinned
        now = len(run.losses)
        if rows is None or run_id != run.run_id or not count <= now <= count + count // 200:
            rows = sparkline.thinned(run.losses)
            self._thinned = run.run_id, now, rows
        return rows

    # -- text -----------------------------------------------------------------------------------

    def content(self, width: int) -> list[Strip]:
        """Facts, curves, saves, troubles, options."""
        record = self.record
        if record is None:
            return []
        colours = self.colours
        digest = self._digest(record)
        options = _options(record, colours, width // 2 if width >= _TWO_COLUMNS else width)
        lines = self._facts(record, colours, width)
        if width >= _TWO_COLUMNS:
            lines, options = _beside(lines, options, width // 2), []
        folder = short_path(record.folder.root, max(12, width - 13))
        lines.append(Words().add(f" {'folder':<11}", colours.muted()).add(folder))
        if self._gone:
            lines += paragraph(GONE, colours.style("warning"), width - 1, 1)
        elif digest is not None and digest.problem:
            lines += paragraph(digest.problem, colours.style("warning"), width - 1, 1)
        if digest is not None and digest.losses is not None and len(digest.losses) > 1:
            lines += [Words(), *_curves(record, digest.losses, colours, width)]
        lines += _judged(record, digest, colours, width)
        if digest is not None and digest.notices:
            lines += [Words(), _head("Warnings and errors", colours)]
            lines += _notices(digest.notices, colours, width)
        if digest is not None and digest.markers:
            lines += [Words(), _head("Saves and changes", colours)]
            lines += _markers(digest.markers, colours)
        if options:
            lines += [Words(), *options]
        return [line.strip(width) for line in lines]

    def _facts(self, record: RunRecord, colours: Palette, width: int) -> list[Words]:
        state = record.state.value
        tone = colours.style(STATE_COLOURS.get(state, "text"), bold=True)
        ended = " (killed)" if record.outcome == "killed" else ""
        first = Words().add(f" {STATE_GLYPHS.get(state, '●')} {state}{ended}", tone)
        first.add(f"  {record.model_name}", colours.style("text", bold=True))
        first.add(f"  {class_title(record.model_class)}", colours.muted())
        lines = [first]
        if record.message:
            style = colours.style("state-bad" if state in ("failed", "lost") else "text")
            room = width // 2 - 2 if width >= _TWO_COLUMNS else width - 1
            lines += paragraph(record.message, style, room, 3)
        iterations = f"{words.count(record.start_iteration)} → {words.count(record.iteration)}"
        if record.target_iterations:
            iterations += f" of {words.count(record.target_iterations)}"
        its = self._run.its if self._run is not None and record.state.live else mean_speed(record)
        rows: list[tuple[str, str]] = [
            ("iterations", iterations),
            ("trained", f"{words.duration(record.duration)} at {words.speed(its)}"),
            ("started", f"{clock.stamp(record.created)}  {clock.ago(record.created)}"),
            ("saved", f"iteration {words.count(record.saved_iteration)}"
             if record.saved_iteration else "not yet"),
            ("device", short_device(record.device_name)),
            ("cost", f"${record.cost:,.2f}" if record.cost else "–"),
            ("faces", f"{record.src} · {record.dst}" if record.src else "–"),
        ]  # fmt: skip
        for label, text in rows:
            lines.append(Words().add(f" {label:<11}", colours.muted()).add(text))
        return lines


def _beside(left: list[Words], right: list[Words], at: int) -> list[Words]:
    """Two texts in columns; lines that are too long for the left one are cut."""
    lines = []
    for one, other in zip_longest(left, right):
        line = Words()
        for segment in one.strip(min(one.length, at - 2)) if one is not None else ():
            line.add(segment.text, segment.style)
        lines.append(line.fill(at).extend(other) if other is not None else line)
    return lines


def _head(text: str, colours: Palette) -> Words:
    return Words().add(f" {text}", colours.style("primary", bold=True))


def _curves(
    record: RunRecord, losses: "LossArray", colours: Palette, width: int
) -> list[Words]:  # fmt: skip
    from recaster_tui.ui import sparkline

    room = max(8, width - 26)
    pairs = [("src", "source"), ("dst", "destination")]
    curves = {key: sparkline.points(losses, room, key) for key, _ in pairs}
    limits = sparkline.span(*curves.values())
    lines = []
    for key, name in pairs:
        low, _ = sparkline.span(curves[key])
        if low != low:
            continue
        value = record.loss_src if key == "src" else record.loss_dst
        style = colours.style(f"loss-{key}")
        for i, bar in enumerate(sparkline.draw(curves[key], 2, limits)):
            line = Words()
            if i == 0:
                line.add(f" {name:<12}", colours.muted()).add(f"{words.loss(value):>8}", style)
            lines.append(line.fill(23).add(bar, style))
    return lines


def _judged(
    record: RunRecord, digest: Digest | None, colours: Palette, width: int
) -> list[Words]:  # fmt: skip
    """The verdict; of a run whose folder is gone, the one that was remembered."""
    if digest is None or digest.verdict is None:
        if not record.verdict_text:
            return []
        line = Words().add(f" {record.verdict}", colours.style("text", bold=True))
        return [Words(), _head("Is it done?", colours), line.add(f"  {record.verdict_text}")]
    lines = [Words(), _head("Is it done?", colours)]
    lines += verdict_words(digest.verdict, colours, width)
    for text in held_out_words(digest.measures):
        lines += paragraph(f"· {text}", colours.muted(), width - 1, 3)
    return lines


def _notices(notices: tuple[Notice, ...], colours: Palette, width: int) -> list[Words]:
    lines: list[Words] = []
    for notice in reversed(notices[-_MOST_NOTICES:]):
        bad = notice.level == "error"
        glyph, style = ("✖", "error") if bad else ("!", "warning")
        head = Words().add(f" {glyph} ", colours.style(style, bold=True))
        text = paragraph(notice.message, colours.style("text"), width - 4, 3)
        first = text[0].strip().text.strip()
        lines.append(head.add(first, colours.style("text")).add(
            f"  {clock.ago(notice.t)}", colours.muted()))  # fmt: skip
        lines += text[1:]
        if notice.hint:
            lines += paragraph(f"hint: {notice.hint}", colours.muted(), width - 1, 3)
        if notice.files:
            shown = ", ".join(notice.files[:4])
            more = len(notice.files) - 4
            shown += f" and {more} more" if more > 0 else ""
            lines += paragraph(shown, colours.muted(), width - 1, 3)
    older = len(notices) - _MOST_NOTICES
    if older > 0:
        lines.append(Words().add(f"   {older} older ones; l shows the log", colours.muted()))
    return lines


def _markers(markers: tuple[Marker, ...], colours: Palette) -> list[Words]:
    saves = [m for m in markers if m.kind == "saved"]
    others = [m for m in markers if m.kind != "saved"]
    shown = sorted([*others[-_MOST_MARKERS:], *saves[-2:]], key=lambda m: m.t, reverse=True)
    lines = []
    for marker in shown:
        line = Words().add(f"   {marker.kind:<11}", colours.style("chart-marker"))
        line.add(f" {words.count(marker.iteration):>9}", colours.style("text"))
        line.add(f"  {clock.ago(marker.t)}", colours.muted())
        if marker.kind != "saved" and marker.text and marker.text != marker.kind:
            line.add(f"  {marker.text}", colours.muted())
        lines.append(line)
    if len(saves) > 2:
        lines.append(Words().add(f"   {len(saves)} saves in all", colours.muted()))
    return lines


def _options(record: RunRecord, colours: Palette, width: int) -> list[Words]:
    changed = changed_options(record)
    if not changed:
        return [Words().add(" Every option is at its default", colours.muted())]
    names = labels(record.model_class)
    lines = [_head(f"Options unlike the defaults ({len(changed)})", colours)]
    wide = min(28, max(12, width // 3))
    for key, value, usual in changed:
        line = Words().add(f"   {names.get(key, key)[:wide]:<{wide}} ", colours.muted())
        line.add(_text(value), colours.style("text", bold=True))
        if usual is not None:
            line.add(f"  ({_text(usual)})", colours.muted())
        lines.append(line)
    return lines


def _text(value: Any) -> str:
    return words.plain(value) if value != "" else "–"

"""What the run is doing, in two or three lines."""

import re
import time
from typing import TYPE_CHECKING, Any

from textual.strip import Strip

from recaster_tui.ui import words
from recaster_tui.ui.palette import Palette
from recaster_tui.ui.widgets.panel import Lines, Words, sides
from recaster_tui.ui.widgets.verdict import verdict_line

if TYPE_CHECKING:
    from recaster_tui.supervisor import Run

STATE_COLOURS = {
    "starting": "state-busy",
    "training": "state-good",
    "paused": "state-hold",
    "saving": "state-busy",
    "stopping": "state-hold",
    "stopped": "state-off",
    "finished": "state-good",
    "failed": "state-bad",
    "lost": "state-bad",
    "stalled": "state-hold",
}
STATE_GLYPHS = {
    "starting": "◌",
    "training": "●",
    "paused": "◫",
    "saving": "◍",
    "stopping": "◌",
    "stopped": "■",
    "finished": "✔",
    "failed": "✖",
    "lost": "?",
    "stalled": "!",
}
_WITH_TEXT = ("starting", "failed", "lost", "stalled")
_BLOCKS = " ▏▎▍▌▋▊▉█"


class StatusLine(Lines):
    """State, iteration, speed, losses, device: everything that one glance should answer."""

    run: "Run | None" = None
    place = ""

    def show(self, run: "Run | None", place: str = "") -> None:
        """Read *run* again; *place* says which of several it is."""
        self.run, self.place = run, place
        self.update_lines()

    def lines(self, width: int, height: int) -> list[Strip]:
        """State and progress; losses and speed; last save and machine; how it does.

        Where there are but three lines, last save and machine go; where two, the verdict, too.
        """
        colours = self.colours
        run = self.run
        if run is None:
            first = Words().add(" ○ no run yet", colours.muted(bold=True))
            if self.place:
                first.add("  ").add(self.place, colours.style("accent"))
            second = Words().add("   s starts training with the configuration", colours.muted())
            return [first.strip(width), second.strip(width)][:height]
        judged = str(run.state) != "starting" and len(run.losses) > 0
        alone = height < 3 + judged
        result = [
            self._first(run, width, colours),
            self._second(run, width, colours, alone=alone),
        ]
        if not alone:
            result.append(self._third(run, width, colours))
        if judged:
            if trouble := room_wanted(run) or run.trouble:
                result.append(Words().add("   " + trouble, colours.style("error")).strip(width))
            else:
                result.append(verdict_line(run, width, colours))
        return result[:height]

    @staticmethod
    def _loading(run: "Run") -> bool:
        progress = run.facts.progress
        return str(run.state) == "starting" and progress is not None and progress.total > 0

    def _first(self, run: "Run", width: int, colours: Palette) -> Strip:
        state = str(run.state)
        style = colours.style(STATE_COLOURS.get(state, "text"), bold=True)
        left = Words().add(f" {STATE_GLYPHS.get(state, '●')} {state}", style).add("  ")
        left.add(run.spec.model_name, colours.style("text", bold=True))
        left.add(f" {run.spec.model_class.title}", colours.muted()).add("  ")
        if self.place:
            left.add(self.place, colours.style("accent")).add("  ")
        text = run.phase_text
        if self._loading(run):
            progress = run.facts.progress
            assert progress is not None
            return left.add(progress.text or progress.what, colours.muted()).strip(width)
        if state in _WITH_TEXT and text:
            if state == "starting":
                return left.add(text, colours.muted()).strip(width)
            if run.iteration:
                left.add(words.count(run.iteration), colours.style("text", bold=True)).add("  ")
            room = width - left.length - 1
            if len(text) > room and len(short := text.partition(" (")[0]) <= room:
                text = short  # what the log said last stands in the run's detail
            return left.add(text if len(text) <= room else text[: room - 1] + "…", style).strip(
                width
            )
        left.add(words.count(run.iteration), colours.style("text", bold=True))
        if run.trouble:
            title = run.trouble_title
            return left.add("  " + title, colours.style("error", bold=True)).strip(width)
        target = run.target_iterations
        if not target:
            left.add(" iterations", colours.muted())
            trained = f"trained {words.duration(run.elapsed_seconds)} "
            return sides(left, Words().add(trained, colours.muted()), width)
        left.add(f" / {words.count(target)} ", colours.muted())
        share = min(1.0, run.iteration / target)
        right = Words().add(f"{share:4.0%} ", colours.style("text", bold=True))
        if not run.state.over:
            right.add("ETA ", colours.muted())
            right.add(words.duration(run.eta_seconds) + " ", colours.style("text", bold=True))
        _bar(left, width - right.length - 1, share, colours)
        return sides(left, right, width)

    def _second(self, run: "Run", width: int, colours: Palette, *, alone: bool) -> Strip:
        left = Words().add("   ")
        if alone and (next_step := room_wanted(run) or what_next(run)):
            return left.add(next_step, colours.style("text", bold=True)).strip(width)
        if self._loading(run):
            progress = run.facts.progress
            assert progress is not None
            text = f"{progress.current:,}/{progress.total:,} {progress.unit}".rstrip()
            right = Words().add(text + " ", colours.style("text", bold=True))
            _bar(left, width - right.length - 1, progress.current / progress.total, colours)
            return sides(left, right, width)
        slopes = {"src": run.trend.src_slope, "dst": run.trend.dst_slope}
        shown = [(key, value, slopes[key]) for key, value in newest_losses(run).items()]
        single = len(shown) == 1
        for key, value, slope in shown:
            left.add("loss " if single else f"{key} ", colours.muted())
            left.add(words.loss(value), colours.style(f"loss-{key}", bold=True)).add(" ")
            glyph, style = _arrow(slope, value, colours)
            left.add(glyph, style).add("  ")
        if not shown:
            left.add("no loss yet  ", colours.muted())
        live = not run.state.over
        if live and run.its:
            left.add(words.speed(run.its), colours.style("text", bold=True))
            left.add(f"  {run.ms:,.0f} ms  ", colours.muted())
            share = run.data_share
            hot = colours.style("state-hold") if share > 0.1 else colours.muted()
            left.add(f"data {share:.0%}  ", hot)
        if alone:
            pieces = machine(run.device, run.metrics if live else {})
            if run.facts.saved_iteration:
                pieces.insert(0, ("saved", words.count(run.facts.saved_iteration)))
        else:
            seconds = words.duration(run.elapsed_seconds)
            # Without a target the first line has room for it.
            said = not run.target_iterations and str(run.state) not in _WITH_TEXT
            pieces = [("trained", seconds)] if run.elapsed_seconds >= 1 and not said else []
        if run.batch_found and live:
            pieces = [("batch", str(run.batch_found)), *pieces]
        return _fitting(left, pieces, width, colours)

    def _third(self, run: "Run", width: int, colours: Palette) -> Strip:
        left = Words().add("   ")
        facts = run.facts
        live = not run.state.over
        if next_step := what_next(run):
            left.add(next_step, colours.style("text", bold=True))
        elif facts.saved_iteration:
            left.add("saved at ", colours.muted())
            left.add(words.count(facts.saved_iteration), colours.style("text"))
            if facts.saved_at:
                ago = words.duration(max(0.0, time.time() - facts.saved_at))
                left.add(f", {ago} ago", colours.muted())
        elif live:
            left.add("not saved yet", colours.muted())
        left.add("  ")
        return _fitting(left, machine(run.device, run.metrics if live else {}), width, colours)


def newest_losses(run: "Run") -> dict[str, float]:
    """The smoothed losses of now by name; those there are. Status and chart show the same."""
    trend = run.trend
    found = {"src": trend.src, "dst": trend.dst}
    if trend.src != trend.src and trend.dst != trend.dst and run.loss is not None:
        found = dict(zip(("src", "dst"), run.loss, strict=True))  # too few for a trend
    return {key: value for key, value in found.items() if value == value}


def what_next(run: "Run") -> str:
    """After a failure: what is safe and how to go on; empty otherwise."""
    if str(run.state) != "failed":
        return ""
    if run.notices and run.notices[-1].code == "damaged":
        return "no save of it can be loaded: bring back a copy, or take another name"
    saved = run.facts.saved_iteration or run.facts.start_iteration
    if not saved:
        return "nothing was saved; s begins again" if run.iteration else ""
    lost = max(0, run.iteration - saved)
    tail = f" ({words.count(lost)} lost)" if lost else ""
    return f"iteration {words.count(saved)} is safe{tail}; s goes on from it"


_ROOM = re.compile(r"the disk is full: waiting (\d+) s for room")  # training.last_save says it


def room_wanted(run: "Run") -> str:
    """What can be done while a stop waits for room to save on a full disk; empty otherwise."""
    status = run.status
    found = _ROOM.match(status.text) if str(status.said) == "saving" else None
    if found is None:
        return ""
    left = int(found[1]) - max(0.0, time.time() - status.text_at)
    within = f"within {left:.0f} s" if left >= 1 else "now"
    return f"disk full: free some space {within}; X stops without saving"


def _fitting(left: Words, pieces: list[tuple[str, str]], width: int, colours: Palette) -> Strip:
    """*left*, and at the right as many of *pieces* as have room."""
    while True:
        right = Words()
        for i, (name, value) in enumerate(pieces):
            right.add(("  " if i else "") + name + " ", colours.muted())
            right.add(value, colours.style("text"))
        right.add(" ")
        if left.length + right.length <= width or not pieces:
            return sides(left, right, width)
        pieces = pieces[:-1]


def machine(device: dict[str, Any], metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """Device and its load as (name, value) pairs, most telling first."""
    pieces: list[tuple[str, str]] = []
    kind = str(device.get("kind") or "")
    if kind and kind != "cpu":
        if isinstance(metrics.get("gpu"), int | float):
            pieces.append(("GPU", f"{metrics['gpu']:.0f}%"))
        if isinstance(metrics.get("vram"), int | float):
            total = metrics.get("vram_total")
            text = words.size(metrics["vram"])
            pieces.append(("VRAM", f"{text}/{words.size(total)}" if total else text))
    if isinstance(metrics.get("cpu"), int | float):
        pieces.append(("CPU", f"{metrics['cpu']:.0f}%"))
    if isinstance(metrics.get("ram"), int | float):
        total = metrics.get("ram_total")
        text = words.size(metrics["ram"])
        pieces.append(("RAM", f"{text}/{words.size(total)}" if total else text))
    name = str(device.get("name") or kind)
    if name:
        pieces.insert(0, ("on", name))
    return pieces


def _arrow(slope: float, value: float, colours: Palette) -> tuple[str, Any]:
    """Which way the loss goes: a change of 1 % of its level in 1,000 iterations counts."""
    if slope != slope or not value:
        return " ", colours.muted()
    if abs(slope) < abs(value) * 0.01:
        return "→", colours.muted()
    if slope < 0:
        return "↘", colours.style("state-good", bold=True)
    return "↗", colours.style("state-bad", bold=True)


def _bar(line: Words, until: int, share: float, colours: Palette) -> None:
    """Fill *line* up to column *until* with a progress bar of eighth blocks."""
    cells = until - line.length
    if cells < 6:
        return
    full = share * cells
    whole = int(full)
    part = _BLOCKS[int((full - whole) * 8)] if whole < cells else ""
    line.add("█" * whole + part.strip(), colours.style("primary"))
    line.add("─" * (cells - whole - len(part.strip())), colours.faint())

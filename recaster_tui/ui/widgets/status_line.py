"""What the run is doing, in two lines."""

from typing import TYPE_CHECKING, Any

from textual.strip import Strip

from recaster_tui.ui import words
from recaster_tui.ui.palette import Palette
from recaster_tui.ui.widgets.panel import Lines, Words, sides

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
_BLOCKS = " ▏▎▍▌▋▊▉█"


class StatusLine(Lines):
    """State, iteration, speed, losses, device: everything that one glance should answer."""

    run: "Run | None" = None

    def show(self, run: "Run | None") -> None:
        """Read *run* again."""
        self.run = run
        self.update_lines()

    def lines(self, width: int, height: int) -> list[Strip]:
        """First line: state and progress. Second: losses, speed, machine."""
        colours = self.colours
        run = self.run
        if run is None:
            first = Words().add(" ○ no run yet", colours.muted(bold=True))
            second = Words().add("   s starts training with the configuration", colours.muted())
            return [first.strip(width), second.strip(width)][:height]
        return [self._first(run, width, colours), self._second(run, width, colours)][:height]

    def _first(self, run: "Run", width: int, colours: Palette) -> Strip:
        state = str(run.state)
        style = colours.style(STATE_COLOURS.get(state, "text"), bold=True)
        left = Words().add(f" {STATE_GLYPHS.get(state, '●')} {state}", style).add("  ")
        left.add(run.spec.model_name, colours.style("text", bold=True))
        left.add(f" {run.spec.model_class.title}", colours.muted()).add("  ")
        progress = run.facts.progress
        if state == "starting" and progress is not None and progress.total:
            left.add(progress.text or progress.what, colours.muted()).add(" ")
            right = Words().add(
                f"{progress.current:,}/{progress.total:,} {progress.unit}".rstrip() + " ",
                colours.muted(),
            )
            _bar(left, width - right.length - 1, progress.current / progress.total, colours)
            return sides(left, right, width)
        text = run.phase_text
        if state in ("starting", "failed", "lost", "stalled") and text:
            hot = state in ("failed", "lost", "stalled")
            return left.add(text, style if hot else colours.muted()).strip(width)
        left.add(words.count(run.iteration), colours.style("text", bold=True))
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

    def _second(self, run: "Run", width: int, colours: Palette) -> Strip:
        left = Words().add("   ")
        trend = run.trend
        values = [("src", trend.src, trend.src_slope), ("dst", trend.dst, trend.dst_slope)]
        shown = [v for v in values if v[1] == v[1]]
        single = len(shown) == 1
        for key, value, slope in shown:
            label = "loss " if single else f"{key} "
            left.add(label, colours.muted())
            left.add(words.loss(value), colours.style(f"loss-{key}", bold=True))
            left.add(_arrow(slope, value, colours)[0] + "  ", _arrow(slope, value, colours)[1])
        if not shown:
            left.add("no loss yet  ", colours.muted())
        live = not run.state.over
        if live and run.its:
            left.add(words.speed(run.its), colours.style("text", bold=True))
            left.add(f" {run.ms:,.0f} ms  ", colours.muted())
            share = run.data_share
            hot = colours.style("state-hold") if share > 0.1 else colours.muted()
            left.add(f"data {share:.0%}  ", hot)
        right = Words()
        pieces = machine(run.device, run.metrics if live else {})
        for i, (name, value) in enumerate(pieces):
            right.add(("  " if i else "") + name + " ", colours.muted())
            right.add(value, colours.style("text"))
        right.add(" ")
        while left.length + right.length > width and pieces:
            pieces = pieces[:-1]
            right = Words()
            for i, (name, value) in enumerate(pieces):
                right.add(("  " if i else "") + name + " ", colours.muted())
                right.add(value, colours.style("text"))
            right.add(" ")
        return sides(left, right, width)


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
        pieces.append(("on", name))
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

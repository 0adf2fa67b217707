"""How a training does: one line of it, and everything behind it."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.strip import Strip

from recaster_tui.supervisor.measures import Measure, Pair
from recaster_tui.supervisor.verdict import Kind, Verdict
from recaster_tui.ui import words
from recaster_tui.ui.palette import Palette
from recaster_tui.ui.widgets.panel import Words, sides
from recaster_tui.ui.widgets.text_pane import TextPane, paragraph

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recaster_tui.supervisor import Run

KIND_COLOURS = {
    Kind.HEALTHY: "state-good",
    Kind.CONVERGED: "state-busy",
    Kind.OVER_FITTING: "state-hold",
    Kind.SPIKE: "state-hold",
    Kind.DIVERGING: "state-bad",
    Kind.TOO_EARLY: "text",
}
_SIDES = {"src": "source", "dst": "destination"}
_NEWEST = 12


def verdict_line(run: "Run", width: int, colours: Palette) -> Strip:
    """The verdict in one line, with the newest held-out figures where they have room."""
    found = run.verdict
    left = Words().add("   ")
    if found.kind is Kind.TOO_EARLY:
        return left.add(found.text, colours.muted()).strip(width)
    left.add(found.kind.value, colours.style(KIND_COLOURS[found.kind], bold=True)).add("  ")
    left.add(found.text, colours.style("text"))
    mean = _mean(run.measures[-1]) if run.measures else Pair()
    if mean.held_out != mean.held_out:
        return left.strip(width)
    right = Words().add("held-out ", colours.muted()).add(f"{mean.held_out:.3f}")
    both = Words().extend(right).add("  trained ", colours.muted()).add(f"{mean.trained:.3f}")
    fits = left.length + both.length + 2 <= width
    return sides(left, (both if fits else right).add(" "), width)


def _mean(measure: Measure) -> Pair:
    pairs = list(measure.losses.values())
    if not pairs:
        return Pair()
    return Pair(
        sum(p.held_out for p in pairs) / len(pairs), sum(p.trained for p in pairs) / len(pairs)
    )


def verdict_words(found: Verdict, colours: Palette, width: int) -> list[Words]:
    """The verdict and its reasons."""
    style = colours.style(KIND_COLOURS[found.kind], bold=True)
    head = Words().add(f" {found.kind.value}", style)
    text = paragraph(found.text, colours.style("text"), width - head.length - 2)
    lines = [head.add("  ").extend(text[0]), *text[1:]]
    for reason in found.reasons:
        lines += paragraph(f"· {reason}", colours.muted(), width - 1, 3)
    return lines


class VerdictPane(TextPane):
    """Verdict, reasons, held-out figures and how they went."""

    BINDING_GROUP_TITLE = "Is it done?"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.run: Run | None = None

    def content(self, width: int) -> list[Strip]:
        """Everything there is to say."""
        run, colours = self.run, self.colours
        if run is None:
            return []
        lines = verdict_words(run.verdict, colours, width)
        if run.eta_seconds is not None and run.state.live:
            lines.append(
                Words()
                .add("   the target is reached in ", colours.muted())
                .add(words.duration(run.eta_seconds), colours.style("text", bold=True))
            )
        lines.append(Words())
        if run.measures:
            lines += measure_words(run.measures, colours, width)
        else:
            lines += paragraph(no_measures(run), colours.style("text"), width - 1, 1)
        return [line.strip(width) for line in lines]


def no_measures(run: "Run") -> str:
    """Why there are no figures on held-out faces."""
    if run.options.get("pretrain"):
        return "While pretraining no faces are held out."
    if not run.options.get("held_out_percent", 0):
        return "No faces are held out (held_out_percent is 0): over-fitting cannot be seen."
    held = run.facts.held_out_faces
    if held and not any(held.values()):
        return (
            "No faces are held out, since each side has fewer than 100: with so few every one "
            "is needed. Over-fitting cannot be seen."
        )
    if held:
        aside = " and ".join(f"{count} {_SIDES.get(s, s)}" for s, count in held.items() if count)
        seconds = words.duration(run.options.get("held_out_seconds"))
        return (
            f"{aside} faces are held out. They are measured every {seconds}, on a slow machine "
            "less often; the first figures are still to come."
        )
    return "Nothing was measured on held-out faces."


def measure_words(measures: Sequence[Measure], colours: Palette, width: int) -> list[Words]:
    """The newest figures, how they went, and the last few in numbers."""
    newest = measures[-1]
    lines = [_head("On held-out faces, never trained on", colours)]
    lines.append(
        Words().add(f"   {'':<14}{'held-out':>10}{'trained':>10}{'gap':>8}", colours.muted())
    )
    rows = [(_SIDES[side] + " loss", pair, f"loss-{side}") for side, pair in newest.losses.items()]
    rows.append(("mask overlap", newest.mask, "text"))
    for name, pair, style in rows:
        if pair.held_out != pair.held_out:
            continue
        line = Words().add(f"   {name:<16}", colours.muted())
        line.add(f"{pair.held_out:>8.4f}", colours.style(style, bold=True))
        line.add(f"{_number(pair.trained):>10}", colours.style(style))
        gap = f"{100 * pair.gap:+.0f} %" if pair.gap == pair.gap else ""
        lines.append(line.add(f"{gap:>8}", colours.style("text")))
    if newest.sharpness == newest.sharpness:
        line = Words().add(f"   {'swap sharpness':<16}", colours.muted())
        line.add(f"{100 * newest.sharpness:>6.0f} %", colours.style("text", bold=True))
        lines.append(line.add("  of the real face's", colours.muted()))
    lines += [Words(), *_curves(measures, colours, width)]
    lines += [Words(), *_table(measures, colours)]
    counts = " and ".join(f"{n} {_SIDES.get(s, s)}" for s, n in newest.faces.items())
    ago = words.duration(max(0.0, time.time() - newest.t)) + " ago " if newest.t else ""
    note = (
        f"{counts} faces and as many trained ones, {len(measures)} measurements, the last "
        f"{ago}at iteration {words.count(newest.iteration)}; they took "
        f"{100 * newest.share:.1f} % of the time. Loss: structure and colour inside the mask, "
        "of faces as they are; lower is better."
    )
    lines += [Words(), *paragraph(note, colours.muted(), width - 1, 1)]
    if newest.since > 0:
        lines += paragraph(
            f"Until iteration {words.count(newest.since)} these faces were trained on, too: "
            "the gap says less than it should.",
            colours.style("warning"),
            width - 1,
            1,
        )
    return lines


def _curves(measures: Sequence[Measure], colours: Palette, width: int) -> list[Words]:
    from recaster_tui.ui import sparkline

    room = max(8, min(width - 26, 100))
    lines: list[Words] = []
    for side, name in _SIDES.items():
        pairs = [m.losses.get(side, Pair()) for m in measures]
        both = {
            "held-out": _drawn(measures, [p.held_out for p in pairs], room),
            "trained": _drawn(measures, [p.trained for p in pairs], room),
        }
        limits = sparkline.span(*both.values())
        if limits[0] != limits[0]:
            continue
        for kind, curve in both.items():
            style = colours.style(f"loss-{side}") if kind == "held-out" else colours.muted()
            lines += _curve(f"{name} {kind}", sparkline.draw(curve, 1, limits), style, colours)
    for name, values in (
        ("mask overlap", [m.mask.held_out for m in measures]),
        ("sharpness", [m.sharpness for m in measures]),
    ):
        curve = _drawn(measures, values, room)
        if curve.size and (curve > 0).any():
            lines += _curve(name, sparkline.draw(curve, 1), colours.style("text"), colours)
    if not lines:
        return []
    first, last = measures[0].iteration, measures[-1].iteration
    ends = Words().fill(24).add(words.short_count(first), colours.muted())
    end = words.short_count(last)
    return [_head("How they went", colours), *lines,
            ends.fill(24 + room - len(end)).add(end, colours.muted())]  # fmt: skip


def _curve(name: str, bars: list[str], style: object, colours: Palette) -> list[Words]:
    line = Words().add(f"   {name}", colours.muted()).fill(24)
    return [line.add(bars[0], style)]  # type: ignore[arg-type]


def _drawn(
    measures: Sequence[Measure], values: Sequence[float], room: int
) -> "NDArray[np.float64]":
    """*values* over the iterations in *room* cells; between two measurements a straight line."""
    import numpy as np

    x = np.array([m.iteration for m in measures], np.float64)
    y = np.array(values, np.float64)
    good = np.isfinite(y)
    if not good.any():
        return np.full(room, np.nan)
    return np.interp(np.linspace(x[0], x[-1], room), x[good], y[good])


def _table(measures: Sequence[Measure], colours: Palette) -> list[Words]:
    """The newest in numbers: held-out/trained."""
    sides_there = [side for side in _SIDES if any(side in m.losses for m in measures)]
    head = f"   {'iteration':>9}" + "".join(f"{_SIDES[s]:>17}" for s in sides_there)
    lines = [_head("In numbers: held-out/trained", colours)]
    lines.append(Words().add(head + f"{'mask':>8}{'sharp':>8}", colours.muted()))
    for m in reversed(measures[-_NEWEST:]):
        line = Words().add(f"   {words.count(m.iteration):>9}", colours.style("text"))
        for side in sides_there:
            pair = m.losses.get(side, Pair())
            line.add(f"{_number(pair.held_out):>10}", colours.style(f"loss-{side}"))
            line.add(f"/{_number(pair.trained):<6}", colours.muted())
        line.add(f"{_number(m.mask.held_out, 3):>8}{_number(m.sharpness, 3):>8}")
        lines.append(line)
    return lines


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}" if value == value else "–"


def _head(text: str, colours: Palette) -> Words:
    return Words().add(f" {text}", colours.style("primary", bold=True))

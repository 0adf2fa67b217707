"""Which runs the Runs screen lists, and in which order; no widgets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recaster_tui.options import ModelClass, defaults, specs
from recaster_tui.supervisor import RunRecord


def class_title(name: str) -> str:
    """``SAEHD`` of ``saehd``."""
    try:
        return ModelClass(name).title
    except ValueError:
        return name


def short_device(name: str) -> str:
    """``RTX 4090`` of ``NVIDIA GeForce RTX 4090``."""
    for maker in ("NVIDIA ", "GeForce ", "AMD "):
        name = name.removeprefix(maker)
    return name or "–"


def mean_speed(record: RunRecord) -> float:
    """Iterations a second over the time spent training; NaN where there was none."""
    done = record.iteration - record.start_iteration
    return done / record.duration if record.duration > 0 and done > 0 else float("nan")


SORTS: dict[str, tuple[str, bool, Callable[[RunRecord], Any]]] = {
    "started": ("started", True, lambda r: r.created),
    "state": ("state", False, lambda r: (not r.state.live, r.state.value)),
    "model": ("model", False, lambda r: r.model_name.lower()),
    "class": ("class", False, lambda r: r.model_class),
    "iteration": ("iterations", True, lambda r: r.iteration),
    "src": ("source loss", False, lambda r: r.loss_src),
    "dst": ("destination loss", False, lambda r: r.loss_dst),
    "speed": ("speed", True, mean_speed),
    "duration": ("duration", True, lambda r: r.duration),
    "device": ("device", False, lambda r: r.device_name.lower()),
}
"""Column: (its name, whether the usual order is descending, what is compared)."""


@dataclass(frozen=True)
class Order:
    """By which column, and whether against its usual direction."""

    column: str = "started"
    reverse: bool = False

    @property
    def descending(self) -> bool:
        """Whether the greatest comes first."""
        return SORTS[self.column][1] != self.reverse

    def next(self) -> "Order":
        """The next column, in its usual direction."""
        names = list(SORTS)
        return Order(names[(names.index(self.column) + 1) % len(names)])

    def by(self, column: str) -> "Order":
        """Order by *column*; again by the same one turns the direction."""
        if column not in SORTS:
            return self
        return Order(column, not self.reverse) if column == self.column else Order(column)


def arrange(
    records: Sequence[RunRecord],
    order: Order,
    query: str = "",
    here: Path | None = None,
    everywhere: bool = True,
) -> list[RunRecord]:
    """The records to show, in order.

    Args:
        records: every one, newest first.
        order: see :class:`Order`. Runs without a value (no loss yet) come last either way.
        query: words that must all occur in name, class, state, device, id or workspace.
        here: the open workspace. Its runs come first where runs are listed by their start.
        everywhere: list runs of other workspaces, too.
    """
    root = str(here) if here is not None else None
    chosen = [r for r in records if everywhere or root is None or r.workspace == root]
    if needles := query.lower().split():
        chosen = [r for r in chosen if _fits(r, needles)]
    value = SORTS[order.column][2]
    numbers = chosen and isinstance(value(chosen[0]), float)
    missing = [r for r in chosen if numbers and value(r) != value(r)]
    present = [r for r in chosen if not numbers or value(r) == value(r)]
    present.sort(key=value, reverse=order.descending)
    chosen = present + missing
    if order.column == "started" and root is not None:
        chosen.sort(key=lambda r: r.workspace != root)
    return chosen


def _fits(record: RunRecord, needles: list[str]) -> bool:
    text = (
        f"{record.model_name} {record.model_class} {record.state.value} {record.device_name} "
        f"{record.run_id} {Path(record.workspace).name}"
    ).lower()
    return all(needle in text for needle in needles)


def labels(model_class: str) -> dict[str, str]:
    """Label of each option, in the order of the form."""
    try:
        return {spec.key: spec.label for spec in specs(ModelClass(model_class))}
    except ValueError:
        return {}


def changed_options(record: RunRecord) -> list[tuple[str, Any, Any]]:
    """(key, value, default) of every option that is not at its default, in the form's order."""
    try:
        usual = defaults(ModelClass(record.model_class)).model_dump(mode="json")
    except ValueError:
        usual = {}
    known = labels(record.model_class)
    order = [*known, *(k for k in record.options if k not in known)]
    return [
        (key, record.options[key], usual.get(key))
        for key in order
        if key in record.options and not _same(record.options[key], usual.get(key))
    ]


def option_differences(
    one: Mapping[str, Any], other: Mapping[str, Any], order: Sequence[str] = ()
) -> list[tuple[str, Any, Any]]:
    """(key, value, other value) of every option that differs; None where one has no such option."""
    keys = [*order, *(k for k in [*one, *other] if k not in order)]
    return [
        (key, one.get(key), other.get(key))
        for key in dict.fromkeys(keys)
        if (key in one or key in other) and not _same(one.get(key), other.get(key))
    ]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return bool(a == b)

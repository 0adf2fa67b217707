"""Which runs the Runs screen lists, and in which order; no widgets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recaster_tui.options import ModelClass, defaults, specs
from recaster_tui.supervisor import RunRecord, Supervisor, run_filter
from recaster_tui.supervisor.run_filter import SORTS, RunFilter, mean_speed

__all__ = ["SORTS", "mean_speed"]


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
    query: str | RunFilter = "",
    here: Path | None = None,
    everywhere: bool = True,
) -> list[RunRecord]:
    """The records to show, in order.

    Args:
        records: every one, newest first.
        order: see :class:`Order`. Runs without a value (no loss yet) come last either way.
        query: a filter, or its words (see ``supervisor.run_filter``).
        here: the open workspace. Its runs come first where runs are listed by their start.
        everywhere: list runs of other workspaces, too.
    """
    root = str(here) if here is not None else None
    chosen = [r for r in records if everywhere or root is None or r.workspace == root]
    wanted = run_filter.parse(query) if isinstance(query, str) else query
    chosen = wanted.choose(chosen)
    newest_first = order == Order()
    if not newest_first:
        chosen = run_filter.order(chosen, order.column, descending=order.descending)
    if order.column == "started" and root is not None:
        chosen = [r for r in chosen if r.workspace == root] + [
            r for r in chosen if r.workspace != root
        ]
    return chosen


@dataclass(frozen=True)
class Choice:
    """What decides which records are listed; equal ones list the same of the past."""

    order: Order
    wanted: RunFilter
    here: Path | None
    everywhere: bool
    living_only: bool = False


class Listing:
    """Living runs first, then the past, both in the chosen order.

    The past is arranged anew only where it changes: with ten thousand runs that takes as long as
    drawing a screen, and the figures of living runs change several times a second.
    """

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._past: list[RunRecord] = []
        self.elsewhere = 0
        self.living = 0
        self.costs = False

    def arrange(self, supervisor: Supervisor, choice: Choice) -> list[RunRecord]:
        """The records to show; ``elsewhere`` counts those of other workspaces left out."""
        now = supervisor.live_records()
        if not supervisor.loaded:
            return self._of(now, choice)
        held = frozenset(r.run_id for r in now)
        key = (supervisor.list_version, supervisor.gone, held, choice)
        if key != self._key:
            self._key = key
            past = [r for r in supervisor.records() if r.run_id not in held]
            self.elsewhere = 0
            if not choice.everywhere and choice.here is not None:
                root = str(choice.here)
                self.elsewhere = sum(r.workspace != root for r in (*past, *now))
            if choice.living_only:
                past = [r for r in past if r.state.live and r.run_id not in supervisor.gone]
            self._past = self._of(past, choice)
            self.costs = any(r.cost for r in (*past, *now))
        living = self._of(now, choice)
        self.living = len(living)
        return living + self._past

    @staticmethod
    def _of(records: Sequence[RunRecord], choice: Choice) -> list[RunRecord]:
        return arrange(records, choice.order, choice.wanted, choice.here, choice.everywhere)


def outcome_text(record: RunRecord, gone: bool = False) -> str:
    """How a run ended, in words for one line; empty while it is not over."""
    if gone:
        return "its folder is gone"
    target = record.target_iterations
    match record.outcome:
        case "finished":
            return f"reached {target:,}" if target else "reached its target"
        case "stopped":
            return "stopped, saved" if record.saved_iteration == record.iteration else "stopped"
        case "killed" | "failed":
            return " ".join(record.message.split()) or record.outcome
    return record.outcome


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

"""The queue in words: what each entry shows, what is said when one is added; no widgets."""

from collections.abc import Sequence
from dataclasses import dataclass

from recaster_tui.supervisor import Run
from recaster_tui.supervisor.facts import CLOCK_STATES
from recaster_tui.supervisor.queue import Queue
from recaster_tui.supervisor.queue_device import device_of
from recaster_tui.supervisor.queue_entry import QueueEntry, QueueState
from recaster_tui.ui import words

STATE_COLOURS = {
    "waiting": "state-hold",
    "starting": "state-busy",
    "running": "state-good",
    "done": "state-good",
    "stopped": "state-off",
    "failed": "state-bad",
}
STATE_GLYPHS = {
    "waiting": "○",
    "starting": "◌",
    "running": "●",
    "done": "✔",
    "stopped": "■",
    "failed": "✖",
}


@dataclass(frozen=True)
class QueueView:
    """The queue at one moment. ``places`` gives each waiting entry's position, 1 = next."""

    entries: tuple[QueueEntry, ...]
    places: dict[str, int]
    slots: dict[str, int]
    paused: bool
    kept: bool
    problems: tuple[str, ...]

    @classmethod
    def of(cls, queue: Queue) -> "QueueView":
        """Read it."""
        entries = tuple(queue.entries())
        waiting = [e.id for e in entries if e.state is QueueState.WAITING]
        return cls(
            entries,
            {id_: place for place, id_ in enumerate(waiting, start=1)},
            queue.slots(),
            queue.paused,
            queue.keeper_alive(),
            tuple(queue.problems()),
        )

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self.places)

    @property
    def active(self) -> int:
        """How many run or are being started."""
        return sum(e.state.active for e in self.entries)

    def state_text(self) -> str:
        """What the queue as a whole does."""
        if self.paused:
            return "paused, space goes on"
        if not self.waiting:
            return ""
        return "" if self.kept else "its keeper is being started"

    def slots_text(self, live: Sequence[Run]) -> str:
        """``cpu 1/1 (1 not queued) · cuda:0 0/2``: how many are taken, and how many there are.

        Args:
            live: every living run: those that are not the queue's take slots, too.
        """
        parts = []
        for name, count in self.slots.items():
            own = {e.run_id or e.id for e in self.entries if e.state.active and e.slot == name}
            others = {r.run_id for r in live if _slot_of(r) == name} - own
            beside = f" ({len(others)} not queued)" if others else ""
            parts.append(f"{name} {len(own) + len(others)}/{count}{beside}")
        return " · ".join(parts)


def progress(entry: QueueEntry, run: Run | None) -> str:
    """``12/40`` iterations, or the seconds it may take."""
    done = run.iteration if run is not None and not entry.state.over else entry.iteration
    if entry.target_iterations:
        there = words.count(entry.target_iterations)
        return f"{words.count(done)}/{there}" if done else there
    limit = words.duration(entry.target_seconds)
    return f"{words.count(done)}, {limit}" if done else limit


def device(entry: QueueEntry) -> str:
    """The device, and what ``auto`` stands for."""
    return entry.slot if entry.device == entry.slot else f"{entry.device} ({entry.slot} here)"


def reason(entry: QueueEntry, run: Run | None, *, paused: bool, whole: bool = False) -> str:
    """Why it stands where it stands; without *whole* its first sentence."""
    if entry.state is QueueState.WAITING:
        if entry.now:
            return entry.why or "starts now"
        # What the keeper found last may not hold any more: it does not look while it is paused.
        return "the queue is paused, space goes on" if paused else entry.why
    if entry.state is QueueState.RUNNING and run is not None and not entry.why:
        if run.state not in CLOCK_STATES or not run.iteration:
            return run.phase_text or str(run.state)
        eta = f", {words.duration(run.eta_seconds)} left" if run.eta_seconds is not None else ""
        return f"{run.state}, {words.speed(run.its)}{eta}"
    lines = [line.strip() for line in entry.why.splitlines()]
    return " · ".join(lines if whole else lines[:1])


def busy_with(slot: str, live: Sequence[Run], entries: Sequence[QueueEntry]) -> list[str]:
    """Names of the models that are being trained on a device."""
    names = {r.run_id: r.spec.model_name for r in live if _slot_of(r) == slot}
    names |= {e.run_id: e.model_name for e in entries if e.state.active and e.slot == slot}
    return list(names.values())


def added_text(
    entry: QueueEntry, view: QueueView, live: Sequence[Run], *, key: str = "4, then Q"
) -> str:
    """What is said of an entry that was just added: when its turn comes."""
    place = view.places.get(entry.id, view.waiting)
    if view.paused:
        return f"number {place}; the queue is paused ({key} shows it)"
    busy = busy_with(entry.slot, live, view.entries)
    slots = view.slots.get(entry.slot, 1)
    if place == 1 and len(busy) < slots:
        return "it starts in a moment"
    before = f"until {', '.join(busy[:2])} ends" if busy else "for those before it"
    return f"number {place}: waits {before} on {entry.slot} ({key} shows the queue)"


def _slot_of(run: Run) -> str:
    return "cpu" if run.device.get("kind") == "cpu" else device_of(run.spec.device)

"""What the app does for the queue: adds to it, and sees that its keeper lives."""

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from recaster_tui.errors import BadInputError, RecasterError
from recaster_tui.supervisor import Run, RunRequest
from recaster_tui.supervisor.queue import Queue
from recaster_tui.supervisor.queue_entry import QueueEntry, QueueState
from recaster_tui.workspace import Workspace

if TYPE_CHECKING:
    from recaster_tui.supervisor import Supervisor

log = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
_MOST_WAKES, _SELDOM = 4, 20


@dataclass(frozen=True)
class News:
    """Something to tell; of which run, where it is one's."""

    title: str
    text: str
    severity: Literal["information", "warning", "error"] = "information"
    run_id: str = ""


class QueueWatch:
    """Looks every few seconds; cheap where there is no queue."""

    def __init__(self, queue: Queue, supervisor: "Supervisor") -> None:
        self.queue = queue
        self._supervisor = supervisor
        self._looking = asyncio.Lock()
        self._complaint = ""
        self._states: dict[str, QueueState] | None = None
        self._woken = self._looks = 0

    async def look(self) -> list[News]:
        """Start the keeper if it lacks, follow what it started; says what is new."""
        if self._looking.locked():
            return []
        async with self._looking:
            complaint = ""
            try:
                complaint = await self._wake()
            except RecasterError as error:
                complaint = str(error)
            entries = self.queue.entries()
            for entry in [e for e in entries if e.state is QueueState.RUNNING]:
                if self._supervisor.run(entry.run_id) is None:
                    try:
                        await self._supervisor.attach(entry.run_id, record=entry.record)
                    except RecasterError as error:
                        log.info("cannot follow %s: %s", entry.run_id, error)
            complaint = complaint or "\n".join(self.queue.problems()[:3])
            news = self._news(entries)
            if complaint and complaint != self._complaint:
                news.append(News("Queue", complaint, "warning"))
            self._complaint = complaint
            return news

    async def _wake(self) -> str:
        """One that ends at once (a disk without locks, say) is not started for ever."""
        self._looks += 1
        if not self.queue.has_work() or self.queue.keeper_alive():
            self._woken = 0
            return ""
        rarely = self._woken >= _MOST_WAKES and self._looks % _SELDOM
        if not rarely and await asyncio.to_thread(self.queue.wake):
            self._woken += 1
        if self._woken < _MOST_WAKES:
            return ""
        return f"its keeper ends at once; see {self.queue.folder / 'keeper.log'}"

    def _news(self, entries: list[QueueEntry]) -> list[News]:
        before, self._states = self._states, {e.id: e.state for e in entries}
        news = []
        for entry in entries:
            if before is None or before.get(entry.id, entry.state) is entry.state:
                continue
            if entry.state is QueueState.RUNNING:
                text = "its turn has come: it is being started"
                news.append(News(entry.model_name, text, run_id=entry.run_id))
            elif entry.state is QueueState.FAILED:
                why = entry.why or "it failed"
                news.append(News(f"{entry.model_name} (queue)", why, "error", entry.run_id))
        return news

    async def add(
        self, workspace: Workspace, request: RunRequest, shown: Run | None = None
    ) -> QueueEntry:
        """Put a configuration at the end, and see that somebody works the queue off.

        Raises:
            OptionsError, BadInputError: it cannot be done, never ends, or is there already.
            EnvironmentProblem: the queue cannot be written.
        """
        target = request.target_iterations
        if target is None:
            target = int(request.options.get("target_iterations") or 0)
        model = (str(workspace.root), request.model_name, request.model_class)
        if shown is not None and shown.state.live and target:
            here = (str(shown.workspace_root), shown.spec.model_name, shown.spec.model_class)
            if here == model and shown.target_iterations > 0 and target <= shown.target_iterations:
                raise BadInputError(
                    f"this model is on its way to iteration {shown.target_iterations:,} already",
                    hint="give it a further target, or n: configure another model",
                )
        for place, entry in enumerate(self.queue.waiting(), start=1):
            same = (entry.workspace, entry.model_name, entry.model_class) == model
            if same and entry.target_iterations == target:
                raise BadInputError(
                    f"{entry.model_name} waits already for this target, as number {place}",
                    hint="on Runs (4), Q shows the queue; n: configure another model",
                )
        return await asyncio.to_thread(self.queue.add, workspace, request)


def pause_queue(queue: Queue) -> int:
    """For leaving: nothing new is started. How many wait."""
    waiting = len(queue.waiting())
    if waiting and not queue.paused:
        queue.set_paused(True)
    return waiting


def waiting_text(queue: Queue) -> str:
    """For the shell: what becomes of those that wait; empty where nobody does."""
    count = len(queue.waiting())
    if not count:
        return ""
    runs = "1 run waits" if count == 1 else f"{count} runs wait"
    if queue.paused:
        return f"{runs} in the paused queue: recaster queue resume"
    return f"{runs} in the queue and will be started: recaster queue"

"""The queue: what runs, what waits in which order, and the keys that change it."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.markup import escape
from textual.widget import Widget

from recaster_tui.errors import RecasterError
from recaster_tui.supervisor.queue import Queue
from recaster_tui.supervisor.queue_entry import QueueEntry, QueueState
from recaster_tui.supervisor.queue_files import MOST_SLOTS
from recaster_tui.ui.queue_list import QueueView, device
from recaster_tui.ui.screens.base import ModeScreen
from recaster_tui.ui.screens.dialogs import Confirm, plural
from recaster_tui.ui.widgets.panel import Panel
from recaster_tui.ui.widgets.queue_table import QueueDetail, QueueTable
from recaster_tui.ui.widgets.table_view import TableView

log = logging.getLogger(__name__)


class QueueScreen(ModeScreen):
    """Opened over Runs. It shows the files of the queue and changes them, nothing else."""

    BINDING_GROUP_TITLE = "Queue"
    LEAVE_KEY = ("esc", "back", "escape")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-tiny"), (20, "-short"), (32, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", id="queue-open", tooltip="Show its run on Train"),
        Binding("K,shift+up", "order(-1)", "Earlier", id="queue-earlier",
                tooltip="Start before the one above it"),
        Binding("J,shift+down", "order(1)", "Later", id="queue-later",
                tooltip="Start after the one below it"),
        Binding("s", "start", "Start now", id="queue-start",
                tooltip="Whatever else runs on its device, and though the queue is paused"),
        Binding("space", "pause", "Pause", id="queue-pause",
                tooltip="Start nothing new; what runs goes on"),
        Binding("space", "go_on", "Go on", id="queue-go-on", tooltip="Start what waits"),
        Binding("r", "again", "Again", id="queue-again",
                tooltip="Let a failed or stopped run wait again; it goes on from its last save"),
        Binding("d", "remove", "Remove", id="queue-remove", tooltip="Take it off the list"),
        Binding("plus,equals_sign", "slots(1)", "More", id="queue-more",
                tooltip="One more run at a time on its device"),
        Binding("minus", "slots(-1)", "Fewer", id="queue-fewer",
                tooltip="One run less at a time on its device"),
        Binding("c", "clear", "Clear ended", show=False, id="queue-clear",
                tooltip="Take all that is over off the list"),
        Binding("escape,Q", "leave", "Back", show=False, id="queue-back"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.view: QueueView | None = None
        self._doing: tuple[Any, ...] | None = None
        self._asked: set[str] = set()

    # -- layout ---------------------------------------------------------------------------------

    def body(self) -> Iterable[Widget]:
        """The list, and the entry under its cursor."""
        table = Panel(QueueTable(id="queue-table"), title="Queue", id="queue-panel")
        detail = Panel(QueueDetail(id="queue-detail"), title="Entry", id="queue-entry-panel")
        yield Container(table, detail, id="queue")

    @property
    def table(self) -> QueueTable:
        """The list."""
        return self.query_one(QueueTable)

    @property
    def queue(self) -> Queue:
        """The files."""
        return self.recaster.queue

    def on_mount(self) -> None:
        """The list has the focus."""
        self.table.focus()

    # -- showing --------------------------------------------------------------------------------

    def tick(self) -> None:
        """Read the files; only what changed is drawn."""
        view = self.view = QueueView.of(self.queue)
        runs = {run.run_id: run for run in self.recaster.supervisor.runs()}
        self.table.show(view, runs)
        supervisor = self.recaster.supervisor
        live = [r for r in supervisor.live_runs() if r.run_id not in supervisor.gone]
        panel = self.query_one("#queue-panel", Panel)
        state = view.state_text()
        panel.caption(
            title=f"Queue  {state}" if state else "Queue",
            subtitle=escape(
                f"{plural(view.waiting, 'run')} waiting · {view.slots_text(live)}".strip(" ·")
            ),
        )
        self._show_entry()
        for entry in view.entries:
            if entry.state is QueueState.RUNNING and entry.run_id not in runs:
                self._follow(entry)

    def _follow(self, entry: QueueEntry) -> None:
        """Watch a run that the keeper started, to show how far it is."""
        if entry.run_id not in self._asked:
            self._asked.add(entry.run_id)
            self.run_worker(self._hold(entry), exit_on_error=False)

    async def _hold(self, entry: QueueEntry) -> None:
        try:
            await self.recaster.supervisor.attach(entry.run_id, record=entry.record)
        except RecasterError as error:
            log.info("cannot follow %s: %s", entry.run_id, error)

    def _show_entry(self) -> None:
        view, entry = self.view, self.table.entry()
        if view is None:
            return
        run = self.recaster.supervisor.run(entry.run_id) if entry is not None else None
        detail = self.query_one(QueueDetail)
        detail.show(entry, run, paused=view.paused, problems=view.problems)
        title = f"{entry.model_name} ({entry.model_class.title})" if entry is not None else "Entry"
        self.query_one("#queue-entry-panel", Panel).caption(title=escape(title))
        doing = (entry.id, entry.state, entry.now) if entry is not None else ()
        if (*doing, view.paused) != self._doing:
            self._doing = (*doing, view.paused)
            self.refresh_bindings()

    def on_table_view_moved(self) -> None:
        """Another entry under the cursor."""
        self._show_entry()

    def on_table_view_chosen(self, event: TableView.Chosen) -> None:
        """A click on the row under the cursor."""
        self.action_open()

    # -- what can be done -----------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what makes sense for the entry under the cursor is bound."""
        if not self.is_mounted or self.view is None:
            return True
        entry = self.table.entry()
        state = entry.state if entry is not None else None
        match action:
            case "open":
                return entry is not None and bool(entry.run_id)
            case "order":
                return state is QueueState.WAITING and self.view.waiting > 1
            case "start":
                return state is QueueState.WAITING
            case "again":
                return state in (QueueState.FAILED, QueueState.STOPPED)
            case "remove" | "slots":
                return entry is not None
            case "pause":
                return not self.view.paused
            case "go_on":
                return self.view.paused
            case "clear":
                return any(e.state.over for e in self.view.entries)
        return True

    def _change(self, change: Callable[[], object], *, wake: bool = False) -> bool:
        """Change the files (a few milliseconds), then show them."""
        try:
            change()
        except RecasterError as error:
            self.notify(str(error), title="Queue", severity="error", timeout=10)
            return False
        finally:
            self.tick()
        if wake:
            self.recaster.wake_queue()
        return True

    def action_order(self, step: int) -> None:
        """Earlier or later."""
        if (entry := self.table.entry()) is not None:
            self._change(lambda: self.queue.move(entry.id, step))
            self.table.goto(entry.id)

    def action_start(self) -> None:
        """Now."""
        entry = self.table.entry()
        if entry is not None and self._change(lambda: self.queue.start_now(entry.id), wake=True):
            self.notify("it starts now", title=entry.model_name, timeout=4)

    def action_pause(self) -> None:
        """Start nothing new."""
        if self._change(lambda: self.queue.set_paused(True)):
            active = self.view.active if self.view is not None else 0
            text = f"{plural(active, 'run')} go on; " if active else ""
            self.notify(f"{text}nothing new is started", title="Queue paused", timeout=5)

    def action_go_on(self) -> None:
        """After a pause."""
        if self._change(lambda: self.queue.set_paused(False), wake=True):
            self.notify("what waits is started in its turn", title="Queue", timeout=4)

    def action_again(self) -> None:
        """Once more."""
        if (entry := self.table.entry()) is not None:
            self._change(lambda: self.queue.again(entry.id), wake=True)

    def action_slots(self, step: int) -> None:
        """How many at a time."""
        entry = self.table.entry()
        if entry is None:
            return
        count = self.queue.settings().slots_of(entry.slot) + step
        if not 1 <= count <= MOST_SLOTS:
            why = "space pauses the whole queue" if count < 1 else f"at most {MOST_SLOTS}"
            self.notify(why, title=f"Slots of {entry.slot}", timeout=4)
            return
        if self._change(lambda: self.queue.set_slots(entry.slot, count), wake=True):
            text = f"{plural(count, 'run')} at a time"
            self.notify(text, title=f"Slots of {device(entry)}", timeout=4)

    def action_clear(self) -> None:
        """Forget what is over."""
        self._change(self.queue.clear)

    def action_remove(self) -> None:
        """Take one off the list; asks first."""
        entry = self.table.entry()
        if entry is None:
            return
        if entry.state.over:  # nothing is lost with it
            self._change(lambda: self.queue.remove(entry.id))
            return
        text = (
            "Its run goes on by itself; it only leaves the list. x on Train stops it."
            if entry.state.active
            else "Its configuration leaves the list and will not be trained."
        )

        def answered(yes: bool | None) -> None:
            if yes:
                self._change(lambda: self.queue.remove(entry.id))

        self.app.push_screen(
            Confirm(f"Remove {entry.model_name} from the queue?", text, yes="Remove"), answered
        )

    def action_open(self) -> None:
        """Its run on the Train screen."""
        entry = self.table.entry()
        if entry is not None and entry.run_id:
            self.run_worker(self._open(entry), group="open", exclusive=True, exit_on_error=False)

    async def _open(self, entry: QueueEntry) -> None:
        app, root = self.recaster, Path(entry.workspace)
        try:
            if app.workspace is None or app.workspace.root != root:
                app.open_workspace(root)
                self.notify(str(root), title="Workspace", timeout=4)
            await app.supervisor.attach(entry.run_id, record=entry.record)
            self.dismiss()
            await app.open_run(entry.run_id)
        except RecasterError as error:
            self.notify(str(error), title="Cannot open", severity="error", timeout=10)

    def action_leave(self) -> None:
        """Back to the runs."""
        self.dismiss()

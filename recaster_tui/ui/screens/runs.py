"""The Runs screen: every run this machine remembers, and what can be done with it."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.markup import escape
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static

from recaster_tui.errors import BadInputError, RecasterError
from recaster_tui.files import expanded
from recaster_tui.protocol import CommandName
from recaster_tui.supervisor import Run, RunRecord, RunState, Supervisor, run_filter
from recaster_tui.ui import words
from recaster_tui.ui.run_list import SORTS, Choice, Listing
from recaster_tui.ui.screens.dialogs import AskFolder, AskTarget, Confirm, joined, plural
from recaster_tui.ui.screens.model_keys import ModelKeys, answer_timeout, model_bindings
from recaster_tui.ui.widgets.panel import Panel
from recaster_tui.ui.widgets.run_detail import RunDetail
from recaster_tui.ui.widgets.run_table import RunTable
from recaster_tui.ui.widgets.table_view import TableView

log = logging.getLogger(__name__)

_MANY = 2_000  # rows beyond which the list follows the filter only when nobody types
_REST = 0.2  # seconds
_FILTER_HINT = "words, or class:saehd its>10k loss<0.5 after:7d state:failed · f1: all"


class _Gone:
    """Asked anew each time: a filter is kept while workspaces come and go."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._supervisor.gone


class RunsScreen(ModelKeys):
    """The history, living runs among it."""

    BINDING_GROUP_TITLE = "Runs"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide"), (160, "-broad")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-tiny"), (20, "-short"), (32, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", id="runs-open", tooltip="Show the run on Train"),
        Binding("r", "resume", "Resume", id="runs-resume", tooltip="Train on with its model"),
        Binding("p", "pause", "Pause", id="runs-pause", tooltip="Keep the model in memory, wait"),
        Binding("p", "go_on", "Go on", id="runs-go-on", tooltip="After a pause"),
        Binding("x", "stop", "Stop", id="runs-stop", tooltip="Save and end the run"),
        Binding("w", "save", "Save", id="runs-save", tooltip="Save the model now"),
        Binding("c", "compare", "Compare", id="runs-compare", tooltip="The two marked runs"),
        *model_bindings("runs", show=False),
        Binding("R", "resume_with", "Resume with changes", show=False, id="runs-resume-with",
                tooltip="Load its configuration on Train; what the model fixes stays"),
        Binding("L", "living", "Living only", show=False, id="runs-living",
                tooltip="Only runs with a trainer: speed, ETA and curve of each"),
        Binding("m", "moved", "Workspace moved", show=False, id="runs-moved",
                tooltip="Say where the workspace of a vanished run is now"),
        Binding("l", "log", "Log", id="runs-log", tooltip="End of the trainer's log"),
        Binding("slash", "filter", "Filter", id="runs-filter", priority=True),
        Binding("a", "everywhere", "All", id="runs-all", tooltip="All workspaces or this one"),
        Binding("o", "order", "Sort", id="runs-sort", tooltip="By the next column"),
        Binding("space", "mark", "Mark", show=False, id="runs-mark", tooltip="For c and d"),
        Binding("O", "reverse", "Other direction", show=False, id="runs-reverse"),
        Binding("d", "forget", "Forget", show=False, id="runs-forget",
                tooltip="Remove from the history; no file of the workspace is touched"),
        Binding("Q", "queue", "Queue", show=False, id="runs-queue",
                tooltip="What waits for its turn, and in which order"),
        Binding("tab,shift+tab", "pane", "Other panel", show=False, id="runs-panel"),
        Binding("escape", "back", "Clear filter and marks", show=False, id="runs-back"),
    ]  # fmt: skip

    HELP_NOTES: ClassVar[tuple[str, tuple[tuple[str, str], ...]]] = (
        "Words of the filter",
        run_filter.HELP,
    )

    def __init__(self) -> None:
        super().__init__()
        self.query_text = ""
        self.wanted = run_filter.RunFilter()
        self.everywhere = False
        self.living_only = False
        self._listing = Listing()
        self._narrowing: Timer | None = None
        self._seen: tuple[Any, ...] = ()
        self._state: tuple[str, RunState] | None = None

    # -- layout ---------------------------------------------------------------------------------

    def body(self) -> Iterable[Widget]:
        """Table, and the run under its cursor."""
        filter_input = Input(placeholder="filter", id="runs-filter-input", compact=True)
        filter_input.display = False
        note = Static("", id="runs-filter-note", markup=False)
        note.display = False
        table = Panel(filter_input, note, RunTable(id="runs-table"), title="Runs", id="runs-panel")
        detail = Panel(RunDetail(id="run-detail"), title="Run", id="run-panel")
        yield Container(table, detail, id="runs")

    @property
    def table(self) -> RunTable:
        """The list."""
        return self.query_one(RunTable)

    @property
    def detail(self) -> RunDetail:
        """What is known of one run."""
        return self.query_one(RunDetail)

    def on_mount(self) -> None:
        """The list has the focus."""
        self.table.focus()
        self.detail.look = self.recaster.supervisor.look
        self.run_worker(self.recaster.supervisor.load_history(), exit_on_error=False)

    # -- showing --------------------------------------------------------------------------------

    def tick(self) -> None:
        """Read the supervisor; without news nothing is drawn."""
        app = self.recaster
        root = app.workspace.root if app.workspace else None
        supervisor = app.supervisor
        wanted = (
            supervisor.version,
            supervisor.loaded,
            root,
            self.wanted,
            self.everywhere,
            self.living_only,
            self.table.order,
        )
        if wanted == self._seen:
            self.table.update_visible()  # "5m ago" becomes "6m ago"
            return
        self._seen = wanted
        # Runs that live are shown wherever they are: that is what one wants to know of them.
        everywhere = self.everywhere or root is None or self.living_only
        choice = Choice(self.table.order, self.wanted, root, everywhere, self.living_only)
        shown = self._listing.arrange(supervisor, choice)
        elsewhere = self._listing.elsewhere
        table = self.table
        table.gone, table.costs = supervisor.gone, self._listing.costs
        if (table.everywhere, table.living_only) != (everywhere, self.living_only):
            table.everywhere, table.living_only = everywhere, self.living_only
            table.redraw()
        more = f"a shows {plural(elsewhere, 'run')} of other workspaces" if elsewhere else ""
        table.show(shown, supervisor.live_runs(), supervisor.history, self._hint(more), more)
        self._captions(len(shown), everywhere)
        self._show_detail()

    def _hint(self, more: str) -> str:
        if not self.recaster.supervisor.loaded:
            return "Reading the history …"
        if self.wanted:
            return f'No run fits "{self.wanted.text}". esc clears the filter.'
        if self.living_only:
            return "Nothing is training. L shows every run again."
        if more:
            return f"No runs in this workspace yet: 3, then s, starts one.\n{more}"
        return RunTable.EMPTY

    def _captions(self, count: int, everywhere: bool) -> None:
        panel = self.query_one("#runs-panel")
        where = "all workspaces" if everywhere else "this workspace"
        panel.border_title = f"Runs  {'living, ' if self.living_only else ''}{where}"
        order = self.table.order
        parts = [plural(count, "run")]
        if self._listing.living:
            parts.append(f"{self._listing.living} alive")
        if self.wanted:
            parts.append(escape(f"filter: {self.wanted.text}"))
        parts.append(f"by {SORTS[order.column][0]} {'↓' if order.descending else '↑'}")
        panel.border_subtitle = " · ".join(parts)

    def _show_detail(self) -> None:
        supervisor = self.recaster.supervisor
        record = self.table.record()
        run = supervisor.run(record.run_id) if record is not None else None
        gone = record is not None and record.run_id in supervisor.gone
        self.detail.show(record, run, supervisor.history, gone=gone)
        self.query_one("#run-panel").border_title = (
            f"Run  {record.run_id}" if record is not None else "Run"
        )
        state = (record.run_id, record.state) if record is not None else None
        if state != self._state:
            self._state = state
            self.refresh_bindings()

    def on_table_view_moved(self) -> None:
        """Another run under the cursor."""
        self._show_detail()

    def on_table_view_chosen(self, event: TableView.Chosen) -> None:
        """A click on the row under the cursor."""
        self.action_open()

    def on_table_view_heading(self, event: TableView.Heading) -> None:
        """A click on a title orders by it."""
        self.table.order = self.table.order.by(event.key)
        self._reorder()

    def _reorder(self) -> None:
        self.table.redraw()
        self.tick()

    # -- filter, order, marks -------------------------------------------------------------------

    @property
    def filter_input(self) -> Input:
        """The line above the table."""
        return self.query_one("#runs-filter-input", Input)

    def action_filter(self) -> None:
        """Type words."""
        self.filter_input.display = True
        self.set_focus(self.filter_input)  # at once: the next key may already be waiting
        self._note_filter("")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Each letter narrows; of thousands of runs only when the fingers rest."""
        self.query_text = event.value.strip()
        if self._narrowing is not None:
            self._narrowing.stop()
            self._narrowing = None
        if len(self.table.keys) > _MANY:
            self._narrowing = self.set_timer(_REST, self._narrow)
        else:
            self._narrow()

    def _narrow(self, *, typing: bool = True) -> None:
        """Filter by what stands in the line; the beginning of ``its>10`` hides nothing yet."""
        gone = _Gone(self.recaster.supervisor)
        try:
            wanted = run_filter.parse(self.query_text, gone=gone)
        except BadInputError as error:
            # Half a word is no mistake yet: the rows stay as they are, and the line says why.
            self._note_filter(f"{error.message}; {error.hint}" if error.hint else error.message)
            return
        self._note_filter("")
        self._apply(wanted)
        if typing and not self.table.keys and run_filter.begins_key(self.query_text):
            before = self.query_text.rpartition(" ")[0]
            self._apply(run_filter.parse(before, gone=gone))

    def _apply(self, wanted: run_filter.RunFilter) -> None:
        self.wanted = wanted
        self.tick()

    def _note_filter(self, problem: str) -> None:
        note = self.query_one("#runs-filter-note", Static)
        note.display = (
            bool(problem)
            or self.focused is self.filter_input
            or (self.filter_input.display and not self.query_text)
        )
        note.set_class(bool(problem), "-wrong")
        note.update(problem or _FILTER_HINT)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Back to the rows, filtered."""
        self._narrow(typing=False)
        self.filter_input.display = bool(self.query_text)
        self.query_one("#runs-filter-note").display = False
        self.table.focus()

    def action_back(self) -> None:
        """Clear the filter, then the marks."""
        if self.query_text or self.filter_input.display:
            self.filter_input.value = ""
            self.query_text, self.wanted = "", run_filter.RunFilter()
            self.filter_input.display = False
            self.query_one("#runs-filter-note").display = False
            self.table.focus()
            self.tick()
        elif self.table.marked:
            self.table.unmark()
            self.refresh_bindings()
        else:
            self.table.focus()

    def action_everywhere(self) -> None:
        """All workspaces, or the open one."""
        if self.recaster.workspace is None:
            self.notify("no workspace is open: all runs are shown", timeout=4)
            return
        self.everywhere = not self.everywhere
        self.tick()

    def action_living(self) -> None:
        """Runs with a trainer only, in whatever workspace; again for all."""
        self.living_only = not self.living_only
        self.tick()

    def action_order(self) -> None:
        """By the next column."""
        self.table.order = self.table.order.next()
        self._reorder()

    def action_reverse(self) -> None:
        """The other direction."""
        self.table.order = self.table.order.by(self.table.order.column)
        self._reorder()

    def action_mark(self) -> None:
        """Mark for comparing or forgetting."""
        self.table.mark()
        self.refresh_bindings()

    def action_pane(self) -> None:
        """Between the table and the run, to scroll it."""
        (self.detail if self.focused is self.table else self.table).focus()

    # -- what can be done -----------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what makes sense for the run under the cursor is bound."""
        if not self.is_mounted or not self.query(RunTable):
            return True
        if self.focused is not None and self.focused is self.filter_input:
            return action in ("back", "pane")
        record = self.table.record()
        state = record.state if record is not None else None
        match action:
            case "open" | "log" | "mark" | "forget":
                return record is not None
            case "resume" | "resume_with":
                return state is not None and state.over
            case "moved":
                return record is not None and record.run_id in self.recaster.supervisor.gone
            case "pause":
                return state is not None and state.live and state is not RunState.PAUSED
            case "go_on":
                return state is RunState.PAUSED
            case "stop" | "stop_unsaved" | "save" | "backup":
                return state is not None and state.live
            case "snapshot" | "snapshots":
                return record is not None
            case "compare":
                return len(self.table.keys) > 1
        return True

    def kept_model(self) -> Path | None:
        """The model of the run under the cursor."""
        if (record := self.table.record()) is None:
            return None
        return Path(record.workspace) / "model" / f"{record.model_name}.{record.model_class}"

    async def kept_run(self) -> Run | None:
        """The run under the cursor."""
        if (record := self.table.record()) is None:
            return None
        return await self.recaster.supervisor.attach(record.run_id, record=record)

    def action_open(self) -> None:
        """Show it on the Train screen."""
        if (record := self.table.record()) is not None:
            self.run_worker(self._open(record), group="open", exclusive=True, exit_on_error=False)

    async def _open(self, record: RunRecord) -> None:
        try:
            self._go_to_workspace(record)
            await self.recaster.open_run(record.run_id)
        except RecasterError as error:
            self.notify(str(error), title="Cannot open", severity="error", timeout=10)

    def _go_to_workspace(self, record: RunRecord) -> None:
        """A run of another workspace is shown in its own."""
        app, root = self.recaster, Path(record.workspace)
        if not record.missing and (app.workspace is None or app.workspace.root != root):
            app.open_workspace(root)
            self.notify(str(root), title="Workspace", timeout=4)

    def action_resume(self) -> None:
        """Train on."""
        if (record := self.table.record()) is not None:
            self.run_worker(
                self._resume(record), group="resume", exclusive=True, exit_on_error=False
            )

    async def _resume(self, record: RunRecord) -> None:
        target: int | None = None
        if 0 < record.target_iterations <= record.iteration:
            target = await self.app.push_screen_wait(
                AskTarget(record.model_name, record.target_iterations)
            )
            if target is None:
                return
        try:
            run = await self.recaster.supervisor.resume(record, target_iterations=target)
            self._go_to_workspace(record)
        except RecasterError as error:
            self.notify(str(error), title="Cannot resume", severity="error", timeout=12)
            return
        self.recaster.show_run(run)
        await self.recaster.switch_mode("train")

    def action_resume_with(self) -> None:
        """Load the configuration of the run into the form of Train."""
        if (record := self.table.record()) is not None:
            self.run_worker(self._resume_with(record), group="open", exclusive=True,
                            exit_on_error=False)  # fmt: skip

    async def _resume_with(self, record: RunRecord) -> None:
        from recaster_tui.ui.screens.train import TrainScreen

        app = self.recaster
        try:
            if record.run_id in app.supervisor.gone:
                if app.workspace is None:
                    raise BadInputError(
                        "its workspace is gone, and no other is open",
                        where=record.workspace,
                        hint="m says where it is now",
                    )
                app.show_run(None)
            else:
                self._go_to_workspace(record)
                app.show_run(await app.supervisor.attach(record.run_id, record=record))
        except RecasterError as error:
            self.notify(str(error), title="Cannot open", severity="error", timeout=10)
            return
        await app.switch_mode("train")
        if isinstance(app.screen, TrainScreen):
            app.screen.take_options(record)

    def action_moved(self) -> None:
        """Ask where the workspace is now."""
        if (record := self.table.record()) is not None:
            self.run_worker(self._moved(record), group="moved", exclusive=True,
                            exit_on_error=False)  # fmt: skip

    async def _moved(self, record: RunRecord) -> None:
        old = Path(record.workspace)
        while answer := await self.app.push_screen_wait(AskFolder(old)):
            try:
                new = expanded(answer)
                moved = await self.recaster.supervisor.relocate(old, new)
            except (RecasterError, OSError) as error:
                self.notify(str(error), title="Not found there", severity="error", timeout=10)
                continue
            self.notify(f"{plural(len(moved), 'run')} found in {new}", title=old.name, timeout=8)
            self.tick()
            return

    def _ask(self, name: CommandName, done: str, **args: Any) -> None:
        if (record := self.table.record()) is not None:
            self.run_worker(self._command(record, name, done, **args), exit_on_error=False)

    async def _command(self, record: RunRecord, name: CommandName, done: str, **args: Any) -> None:
        try:
            run: Run = await self.recaster.supervisor.attach(record.run_id, record=record)
            ack = await run.command(name, timeout=answer_timeout(run, name), **args)
        except RecasterError as error:
            self.notify(str(error), title=record.model_name, severity="error", timeout=10)
            return
        if ack.ok:
            self.notify(words.answer(ack.message) or done, title=record.model_name, timeout=4)
        else:
            title = f"{record.model_name}: {name} was refused"
            self.notify(ack.message, title=title, severity="error", timeout=10)
        self.tick()

    def action_pause(self) -> None:
        """Wait at the next iteration."""
        self._ask(CommandName.PAUSE, "paused; p goes on")

    def action_go_on(self) -> None:
        """After a pause."""
        self._ask(CommandName.RESUME, "training goes on")

    def action_save(self) -> None:
        """Save now."""
        self._ask(CommandName.SAVE, "the model is being saved")

    def action_compare(self) -> None:
        """Two marked runs; with one mark, that and the one under the cursor."""
        from recaster_tui.ui.screens.compare import CompareScreen

        chosen = list(self.table.marked)
        if len(chosen) == 1 and self.table.key not in (None, chosen[0]):
            chosen.append(str(self.table.key))
        if len(chosen) != 2:
            text = "mark two runs with space" if len(chosen) < 2 else "mark only two runs"
            self.notify(text, title="Compare", timeout=4)
            return
        records = [r for key in chosen if (r := self.table.record(key)) is not None]
        records.sort(key=lambda r: r.created)
        supervisor = self.recaster.supervisor
        runs = [supervisor.run(record.run_id) for record in records]
        gone = supervisor.gone
        self.app.push_screen(CompareScreen(records[0], records[1], runs, supervisor.history, gone))

    def action_queue(self) -> None:
        """What waits for its turn."""
        from recaster_tui.ui.screens.queue import QueueScreen

        self.app.push_screen(QueueScreen())

    def action_log(self) -> None:
        """What the trainer printed."""
        from recaster_tui.ui.screens.run_log import LogScreen

        if (record := self.table.record()) is not None:
            self.app.push_screen(LogScreen(record.folder.log, record.model_name))

    def action_forget(self) -> None:
        """Remove the marked runs, or the one under the cursor, from the history."""
        keys = self.table.marked or self.table.keys[self.table.cursor :][:1]
        records = [r for key in keys if (r := self.table.record(key)) is not None]
        if not records:
            return
        names = joined([f"{r.model_name} ({words.count(r.iteration)})" for r in records])
        text = (
            f"{names}\n\nOnly the entry in the history goes. Model, run folder and everything "
            "else on disk stay; the run comes back when it is started again."
        )
        title = f"Forget {plural(len(records), 'run')}?"

        def answered(yes: bool | None) -> None:
            if yes:
                self._forget(records)

        self.app.push_screen(Confirm(title, text, yes="Forget"), answered)

    def _forget(self, records: list[RunRecord]) -> None:
        for record in records:
            try:
                self.recaster.supervisor.forget(record.run_id)
            except RecasterError as error:
                self.notify(str(error), title=record.model_name, severity="error", timeout=8)
            except OSError as error:
                text = f"cannot change the history: {error}"
                self.notify(text, severity="error", timeout=8)
                break
        self.tick()

"""What a model can go back to, and everything that can be done with it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.markup import escape
from textual.widget import Widget
from textual.widgets import Input

from recaster_tui.checkpoints.lock import is_run, lock_holder
from recaster_tui.checkpoints.snapshots import RestorePoint, check_name
from recaster_tui.errors import BadInputError, RecasterError
from recaster_tui.files import expanded
from recaster_tui.supervisor import Run, RunState
from recaster_tui.ui import clock, snapshot_work, words
from recaster_tui.ui.screens.base import ModeScreen
from recaster_tui.ui.screens.dialog_words import AskWords, Line
from recaster_tui.ui.screens.dialogs import Confirm, plural
from recaster_tui.ui.widgets.panel import Panel
from recaster_tui.ui.widgets.project_tables import printable
from recaster_tui.ui.widgets.snapshot_table import SORTS, SnapshotDetail, SnapshotTable, arrange
from recaster_tui.ui.widgets.table_view import TableView

log = logging.getLogger(__name__)
T = TypeVar("T")

_LOOK_TICKS = 4  # who holds the model is looked up every so many ticks


class SnapshotsScreen(ModeScreen):
    """Generations, snapshots and backups of one model. The folder is the truth.

    Args:
        folder: the model's, ``model/<name>.<class>``.
        run: of this model, where the screen was opened from one.
    """

    BINDING_GROUP_TITLE = "Snapshots"
    LEAVE_KEY = ("esc", "back", "escape")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-tiny"), (20, "-short"), (32, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New", id="snapshots-new", tooltip="Keep the present under a name"),
        Binding("r", "restore", "Restore", id="snapshots-restore",
                tooltip="Go back to it; the present is kept first"),
        Binding("e", "rename", "Rename", id="snapshots-rename",
                tooltip="A backup is kept under a name"),
        Binding("t", "note", "Note", id="snapshots-note", tooltip="A few words to find it by"),
        Binding("d", "delete", "Delete", id="snapshots-delete", tooltip="For ever; asks first"),
        Binding("x", "export", "Export", id="snapshots-export",
                tooltip="A copy as a model folder of its own"),
        Binding("enter", "detail", "Detail", id="snapshots-detail",
                tooltip="All that is known of it, on the whole screen"),
        Binding("slash", "filter", "Filter", id="snapshots-filter", priority=True),
        Binding("o", "order", "Sort", id="snapshots-sort", tooltip="By the next column"),
        Binding("O", "reverse", "Other direction", show=False, id="snapshots-reverse"),
        Binding("tab,shift+tab", "pane", "Other panel", show=False, id="snapshots-panel"),
        Binding("escape,V", "leave", "Back", show=False, id="snapshots-back"),
    ]  # fmt: skip

    def __init__(self, folder: Path, run: Run | None = None) -> None:
        super().__init__()
        self.folder, self.run = folder, run
        self.query_text = ""
        self.busy = ""
        self._total = 0
        self._places: tuple[Path, ...] = ()
        self._points: list[RestorePoint] = []
        self._current: Path | None = None
        self._seen: tuple[float, ...] | None = None
        self._holder: str | None = None
        self._ticks = 0
        self._loaded = False

    # -- layout ---------------------------------------------------------------------------------

    def body(self) -> Iterable[Widget]:
        """The list, and what is under its cursor."""
        line = Input(placeholder="filter", id="snapshots-filter-input", compact=True)
        line.display = False
        table = Panel(line, SnapshotTable(id="snapshots-table"), title="Snapshots",
                      id="snapshots-panel")  # fmt: skip
        detail = Panel(SnapshotDetail(id="snapshot-detail"), title="", id="snapshot-panel")
        yield Container(table, detail, id="snapshots")

    @property
    def table(self) -> SnapshotTable:
        """The list."""
        return self.query_one(SnapshotTable)

    @property
    def detail(self) -> SnapshotDetail:
        """What is known of one."""
        return self.query_one(SnapshotDetail)

    @property
    def filter_input(self) -> Input:
        """The line above the list."""
        return self.query_one("#snapshots-filter-input", Input)

    def on_mount(self) -> None:
        """The list has the focus."""
        self.table.focus()
        self.table.hint = "reading …"
        self.reload()

    # -- showing --------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the folder again, in a thread."""
        load: Any = self._load  # not a coroutine yet: one that is replaced is never begun
        self.run_worker(load, group="load", exclusive=True, exit_on_error=False)

    async def _load(self) -> None:
        def read() -> tuple[tuple[float, ...], list[RestorePoint], Path | None]:
            seen = snapshot_work.signature(self.folder)
            points = snapshot_work.all_points(self.folder)
            return seen, points, snapshot_work.current_generation(self.folder)

        self._seen, self._points, self._current = await asyncio.to_thread(read)
        self._loaded = True
        self._look()
        self._show()

    def tick(self) -> None:
        """Look whether the folder changed; tell how far a copy is."""
        if self._loaded and snapshot_work.signature(self.folder) != self._seen:
            self.reload()
        self._ticks += 1
        if self._ticks % _LOOK_TICKS == 0:
            self._look()
        self._captions()
        self.table.update_visible()

    def _look(self) -> None:
        if not self.busy:  # else it may be we ourselves
            self._holder = lock_holder(self.folder)

    def _show(self) -> None:
        shown = arrange(self._points, self.table.order, self.query_text)
        hint = f'None fits "{self.query_text}". esc clears the filter.' if self.query_text else ""
        more = "" if any(p.kind != "generation" for p in shown) or self.query_text else (
            "n keeps the present under a name, for good"
        )  # fmt: skip
        self.table.show(shown, self._current, hint, more)
        self._captions()
        self._show_detail()

    def _show_detail(self) -> None:
        point = self.table.point
        name = self.table.name_of(point) if point is not None else ""
        self.detail.show(point, name, self._present())
        self.query_one("#snapshot-panel", Panel).caption(title=escape(name))
        self.refresh_bindings()

    def _present(self) -> RestorePoint | None:
        return next((p for p in self._points if p.path == self._current), None)

    def _captions(self) -> None:
        panel = self.query_one("#snapshots-panel", Panel)
        model = printable(self.folder.name)
        held = ""
        if self._holder:
            run = self.recaster.supervisor.run(self._holder)
            state = run.state.value if run is not None else "training"
            held = f"  {state}" if is_run(self._holder) else f"  in use: {self._holder}"
        panel.caption(title=escape(f"Snapshots of {model}{held}"), subtitle=escape(self._summary()))

    def _summary(self) -> str:
        if self.busy:
            done = snapshot_work.copied_bytes(self._places)
            if not done or not self._total:
                return f"{self.busy} …"
            share = min(99, 100 * done // self._total)
            return f"{self.busy}  {words.size(done)} of {words.size(self._total)}  {share}%"
        kinds = [p.kind for p in self._points]
        parts = [
            plural(kinds.count("snapshot"), "snapshot"),
            plural(kinds.count("backup"), "backup"),
        ]
        total = words.size(sum(p.bytes for p in self._points))
        parts.append(f"{total} in all")
        if self.query_text:
            parts.append(f"filter: {self.query_text}")
        order = self.table.order
        parts.append(f"by {SORTS[order.column][0]} {'↓' if order.descending else '↑'}")
        return " · ".join(parts)

    # -- moving about ---------------------------------------------------------------------------

    def on_table_view_moved(self) -> None:
        """Another row."""
        self._show_detail()

    def on_table_view_chosen(self, event: TableView.Chosen) -> None:
        """A click on the row under the cursor."""
        self.action_detail()

    def on_table_view_heading(self, event: TableView.Heading) -> None:
        """A click on a title orders by it."""
        self.table.order = self.table.order.by(event.key)
        self._reorder()

    def _reorder(self) -> None:
        self.table.redraw()
        self._show()

    def action_order(self) -> None:
        """By the next column."""
        self.table.order = self.table.order.next()
        self._reorder()

    def action_reverse(self) -> None:
        """The other direction."""
        self.table.order = self.table.order.by(self.table.order.column)
        self._reorder()

    def action_filter(self) -> None:
        """Type words."""
        self.remove_class("-detail")
        self.filter_input.display = True
        self.set_focus(self.filter_input)  # at once: the next key may already be waiting

    def on_input_changed(self, event: Input.Changed) -> None:
        """Each letter narrows."""
        self.query_text = event.value.strip()
        self._show()

    def on_input_submitted(self) -> None:
        """Back to the rows, filtered."""
        self.filter_input.display = bool(self.query_text)
        self.table.focus()

    def action_detail(self) -> None:
        """The detail alone, and back."""
        if self.table.point is None:
            return
        alone = not self.has_class("-detail")
        self.set_class(alone, "-detail")
        (self.detail if alone else self.table).focus()

    def action_pane(self) -> None:
        """Between list and detail, to scroll it."""
        if self.has_class("-tiny") or self.has_class("-detail"):
            self.action_detail()
            return
        (self.detail if self.focused is self.table else self.table).focus()

    def action_leave(self) -> None:
        """Out of the detail, the filter, the screen."""
        if self.has_class("-detail"):
            self.action_detail()
        elif self.query_text or self.filter_input.display:
            self.filter_input.value = ""
            self.filter_input.display = False
            self.table.focus()
        else:
            self.dismiss(None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what can be done with the row is bound."""
        if not self.is_mounted or not self.query(SnapshotTable):
            return True
        if self.focused is not None and self.focused is self.filter_input:
            return action in ("leave", "pane")
        point = self.table.point
        match action:
            case "restore" | "export" | "detail" | "rename" | "note" | "delete":
                return point is not None
            case "new":
                return self._current is not None
        return True

    # -- work -----------------------------------------------------------------------------------

    def _work(
        self,
        doing: str,
        work: Callable[[], Awaitable[T]],
        done: Callable[[T], str],
        *,
        total: int = 0,
        places: tuple[Path, ...] = (),
    ) -> None:
        """Do *work* beside the screen and say how it ended. One thing at a time."""
        if self.busy:
            self.notify(f"wait: {self.busy}", severity="warning", timeout=4)
            return
        self.busy, self._total = doing, total
        self._places = places or tuple(self.folder / n for n in ("snapshots", "generations"))
        # The app's: who leaves the screen does not stop a copy half way.
        self.app.run_worker(self._do(doing, work, done), exit_on_error=False)

    async def _do(
        self, doing: str, work: Callable[[], Awaitable[T]], done: Callable[[T], str]
    ) -> None:
        app = self.recaster
        try:
            result = await work()
        except RecasterError as error:
            app.notify(str(error), title=f"Not done: {doing}", severity="error", timeout=15)
        else:
            app.notify(done(result), title=doing.capitalize(), timeout=8)
        finally:
            self.busy = ""
            if self.is_mounted and self.is_attached:
                self.reload()

    def action_new(self) -> None:
        """Keep the present under a name."""
        self.run_worker(self._new(None), exit_on_error=False)

    def action_rename(self) -> None:
        """Another name; what has none is kept under one."""
        point = self.table.point
        if point is None:
            return
        work = self._rename(point) if point.kind == "snapshot" else self._new(point)
        self.run_worker(work, exit_on_error=False)

    async def _new(self, source: RestorePoint | None) -> None:
        run = snapshot_work.trainer_of(self.recaster.supervisor, self.folder)
        present = self._present()
        at = source.iteration if source is not None else (
            run.iteration if run is not None else present.iteration if present else 0
        )  # fmt: skip
        answer = await ask_snapshot(self, self.folder, at, source=source)
        if answer is None:
            return
        size = source.bytes if source is not None else present.bytes if present else 0
        name, note = answer["name"], answer["note"]
        supervisor = self.recaster.supervisor
        self._work(
            "keeping a snapshot",
            lambda: snapshot_work.keep(supervisor, self.folder, name, note, source),
            str,
            # A trainer saves first: a generation, then its copy.
            total=size if source is not None or run is None else 2 * size,
        )

    async def _rename(self, point: RestorePoint) -> None:
        def check(values: dict[str, str]) -> None:
            check_name(self.folder, values["name"], but=point)

        answer = await self.app.push_screen_wait(
            AskWords(
                "Rename",
                f"The snapshot of iteration {words.count(point.iteration)} is called",
                [Line("name", "name", point.name)],
                done="renames",
                check=check,
            )
        )
        if answer is not None and answer["name"] != point.name:
            name = answer["name"]
            self._work(
                "renaming",
                lambda: snapshot_work.change(self.folder, point, name=name),
                lambda p: f"'{point.name}' is called '{p.name}' now",
            )

    def _own(self, what: str) -> RestorePoint | None:
        """The row, where it is a snapshot or a backup; else it is said why not."""
        point = self.table.point
        if point is not None and point.kind == "generation":
            name = self.table.name_of(point)
            text = f"{name} has no {what}: later saves replace it; e keeps it"
            self.notify(text, timeout=5)
            return None
        return point

    def action_note(self) -> None:
        """A few words."""
        point = self._own("note")
        if point is None:
            return

        def answered(answer: dict[str, str] | None) -> None:
            if answer is not None and answer["note"] != point.note:
                self._work(
                    "writing the note",
                    lambda: snapshot_work.change(self.folder, point, note=answer["note"]),
                    lambda p: p.note or "the note is empty now",
                )

        keeps = " A backup with a note is never thinned out." if point.kind == "backup" else ""
        self.app.push_screen(
            AskWords(
                "Note",
                f"{self.table.name_of(point)}, iteration {words.count(point.iteration)}.{keeps}",
                [Line("note", "note", point.note)],
                done="keeps it",
            ),
            answered,
        )

    def action_delete(self) -> None:
        """For ever; asks first."""
        point = self._own("need to be deleted")
        if point is None:
            return
        what = f"{point.kind} '{printable(point.name)}'"
        note = f"\n{printable(point.note)}" if point.note else ""
        text = (
            f"The {what} of iteration {words.count(point.iteration)}, made "
            f"{clock.stamp(point.created)} ({words.size(point.bytes)}), is removed from the disk. "
            f"There is no way back.{note}"
        )

        def answered(yes: bool | None) -> None:
            if yes:
                self._work(
                    "deleting",
                    lambda: snapshot_work.delete(self.folder, point),
                    lambda _: f"the {what} is gone",
                )

        self.app.push_screen(Confirm(f"Delete this {point.kind}?", text, yes="Delete"), answered)

    def action_export(self) -> None:
        """A copy as a model folder of its own."""
        if self.table.point is not None:
            self.run_worker(self._export(self.table.point), exit_on_error=False)

    async def _export(self, point: RestorePoint) -> None:
        root = self.folder.parent.parent

        def where(values: dict[str, str]) -> Path:
            return root / expanded(values["folder"])

        def check(values: dict[str, str]) -> None:
            if not values["folder"]:
                raise BadInputError("name a folder")
            if (where(values) / self.folder.name).exists():
                raise BadInputError(f"{self.folder.name} is there already", hint="another folder")

        answer = await self.app.push_screen_wait(
            AskWords(
                "Export",
                f"Iteration {words.count(point.iteration)} ({words.size(point.bytes)}) is copied "
                f"as {self.folder.name} into a folder, ready for another workspace's model/. "
                f"Relative to {root}:",
                [Line("folder", "folder", f"exports/{point.iteration:09d}")],
                done="copies",
                check=check,
            )
        )
        if answer is None:
            return
        target = where(answer)
        self._work(
            "exporting",
            lambda: snapshot_work.export(self.folder, point, target),
            str,
            total=point.bytes,
            places=(target, target / f".tmp-{self.folder.name}" / "generations"),
        )

    def action_restore(self) -> None:
        """Go back."""
        if self.table.point is not None:
            self.run_worker(self._restore(self.table.point), exit_on_error=False)

    async def _restore(self, point: RestorePoint) -> None:
        present = self._present()
        if point.path == self._current:
            self.notify("this is what the model is now", title="Restore", timeout=4)
            return
        if (why := refusal(self)) is not None:
            self.notify(why, title="Restore is refused", severity="error", timeout=12)
            return
        kept = (
            f"What it is now, iteration {words.count(present.iteration)}, is kept as a snapshot "
            f"first ({words.size(present.bytes)})."
            if present is not None
            else "What it is now cannot be read, and is not kept."
        )
        text = (
            f"The model {self.folder.name} goes to iteration {words.count(point.iteration)}: "
            f"{self.table.name_of(point)}, made {clock.stamp(point.created)}.\n\n{kept} The next "
            "start goes on from there; the curve ends there, too."
        )
        if not await self.app.push_screen_wait(Confirm("Restore?", text, yes="Restore")):
            return
        supervisor = self.recaster.supervisor

        self._work(
            "restoring",
            lambda: snapshot_work.restore(supervisor, self.folder, point),
            lambda r: (
                f"the model is at iteration {words.count(r.generation.iteration)} again"
                + (f"; what was is kept as '{r.kept.name}'" if r.kept is not None else "")
            ),
            total=point.bytes + (present.bytes if present is not None else 0),
        )


def refusal(screen: SnapshotsScreen) -> str | None:
    """Who trains the model, in words; None where it may be restored."""
    run = snapshot_work.trainer_of(screen.recaster.supervisor, screen.folder)
    if run is not None:
        who = f"process {run.process.pid} on {run.process.host}" if run.process else "a trainer"
        since = clock.stamp(run.process.started if run.process else run.spec.created)
        return (
            f"this model is being trained by {who}, run {run.run_id} ({run.state.value}, iteration "
            f"{words.count(run.iteration)}), since {since}\n  hint: stop that run first (x on "
            "Train or Runs), then restore"
        )
    return None


async def ask_snapshot(
    screen: ModeScreen, folder: Path, iteration: int, *, source: RestorePoint | None = None
) -> dict[str, str] | None:
    """Name and note of a new snapshot; None = not now."""

    def check(values: dict[str, str]) -> None:
        check_name(folder, values["name"])

    run = snapshot_work.trainer_of(screen.recaster.supervisor, folder)
    if source is not None:
        what = f"Iteration {words.count(iteration)} ({source.kind}) is kept under a name, for good."
    elif run is not None:
        after = "it stays paused" if run.state is RunState.PAUSED else "training goes on"
        what = f"{run.spec.model_name} is saved now and kept under a name; {after}."
    else:
        what = f"Iteration {words.count(iteration)}, the last save, is kept under a name, for good."
    # A trainer saves where it is by then.
    moving = source is None and run is not None and run.state is not RunState.PAUSED
    at = None if moving else iteration
    name = await asyncio.to_thread(snapshot_work.suggested_name, folder, at)
    note = source.note if source is not None else ""
    return await screen.app.push_screen_wait(
        AskWords(
            "New snapshot",
            what,
            [Line("name", "name", name), Line("note", "note", note, "what is special about it")],
            done="keeps it",
            check=check,
        )
    )

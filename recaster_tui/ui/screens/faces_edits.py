"""What can be done with faces: order, filter, marks, trash, undo, comparing."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from textual.containers import Container
from textual.timer import Timer
from textual.widgets import Input, Static

from recaster_tui.errors import BadInputError, RecasterError
from recaster_tui.jobs import Silent
from recaster_tui.ui import face_facts
from recaster_tui.ui.coverage import Cell, coverage
from recaster_tui.ui.face_picture import Overlay
from recaster_tui.ui.face_side import FaceSide, Order
from recaster_tui.ui.screens.dialogs import Confirm, plural
from recaster_tui.ui.screens.faces_base import MASK_OVERLAYS, FacesBase

log = logging.getLogger(__name__)

_TYPING = 0.15  # seconds of quiet until a filter that is typed is applied
_ASK_FROM = 100  # faces from which moving to the trash is asked about, undo or not


class FacesEdits(FacesBase):
    """Actions on the faces of one side."""

    def __init__(self) -> None:
        super().__init__()
        self._typing: Timer | None = None
        self._busy = ""

    # -- panels ---------------------------------------------------------------------------------

    def action_side(self, step: int) -> None:
        """Source or destination."""
        self.work_with("dst" if self.at_side == "src" else "src")

    def work_with(self, side: str) -> None:
        """Make a side the one worked with."""
        self.at_side = side
        for name in ("src", "dst"):
            self.set_class(name == side, f"-side-{name}")
        self.remove_class("-detail")
        self.grid.focus()
        self.show_face()
        self.refresh_bindings()

    def on_descendant_focus(self) -> None:
        """A click on the other side works with it."""
        for name in ("src", "dst"):
            if self.focused is self.grid_of(name) and name != self.at_side:
                self.work_with(name)

    def action_both(self) -> None:
        """Both sides, or one."""
        self.toggle_class("-both")
        self._place_detail()

    def action_detail(self) -> None:
        """The face's panel instead of the grid (narrow), or not at all (wide)."""
        if self.has_class("-narrow"):
            self.toggle_class("-detail")
        else:
            self.toggle_class("-no-detail")
        self.call_after_refresh(self.show_face)

    def action_overlay(self, what: str) -> None:
        """Draw landmarks or masks over the face, or not."""
        wanted = frozenset({Overlay.LANDMARKS}) if what == "landmarks" else MASK_OVERLAYS
        on = bool(self.overlays & wanted)
        self.overlays = self.overlays - wanted if on else self.overlays | wanted
        self.show_face()

    def action_frame(self) -> None:
        """The frame a face is from, or the face."""
        self.frame_wanted = not self.frame_wanted
        self.show_face()

    def action_open(self) -> None:
        """The face alone."""
        from recaster_tui.ui.screens.faces_full import FaceScreen

        if self.face is not None:
            self.app.push_screen(FaceScreen(self), lambda _: self.show_face())

    def action_refresh(self) -> None:
        """Read both sides again."""
        for name, side in self.sides.items():
            face_facts.forget(side.folder)
            self.reload(name)

    # -- order ----------------------------------------------------------------------------------

    def action_order(self) -> None:
        """Choose what to order by."""
        from recaster_tui.ui.screens.faces_sort import SortMenu, sort_choices

        side = self.side
        if side is not None and side.catalog is not None:
            self.app.push_screen(SortMenu(sort_choices(side), side.order), self._take_order)

    def _take_order(self, order: Order | None) -> None:
        side = self.side
        if order is None or side is None:
            return
        if order.method:
            self.run_worker(
                self._run_method(side, order), group="faces-sort", exclusive=True,
                exit_on_error=False,
            )  # fmt: skip
            return
        self._set_order(side, order)

    def _set_order(self, side: FaceSide, order: Order) -> None:
        side.order = order
        side.forget_values()
        side.arrange()
        self.rearranged(side.side)

    async def _run_method(self, side: FaceSide, order: Order) -> None:
        report = _Watched(lambda text: self.panel_note(side.side, text))
        self._sorting = report
        self.refresh_bindings()
        try:
            done, dropped = await asyncio.to_thread(side.run_method, order, report)
        except RecasterError as error:
            self.notify(str(error), title="Cannot sort", severity="error", timeout=10)
            return
        finally:
            self._sorting = None
            self._captions(side.side)
            self.refresh_bindings()
        if report.stopped or self.sides.get(side.side) is not side:
            return
        self._set_order(side, done)
        if dropped:
            text = (
                f"DeepFaceLab's method would drop {plural(len(dropped), 'face')}; they stand "
                "last. Nothing was moved."
            )
            self.notify(text, title=order.label, timeout=8)

    _sorting: "_Watched | None" = None

    def panel_note(self, name: str, text: str) -> None:
        """Tell in the frame of a side; from any thread."""
        self.app.call_later(self._note, name, text)

    def _note(self, name: str, text: str) -> None:
        from recaster_tui.ui.widgets.panel import Panel

        self.query_one(f"#{name}-panel", Panel).caption(subtitle=text)

    def action_reverse(self) -> None:
        """The other direction."""
        if (side := self.side) is not None and side.catalog is not None:
            side.turn()
            side.arrange()
            self.rearranged(side.side)

    # -- filter ---------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Type what to show. The line is made now: see tests/ui/test_start.py."""
        side, line = self.side, self.query_one("#faces-filter-line", Container)
        if side is None or side.catalog is None or not len(side.catalog):
            return
        if line.children:
            self.set_focus(self.query_one("#faces-filter-input", Input))
            return
        field = Input(
            side.filter_text,
            placeholder="yaw>20  sharp<0.3  pose:left  finding:blurred  -marked  name:0012",
            id="faces-filter-input",
            compact=True,
        )
        field.key_hints = (("enter", "done"), ("esc", "done, again: clear"))  # type: ignore[attr-defined]
        problem = Static("", id="faces-filter-problem", markup=False)
        line.mount(Static("/", id="faces-filter-slash"), field, problem)
        line.display = True
        self.set_focus(field)  # at once: the next key may already be waiting

    def on_input_changed(self, event: Input.Changed) -> None:
        """Each letter narrows, after a moment; what is wrong is said."""
        if event.input.id != "faces-filter-input":
            return
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(_TYPING, lambda: self._filter(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Back to the faces, filtered."""
        if event.input.id != "faces-filter-input":
            return
        if self._typing is not None:
            self._typing.stop()
        if self._filter(event.value):
            self._close_filter()

    def _filter(self, text: str) -> bool:
        side, problem = self.side, ""
        if side is None:
            return False
        try:
            if text.strip() != side.filter_text:
                side.set_filter(text)
                keep = self._names_from_cursor(side.side)
                side.arrange()
                self.rearranged(side.side, keep)
        except BadInputError as error:
            near = error.hint if error.hint and error.hint.startswith("did you mean") else ""
            problem = f"{error.message} · {near}" if near else error.message
        for label in self.query("#faces-filter-problem").results(Static):
            label.update(problem)
        return not problem

    def show_filter(self, text: str) -> None:
        """Filter by *text*, as if it had been typed."""
        if not self._filter(text):
            self.notify(f"cannot filter by {text}", severity="warning")

    def _close_filter(self) -> None:
        line = self.query_one("#faces-filter-line", Container)
        line.display = False
        line.remove_children()
        self.grid.focus()

    def action_back(self) -> None:
        """Step out: range, filter line, filter, marks."""
        side, grid = self.side, self.grid
        line = self.query_one("#faces-filter-line", Container)
        if grid.range_from is not None:
            grid.range_from = None
            grid.update_captions()
        elif self._sorting is not None:
            self._sorting.stopped = True
        elif line.children:
            self._close_filter()
        elif self.has_class("-detail"):
            self.remove_class("-detail")
            grid.focus()
        elif self.hide_jobs():
            pass
        elif side is not None and side.filter_text:
            self._filter("")
        elif side is not None and len(side.marked):
            self.action_mark_none()
        else:
            grid.focus()

    def hide_jobs(self) -> bool:
        """Hide what ended jobs said; whether there was something."""
        return False

    # -- marks ----------------------------------------------------------------------------------

    def action_mark(self) -> None:
        """Mark the face, or the range that was begun."""
        side, grid = self.side, self.grid
        if side is None or grid.face is None or grid.faces is None:
            return
        if grid.range_from is not None:
            places = grid.chosen()
            side.mark(grid.faces[places.start : places.stop].tolist())
            grid.range_from = None
            grid.update_captions()
        else:
            side.mark([grid.face], not side.is_marked(grid.face))
            grid.update_captions([grid.cursor])
        self._marks_changed()

    def action_range(self) -> None:
        """Begin a range, or end it."""
        grid = self.grid
        if grid.range_from is not None:
            self.action_mark()
        elif grid.face is not None:
            grid.range_from = grid.cursor
            grid.update_captions([grid.cursor])

    def action_mark_all(self) -> None:
        """All faces that are shown."""
        if (side := self.side) is not None:
            side.mark(side.shown.tolist())
            self._all_marks_changed()

    def action_invert(self) -> None:
        """Marked ones become unmarked, and the other way round."""
        if (side := self.side) is not None:
            side.invert_marks()
            self._all_marks_changed()

    def action_mark_none(self) -> None:
        """No face, shown or not."""
        if (side := self.side) is not None:
            side.mark(side.marked.tolist(), False)
            self._all_marks_changed()

    def _all_marks_changed(self) -> None:
        self.grid.range_from = None
        self.grid.update_captions()
        self._marks_changed()

    def _marks_changed(self) -> None:
        self._captions(self.at_side)
        self.refresh_bindings()

    # -- edits ----------------------------------------------------------------------------------

    def action_trash(self) -> None:
        """Move the marked faces to the trash, or the one under the cursor."""
        side = self.side
        if side is None or side.catalog is None:
            return
        faces = side.targets(self.face)
        if not faces:
            return
        names = side.names(faces)

        def answered(yes: bool | None) -> None:
            if yes:
                self.edit(side, lambda: self._trash(side, names))

        if len(names) < _ASK_FROM:
            answered(True)
            return
        hidden = len(set(faces) - set(side.shown.tolist()))
        text = "No file is deleted: u brings them back, and so does the trash (T)."
        if hidden:
            text = f"{hidden:,} of them are not shown by the filter.\n\n{text}"
        title = f"Move {plural(len(names), 'marked face')} to the trash?"
        self.app.push_screen(Confirm(title, text, yes="Move"), answered)

    def _trash(self, side: FaceSide, names: list[str], reason: str = "") -> str:
        assert side.edits is not None
        side.edits.trash(names, reason)
        return f"{plural(len(names), 'face')} moved to the trash; u undoes it"

    def action_undo(self) -> None:
        """Take back the last edit of this side."""
        if (side := self.side) is not None and (edits := side.edits) is not None:
            self.edit(side, lambda: _said(edits.undo(), "nothing to undo"))

    def action_redo(self) -> None:
        """Do again what was undone."""
        if (side := self.side) is not None and (edits := side.edits) is not None:
            self.edit(side, lambda: _said(edits.redo(), "nothing to redo"))

    def edit(self, side: FaceSide, work: Callable[[], str]) -> None:
        """Run *work*, which says what it did, in a thread; then read the side again."""
        self.run_worker(self._edit(side, work), group="faces-edit", exit_on_error=False)

    async def _edit(self, side: FaceSide, work: Callable[[], str]) -> None:
        self.keep_cursor_near(side.side)
        try:
            said = await asyncio.to_thread(work)
        except RecasterError as error:
            self.notify(str(error), title="Not done", severity="error", timeout=12)
        except OSError as error:
            text = f"{error.strerror or error}: {error.filename or side.folder}"
            self.notify(text, title="Not done", severity="error", timeout=12)
        except Exception as error:  # whatever it was, the screen goes on
            log.exception("editing %s", side.folder)
            self.notify(f"unexpected: {error}", title="Not done", severity="error", timeout=12)
        else:
            self.notify(said, timeout=5)
        face_facts.forget(side.folder)
        if self.sides.get(side.side) is side:
            self.reload(side.side)

    def action_rename(self) -> None:
        """Number the files in the order shown."""
        side = self.side
        if side is None or side.catalog is None or not len(side.shown):
            return
        if len(side.shown) < len(side.catalog):
            self.notify("only all faces can be numbered: esc clears the filter", timeout=6)
            return
        names = side.names(side.shown.tolist())

        def work() -> str:
            from recaster_tui.faces.sorting import new_names

            assert side.edits is not None
            pairs = {old: new for old, new in new_names(names).items() if old != new}
            side.edits.rename(pairs, f"sorted by {side.order.label}")
            return f"{plural(len(names), 'face')} numbered; u gives their names back"

        def answered(yes: bool | None) -> None:
            if yes:
                self.edit(side, work)

        text = (
            f"{names[0]} becomes 00000.jpg, and so on to {len(names) - 1:05d}.jpg, in the order "
            f"by {side.order.label} {side.order.arrow}. The frame a face is from stays in its "
            "metadata. u gives the names back."
        )
        title = f"Rename {plural(len(names), 'file')}?"
        self.app.push_screen(Confirm(title, text, yes="Rename"), answered)

    # -- other views ----------------------------------------------------------------------------

    def action_compare(self) -> None:
        """Two faces side by side."""
        from recaster_tui.ui.screens.faces_compare import ComparedFaces

        chosen: list[tuple[FaceSide, int]] = []
        for name in ("src", "dst"):
            if (side := self.sides.get(name)) is not None:
                chosen += [(side, face) for face in side.marked.tolist()[:3]]
        side, face = self.side, self.face
        if len(chosen) == 1 and side is not None and face is not None:
            chosen += [(side, face)] if chosen[0] != (side, face) else []
        if len(chosen) != 2:
            text = "mark two faces with space" if len(chosen) < 2 else "mark only two faces"
            self.notify(f"{text} (of either side)", title="Compare", timeout=4)
            return
        self.app.push_screen(ComparedFaces(self, chosen[0], chosen[1]))

    def action_poses(self) -> None:
        """The map of poses of both sides."""
        from recaster_tui.ui.screens.faces_poses import PosesScreen

        src, dst = self.sides.get("src"), self.sides.get("dst")
        if src is None or dst is None:
            return
        made = coverage(src.poses(), dst.poses())
        self.app.push_screen(PosesScreen(made, bool(self._reading)), self._take_cell)

    def _take_cell(self, chosen: tuple[Cell, str] | None) -> None:
        if chosen is None:
            return
        cell, side = chosen
        self.work_with(side)
        self.show_filter(cell.filter_text)

    def action_prune(self) -> None:
        """Go through what the check proposes to drop."""
        from recaster_tui.ui.screens.faces_prune import PruneScreen

        side = self.side
        if side is None or side.catalog is None:
            return
        if side.check is None:
            self.notify("c checks the faces first; then there is a list", title="Prune", timeout=6)
            return
        there = [p for p in side.check.proposals if side.catalog.index(p.name) is not None]
        if not there:
            self.notify("the check proposes to drop none of these faces", title="Prune", timeout=6)
            return

        def answered(names: list[str] | None) -> None:
            if names:
                self.edit(side, lambda: self._trash(side, names, "proposed by the check"))

        self.app.push_screen(PruneScreen(self, side, there), answered)

    def action_trashed(self) -> None:
        """What is in the trash."""
        from recaster_tui.ui.screens.faces_trash import TrashScreen

        side = self.side
        if side is None or (edits := side.edits) is None:
            return
        try:
            names = edits.trashed()
        except (RecasterError, OSError) as error:
            self.notify(str(error), title="Trash", severity="error", timeout=10)
            return
        if not names:
            self.notify(f"no face of the {side.name} is in the trash", title="Trash", timeout=5)
            return

        def answered(chosen: list[str] | None) -> None:
            if not chosen:
                return

            def work() -> str:
                edits.restore(chosen)
                return f"{plural(len(chosen), 'face')} brought back"

            self.edit(side, work)

        self.app.push_screen(TrashScreen(side, names), answered)

    def action_damaged(self) -> None:
        """Files that are no usable faces, and why."""
        from recaster_tui.faces.faceset import Skipped
        from recaster_tui.ui.screens.skipped import SkippedScreen

        items: list[tuple[str, Any]] = []
        for side in self.sides.values():
            if (catalog := side.catalog) is None:
                continue
            reasons = {s.name: s.message for s in side.check.damaged} if side.check else {}
            for face in side.damaged:
                code = catalog.problem(face) or ""
                name = side.shown_name(face)
                reason = reasons.get(catalog.names[face]) or _reason(catalog, face) or code
                items.append((side.name, Skipped(name, code, reason)))
        if items:
            self.app.push_screen(SkippedScreen(items))

    def action_edit_mask(self) -> None:
        """Polygons of the faces shown, from the one under the cursor on."""
        from recaster_tui.ui.screens.mask_editor import MaskEditor

        side, grid = self.side, self.grid
        if side is None or side.catalog is None or side.edits is None or grid.faces is None:
            return
        if grid.face is None:
            return
        faces = [face for face in grid.faces.tolist() if not side.catalog.problem(face)]
        if grid.face not in faces:
            self.notify("this file is no usable face", title="Masks", timeout=5)
            return
        self.keep_cursor_near(side.side)
        editor = MaskEditor(side.catalog, faces, faces.index(grid.face), side.edits)

        def back(_: object) -> None:
            face_facts.forget(side.folder)
            self.reload(side.side)

        self.app.push_screen(editor, back)


class _Watched(Silent):
    """Tells a sorting's progress, and whether it is still wanted."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told = -1
        self.stopped = False

    def progress(self, current: int, total: int, text: str = "", **counts: int) -> None:
        """A line in the frame, not more often than the figure changes."""
        share = round(100 * current / total) if total else 0
        if share != self._told:
            self._told = share
            self._tell(f"sorting {share} % · esc ends it")

    def stop_requested(self) -> bool:
        """Esc."""
        return self.stopped


def _said(text: str | None, otherwise: str) -> str:
    return text or otherwise


def _reason(catalog: Any, face: int) -> str:
    """Why a file is no usable face, from its reader's own words."""
    try:
        catalog.face(face)
        catalog.pixels(face)
    except RecasterError as error:
        return error.message
    return ""

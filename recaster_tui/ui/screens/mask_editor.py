"""The polygon editor: outlines of face after face, by keyboard (dfl-data.md 7)."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from recaster_tui.errors import RecasterError
from recaster_tui.faces.catalog import shown_name
from recaster_tui.faces.face import Polygon
from recaster_tui.faces.polygon_transfer import transfer
from recaster_tui.ui import mask_work
from recaster_tui.ui.automask import AutoMask
from recaster_tui.ui.mask_picture import Base
from recaster_tui.ui.screens.dialogs import Confirm, plural
from recaster_tui.ui.screens.mask_editor_draw import DrawingActions
from recaster_tui.ui.screens.mask_editor_keys import EditMode


class MaskEditor(DrawingActions):
    """Pushed by the Faces screen; dismissed with the catalog index of the face shown last."""

    # -- faces ----------------------------------------------------------------------------------

    async def action_face(self, step: int) -> None:
        """Another face."""
        target = self._step(step)
        if target is None:
            await self._save()
            self._say("this is the last face" if step > 0 else "this is the first face")
            return
        await self._go(target)

    async def action_unlabelled(self, step: int) -> None:
        """The next face without outlines."""
        await self._search(step, labelled=False)

    async def action_labelled(self, step: int) -> None:
        """The next face with outlines."""
        await self._search(step, labelled=True)

    async def _search(self, step: int, *, labelled: bool) -> None:
        if self.editor is not None:
            self._known[self.index] = bool(self.editor.polygons) or self.editor.drawing
        column = self.catalog.column("has_polygons")
        count = len(self.indices)
        order = [(self.position + step * i) % count for i in range(1, count)]

        def find() -> int | None:
            for position in order:
                index = self.indices[position]
                if index in self._gone:
                    continue
                if mask_work.label_state(self.catalog, index, self._known, column) is labelled:
                    return position
            return None

        found = await asyncio.to_thread(find)
        if found is None:
            self._say("no other face is labelled" if labelled else "every other face is labelled")
            return
        await self._go(found)

    async def action_go_to(self) -> None:
        """Ask for a number."""

        async def go(number: int | None) -> None:
            if number is None:
                return
            position = number - 1
            if self.indices[position] in self._gone:
                self._say(f"face {number} is in the trash")
            else:
                await self._go(position)

        self.app.push_screen(GoTo(self.position + 1, len(self.indices)), go)

    async def action_trash(self) -> None:
        """Out of the faceset; the next face comes."""
        index = self.index
        if index in self._gone:
            return
        await self._settle()
        name = self.catalog.names[index]
        try:
            async with self._writing:
                info = await asyncio.to_thread(mask_work.trash, self.catalog, self.edits, index)
        except (RecasterError, OSError) as error:
            self.notify(str(error), title="Not moved", severity="error", timeout=12)
            return
        if info is not None:
            self._file_edits.append((info, self.position, ()))
        self._gone.add(index)
        target = self._step(1)
        target = self._step(-1) if target is None else target
        if target is None:
            self.dismiss(None)
            return
        await self._open(target)
        self._say(f"{shown_name(name)} is in the trash; u takes it back")

    async def action_copy(self, replacing: bool) -> None:
        """The next face, with these outlines."""
        editor, loaded = self.editor, self.loaded
        if editor is None or loaded is None or loaded.face is None:
            return
        polygons, landmarks = editor.polygons, loaded.face.landmarks
        if not polygons:
            self._say("there are no outlines to copy")
            return
        target = self._step(1)
        if target is None:
            self._say("this is the last face")
            return
        if not replacing:
            column = self.catalog.column("has_polygons")
            labelled = await asyncio.to_thread(
                mask_work.label_state, self.catalog, self.indices[target], self._known, column
            )
            if labelled:
                await self._save()
                self._say("the next face has outlines: Y replaces them, d goes there")
                return
        if not await self._go(target):
            return
        if self.editor is None or self.loaded is None or self.loaded.face is None:
            self._say("the next face cannot be used")
            return
        self._edit(lambda e: e.replace_all(self._carried(polygons, landmarks)))
        self._say("outlines copied by the landmarks; u takes them back")

    def _carried(self, polygons: Sequence[Polygon], landmarks: np.ndarray) -> list[Polygon]:
        assert self.loaded is not None and self.loaded.face is not None
        return transfer(polygons, landmarks, self.loaded.face.landmarks)

    def action_interpolate(self) -> None:
        """Fill the gap between two labelled frames."""
        self.run_worker(self._interpolate(), group="mask-files", exclusive=True)

    async def _interpolate(self) -> None:
        if not await self._settle():
            return
        index = self.index
        self._busy = "looking for the faces between two labelled ones …"
        self._refresh()
        try:
            gap = await asyncio.to_thread(
                mask_work.find_gap, self.catalog, index, self._gone.__contains__
            )
            self._busy = f"interpolating {len(gap.between)} faces …"
            self._refresh()
            async with self._writing:
                info = await asyncio.to_thread(mask_work.fill_gap, self.catalog, self.edits, gap)
        except (RecasterError, OSError) as error:
            self.notify(str(error), title="Not interpolated", severity="warning", timeout=10)
            return
        finally:
            self._busy = ""
            self._refresh()
        filled = tuple(i for i, _ in gap.between)
        if info is not None:
            self._file_edits.append((info, self.position, filled))
        self._known.update((i, True) for i in filled)
        if index == self.index and index in filled:
            await self._open(self.position)
        first, last = (shown_name(self.catalog.names[i]) for i in (gap.before, gap.after))
        self._say(f"{plural(len(gap.between), 'face')} between {first} and {last} filled; u undoes")

    # -- automatic mask -------------------------------------------------------------------------

    def action_automask(self) -> None:
        """Outlines by the network, in a process of its own."""
        if self._busy:
            self._say(self._busy)
            return
        self.run_worker(self._ask_automask(), group="automask", exit_on_error=False)

    @property
    def automask(self) -> AutoMask:
        """One for the whole app, so that it starts once; it ends with the app."""
        if self._automask is None:
            shared = getattr(self.app, "automask", None)
            if not isinstance(shared, AutoMask):
                shared = AutoMask()
                self.app.automask = shared  # type: ignore[attr-defined]
                getattr(self.app, "on_leaving", []).append(shared.aclose)
            self._automask = shared
        return self._automask

    async def _ask_automask(self) -> None:
        index, client = self.index, self.automask
        self._busy = "automatic mask …" if client.running else "starting the automatic mask …"
        self._refresh()
        try:
            with mask_work.as_file(self.catalog, index) as path:
                polygons = await client.polygons(path)
        except (RecasterError, OSError) as error:
            self.notify(str(error), title="No automatic mask", severity="error", timeout=15)
            return
        finally:
            self._busy = ""
            if self.is_mounted:
                self._refresh()
        if not self.is_mounted or index != self.index or self.mode is not EditMode.EDIT:
            self.notify("the automatic mask came too late: you were elsewhere; m asks again")
            return
        if not polygons:
            self._say("the automatic mask sees no face here")
        elif self._edit(lambda e: e.replace_all(polygons)):
            self._say("automatic mask: correct it, or u for what was there before")

    # -- undo, save, leave ----------------------------------------------------------------------

    async def action_undo(self) -> None:
        """The last edit of these outlines; else the last thing done to files from here."""
        self._moving = False
        if self.editor is not None and self.editor.can_undo:
            self._edit(lambda e: e.undo())
            return
        if not self._file_edits:
            self._say("nothing to undo on this face")
            return
        info, position, filled = self._file_edits[-1]
        history = [e for e in self.edits.history() if not e.undone]
        if not history or history[-1].number != info.number:
            self._say("something was saved since: undo it on the Faces screen")
            return
        if not await self._settle():
            return
        try:
            async with self._writing:
                said = await asyncio.to_thread(mask_work.undo, self.catalog, self.edits)
        except (RecasterError, OSError) as error:
            self.notify(str(error), title="Not undone", severity="error", timeout=12)
            return
        self._file_edits.pop()
        self._gone.discard(self.indices[position])
        self._known.update((i, False) for i in filled)
        await self._open(position)
        self._say(said or "")

    async def action_save(self) -> None:
        """Now."""
        if await self._save():
            self._saved = "saved"
        self._refresh()

    async def action_back(self) -> None:
        """Out of what was begun; then out of the editor."""
        editor = self.editor
        if self.rays is not None:
            self.rays = None
        elif self._moving:
            self._moving = False
            if editor is not None:
                editor.put_back()
        elif editor is not None and editor.drawing:
            editor.drop_draft()
            self._what = "dropped; u brings it back"
        elif editor is not None and editor.state.selected is not None:
            editor.select(None)
        elif self.base is not Base.PICTURE:
            self.base = Base.PICTURE
        else:
            await self._leave()
            return
        self._refresh()

    async def _leave(self) -> None:
        if await self._settle():
            self.dismiss(self.index)
            return

        def left(yes: bool | None) -> None:
            if yes:
                if self.editor is not None:
                    self.editor.mark_saved()  # nothing tries once more
                self.dismiss(self.index)

        text = f"The outlines of this face are not saved: {self._unsaved}. Leave without them?"
        self.app.clear_notifications()  # they would cover the question
        self.app.push_screen(Confirm("Not saved", text, yes="Leave", no="Stay"), left)


class GoTo(ModalScreen[int | None]):
    """Which face? Dismissed with its number, from 1."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="go-cancel"),
    ]

    def __init__(self, now: int, total: int) -> None:
        super().__init__()
        self._now, self._total = now, total

    def compose(self) -> ComposeResult:
        """One number."""
        with Container(classes="dialog") as dialog:
            dialog.border_title = f"Go to face 1 to {self._total:,}"
            dialog.border_subtitle = "enter goes · esc leaves"
            yield Input(placeholder=str(self._now), id="go-number", type="integer", compact=True)
            yield Static("", id="go-problem", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        try:
            number = int(event.value)
        except ValueError:
            number = 0
        if 1 <= number <= self._total:
            self.dismiss(number)
        else:
            self.query_one("#go-problem", Static).update(f"a number from 1 to {self._total:,}")

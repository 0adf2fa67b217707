"""The polygon editor: outlines of face after face, by keyboard (dfl-data.md 7)."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal
from textual.screen import ModalScreen, Screen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static

from recaster_tui.errors import BadInputError, RecasterError
from recaster_tui.faces.catalog import shown_name
from recaster_tui.faces.edits import EditInfo, FaceEdits
from recaster_tui.faces.face import Polygon
from recaster_tui.faces.masks import hull_mask
from recaster_tui.faces.outlines import outlines
from recaster_tui.faces.polygon_edit import PolygonEditor, frozen, same_polygons
from recaster_tui.faces.polygon_transfer import hull_polygon, mask_polygons, transfer
from recaster_tui.faces.ray_drawing import RayDrawing
from recaster_tui.faces.ray_edges import RayFan
from recaster_tui.ui import mask_work
from recaster_tui.ui.automask import AutoMask
from recaster_tui.ui.hires import USUAL_CELL, pixel_widget
from recaster_tui.ui.mask_picture import Base, Dimmed, Drawing, Rays
from recaster_tui.ui.mask_work import FaceSource, Loaded
from recaster_tui.ui.screens.dialogs import Confirm, plural
from recaster_tui.ui.screens.mask_editor_keys import FIRST, MASK_KEYS, EditMode, allowed
from recaster_tui.ui.widgets.bars import KeyBar, TopBar
from recaster_tui.ui.widgets.mask_canvas import MaskCanvas
from recaster_tui.ui.widgets.mask_panel import Facts, MaskPanel, MaskStatus

log = logging.getLogger(__name__)

_SHARP_AFTER = 0.3
_FAR = 8
_GRAB = 2.5  # half-block pixels between cursor and point that count as hitting it
_KEPT = 32  # faces whose undo is remembered
_SIMPLER = 0.75  # pixels of a 256-pixel face


class MaskEditor(Screen[int | None]):
    """Pushed by the Faces screen; dismissed with the catalog index of the face shown last."""

    BINDING_GROUP_TITLE = "Polygon editor"
    LEAVE_KEY = ("esc", "back", "escape")
    BINDINGS: ClassVar[list[BindingType]] = MASK_KEYS
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012 - Textual's type
    DEFAULT_CSS = """
    MaskEditor #mask-box { layers: base pixels; width: 1fr; height: 1fr; }
    MaskEditor #pixels { layer: pixels; }
    MaskEditor #mask-columns { width: 1fr; height: 1fr; }
    MaskEditor.-narrow MaskPanel { width: 29; }
    MaskEditor.-no-panel MaskPanel { display: none; }
    """

    def __init__(
        self,
        catalog: FaceSource,
        indices: Sequence[int],
        at: int,
        edits: FaceEdits,
        *,
        automask: AutoMask | None = None,
    ) -> None:
        """Args:
        catalog: the faces.
        indices: those to go through, in the order shown.
        at: position in *indices* to begin with.
        edits: writes, so that the Faces screen can undo it.
        automask: for tests; else one for the whole app.
        """
        super().__init__()
        self.catalog, self.edits = catalog, edits
        self.indices = list(indices) or list(range(len(catalog.names)))
        self.position = max(0, min(at, len(self.indices) - 1))
        self.loaded: Loaded | None = None
        self.editor: PolygonEditor | None = None
        self.rays: RayDrawing | None = None
        self.base, self.dimmed = Base.PICTURE, Dimmed.NOTHING
        self._moving = False
        self._hull = self._landmarks = False
        self._automask = automask
        self._what = self._saved = self._busy = ""
        self._gone: set[int] = set()
        self._known: dict[int, bool] = {}
        self._kept: OrderedDict[int, PolygonEditor] = OrderedDict()
        self._file_edits: list[tuple[EditInfo, int]] = []  # of faces, not outlines; and where
        self._pixels: Widget | None = None
        self._sharpen: Timer | None = None
        self._mode_shown: EditMode | None = None
        self._include = True

    # -- layout ---------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Picture left, list right, a line of facts and the keys below."""
        yield TopBar()
        pictures: list[Widget] = [MaskCanvas(id="mask-canvas")]
        self._pixels = pixel_widget(getattr(self.app, "terminal", None))
        if self._pixels is not None:
            pictures.append(self._pixels)
        yield Horizontal(
            Container(*pictures, id="mask-box"), MaskPanel(id="mask-panel"), id="mask-columns"
        )
        yield MaskStatus(id="mask-status")
        yield KeyBar()

    async def on_mount(self) -> None:
        """The first face."""
        self.canvas.focus()
        await self._open(self.position)

    async def on_screen_suspend(self) -> None:
        """Another mode is in front: what was drawn is safe."""
        if self.is_mounted and self.editor is not None and self.editor.changed:
            await self._save()

    @property
    def canvas(self) -> MaskCanvas:
        """The picture."""
        return self.query_one(MaskCanvas)

    @property
    def index(self) -> int:
        """Of the face shown, in the catalog."""
        return self.indices[self.position]

    @property
    def mode(self) -> EditMode:
        """What the keys mean now."""
        if self.editor is None:
            return EditMode.NOTHING
        if self.rays is not None:
            return EditMode.RAYS
        if self.editor.drawing:
            return EditMode.DRAW
        return EditMode.MOVE if self._moving else EditMode.EDIT

    @property
    def FIRST_KEYS(self) -> frozenset[str]:  # noqa: N802 - read by the key bar
        """What the key bar shows first."""
        return FIRST[self.mode]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that mean nothing now are not there."""
        known = any(
            isinstance(b, Binding) and b.action.partition("(")[0] == action for b in MASK_KEYS
        )
        return allowed(action, self.mode) if known else True

    # -- faces ----------------------------------------------------------------------------------

    async def _open(self, position: int) -> None:
        """Show a face; nothing is saved here."""
        self.position = position
        index = self.index
        loaded = await asyncio.to_thread(mask_work.load, self.catalog, index)
        self.loaded, self.rays, self._moving = loaded, None, False
        self._what, self._saved = loaded.problem, ""
        if loaded.face is None or loaded.bgr is None:
            self.editor = None
            self._refresh()
            return
        face = loaded.face
        self._known[index] = bool(face.polygons)
        kept = self._kept.pop(index, None)
        if kept is not None and same_polygons(kept.polygons, face.polygons):
            self.editor = kept
        else:
            self.editor = PolygonEditor(loaded.bgr.shape, face.polygons)
            middle = np.clip(face.landmarks.mean(0), 0, None)
            self.editor.cursor_to(float(middle[0]), float(middle[1]))
        self.editor.include = self._include
        self._kept[index] = self.editor
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        self.canvas.drawing = self._drawing()
        if self.canvas.zoom_index:
            self.canvas.recentre()
        self._refresh()

    async def _save(self) -> bool:
        """Write what changed; False where it could not be written."""
        editor, index = self.editor, self.index
        if editor is None or not editor.changed:
            return True
        polygons = list(editor.polygons)
        try:
            await asyncio.to_thread(mask_work.save, self.catalog, self.edits, index, polygons)
        except (RecasterError, OSError) as error:
            self.notify(str(error), title="Not saved", severity="error", timeout=12)
            return False
        editor.mark_saved()
        self._known[index] = bool(polygons)
        self._saved = "saved"
        return True

    async def _settle(self) -> bool:
        """End what is begun and save, before another face or nothing is shown."""
        editor = self.editor
        if editor is not None:
            if self.rays is not None:
                self.rays = None
                self.notify("the drawing round the face was not finished and is dropped")
            if editor.drawing:
                try:
                    editor.close()
                except BadInputError:
                    editor.drop_draft()
                    self.notify("a polygon of fewer than three points is dropped")
            self._end_move()
        return await self._save()

    async def _go(self, position: int) -> bool:
        if not await self._settle():
            self._refresh()
            return False
        await self._open(position)
        return True

    def _step(self, step: int) -> int | None:
        """The position *step* faces on that is still there; None at the end."""
        found, position = None, self.position
        for _ in range(abs(step)):
            position += 1 if step > 0 else -1
            while 0 <= position < len(self.indices) and self.indices[position] in self._gone:
                position += 1 if step > 0 else -1
            if not 0 <= position < len(self.indices):
                break
            found = position
        return found

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
                if mask_work.unlabelled(self.catalog, index, self._known, column) != labelled:
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
            info = await asyncio.to_thread(self.edits.trash, [name], "polygon editor")
        except (RecasterError, OSError) as error:
            self.notify(str(error), title="Not moved", severity="error", timeout=12)
            return
        if info is not None:
            self._file_edits.append((info, self.position))
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
            free = await asyncio.to_thread(
                mask_work.unlabelled, self.catalog, self.indices[target], self._known, column
            )
            if not free:
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
            info = await asyncio.to_thread(mask_work.fill_gap, self.catalog, self.edits, gap)
        except (RecasterError, OSError) as error:
            self.notify(str(error), title="Not interpolated", severity="warning", timeout=10)
            return
        finally:
            self._busy = ""
            self._refresh()
        if info is not None:
            self._file_edits.append((info, self.position))
        self._known.update((i, True) for i, _ in gap.between)
        if index == self.index and index in dict(gap.between):
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

    # -- drawing --------------------------------------------------------------------------------

    def _edit(self, change: Callable[[PolygonEditor], object]) -> bool:
        """Apply a change of the outlines and show it; refusals are told."""
        if self.editor is None:
            return False
        try:
            done = bool(change(self.editor))
        except BadInputError as error:
            self._what = error.message
            self.notify(str(error), severity="warning")
            done = False
        else:
            self._what = ""
        self._refresh()
        return done

    @property
    def _radius(self) -> float:
        return max(1.0, _GRAB / max(self.canvas.scale, 1e-6))

    def action_place(self) -> None:
        """Grab the point here, select the line here, or begin a polygon."""
        editor = self.editor
        if editor is None:
            return
        place = editor.selected_point
        hit = editor.nearest_point(self._radius)
        if place is not None and np.hypot(*np.subtract(place, editor.cursor)) < 0.5:
            self._moving = True
        elif hit is not None:
            editor.select(*hit)
            self._moving = True
        elif (edge := editor.nearest_edge(self._radius)) is not None and (
            edge[0] != editor.state.selected
        ):
            editor.select(edge[0])
        else:
            self._edit(lambda e: e.begin())
            return
        self._what = ""
        self._refresh()

    def action_point(self) -> None:
        """A point of the draft; on the first one it is closed."""
        editor = self.editor
        if editor is not None and editor.at_first_point(self._radius):
            self._edit(lambda e: e.close())
        else:
            self._edit(lambda e: e.add_point())

    def action_close(self) -> None:
        """The draft is a polygon."""
        self._edit(lambda e: e.close())

    def action_unpoint(self) -> None:
        """The draft's last point goes."""
        self._edit(lambda e: e.remove_last_point())

    def action_drop(self) -> None:
        """The point stays here."""
        self._end_move()
        self._refresh()

    def _end_move(self) -> None:
        self._moving = False
        if self.editor is not None:
            self.editor.end_move()

    def action_insert(self) -> None:
        """A point on the nearest edge."""
        self._edit(lambda e: e.insert_point())

    def action_delete(self) -> None:
        """The selected point, or the selected polygon."""
        self._edit(lambda e: e.delete_point() if e.state.point is not None else e.delete_polygon())

    def action_delete_polygon(self) -> None:
        """The selected polygon."""
        self._edit(lambda e: e.delete_polygon())

    def action_toggle_kind(self) -> None:
        """Include becomes exclude and back."""
        if not self._edit(lambda e: e.toggle_kind()):
            self._say("select a polygon first: p")

    def action_kind(self, include: bool) -> None:
        """What new polygons do."""
        self._include = include
        if self.editor is not None:
            self.editor.include = include
            if self.editor.drawing and self.editor.state.draft_include != include:
                self.editor.toggle_kind()
        self._refresh()

    def action_next_point(self, step: int) -> None:
        """Select it."""
        self._edit(lambda e: e.select_next_point(step))

    def action_next_polygon(self, step: int) -> None:
        """Select it."""
        self._edit(lambda e: e.select_next_polygon(step))

    def action_simplify(self) -> None:
        """Fewer points."""
        editor = self.editor
        if editor is None:
            return
        before = editor.points
        tolerance = _SIMPLER * editor.height / 256
        if self._edit(lambda e: e.simplify(tolerance)):
            self._say(f"{before} points became {editor.points}")
        else:
            self._say("no point can be left out")

    def action_from_hull(self, forehead: bool) -> None:
        """The landmarks' hull as a polygon, beside those that are there."""
        if self.editor is not None and self.loaded is not None and self.loaded.face is not None:
            face, shape = self.loaded.face, (self.editor.height, self.editor.width)
            self._edit(lambda e: e.add(hull_polygon(face.landmarks, shape, forehead)))

    def action_from_mask(self) -> None:
        """The stored mask as polygons, instead of those that are there."""
        editor, stored = self.editor, self.loaded.stored if self.loaded else None
        if editor is None:
            return
        if stored is None:
            self._say("this face has no stored mask")
            return
        shape = (editor.height, editor.width)
        self._edit(lambda e: e.replace_all(mask_polygons(stored, shape)))

    async def action_undo(self) -> None:
        """The last edit of these outlines; else the last thing done to files from here."""
        self._moving = False
        if self.editor is not None and self.editor.can_undo:
            self._edit(lambda e: e.undo())
            return
        if not self._file_edits:
            self._say("nothing to undo on this face")
            return
        info, position = self._file_edits[-1]
        history = [e for e in self.edits.history() if not e.undone]
        if not history or history[-1].number != info.number:
            self._say("something was saved since: undo it on the Faces screen")
            return
        if not await self._settle():
            return
        try:
            said = await asyncio.to_thread(self.edits.undo)
        except (RecasterError, OSError) as error:
            self.notify(str(error), title="Not undone", severity="error", timeout=12)
            return
        self._file_edits.pop()
        self._gone.discard(self.indices[position])
        self._known.clear()
        await self._open(position)
        self._say(said or "")

    def action_redo(self) -> None:
        """What was taken back."""
        if not self._edit(lambda e: e.redo()):
            self._say("nothing to do again")

    # -- round the face -------------------------------------------------------------------------

    async def action_rays(self) -> None:
        """Begin drawing round the face."""
        loaded = self.loaded
        if loaded is None or loaded.face is None or loaded.bgr is None:
            return
        fan = await asyncio.to_thread(RayFan, loaded.bgr, loaded.face.landmarks, loaded.stored)
        self.rays = RayDrawing(fan)
        self._what = ""
        self._refresh()

    def action_ray_accept(self) -> None:
        """This point is right."""
        if self.rays is not None and self.rays.accept():
            self._finish_rays()
        self._refresh()

    def action_ray_rest(self) -> None:
        """All are right."""
        if self.rays is not None:
            self.rays.accept_all()
            self._finish_rays()

    def action_ray_move(self, steps: int) -> None:
        """Farther out or in, by pixels of the screen."""
        if self.rays is not None:
            self.rays.adjust(steps / max(self.canvas.scale, 1e-6))
        self._refresh()

    def action_ray_back(self) -> None:
        """The ray before."""
        if self.rays is not None and not self.rays.back():
            self._what = "this is the first ray"
        self._refresh()

    def action_ray_source(self) -> None:
        """Other proposals."""
        if self.rays is not None:
            self.rays.next_proposal()
        self._refresh()

    def _finish_rays(self) -> None:
        rays, self.rays = self.rays, None
        if rays is not None:
            made = frozen(self._include, rays.points())
            if self._edit(lambda e: e.add(made)):
                self._say(f"a polygon of {len(made.points)} points; y copies it to the next face")

    # -- where and what -------------------------------------------------------------------------

    def action_cursor(self, right: int, down: int) -> None:
        """By one pixel of the screen."""
        self._move(right, down, 1 / max(self.canvas.scale, 1e-6))

    def action_far(self, right: int, down: int) -> None:
        """By eight."""
        self._move(right, down, _FAR / max(self.canvas.scale, 1e-6))

    def action_fine(self, right: int, down: int) -> None:
        """By one pixel of the face's picture."""
        self._move(right, down, 1.0)

    def _move(self, right: int, down: int, step: float) -> None:
        editor = self.editor
        if editor is None:
            return
        x, y = editor.cursor
        self._place_cursor(x + right * step, y + down * step)

    def _place_cursor(self, x: float, y: float) -> None:
        editor = self.editor
        if editor is None:
            return
        if self._moving:
            editor.move_point(x, y)
        else:
            editor.cursor_to(x, y)
        self._what = ""
        self._refresh()

    def action_landmark(self, step: int) -> None:
        """To a landmark; a grabbed point goes there, too."""
        editor, face = self.editor, self.loaded.face if self.loaded else None
        if editor is None or face is None:
            return
        number = editor.cursor_to_landmark(face.landmarks, step)
        if self._moving:
            editor.move_point(*editor.cursor)
        self._what = f"landmark {number}"
        self._refresh()

    def action_zoom(self, step: int) -> None:
        """Closer, farther, or the whole face."""
        if step:
            self.canvas.change_zoom(step)
        else:
            self.canvas.reset_zoom()
        self._refresh()

    def action_centre(self) -> None:
        """The cursor goes to the middle."""
        self.canvas.recentre()

    def action_pan(self, right: int, down: int) -> None:
        """Half a view."""
        self.canvas.pan(right / 2, down / 2)

    def action_base(self, what: str) -> None:
        """Baked polygons, stored mask, or back to the picture."""
        wanted = Base.BAKED if what == "baked" else Base.STORED
        if wanted is Base.STORED and (self.loaded is None or self.loaded.stored is None):
            self._say("this face has no stored mask")
            return
        self.base = Base.PICTURE if self.base is wanted else wanted
        self._refresh()

    def action_dim(self) -> None:
        """Outside of the stored mask, of the polygons, or nothing."""
        kinds = list(Dimmed)
        if self.loaded is None or self.loaded.stored is None:
            kinds.remove(Dimmed.STORED)
        at = kinds.index(self.dimmed) if self.dimmed in kinds else 0
        self.dimmed = kinds[(at + 1) % len(kinds)]
        self._refresh()

    def action_hull(self) -> None:
        """Show the landmarks' hull or not."""
        self._hull = not self._hull
        self._refresh()

    def action_landmarks(self) -> None:
        """Show the landmarks or not."""
        self._landmarks = not self._landmarks
        self._refresh()

    def action_panel(self) -> None:
        """More room for the picture."""
        self.toggle_class("-no-panel")

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

        text = "The outlines of this face could not be saved. Leave without them?"
        self.app.push_screen(Confirm("Not saved", text, yes="Leave", no="Stay"), left)

    # -- showing --------------------------------------------------------------------------------

    def _say(self, words: str) -> None:
        self._what = words
        self._refresh()

    def _drawing(self) -> Drawing | None:
        editor, loaded = self.editor, self.loaded
        if editor is None or loaded is None or loaded.face is None or loaded.bgr is None:
            return None
        state, face = editor.state, loaded.face
        baked = None
        if self.base is Base.BAKED or self.dimmed is Dimmed.POLYGONS:
            baked = editor.baked()
        hull = None
        if self._hull:
            mask = hull_mask(loaded.bgr.shape, face.landmarks, face.eyebrows_expand)
            hull = next((p.points for p in outlines(mask) if p.include), None)
        rays = None
        if self.rays is not None:
            centre = (float(self.rays.fan.centre[0]), float(self.rays.fan.centre[1]))
            rays = Rays(centre, self.rays.points(), self.rays.at)
            editor.cursor_to(*self.rays.point)
        return Drawing(
            image=loaded.bgr[..., ::-1],
            polygons=state.polygons,
            selected=state.selected,
            point=state.point,
            draft=state.draft,
            draft_include=state.draft_include,
            cursor=editor.cursor,
            rays=rays,
            base=self.base,
            dimmed=self.dimmed,
            baked=baked,
            stored=loaded.stored,
            hull=hull,
            landmarks=face.landmarks if self._landmarks else None,
        )

    def _facts(self) -> Facts:
        editor, loaded = self.editor, self.loaded
        column = self.catalog.column("has_polygons")[self.indices]
        labels = np.nan_to_num(column) > 0
        unknown = np.isnan(column)
        for position, index in enumerate(self.indices):
            if index in self._known:
                labels[position], unknown[position] = self._known[index], False
        if editor is not None:
            labels[self.position] = bool(editor.polygons)
        gone = sum(index in self._gone for index in self.indices)
        what = self._what
        if self.rays is not None and not what:
            rays = self.rays
            what = f"ray {rays.at + 1} of {len(rays.fan)}, by the {rays.proposal}"
        elif editor is not None and editor.state.draft is not None and not what:
            what = plural(len(editor.state.draft), "point")
        layers = [str(self.base)] if self.base is not Base.PICTURE else []
        if self.dimmed is not Dimmed.NOTHING:
            layers.append(f"dimmed outside of the {self.dimmed}")
        layers += ["hull"] if self._hull else []
        layers += ["landmarks"] if self._landmarks else []
        face = loaded.face if loaded is not None else None
        return Facts(
            name=shown_name(self.catalog.names[self.index]),
            frame=(face.source_filename or "") if face is not None else "",
            number=self.position + 1,
            total=len(self.indices) - gone,
            labelled=int(labels.sum()),
            unknown=int(unknown.sum()),
            mode=str(self.mode),
            what=what,
            saved=self._saved or ("no changes" if editor is not None else ""),
            changed=editor is not None and editor.changed,
            zoom=self.canvas.zoom,
            cursor=editor.cursor if editor is not None else None,
            kind=editor.state.draft_include
            if editor is not None and editor.drawing
            else self._include,
            polygons=editor.polygons if editor is not None else (),
            selected=editor.state.selected if editor is not None else None,
            point=editor.state.point if editor is not None else None,
            layers=tuple(layers),
            busy=self._busy,
        )

    def _refresh(self) -> None:
        if not self.is_mounted:
            return
        problem = self.loaded.problem if self.loaded is not None else "reading …"
        self.canvas.show(self._drawing(), f"This face cannot be edited: {problem}")
        facts = self._facts()
        self.query_one(MaskPanel).show(facts)
        self.query_one(MaskStatus).show(facts)
        if self.mode is not self._mode_shown:
            self._mode_shown = self.mode
            self.refresh_bindings()

    def on_mask_canvas_pressed(self, event: MaskCanvas.Pressed) -> None:
        """The mouse does what space does there."""
        self._place_cursor(event.x, event.y)
        match self.mode:
            case EditMode.DRAW:
                self.action_point()
            case EditMode.MOVE:
                self.action_drop()
            case EditMode.EDIT:
                self.action_place()

    def on_mask_canvas_wheeled(self, event: MaskCanvas.Wheeled) -> None:
        """Zoom."""
        self.action_zoom(event.step)

    def on_mask_canvas_drawn(self) -> None:
        """A sharper picture once the hands rest."""
        if self._pixels is None:
            return
        self._pixels.display = False
        if self._sharpen is not None:
            self._sharpen.stop()
        self._sharpen = self.set_timer(_SHARP_AFTER, self._show_pixels)

    async def _show_pixels(self) -> None:
        if self._pixels is None or not self.is_current:
            return
        terminal = getattr(self.app, "terminal", None)
        cell = (terminal.cell if terminal is not None else None) or USUAL_CELL
        before = self.canvas.drawing
        picture = await self.canvas.sharp(cell)
        if picture is None or self.canvas.drawing is not before:
            return
        size = self.canvas.content_size
        self._pixels.styles.offset = (0, 0)
        self._pixels.styles.width, self._pixels.styles.height = size.width, size.height
        self._pixels.image = picture  # type: ignore[attr-defined]
        self._pixels.display = True


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

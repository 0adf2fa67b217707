"""The polygon editor's ground: layout, one face after the other, saving, showing."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget

from recaster_tui.errors import BadInputError, RecasterError
from recaster_tui.faces.catalog import Catalog, shown_name
from recaster_tui.faces.edits import EditInfo, FaceEdits
from recaster_tui.faces.masks import hull_mask
from recaster_tui.faces.outlines import outlines
from recaster_tui.faces.polygon_edit import PolygonEditor, same_polygons
from recaster_tui.faces.ray_drawing import RayDrawing
from recaster_tui.ui import mask_work
from recaster_tui.ui.automask import AutoMask
from recaster_tui.ui.hires import USUAL_CELL, pixel_widget
from recaster_tui.ui.mask_picture import Base, Dimmed, Drawing, Rays
from recaster_tui.ui.mask_work import FaceSource, Loaded, SteadyFaces
from recaster_tui.ui.screens.dialogs import plural
from recaster_tui.ui.screens.mask_editor_keys import FIRST, MASK_KEYS, EditMode, allowed
from recaster_tui.ui.widgets.bars import KeyBar, TopBar
from recaster_tui.ui.widgets.mask_canvas import MaskCanvas
from recaster_tui.ui.widgets.mask_panel import Facts, MaskPanel, MaskStatus

_SHARP_AFTER = 0.3
_GRAB = 2.5  # half-block pixels between cursor and point that count as hitting it
_KEPT = 32  # faces whose undo is remembered


class EditorBase(Screen[int | None]):
    """State, faces and what is shown; the keys' actions are in the subclasses."""

    BINDING_GROUP_TITLE = "Polygon editor"
    LEAVE_KEY = ("esc", "back", "escape")
    BINDINGS: ClassVar[list[BindingType]] = MASK_KEYS
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012 - Textual's type
    DEFAULT_CSS = """
    EditorBase #mask-box { layers: base pixels; width: 1fr; height: 1fr; }
    EditorBase #pixels { layer: pixels; }
    EditorBase #mask-columns { width: 1fr; height: 1fr; }
    EditorBase.-narrow MaskPanel { width: 29; }
    EditorBase.-no-panel MaskPanel { display: none; }
    """

    def __init__(
        self,
        catalog: Catalog,
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
        self.catalog: FaceSource = SteadyFaces(catalog)
        self.edits = edits
        self.indices = list(indices) or list(range(len(catalog.names)))
        self._positions = {index: i for i, index in enumerate(self.indices)}
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
        self._unsaved = ""  # why the last saving failed
        self._known: dict[int, bool | None] = {}  # labelled or not; None: no usable face
        self._kept: OrderedDict[int, PolygonEditor] = OrderedDict()
        # Edits of files made from here, where, and which faces they labelled: for undo.
        self._file_edits: list[tuple[EditInfo, int, tuple[int, ...]]] = []
        self._pixels: Widget | None = None
        self._sharpen: Timer | None = None
        self._mode_shown: EditMode | None = None
        self._include = True
        self._writing = asyncio.Lock()  # workers and keys write through the same journal

    # -- layout ---------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Picture left, list right, a line of facts and the keys below."""
        yield TopBar()
        pictures: list[Widget] = [MaskCanvas(id="mask-canvas")]
        self._pixels = pixel_widget(getattr(self.app, "terminal", None))
        if self._pixels is not None:
            pictures.append(self._pixels)
        columns = Horizontal(
            Container(*pictures, id="mask-box"), MaskPanel(id="mask-panel"), id="mask-columns"
        )
        yield Vertical(columns, MaskStatus(id="mask-status"), id="mask-all")
        yield KeyBar()

    def on_mount(self) -> None:
        """The first face."""
        self.canvas.focus()
        self.call_after_refresh(self._open, self.position)  # nothing can be shown before

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
            self._known[index] = None
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
            async with self._writing:
                await asyncio.to_thread(mask_work.save, self.catalog, self.edits, index, polygons)
        except (RecasterError, OSError) as error:
            self._unsaved = error.message if isinstance(error, RecasterError) else str(error)
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

    # -- editing --------------------------------------------------------------------------------

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

    def _end_move(self) -> None:
        self._moving = False
        if self.editor is not None:
            self.editor.end_move()

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
        for index, labelled in self._known.items():
            if (position := self._positions.get(index)) is not None:
                labels[position], unknown[position] = bool(labelled), False
        if editor is not None:
            labels[self.position] = bool(editor.polygons)
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
            total=len(self.indices),
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

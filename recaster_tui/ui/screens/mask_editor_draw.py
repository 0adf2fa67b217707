"""Actions of the polygon editor on the outlines of one face, and on its view."""

import asyncio

import numpy as np

from recaster_tui.faces.polygon_edit import frozen
from recaster_tui.faces.polygon_transfer import hull_polygon, mask_polygons
from recaster_tui.faces.ray_drawing import RayDrawing
from recaster_tui.faces.ray_edges import RayFan
from recaster_tui.ui.mask_picture import Base, Dimmed
from recaster_tui.ui.screens.mask_editor_base import EditorBase
from recaster_tui.ui.screens.mask_editor_keys import EditMode
from recaster_tui.ui.widgets.mask_canvas import MaskCanvas

_FAR = 8
_SIMPLER = 0.75  # pixels of a 256-pixel face


class DrawingActions(EditorBase):
    """Draw, change, look."""

    # -- drawing --------------------------------------------------------------------------------

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

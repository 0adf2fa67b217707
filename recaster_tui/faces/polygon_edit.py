"""Editing the outlines of one face: a model without a screen (dfl-data.md 1.6, 7.2).

A state is immutable; every edit makes a new one and remembers the old, so that undoing
everything restores the outlines to the last bit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recaster_tui.errors import BadInputError
from recaster_tui.faces.face import Polygon
from recaster_tui.faces.masks import Mask, polygon_mask

Points = NDArray[np.float32]

FEWEST = 3
"""Points of a polygon; with fewer it has no inside, and DFL drops it."""
MOST_POINTS = 2_000
"""Of all polygons of a face together: 16 KB of the 64 KB that metadata may take."""
MOST_POLYGONS = 64


@dataclass(frozen=True)
class EditState:
    """What undo goes back to.

    Attributes:
        polygons: finished ones, including before excluding.
        draft: points of the one being drawn; None when none is.
        draft_include: its kind.
        selected: index of the selected polygon.
        point: index of its selected point; None while the whole polygon is selected.
    """

    polygons: tuple[Polygon, ...] = ()
    draft: tuple[tuple[float, float], ...] | None = None
    draft_include: bool = True
    selected: int | None = None
    point: int | None = None


class PolygonEditor:
    """Outlines of one face, a cursor, and undo.

    Everything that edits answers whether it did something; what cannot be done raises
    :class:`BadInputError` and changes nothing.
    """

    def __init__(self, shape: Sequence[int], polygons: Iterable[Polygon] = ()) -> None:
        """Args:
        shape: (height, width, ...) of the picture.
        polygons: as stored; points outside of the picture stay where they are.
        """
        self.height, self.width = int(shape[0]), int(shape[1])
        self.state = EditState(_ordered(frozen(p.include, p.points) for p in polygons))
        self.cursor = ((self.width - 1) / 2, (self.height - 1) / 2)
        self.include = True
        self._original = self.state.polygons
        self._undo: list[EditState] = []
        self._redo: list[EditState] = []
        self._moving: tuple[int, int] | None = None  # moves of one point are one edit

    # -- what there is --------------------------------------------------------------------------

    @property
    def polygons(self) -> tuple[Polygon, ...]:
        """Finished outlines, including ones first; the draft is not among them."""
        return self.state.polygons

    @property
    def drawing(self) -> bool:
        """Whether a polygon is begun and not closed."""
        return self.state.draft is not None

    @property
    def changed(self) -> bool:
        """Whether the outlines differ from those saved last; the kind counts, too."""
        return not same_polygons(self.state.polygons, self._original)

    @property
    def selected(self) -> Polygon | None:
        """The selected polygon."""
        index = self.state.selected
        return None if index is None else self.state.polygons[index]

    @property
    def selected_point(self) -> tuple[float, float] | None:
        """Where the selected point is."""
        polygon, point = self.selected, self.state.point
        if polygon is None or point is None:
            return None
        x, y = polygon.points[point]
        return float(x), float(y)

    def baked(self) -> Mask:
        """The mask (H, W) that the finished outlines fill to."""
        return polygon_mask((self.height, self.width), self.state.polygons)

    def mark_saved(self) -> None:
        """The file now holds what is here."""
        self._original = self.state.polygons

    # -- the cursor -----------------------------------------------------------------------------

    def clamp(self, x: float, y: float) -> tuple[float, float]:
        """The nearest place inside the picture."""
        x, y = (v if np.isfinite(v) else 0.0 for v in (x, y))
        return min(max(x, 0.0), self.width - 1.0), min(max(y, 0.0), self.height - 1.0)

    def move_cursor(self, dx: float, dy: float) -> None:
        """By pixels; it stays inside the picture."""
        self.cursor = self.clamp(self.cursor[0] + dx, self.cursor[1] + dy)

    def cursor_to(self, x: float, y: float) -> None:
        """To a place of the picture."""
        self.cursor = self.clamp(x, y)

    def cursor_to_landmark(self, landmarks: ArrayLike, step: int = 0) -> int:
        """To the landmark nearest to the cursor (0), or *step* landmarks on from there.

        Returns:
            its index, 0 to 67.
        """
        points = np.asarray(landmarks, np.float64)
        distance = np.square(points - self.cursor).sum(1)
        index = int(distance.argmin())
        if step and distance[index] > 1.0:
            step -= 1 if step > 0 else 0  # first go to the nearest one
        index = (index + step) % len(points)
        self.cursor_to(*points[index])
        return index

    # -- selecting ------------------------------------------------------------------------------

    def nearest_point(self, radius: float) -> tuple[int, int] | None:
        """(polygon, point) nearest to the cursor within *radius* pixels."""
        best, found = radius, None
        for i, polygon in enumerate(self.state.polygons):
            distance = np.hypot(*(polygon.points - np.asarray(self.cursor)).T)
            if len(distance) and distance.min() <= best:
                best, found = float(distance.min()), (i, int(distance.argmin()))
        return found

    def nearest_edge(
        self, radius: float, only: int | None = None
    ) -> tuple[int, int, tuple[float, float]] | None:
        """(polygon, index of the edge's end point, nearest place on it) within *radius*."""
        best, found = radius, None
        for i, polygon in enumerate(self.state.polygons):
            if (only is not None and i != only) or len(polygon.points) < 2:
                continue
            start = polygon.points.astype(np.float64)
            along = np.roll(start, -1, 0) - start
            length = np.maximum(np.square(along).sum(1), 1e-12)
            part = ((np.asarray(self.cursor) - start) * along).sum(1) / length
            places = start + np.clip(part, 0, 1)[:, None] * along
            distance = np.hypot(*(places - np.asarray(self.cursor)).T)
            edge = int(distance.argmin())
            if distance[edge] <= best:
                x, y = places[edge]
                best, found = float(distance[edge]), (i, edge + 1, (float(x), float(y)))
        return found

    def select(self, polygon: int | None, point: int | None = None) -> None:
        """Select a polygon or one of its points; the cursor goes there."""
        self._moving = None
        self.state = replace(self.state, selected=polygon, point=point)
        place = self.selected_point
        if place is not None:
            self.cursor_to(*place)

    def select_next_point(self, step: int = 1) -> bool:
        """The next point of the selected polygon, else of the first one."""
        if not self.state.polygons:
            return False
        index = self.state.selected or 0
        count = len(self.state.polygons[index].points)
        if not count:
            return False
        point = self.state.point
        first = 0 if step > 0 else count - 1
        self.select(index, first if point is None else (point + step) % count)
        return True

    def select_next_polygon(self, step: int = 1) -> bool:
        """The next polygon as a whole."""
        count = len(self.state.polygons)
        if not count:
            return False
        at = self.state.selected
        self.select((0 if step > 0 else count - 1) if at is None else (at + step) % count)
        return True

    # -- drawing --------------------------------------------------------------------------------

    def begin(self, include: bool | None = None) -> bool:
        """Begin a polygon with the cursor as its first point.

        Raises:
            BadInputError: the face has as many as it may have.
        """
        self._room(polygons=1, points=1)
        kind = self.include if include is None else include
        self._do(replace(self.state, draft=(self.cursor,), draft_include=kind,
                         selected=None, point=None))  # fmt: skip
        return True

    def add_point(self) -> bool:
        """The cursor becomes the draft's next point; the same place twice counts once."""
        draft = self.state.draft
        if draft is None or draft[-1:] == (self.cursor,):
            return False
        self._room(points=len(draft) + 1)
        self._do(replace(self.state, draft=(*draft, self.cursor)))
        return True

    def at_first_point(self, radius: float) -> bool:
        """Whether a point set here would close the draft."""
        draft = self.state.draft
        if draft is None or len(draft) < FEWEST:
            return False
        return bool(np.hypot(*(np.asarray(draft[0]) - self.cursor)) <= radius)

    def close(self) -> bool:
        """Make the draft a polygon and select it.

        Raises:
            BadInputError: it has fewer than three points.
        """
        draft = self.state.draft
        if draft is None:
            return False
        if len(set(draft)) < FEWEST:
            raise BadInputError("a polygon needs three points", hint="set more, or esc to leave it")
        made = frozen(self.state.draft_include, draft)
        self._with(made, replace(self.state, draft=None))
        return True

    def drop_draft(self) -> bool:
        """Leave the draft; undo brings it back."""
        if self.state.draft is None:
            return False
        self._do(replace(self.state, draft=None))
        return True

    def remove_last_point(self) -> bool:
        """Take back the draft's last point, with the first one the draft."""
        draft = self.state.draft
        if draft is None:
            return False
        self._do(replace(self.state, draft=draft[:-1] or None))
        return True

    def add(self, polygon: Polygon) -> bool:
        """Add a finished polygon and select it.

        Raises:
            BadInputError: it has fewer than three points, or there is no room for it.
        """
        if len(polygon.points) < FEWEST:
            raise BadInputError("a polygon needs three points")
        self._room(polygons=1, points=len(polygon.points))
        self._with(frozen(polygon.include, self.limited(polygon.points)), self.state)
        return True

    def replace_all(self, polygons: Iterable[Polygon]) -> bool:
        """Other outlines instead of these (pasted, automatic …), as one edit.

        Raises:
            BadInputError: they are more than a face may have.
        """
        made = _ordered(
            frozen(p.include, self.limited(p.points)) for p in polygons if len(p.points) >= FEWEST
        )
        if same_polygons(made, self.state.polygons):
            return False
        _check_room(made)
        self._do(EditState(made))
        return True

    # -- changing -------------------------------------------------------------------------------

    def move_point(self, x: float, y: float) -> bool:
        """Move the selected point; the cursor goes with it. Successive moves are one edit."""
        polygon, point, index = self.selected, self.state.point, self.state.selected
        if polygon is None or point is None or index is None:
            return False
        x, y = self.clamp(x, y)
        self.cursor = (x, y)
        points = polygon.points.copy()
        points[point] = x, y
        if np.array_equal(points, polygon.points):
            return False
        state = self._changed_polygon(index, frozen(polygon.include, points))
        if self._moving == (index, point):
            self.state = state
            self._redo.clear()
        else:
            self._do(state)
            self._moving = (index, point)
        return True

    def put_back(self) -> bool:
        """End moving a point by taking its moves back."""
        return self.undo() if self._moving is not None else False

    def end_move(self) -> None:
        """What moves next is another edit."""
        self._moving = None

    def insert_point(self) -> bool:
        """A new point on the edge nearest to the cursor, of the selected polygon if there is one.

        Raises:
            BadInputError: no room for more points.
        """
        found = self.nearest_edge(np.inf, self.state.selected)
        if found is None:
            return False
        self._room(points=1)
        index, at, (x, y) = found
        polygon = self.state.polygons[index]
        points = np.insert(polygon.points, at, (x, y), axis=0).astype(np.float32)
        state = self._changed_polygon(index, frozen(polygon.include, points))
        self._do(replace(state, selected=index, point=at))
        self.cursor_to(x, y)
        return True

    def delete_point(self) -> bool:
        """Delete the selected point; with fewer than three left, the polygon (as DFL does)."""
        polygon, point, index = self.selected, self.state.point, self.state.selected
        if polygon is None or point is None or index is None:
            return False
        if len(polygon.points) <= FEWEST:
            return self.delete_polygon()
        points = np.delete(polygon.points, point, axis=0)
        state = self._changed_polygon(index, frozen(polygon.include, points))
        self._do(replace(state, point=point % len(points)))
        place = self.selected_point
        if place is not None:
            self.cursor_to(*place)
        return True

    def delete_polygon(self) -> bool:
        """Delete the selected polygon, or the only one."""
        index = self.state.selected
        if index is None and len(self.state.polygons) == 1:
            index = 0
        if index is None:
            return False
        left = self.state.polygons[:index] + self.state.polygons[index + 1 :]
        self._do(replace(self.state, polygons=left, selected=None, point=None))
        return True

    def toggle_kind(self) -> bool:
        """Including becomes excluding and back: of the draft, the selected, or the only one."""
        if self.state.draft is not None:
            self._do(replace(self.state, draft_include=not self.state.draft_include))
            return True
        index = self.state.selected
        if index is None and len(self.state.polygons) == 1:
            index = 0
        if index is None:
            return False
        old = self.state.polygons[index]
        made = frozen(not old.include, old.points)
        others = self.state.polygons[:index] + self.state.polygons[index + 1 :]
        ordered = _ordered((*others, made))
        at = next(i for i, p in enumerate(ordered) if p is made)
        self._do(replace(self.state, polygons=ordered, selected=at))
        return True

    def simplify(self, tolerance: float) -> bool:
        """Leave out points that move the outline by less than *tolerance* pixels."""
        index = self.state.selected
        polygons = tuple(
            frozen(p.include, simplified(p.points, tolerance)) if index in (None, i) else p
            for i, p in enumerate(self.state.polygons)
        )
        if sum(len(p.points) for p in polygons) == self.points:
            return False
        self._do(replace(self.state, polygons=polygons, point=None))
        return True

    @property
    def points(self) -> int:
        """Of all finished polygons."""
        return sum(len(p.points) for p in self.state.polygons)

    # -- undo -----------------------------------------------------------------------------------

    @property
    def can_undo(self) -> bool:
        """Whether there is something to take back."""
        return bool(self._undo)

    @property
    def can_redo(self) -> bool:
        """Whether something was taken back."""
        return bool(self._redo)

    def undo(self) -> bool:
        """Take the last edit back."""
        return self._travel(self._undo, self._redo)

    def redo(self) -> bool:
        """Do again what was taken back."""
        return self._travel(self._redo, self._undo)

    def _travel(self, source: list[EditState], target: list[EditState]) -> bool:
        if not source:
            return False
        target.append(self.state)
        self.state = source.pop()
        self._moving = None
        place = self.selected_point
        if place is not None:
            self.cursor_to(*place)
        elif self.state.draft:
            self.cursor_to(*self.state.draft[-1])
        return True

    # -- inside ---------------------------------------------------------------------------------

    def limited(self, points: ArrayLike) -> Points:
        """Points at most one picture outside of it: what is carried over may reach beyond."""
        array = np.nan_to_num(np.asarray(points, np.float32).reshape(-1, 2))
        low = (-self.width, -self.height)
        return np.clip(array, low, (2 * self.width, 2 * self.height)).astype(np.float32)

    def _do(self, state: EditState) -> None:
        self._undo.append(self.state)
        self._redo.clear()
        self._moving = None
        self.state = state

    def _with(self, made: Polygon, state: EditState) -> None:
        ordered = _ordered((*state.polygons, made))
        at = next(i for i, p in enumerate(ordered) if p is made)
        self._do(replace(state, polygons=ordered, selected=at, point=None))

    def _changed_polygon(self, index: int, polygon: Polygon) -> EditState:
        polygons = list(self.state.polygons)
        polygons[index] = polygon
        return replace(self.state, polygons=tuple(polygons))

    def _room(self, *, polygons: int = 0, points: int = 0) -> None:
        _check_room(self.state.polygons, polygons, points)


def frozen(include: bool, points: ArrayLike) -> Polygon:
    """A polygon whose points nobody can change by mistake."""
    array = np.array(points, np.float32).reshape(-1, 2)
    array.flags.writeable = False
    return Polygon(bool(include), array)


def same_polygons(one: Sequence[Polygon], other: Sequence[Polygon]) -> bool:
    """Whether both hold the same points and kinds in the same order."""
    return len(one) == len(other) and all(
        a.include == b.include and np.array_equal(a.points, b.points)
        for a, b in zip(one, other, strict=True)
    )


def simplified(points: ArrayLike, tolerance: float) -> Points:
    """A closed outline (n, 2) with fewer points, at least three (Douglas and Peucker, 1973)."""
    import cv2

    array = np.asarray(points, np.float32).reshape(-1, 1, 2)
    if len(array) <= FEWEST:
        return array[:, 0]
    kept = cv2.approxPolyDP(array, float(tolerance), True)[:, 0]
    return np.asarray(kept if len(kept) >= FEWEST else array[:, 0], np.float32)


def _check_room(made: Sequence[Polygon], polygons: int = 0, points: int = 0) -> None:
    """Refuse more than DFL's metadata have room for (dfl-data.md 1.1)."""
    if len(made) + polygons > MOST_POLYGONS:
        raise BadInputError(f"a face has at most {MOST_POLYGONS} polygons")
    if sum(len(p.points) for p in made) + points > MOST_POINTS:
        raise BadInputError(
            f"the outlines of a face have at most {MOST_POINTS:,} points together",
            hint="simplify them first (S)",
        )


def _ordered(polygons: Iterable[Polygon]) -> tuple[Polygon, ...]:
    return tuple(sorted(polygons, key=lambda p: not p.include))

"""The keys of the polygon editor, and when each makes sense.

Where DeepFaceLab's editor has a key that fits (A, D, Q, W, X, 4, 5, `), it is the same here;
what removes a face takes a capital.
"""

from enum import StrEnum

from textual.binding import Binding, BindingType


class EditMode(StrEnum):
    """What the arrow keys and space do."""

    NOTHING = "no face"
    EDIT = "edit"
    DRAW = "draw"
    MOVE = "move a point"
    RAYS = "draw round the face"


def _arrows(action: str, label: str, *, prefix: str = "") -> list[BindingType]:
    """Arrow keys and, where they are free, hjkl."""
    made: list[BindingType] = []
    letters = {"": "hjkl", "shift+": "HJKL"}.get(prefix, "    ")
    sides = (("left", -1, 0), ("down", 0, 1), ("up", 0, -1), ("right", 1, 0))
    for (name, right, down), letter in zip(sides, letters, strict=True):
        keys = f"{prefix}{name}" + (f",{letter}" if letter.strip() else "")
        made.append(
            Binding(keys, f"{action}({right},{down})", f"{label} {name}", show=False,
                    id=f"mask-{action}-{name}")
        )  # fmt: skip
    return made


MASK_KEYS: list[BindingType] = [
    # round the face: the same keys mean the ray, not the cursor
    Binding("space,right,l", "ray_accept", "Take", id="mask-ray-accept",
            tooltip="This point is right: next ray"),
    Binding("up,k", "ray_move(1)", "Out", id="mask-ray-out", tooltip="The edge is farther out"),
    Binding("down,j", "ray_move(-1)", "In", id="mask-ray-in", tooltip="The edge is nearer"),
    Binding("K,shift+up", "ray_move(4)", "Far out", show=False, id="mask-ray-far-out"),
    Binding("J,shift+down", "ray_move(-4)", "Far in", show=False, id="mask-ray-far-in"),
    Binding("left,h,backspace,u", "ray_back", "Back", id="mask-ray-back",
            tooltip="Ask about the ray before again"),
    Binding("enter", "ray_rest", "Take the rest", id="mask-ray-rest",
            tooltip="Take this and every proposal that is left"),
    Binding("tab", "ray_source", "Other proposal", show=False, id="mask-ray-source",
            tooltip="Edge of the picture, stored mask, landmarks"),
    # drawing and moving
    Binding("space", "point", "Point", id="mask-point",
            tooltip="Set a point; on the first one: close"),
    Binding("enter", "close", "Close", id="mask-close", tooltip="Close the polygon"),
    Binding("backspace,x", "unpoint", "Take back", id="mask-unpoint",
            tooltip="Take the last point back"),
    Binding("space,enter", "drop", "Drop", id="mask-drop", tooltip="Leave the point here"),
    # editing
    Binding("space,enter", "place", "Draw or grab", id="mask-place",
            tooltip="On a point: move it; on a line: select; elsewhere: begin a polygon"),
    Binding("r", "rays", "Round the face", id="mask-rays",
            tooltip="Draw by taking a proposal on each of 24 rays"),
    Binding("y", "copy(False)", "Copy to next", id="mask-copy",
            tooltip="Next face, with these outlines carried over by the landmarks"),
    Binding("m", "automask", "Auto mask", id="mask-auto", tooltip="Outlines by the network"),
    Binding("i", "interpolate", "Interpolate", id="mask-interpolate",
            tooltip="Fill the frames between two labelled ones of this track"),
    Binding("n", "unlabelled(1)", "Next unlabelled", id="mask-next-unlabelled"),
    Binding("d", "face(1)", "Next", id="mask-next", tooltip="Next face; saves this one"),
    Binding("a", "face(-1)", "Previous", show=False, id="mask-previous"),
    Binding("D", "face(5)", "Five faces on", show=False, id="mask-next-five"),
    Binding("A", "face(-5)", "Five faces back", show=False, id="mask-previous-five"),
    Binding("N", "unlabelled(-1)", "Previous unlabelled", show=False,
            id="mask-previous-unlabelled"),
    Binding("right_square_bracket", "labelled(1)", "Next labelled", show=False,
            id="mask-next-labelled"),
    Binding("left_square_bracket", "labelled(-1)", "Previous labelled", show=False,
            id="mask-previous-labelled"),
    Binding("g", "go_to", "Go to face N", show=False, id="mask-go-to"),
    Binding("Y", "copy(True)", "Copy to next, replacing", show=False, id="mask-copy-replacing"),
    Binding("X", "trash", "Move face to trash", show=False, id="mask-trash",
            tooltip="u takes it back"),
    Binding("s,ctrl+s", "save", "Save", show=False, id="mask-save",
            tooltip="Leaving a face saves, too"),
    Binding("u,ctrl+z", "undo", "Undo", show=False, id="mask-undo"),
    Binding("U,ctrl+y", "redo", "Redo", show=False, id="mask-redo"),
    Binding("tab", "next_point(1)", "Next point", show=False, id="mask-next-point"),
    Binding("shift+tab", "next_point(-1)", "Previous point", show=False, id="mask-previous-point"),
    Binding("p", "next_polygon(1)", "Next polygon", show=False, id="mask-next-polygon"),
    Binding("P", "next_polygon(-1)", "Previous polygon", show=False, id="mask-previous-polygon"),
    Binding("o", "insert", "Insert a point", show=False, id="mask-insert",
            tooltip="On the edge nearest to the cursor"),
    Binding("x,backspace", "delete", "Delete point or polygon", show=False, id="mask-delete",
            tooltip="Whichever is selected"),
    Binding("delete", "delete_polygon", "Delete polygon", show=False, id="mask-delete-polygon"),
    Binding("t", "toggle_kind", "Include or exclude", show=False, id="mask-toggle",
            tooltip="Changes the selected polygon"),
    Binding("q", "kind(True)", "New ones include", show=False, id="mask-include"),
    Binding("w", "kind(False)", "New ones exclude", show=False, id="mask-exclude"),
    Binding("b", "from_hull(False)", "Polygon of the hull", show=False, id="mask-from-hull"),
    Binding("B", "from_hull(True)", "Polygon of hull and forehead", show=False,
            id="mask-from-forehead"),
    Binding("f", "from_mask", "Polygons of the stored mask", show=False, id="mask-from-mask"),
    Binding("S", "simplify", "Simplify", show=False, id="mask-simplify",
            tooltip="Fewer points, nearly the same outline"),
    # where
    *_arrows("cursor", "Cursor"),
    *_arrows("far", "Cursor far", prefix="shift+"),
    *_arrows("fine", "Cursor one pixel", prefix="ctrl+"),
    Binding("apostrophe", "landmark(0)", "Nearest landmark", show=False, id="mask-landmark"),
    Binding("full_stop", "landmark(1)", "Next landmark", show=False, id="mask-next-landmark"),
    Binding("comma", "landmark(-1)", "Previous landmark", show=False, id="mask-previous-landmark"),
    Binding("plus,equals_sign", "zoom(1)", "Closer", show=False, id="mask-zoom-in"),
    Binding("minus", "zoom(-1)", "Farther", show=False, id="mask-zoom-out"),
    Binding("0", "zoom(0)", "Whole face", show=False, id="mask-zoom-all"),
    Binding("c", "centre", "Centre the view", show=False, id="mask-centre"),
    Binding("pageup", "pan(0,-1)", "View up", show=False, id="mask-pan-up"),
    Binding("pagedown", "pan(0,1)", "View down", show=False, id="mask-pan-down"),
    Binding("home", "pan(-1,0)", "View left", show=False, id="mask-pan-left"),
    Binding("end", "pan(1,0)", "View right", show=False, id="mask-pan-right"),
    # what
    Binding("4", "base('baked')", "View baked polygons", show=False, id="mask-baked"),
    Binding("5", "base('stored')", "View the stored mask", show=False, id="mask-stored"),
    Binding("grave_accent", "dim", "Dim outside", show=False, id="mask-dim",
            tooltip="Outside of the stored mask, of the polygons, or nothing"),
    Binding("v", "hull", "Show the hull", show=False, id="mask-hull"),
    Binding("V", "landmarks", "Show the landmarks", show=False, id="mask-landmarks"),
    Binding("z", "panel", "Hide or show the list", show=False, id="mask-panel"),
    Binding("escape", "back", "Back", show=False, id="mask-back",
            tooltip="Leave what was begun, then the editor; saves"),
]  # fmt: skip

FIRST: dict[EditMode, frozenset[str]] = {
    EditMode.RAYS: frozenset(
        f"mask-ray-{n}" for n in ("accept", "out", "in", "back", "rest", "source")
    ),
    EditMode.DRAW: frozenset(("mask-point", "mask-close", "mask-unpoint")),
    EditMode.MOVE: frozenset(("mask-drop",)),
    EditMode.EDIT: frozenset(("mask-place", "mask-rays", "mask-copy", "mask-auto")),
    EditMode.NOTHING: frozenset(("mask-next",)),
}
"""Which keys the bar shows first."""

_RAYS = frozenset(("ray_accept", "ray_move", "ray_back", "ray_rest", "ray_source"))
_ONLY = {
    **dict.fromkeys(_RAYS, EditMode.RAYS),
    "point": EditMode.DRAW,
    "close": EditMode.DRAW,
    "unpoint": EditMode.DRAW,
    "drop": EditMode.MOVE,
    "place": EditMode.EDIT,
}
_ALWAYS = frozenset(("face", "unlabelled", "labelled", "go_to", "trash", "undo", "back", "panel"))
_NOT_WHILE_BUSY = frozenset(
    (
        *("rays", "copy", "automask", "interpolate", "insert", "delete", "delete_polygon"),
        *("next_point", "next_polygon", "from_hull", "from_mask", "simplify"),
    )
)
_LOOKING = frozenset(("zoom", "centre", "pan", "base", "dim", "hull", "landmarks", "save"))


def allowed(action: str, mode: EditMode) -> bool:
    """Whether one of :data:`MASK_KEYS` means something in *mode*."""
    if action in _ONLY:
        return _ONLY[action] is mode
    if action in _ALWAYS or mode is EditMode.EDIT:
        return True
    if mode is EditMode.NOTHING:
        return False
    if action in _LOOKING:
        return True
    if mode is EditMode.RAYS:
        return action in ("kind", "toggle_kind")
    return action not in _NOT_WHILE_BUSY

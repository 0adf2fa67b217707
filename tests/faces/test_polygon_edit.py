"""The model of polygon editing: whatever is done, the outlines stay valid and undo restores."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recaster_tui.errors import BadInputError
from recaster_tui.faces.codec import (
    decode_pixels,
    encode_jpeg,
    read_face,
    save_metadata,
    write_face,
)
from recaster_tui.faces.face import Face, Polygon
from recaster_tui.faces.masks import encode_xseg_mask
from recaster_tui.faces.metadata import parse_polygons, polygons_value
from recaster_tui.faces.pickling import dumps
from recaster_tui.faces.polygon_edit import (
    MOST_POINTS,
    MOST_POLYGONS,
    PolygonEditor,
    same_polygons,
)
from recaster_tui.faces.types import FaceType
from recaster_tui.faces.unpickle import FACE_RULES, restricted_loads

SIDE = 64


def _polygons(low: float, high: float) -> st.SearchStrategy[list[Polygon]]:
    number = st.floats(low, high, width=32)
    outline = st.lists(st.tuples(number, number), min_size=3, max_size=9)
    made = st.builds(lambda kind, p: Polygon(kind, np.array(p, np.float32)), st.booleans(), outline)
    return st.lists(made, max_size=4)


_place = st.tuples(st.floats(-90, 150), st.floats(-90, 150))
_step = st.one_of(
    st.tuples(st.sampled_from(["cursor_to", "move_point"]), _place),
    st.tuples(st.just("replace_all"), _polygons(-2000, 2000).map(lambda p: (p,))),
    st.tuples(st.just("simplify"), st.floats(0, 20).map(lambda t: (t,))),
    st.tuples(
        st.sampled_from(["select_next_point", "select_next_polygon"]),
        st.sampled_from([(1,), (-1,)]),
    ),
    st.tuples(
        st.sampled_from(
            [
                *("begin", "add_point", "close", "drop_draft", "remove_last_point", "insert_point"),
                *("delete_point", "delete_polygon", "toggle_kind", "put_back", "end_move"),
                *("undo", "redo"),
            ]
        ),
        st.just(()),
    ),
)


def run(editor: PolygonEditor, step: tuple[str, Any]) -> None:
    name, arguments = step
    before = editor.state
    try:
        getattr(editor, name)(*arguments)
    except BadInputError:
        assert editor.state is before  # a refusal changes nothing


@settings(max_examples=150, deadline=None)
@given(start=_polygons(-SIDE, 2 * SIDE), steps=st.lists(_step, max_size=40))
def test_undo_of_everything_restores_and_every_state_can_be_stored(
    start: list[Polygon], steps: list[tuple[str, Any]]
) -> None:
    editor = PolygonEditor((SIDE, SIDE), start)
    first = editor.state
    for step in steps:
        run(editor, step)
        kinds = [p.include for p in editor.polygons]
        assert kinds == sorted(kinds, reverse=True)  # includes first: dfl-data.md 1.6
        assert all(len(p.points) >= 3 for p in editor.polygons)
        assert editor.points <= MOST_POINTS and len(editor.polygons) <= MOST_POLYGONS
        assert 0 <= editor.cursor[0] <= SIDE - 1 and 0 <= editor.cursor[1] <= SIDE - 1
        for polygon in editor.polygons:
            assert (polygon.points >= -SIDE).all() and (polygon.points <= 2 * SIDE).all()
        selected, point = editor.state.selected, editor.state.point
        assert selected is None or selected < len(editor.polygons)
        if point is not None:
            assert selected is not None and point < len(editor.polygons[selected].points)
        stored = restricted_loads(dumps(polygons_value(list(editor.polygons))), FACE_RULES)
        assert same_polygons(parse_polygons(stored), editor.polygons)
    last = editor.state
    count = 0
    while editor.undo():
        count += 1
    assert same_polygons(editor.polygons, first.polygons) and editor.state.draft == first.draft
    assert not editor.changed
    while editor.redo():
        pass
    if count:
        assert same_polygons(editor.polygons, last.polygons) and editor.state.draft == last.draft


def test_points_that_others_set_far_out_stay_where_they_are() -> None:
    far = np.array([(-9e5, 3), (40, 9e5), (7.25, 7)], np.float32)
    editor = PolygonEditor((SIDE, SIDE), [Polygon(True, far)])
    editor.select_next_point()
    assert editor.cursor == (0, 3)  # as near as the cursor can come
    editor.select(0, 2)
    editor.move_point(8, 8)
    assert np.array_equal(editor.polygons[0].points[:2], far[:2])


def test_moves_of_a_point_are_one_edit_and_the_old_points_stay_whole() -> None:
    square = np.array([(10, 10), (40, 10), (40, 40), (10, 40)], np.float32)
    editor = PolygonEditor((SIDE, SIDE), [Polygon(True, square)])
    editor.select(0, 1)
    for x in range(41, 60):
        editor.move_point(x, 10)
    assert editor.polygons[0].points[1].tolist() == [59, 10]
    editor.move_point(900, -900)
    assert editor.polygons[0].points[1].tolist() == [63, 0]
    assert editor.undo() and not editor.undo()
    assert np.array_equal(editor.polygons[0].points, square)


def test_golden_order_of_baking() -> None:
    """Appendix B.2: an exclude that is listed first is still carved out of the include."""
    hole = Polygon(False, np.array([(4, 4), (8, 4), (8, 8), (4, 8)], np.float32))
    face = np.array([(2.9, 2.9), (12.2, 2.1), (12.7, 12.7), (2.2, 12.9)], np.float32)
    editor = PolygonEditor((16, 16), [hole, Polygon(True, face)])
    assert [p.include for p in editor.polygons] == [True, False]
    assert editor.baked().sum() == 96
    editor.select(1)
    assert editor.toggle_kind() and editor.baked().sum() == 121
    assert editor.selected is editor.polygons[1]


def test_a_change_of_kind_alone_is_a_change() -> None:
    """DFL's own editor misses it (dfl-data.md 7.2)."""
    editor = PolygonEditor((SIDE, SIDE), [Polygon(True, np.eye(3, 2, dtype=np.float32) * 9)])
    editor.toggle_kind()
    assert editor.changed
    editor.toggle_kind()
    assert not editor.changed


def test_the_largest_labels_with_the_largest_mask_fit_in_a_face(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(5, 250, (68, 2)).astype(np.float32)
    path = tmp_path / "00001_0.jpg"
    face = Face(path, path.name, FaceType.WHOLE, points, (256, 256, 3), "00001.png",
                np.array([1, 2, 3, 4]), points, np.eye(2, 3))  # fmt: skip
    image = rng.integers(0, 255, (256, 256, 3), np.uint8)
    write_face(path, encode_jpeg(image), face)
    pixels = decode_pixels(path)
    editor = PolygonEditor((256, 256))
    size = MOST_POINTS // MOST_POLYGONS
    made = [Polygon(i % 2 == 0, rng.uniform(0, 255, (size, 2)).astype(np.float32))
            for i in range(MOST_POLYGONS)]  # fmt: skip
    editor.replace_all(made)
    stored = read_face(path)
    stored.polygons = list(editor.polygons)
    noise = (rng.uniform(0, 1, (256, 256)) > 0.5).astype(np.float32)  # a PNG of 8 KB
    stored.xseg_mask = encode_xseg_mask(noise)
    save_metadata(stored)
    again = read_face(path)
    assert same_polygons(again.polygons, editor.polygons)
    assert np.array_equal(decode_pixels(path), pixels)
    with pytest.raises(BadInputError):
        editor.begin()
    with pytest.raises(BadInputError):
        editor.replace_all([*made, made[0]])
    assert same_polygons(again.polygons, editor.polygons)


def test_jumping_to_landmarks() -> None:
    landmarks = np.stack([np.arange(68) * 0.9, np.full(68, 30.0)], 1)
    editor = PolygonEditor((SIDE, SIDE))
    editor.cursor_to(9.1, 34)
    assert editor.cursor_to_landmark(landmarks) == 10
    assert editor.cursor == pytest.approx((9.0, 30.0))
    assert editor.cursor_to_landmark(landmarks, 1) == 11
    assert editor.cursor_to_landmark(landmarks, -1) == 10

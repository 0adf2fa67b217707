import cv2
import numpy as np
import pytest

from recaster_tui.errors import BadInputError
from recaster_tui.extraction.finder import FoundFace
from recaster_tui.extraction.settings import ExtractSettings
from recaster_tui.extraction.writer import cut_faces, debug_picture, warp
from recaster_tui.faces.types import FaceType
from tests.extraction.fake_finder import mean_face


def found(scale: float = 1.0) -> FoundFace:
    """A face of 100 pixels whose detected rectangle has *scale* times its sides."""
    middle, half = np.array([250.0, 250.0]), 50 * scale
    rect = np.concatenate([middle - half, middle + half]).astype(np.float32)
    return FoundFace(rect, mean_face(200, 200, 100, 100), None, 1.0, None)


def test_area_filter_of_dfl_holds_up_to_full_only():
    frame = np.zeros((500, 500, 3), np.uint8)
    for face_type, kept in (
        (FaceType.HALF, 0),
        (FaceType.MIDFULL, 0),
        (FaceType.FULL, 0),
        (FaceType.WHOLE, 1),
        (FaceType.HEAD, 1),
    ):
        assert len(cut_faces(frame, [found(0.3)], 256, face_type)) == kept, face_type
        assert len(cut_faces(frame, [found()], 256, face_type)) == 1, face_type


def test_the_filter_turns_at_four_times_the_area():
    frame = np.zeros((500, 500, 3), np.uint8)
    (cut,) = cut_faces(frame, [found()], 256, FaceType.FULL)
    inverse = cv2.invertAffineTransform(cut.matrix)
    side = float(np.hypot(*inverse[:, 0])) * 255
    limit = side / 2 / 100  # the square is four times the rectangle here
    assert len(cut_faces(frame, [found(limit * 1.02)], 256, FaceType.FULL)) == 1
    assert len(cut_faces(frame, [found(limit * 0.98)], 256, FaceType.FULL)) == 0


def test_landmarks_in_a_heap_are_no_face():
    heap = FoundFace(np.zeros(4, np.float32), np.ones((68, 2), np.float32), None, 1.0, None)
    assert cut_faces(np.zeros((99, 99, 3), np.uint8), [heap], 256, FaceType.WHOLE) == []


def test_shrinking_averages_and_stays_in_place():
    # A smooth ramp keeps its values at the places the matrix says; a fine grid becomes its mean.
    ramp = np.broadcast_to(np.arange(1024)[None, :, None] / 4, (1024, 1024, 3)).astype(np.uint8)
    matrix = np.array([[0.25, 0, 3.0], [0, 0.25, 5.0]])
    small = warp(np.ascontiguousarray(ramp), matrix, 128)
    x = np.arange(20, 120)
    np.testing.assert_allclose(small[64, x, 0], (x - 3) / 0.25 / 4, atol=1.0)
    grid = np.zeros((1024, 1024, 3), np.uint8)
    grid[::2, ::2] = grid[1::2, 1::2] = 200
    assert np.abs(warp(grid, matrix, 128)[20:100, 20:100].astype(int) - 100).max() <= 6


def test_debug_picture_marks_dropped_faces_differently():
    frame = np.full((500, 500, 3), 128, np.uint8)
    faces = [found(0.3)]
    assert not cut_faces(frame, faces, 256, FaceType.FULL)
    without = debug_picture(frame, faces, [])
    with_square = debug_picture(frame, faces, cut_faces(frame, faces, 256, FaceType.WHOLE))
    red = np.array((0, 0, 255))
    assert (with_square == red).all(-1).sum() > 200 > (without == red).all(-1).sum() == 0
    assert (without == (0, 255, 0)).all(-1).any() and (without == (255, 0, 0)).all(-1).any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 255},
        {"size": 2049},
        {"quality": 0},
        {"quality": 101},
        {"every": 0},
        {"fps": 0.0},
        {"fps": 5.0, "every": 2},
        {"max_faces": -1},
        {"prefix": "a_b"},
        {"prefix": "../x"},
        {"prefix": ".x"},
        {"face_type": FaceType.MARK_ONLY},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(BadInputError):
        ExtractSettings(**wrong)
    assert ExtractSettings(face_type=FaceType.HEAD).face_size == 768

"""Alignment, pose and masks against DFL's own numbers (spec: dfl-data.md 4 and appendix B)."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recaster_tui.errors import BadInputError
from recaster_tui.faces import geometry, masks, pose
from recaster_tui.faces.face import Polygon
from recaster_tui.faces.tables import ALIGNMENT_POINTS, ALIGNMENT_TARGET, MEAN_FACE_3D
from recaster_tui.faces.types import FaceType

ALIGNED = [t for t in FaceType if t.padding is not None]


@pytest.fixture(scope="module")
def golden(data: Path) -> dict[str, np.ndarray]:
    with np.load(data / "geometry.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def vectors(data: Path) -> dict:
    return json.loads((data / "golden_alignment.json").read_text())


def test_face_types_are_dfl_s(golden):
    assert [t.dfl_name for t in ALIGNED] == list(golden["face_types"])
    for face_type in FaceType:
        assert FaceType.from_dfl(face_type.dfl_name.upper()) is face_type
        assert FaceType.from_dfl(face_type.dfl_number) is face_type
    paddings = [t.padding for t in (FaceType.HALF, FaceType.FULL, FaceType.WHOLE, FaceType.HEAD)]
    assert paddings == [0.0, 0.2109375, 0.40, 0.70]
    with pytest.raises(BadInputError, match="whole_face"):
        FaceType.from_dfl("wholeface")


def test_umeyama(golden):
    for landmarks, wanted in zip(golden["landmarks"], golden["umeyama_scale"], strict=True):
        matrix = geometry.umeyama(landmarks[list(ALIGNMENT_POINTS)], ALIGNMENT_TARGET)
        np.testing.assert_allclose(matrix, wanted, atol=1e-10)


@pytest.mark.parametrize(("key", "scale"), [("", 1.0), ("_scale1.25", 1.25)])
def test_alignment_of_every_type(golden, key, scale):
    wanted = golden[f"transform_mat_256{key}"]
    for i, landmarks in enumerate(golden["landmarks"]):
        for j, face_type in enumerate(ALIGNED):
            matrix = geometry.alignment_matrix(landmarks, 256, face_type, scale)
            np.testing.assert_allclose(matrix, wanted[i, j], atol=1e-4)


def test_alignment_vectors_of_the_spec(vectors):
    landmarks = np.array(vectors["landmarks_G1"])
    names = dict(zip(vectors["mats_256"], ALIGNED, strict=True))
    for key, scale in (("mats_256", 1.0), ("mats_256_scale1.1", 1.1)):
        for name, wanted in vectors[key].items():
            matrix = geometry.alignment_matrix(landmarks, 256, names[name], scale)
            np.testing.assert_allclose(matrix, wanted, atol=1e-4)
    whole = geometry.alignment_matrix(landmarks, 256, FaceType.WHOLE)
    aligned = geometry.transform_points(landmarks, whole)
    np.testing.assert_allclose(aligned, vectors["aligned_WF256"], atol=1e-4)
    twice = geometry.alignment_matrix(landmarks, 512, FaceType.WHOLE)
    np.testing.assert_allclose(twice, whole * 2, atol=1e-5)
    again = geometry.alignment_matrix(aligned, 256, FaceType.WHOLE)
    np.testing.assert_allclose(again, [[1, 0, 0], [0, 1, 0]], atol=1e-4)

    angles = pose.pitch_yaw_roll(aligned, 256)
    np.testing.assert_allclose(angles, vectors["pyr_WF256"], atol=1e-5)
    assert masks.hull_mask((256, 256, 3), aligned).sum() == vectors["hull_px_mod1"]
    assert masks.hull_mask((256, 256, 3), aligned, 2.0).sum() == vectors["hull_px_mod2"]
    assert masks.eyes_mask((256, 256), aligned).sum() == pytest.approx(vectors["eye_sum"], abs=0.01)
    mouth = masks.mouth_mask((256, 256), aligned)
    assert mouth.sum() == pytest.approx(vectors["mouth_sum"], abs=0.01)
    brows = masks.expand_eyebrows(aligned)[17:27]
    assert brows.tolist() == vectors["expand_eyebrows_17_26"]


@pytest.mark.parametrize(
    ("angle", "yaw", "shift"),
    [
        (0.0, -0.034029, (-24.97375, 78.644242)),
        (0.4, 0.432314, (-45.872946, 83.103049)),
        (-0.4, -0.491413, (-11.475601, 69.260086)),
    ],
)
def test_head_follows_the_yaw(angle, yaw, shift):
    x, y, z = MEAN_FACE_3D.T.astype(np.float64)
    turned = x * math.cos(angle) + z * math.sin(angle)
    landmarks = np.stack([turned, y], axis=1) * 3 + (640, 400)
    unit = geometry.transform_points(landmarks, geometry.unit_square_matrix(landmarks))
    assert pose.averaged_yaw(unit) == pytest.approx(yaw, abs=1e-5)
    matrix = geometry.alignment_matrix(landmarks, 256, FaceType.HEAD)
    np.testing.assert_allclose(matrix[:, 2], shift, atol=1e-4)


def test_pose_rect_and_brows(golden):
    for landmarks, wanted in zip(
        golden["aligned_landmarks"], golden["pitch_yaw_roll_aligned_256"], strict=True
    ):
        np.testing.assert_allclose(pose.pitch_yaw_roll(landmarks, 256), wanted, atol=1e-4)
        half = pose.pitch_yaw_roll(landmarks / 2, 128)
        np.testing.assert_allclose(half, wanted, atol=1e-4)
    for i, landmarks in enumerate(golden["landmarks"]):
        rect = geometry.landmarks_rect(landmarks)
        np.testing.assert_allclose(rect, golden["rect_from_landmarks"][i], atol=1e-3)
        brows = masks.expand_eyebrows(landmarks, 2.0)
        assert np.array_equal(brows, golden["expand_eyebrows_2.0"][i])


def test_masks_are_exact(golden, data):
    def bits(mask):
        assert mask.dtype == np.float32
        assert mask.shape == (256, 256)
        return np.packbits(mask.astype(bool), axis=-1)

    shape, aligned = (256, 256, 3), golden["aligned_landmarks"]
    for landmarks, wanted in zip(aligned, golden["hull_256_bits"], strict=True):
        assert np.array_equal(bits(masks.hull_mask(shape, landmarks)), wanted)
    for landmarks, wanted in zip(aligned, golden["hull_256_expand0.5_bits"], strict=False):
        assert np.array_equal(bits(masks.hull_mask(shape, landmarks, 0.5)), wanted)
    np.testing.assert_allclose(masks.eyes_mask(shape, aligned[0]), golden["eye_256"][0], atol=1e-6)
    mouth = masks.mouth_mask(shape, aligned[0])
    np.testing.assert_allclose(mouth, golden["mouth_256"][0], atol=1e-6)
    drawn = json.loads((data / "polys.json").read_text())
    for items, wanted in zip(drawn, golden["polys_mask_256_bits"], strict=True):
        polygons = [Polygon(p["type"] == 1, np.array(p["pts"], np.float32)) for p in items]
        assert np.array_equal(bits(masks.polygon_mask(shape, reversed(polygons))), wanted)


def test_polygon_vector_of_the_spec():
    exclude = Polygon(False, np.array([(4, 4), (8, 4), (8, 8), (4, 8)], np.float32))
    include = Polygon(
        True, np.array([(2.9, 2.9), (12.2, 2.1), (12.7, 12.7), (2.2, 12.9)], np.float32)
    )
    assert masks.polygon_mask((16, 16), [exclude, include]).sum() == 96


angles = st.floats(-math.pi, math.pi)


@settings(max_examples=50, deadline=None)
@given(angle=angles, scale=st.floats(0.2, 20), x=st.floats(-500, 2000), y=st.floats(-500, 2000))
def test_an_aligned_face_does_not_depend_on_where_it_was(angle, scale, x, y):
    """Any turned, scaled, moved face lands on the same pixels: alignment's whole purpose."""
    base = MEAN_FACE_3D[:, :2].astype(np.float64)
    turn = np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])
    moved = base @ turn.T * scale + (x, y)
    for face_type in (FaceType.HALF, FaceType.WHOLE, FaceType.HEAD):
        here = geometry.alignment_matrix(moved, 256, face_type)
        there = geometry.alignment_matrix(base, 256, face_type)
        np.testing.assert_allclose(
            geometry.transform_points(moved, here),
            geometry.transform_points(base, there),
            atol=0.05,  # float32 pixels around 2000 and a crop enlarged tenfold
        )


def test_mirroring_twice_is_nothing(golden):
    for landmarks in golden["aligned_landmarks"]:
        twice = geometry.mirror_landmarks(geometry.mirror_landmarks(landmarks, 256), 256)
        np.testing.assert_allclose(twice, landmarks, atol=1e-9)


def test_impossible_requests():
    face = MEAN_FACE_3D[:, :2]
    for face_type in (FaceType.MARK_ONLY, FaceType.CUSTOM):
        with pytest.raises(BadInputError, match="no alignment"):
            geometry.alignment_matrix(face, 256, face_type)
    for landmarks in (np.zeros((68, 2)), np.full((68, 2), np.nan), face[:67]):
        with pytest.raises(BadInputError):
            geometry.alignment_matrix(landmarks, 256, FaceType.FULL)
    with pytest.raises(BadInputError, match="32"):
        masks.eyes_mask((31, 31), face)
    assert pose.pitch_yaw_roll(np.full((68, 2), np.nan), 256) == (0.0, 0.0, 0.0)


def test_xseg_mask_encoding():
    rng = np.random.default_rng(1)
    smooth = np.zeros((256, 256), np.float32)
    smooth[60:200, 50:190] = 1
    stored = masks.encode_xseg_mask(smooth[..., None])
    assert stored.startswith(b"\x89PNG")
    assert np.array_equal(masks.decode_xseg_mask(stored), smooth)
    noise = rng.random((256, 256), np.float32)
    stored = masks.encode_xseg_mask(noise)
    assert stored.startswith(b"\xff\xd8")
    assert len(stored) <= masks.XSEG_MASK_LIMIT
    assert np.abs(masks.decode_xseg_mask(stored) - noise).mean() < 0.1

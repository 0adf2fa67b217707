"""Outlines carried over by landmarks, interpolation, tracks, and drawing round the face."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recaster_tui.demo.frames import write_frame
from recaster_tui.demo.plan import DemoPlan
from recaster_tui.errors import BadInputError
from recaster_tui.faces.codec import decode_pixels, read_face
from recaster_tui.faces.face import Face, Polygon
from recaster_tui.faces.masks import Mask, polygon_mask
from recaster_tui.faces.polygon_transfer import (
    hull_polygon,
    interpolate,
    mask_polygons,
    transfer,
    transfer_points,
)
from recaster_tui.faces.ray_drawing import Proposal, RayDrawing
from recaster_tui.faces.ray_edges import RayFan
from recaster_tui.faces.tables import MEAN_FACE_3D
from recaster_tui.faces.tracks import TrackFace, between_labels, find_tracks, frame_number

MEAN = np.asarray(MEAN_FACE_3D, np.float64)[:, :2]
MEAN = (MEAN - MEAN.min(0)) / np.ptp(MEAN, axis=0).max() * 120 + 60


def iou(one: Mask, other: Mask) -> float:
    return float(np.minimum(one, other).sum() / np.maximum(one, other).sum())


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> list[Face]:
    folder = tmp_path_factory.mktemp("demo")
    aligned = folder / "data_dst" / "aligned"
    aligned.mkdir(parents=True)
    plan = DemoPlan(seed=1, faces=300, video_seconds=20.0, size=256)
    frames = (0, 4, 8, 20)
    for index in frames:
        write_frame(folder, plan, "dst", index)
    return [read_face(p) for p in sorted(aligned.glob("*.jpg"))]


@settings(max_examples=40, deadline=None)
@given(
    angle=st.floats(-3, 3),
    scale=st.floats(0.3, 3),
    shift=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
    method=st.sampled_from(["similarity", "affine", "local"]),
)
def test_every_method_follows_a_face_that_moves_as_a_whole(
    angle: float, scale: float, shift: tuple[float, float], method: str
) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.array([(40.0, 50.0), (200.0, 60.0), (120.0, 190.0)])
    moved = transfer_points(points, MEAN, MEAN @ turn.T + shift, method)  # type: ignore[arg-type]
    assert moved == pytest.approx(points @ turn.T + shift, abs=0.02)


def test_local_follows_a_part_that_moves_alone_and_leaves_the_rest() -> None:
    dropped = MEAN.copy()
    dropped[5:12] += (0, 15)  # the chin: the mouth opens
    chin, brow = MEAN[8] + (0, 2), MEAN[19] - (0, 4)
    moved = transfer_points([chin, brow], MEAN, dropped)
    assert moved[0] - chin == pytest.approx((0, 15), abs=3)
    assert moved[1] - brow == pytest.approx((0, 0), abs=3)
    with pytest.raises(BadInputError):
        transfer_points([chin], MEAN, np.full((67, 2), 3.0))


def test_labels_of_a_face_fit_its_neighbours(demo: list[Face]) -> None:
    near, far = demo[1], demo[3]
    for face, least in ((near, 0.93), (far, 0.85)):
        truth = polygon_mask(face.shape, face.polygons)
        plain = iou(polygon_mask(face.shape, demo[0].polygons), truth)
        carried = transfer(demo[0].polygons, demo[0].landmarks, face.landmarks)
        score = iou(polygon_mask(face.shape, carried), truth)
        assert score >= least and score > plain


def test_interpolation_ends_at_the_labels_and_fits_between(demo: list[Face]) -> None:
    first, middle, last = demo[:3]
    for part, face in ((0.0, first), (0.5, middle), (1.0, last)):
        lands = (first.landmarks, last.landmarks, face.landmarks)
        made = interpolate(first.polygons, last.polygons, lands, part)
        truth = polygon_mask(face.shape, face.polygons)
        assert iou(polygon_mask(face.shape, made), truth) >= (0.95 if part == 0.5 else 0.97)


def test_interpolation_pairs_what_belongs_together() -> None:
    def box(x: float, size: float, include: bool = True) -> Polygon:
        corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * size + (x, 40)
        return Polygon(include, corners.astype(np.float32))

    rolled = Polygon(True, np.roll(box(24, 40).points, 2, 0)[::-1].copy())
    before = [box(20, 40), box(120, 20, include=False)]
    after = [rolled, box(90, 30)]
    middle = interpolate(before, after, (MEAN, MEAN, MEAN), 0.25)
    assert [p.include for p in middle] == [True, False]  # the hole is nearer than the new patch
    assert middle[0].points == pytest.approx(box(21, 40).points, abs=1e-3)
    late = interpolate(before, after, (MEAN, MEAN, MEAN), 0.75)
    assert [p.include for p in late] == [True, True]


def test_hull_and_mask_become_polygons(demo: list[Face]) -> None:
    face = demo[0]
    truth = polygon_mask(face.shape, face.polygons)
    small = np.asarray(cv2.resize(truth, (128, 128), interpolation=cv2.INTER_AREA))
    assert iou(polygon_mask(face.shape, mask_polygons(small, face.shape)), truth) > 0.97
    hull, wider = (
        polygon_mask(face.shape, [hull_polygon(face.landmarks, face.shape, f)])
        for f in (False, True)
    )
    assert hull.sum() < wider.sum() and iou(wider, truth) > iou(hull, truth)
    with pytest.raises(BadInputError):
        hull_polygon(face.landmarks + 5000, face.shape)


def test_tracks_follow_people_over_gaps_and_part_them() -> None:
    def face(frame: int | None, x: float) -> TrackFace:
        return TrackFace(frame, np.array([x, 10, x + 50, 60.0]))

    faces = [
        face(12, 4), face(10, 0), face(11, 2), face(11, 100), face(12, 103), face(None, 0),
        face(40, 5), face(17, 8), TrackFace(11, None),
    ]  # fmt: skip
    assert find_tracks(faces) == [[1, 2, 0, 7], [3, 4], [6]]
    assert find_tracks(faces, longest_gap=3)[0] == [1, 2, 0]
    assert frame_number("clip2_00017.png") == 17 and frame_number("face.png") is None
    labels = [True, False, False, True, True, False]
    track = list(range(6))
    assert between_labels(track, labels, 2) == (0, 3) == between_labels(track, labels, 0)
    assert between_labels(track, labels, 3) is None and between_labels(track, labels, 5) is None


def oval(shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A picture of an evenly lit oval, and its mask."""
    mask = np.zeros((256, 256), np.uint8)
    cv2.ellipse(mask, (120, 118 + round(shift)), (78, 92), 0, 0, 360, 1, -1)
    image = np.where(mask[..., None] > 0, (120, 150, 200), (60, 50, 40)).astype(np.uint8)
    return image, mask.astype(np.float32)


def test_rays_find_the_edge_that_is_seen() -> None:
    image, mask = oval()
    fan = RayFan(image, MEAN)
    drawn = polygon_mask(mask.shape, [Polygon(True, fan.points(fan.edge))])
    outline = polygon_mask(mask.shape, [Polygon(True, fan.points(fan.expected))])
    assert iou(drawn, mask) > 0.95 > iou(outline, mask)
    masked = RayFan(image, MEAN, mask)
    stored = polygon_mask(mask.shape, [Polygon(True, masked.points(RayDrawing(masked).radii))])
    assert iou(stored, mask) > 0.97


def test_drawing_ray_by_ray() -> None:
    image, mask = oval()
    rays = RayDrawing(RayFan(image, MEAN, mask))
    assert rays.proposal is Proposal.MASK
    rays.adjust(-4.0)
    first = rays.radii[0]
    assert not rays.accept() and rays.at == 1 and rays.radii[0] == first
    rays.adjust(1e9)
    x, y = rays.point
    assert 0 <= x <= 255 and 0 <= y <= 255
    assert rays.next_proposal() is Proposal.OUTLINE and rays.next_proposal() is Proposal.EDGE
    assert rays.radii[0] == first  # what was accepted stays
    assert rays.back() and not rays.back() and rays.at == 0 and rays.radii[0] == first
    rays.accept()
    rays.accept_all()
    assert rays.done and len(rays.points()) == 24


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.integers(0, 23), st.floats(5, 100), max_size=5))
def test_corrections_are_kept_to_the_last_bit(pinned: dict[int, float]) -> None:
    fan = RayFan(oval()[0], MEAN)
    radii = fan.solve(pinned)
    assert all(radii[i] == min(r, fan.farthest[i]) for i, r in pinned.items())
    assert np.isfinite(radii).all() and (radii >= 0).all() and (radii <= fan.farthest).all()


def test_hostile_pictures_have_rays_too(tmp_path: Path) -> None:
    for image in (np.zeros((32, 32, 3), np.uint8), np.full((40, 30, 3), 255, np.uint8)):
        for landmarks in (MEAN, MEAN * 0.05, MEAN - 400):
            points = RayFan(image, landmarks).points(RayFan(image, landmarks).edge)
            assert np.isfinite(points).all() and (points >= 0).all()


def test_rays_on_a_rendered_face(demo: list[Face]) -> None:
    face = demo[0]
    truth = polygon_mask(face.shape, face.polygons)
    fan = RayFan(decode_pixels(face), face.landmarks)
    drawn = polygon_mask(face.shape, [Polygon(True, fan.points(fan.edge))])
    assert iou(drawn, truth) > 0.85

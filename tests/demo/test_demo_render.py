"""The renderer: exact visibility, true landmarks and labels, the same picture every time."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recaster_tui.demo.landmarks import landmarks478
from recaster_tui.demo.mesh import head_mesh, pose_head, smoothstep, vertex_normals
from recaster_tui.demo.people import Person, demo_source, demo_target, random_identity
from recaster_tui.demo.raster import rasterize
from recaster_tui.demo.render import Label, render
from recaster_tui.demo.scene import Scene, backdrop, scene_at
from recaster_tui.demo.truth import outlines
from recaster_tui.faces.geometry import alignment_matrix, mirror_landmarks, transform_points
from recaster_tui.faces.masks import polygon_mask
from recaster_tui.faces.mesh_points import landmarks68
from recaster_tui.faces.pose import pitch_yaw_roll
from recaster_tui.faces.types import FaceType

WIDTH, HEIGHT = 200, 148


@pytest.fixture(scope="module")
def people() -> tuple[Person, Person]:
    return demo_source(), demo_target()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), triangles=st.integers(1, 12))
def test_rasterizer_agrees_with_a_pixel_by_pixel_one(seed: int, triangles: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = 19, 13
    points = rng.uniform(-6, 24, (30, 2)).astype(np.float32)
    depth = rng.uniform(1, 9, 30).astype(np.float32)
    corners = np.array([rng.choice(30, 3, replace=False) for _ in range(triangles)])

    def turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
        return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    expected = np.full((height, width), np.inf)
    for a, b, c in corners:
        pa, pb, pc = (points[k].astype(np.float64) for k in (a, b, c))
        area = turn(pa, pb, pc)
        if area >= -1e-3:  # clockwise on the screen (y down) is the side that faces us
            continue
        for y in range(height):
            for x in range(width):
                p = np.array([x + 0.5, y + 0.5])
                w = np.array([turn(pb, pc, p), turn(pc, pa, p), turn(pa, pb, p)]) / area
                if (w >= 0).all():
                    z = w @ depth[[a, b, c]].astype(np.float64)
                    expected[y, x] = min(expected[y, x], z)
    fragments = rasterize(points, depth, corners, width, height)
    found = fragments.depth_map()
    both = np.isfinite(found) & np.isfinite(expected)
    np.testing.assert_allclose(found[both], expected[both], rtol=1e-3)
    # A pixel centre within rounding of an edge may fall either way.
    assert (np.isfinite(found) != np.isfinite(expected)).sum() <= 1
    np.testing.assert_allclose(fragments.weights.sum(0), 1, atol=1e-5)


def test_same_scene_same_pixels(people: tuple[Person, Person]) -> None:
    scene = scene_at(2, 17)
    first, second = (render(people[0], scene, WIDTH, HEIGHT) for _ in range(2))
    again = render(demo_source(), scene_at(2, 17), WIDTH, HEIGHT)
    for other in (second, again):
        assert np.array_equal(first.image, other.image)
        assert np.array_equal(first.landmarks68, other.landmarks68)
        assert np.array_equal(first.labels, other.labels)
    assert not np.array_equal(first.image, render(people[0], scene_at(2, 18), WIDTH, HEIGHT).image)


def test_landmarks_lie_on_what_they_name(people: tuple[Person, Person]) -> None:
    for person in people:
        truth = render(person, Scene(expression={"jawOpen": 0.4}), 2 * WIDTH, 2 * HEIGHT)
        columns, rows = np.round(truth.landmarks68).astype(int).T
        at = truth.labels[rows, columns]
        face = (Label.SKIN, Label.LIPS, Label.MOUTH, Label.EYE, Label.HAIR)
        assert np.isin(at[17:68], face).all()
        for eye in (slice(36, 42), slice(42, 48)):
            x, y = truth.landmarks68[eye].mean(0)
            assert truth.labels[round(y), round(x)] == Label.EYE
        mouth = truth.landmarks68[60:68].mean(0)
        assert truth.labels[round(mouth[1]), round(mouth[0])] == Label.MOUTH
        # Lips: between the outer and the inner line, upper and lower.
        for outer, inner in ((51, 62), (57, 66)):
            x, y = truth.landmarks68[[outer, inner]].mean(0)
            assert truth.labels[round(y), round(x)] in (Label.LIPS, Label.HAIR)


def test_labels_tell_the_person_from_the_background(people: tuple[Person, Person]) -> None:
    scene = Scene(expression={"jawOpen": 0.6}, backdrop=5)
    truth = render(people[1], scene, WIDTH, HEIGHT)
    plain = backdrop(scene.backdrop, WIDTH, HEIGHT)
    changed = (truth.image != plain).any(2)
    person = truth.labels != Label.BACKGROUND
    assert set(np.unique(truth.labels)) == set(Label)
    # Edges and half-transparent hairs reach a pixel further than their label.
    assert (changed & ~person).sum() < 0.1 * person.sum()
    assert (changed & person).sum() > 0.97 * person.sum()


@pytest.mark.parametrize("yaw", [0.0, 35.0])
def test_a_mirrored_pose_gives_mirrored_landmarks(yaw: float) -> None:
    mesh = head_mesh()

    def project(angle: float) -> np.ndarray:
        posed, _ = pose_head(mesh.vertices, (angle, 5.0, 0.0), (0, 0, 0))
        points = landmarks68(landmarks478(posed))
        return np.stack([100 * points[:, 0] + 99.5, -100 * points[:, 1]], 1)

    mirrored = mirror_landmarks(project(-yaw), 200)
    error = np.abs(mirrored - project(yaw)).max(1)
    # Three pairs of jaw points are not symmetric in the 478 -> 68 list itself (132 has no twin).
    assert np.delete(error, [1, 3, 4, 12, 13, 15]).max() < 0.3  # of a head of 230
    assert error.max() < 10


def test_pose_from_landmarks_follows_the_head(people: tuple[Person, Person]) -> None:
    for person in people:
        found = []
        for yaw in (-40.0, -15.0, 15.0, 40.0):
            points = render(person, Scene(angles=(yaw, 0.0, 0.0)), WIDTH, HEIGHT).landmarks68
            matrix = alignment_matrix(points, 128, FaceType.WHOLE)
            inside = transform_points(points[17:], matrix)
            assert ((inside > 0) & (inside < 128)).all()
            found.append(np.degrees(pitch_yaw_roll(transform_points(points, matrix), 128)[1]))
        steps = np.diff(found)
        assert (steps > 8).all() or (steps < -8).all()


def test_the_two_people_differ_and_random_ones_too(people: tuple[Person, Person]) -> None:
    skins = []
    for person in (*people, random_identity(7)):
        truth = render(person, Scene(), WIDTH, HEIGHT)
        assert (truth.labels == Label.SKIN).sum() > 1500
        skins.append(truth.image[truth.labels == Label.SKIN].mean(0))
    assert np.abs(skins[0] - skins[1]).max() > 40
    one, again, other = (random_identity(seed) for seed in (7, 7, 8))
    assert np.array_equal(one.vertices, again.vertices)
    assert np.array_equal(one.texture, again.texture)
    assert np.abs(one.vertices - other.vertices).max() > 0.05


def test_clips_spread_pose_light_and_expression() -> None:
    scenes = [scene_at(2, frame) for frame in range(0, 300, 5)]
    yaws = np.array([scene.angles[0] for scene in scenes])
    assert yaws.min() < -25 and yaws.max() > 25
    assert len({scene.backdrop for scene in scenes}) == 10
    assert len({scene.light for scene in scenes}) == 10
    known = head_mesh().expressions.names
    assert all(set(scene.expression) <= set(known) for scene in scenes)
    assert max(scene.expression["eyeBlinkLeft"] for scene in scenes) > 0.8
    near = scene_at(2, 10), scene_at(2, 11)  # within a shot the head moves, it does not jump
    assert abs(near[0].angles[0] - near[1].angles[0]) < 8


def test_unknown_expression_is_an_error(people: tuple[Person, Person]) -> None:
    with pytest.raises(KeyError, match="grin"):
        render(people[0], Scene(expression={"grin": 1.0}), 64, 48)


def test_mesh_helpers() -> None:
    mesh = head_mesh()
    normals = vertex_normals(mesh.vertices, mesh.triangles)
    np.testing.assert_allclose(np.linalg.norm(normals[mesh.body], axis=1), 1, atol=1e-4)
    nose_tip = landmarks68(landmarks478(mesh.vertices))[30]
    nearest = np.linalg.norm(mesh.vertices - nose_tip, axis=1).argmin()
    assert normals[nearest, 2] > 0.7  # it points out of the face
    ramp = smoothstep(1, 0, np.array([-1, 0, 0.5, 1, 2], np.float32))
    np.testing.assert_allclose(ramp, [1, 1, 0.5, 0, 0])


def test_the_face_ends_at_hair_ears_and_neck(people: tuple[Person, Person]) -> None:
    for person in (*people, random_identity(7)):
        truth = render(person, Scene(expression={"jawOpen": 0.4}), 2 * WIDTH, 2 * HEIGHT)
        outside = (Label.EAR, Label.CLOTH, Label.BACKGROUND)
        assert not truth.face[np.isin(truth.labels, (Label.EAR, Label.CLOTH))].any()
        for inside in (Label.LIPS, Label.MOUTH, Label.EYE):
            assert truth.face[truth.labels == inside].mean() > 0.95
        beardless = not person.strands.beard.any()
        for label in (Label.NECK, Label.HAIR, *outside):
            if beardless:
                assert truth.face[truth.labels == label].mean() < 0.1
        assert truth.face[truth.labels == Label.SKIN].mean() > 0.85
        parts, _ = cv2.connectedComponents(truth.face.astype(np.uint8))
        assert parts > 1


def test_outlines_fill_to_the_mask_they_were_drawn_from() -> None:
    mask = np.zeros((256, 256), np.uint8)
    cv2.ellipse(mask, (120, 130), (80, 100), 10, 0, 360, 1, -1)
    cv2.circle(mask, (150, 90), 12, 0, -1)  # a hole
    cv2.circle(mask, (90, 20), 30, 0, -1)  # a bite
    cv2.circle(mask, (240, 240), 2, 1, -1)  # a speck: no outline
    polygons = outlines(mask)
    assert [polygon.include for polygon in polygons] == [True, False]
    drawn = polygon_mask(mask.shape, polygons)
    assert (drawn != mask).mean() < 0.003
    assert sum(len(polygon.points) for polygon in polygons) < 80
    assert not outlines(np.zeros((64, 64), np.uint8))

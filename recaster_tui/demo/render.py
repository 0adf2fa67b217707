"""From a person and a scene to a picture with exact landmarks and labels."""

from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.demo.landmarks import landmarks478
from recaster_tui.demo.mesh import Floats, Part, head_mesh, pose_head, vertex_normals
from recaster_tui.demo.paint import AXIS_Z, Look, hairline
from recaster_tui.demo.people import Person
from recaster_tui.demo.raster import Fragments, rasterize
from recaster_tui.demo.scene import Scene, backdrop
from recaster_tui.demo.shade import Surface, encode, shade_pixels, unit
from recaster_tui.faces.mesh_points import landmarks68

CAMERA_DISTANCE = 13.0
LOOK_AT_Y = 6.95
# Focal length in picture heights: at zoom 1 an aligned whole face is about 0.73 of the height.
FOCAL = 3.4
STRAND_OPACITY = 0.6
HAIRLINE_SLACK = 0.12  # how far above its line the ragged edge of hair may begin
BEHIND = 1.9  # radians from the nose, beyond the ear
THICKET = 75  # parts of the picture's height in which strands are counted


class Label(IntEnum):
    """Values of the label map."""

    BACKGROUND = 0
    SKIN = 1
    LIPS = 2
    MOUTH = 3
    EYE = 4
    HAIR = 5
    NECK = 6
    CLOTH = 7
    EAR = 8


@dataclass(frozen=True)
class Rendering:
    """A picture and the truth about it. Points are (x, y), y down; (0, 0) is a pixel's centre."""

    image: NDArray[np.uint8]  # (H, W, 3) BGR
    labels: NDArray[np.uint8]  # (H, W) of Label
    face: NDArray[np.bool_]  # (H, W) see face_area
    landmarks68: Floats  # (68, 2)
    landmarks478: Floats  # (478, 2)


def render(person: Person, scene: Scene, width: int, height: int) -> Rendering:
    """Render one frame of *width* x *height* pixels.

    Raises:
        KeyError: the scene's expression names a shape that the mesh does not have.
    """
    vertices = person.vertices.copy()
    expressions = head_mesh().expressions
    expressions.add_to(vertices, scene.expression)
    expressions.add_to(vertices, _eye_look(*scene.gaze))
    posed, turn = pose_head(vertices, scene.angles, scene.shift)
    focal = np.float32(FOCAL * height * scene.zoom)
    points, depth = _project(posed, focal, width, height)
    fragments = rasterize(points, depth, person.triangles, width, height)

    position, view = _unproject(fragments, focal)
    colour, surface = shade_pixels(
        person, posed, turn, scene.gaze, scene.light, fragments, position, view
    )
    image = backdrop(scene.backdrop, width, height).copy()
    image.reshape(-1, 3)[fragments.pixel] = encode(colour).T
    labels = np.zeros((height, width), np.uint8)
    labels.reshape(-1)[fragments.pixel] = _labels(surface)
    below = np.zeros((height, width), bool)
    below.reshape(-1)[fragments.pixel] = _below_hairline(person.look, surface.template)
    surface_depth = fragments.depth_map()
    image = _smooth_edges(image, surface_depth)
    hair, beard = _draw_strands(person, scene, posed, turn, focal, surface_depth, image)
    face = face_area(labels, below, hair, beard)
    labels[hair | beard] = Label.HAIR
    # The rasteriser counts from the first pixel's edge, pictures (and cv2) from its centre.
    mesh478 = landmarks478(points) - np.float32(0.5)
    return Rendering(image, labels, face, landmarks68(mesh478), mesh478)


def _eye_look(x: float, y: float) -> dict[str, float]:
    left, right, up, down = max(x, 0.0), max(-x, 0.0), max(y, 0.0), max(-y, 0.0)
    return {
        "eyeLookOutLeft": left,
        "eyeLookInRight": left,
        "eyeLookInLeft": right,
        "eyeLookOutRight": right,
        "eyeLookUpLeft": up,
        "eyeLookUpRight": up,
        "eyeLookDownLeft": down,
        "eyeLookDownRight": down,
    }


def _project(points: Floats, focal: np.float32, width: int, height: int) -> tuple[Floats, Floats]:
    """World (n, 3) to pixels (n, 2) and depth (n,)."""
    depth = np.float32(CAMERA_DISTANCE) - points[:, 2]
    scale = focal / depth
    x = width / 2 + points[:, 0] * scale
    y = height / 2 - (points[:, 1] - np.float32(LOOK_AT_Y)) * scale
    return np.stack([x, y], 1).astype(np.float32), depth


def _unproject(fragments: Fragments, focal: np.float32) -> tuple[Floats, Floats]:
    """World position (3, n) and unit view vector (3, n) of each visible pixel."""
    row, column = np.divmod(fragments.pixel, fragments.width)
    scale = fragments.depth / focal
    offset = np.empty((3, len(row)), np.float32)
    offset[0] = (column + np.float32(0.5 - fragments.width / 2)) * scale
    offset[1] = (np.float32(fragments.height / 2 - 0.5) - row) * scale
    offset[2] = -fragments.depth
    position = offset + np.array([[0], [LOOK_AT_Y], [CAMERA_DISTANCE]], np.float32)
    view = -offset / np.sqrt((offset * offset).sum(0))
    return position, view


def _labels(surface: Surface) -> NDArray[np.uint8]:
    part, (_, y, z) = surface.part, surface.template
    under_chin = y < 6.12 + 0.75 * np.clip(1.12 - z, 0, 2)
    conditions = [
        (part == Part.LEFT_EYE) | (part == Part.RIGHT_EYE),
        (part == Part.UPPER_TEETH) | (part == Part.LOWER_TEETH) | (part == Part.TONGUE),
        part == Part.LASHES,
        surface.cloth > 0.5,
        surface.hair > 0.5,
        surface.mouth > 0.5,
        surface.lips > 0.5,
        surface.ears > 0.5,
        under_chin,
    ]
    values = [
        Label.EYE,
        Label.MOUTH,
        Label.SKIN,
        Label.CLOTH,
        Label.HAIR,
        Label.MOUTH,
        Label.LIPS,
        Label.EAR,
        Label.NECK,
    ]
    return np.select(conditions, [np.uint8(v) for v in values], np.uint8(Label.SKIN))


def _below_hairline(look: Look, template: Floats) -> NDArray[np.bool_]:
    x, y, z = template
    angle = np.arctan2(x, z - np.float32(AXIS_Z))
    return np.asarray((y < hairline(look, angle) + HAIRLINE_SLACK) & (np.abs(angle) < BEHIND))


def face_area(
    labels: NDArray[np.uint8],
    below: NDArray[np.bool_],
    hair: NDArray[np.bool_],
    beard: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """The face as somebody would outline it for XSeg: (H, W).

    It is the skin from the hairline to the chin and the jaw's edge, with brows, lids and lashes,
    eyes, lips, the open mouth with teeth and tongue, and the beard. Not the face: hair of the head,
    also where it falls over the forehead, ears, neck, clothes. Of loose strands what counts is the
    thicket, not the single hair: hair covers the face, and beard that hangs over the neck belongs
    to it, where strands cover at least half of the surroundings.

    Args:
        labels: of the surface, without loose strands.
        below: where the surface is in front and below the hairline (a bald head has one, too).
        hair: where loose strands of the head's hair are drawn.
        beard: likewise of the beard.
    """
    side = 2 * (labels.shape[0] // THICKET // 2) + 1
    thick_hair, thick_beard = (
        cv2.blur(layer.astype(np.float32), (side, side)) >= 0.5 for layer in (hair, beard)
    )
    surface = np.isin(labels, (Label.SKIN, Label.LIPS, Label.MOUTH, Label.EYE)) & below
    hidden = np.isin(labels, (Label.HAIR, Label.EAR))
    return np.asarray((surface & ~thick_hair) | (thick_beard & ~hidden))


def _smooth_edges(image: NDArray[np.uint8], depth: Floats) -> NDArray[np.uint8]:
    """Antialias where the depth jumps: cheaper than rendering every pixel several times."""
    bounded = np.minimum(depth, np.float32(CAMERA_DISTANCE + 5))
    kernel = np.ones((3, 3), np.uint8)
    jump = cv2.dilate(bounded, kernel) - cv2.erode(bounded, kernel) > 0.12
    soft = cv2.GaussianBlur(image, (3, 3), 0.8)
    image[jump] = soft[jump]
    return image


def _draw_strands(
    person: Person,
    scene: Scene,
    posed: Floats,
    turn: Floats,
    focal: np.float32,
    depth: Floats,
    image: NDArray[np.uint8],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Draw the loose strands that nothing hides; where those of the hair and of the beard are."""
    strands = person.strands
    height, width = image.shape[:2]
    covered = np.zeros((2, height, width), np.uint8)
    if not len(strands.corners):
        return covered[0] > 0, covered[1] > 0
    root = (posed[strands.corners] * strands.weights[..., None]).sum(1)
    path = root[:, None] + strands.offsets @ turn.T
    flat, z = _project(path.reshape(-1, 3), focal, width, height)
    pixels = flat.reshape(*path.shape[:2], 2)
    column, row = flat.astype(np.int32).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    surface = depth[row.clip(0, height - 1), column.clip(0, width - 1)]
    # 0.06: a strand lies within its own bumpy surface.
    seen = (inside & (z < surface + np.float32(0.06))).reshape(path.shape[:2])
    shown = np.flatnonzero(seen[:, :3].all(1))
    if not len(shown):
        return covered[0] > 0, covered[1] > 0

    key = unit(scene.light.key)
    along = path[shown, -1] - path[shown, 0]
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    # Diffuse light on a fibre goes with the sine of its angle to the light (Kajiya, Kay 1989);
    # the normals say which side of the head it grows on.
    normals = vertex_normals(posed, person.triangles)[strands.corners[shown, 0]]
    facing = np.clip(0.35 + 0.65 * (normals @ key), 0, 1)
    sine = np.sqrt(np.clip(1 - (along @ key) ** 2, 0, 1)) * facing
    light = np.asarray(scene.light.key_colour, np.float32) * (0.8 * sine)[:, None]
    light += 0.7 * np.asarray(scene.light.ambient, np.float32)
    colours = encode(strands.colours[shown] * light)
    points = np.round(pixels[shown] * 16 - 8).astype(np.int32)
    drawn = image.copy()
    for strand, colour in zip(points, colours.tolist(), strict=True):
        cv2.polylines(drawn, [strand], False, colour, 1, cv2.LINE_AA, 4)
    # A hair is thinner than a pixel: let some of what is behind through.
    cv2.addWeighted(drawn, STRAND_OPACITY, image, 1 - STRAND_OPACITY, 0, dst=image)
    for kind, layer in enumerate(covered):
        chosen = [p for p, b in zip(points, strands.beard[shown], strict=True) if b == kind]
        cv2.polylines(layer, chosen, False, 1, 1, cv2.LINE_8, 4)
    return covered[0] > 0, covered[1] > 0

"""Light on the surface: per-vertex irradiance, per-pixel skin, hair, eye and mouth shading.

Everything here is linear and BGR; rows of an array are channels, columns pixels, so that each
numpy operation runs over contiguous memory.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recaster_tui.demo.mesh import Floats, Part, head_mesh, rotation, smoothstep, vertex_normals
from recaster_tui.demo.paint import GAMMA, sample, template_uv
from recaster_tui.demo.people import Person, lit_vertices
from recaster_tui.demo.raster import Fragments
from recaster_tui.demo.scene import Light, Triple

SHADOW_MAP = 176
SHADOW_SPAN = 4.6
_TAPS = tuple((x, y) for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0))
_SCLERA = (0.58, 0.62, 0.66)
_TEETH = (0.44, 0.56, 0.62)
_GUMS = (0.05, 0.05, 0.26)
_MOUTH = (0.012, 0.012, 0.06)


@dataclass(frozen=True)
class Surface:
    """What the visible pixels are made of; feeds both the colours and the label map."""

    hair: Floats  # (n,) 0..1, and so are the next four
    cloth: Floats
    lips: Floats
    mouth: Floats
    ears: Floats
    part: NDArray[np.uint8]  # (n,) of Part
    template: Floats  # (3, n) template position


@dataclass(frozen=True)
class VertexLight:
    """Lighting at the vertices: irradiance (V, 3) BGR and the share of key light (V,)."""

    irradiance: Floats
    key_share: Floats


def unit(vector: Triple) -> Floats:
    """*vector* at length 1."""
    v = np.asarray(vector, np.float32)
    return np.asarray(v / np.linalg.norm(v), np.float32)


def light_vertices(person: Person, posed: Floats, normals: Floats, light: Light) -> VertexLight:
    """Diffuse light with soft shadows and ambient occlusion.

    Red wraps furthest round the terminator, as it does below skin (a cheap stand-in for
    subsurface scattering).
    """
    towards = unit(light.key)
    casters = person.triangles[person.parts != Part.LASHES]
    shift = posed.mean(0) - person.vertices.mean(0)
    shadow = lit_vertices(
        posed - shift, casters, towards, SHADOW_MAP, SHADOW_SPAN, bias=0.07, taps=_TAPS
    )
    facing = normals @ towards
    wrap = np.array([0.08, 0.12, 0.28], np.float32)
    diffuse = np.clip((facing[:, None] + wrap) / (1 + wrap), 0, 1)
    shade = np.stack([shadow, shadow, shadow ** np.float32(0.7)], 1)
    ao = person.occlusion
    open_sky = np.stack([ao, ao, ao ** np.float32(0.8)], 1)
    fill = np.clip((normals @ unit(light.fill) + 0.3) / 1.3, 0, 1)[:, None] * open_sky
    sky = (0.85 + 0.25 * normals[:, 1:2]) * open_sky
    irradiance = (
        np.asarray(light.key_colour, np.float32) * diffuse * shade
        + np.asarray(light.fill_colour, np.float32) * fill
        + np.asarray(light.ambient, np.float32) * sky
    )
    return VertexLight(irradiance, shadow)


def shade_pixels(
    person: Person,
    posed: Floats,
    turn: Floats,
    gaze: tuple[float, float],
    light: Light,
    fragments: Fragments,
    position: Floats,
    view: Floats,
) -> tuple[Floats, Surface]:
    """Colours of the visible pixels.

    Args:
        person: whose texture to use.
        posed: (V, 3) vertices in the world.
        turn: (3, 3) the head's rotation.
        gaze: see :class:`scene.Scene`.
        light: of the scene.
        fragments: the visible pixels.
        position: (3, n) of each pixel's surface point in the world.
        view: (3, n) unit vectors towards the camera.

    Returns:
        (3, n) linear BGR, and the materials.
    """
    mesh = head_mesh()
    normals = _normals(posed, person)
    vertex_light = light_vertices(person, posed, normals, light)
    masks = np.stack([mesh.lips, mesh.inner_mouth, mesh.ears, vertex_light.key_share], 1)
    columns = np.hstack([normals, mesh.vertices, vertex_light.irradiance, masks])
    rows = fragments.interpolate(person.triangles, columns.astype(np.float32))
    normal, template, irradiance = rows[:3], rows[3:6], rows[6:9]
    lips, inner, ears, key_share = rows[9:]
    normal /= np.maximum(np.sqrt((normal * normal).sum(0)), 1e-6)

    part = person.parts[fragments.triangle]
    texel = np.ascontiguousarray(sample(person.texture, *template_uv(template)).T)
    surface = _surface(part, texel[3], lips, inner, ears, template)
    albedo = _albedo(person, surface, texel[:3])
    gloss = np.where(part == Part.BODY, np.float32(0.11), np.float32(0.04))
    gloss *= 1 - surface.hair
    gloss *= 1 - 0.8 * surface.cloth
    gloss += 0.14 * surface.lips
    gloss[np.isin(part, (Part.UPPER_TEETH, Part.LOWER_TEETH, Part.TONGUE))] += 0.2
    sharp = np.zeros(len(part), bool)
    for eye in (Part.LEFT_EYE, Part.RIGHT_EYE):
        at = np.flatnonzero(part == eye)
        if len(at):
            centre = posed[mesh.part_vertices(eye)].mean(0)
            out = position[:, at] - centre[:, None]
            out /= np.maximum(np.sqrt((out * out).sum(0)), 1e-6)
            axis = turn @ rotation(22 * gaze[0], -18 * gaze[1], 0)[:, 2]
            albedo[:, at] = _eye(person.look.iris, out, axis)
            normal[:, at] = out
            gloss[at] = 0.6
            sharp[at] = True

    colour = albedo * irradiance
    colour += _highlights(normal, view, light, key_share, gloss, sharp)
    _hair_sheen(colour, surface.hair, normal, view, turn, light, key_share, albedo)
    skin = (part == Part.BODY) * (1 - surface.hair) * (1 - surface.cloth)
    graze = np.clip(1 - (normal * view).sum(0), 0, 1)
    graze *= graze
    rim = graze * graze * skin * np.float32(0.12)
    colour += np.asarray(light.fill_colour, np.float32)[:, None] * rim
    return colour, surface


def _normals(posed: Floats, person: Person) -> Floats:
    return vertex_normals(posed, person.triangles)


def _surface(
    part: NDArray[np.uint8],
    kind: Floats,
    lips: Floats,
    inner: Floats,
    ears: Floats,
    template: Floats,
) -> Surface:
    body = (part == Part.BODY).astype(np.float32)
    ear = np.clip(ears * 2, 0, 1) * body
    hair = kind.clip(0, 1) * body * (1 - ear)
    mouth = smoothstep(0.35, 0.7, inner) * body
    return Surface(
        hair=hair,
        cloth=(-kind).clip(0, 1) * body,
        lips=np.clip(lips * 1.4, 0, 1) * body * (1 - smoothstep(0.3, 0.7, inner)),
        mouth=mouth,
        ears=ear,
        part=part,
        template=template,
    )


def _albedo(person: Person, surface: Surface, texel: Floats) -> Floats:
    look = person.look
    skin = _linear(look.skin)
    albedo = texel.copy()
    relief = np.clip(texel.mean(0) / skin.mean(), 0.75, 1.25)
    x, y, _ = surface.template
    creases = 1 + 0.14 * np.sin(x * 95 + 3 * np.sin(y * 40))
    _blend(albedo, surface.lips, _linear(look.lip) * (relief * creases))
    _blend(albedo, surface.mouth, _column(_MOUTH))
    ear = _linear(look.skin) * _column((0.80, 0.82, 1.02))
    _blend(albedo, surface.ears, ear * np.minimum(relief, 1))
    hair = _linear(look.hair)
    for part, colour in (
        (Part.UPPER_TEETH, _column(_TEETH)),
        (Part.LOWER_TEETH, _column(_TEETH)),
        (Part.TONGUE, _column(_GUMS)),
        (Part.LASHES, hair * 0.25 + 0.004),
    ):
        at = surface.part == part
        albedo[:, at] = colour
    return albedo


def _eye(iris: Triple, out: Floats, axis: Floats) -> Floats:
    """Colours of eyeball points: *out* (3, n) unit vectors from its centre, *axis* its gaze."""
    angle = np.degrees(np.arccos(np.clip(axis @ out, -1, 1)))
    across = np.cross(np.array([0, 1, 0], np.float32), axis)
    across /= np.linalg.norm(across)
    upward = np.cross(axis, across)
    round_ = np.arctan2(upward @ out, across @ out)
    edge, pupil = np.float32(26), np.float32(10)
    fibres = 0.65 + 0.175 * np.sin(round_ * 37 + 3 * np.sin(round_ * 11))
    fibres += 0.45 * smoothstep(pupil, edge, angle)
    fibres *= 1 - 0.75 * smoothstep(0.82 * edge, edge, angle)
    colour = _linear(iris) * fibres
    white = _column(_SCLERA) * (1 - 0.25 * smoothstep(40, 75, angle) * _column((1, 1, 0.3)))
    _blend(colour, smoothstep(edge - 2.5, edge + 2.5, angle), white)
    _blend(colour, 1 - smoothstep(pupil - 2, pupil + 2, angle), _column((0.004, 0.004, 0.004)))
    return np.asarray(colour, np.float32)


def _highlights(
    normal: Floats,
    view: Floats,
    light: Light,
    key_share: Floats,
    gloss: Floats,
    sharp: NDArray[np.bool_],
) -> Floats:
    """Blinn-Phong: exponent 20 on skin, 256 on the wet *sharp* pixels."""
    total = np.zeros_like(normal)
    for direction, colour, share in (
        (unit(light.key), light.key_colour, key_share),
        (unit(light.fill), light.fill_colour, None),
    ):
        half = view + direction[:, None]
        half /= np.sqrt((half * half).sum(0))
        cosine = np.clip((normal * half).sum(0), 0, 1)
        p4 = cosine**2 * cosine**2
        p16 = (p4 * p4) * (p4 * p4)
        spot = p16 * p4
        spot[sharp] = (p16[sharp] ** 4) ** 4
        spot *= gloss
        if share is not None:
            spot *= share * (direction @ normal > 0)
        total += np.asarray(colour, np.float32)[:, None] * spot
    return total


def _hair_sheen(
    colour: Floats,
    hair: Floats,
    normal: Floats,
    view: Floats,
    turn: Floats,
    light: Light,
    key_share: Floats,
    albedo: Floats,
) -> None:
    """Strand highlights after Kajiya and Kay (SIGGRAPH 1989), strands running down the head."""
    at = np.flatnonzero(hair > 0.05)
    if not len(at):
        return
    n, v = normal[:, at], view[:, at]
    down = turn[:, 1][:, None]
    tangent = down - n * (down * n).sum(0)
    tangent /= np.maximum(np.sqrt((tangent * tangent).sum(0)), 1e-3)
    half = v + unit(light.key)[:, None]
    half /= np.sqrt((half * half).sum(0))
    # Streaks in the texture tilt the strands, which breaks the ring of light up.
    tone = albedo[:, at].mean(0)
    tilt = (tone / max(float(tone.mean()), 1e-4) - 1).clip(-0.6, 0.6)
    along = (tangent * half).sum(0) + 0.25 * tilt
    sine = np.clip(1 - along * along, 0, 1)
    s4 = sine**2 * sine**2
    s16 = (s4 * s4) * (s4 * s4)
    lobe = s16 * s16 * (0.25 + 0.75 * key_share[at]) * hair[at]
    tint = 0.03 + 0.5 * albedo[:, at]
    colour[:, at] += np.asarray(light.key_colour, np.float32)[:, None] * tint * lobe


def _linear(srgb: Triple) -> Floats:
    return (np.asarray(srgb[::-1], np.float32) ** np.float32(GAMMA))[:, None]


def _column(bgr: Triple) -> Floats:
    return np.asarray(bgr, np.float32)[:, None]


def _blend(colour: Floats, share: Floats, over: Floats) -> None:
    colour += share * (over - colour)


def _display_table() -> NDArray[np.uint8]:
    linear = np.arange(4096, dtype=np.float32) / 1023.75
    value = np.clip(linear / (1 + 0.12 * linear), 0, 1) ** np.float32(1 / GAMMA)
    return np.asarray(value * 255 + 0.5, np.uint8)


_DISPLAY = _display_table()


def encode(linear: Floats) -> NDArray[np.uint8]:
    """Linear light (any shape, 0 to about 4) to display values, with a soft shoulder."""
    index = np.clip(linear * np.float32(1023.75), 0, 4095).astype(np.uint16)
    return np.asarray(_DISPLAY[index], np.uint8)

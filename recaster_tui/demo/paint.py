"""The procedural skin, brow, beard, hair and cloth texture of one person.

Painted in a cylinder around the template head: u is the angle about the y axis (0.5 is the
nose, growing towards the subject's left), v the height. The mesh looks itself up through its
template position, so one texture fits every expression and identity.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.demo.mesh import Floats, smoothstep

Colour = tuple[float, float, float]  # sRGB, 0..1

WIDTH, HEIGHT = 1280, 768
AXIS_Z = 0.25  # the cylinder's axis passes here
TOP, BOTTOM = 8.6, 4.6  # template heights of the first and last row
GAMMA = 2.2


@dataclass(frozen=True)
class Look:
    """What a person looks like apart from the shape. Heights and angles are the template's."""

    skin: Colour
    hair: Colour
    lip: Colour
    iris: Colour
    cloth: Colour = (0.2, 0.25, 0.4)
    beard: float = 0.0  # 0 none, 0.4 stubble, 1 full
    beard_length: float = 0.0
    brow_strokes: int = 420
    brow_thickness: float = 0.05
    brow_arch: float = 0.07
    brow_height: float = 7.47
    hairline: float = 8.02
    temple: float = 0.3
    sides: float = 0.75
    hair_volume: float = 0.12
    hair_top: float = 0.1
    hair_length: float = 0.3  # of the loose strands
    fringe: bool = True  # falls over the forehead; otherwise it is combed back
    lashes: bool = True
    redness: float = 0.5
    under_eye: float = 0.4
    eye_shadow: float = 0.25
    shadow_colour: Colour | None = None
    freckles: int = 0
    bald: bool = False


def template_uv(template: Floats) -> tuple[Floats, Floats]:
    """Texture columns and rows of template positions given as rows x, y, z: (3, n)."""
    x, y, z = template
    u = (np.arctan2(x, z - np.float32(AXIS_Z)) * np.float32(0.5 / np.pi) + np.float32(0.5)) * WIDTH
    v = (np.float32(TOP) - y) * np.float32(HEIGHT / (TOP - BOTTOM))
    return u - np.float32(0.5), v - np.float32(0.5)


def sample(texture: Floats, u: Floats, v: Floats) -> Floats:
    """Bilinear look-ups at columns *u* and rows *v* (n,): (n,) or (n, channels)."""
    # cv2.remap wants images below 32768 wide: fold the list into rows.
    width = 4096
    rows = -(-len(u) // width)
    x, y = (np.asarray(np.resize(a, (rows, width)), np.float32) for a in (u, v))
    out = cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(out, np.float32).reshape(rows * width, *texture.shape[2:])[: len(u)]


def paint(look: Look, rng: np.random.Generator) -> Floats:
    """Texture (HEIGHT, WIDTH, 4): linear BGR albedo and +1 hair … 0 skin … -1 cloth."""
    angle, y = _grid()
    albedo = _skin(look, rng, angle, y)
    hair = np.asarray(look.hair, np.float32)
    if look.beard > 0:
        _mix(albedo, _beard(look, rng, angle, y), hair * 0.8)
    _mix(albedo, _brows(look, rng), hair * np.array([0.85, 0.7, 0.6], np.float32))
    covered = hair_cover(look, rng, angle, y)
    streaks = 0.24 * _noise(rng, 26, 1) + 0.2 * _noise(rng, 70, 6) + 0.12 * _noise(rng, 200, 24)
    _mix(albedo, covered, np.clip(hair * (1 + streaks[..., None]), 0.01, 1))
    neckline = np.asarray(np.float32(0.16) * np.cos(angle), np.float32)
    clothed = smoothstep(5.85, 5.81, y + neckline)
    weave = 1 + 0.07 * _noise(rng, 3, 3)
    _mix(albedo, clothed, np.asarray(look.cloth, np.float32) * weave[..., None])
    linear = np.clip(albedo, 0, 1) ** np.float32(GAMMA)
    return np.dstack([linear[..., ::-1], covered - clothed]).astype(np.float32)


def _grid() -> tuple[Floats, Floats]:
    angle = ((np.arange(WIDTH) + 0.5) / WIDTH - 0.5) * 2 * np.pi
    y = TOP - (np.arange(HEIGHT) + 0.5) / HEIGHT * (TOP - BOTTOM)
    return angle[None, :].astype(np.float32), y[:, None].astype(np.float32)


def _noise(rng: np.random.Generator, rows: int, columns: int) -> Floats:
    """Smooth unit noise over the texture, features about *rows* x *columns* texels."""
    shape = (max(2, HEIGHT // rows + 2), max(2, WIDTH // columns + 2))
    coarse = rng.standard_normal(shape, np.float32)
    return np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))


def _blob(angle: Floats, y: Floats, at: tuple[float, float], size: tuple[float, float]) -> Floats:
    """A Gaussian spot around (angle, height)."""
    across = np.exp(-(((angle - at[0]) / size[0]) ** 2))
    return np.asarray(across * np.exp(-(((y - at[1]) / size[1]) ** 2)), np.float32)


def _mix(albedo: Floats, share: Floats, colour: NDArray[np.floating]) -> None:
    """Blend *colour* over *albedo* in place where *share* says."""
    albedo += share[..., None] * (np.asarray(colour, np.float32) - albedo)


def _tint(albedo: Floats, share: Floats, loss: Colour) -> None:
    albedo *= 1 - share[..., None] * np.asarray(loss, np.float32)


def _texel(angle: float, y: float) -> tuple[int, int]:
    """Pixel coordinates with four fractional bits, as OpenCV's ``shift=4`` wants them."""
    u = (angle / (2 * np.pi) + 0.5) * WIDTH - 0.5
    v = (TOP - y) / (TOP - BOTTOM) * HEIGHT - 0.5
    return round(u * 16), round(v * 16)


def _skin(look: Look, rng: np.random.Generator, angle: Floats, y: Floats) -> Floats:
    skin = np.asarray(look.skin, np.float32)
    blotches = 0.022 * _noise(rng, 40, 40)
    pores = 0.014 * _noise(rng, 10, 10) + 0.016 * _noise(rng, 2, 2)
    shade = 1 + pores[..., None] + blotches[..., None] * np.array([0.6, 1, 1], np.float32)
    albedo = (skin * shade).astype(np.float32)
    for a, h, width, height, strength in (
        (0.55, 6.95, 0.28, 0.22, 1.0),
        (-0.55, 6.95, 0.28, 0.22, 1.0),
        (0.0, 6.98, 0.12, 0.12, 0.8),
        (0.0, 6.28, 0.25, 0.10, 0.4),
        (1.4, 7.05, 0.30, 0.30, 0.8),
        (-1.4, 7.05, 0.30, 0.30, 0.8),
    ):
        spot = _blob(angle, y, (a, h), (width, height))
        _tint(albedo, spot * np.float32(strength * look.redness), (0.02, 0.17, 0.15))
    lid = np.asarray(look.shadow_colour or skin * 0.6, np.float32)
    for side in (-1, 1):
        ring = _blob(angle, y, (0.30 * side, 7.12), (0.14, 0.055))
        _tint(albedo, ring * np.float32(look.under_eye), (0.28, 0.36, 0.30))
        _mix(
            albedo,
            _blob(angle, y, (0.30 * side, 7.37), (0.17, 0.06)) * np.float32(look.eye_shadow),
            lid,
        )
    for _ in range(look.freckles):
        a, h, radius = rng.normal(0, 0.45), rng.normal(7.0, 0.18), rng.uniform(0.5, 1.1)
        colour = tuple(float(c) for c in skin * rng.uniform(0.68, 0.86))
        cv2.circle(albedo, _texel(a, h), round(radius * 16), colour, -1, cv2.LINE_AA, 4)
    return np.asarray(albedo, np.float32)


def beard_cover(angle: Floats, y: Floats) -> Floats:
    """Where a beard grows, 0..1: cheeks, chin, moustache, free around the lips."""
    around = np.abs(angle)
    jaw = np.float32(5.98) + np.float32(0.36) * np.minimum(around / 1.2, 1) ** 2
    cheek = np.float32(6.5) + np.float32(0.55) * smoothstep(0.55, 1.25, around)
    region = smoothstep(0.1, -0.1, y - cheek) * smoothstep(-0.05, 0.12, y - jaw)
    region = region * smoothstep(1.42, 1.3, around)
    moustache = _blob(angle, y, (0, 6.72), (0.34, 0.055))
    lips = _blob(angle, y, (0, 6.52), (0.30, 0.12))
    return np.asarray(np.maximum(region * (1 - lips), moustache).clip(0, 1), np.float32)


def _beard(look: Look, rng: np.random.Generator, angle: Floats, y: Floats) -> Floats:
    dots = (rng.random((HEIGHT, WIDTH), np.float32) < 0.25).astype(np.float32)
    dots = np.clip(2 * np.asarray(cv2.GaussianBlur(dots, (0, 0), 0.7)), 0, 1)
    solid = 0.35 + 0.4 * max(look.beard - 0.5, 0)
    grown = beard_cover(angle, y) * np.float32(look.beard)
    return np.clip(grown * (solid + (1 - solid) * dots), 0, 0.92)


def _brows(look: Look, rng: np.random.Generator) -> Floats:
    layer = np.zeros((HEIGHT, WIDTH), np.float32)
    for side in (-1, 1):
        for _ in range(look.brow_strokes):
            t = rng.random()
            arch = look.brow_arch * np.sin(np.clip(t * 1.25, 0, 1.25) * np.pi * 0.8)
            spread = look.brow_thickness * (1 - 0.65 * t**1.5) * (0.6 + 0.4 * min(1, t * 6))
            a = 0.10 + t * 0.46
            h = look.brow_height + arch - 0.05 * t**3 + rng.uniform(-1, 1) * spread
            length = rng.uniform(0.04, 0.075)
            lean = np.deg2rad(70 - 75 * t + rng.normal(0, 9))
            tip = side * (a + length * np.cos(lean)), h + 0.8 * length * np.sin(lean)
            cv2.line(layer, _texel(side * a, h), _texel(*tip), (0.7,), 1, cv2.LINE_AA, 4)
    return np.clip(np.asarray(cv2.GaussianBlur(layer, (0, 0), 0.7)), 0, 0.85)


def hair_cover(look: Look, rng: np.random.Generator, angle: Floats, y: Floats) -> Floats:
    """Where the scalp carries hair, 0..1, ragged at the hairline."""
    if look.bald:
        return np.zeros(np.broadcast(angle, y).shape, np.float32)
    line = hairline(look, angle) - 0.05 * _blob(angle, y, (0, 8.0), (0.18, 1e4))
    ragged = 0.035 * _noise(rng, HEIGHT, 22)[:1] + 0.035 * _noise(rng, 40, 3)
    return smoothstep(-0.09, 0.09, y - line + ragged)


def hairline(look: Look, angle: Floats) -> Floats:
    """Template height at which hair begins, or would if the head were not bald."""
    around = np.abs(angle)
    return np.asarray(
        look.hairline
        - look.temple * smoothstep(0.55, 0.95, around)
        - look.sides * smoothstep(0.95, 1.25, around)
        - 0.25 * smoothstep(1.75, 2.2, around),
        np.float32,
    )

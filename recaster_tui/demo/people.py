"""Synthetic people: the two of the demo, and as many more as one wants."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recaster_tui.demo.mesh import (
    EYE_LEVEL,
    Floats,
    Ints,
    Part,
    head_mesh,
    vertex_normals,
)
from recaster_tui.demo.paint import Colour, Look, paint, sample, template_uv
from recaster_tui.demo.raster import rasterize
from recaster_tui.demo.strands import Strands, grow

AO_DIRECTIONS = 40
AO_MAP = 112
INSIDE_MOUTH = 0.45
AO_SPAN = 5.2  # template units that the map is wide


@dataclass(frozen=True)
class Person:
    """A baked identity: everything of it that does not change from frame to frame."""

    look: Look
    vertices: Floats  # (V, 3) neutral, hair volume included
    texture: Floats  # see paint.paint
    occlusion: Floats  # (V,) 0 hidden … 1 open sky
    triangles: Ints  # (T', 3) those that this person shows
    parts: NDArray[np.uint8]  # (T',)
    strands: Strands


def bake(shape: Mapping[str, float], look: Look, seed: int) -> Person:
    """Make a person from identity weights and a look (a few hundred ms).

    Raises:
        KeyError: *shape* names an identity target that the mesh does not have.
    """
    mesh = head_mesh()
    rng = np.random.default_rng(seed)
    vertices = mesh.vertices.copy()
    mesh.identities.add_to(vertices, shape)
    texture = paint(look, rng)

    normals = vertex_normals(vertices, mesh.triangles)
    hair = sample(texture, *template_uv(mesh.vertices.T))[:, 3].clip(0, 1)
    hair *= mesh.body & (mesh.ears <= 0.15)
    bumps = rng.standard_normal(len(vertices)).astype(np.float32)
    thick = look.hair_volume * (1 + 0.1 * bumps) + look.hair_top * np.clip(normals[:, 1], 0, 1)
    vertices += normals * (hair**2 * thick)[:, None]

    eyes = np.concatenate([mesh.part_vertices(Part.LEFT_EYE), mesh.part_vertices(Part.RIGHT_EYE)])
    centre = vertices[eyes].mean(0)
    vertices += np.array([0, EYE_LEVEL, 1.24], np.float32) - centre

    shown = _shown(look)
    triangles, parts = mesh.triangles[shown], mesh.parts[shown]
    occlusion = _occlusion(vertices, triangles[parts != Part.LASHES])
    # Baked with the mouth closed, where nothing reaches the teeth; they show when it opens.
    for part in (Part.UPPER_TEETH, Part.LOWER_TEETH, Part.TONGUE):
        inside = mesh.part_vertices(part)
        occlusion[inside] = np.maximum(occlusion[inside], INSIDE_MOUTH)
    return Person(
        look,
        vertices,
        texture,
        occlusion,
        triangles,
        parts,
        grow(mesh, vertices, texture, look, rng),
    )


def _shown(look: Look) -> NDArray[np.bool_]:
    parts = head_mesh().parts
    # MakeHuman's long hair is a coarse helper sheet, not fit to be seen.
    return np.asarray((parts != Part.LONG_HAIR) & (look.lashes | (parts != Part.LASHES)))


def _occlusion(vertices: Floats, triangles: Ints) -> Floats:
    """Cosine-weighted share of the sky that each vertex sees, over a spiral of directions."""
    normals = vertex_normals(vertices, triangles)
    seen = np.zeros(len(vertices), np.float32)
    total = np.full(len(vertices), 1e-6, np.float32)
    for k in range(AO_DIRECTIONS):
        height = 1 - 2 * (k + 0.5) / AO_DIRECTIONS
        if height < -0.75:
            continue
        ring, turn = np.sqrt(1 - height * height), k * np.pi * (3 - np.sqrt(5))
        towards = np.array([ring * np.cos(turn), height, ring * np.sin(turn)], np.float32)
        lit = lit_vertices(vertices, triangles, towards, AO_MAP, AO_SPAN, bias=0.10)
        share = np.clip(normals @ towards, 0, None)
        seen += share * lit
        total += share
    return np.asarray(np.clip(seen / total, 0, 1) ** np.float32(0.8), np.float32)


def lit_vertices(
    vertices: Floats,
    triangles: Ints,
    towards: Floats,
    pixels: int,
    span: float,
    *,
    bias: float,
    taps: tuple[tuple[float, float], ...] = ((0.0, 0.0), (-0.5, -0.5), (0.5, 0.5)),
) -> Floats:
    """Share of shadow-map *taps* (offsets in map pixels) from which *towards* is free: (V,)."""
    up = np.array([0, 1, 0] if abs(towards[1]) < 0.9 else [1, 0, 0], np.float32)
    right = np.cross(up, towards)
    right /= np.linalg.norm(right)
    above = np.cross(towards, right)
    centred = vertices - np.array([0, 6.8, 0.4], np.float32)
    scale = np.float32(pixels / span)
    points = np.stack([centred @ right, -(centred @ above)], 1) * scale + np.float32(pixels / 2)
    depth = -(centred @ towards)
    surface = rasterize(points, depth, triangles, pixels, pixels).depth_map()
    lit = np.zeros(len(vertices), np.float32)
    for dx, dy in taps:
        x, y = ((points[:, k] + d).astype(np.int32) for k, d in enumerate((dx, dy)))
        lit += depth < surface[y.clip(0, pixels - 1), x.clip(0, pixels - 1)] + np.float32(bias)
    return lit / np.float32(len(taps))


def demo_source() -> Person:
    """The demo's source: fair, square-jawed, red-brown hair and beard."""
    shape = {
        "caucasian-male-young": 0.75,
        "caucasian-male-old": 0.25,
        "u-male-young-averageweight": 1.0,
        "head/head-square": 0.5,
        "nose/nose-hump-incr": 0.4,
        "nose/nose-scale-vert-incr": 0.3,
        "chin/chin-prominent-incr": 0.4,
        "eyes/l-eye-scale-incr": 0.35,
        "eyes/r-eye-scale-incr": 0.35,
    }
    look = Look(
        skin=(0.83, 0.65, 0.56),
        hair=(0.42, 0.22, 0.11),
        lip=(0.72, 0.46, 0.43),
        iris=(0.22, 0.36, 0.48),
        cloth=(0.13, 0.17, 0.28),
        beard=0.8,
        beard_length=0.10,
        brow_thickness=0.036,
        brow_strokes=300,
        hairline=8.0,
        hair_volume=0.10,
        hair_length=0.34,
        lashes=False,
        redness=0.6,
    )
    return bake(shape, look, 3)


def demo_target() -> Person:
    """The demo's target: dark-skinned, oval face, black hair, full lips."""
    shape = {
        "african-female-young": 0.55,
        "asian-female-young": 0.45,
        "u-female-young-averageweight": 1.0,
        "head/head-oval": 0.6,
        "mouth/mouth-lowerlip-volume-incr": 0.5,
        "eyes/l-eye-scale-incr": 0.5,
        "eyes/r-eye-scale-incr": 0.5,
    }
    look = Look(
        skin=(0.56, 0.39, 0.29),
        hair=(0.10, 0.08, 0.075),
        lip=(0.58, 0.25, 0.26),
        iris=(0.20, 0.10, 0.05),
        cloth=(0.45, 0.12, 0.12),
        brow_strokes=190,
        brow_thickness=0.024,
        brow_arch=0.09,
        hairline=8.02,
        hair_volume=0.15,
        hair_top=0.16,
        hair_length=0.3,
        fringe=False,
        eye_shadow=0.35,
        shadow_colour=(0.25, 0.13, 0.12),
    )
    return bake(shape, look, 5)


_HAIR: tuple[Colour, ...] = (
    (0.10, 0.08, 0.07),
    (0.24, 0.16, 0.10),
    (0.42, 0.30, 0.18),
    (0.62, 0.50, 0.32),
    (0.55, 0.54, 0.52),
    (0.38, 0.18, 0.10),
)
_IRIS: tuple[Colour, ...] = (
    (0.20, 0.12, 0.07),
    (0.28, 0.38, 0.48),
    (0.28, 0.36, 0.22),
    (0.32, 0.22, 0.10),
)


def random_identity(seed: int) -> Person:
    """A person drawn from *seed*: ancestry mix, age, weight, local features, colours, hair."""
    rng = np.random.default_rng(seed)
    sex = "male" if rng.random() < 0.5 else "female"
    mix = rng.dirichlet((0.6, 0.6, 0.6))
    look = _random_look(rng, sex, mix)
    return bake(_random_shape(rng, sex, mix), look, seed)


def _random_shape(rng: np.random.Generator, sex: str, mix: NDArray[np.float64]) -> dict[str, float]:
    old = rng.uniform(0, 0.6) if rng.random() < 0.5 else 0.0
    weights: dict[str, float] = {}
    for share, ancestry in zip(mix, ("caucasian", "african", "asian"), strict=True):
        weights[f"{ancestry}-{sex}-young"] = share * (1 - old)
        weights[f"{ancestry}-{sex}-old"] = share * old
    heavy = rng.uniform(-1, 1)
    extreme = "maxweight" if heavy > 0 else "minweight"
    for age, share in (("young", 1 - old), ("old", old)):
        weights[f"u-{sex}-{age}-averageweight"] = share * (1 - abs(heavy))
        weights[f"u-{sex}-{age}-{extreme}"] = share * abs(heavy) * 0.8
    areas = ("head/", "nose/", "mouth/", "chin/", "cheek/", "forehead/")
    unfit = ("trans", "head-age", "head-angle", "scale-vert")
    names = [
        name
        for name in head_mesh().identities.names
        if name.startswith(areas) and not any(word in name for word in unfit)
    ]
    for name in rng.choice(names, 14, replace=False):
        weights[str(name)] = rng.uniform(0.1, 0.6)
    eye_size = rng.uniform(0.1, 0.6)
    weights |= {f"eyes/{side}-eye-scale-incr": eye_size for side in "lr"}
    for name, weight in list(weights.items()):  # faces are symmetric
        for side, other in (("/l-", "/r-"), ("/r-", "/l-")):
            twin = name.replace(side, other)
            if side in name and twin in head_mesh().identities.names:
                weights[twin] = weight
    return weights


def _random_look(rng: np.random.Generator, sex: str, mix: NDArray[np.float64]) -> Look:
    tone = float(np.clip(mix @ np.array([0.12, 0.75, 0.30]) + rng.normal(0, 0.1), 0, 1))
    skin = np.array([0.86, 0.69, 0.60]) * (1 - tone) + np.array([0.36, 0.23, 0.17]) * tone
    fair = mix[0] > 0.4
    odds = [0.4, 0.25, 0.15, 0.08, 0.06, 0.06] if fair else [0.8, 0.15, 0.02, 0.01, 0.02, 0.0]
    lip = skin * np.array([0.88, 0.66, 0.70]) * (1 if sex == "male" else rng.uniform(0.7, 1))
    if sex == "female" and rng.random() < 0.5:
        lip = np.array([0.6, 0.18, 0.2]) * rng.uniform(0.8, 1.2)
    beard = float(rng.choice([0, 0, 0.25, 0.5, 0.8])) if sex == "male" else 0.0
    return Look(
        skin=_colour(skin),
        hair=_HAIR[rng.choice(6, p=odds)],
        lip=_colour(lip),
        iris=_IRIS[rng.choice(4, p=[0.5, 0.2, 0.15, 0.15])],
        cloth=_colour(rng.uniform(0.08, 0.7, 3)),
        beard=beard,
        beard_length=0.08 if beard > 0.6 else 0.0,
        brow_strokes=int(rng.integers(150, 380)),
        brow_thickness=rng.uniform(0.022, 0.045),
        brow_arch=rng.uniform(0.04, 0.09),
        brow_height=rng.uniform(7.42, 7.49),
        hairline=rng.uniform(7.9, 8.15),
        temple=rng.uniform(0.15, 0.5),
        hair_volume=rng.uniform(0.03, 0.2),
        hair_top=rng.uniform(0, 0.25),
        hair_length=rng.uniform(0.15, 0.45),
        redness=rng.uniform(0.2, 0.8),
        freckles=int(rng.choice([0, 0, 60, 200])) if tone < 0.4 else 0,
        under_eye=rng.uniform(0.1, 0.7),
        eye_shadow=rng.uniform(0.05, 0.4),
        fringe=bool(rng.random() < 0.6),
        lashes=sex == "female",
        bald=bool(rng.random() < 0.08),
    )


def _colour(values: NDArray[np.floating]) -> Colour:
    r, g, b = (float(v) for v in np.clip(values, 0, 1))
    return r, g, b

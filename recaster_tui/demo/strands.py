"""Loose strands of hair and beard: what keeps the painted hair from looking like a helmet."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recaster_tui.demo.mesh import Floats, HeadMesh, Ints, Part, smoothstep, vertex_normals
from recaster_tui.demo.paint import Look, beard_cover, sample, template_uv

POINTS = 5  # per strand, root first
CROWN = (0.0, 8.5, -0.35)  # where the hair parts from, template coordinates


@dataclass(frozen=True)
class Strands:
    """S strands rooted on the mesh; they turn with the head and follow the skin."""

    corners: Ints  # (S, 3) vertices of the root's triangle
    weights: Floats  # (S, 3) barycentric
    offsets: Floats  # (S, POINTS, 3) from the root, in the unturned head
    colours: Floats  # (S, 3) linear BGR albedo
    beard: NDArray[np.bool_]  # (S,) not of the head's hair


def grow(
    mesh: HeadMesh, vertices: Floats, texture: Floats, look: Look, rng: np.random.Generator
) -> Strands:
    """Root strands where *texture* (see :func:`paint.paint`) has hair, and where a beard grows."""
    body = np.flatnonzero(mesh.parts == Part.BODY)
    corners = mesh.triangles[body]
    side_a = vertices[corners[:, 1]] - vertices[corners[:, 0]]
    side_b = vertices[corners[:, 2]] - vertices[corners[:, 0]]
    area = 0.5 * np.linalg.norm(np.cross(side_a, side_b), axis=1)
    template = mesh.vertices[corners].mean(1)
    hair = sample(texture, *template_uv(template.T))[:, 3].clip(0, 1)
    hair *= (mesh.ears[corners].max(1) < 0.15) & (template[:, 1] > 6.9)
    # The hairline wants more strands: that is where the painted edge shows.
    edge = np.exp(-(((hair - 0.45) / 0.35) ** 2)) * (hair > 0.05)
    angle = np.arctan2(template[:, 0], template[:, 2] - 0.25)
    beard = beard_cover(angle, template[:, 1])
    beard *= (mesh.lips[corners].max(1) < 0.15) & (mesh.inner_mouth[corners].max(1) < 0.15)
    beard *= mesh.ears[corners].max(1) < 0.15
    beard *= beard > 0.25

    scalp = np.asarray(hair * 0.6 + edge * 1.6, np.float32)
    groups = (
        (scalp, 0 if look.bald else 2200, False),
        (beard, 1500 if look.beard_length > 0 else 0, True),
    )
    normals = vertex_normals(vertices, mesh.triangles)
    out, kinds = [], []
    for density, count, is_beard in groups:
        weight = (area * density).astype(np.float64)
        if not count or weight.sum() <= 0:
            continue
        chosen = rng.choice(len(corners), count, p=weight / weight.sum())
        out.append(_strands(vertices, normals, corners[chosen], look, rng, is_beard))
        kinds.append(np.full(count, is_beard))
    if not out:
        nothing = np.zeros((0, 3), np.float32)
        empty = np.zeros((0, POINTS, 3), np.float32)
        return Strands(nothing.astype(np.intp), nothing, empty, nothing, np.zeros(0, bool))
    corners_, weights, offsets, colours = (np.concatenate(p) for p in zip(*out, strict=True))
    return Strands(corners_, weights, offsets, colours, np.concatenate(kinds))


def _strands(
    vertices: Floats,
    normals: Floats,
    corners: Ints,
    look: Look,
    rng: np.random.Generator,
    beard: bool,
) -> tuple[Ints, Floats, Floats, Floats]:
    count = len(corners)
    weights = rng.dirichlet((1.0, 1.0, 1.0), count).astype(np.float32)
    root = (vertices[corners] * weights[..., None]).sum(1)
    normal = _unit((normals[corners] * weights[..., None]).sum(1))
    jitter = rng.standard_normal((count, 3)).astype(np.float32)
    if beard:
        along = np.array([0, -1, 0.25], np.float32) + 0.35 * jitter
        length = look.beard_length * rng.uniform(0.5, 1.3, count)
        length *= 1 - 0.5 * smoothstep(6.35, 6.6, root[:, 1])  # short on lip and cheeks
        lift, fall = 0.5, 0.1
    else:
        if look.fringe:
            along = root - np.asarray(CROWN, np.float32)
            along[:, 1] -= 0.8
            along = _unit(along) + 0.28 * jitter
        else:
            along = np.array([0, 0.25, -1], np.float32) + 0.14 * jitter
        # Short at the sides and neck, longer on top and at the front.
        length = look.hair_length * rng.uniform(0.5, 1.25, count)
        sides = 0.45 if look.fringe else 0.3
        length *= sides + (1 - sides) * smoothstep(7.6, 8.2, root[:, 1])
        lift, fall = (0.42, 0.25) if look.fringe else (0.12, 0.06)
    along = along - (along * normal).sum(1, keepdims=True) * normal
    t = np.linspace(0, 1, POINTS, dtype=np.float32)[None, :, None]
    along = _unit(along)[:, None]
    up = normal[:, None] * np.float32(lift)
    drop = np.array([0, -fall, 0], np.float32)
    path = along * t + up * (t - 0.55 * t * t) + drop * t * t
    offsets = (path * length[:, None, None]).astype(np.float32)
    shade = rng.uniform(0.55, 1.5, (count, 1)).astype(np.float32)
    base = np.asarray(look.hair[::-1], np.float32) ** np.float32(2.2)
    return corners, weights, offsets, base * shade


def _unit(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-9), np.float32)

"""The baked head: mesh, identity and expression shapes, neck skinning, vertex normals.

``data/head.npz`` holds a MakeHuman head (CC0) with 314 identity targets and the 52 ARKit face
units of Mika Suominen (CC0). Units are MakeHuman decimetres; x points to the subject's left,
y up, z out of the face. A head is about 2.3 units tall, its eyes near y = 7.28.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]

DATA = Path(__file__).parent / "data"
EYE_LEVEL = 7.28


class Part(IntEnum):
    """What a triangle belongs to."""

    BODY = 0
    LEFT_EYE = 1
    RIGHT_EYE = 2
    UPPER_TEETH = 3
    LOWER_TEETH = 4
    TONGUE = 5
    LASHES = 6
    LONG_HAIR = 7


@dataclass(frozen=True)
class Shapes:
    """Named vertex offsets, sparse: shape k moves ``vertex[start[k]:start[k+1]]`` by ``delta``."""

    names: Mapping[str, int]
    start: Ints
    vertex: Ints
    delta: Floats

    def add_to(self, vertices: Floats, weights: Mapping[str, float]) -> None:
        """Add each named shape times its weight to *vertices* (V, 3), in place.

        Raises:
            KeyError: a name is not among :attr:`names`.
        """
        for name, weight in weights.items():
            if abs(weight) > 1e-4:
                part = self.slice(name)
                vertices[self.vertex[part]] += np.float32(weight) * self.delta[part]

    def slice(self, name: str) -> slice:
        """Where shape *name* lies in :attr:`vertex` and :attr:`delta`."""
        k = self.names[name]
        return slice(int(self.start[k]), int(self.start[k + 1]))


@dataclass(frozen=True)
class HeadMesh:
    """The template head. V = 6109 vertices, T = 11420 triangles."""

    vertices: Floats  # (V, 3)
    triangles: Ints  # (T, 3)
    parts: NDArray[np.uint8]  # (T,) of Part
    lips: Floats  # (V,) 0..1, like the three below
    inner_mouth: Floats
    ears: Floats
    body: NDArray[np.bool_]  # (V,) used by a BODY triangle
    identities: Shapes
    expressions: Shapes
    neck: Floats  # (3,) joint the head turns about

    def part_vertices(self, part: Part) -> Ints:
        """Indices of the vertices of *part*, ascending."""
        return np.unique(self.triangles[self.parts == part])


@lru_cache(maxsize=1)
def head_mesh() -> HeadMesh:
    """Load the baked head (about 40 ms, once per process)."""
    with np.load(DATA / "head.npz", allow_pickle=False) as data:
        vertices = data["V"].astype(np.float32)
        triangles = data["tri"].astype(np.intp)
        parts = data["tl"]
        mask = data["mask"].astype(np.float32) / 255
        body = np.zeros(len(vertices), bool)
        body[triangles[parts == Part.BODY]] = True
        joints = {str(n): p for n, p in zip(data["jn"], data["jp"], strict=True)}
        identities = _shapes(data["ident"], data["ik"], data["iv"], data["idd"])
        expressions = _shapes(data["expr"], data["ek"], data["ev"], data["ed"])
    return HeadMesh(
        vertices,
        triangles,
        parts,
        lips=mask[:, 0],
        inner_mouth=mask[:, 1],
        ears=mask[:, 3],
        body=body,
        identities=identities,
        expressions=expressions,
        neck=joints["joint-neck"].astype(np.float32),
    )


def _shapes(
    names: NDArray[np.str_],
    shape_of: NDArray[np.uint16],
    vertex: NDArray[np.uint16],
    delta: NDArray[np.float16],
) -> Shapes:
    # The entries are sorted by shape (np.nonzero order of the bake), so a shape is a slice.
    start = np.searchsorted(shape_of, np.arange(len(names) + 1))
    index = {str(name): k for k, name in enumerate(names)}
    return Shapes(index, start, vertex.astype(np.intp), delta.astype(np.float32))


def rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """Rotation matrix (3, 3) for degrees about y (towards +x), x (chin to chest) and z."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.deg2rad([yaw, pitch, roll])) for f in (np.cos, np.sin))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_y @ about_x @ about_z, np.float32)


def pose_head(
    vertices: Floats, angles: tuple[float, float, float], shift: tuple[float, float, float]
) -> tuple[Floats, Floats]:
    """Turn the head on its neck by (yaw, pitch, roll) degrees, the shoulders a little with it.

    Linear blend skinning with two smooth weights over the height (y).

    Returns:
        The posed vertices (V, 3) and the head's rotation matrix (3, 3).
    """
    yaw, pitch, roll = angles
    pivot = head_mesh().neck + np.array([0, 0.25, 0.1], np.float32)
    head = rotation(yaw, pitch, roll)
    neck = rotation(0.25 * yaw, 0.2 * pitch, 0.3 * roll)
    y, z = vertices[:, 1], vertices[:, 2]
    head_share = smoothstep(5.55, 6.35, y - 0.35 * np.clip(z - 0.6, 0, 1))[:, None]
    neck_share = smoothstep(4.9, 5.7, y)[:, None]
    centred = vertices - pivot
    base = centred + (centred @ neck.T - centred) * neck_share
    posed = base + (centred @ head.T - base) * head_share + pivot
    return np.asarray(posed + np.asarray(shift, np.float32), np.float32), head


def vertex_normals(vertices: Floats, triangles: Ints) -> Floats:
    """Area-weighted unit normals (V, 3)."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    corners = triangles.T.ravel()
    total = np.stack(
        [np.bincount(corners, np.tile(face[:, k], 3), len(vertices)) for k in range(3)], axis=1
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(total / np.maximum(length, 1e-12), np.float32)


def smoothstep(low: float | np.float32, high: float | np.float32, x: Floats) -> Floats:
    """0 at *low*, 1 at *high* (which may be the smaller one), with flat ends."""
    t = np.clip((x - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)

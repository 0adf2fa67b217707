"""Exact landmarks of the rendered head: 478 of MediaPipe's face mesh, and the 68 of iBUG.

``data/lm478.npz`` fixes each of the 478 points on the mesh (triangle and barycentric weights);
the 68 are those that extraction makes of 478 found ones (``faces.mesh_points``).
"""

from functools import lru_cache

import numpy as np

from recaster_tui.demo.mesh import DATA, Floats, Ints, head_mesh


@lru_cache(maxsize=1)
def _anchors() -> tuple[Ints, Floats]:
    with np.load(DATA / "lm478.npz", allow_pickle=False) as data:
        corners = head_mesh().triangles[data["tri"].astype(np.intp)]
        return corners, data["bar"].astype(np.float32)


def landmarks478(vertices: Floats) -> Floats:
    """The 478 points (478, k) among per-vertex coordinates (V, k), k = 2 or 3."""
    corners, weights = _anchors()
    return np.asarray((vertices[corners] * weights[..., None]).sum(1), np.float32)

"""Exact landmarks of the rendered head: 478 of MediaPipe's face mesh, and the 68 of iBUG.

``data/lm478.npz`` fixes each of the 478 points on the mesh (triangle and barycentric weights);
the 68 are means of one or two of them (Peizhi Yan's list, with the nostril corners 75 and 305:
spec/libraries.md 1.4).
"""

from functools import lru_cache

import numpy as np

from recaster_tui.demo.mesh import DATA, Floats, Ints, head_mesh

# fmt: off
FROM_478: tuple[tuple[int, ...], ...] = (
    (127,), (234,), (93,), (132, 58), (58, 172), (136,), (150,), (176,), (152,),  # jaw
    (400,), (379,), (365,), (397, 288), (361,), (323,), (454,), (356,),
    (70,), (63,), (105,), (66,), (107,), (336,), (296,), (334,), (293,), (300,),  # brows
    (168, 6), (197, 195), (5,), (4,), (75,), (97,), (2,), (326,), (305,),  # nose
    (33,), (160,), (158,), (133,), (153,), (144,),  # right eye (left in the image)
    (362,), (385,), (387,), (263,), (373,), (380,),
    (61,), (39,), (37,), (0,), (267,), (269,), (291,), (321,), (314,), (17,), (84,), (91,),
    (78,), (82,), (13,), (312,), (308,), (317,), (14,), (87,),  # inner lips
)
# fmt: on


@lru_cache(maxsize=1)
def _anchors() -> tuple[Ints, Floats]:
    with np.load(DATA / "lm478.npz", allow_pickle=False) as data:
        corners = head_mesh().triangles[data["tri"].astype(np.intp)]
        return corners, data["bar"].astype(np.float32)


def landmarks478(vertices: Floats) -> Floats:
    """The 478 points (478, k) among per-vertex coordinates (V, k), k = 2 or 3."""
    corners, weights = _anchors()
    return np.asarray((vertices[corners] * weights[..., None]).sum(1), np.float32)


def landmarks68(points: Floats) -> Floats:
    """The 68 iBUG points (68, k) of 478 *points* (478, k)."""
    return np.stack([points[list(group)].mean(0) for group in FROM_478])

"""The 478 points of MediaPipe's face mesh, and the 68 of iBUG made of them (libraries.md 1.4).

Each of the 68 is the mean of one or two points: Peizhi Yan's list (github.com/PeizhiYan/
Mediapipe_2_Dlib_Landmarks), with the nostril corners 75 and 305 in place of 240 and 460.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MESH_POINTS: Final = 478

# fmt: off
FROM_478: Final[tuple[tuple[int, ...], ...]] = (
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

_FIRST: Final = np.array([group[0] for group in FROM_478])
_SECOND: Final = np.array([group[-1] for group in FROM_478])


def landmarks68(mesh: NDArray[Any]) -> NDArray[Any]:
    """The 68 iBUG points (..., 68, k) of the mesh's points (..., 478, k), k = 2 or 3."""
    half = mesh.dtype.type(0.5)
    points: NDArray[Any] = (mesh[..., _FIRST, :] + mesh[..., _SECOND, :]) * half
    return points

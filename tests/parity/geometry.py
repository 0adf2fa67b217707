"""Alignment, pose and masks: the arrays of geometry/."""

import json
import re
from collections.abc import Callable, Iterator

import numpy as np

from recaster_tui.faces import geometry, masks, pose
from recaster_tui.faces.face import Polygon
from recaster_tui.faces.tables import ALIGNMENT_POINTS, ALIGNMENT_TARGET, MEAN_FACE_3D
from recaster_tui.faces.types import FaceType
from tests.parity.goldens import PIXELS, Case, Deviation, absolute, root
from tests.parity.tables import Arrays, Rule, Table

GROUPS = ("geometry",)
ALIGNED_SIDE = 256
"""Side of the pictures that ``aligned_landmarks`` lie in."""

Match = re.Match[str]


def _umeyama(match: Match, arrays: Arrays) -> list[Deviation]:
    index, scaled = list(ALIGNMENT_POINTS), match[1] == "scale"
    got = [
        geometry.umeyama(points[index], ALIGNMENT_TARGET, with_scale=scaled)
        for points in _given(match, arrays)
    ]
    return _compare(match, arrays, got)


def _umeyama_3d(match: Match, arrays: Arrays) -> list[Deviation]:
    pairs = zip(arrays["umeyama3d_src"], arrays["umeyama3d_dst"], strict=True)
    return _compare(match, arrays, [geometry.umeyama(p, q) for p, q in pairs])


def _alignment(match: Match, arrays: Arrays) -> list[Deviation]:
    size, scale = int(match[1]), float(match[2] or 1)
    result = []
    for column, name in enumerate(arrays["face_types"]):
        face_type = FaceType.from_dfl(str(name))
        got = [
            geometry.alignment_matrix(points, size, face_type, scale)
            for points in _given(match, arrays)
        ]
        want = arrays[match[0]][:, column]
        result.append(absolute(str(name), np.array(got), want, PIXELS))
    return result


def _whole(points: np.ndarray) -> np.ndarray:
    return geometry.alignment_matrix(points, ALIGNED_SIDE, FaceType.WHOLE)


def _forward(match: Match, arrays: Arrays) -> list[Deviation]:
    got = [geometry.transform_points(p, _whole(p)) for p in _given(match, arrays)]
    return _compare(match, arrays, got)


def _inverse(match: Match, arrays: Arrays) -> list[Deviation]:
    last = ALIGNED_SIDE - 1
    corners = np.array([(0, 0), (last, 0), (last, last), (0, last)], np.float32)
    got = [
        geometry.transform_points(corners, _whole(p), invert=True) for p in _given(match, arrays)
    ]
    return _compare(match, arrays, got)


def _yaw(match: Match, arrays: Arrays) -> list[Deviation]:
    got = [
        pose.averaged_yaw(geometry.transform_points(p, geometry.unit_square_matrix(p)))
        for p in _given(match, arrays)
    ]
    return _compare(match, arrays, got)


def _pose(match: Match, arrays: Arrays) -> list[Deviation]:
    size = int(match[1])
    got = [pose.pitch_yaw_roll(p, size) for p in _aligned(arrays, match[0], size)]
    return _compare(match, arrays, got)


def _of_landmarks(compute: Callable[..., object], key: str = "landmarks") -> Rule:
    def rule(match: Match, arrays: Arrays) -> list[Deviation]:
        amounts = [float(text) for text in match.groups()]
        return _compare(
            match, arrays, [compute(points, *amounts) for points in _given(match, arrays, key)]
        )

    return rule


def _hull(match: Match, arrays: Arrays) -> list[Deviation]:
    size, expand = int(match[1]), float(match[2] or 1)
    got = [
        masks.hull_mask((size, size), points, expand) for points in _aligned(arrays, match[0], size)
    ]
    return _compare_masks(match, arrays, got)


def _hull_source(match: Match, arrays: Arrays) -> list[Deviation]:
    size, want = int(match[1]), arrays[match[0]]
    with np.load(root() / "geometry" / "geometry.npz") as beside:
        landmarks = beside["landmarks"][: len(want)]
    got = np.array([masks.hull_mask((size, size), points) for points in landmarks])
    bits = np.unpackbits(want, axis=-1)[..., :size]
    return [absolute(match[0], got, bits, PIXELS)]


def _part(draw: Callable[..., np.ndarray]) -> Rule:
    def rule(match: Match, arrays: Arrays) -> list[Deviation]:
        size = int(match[1])
        got = [draw((size, size), points) for points in _aligned(arrays, match[0], size)]
        return _compare_masks(match, arrays, got)

    return rule


def _polygons(match: Match, arrays: Arrays) -> list[Deviation]:
    size = int(match[1])
    got = []
    told = json.loads((root() / "geometry" / "polys.json").read_text())
    for drawn in told[: len(arrays[match[0]])]:
        polygons = [Polygon(p["type"] == 1, np.array(p["pts"], np.float32)) for p in drawn]
        got.append(masks.polygon_mask((size, size), polygons))
    return _compare_masks(match, arrays, got)


def _given(match: Match, arrays: Arrays, key: str = "landmarks") -> np.ndarray:
    """The inputs an array was made from: the first ones where there are more."""
    return np.asarray(arrays[key][: len(arrays[match[0]])])


def _aligned(arrays: Arrays, name: str, size: int) -> np.ndarray:
    """The aligned landmarks that an array was made from, in pictures of *size*."""
    return np.asarray(arrays["aligned_landmarks"][: len(arrays[name])] * (size / ALIGNED_SIDE))


def _compare(match: Match, arrays: Arrays, got: object) -> list[Deviation]:
    return [absolute(match[0], np.asarray(got), arrays[match[0]], PIXELS)]


def _compare_masks(match: Match, arrays: Arrays, got: list[np.ndarray]) -> list[Deviation]:
    return [absolute(match[0], np.array(got)[..., None], arrays[match[0]], PIXELS)]


def _constant(ours: object) -> Rule:
    return lambda match, arrays: _compare(match, arrays, ours)


_TABLE = Table(
    "geometry",
    rules={
        "umeyama_(scale|noscale)": _umeyama,
        "umeyama3d": _umeyama_3d,
        r"transform_mat_(\d+)(?:_scale([\d.]+))?": _alignment,
        "transform_points_fwd": _forward,
        "transform_points_inv": _inverse,
        "rect_from_landmarks": _of_landmarks(geometry.landmarks_rect),
        r"expand_eyebrows_([\d.]+)": _of_landmarks(masks.expand_eyebrows),
        r"pitch_yaw_roll_(?:aligned_)?(\d+)": _pose,
        "averaged_yaw": _yaw,
        r"mirror_(\d+)": _of_landmarks(geometry.mirror_landmarks, "aligned_landmarks"),
        "euler": _of_landmarks(pose.euler_angles, "rotmats"),
        "polygon_area": _of_landmarks(lambda points: geometry.polygon_area(points[:17])),
        "landmarks_2D_new": _constant(ALIGNMENT_TARGET),
        "landmarks_68_3D": _constant(MEAN_FACE_3D),
        r"hull_(\d+)(?:_expand([\d.]+))?": _hull,
        r"hull_(\d+)_source": _hull_source,
        r"eye_(\d+)": _part(masks.eyes_mask),
        r"mouth_(\d+)": _part(masks.mouth_mask),
        r"polys_mask_(\d+)": _polygons,
    },
    inputs="landmarks|aligned_landmarks|face_types|rotmats|umeyama3d_(src|dst)"
    "|l98|mathlib_transform_mat_(in|params)",
    absent={
        "landmarks_2D": "the old mean face; nothing that is built uses it",
        "l98_to_68": "98-point marks come from no detector of ours",
        "calc_face_pitch": "the original's rough pitch; ours is pitch_yaw_roll",
        "mathlib_transform_mat": "shifts, turns and scales a matrix; used by the merger only",
        "(blur_hull|face_struct_mask|cmask).*": "a mask that none of the four models asks for",
    },
)


def discover() -> Iterator[Case]:
    return _TABLE.discover()


def unjudged() -> Iterator[tuple[str, str]]:
    return _TABLE.unjudged()


def judge(case: Case) -> list[Deviation]:
    return _TABLE.judge(case)

"""Random warp, affine transform and filters: warp/."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from recaster_tui.training.data import segmented_filters as filters
from recaster_tui.training.reference import truncated_normal, warp_by_params, warp_params
from tests.parity.goldens import (
    PIXELS,
    Case,
    Deviation,
    absolute,
    meta,
    picture,
    root,
    unit,
)
from tests.parity.tables import Arrays, Rule, Table

GROUPS = ("warp",)
WARP_SEED = 50
"""The warp's stream is seeded with this much more than the transform's."""
ALWAYS = 100
"""Percent: a filter that is judged is applied."""
_KEY = r"(w\d+_s\d+)_(\w+)"
# What each output was made with. warp_only is not mirrored, and mask_lin is no picture but where
# its blue exceeds 0.5 (neither is in the README; these reproduce the numbers).
_STEPS: dict[str, dict[str, bool]] = {
    "warp_tf_rep": {"warp": True, "transform": True, "replicate_border": True},
    "tf_const": {"warp": False, "transform": True, "replicate_border": False},
    "warp_only": {"warp": True, "transform": False, "replicate_border": False, "flip": False},
    "mask_lin": {"warp": False, "transform": True, "replicate_border": False, "cubic": False},
}
_GEOMETRY = ("mapx", "mapy", "rmat", "umat")

Match = re.Match[str]


def discover() -> Iterator[Case]:
    if (root() / "warp" / "meta.json").exists():
        keys = meta(root() / "warp")
        for path in sorted((root() / "warp").glob("*.npz")):
            with np.load(path) as arrays:
                found = [key for key in keys if f"{key}_rmat" in arrays]
            yield from (Case("warp", f"{path.stem} {key}", path, key) for key in found)
    yield from _TABLE.discover()


def unjudged() -> Iterator[tuple[str, str]]:
    known = "|".join((*_GEOMETRY, *_STEPS))
    for path in sorted((root() / "warp").glob("*.npz")):
        with np.load(path) as arrays:
            names = list(arrays.files)
        for name in names:
            match = re.fullmatch(_KEY, name)
            if match and not re.fullmatch(known, match[2]):
                yield f"warp/{path.stem} {name}", "an array of a kind that is not known here"
    yield from _TABLE.unjudged()


def judge(case: Case) -> list[Deviation]:
    info = meta(case.path.parent).get(case.tag)
    return _TABLE.judge(case) if info is None else _warp(case, info)


def _warp(case: Case, info: dict[str, Any]) -> list[Deviation]:
    side, seed = info["rw"] or info["w"], int(case.tag.rpartition("_s")[2])
    params = warp_params(
        side,
        flip=True,
        rnd=np.random.RandomState(seed),
        warp_rnd=np.random.RandomState(seed + WARP_SEED),
    )
    of_unit_square = params.matrix.copy()
    of_unit_square[:, 2] /= params.side
    geometry: dict[str, np.ndarray] = dict(
        zip(_GEOMETRY, (params.map_x, params.map_y, params.matrix, of_unit_square), strict=True)
    )
    result = [Deviation("mirrored", float(params.flip != info["flip"]), 0.0)]
    with np.load(case.path) as arrays:
        image = unit(arrays[f"img{side}_u8"])
        for name, ours in geometry.items():
            if f"{case.tag}_{name}" in arrays:
                result.append(absolute(name, ours, arrays[f"{case.tag}_{name}"], PIXELS))
        for name, steps in _STEPS.items():
            if f"{case.tag}_{name}" in arrays:
                want = arrays[f"{case.tag}_{name}"]
                given = (image[..., :1] > 0.5).astype(np.float32) if name == "mask_lin" else image
                got = warp_by_params(params, given, **{"flip": True, **steps})
                result.append(picture(name, got, want))
    return result


def _normal(match: Match, arrays: Arrays) -> list[Deviation]:
    want = arrays[match[0]]
    got = truncated_normal(want.shape, np.random.RandomState(int(match[1])))
    return [absolute(match[0], got, want, 0.0)]


def _filter(apply: Callable[..., np.ndarray], *arguments: int) -> Rule:
    def rule(match: Match, arrays: Arrays) -> list[Deviation]:
        rnd = np.random.RandomState(int(match[1]))
        got = apply(unit(arrays["img_u8"]), *arguments, rnd)
        return [picture(match[0], got, arrays[match[0]])]

    return rule


def _circle(match: Match, arrays: Arrays) -> list[Deviation]:
    want = arrays[match[0]]
    height, width = want.shape[:2]
    circle = filters.draw_circle(height, np.random.RandomState(int(match[1])))
    return [picture(match[0], circle.weights(height, width), want)]


def _motion(match: Match, arrays: Arrays) -> list[Deviation]:
    kernel = filters.line_kernel(int(match[1]), float(match[2]))
    got = cv2.filter2D(unit(arrays["img_u8"]), -1, kernel)
    return [picture(match[0], np.asarray(got), arrays[match[0]])]


_TABLE = Table(
    "warp",
    rules={
        r"randomex_normal_seed(\d+)": _normal,
        r"rgb_levels_seed(\d+)": _filter(filters.rgb_levels),
        r"hsv_shift_seed(\d+)": _filter(filters.hsv_shift),
        r"sharpen_seed(\d+)": _filter(filters.sharpen, ALWAYS, 5),
        r"motion_blur_seed(\d+)": _filter(filters.motion_blur, ALWAYS, 5),
        r"gaussian_blur_seed(\d+)": _filter(filters.gaussian_blur, ALWAYS, 5),
        r"nearest_resize_seed(\d+)": _filter(filters.resize, ALWAYS, 75, cv2.INTER_NEAREST),
        r"bilinear_resize_seed(\d+)": _filter(filters.resize, ALWAYS, 75, cv2.INTER_LINEAR),
        r"jpeg_seed(\d+)": _filter(filters.jpeg, ALWAYS),
        r"circle_faded_seed(\d+)": _circle,
        r"motion_blur_(\d+)_(\d+)": _motion,
    },
    inputs=rf"img\d*_u8|morph_(sp|dp)|{_KEY}",
    absent={
        "apply_random_overlay_triangle.*": "no sample of the four models uses it",
        "circle_faded": "its radii are not told; the drawn circles are judged",
        "blursharpen.*|morph": "used by the merger only",
        "sharpness": "4 of its 12 pictures are stored: tests/faces/test_sorting.py judges them",
    },
)

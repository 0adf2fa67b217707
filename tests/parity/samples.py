"""Whole training samples: samples/, made from the faces of faceset/."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from recaster_tui.faces.codec import decode_pixels, read_face, read_metadata
from recaster_tui.faces.faceset import open_faceset
from recaster_tui.faces.types import FaceType
from recaster_tui.training.data.segmented_sample import LabelledFace, fit_labelled
from recaster_tui.training.reference import (
    ReferenceOptions,
    face_image,
    face_mask,
    sample_seed,
)
from recaster_tui.training.reference.segmented import SegmentedGenerator
from tests.parity.color import RANDOM, statistical
from tests.parity.goldens import Case, Deviation, meta, picture, root

GROUPS = ("samples",)
OUTPUTS = ("warped", "target", "mask", "em")
_SCALE = (-0.05, 0.05)
"""What the original takes where the options do not name it."""
_SEED = r"seed(\d+)_img_f16"


def discover() -> Iterator[Case]:
    keys = meta(root() / "samples") if (root() / "samples" / "meta.json").exists() else {}
    for path in sorted((root() / "samples").glob("*.npz")):
        with np.load(path) as arrays:
            tags = [key for key in keys if any(f"{key}_{name}" in arrays for name in OUTPUTS)]
            tags += [name for name in arrays.files if re.fullmatch(_SEED, name)]
        for tag in tags:
            name = tag.removesuffix("_img_f16")
            yield Case("samples", f"{path.stem} {name}", path, tag)


def unjudged() -> Iterator[tuple[str, str]]:
    keys = meta(root() / "samples") if (root() / "samples" / "meta.json").exists() else {}
    known = {f"{key}_{name}" for key in keys for name in OUTPUTS}
    for path in sorted((root() / "samples").glob("*.npz")):
        with np.load(path) as arrays:
            names = list(arrays.files)
        for name in names:
            if name not in known and not re.fullmatch(rf"{_SEED}|seed\d+_mask", name):
                yield f"samples/{path.stem} {name}", "an array of a kind that is not known here"


def judge(case: Case) -> list[Deviation]:
    if match := re.fullmatch(_SEED, case.tag):
        return _segmented(case, int(match[1]))
    return _sample(case, meta(case.path.parent)[case.tag])


def _sample(case: Case, info: dict[str, Any]) -> list[Deviation]:
    path = root() / "faceset" / info["file"]
    # The app keeps landmarks as float32; where a face is cut anew that moves a picture's sampling
    # by 1/32 pixel now and then (one face of 21, by up to 0.003). The judge takes them as stored.
    face = replace(read_face(path), landmarks=np.array(read_metadata(path)["landmarks"]))
    reference = None
    if info["ct_file"]:
        reference = decode_pixels(root() / "faceset" / info["ct_file"])
    stream = np.random.RandomState(info["np_random_seed"])
    seed = sample_seed(stream)
    common: dict[str, Any] = {
        "seed": info["sample_rnd_seed"],
        "resolution": info["resolution"],
        "face_type": FaceType.from_dfl(info["face_type"]),
        "options": _options(info["options"]),
    }
    image = partial(
        face_image,
        face,
        decode_pixels(face),
        transfer=info["ct_mode"],
        reference=reference,
        transfer_rnd=stream,  # goes on from one output to the next
        **common,
    )
    ours = {
        "warped": image(warp=info["warp"], hsv_power=info["hsv"]),
        "target": image(warp=False),
        "mask": face_mask(face, **common),
        "em": face_mask(face, kind="eyes-mouth", **common),
    }
    result = [Deviation("seed", abs(seed - info["sample_rnd_seed"]), 0.0)]
    with np.load(case.path) as arrays:
        for name in OUTPUTS:
            key = f"{case.tag}_{name}"
            if key in arrays and info["ct_mode"] in RANDOM and name in ("warped", "target"):
                result += statistical(name, ours[name], arrays[key], RANDOM[info["ct_mode"]])
            elif key in arrays:
                result.append(picture(name, ours[name], arrays[key]))
    return result


def _options(text: str) -> ReferenceOptions:
    """``Options(scale_range=[-0.15,0.15], random_flip=True)``: a range is a pair, -x to x."""
    values = {
        name: json.loads(value.lower())
        for name, value in re.findall(r"(\w+)=(\[[^\]]*\]|[\w.-]+)", text)
    }
    default = ReferenceOptions()
    unknown = set(values) - {"random_flip", "rotation_range", "scale_range", "tx_range", "ty_range"}
    assert not unknown, f"options that nothing here reads: {unknown}"
    return ReferenceOptions(
        flip=values.get("random_flip", False),
        rotation=values.get("rotation_range", [0, default.rotation])[1],
        scale=tuple(values.get("scale_range", _SCALE)),
        shift=values.get("tx_range", [0, default.shift])[1],
    )


@cache
def _labelled(folder: Path) -> list[LabelledFace]:
    facesets = [open_faceset(folder / side / "aligned") for side in ("src", "dst")]
    return [fit_labelled(face, FaceType.WHOLE) for each in facesets for face in each.faces]


def _segmented(case: Case, seed: int) -> list[Deviation]:
    generator = SegmentedGenerator(_labelled(root() / "faceset"), np.random.RandomState(seed))
    with np.load(case.path) as arrays:
        images = arrays[case.tag]
        masks = np.unpackbits(arrays[f"seed{seed}_mask"], axis=-1)
    result = []
    for i, (golden, truth) in enumerate(zip(images, masks, strict=True)):
        image, mask = generator.sample()
        result.append(Deviation(f"mask {i}, wrong pixels", (mask != truth).sum(), 0.0))
        result.append(picture(f"image {i}", image, golden))
    return result

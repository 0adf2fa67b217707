"""The reference path gives DeepFaceLab's own numbers."""

import json
from functools import partial
from pathlib import Path

import numpy as np

from recaster_tui.faces.codec import decode_pixels, read_face
from recaster_tui.faces.types import FaceType
from recaster_tui.training.reference import (
    ReferenceOptions,
    color_transfer,
    face_image,
    face_mask,
    sample_seed,
    truncated_normal,
    warp_by_params,
    warp_params,
)
from recaster_tui.training.reference.color import random_rotation


def unit(u8: np.ndarray) -> np.ndarray:
    return u8.astype(np.float32) / np.float32(255)


def test_warp_goldens(goldens: Path) -> None:
    z = np.load(goldens / "warp/warp.npz")
    meta = json.loads((goldens / "warp/meta.json").read_text())
    normal = truncated_normal((6, 7), np.random.RandomState(5))
    np.testing.assert_array_equal(normal, z["randomex_normal_seed5"])
    compared = 0
    for key, entry in meta.items():
        side, seed = entry["rw"] or entry["w"], int(key.rpartition("_s")[2])
        params = warp_params(
            side,
            flip=True,
            rnd=np.random.RandomState(seed),
            warp_rnd=np.random.RandomState(seed + 50),
        )
        assert params.flip == entry["flip"]
        np.testing.assert_allclose(params.matrix, z[f"{key}_rmat"], atol=1e-9)
        if f"{key}_mapx" in z:
            np.testing.assert_allclose(params.map_x, z[f"{key}_mapx"], atol=1e-4)
            np.testing.assert_allclose(params.map_y, z[f"{key}_mapy"], atol=1e-4)
        image = unit(z[f"img{side}_u8"])
        for name, warp, transform, replicate in (
            ("warp_tf_rep", True, True, True),
            ("tf_const", False, True, False),
        ):
            if f"{key}_{name}" not in z:
                continue
            ours = warp_by_params(
                params, image, warp=warp, transform=transform, flip=True, replicate_border=replicate
            )
            golden = z[f"{key}_{name}"]
            # Larger pictures were stored as float16: half a unit in the last place near 1.
            tolerance = 1e-4 if golden.dtype == np.float32 else 6e-4
            np.testing.assert_allclose(ours, golden, atol=tolerance)
            compared += 1
    assert compared > 12


def test_color_transfer_goldens(goldens: Path) -> None:
    z = np.load(goldens / "color/color_transfer.npz")
    a, b = unit(z["a_u8"]), unit(z["b_u8"])
    rnd = np.random.RandomState(1234)
    for golden in z["special_ortho_group_seed1234_first3"]:
        np.testing.assert_allclose(random_rotation(rnd), golden, atol=1e-12)
    for mode in ("rct", "lct", "mkl", "idt", "sot"):
        for i in range(2):
            ours = color_transfer(mode, a[i], b[i], np.random.RandomState(1234 + i))
            error = np.abs(ours - z[mode][i])
            # sot sorts float32 projections and idt bins them: ties and edges fall either way
            # with the last bit, so a few pixels may differ more than the mean.
            assert error.mean() < 1e-4, mode
            assert error.max() < (1e-4 if mode in ("rct", "lct", "mkl") else 1e-3), mode


def test_sample_goldens(goldens: Path) -> None:
    z = np.load(goldens / "samples/sample_processor.npz")
    meta = json.loads((goldens / "samples/meta.json").read_text())
    for key, entry in meta.items():
        face = read_face(goldens / "faceset" / entry["file"])
        pixels = decode_pixels(face)
        reference = None
        if entry["ct_file"]:
            reference = decode_pixels(read_face(goldens / "faceset" / entry["ct_file"]))
        assert (
            sample_seed(np.random.RandomState(entry["np_random_seed"]))
            == (entry["sample_rnd_seed"])
        )
        common = {
            "seed": entry["sample_rnd_seed"],
            "resolution": entry["resolution"],
            "face_type": FaceType.from_dfl(entry["face_type"]),
            "options": ReferenceOptions(flip=True),
        }
        image = partial(
            face_image,
            face,
            pixels,
            transfer=entry["ct_mode"],
            reference=reference,
            **common,
        )
        ours = {
            "warped": image(warp=entry["warp"], hsv_power=entry["hsv"]),
            "target": image(warp=False),
            "mask": face_mask(face, **common),
            "em": face_mask(face, kind="eyes-mouth", **common),
        }
        for name, output in ours.items():
            golden = z[f"{key}_{name}"]
            assert output.shape == golden.shape
            error = np.abs(output - golden.astype(np.float32))
            if golden.dtype == np.float32:
                assert error.max() < 1e-4, (key, name)
            else:
                # Stored as float16; and landmarks are float32 here, so that a coordinate may
                # round to the next 1/32 pixel.
                assert error.mean() < 2e-4 and error.max() < 3e-3, (key, name)

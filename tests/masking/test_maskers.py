"""Maskers: where masks land, and that DeepFaceLab's XSeg answers as there."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from masking_kit import Bright, iou, spot_face

from recaster_tui.errors import BadInputError, DamagedError
from recaster_tui.faces.types import FaceType
from recaster_tui.interop.dfl_layout import weights_to_dfl
from recaster_tui.masking.auto import WEIGHTS, AutoMasker, load_auto, tidy
from recaster_tui.masking.xseg import XsegMasker, load_dfl, load_ours
from recaster_tui.nets.automask import CHANNELS, RESOLUTION, AutoMask
from recaster_tui.nets.xseg import XSeg
from recaster_tui.training.generations import Snapshot, write_generation

TYPES = (FaceType.WHOLE, FaceType.FULL, FaceType.MIDFULL, FaceType.HALF, FaceType.HEAD)


@pytest.mark.parametrize("face_type", TYPES)
@pytest.mark.parametrize("size", [96, 256, 400])
def test_automatic_mask_lands_where_the_face_is(
    tmp_path: Path, face_type: FaceType, size: int
) -> None:
    face, picture, disc = spot_face(tmp_path / "a.jpg", face_type, size)
    masker = AutoMasker(Bright(len(CHANNELS)))  # type: ignore[arg-type]
    found = masker.masks([(face, picture)])[0]
    assert found.shape == (256, 256) and found.dtype == np.float32
    assert iou(found >= 0.5, disc) > 0.93


@pytest.mark.parametrize("model_type", [None, *TYPES])
@pytest.mark.parametrize("face_type", [FaceType.WHOLE, FaceType.HEAD, FaceType.FULL])
def test_xseg_mask_comes_back_from_the_models_own_crop(
    tmp_path: Path, face_type: FaceType, model_type: FaceType | None
) -> None:
    face, picture, disc = spot_face(tmp_path / "a.jpg", face_type, 192)
    masker = XsegMasker(Bright(1), model_type)  # type: ignore[arg-type]
    found = masker.masks([(face, picture)])[0]
    assert iou(found >= 0.5, disc) > 0.95


def test_xseg_sees_nothing_outside_its_crop(tmp_path: Path) -> None:
    face, picture, _ = spot_face(tmp_path / "a.jpg", FaceType.HEAD, 256)
    white = np.full_like(picture, 255)
    found = XsegMasker(Bright(1), FaceType.HALF).masks([(face, white)])[0]  # type: ignore[arg-type]
    assert 0.03 < (found >= 0.5).mean() < 0.3
    assert not (found[:20] >= 0.5).any() and not (found[-20:] >= 0.5).any()


def test_dfl_weights_answer_as_the_original(goldens: Path) -> None:
    with np.load(goldens / "xseg" / "base4" / "io.npz") as data:
        x, pred = data["x"], data["pred"][..., 0]
    masker = load_dfl(goldens / "xseg" / "base4" / "XSeg_256.npy")
    assert masker.face_type is None
    expected = np.where(pred < 0.1, 0, pred)
    found = masker.extract(x)
    assert np.abs(found - expected).max() < 2e-4 and np.abs(found - expected).mean() < 5e-6


def test_dfl_model_folder_says_its_face_type(tmp_path: Path) -> None:
    _write_dfl(tmp_path, {"face_type": "f", "pretrain": False})
    assert load_dfl(tmp_path).face_type is FaceType.FULL
    _write_dfl(tmp_path, {"face_type": "f", "pretrain": True})
    with pytest.raises(BadInputError, match="pretraining"):
        load_dfl(tmp_path)


def test_our_model_folder_is_used_with_its_face_type(tmp_path: Path) -> None:
    torch.manual_seed(2)
    net = XSeg(2)
    weights = {f"XSeg/{name}": value for name, value in net.state_dict().items()}
    options = {"face_type": "head", "pretrain": False}
    state = {"model_class": "xseg", "options": options}
    folder = tmp_path / "model" / "mine.xseg"
    folder.mkdir(parents=True)
    write_generation(folder, Snapshot(3, weights, {}, state))
    masker = load_ours(folder)
    assert (masker.name, masker.face_type) == ("mine", FaceType.HEAD)
    image = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        exact = torch.sigmoid(net.eval()(image))[:, 0].numpy()
    found = masker.extract(image.permute(0, 2, 3, 1).numpy())
    assert np.abs(found - np.where(exact < 0.1, 0, exact)).max() < 1e-3
    write_generation(folder, Snapshot(4, weights, {}, {**state, "options": {"pretrain": True}}))
    with pytest.raises(BadInputError, match="pretraining"):
        load_ours(folder)


def test_damaged_and_foreign_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError):
        load_dfl(tmp_path)
    file = tmp_path / "XSeg_256.npy"
    weights = _write_dfl(tmp_path, None)
    for bad in (
        b"",
        b"no pickle",
        pickle.dumps({"conv01/conv/weight:0": np.zeros((3, 3, 3, 2), np.float32)}, 4),
        pickle.dumps({"conv01/conv/weight:0": np.zeros((3, 3, 0, 1 << 30), np.float32)}, 4),
        pickle.dumps({k: v * np.float32("nan") for k, v in weights.items()}, 4),
        pickle.dumps(print, 4),
    ):
        file.write_bytes(bad)
        with pytest.raises(DamagedError):
            load_dfl(tmp_path)
    with pytest.raises(DamagedError):
        load_ours(tmp_path)


def test_shipped_weights_draw_a_rendered_face() -> None:
    from recaster_tui.bench.masks import measure

    rows = {row.what: row.value for row in measure(people=1)}
    assert rows["1 - IoU, strangers"] < 0.08
    assert (
        rows["1 - IoU, strangers"]
        < rows["1 - IoU, for comparison: hull of the landmarks, strangers"]
    )


def test_shipped_weights_are_small_and_must_be_these(tmp_path: Path) -> None:
    assert WEIGHTS.stat().st_size < 8_000_000
    damaged = tmp_path / "weights.safetensors"
    damaged.write_bytes(WEIGHTS.read_bytes()[:-1000])
    with pytest.raises(DamagedError):
        load_auto(damaged)
    assert isinstance(load_auto(), AutoMasker)


def test_network_shape_and_parameters() -> None:
    net = AutoMask()
    assert 1_000_000 < sum(p.numel() for p in net.parameters()) < 2_000_000
    assert net(torch.rand(2, 3, RESOLUTION, RESOLUTION)).shape == (2, 5, RESOLUTION, RESOLUTION)


def test_specks_and_pinholes_go() -> None:
    mask = np.zeros((256, 256), np.float32)
    cv2.circle(mask, (128, 128), 80, 1.0, -1)
    clean = mask.copy()
    mask[10:14, 10:14] = 0.8
    mask[128:131, 128:131] = 0.2
    mask[100:120, 60:90] = clean[100:120, 60:90] = 0.0  # a hole that is meant
    assert ((tidy(mask) >= 0.5) == (clean >= 0.5)).all()


def _write_dfl(folder: Path, options: dict[str, object] | None) -> dict[str, np.ndarray]:
    torch.manual_seed(1)
    state = {k: v.numpy() for k, v in XSeg(2).state_dict().items()}
    weights = weights_to_dfl(state)
    (folder / "XSeg_256.npy").write_bytes(pickle.dumps(weights, 4))
    if options is not None:
        data = {"iter": 5, "options": options, "loss_history": [[0.1]] * 5}
        (folder / "XSeg_data.dat").write_bytes(pickle.dumps(data, 4))
    return weights

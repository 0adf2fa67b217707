"""XSeg and AMP through the trainer process with real faces: what a watcher sees and what is kept.

XSeg's network is a narrow one here (the real one takes seconds an iteration on a CPU) and learns
faster; everything else is what ``recaster train`` runs.
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from trainer_fakes import events, make_run, model_folder, of

from recaster_tui.demo import make_demo
from recaster_tui.errors import ExitCode
from recaster_tui.faces.codec import jpeg_bytes, read_face, write_face
from recaster_tui.nets.xseg import XSeg
from recaster_tui.options import ModelClass, defaults
from recaster_tui.protocol import RunFolder, read_losses, read_run_spec, write_run_spec
from recaster_tui.training.generations import load_model
from recaster_tui.training.models import xseg
from recaster_tui.training.models.base import Batch, SideBatch, StepResult
from recaster_tui.training.retrain import EVERY, WorstFaces
from recaster_tui.training.start import start

TINY_AMP = {
    "resolution": 64,
    "autoencoder_dims": 32,
    "inter_dims": 32,
    "encoder_dims": 16,
    "decoder_dims": 16,
    "mask_decoder_dims": 16,
    "batch_size": 2,
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "demo"
    make_demo(folder, faces=4, video_seconds=1.0, size=128, workers=1)
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(xseg, "XSeg", lambda: XSeg(4))
    monkeypatch.setattr(xseg, "LEARNING_RATE", 4e-3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run_of(
    workspace: Path, kind: ModelClass, run_id: str, iterations: int, **options: Any
) -> RunFolder:
    chosen = defaults(kind).model_dump() | {"seed": 7, "preview_samples": 2} | options
    folder = make_run(workspace, run_id, target_iterations=iterations)
    spec = read_run_spec(folder.spec)
    wanted = {"model_class": kind, "options": chosen}
    write_run_spec(folder.spec, spec.model_copy(update=wanted))
    return folder


def pictures(folder: RunFolder, side: int) -> dict[str, list[np.ndarray]]:
    """Tiles of each view of the last preview."""
    shown = of(events(folder), "preview")[-1]
    tiles = {}
    for view in shown["views"]:
        picture = cv2.imread(str(folder.root / view["file"]))
        assert picture.shape == (view["rows"] * side, len(view["columns"]) * side, 3)
        tiles[view["view"]] = [
            picture[:, i * side : (i + 1) * side] for i in range(len(view["columns"]))
        ]
    return tiles


def test_xseg_learns_shows_saves_and_goes_on(workspace: Path) -> None:
    folder = run_of(workspace, ModelClass.XSEG, "xseg-1", 24, batch_size=3)
    assert start(folder.root) == ExitCode.OK, events(folder)[-2].data
    found = events(folder)
    rows = [row for told in of(found, "iterations") for row in told["rows"]]
    assert len(rows) == 24 and all(len(row) == 1 for row in rows)
    losses = read_losses(folder.losses)
    assert np.isfinite(losses["src"]).all() and np.isnan(losses["dst"]).all()
    assert losses["src"][-6:].mean() < 0.95 * losses["src"][:3].mean()

    tiles = pictures(folder, 256)
    assert list(tiles) == ["training faces", "src faces", "dst faces"]
    for name in ("src faces", "dst faces"):
        face, mask, overlay = tiles[name]
        assert face.std() > 20 and mask.std() > 0
        # Outside the predicted mask the picture turns half green.
        outside = mask.max(-1) < 60
        if outside.any():
            assert overlay[outside][:, 1].mean() > face[outside][:, 1].mean() + 20
    assert not np.array_equal(tiles["src faces"][0], tiles["dst faces"][0])

    saved = load_model(model_folder(folder).with_name("test.xseg"))
    assert saved is not None and saved.generation.iteration == 24
    assert list(saved.snapshot.state["loss_names"]) == ["mask"]
    again = run_of(workspace, ModelClass.XSEG, "xseg-2", 26, batch_size=3, retrain_worst=True)
    assert start(again.root) == ExitCode.OK
    assert of(events(again), "hello")[0]["iteration"] == 24
    assert len(read_losses(again.losses)) == 26


def test_xseg_without_a_single_mask_says_what_to_do(workspace: Path, tmp_path: Path) -> None:
    for side in ("src", "dst"):
        for path in sorted((workspace / f"data_{side}" / "aligned").iterdir()):
            bare = replace(read_face(path), polygons=[])
            target = tmp_path / f"data_{side}" / "aligned" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            write_face(target, jpeg_bytes(path), bare)
    folder = run_of(tmp_path, ModelClass.XSEG, "bare", 2)
    assert start(folder.root) == ExitCode.BAD_INPUT
    error = of(events(folder), "error")[-1]
    assert "none of the 8 faces has a mask" in error["message"] and "outline" in error["hint"]


def test_xseg_learns_from_one_side_alone(workspace: Path, tmp_path: Path) -> None:
    shutil.copytree(workspace / "data_src", tmp_path / "data_src")
    folder = run_of(tmp_path, ModelClass.XSEG, "alone", 2, batch_size=2)
    assert start(folder.root) == ExitCode.OK, events(folder)[-2].data
    assert list(pictures(folder, 256)) == ["training faces", "src faces"]


def test_amp_learns_and_shows_its_morph(workspace: Path) -> None:
    folder = run_of(workspace, ModelClass.AMP, "amp-1", 12, preview_morph_factor=0.5, **TINY_AMP)
    assert start(folder.root) == ExitCode.OK, events(folder)[-2].data
    losses = read_losses(folder.losses)
    assert len(losses) == 12
    for side in ("src", "dst"):
        assert losses[side][-3:].mean() < losses[side][:2].mean()
    tiles = pictures(folder, 64)
    assert list(tiles) == ["src-src", "dst-dst", "swap", "morph", "morph masked"]
    captions = {
        view["view"]: view["columns"] for view in of(events(folder), "preview")[-1]["views"]
    }
    assert captions["morph"] == ["rebuilt", "0.25", "0.5", "0.65", "0.75", "1"]
    assert captions["swap"][-1] == "morph 0.5"
    # The swap is one of the series (but for JPEG), and the series goes somewhere.
    series = [tile.astype(float) for tile in tiles["morph"]]
    assert np.abs(series[2] - tiles["swap"][1]).mean() < 4
    assert np.abs(series[1] - series[5]).mean() > np.abs(series[3] - series[4]).mean()


def test_worst_faces_of_a_single_loss_over_both_sides() -> None:
    def side(first: int, count: int) -> SideBatch:
        index = torch.arange(first, first + count)
        picture = index.float()[:, None, None, None].expand(-1, 3, 2, 2)
        return SideBatch(picture, picture, picture, picture, picture, index)

    worst = WorstFaces()
    for round_ in range(EVERY):
        batch = Batch(side(10 * round_, 2), side(10 * round_ + 2, 1))
        losses = torch.tensor([[0.1], [float(round_ == 5)], [float(round_ == 3)]])
        worst.add(batch, StepResult(losses.mean(0), losses, torch.tensor(True)))
    batch = worst.take()
    assert batch is not None
    assert 51 in batch.src.index and batch.dst.index.tolist() == [32]

"""Pretraining through the real trainer: its faces, its end, what is kept and what begins anew."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trainer_fakes import events, make_run, model_folder, of

from recaster_tui.errors import ExitCode
from recaster_tui.protocol import RunFolder, read_losses
from recaster_tui.training.generations import Snapshot, load_model
from recaster_tui.training.start import start

SHARED = Path(os.environ.get("RECASTER_SHARED", Path(__file__).parents[3] / "shared"))
FACES = SHARED / "goldens" / "faceset"
SMALL: dict[str, Any] = {
    "resolution": 64,
    "autoencoder_dims": 32,
    "encoder_dims": 16,
    "decoder_dims": 16,
    "mask_decoder_dims": 16,
    "batch_size": 2,
    "precision": "float32",
    "preview_seconds": 0,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _train(workspace: Path, run_id: str, target: int, **options: Any) -> RunFolder:
    folder = make_run(
        workspace, run_id, options=SMALL | options, target_iterations=target,
        src="data_src/aligned", dst="data_dst/aligned",
    )  # fmt: skip
    assert start(folder.root) is ExitCode.OK, folder.journal.read_text()
    return folder


def _saved(folder: RunFolder) -> Snapshot:
    loaded = load_model(model_folder(folder))
    assert loaded is not None
    return loaded.snapshot


def _same(a: Snapshot, b: Snapshot) -> set[str]:
    """Networks of which every weight is the same."""
    other = {k.split("/")[0] for k in a.weights if not torch.equal(a.weights[k], b.weights[k])}
    return {k.split("/")[0] for k in a.weights} - other


def test_pretraining_and_what_follows(tmp_path: Path) -> None:
    if not FACES.is_dir():
        pytest.skip(f"no goldens at {FACES} (set RECASTER_SHARED)")
    # No source or destination yet: pretraining needs neither.
    shutil.copytree(FACES / "src" / "aligned", tmp_path / "many")
    first = _train(tmp_path, "run-1", 2, pretrain=True, pretrain_faces="many", gan_power=0.1)
    pretrained = _saved(first)
    assert pretrained.iteration == 2
    assert not any(key.startswith("D_src/") for key in pretrained.weights)
    assert not of(events(first), "warning")

    for side in ("src", "dst"):
        shutil.copytree(FACES / side / "aligned", tmp_path / f"data_{side}" / "aligned")
    # At rate 0 a weight that differs was not trained but made anew.
    second = _train(tmp_path, "run-2", 1, pretrain=False, learning_rate=0.0)
    (told,) = (w for w in of(events(second), "warning") if w["code"] == "pretraining-over")
    assert "2 iterations" in told["message"] and "inter_AB and inter_B" in told["message"]
    begun = _saved(second)
    assert begun.iteration == 1
    assert list(begun.losses["iteration"]) == [1] == list(read_losses(second.losses)["iteration"])
    assert _same(pretrained, begun) == {"encoder", "decoder"}
    assert int(begun.optimizer["src_dst_opt/iterations"]) == 3
    (kept,) = (model_folder(second) / "backups").iterdir()
    assert kept.name.endswith("-000000002")

    # It is over once: the next run goes on.
    third = _train(tmp_path, "run-3", 3, pretrain=False, learning_rate=0.0)
    assert not [w for w in of(events(third), "warning") if w["code"] == "pretraining-over"]
    after = _saved(third)
    assert after.iteration == 3
    assert _same(begun, after) == {"encoder", "decoder", "inter_AB", "inter_B"}
    assert np.array_equal(after.losses[:1], begun.losses)


def test_missing_pretraining_faces_are_named(tmp_path: Path) -> None:
    folder = make_run(tmp_path, options=SMALL | {"pretrain": True, "pretrain_faces": "nowhere"})
    assert start(folder.root) is ExitCode.BAD_INPUT
    (error,) = of(events(folder), "error")
    assert "pretraining faces" in error["message"] and "pretrain_faces" in error["hint"]

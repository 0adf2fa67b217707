"""A model of the original is imported, trained, exported and imported again: all of it intact."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from interop_kit import same

from recaster_tui.cli.model_move import export_model, import_model, load_ours, save_ours
from recaster_tui.cli.model_store import OurEntry, find_ours
from recaster_tui.interop.dfl_convert import PlainModel
from recaster_tui.interop.dfl_folder import find_dfl_models
from recaster_tui.interop.dfl_read import read_model
from recaster_tui.interop.remarks import Remarks
from recaster_tui.protocol.losses import loss_rows
from recaster_tui.training.models import build_model
from recaster_tui.training.models.base import Batch, SideBatch


def _ours(workspace: Path, name: str) -> PlainModel:
    (entry,) = (e for e in find_ours(workspace / "model") if e.name == name)
    plain, _ = load_ours(entry, Remarks())
    return plain


def _side(seed: int) -> SideBatch:
    random = torch.Generator().manual_seed(seed)
    image = torch.rand(2, 3, 64, 64, generator=random)
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, 16:48, 16:48] = 1
    return SideBatch(image, image, mask, mask, torch.zeros_like(mask), torch.arange(2))


def test_import_train_export_import(
    golden: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in golden.glob("new_*"):
        shutil.copy(path, workspace / "model")
    import_model(workspace, None, new_name="first", source=None, as_json=False)
    start = _ours(workspace, "first")
    assert start.iteration == 6

    options = start.options.model_copy(update={"precision": "float32"})
    model = build_model(start.model_class, options, torch.device("cpu"), seed=3)
    state = ({k: torch.from_numpy(v) for k, v in part.items()} for part in _parts(start))
    model.load_state(*state)
    steps = [model.train_step(Batch(_side(i), _side(i + 10))) for i in range(2)]
    assert all(bool(step.finite) for step in steps)
    rows = loss_rows(7, [step.losses.tolist() for step in steps], ms=5.0)
    after = {
        part: {k: v.detach().numpy().copy() for k, v in tensors.items()}
        for part, tensors in model.state().items()
    }
    trained = PlainModel(
        8, start.options, after["weights"], after["optimizer"],
        np.concatenate([start.losses, rows]), start.origin,
    )  # fmt: skip
    folder = workspace / "model" / f"second.{start.model_class.value}"
    save_ours(folder, "second", trained)
    assert OurEntry(folder, "second", start.model_class) in find_ours(workspace / "model")

    out = workspace / "out"
    export_model(workspace, "second", target=out, new_name="new", overwrite=False, as_json=False)
    before, (entry,) = read_model(find_dfl_models(golden)[0]), find_dfl_models(out)
    dfl = read_model(entry)
    assert dfl.iteration == 8 and dfl.loss_history[:6] == before.loss_history
    assert dfl.loss_history[6:] == [[float(r["src"]), float(r["dst"])] for r in rows]
    assert list(dfl.options) == list(before.options) and dfl.options == before.options
    assert same(dfl.sample_for_preview, before.sample_for_preview)
    iters = before.optimizers["src_dst_opt"]["iters:0"]
    assert dfl.optimizers["src_dst_opt"]["iters:0"] == iters + 2
    moved = [
        key
        for key, array in dfl.optimizers["src_dst_opt"].items()
        if not np.array_equal(array, before.optimizers["src_dst_opt"][key])
    ]
    assert len(moved) > 0.9 * len(dfl.optimizers["src_dst_opt"])

    import_model(workspace, None, new_name="third", source=out, as_json=False)
    end = _ours(workspace, "third")
    assert end.iteration == 8 and end.options == start.options
    assert same(dict(sorted(end.weights.items())), dict(sorted(after["weights"].items())))
    for key, array in end.optimizer.items():
        assert same(array, after["optimizer"][key]), key
    # What only ours has: generators, and the moments of AMP's resting inters, which are zero.
    for key in after["optimizer"].keys() - end.optimizer.keys():
        assert key.endswith("generator") or not after["optimizer"][key].any(), key
    for column in ("iteration", "src", "dst"):
        assert np.array_equal(end.losses[column], trained.losses[column])


def _parts(plain: PlainModel) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    return plain.weights, plain.optimizer

"""Model folders of the original: read, converted, run, written back and read again."""

import json
import pickle
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from recaster_tui.interop.dfl_convert import PlainModel, from_dfl_model, to_dfl_model
from recaster_tui.interop.dfl_folder import DflEntry, dfl_entry, find_dfl_models
from recaster_tui.interop.dfl_layout import Array
from recaster_tui.interop.dfl_model import DflModel
from recaster_tui.interop.dfl_read import read_model
from recaster_tui.interop.dfl_write import write_model
from recaster_tui.interop.remarks import Remarks
from recaster_tui.options import ModelClass
from recaster_tui.training.models import build_model
from recaster_tui.training.models.engine import Model
from tests.parity.goldens import FORWARD, Case, Deviation, absolute, root

GROUPS = ("models",)


def discover() -> Iterator[Case]:
    for folder in sorted((root() / "models").iterdir() if (root() / "models").is_dir() else ()):
        if find_dfl_models(folder):
            yield Case("models", folder.name, folder)


def judge(case: Case) -> list[Deviation]:
    (entry,) = find_dfl_models(case.path)
    model = read_model(entry)
    remarks = Remarks()
    plain = from_dfl_model(model, remarks)
    return [*_read(case, entry, model), *_views(case, model, plain), _round_trip(entry, plain)]


def _read(case: Case, entry: DflEntry, model: DflModel) -> list[Deviation]:
    """Against Python's own unpickling (the goldens are ours), and against expected.json."""
    expected = json.loads((case.path / "expected.json").read_text())
    arrays = model.networks | model.optimizers
    wrong = sum(
        not any(_same(found, pickle.loads(path.read_bytes())) for found in arrays.values())
        for path in case.path.glob("*.npy")
    )
    history = np.array(model.loss_history).shape != np.array(expected["loss_history"]).shape
    history = history or model.loss_history != expected["loss_history"]
    return [
        Deviation("files read otherwise", float(wrong), 0),
        Deviation("iteration", float(abs(model.iteration - expected["iter"])), 0),
        Deviation("options read otherwise", float(model.options != expected["options"]), 0),
        Deviation("history read otherwise", float(history), 0),
    ]


def _same(a: dict[str, Array], b: dict[str, Array]) -> bool:
    return list(a) == list(b) and all(
        np.asarray(a[k]).dtype == np.asarray(b[k]).dtype
        and np.asarray(a[k]).tobytes() == np.asarray(b[k]).tobytes()
        for k in a
    )


def trainable(plain: PlainModel) -> Model:
    """Our trainable model with the imported weights and moments, in float32."""
    options = plain.options.model_copy(update={"precision": "float32"})
    built = build_model(plain.model_class, options, torch.device("cpu"), seed=1)
    assert isinstance(built, Model)
    weights, optimizer = (
        {name: torch.from_numpy(np.array(a)) for name, a in arrays.items()}
        for arrays in (plain.weights, plain.optimizer)
    )
    built.load_state(weights, optimizer)
    return built


def _views(case: Case, model: DflModel, plain: PlainModel) -> list[Deviation]:
    path = case.path / "expected_view.npz"
    if not path.exists() or model.sample_for_preview is None:
        return []
    want, built = np.load(path), trainable(plain)
    if plain.model_class is ModelClass.XSEG:
        images = torch.from_numpy(_nchw(model.sample_for_preview[0][0]))
        shot = built.infer(images)  # type: ignore[attr-defined]
        return [absolute(name, shot, _nchw(want[name]), FORWARD) for name in want.files]
    # Of each side the second array is the target; NHWC if the original ran on a CPU.
    src, dst = (torch.from_numpy(_nchw(side[1])) for side in model.sample_for_preview[:2])
    result = []
    for name in want.files:
        view, morph = re.fullmatch(r"(.+?)(?:_m([0-9.]+))?", name).groups()  # type: ignore[union-attr]
        if plain.model_class is ModelClass.AMP:
            if view.startswith("src_src"):
                continue  # the source's own reconstruction mixes channels at random
            got = built.infer(src, dst, float(morph or 1))  # type: ignore[attr-defined]
        else:
            got = built.infer(src, dst)  # type: ignore[attr-defined]
        result.append(absolute(name, got[view], _nchw(want[name]), FORWARD))
    return result


def _nchw(array: Array) -> Array:
    if array.shape[1] in (1, 3):
        return array
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2))


def _round_trip(entry: DflEntry, plain: PlainModel) -> Deviation:
    """Files that differ, as Python's own unpickler reads them, after our reading and writing."""
    with tempfile.TemporaryDirectory() as folder:
        there = dfl_entry(Path(folder), entry.name, entry.model_class)
        write_model(there, to_dfl_model(plain, entry.name, Remarks()))
        differ = 0
        for path in entry.files():
            other = there.folder / path.name
            if path.suffix == ".txt":
                differ += path.read_text() != other.read_text()
            elif path.suffix == ".npy":
                a, b = pickle.loads(path.read_bytes()), pickle.loads(other.read_bytes())
                differ += not _same(a, b)
            else:
                a, b = pickle.loads(path.read_bytes()), pickle.loads(other.read_bytes())
                keys = ("iter", "options", "loss_history")
                differ += list(a) != list(b) or any(a[k] != b[k] for k in keys)
                differ += list(a["options"]) != list(b["options"])
    return Deviation("files changed by a round trip", float(differ), 0)

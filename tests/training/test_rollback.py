"""Going back to a save from before trouble: to which, how often, and what else begins anew."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recaster_tui.checkpoints import store
from recaster_tui.errors import DamagedError
from recaster_tui.options import ModelClass, defaults
from recaster_tui.protocol.losses import loss_rows
from recaster_tui.training.failures import NonFiniteError
from recaster_tui.training.generations import (
    Snapshot,
    first_non_finite,
    load_model,
    saves_before,
    write_generation,
)
from recaster_tui.training.guards import Trouble
from recaster_tui.training.models import build_model
from recaster_tui.training.rollback import CALM_ITERATIONS, Rollbacks, load_older

SMALL: dict[str, Any] = {
    "resolution": 64,
    "autoencoder_dims": 32,
    "encoder_dims": 16,
    "decoder_dims": 16,
    "mask_decoder_dims": 16,
    "precision": "float32",
}


def snapshot(iteration: int, *, bad: bool = False) -> Snapshot:
    weights = {"line/weight": torch.full((4, 4), float("nan") if bad else float(iteration))}
    return Snapshot(iteration, weights, {"0/step": torch.tensor(1.0)}, {"model_class": "saehd"})


def test_how_often_it_may_go_back() -> None:
    rollbacks = Rollbacks()
    spike = Trouble("spike", 1000, "the source loss jumped")
    rollbacks.check(spike, 1)
    with pytest.raises(NonFiniteError, match=r"jumped at iteration 1,000\n"):
        rollbacks.check(spike, 0)
    rollbacks.went_to.append(900)
    with pytest.raises(NonFiniteError, match="again after going back to 900"):
        rollbacks.check(spike, 1)
    rollbacks.check(spike, 2)
    rollbacks.check(Trouble("oom", 1000, "memory ran out", MemoryError()), 1)
    rollbacks.check(Trouble("nan", 900 + CALM_ITERATIONS, "NaN"), 1)  # long ago: forgiven


def test_nothing_from_after_the_onset_is_offered_and_backups_help(tmp_path: Path) -> None:
    old = store.write_backup(tmp_path, write_generation(tmp_path, snapshot(1)), "")
    for iteration in (5, 10, 15):
        write_generation(tmp_path, snapshot(iteration))
    damaged: list[store.Damage] = []

    def found(before: int) -> list[int]:
        return [one.generation.iteration for one in saves_before(tmp_path, before, damaged)]

    assert found(100) == [15, 10, 1]
    assert found(15) == [10, 1]
    assert found(10) == [1]
    assert found(1) == []
    (only,) = saves_before(tmp_path, 10, damaged)
    assert only.generation.path == old.path
    assert damaged == []


class _Pictures:
    """A guard that takes the models of these iterations for dead."""

    def __init__(self, *dead: int) -> None:
        self.dead = dead

    def passes(self, model: Any) -> bool:
        return model.iteration not in self.dead


class _Loads:
    def load_state(self, weights: Any, _: Any) -> None:
        self.iteration = int(weights["line/weight"][0, 0])


def gone_back(
    folder: Path, trouble: Trouble, history: np.ndarray, pictures: _Pictures | None = None
) -> Path:
    session: Any = SimpleNamespace(model_folder=folder, options=SimpleNamespace())
    guard: Any = pictures or _Pictures()
    journal, model = SimpleNamespace(emit=lambda *_, **__: 0), _Loads()
    loaded = load_older(session, model, journal, guard, trouble, history)  # type: ignore[arg-type]
    assert model.iteration == loaded.generation.iteration
    return loaded.generation.path.relative_to(folder)


def test_a_save_that_training_does_not_come_from_is_never_gone_back_to(tmp_path: Path) -> None:
    def life(losses: list[float]) -> np.ndarray:
        return loss_rows(1, [[v] for v in losses], 1.0)  # one loss only: the other is NaN

    first = life([1.0] * 10 + [2.0] * 10)
    old = write_generation(tmp_path, replace(snapshot(8), losses=first[:8]))
    store.write_backup(
        tmp_path, write_generation(tmp_path, replace(snapshot(18), losses=first[:18])), ""
    )
    store.make_current(tmp_path, old)  # a rollback, or a restore, from 18 to 8
    second = life([1.0] * 8 + [0.5] * 20)
    assert gone_back(tmp_path, Trouble("nan", 28, "NaN"), second) == old.path.relative_to(tmp_path)
    write_generation(tmp_path, replace(snapshot(12), losses=second[:12]))
    assert gone_back(tmp_path, Trouble("nan", 28, "NaN"), second).name == "000000012"


def test_where_all_looks_were_long_ago_a_later_save_that_draws_is_good_enough(
    tmp_path: Path,
) -> None:
    for iteration in (20, 30):
        write_generation(tmp_path, snapshot(iteration))
    none = np.empty(0, loss_rows(1, [], 1.0).dtype)
    trouble = Trouble("output", 10, "the pictures are all black")
    assert gone_back(tmp_path, trouble, none, _Pictures(30)).name == "000000020"
    with pytest.raises(NonFiniteError, match="no good save from before"):
        gone_back(tmp_path, trouble, none, _Pictures(20, 30))
    with pytest.raises(NonFiniteError, match="no good save from before"):
        gone_back(tmp_path, Trouble("spike", 10, "the loss jumped"), none)


def test_discriminators_that_a_save_has_not_start_afresh_when_going_back() -> None:
    options = defaults(ModelClass.SAEHD).changed(**SMALL, architecture="liae", seed=3)
    model = build_model(ModelClass.SAEHD, options, torch.device("cpu"), seed=3)
    state = model.state()
    before = {part: {k: v.clone() for k, v in table.items()} for part, table in state.items()}
    model.set_option("gan_power", 0.1)
    fresh = {k: v.clone() for k, v in model.state()["weights"].items() if k.startswith("D_src/")}
    assert fresh
    with torch.no_grad():
        for parameter in model.networks["D_src"].parameters():
            parameter.fill_(float("nan"))
    model.optimizers["GAN_opt"].iterations = 9
    model.load_state(before["weights"], before["optimizer"])
    now = model.state()["weights"]
    assert all(torch.equal(now[key], value) for key, value in fresh.items())
    assert model.optimizers["GAN_opt"].iterations == 0
    assert all(torch.equal(now[key], value) for key, value in before["weights"].items())


def test_a_model_with_nan_in_it_is_never_written(tmp_path: Path) -> None:
    write_generation(tmp_path, snapshot(1))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(NonFiniteError, match="line/weight"):
        write_generation(tmp_path, snapshot(2, bad=True))
    assert sorted(tmp_path.rglob("*")) == before
    large = {"a": torch.full((4,), 3e38), "b": torch.tensor([1, 2])}
    assert first_non_finite(large) is None  # only their sum is infinite
    assert first_non_finite(large | {"c": torch.tensor([1.0, -torch.inf])}) == "c"


def test_generations_that_hold_nan_fall_to_the_backups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = store.write_backup(tmp_path, write_generation(tmp_path, snapshot(1)), "")
    with monkeypatch.context() as patch:  # as a version without this check wrote them
        patch.setattr("recaster_tui.training.generations.first_non_finite", lambda _: None)
        write_generation(tmp_path, snapshot(2, bad=True))
        write_generation(tmp_path, snapshot(3, bad=True))
    loaded = load_model(tmp_path)
    assert loaded is not None
    assert loaded.generation.path == kept.path
    assert [d.reason for d in loaded.damaged] == [
        "its weights hold NaN or infinity (line/weight)"
    ] * 2
    for path in (tmp_path / "backups").iterdir():
        (path / "weights.safetensors").unlink()
    with pytest.raises(DamagedError, match="no saved generation"):
        load_model(tmp_path)

"""Named snapshots: nothing is lost by going back, and nothing damaged is gone back to."""

import shutil
from pathlib import Path

import pytest
import torch

from recaster_tui.checkpoints import snapshots as named
from recaster_tui.checkpoints.snapshots import (
    create_snapshot,
    delete_snapshot,
    export_snapshot,
    find_point,
    rename_snapshot,
    restore,
    restore_points,
)
from recaster_tui.errors import BadInputError, DamagedError
from recaster_tui.protocol.losses import loss_rows
from recaster_tui.training.generations import Snapshot, load_model, write_generation


def generation(folder: Path, iteration: int) -> None:
    weights = {"a/weight": torch.full((3, 5), float(iteration))}
    losses = loss_rows(1, [[0.5, 0.25]] * iteration, 10.0)
    state = {"trained_seconds": 2.0 * iteration, "options": {"x": 1.5}}
    write_generation(folder, Snapshot(iteration, weights, {}, state, losses))


def value(folder: Path) -> float:
    loaded = load_model(folder)
    assert loaded is not None and loaded.damaged == ()
    assert len(loaded.snapshot.losses) == loaded.generation.iteration
    return float(loaded.snapshot.weights["a/weight"][0, 0])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model" / "test.saehd"
    for iteration in (1, 2):
        generation(folder, iteration)
    return folder


def test_going_back_keeps_the_present_and_snapshots_outlive_generations(model: Path) -> None:
    first = create_snapshot(model, "Before GÄN: 50 %", "looks good")
    assert (first.iteration, first.src, first.dst, first.trained_seconds) == (2, 0.5, 0.25, 4.0)
    for iteration in (3, 4, 5):
        generation(model, iteration)
    restored, kept = restore(model, find_point(model, "before g"))
    assert restored.iteration == 2 and value(model) == 2.0
    assert kept is not None and kept.iteration == 5
    # And forward again; the same state is not kept twice.
    _, again = restore(model, find_point(model, "5"))
    assert value(model) == 5.0
    assert again is not None and again.name == f"before restoring {kept.name}"
    _, none = restore(model, kept)
    assert none is None
    assert {p.name for p in restore_points(model)} == {first.name, kept.name, again.name}


def test_names(model: Path) -> None:
    create_snapshot(model, "one")
    for bad in ("", "  ", "x" * 81, "a\nb", "ONE"):
        with pytest.raises(BadInputError):
            create_snapshot(model, bad)
    point = rename_snapshot(model, find_point(model, "one"), name="two", note="ü")
    assert (point.name, point.note) == ("two", "ü")
    rename_snapshot(model, point, name="TWO")  # its own name is not taken
    with pytest.raises(BadInputError, match="no snapshot"):
        find_point(model, "one")
    # Names that make the same folder name, and none at all.
    for name in ("two!", "two?", "ß…"):
        create_snapshot(model, name)
    assert len(restore_points(model)) == 4
    with pytest.raises(BadInputError, match="may be"):
        find_point(model, "2")
    with pytest.raises(BadInputError, match="no snapshot"):
        find_point(model, "²")
    delete_snapshot(find_point(model, "two!"))
    assert {p.name for p in restore_points(model)} == {"TWO", "two?", "ß…"}


def test_a_damaged_snapshot_is_refused_and_the_model_stays(model: Path) -> None:
    point = create_snapshot(model, "one")
    generation(model, 3)
    weights = point.path / "weights.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(DamagedError, match="hash"):
        restore(model, point)
    with pytest.raises(DamagedError, match="hash"):
        export_snapshot(model, point, model.parent.parent / "out")
    assert value(model) == 3.0 and len(restore_points(model)) == 1
    assert not list((model.parent.parent / "out").glob("*"))


def test_where_the_present_is_damaged_the_good_one_before_it_is_kept(model: Path) -> None:
    point = create_snapshot(model, "one")
    generation(model, 3)
    generation(model, 4)
    (model / "generations" / "000000004" / "weights.safetensors").write_bytes(b"")
    restored, kept = restore(model, point)
    assert restored.iteration == point.iteration
    assert kept is not None
    assert kept.iteration == 3
    assert find_point(model, "before restoring one").iteration == 3


def test_an_exported_snapshot_is_a_model(model: Path, tmp_path: Path) -> None:
    point = create_snapshot(model, "one")
    generation(model, 3)
    made = export_snapshot(model, point, tmp_path / "elsewhere")
    assert made.name == model.name and value(made) == 2.0
    with pytest.raises(BadInputError, match="already"):
        export_snapshot(model, point, tmp_path / "elsewhere")


def test_a_full_disk_leaves_no_half_snapshot(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generation(model, 3)
    point = create_snapshot(model, "one")
    generation(model, 4)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(named, "write_hashed", full)
        with pytest.raises(OSError, match="space"):
            restore(model, point)
        patch.setattr("recaster_tui.checkpoints.store.write_hashed", full)
        with pytest.raises(OSError, match="space"):
            create_snapshot(model, "two")
    assert value(model) == 4.0
    names = {p.name for p in restore_points(model)}
    assert names == {"one", "before restoring one"}
    assert len(list((model / "snapshots").iterdir())) == 2


def test_snapshots_save_a_model_whose_generations_are_gone(model: Path) -> None:
    create_snapshot(model, "one")
    shutil.rmtree(model / "generations")
    assert value(model) == 2.0

"""Generations: whole or not there, whatever is cut, altered or missing."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from trainer_fakes import manifest_files

from recaster_tui.checkpoints import files, store
from recaster_tui.checkpoints.store import (
    clean_up,
    current_name,
    set_aside,
    thin_backups,
    write_backup,
)
from recaster_tui.errors import DamagedError
from recaster_tui.protocol import EventType
from recaster_tui.protocol.losses import loss_rows
from recaster_tui.training import generations
from recaster_tui.training.generations import Snapshot, load_model, write_generation
from recaster_tui.training.journal import JournalWriter
from recaster_tui.training.saver import Saver


def snapshot(iteration: int) -> Snapshot:
    weights = {
        "a/weight": torch.full((3, 5), float(iteration)),
        "a/half": torch.arange(7).to(torch.bfloat16),
        "a/empty": torch.empty(0, 4),
        "a/channels": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    optimizer = {"a/step": torch.tensor(iteration), "a/flag": torch.tensor([True, False])}
    losses = loss_rows(1, [[0.5, 0.25]] * iteration, 10.0)
    return Snapshot(iteration, weights, optimizer, {"note": "ü", "options": {"x": 1.5}}, losses)


def check(found: Snapshot, iteration: int) -> None:
    assert found.iteration == found.state["iteration"] == iteration
    assert found.weights["a/weight"].unique().tolist() == [iteration]
    assert int(found.optimizer["a/step"]) == iteration
    assert len(found.losses) == iteration


def test_round_trip_and_the_library_reads_our_tensor_files(tmp_path: Path) -> None:
    wanted = snapshot(3)
    written = write_generation(tmp_path, wanted)
    loaded = load_model(tmp_path)
    assert loaded is not None
    assert loaded.generation == written
    check(loaded.snapshot, 3)
    for part, file in (("weights", "weights"), ("optimizer", "optimizer")):
        found = load_file(written.path / f"{file}.safetensors")
        tensors = getattr(wanted, part)
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert found[name].dtype == tensor.dtype
            assert torch.equal(found[name], tensor)
    np.testing.assert_array_equal(loaded.snapshot.losses, wanted.losses)
    assert loaded.snapshot.state["options"] == {"x": 1.5}


def test_two_generations_stay_and_the_same_iteration_can_be_saved_again(tmp_path: Path) -> None:
    assert load_model(tmp_path) is None
    for iteration in (1, 2, 2, 3):
        write_generation(tmp_path, snapshot(iteration))
    assert sorted(p.name for p in (tmp_path / "generations").iterdir()) == [
        "000000002-2",
        "000000003",
    ]
    assert current_name(tmp_path) == "000000003"


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("harm", [cut, flip, zero, Path.unlink])
@pytest.mark.parametrize("name", [*store.FILES, "manifest.json"])
def test_a_damaged_generation_is_found_and_the_one_before_is_used(
    tmp_path: Path, name: str, harm: Callable[[Path], None]
) -> None:
    write_generation(tmp_path, snapshot(1))
    newest = write_generation(tmp_path, snapshot(2))
    harm(newest.path / name)
    before = sorted(tmp_path.rglob("*"))
    loaded = load_model(tmp_path)
    assert loaded is not None
    check(loaded.snapshot, 1)
    assert [d.path for d in loaded.damaged] == [newest.path]
    assert sorted(tmp_path.rglob("*")) == before  # loading only reads
    (moved,) = set_aside(tmp_path, loaded.damaged)
    assert moved.parent == tmp_path / "damaged"
    assert load_model(tmp_path).damaged == ()  # type: ignore[union-attr]
    write_generation(tmp_path, snapshot(2))
    check(load_model(tmp_path).snapshot, 2)  # type: ignore[union-attr]


def test_a_manifest_of_another_generation_is_noticed(tmp_path: Path) -> None:
    old = write_generation(tmp_path, snapshot(1))
    new = write_generation(tmp_path, snapshot(2))
    shutil.copy(old.path / "manifest.json", new.path / "manifest.json")
    loaded = load_model(tmp_path)
    assert loaded is not None
    check(loaded.snapshot, 1)


@pytest.mark.parametrize("text", [None, "", "999999999\n", "../../elsewhere\n", "\x00\xff"])
def test_without_a_usable_current_the_newest_is_used(tmp_path: Path, text: str | None) -> None:
    write_generation(tmp_path, snapshot(1))
    write_generation(tmp_path, snapshot(2))
    if text is None:
        (tmp_path / "CURRENT").unlink()
    else:
        (tmp_path / "CURRENT").write_bytes(text.encode("latin-1"))
    loaded = load_model(tmp_path)
    assert loaded is not None
    check(loaded.snapshot, 2)


def test_when_all_is_damaged_a_backup_helps_and_nothing_starts_from_scratch(
    tmp_path: Path,
) -> None:
    kept = write_backup(tmp_path, write_generation(tmp_path, snapshot(1)), "")
    for path in (tmp_path / "generations").glob("*/weights.safetensors"):
        flip(path)
    loaded = load_model(tmp_path)
    assert loaded is not None
    assert loaded.generation.path == kept.path
    flip(kept.path / "state.toml")
    with pytest.raises(DamagedError, match="no saved generation"):
        load_model(tmp_path)
    shutil.rmtree(tmp_path / "generations")
    shutil.rmtree(tmp_path / "backups")
    with pytest.raises(DamagedError):  # CURRENT says that there was a model
        load_model(tmp_path)


def test_backups_are_thinned_but_never_the_users_own(tmp_path: Path) -> None:
    generation = write_generation(tmp_path, snapshot(1))
    for day in (1, 2):
        for hour in range(4):
            backup = write_backup(tmp_path, generation, "mine" if (day, hour) == (1, 1) else "")
            backup.path.rename(backup.path.with_name(f"2026010{day}T0{hour}0000-000000001"))
    thin_backups(tmp_path, keep=2)
    assert sorted(p.name[6:11] for p in (tmp_path / "backups").iterdir()) == [
        "01T00",  # the first of the day
        "01T01",  # the user's
        "02T00",
        "02T02",
        "02T03",
    ]


SYSCALLS = (
    (os, "fsync"),
    (os, "open"),
    (Path, "mkdir"),
    (Path, "rename"),
    (Path, "replace"),
    (Path, "open"),
    (shutil, "rmtree"),
    (files, "digest_file"),
    (store, "digest_file"),
)


def _save_and_die(folder: Path, at: int) -> bool:
    """Save in a forked process that ends, without any clean-up, at its *at*-th system call."""
    child = os.fork()
    if child == 0:
        count = 0

        def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal count
                count += 1
                if count == at:
                    os._exit(9)
                return real(*args, **kwargs)

            return call

        for owner, name in SYSCALLS:
            setattr(owner, name, deadly(getattr(owner, name)))
        try:
            write_generation(folder, snapshot(2))
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_death_between_any_two_steps_of_a_save_leaves_a_loadable_model(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    start = tmp_path / "start"
    write_generation(start, snapshot(0))
    write_generation(start, snapshot(1))
    seen = set()
    for at in range(1, 200):
        folder = tmp_path / str(at)
        shutil.copytree(start, folder)
        died = _save_and_die(folder, at)
        loaded = load_model(folder)
        assert loaded is not None
        assert loaded.damaged == ()
        check(loaded.snapshot, loaded.snapshot.iteration)
        seen.add(loaded.snapshot.iteration)
        clean_up(folder)  # what the next start does
        write_generation(folder, snapshot(3))
        check(load_model(folder).snapshot, 3)  # type: ignore[union-attr]
        assert len(list((folder / "generations").iterdir())) == 2
        if not died:
            break
    assert at > 20
    assert seen == {1, 2}


def test_a_full_disk_costs_the_save_but_neither_the_model_nor_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model" / "a.saehd"
    write_generation(folder, snapshot(1))
    journal = JournalWriter(tmp_path / "journal.jsonl")
    saver = Saver(folder, journal, saved=1)
    real = files.write_hashed

    def full(path: Path, chunks: Any) -> Any:
        if path.name == "losses.bin":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, chunks)

    outcomes = []
    with monkeypatch.context() as patch:
        patch.setattr(generations, "write_hashed", full)
        saver.start(snapshot(2), outcomes.append)
        saver.wait()
    assert (saver.saved, outcomes[0].generation) == (1, None)
    assert [p.name for p in (folder / "generations").iterdir()] == ["000000001"]
    saver.start(snapshot(3), outcomes.append, backup_note="before the holidays")
    saver.wait()
    saver.close()
    journal.close()
    assert saver.saved == 3
    assert outcomes[1].backup is not None
    text = (tmp_path / "journal.jsonl").read_text()
    assert '"code":"disk-full"' in text
    assert f'"type":"{EventType.BACKUP}"' in text
    assert set(manifest_files(outcomes[1].backup.path)) == set(store.FILES)

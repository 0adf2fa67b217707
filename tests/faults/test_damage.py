"""Every file of a model, damaged in every way: found at load, the older used, nothing written."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from fault_kit import fingerprint, small_model
from hypothesis import given
from hypothesis import strategies as st

from recaster_tui.checkpoints import store
from recaster_tui.checkpoints.snapshots import create_snapshot, restore_points
from recaster_tui.checkpoints.store import set_aside, verify, write_backup
from recaster_tui.errors import DamagedError
from recaster_tui.files import read_toml
from recaster_tui.training.generations import load_model, write_generation
from recaster_tui.workspace import stored_options


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def zero_filled(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flipped(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) * 2 // 3] ^= 1
    path.write_bytes(raw)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def of_the_older(path: Path) -> None:
    shutil.copy(path.parent.parent / "000000001" / path.name, path)


HARMS = (truncated, emptied, grown, zero_filled, flipped, Path.unlink, a_folder, of_the_older)


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("name", [*store.FILES, store.MANIFEST])
def test_a_damaged_file_costs_one_generation_and_loading_writes_nothing(
    tmp_path: Path, name: str, harm: Callable[[Path], None]
) -> None:
    write_generation(tmp_path, small_model(1))
    newest = write_generation(tmp_path, small_model(2))
    harm(newest.path / name)
    before = fingerprint(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded is not None
    assert fingerprint(tmp_path) == before
    assert loaded.generation.iteration == loaded.snapshot.iteration == 1
    assert loaded.snapshot.weights["line/weight"].unique().tolist() == [1.0]
    (damage,) = loaded.damaged
    assert damage.path == newest.path
    assert damage.reason
    assert "\n" not in damage.reason
    kept = fingerprint(newest.path)
    (moved,) = set_aside(tmp_path, loaded.damaged)
    assert fingerprint(moved) == kept  # set aside, as it was


def test_after_damage_the_older_generation_outlives_the_next_save(tmp_path: Path) -> None:
    write_generation(tmp_path, small_model(1))
    flipped(write_generation(tmp_path, small_model(2)).path / store.WEIGHTS)
    loaded = load_model(tmp_path)
    assert loaded is not None
    set_aside(tmp_path, loaded.damaged)
    write_generation(tmp_path, small_model(3))
    names = sorted(path.name for path in (tmp_path / "generations").iterdir())
    assert names == ["000000001", "000000003"]  # or the next damage would find nothing older


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 10, b"\xff\xfe", b"999999999\n", b"../../../etc\n", b"000000001/..", None],
)
def test_a_damaged_current_means_the_newest_generation(
    tmp_path: Path, content: bytes | None
) -> None:
    write_generation(tmp_path, small_model(1))
    write_generation(tmp_path, small_model(2))
    current = tmp_path / "CURRENT"
    current.unlink()
    if content is not None:
        current.write_bytes(content)
    before = fingerprint(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded is not None
    assert loaded.snapshot.iteration == 2
    assert fingerprint(tmp_path) == before
    write_generation(tmp_path, small_model(3))
    names = sorted(path.name for path in (tmp_path / "generations").iterdir())
    assert names == ["000000002", "000000003"]


def _forge(generation: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change state.toml and make the manifest agree: only what it says is wrong."""
    state = read_toml(generation / store.STATE)
    change(state)
    (generation / store.STATE).write_text(tomli_w.dumps(state))
    manifest = json.loads((generation / store.MANIFEST).read_bytes())
    digest = store.digest_file(generation / store.STATE)
    manifest["files"][store.STATE] = {"size": digest.size, "sha256": digest.sha256}
    (generation / store.MANIFEST).write_text(json.dumps(manifest))


LIES: dict[str, Any] = {
    "iteration": 7,
    "format": 2,
    "model_class": 5,
    "run_id": ["run-1"],
    "seed": -1,
    "pieces": "two",
    "trained_seconds": float("nan"),
    "options": [1, 2],
    "live": "learning_rate",
    "data": "{not JSON",
}


@pytest.mark.parametrize("key", LIES)
def test_a_state_that_lies_is_damage_even_where_its_hash_fits(tmp_path: Path, key: str) -> None:
    write_generation(tmp_path, small_model(1))
    newest = write_generation(tmp_path, small_model(2))
    _forge(newest.path, lambda state: state.update({key: LIES[key]}))
    verify(newest.path, 2)  # the hashes do fit
    loaded = load_model(tmp_path)
    assert loaded is not None
    assert loaded.snapshot.iteration == 1
    assert "state.toml" in loaded.damaged[0].reason


BAD_MANIFESTS = [
    b"[]",
    b"null",
    b'{"files": 5, "iteration": 2}',
    b'{"files": {}, "iteration": 1e999}',
    b"[" * 100_000,
    b'{"files": {"weights.safetensors": {"size": 1e999, "sha256": ""}}, "iteration": 2}',
]


@pytest.mark.parametrize("content", BAD_MANIFESTS, ids=lambda raw: repr(raw[:30]))
def test_a_manifest_of_nonsense_is_damage(tmp_path: Path, content: bytes) -> None:
    write_generation(tmp_path, small_model(1))
    newest = write_generation(tmp_path, small_model(2))
    (newest.path / store.MANIFEST).write_bytes(content)
    loaded = load_model(tmp_path)
    assert loaded is not None
    assert loaded.snapshot.iteration == 1
    assert "manifest" in loaded.damaged[0].reason


def test_a_manifest_that_names_files_elsewhere_is_damage(tmp_path: Path) -> None:
    newest = write_generation(tmp_path, small_model(2))
    manifest = json.loads((newest.path / store.MANIFEST).read_bytes())
    manifest["files"]["/dev/zero"] = {"size": 1, "sha256": ""}  # reading it would never end
    (newest.path / store.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DamagedError, match="other files"):
        verify(newest.path)


@pytest.fixture(scope="module")
def model_bytes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("any")
    write_generation(folder, small_model(1))
    newest = write_generation(folder, small_model(2)).path
    return newest, {path.name: path.read_bytes() for path in newest.iterdir()}


@given(data=st.data())
def test_any_change_of_any_byte_is_noticed(
    model_bytes: tuple[Path, dict[str, bytes]], data: st.DataObject
) -> None:
    newest, files = model_bytes
    name = data.draw(st.sampled_from(sorted(files)))
    raw = bytearray(files[name])
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    (newest / name).write_bytes(raw)
    try:
        loaded = load_model(newest.parent.parent)
        assert loaded is not None
        # A manifest has words that nothing hangs on: its own time, blanks.
        assert loaded.snapshot.iteration == 1 or name == store.MANIFEST
        if loaded.snapshot.iteration == 2:
            assert loaded.snapshot.weights["line/weight"].unique().tolist() == [2.0]
    finally:
        (newest / name).write_bytes(files[name])


@pytest.mark.parametrize("content", [b"", b"\xff\xff", b"note = [", b"note = 5\ncreated = nan"])
def test_a_damaged_note_neither_hides_a_snapshot_nor_lets_a_backup_be_thinned(
    tmp_path: Path, content: bytes
) -> None:
    generation = write_generation(tmp_path, small_model(3))
    create_snapshot(tmp_path, "before GAN", "mine")
    backup = write_backup(tmp_path, generation, "mine, too")
    for point in restore_points(tmp_path):
        (point.path / store.NOTE).write_bytes(content)
    points = restore_points(tmp_path)
    assert {point.kind for point in points} == {"snapshot", "backup"}
    assert {point.iteration for point in points} == {3}
    for _ in range(3):
        write_backup(tmp_path, generation, "")
    store.thin_backups(tmp_path, 1, 1)
    assert backup.path.is_dir()


def test_a_damaged_snapshot_is_never_restored_and_a_damaged_backup_never_loaded(
    tmp_path: Path,
) -> None:
    generation = write_generation(tmp_path, small_model(3))
    backup = write_backup(tmp_path, generation, "")
    flipped(backup.path / store.OPTIMIZER)
    flipped(generation.path / store.WEIGHTS)
    with pytest.raises(DamagedError) as caught:
        load_model(tmp_path)
    assert "optimizer.safetensors does not match its hash" in caught.value.message
    assert caught.value.hint


def test_options_of_a_damaged_model_come_from_the_generation_that_is_whole(tmp_path: Path) -> None:
    write_generation(tmp_path, small_model(1))
    newest = write_generation(tmp_path, small_model(2))
    (newest.path / store.STATE).write_bytes(b"options = [" * 1000)
    assert stored_options(tmp_path) == {"x": 1.5}

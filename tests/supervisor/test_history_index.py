"""The index beside the records: quick, and never trusted beyond the files themselves."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_run_filter import record

import recaster_tui.supervisor.history as history_module
from recaster_tui.errors import BadInputError
from recaster_tui.protocol import LOSS_DTYPE
from recaster_tui.supervisor import History, RunState, Supervisor
from recaster_tui.workspace import open_workspace

ROWS = np.zeros(3, LOSS_DTYPE)
MANY = 70  # more than are read one by one


def filled(data: Path, count: int = MANY) -> list[str]:
    history = History(data)
    for i in range(count):
        run = replace(
            record(f'name "{i}" ü\n'),
            run_id=f"20260101T{i:06d}-saehd-{i:04x}",
            created=1000.0 + i,
            loss_src=float("nan") if i % 7 == 0 else 0.1 * i,
            options={"batch_size": 8, "archi": "df", **({"gan_power": i / 10} if i % 3 else {})},
        )
        history.save(run, ROWS)
    return sorted(p.stem for p in history.folder.glob("*.toml"))


class Reads:
    """Counts the record files that are parsed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        original = history_module._read_head

        def counted(path: Path) -> dict[str, object]:
            self.names.append(path.stem)
            return original(path)

        monkeypatch.setattr(history_module, "_read_head", counted)


def same(one: object, other: object) -> bool:
    return repr(one) == repr(other)  # NaN is not equal to itself


def test_the_second_start_parses_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path)
    reads = Reads(monkeypatch)
    first = History(tmp_path).records()
    assert len(reads.names) == MANY and (tmp_path / "history.index").exists()
    reads.names.clear()
    second = History(tmp_path).records()
    assert not reads.names
    assert same(first, second)
    assert [r.created for r in second] == sorted((r.created for r in second), reverse=True)


def test_changed_added_and_removed_records_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = filled(tmp_path)
    watching = History(tmp_path)
    watching.records()
    other = History(tmp_path)  # another program
    changed = next(r for r in other.records() if r.run_id == ids[5])
    other.save(replace(changed, iteration=77), ROWS)
    other.save(replace(changed, run_id="20270101T000000-amp-ffff", created=9e9), ROWS)
    other.remove(ids[6])
    reads = Reads(monkeypatch)
    news, gone = watching.refresh()
    assert {r.run_id: r.iteration for r in news.values()} == {
        ids[5]: 77,
        "20270101T000000-amp-ffff": changed.iteration,
    }
    assert gone == {ids[6]}
    assert sorted(reads.names) == [ids[5], "20270101T000000-amp-ffff"]
    assert watching.refresh() == ({}, set())
    # And a start from the older index, too.
    assert same(History(tmp_path).records(), watching.records())


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "version", "gone", "folder"])
def test_a_damaged_index_is_made_anew(tmp_path: Path, damage: str) -> None:
    filled(tmp_path)
    index = tmp_path / "history.index"
    whole = History(tmp_path).records()
    raw = index.read_bytes()
    match damage:
        case "flip":
            middle = raw.rindex(b"1000.0") + 2  # a digit: still JSON, but another time
            index.write_bytes(raw[:middle] + b"9" + raw[middle + 1 :])
        case "cut":
            index.write_bytes(raw[: len(raw) // 2])
        case "empty":
            index.write_bytes(b"")
        case "version":
            index.write_bytes(raw.replace(b'"index": 1', b'"index": 9', 1))
        case "gone":
            index.unlink()
        case "folder":
            index.unlink()
            index.mkdir()
    assert same(History(tmp_path).records(), whole)
    if damage != "folder":
        assert index.read_bytes() != b""
    assert same(History(tmp_path).records(), whole)


def test_damaged_and_foreign_records_are_left_out_and_left_alone(tmp_path: Path) -> None:
    ids = filled(tmp_path, 5)
    folder = tmp_path / "history"
    (folder / f"{ids[0]}.toml").write_text("run_id = [")
    (folder / f"{ids[1]}.toml").write_bytes(b"\0" * 300)
    (folder / "notes.txt").write_text("mine")
    by_hand = folder / f"{ids[2]}.toml"  # TOML that is not as we write it
    by_hand.write_text("# mine\nmodel_name = 'literal'  # so\n" + by_hand.read_text().replace(
        by_hand.read_text().splitlines()[1], "", 1))  # fmt: skip
    found = {r.run_id: r for r in History(tmp_path).records()}
    assert sorted(found) == ids[2:]
    assert found[ids[2]].model_name == "literal"
    assert (folder / f"{ids[0]}.toml").read_text() == "run_id = ["
    assert History(tmp_path).records()


def run_folder(workspace: Path, run_id: str) -> Path:
    """A run that ended, as a trainer leaves it."""
    from recaster_tui.options import ModelClass, defaults
    from recaster_tui.protocol import Event, RunFolder, RunSpec, encode_event, write_run_spec

    folder = RunFolder(workspace / "runs" / run_id)
    folder.root.mkdir(parents=True)
    options = defaults(ModelClass.QUICK96).model_dump(mode="json")
    spec = RunSpec(run_id=run_id, created=1000.0, model_name="old", model_class="quick96",
                   options=options)  # fmt: skip
    write_run_spec(folder.spec, spec)
    events = [
        Event(1, 1001.0, "hello", {"iteration": 0, "device": {"name": "CPU"}}),
        Event(2, 1002.0, "phase", {"phase": "training"}),
        Event(3, 1003.0, "iterations", {"first": 1, "rows": [[0.5, 0.5]] * 9}),
        Event(4, 1004.0, "done", {"outcome": "stopped", "iteration": 9, "saved": 9}),
    ]
    folder.journal.write_bytes(b"".join(map(encode_event, events)))
    return folder.root


async def test_a_moved_workspace_is_found_again_by_its_runs(tmp_path: Path) -> None:
    run_id = "20260101T000000-quick96-be0c"
    run_folder(tmp_path / "film", run_id)
    (tmp_path / "film" / "model").mkdir()
    async with Supervisor(tmp_path / "data") as one:
        await one.adopt(open_workspace(tmp_path / "film", must_look_right=False))
        assert one.records()[0].iteration == 9 and one.records()[0].outcome == "stopped"
    shutil.move(tmp_path / "film", tmp_path / "film 2")
    async with Supervisor(tmp_path / "data") as two:
        await two.repair()
        assert two.gone == {run_id}
        with pytest.raises(BadInputError, match="gone"):
            await two.attach(run_id)
        await two.adopt(open_workspace(tmp_path / "film 2", must_look_right=False))
        assert two.records()[0].workspace == str(tmp_path / "film 2") and not two.gone
        assert (await two.attach(run_id)).iteration == 9
    assert [r.workspace for r in History(tmp_path / "data").records()] == [str(tmp_path / "film 2")]


async def test_relocating_by_hand_and_what_it_refuses(tmp_path: Path) -> None:
    run_id = "20260101T000000-quick96-be0c"
    root = run_folder(tmp_path / "disk" / "film", run_id)
    async with Supervisor(tmp_path / "data") as supervisor:
        await supervisor.adopt(open_workspace(tmp_path / "disk" / "film", must_look_right=False))
        with pytest.raises(BadInputError, match="still there"):
            await supervisor.relocate(tmp_path / "disk" / "film", tmp_path)
        with pytest.raises(BadInputError, match="no run is remembered"):
            await supervisor.relocate(tmp_path / "other", tmp_path)
        shutil.move(tmp_path / "disk", tmp_path / "mnt")
        with pytest.raises(BadInputError, match="none of the 1 runs"):
            await supervisor.relocate(tmp_path / "disk" / "film", tmp_path)
        # The folder above it moved: everything below goes with it.
        (moved,) = await supervisor.relocate(tmp_path / "disk", tmp_path / "mnt")
        assert moved.workspace == str(tmp_path / "mnt" / "film")
        assert (moved.state, moved.iteration) == (RunState.STOPPED, 9)
    assert not root.exists()


async def test_a_start_reads_no_journal_of_runs_that_are_known_or_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_folder(tmp_path / "film", "20260101T000000-quick96-be0c")
    workspace = open_workspace(tmp_path / "film", must_look_right=False)
    async with Supervisor(tmp_path / "data") as one:
        await one.adopt(workspace)
    filled(tmp_path / "data", 40)  # of a workspace that is not there
    alive = replace(record("was alive"), state=RunState.TRAINING, outcome="")
    History(tmp_path / "data").save(alive, ROWS)
    polled: list[str] = []
    monkeypatch.setattr(
        "recaster_tui.supervisor.run.Run.poll", lambda self: polled.append(self.run_id)
    )
    async with Supervisor(tmp_path / "data") as two:
        await two.adopt(workspace)
        await two.repair()
        await two.refresh_history()
        states = {r.model_name: r.state for r in two.records()}
        assert not polled and len(two.gone) == 41
    assert states["was alive"] is RunState.LOST
    assert History(tmp_path / "data").get(alive.run_id).message == "its run folder is gone"  # type: ignore[union-attr]


def test_what_a_journal_may_hold_and_toml_not_is_no_obstacle(tmp_path: Path) -> None:
    """JSON knows null, and halves of characters: file names that are no UTF-8 come as such."""
    history = History(tmp_path)
    odd = replace(
        record("a"),
        message="cannot read \udcff.jpg",
        device={"kind": "cuda", "name": None, "memory": [1, None]},
        options={"batch_size": 8, "note": None},
    )
    history.save(odd, ROWS)
    found = History(tmp_path).records()[0]
    assert found.message == "cannot read ?.jpg"
    assert found.device == {"kind": "cuda", "memory": [1]}
    assert found.options == {"batch_size": 8}


def test_a_record_that_cannot_be_read_now_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run_id,) = filled(tmp_path, 1)
    history, other = History(tmp_path), History(tmp_path)
    (before,) = history.records()
    other.save(replace(before, iteration=before.iteration + 1), ROWS)
    with monkeypatch.context() as patch:

        def refused(path: Path) -> dict[str, object]:
            raise OSError(24, "Too many open files")

        patch.setattr(history_module, "_read_head", refused)
        changed, gone = history.refresh()
    assert not changed and not gone and same(history.records()[0].run_id, run_id)
    assert history.records()[0].iteration == before.iteration + 1

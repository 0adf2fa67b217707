"""After a power cut at any instant of a save, a backup or a snapshot: what was announced is there.

A process writes with our store while every operation is logged; then each prefix of the log is
turned into what a disk that promises no more than POSIX might hold, and read by an independent
reader.
"""

import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from recaster_tui.bench.faults.fileops import FileOp, Tap, read_log
from recaster_tui.bench.faults.judge import inspect_generation, inspect_model, loads, read_story
from recaster_tui.bench.faults.powercut import POLICIES, Disk, Policy, write_tree
from recaster_tui.checkpoints import store
from recaster_tui.checkpoints.lock import lock_model
from recaster_tui.checkpoints.snapshots import find_point, restore, restore_points
from recaster_tui.protocol.losses import loss_rows
from recaster_tui.training.generations import Snapshot
from recaster_tui.training.history import LossHistory
from recaster_tui.training.journal import JournalWriter
from recaster_tui.training.saver import Saver

MODEL = "model/a.saehd"
JOURNAL = "runs/r/journal.jsonl"


def snapshot(iteration: int) -> Snapshot:
    weights = {"a": torch.full((5,), float(iteration)), "b": torch.ones(3)}
    losses = loss_rows(1, [[0.5, 0.25]] * iteration, 10.0)
    return Snapshot(iteration, weights, {"step": torch.ones(1)}, {"options": {}}, losses)


def save_all(root: Path) -> None:
    """Three saves, one with a backup, one with a snapshot, by the real saver and its thread."""
    journal = JournalWriter(root / JOURNAL)
    LossHistory(root / "runs" / "r" / "losses.bin", loss_rows(1, [], 0.0))
    lock_model(root / MODEL, "r")
    store.clean_up(root / MODEL)
    saver = Saver(root / MODEL, journal, None)
    saver.start(snapshot(1), backup_note="mine")
    saver.start(snapshot(2), snapshot_name="kept")
    saver.start(snapshot(3), judged=2)  # so that the first need not be kept
    saver.close()
    journal.close()


def logged(root: Path, log: Path, work: Callable[[Path], object] = save_all) -> list[FileOp]:
    """The operations of *work* in a process of its own."""
    (root / "runs" / "r").mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        try:
            Tap(root, lambda _: False, log).install()
            work(root)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return read_log(log)


def problems(
    root: Path, ops: list[FileOp], scratch: Path, policies: tuple[Policy, ...]
) -> Iterator[str]:
    """What is lost if the power goes after any operation."""
    luck = random.Random(1)
    disk = Disk(root, ())
    disk.apply(FileOp("mkdir", str(root / "runs")))
    disk.apply(FileOp("mkdir", str(root / "runs" / "r")))
    for folder in (root, root / "runs"):  # as the supervisor makes them
        disk.apply(FileOp("fsync", str(folder)))
    told = scratch / "told.jsonl"
    told.write_bytes(b"")
    seen: set[object] = set()
    for op in ops:
        disk.apply(op)
        if op.path == str(root / JOURNAL) and op.kind == "write":
            with told.open("ab") as file:
                file.write(op.data)
        for policy in policies:
            tree = disk.after_power_cut(policy, luck)
            wanted = (MODEL, JOURNAL)
            models = frozenset((k, v) for k, v in tree.items() if k.startswith(wanted))
            story = read_story(told)
            if (state := (models, len(story.saves), len(story.kept))) in seen:
                continue
            seen.add(state)
            left = scratch / str(len(seen))
            write_tree(left, tree)
            found = inspect_model(left / MODEL, story)
            said = [p for p in found.problems if "set aside" not in p]
            iteration, words = loads(left / MODEL)
            if iteration < story.saved or words:
                said.append(f"our loader gives {iteration} of {story.saved}: {words}")
            # The last save may not be told of yet: the journal is synced after it was written.
            left_saves = read_story(left / JOURNAL).saves
            if left_saves[: len(story.saves) - 1] != story.saves[:-1]:
                said.append(f"the journal tells of {left_saves}")
            for text in said:
                yield f"{policy}, after {op.kind} {Path(op.path).relative_to(root)}: {text}"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    assert threading.active_count() < 10


def test_what_was_announced_survives_a_power_cut_at_any_instant(tmp_path: Path) -> None:
    root = tmp_path.resolve() / "ws"
    ops = logged(root, tmp_path / "log")
    assert len(ops) > 120
    assert {op.kind for op in ops} >= {"create", "write", "fsync", "mkdir", "rename", "unlink"}
    story = read_story(root / JOURNAL)
    assert (story.saves, len(story.kept)) == ([1, 2, 3], 2)
    assert list(problems(root, ops, tmp_path, POLICIES)) == []


UNSYNCED: dict[str, Callable[[str], bool]] = {
    "content of files": lambda path: path.endswith(".safetensors"),
    "names in folders": lambda path: path.endswith(("generations", "a.saehd")),
    "the folders above": lambda path: path.endswith("/model"),
    "a backup": lambda path: path.endswith("backups"),
    "the journal": lambda path: path.endswith("journal.jsonl"),
}


@pytest.mark.parametrize("missing", UNSYNCED)
def test_the_judge_notices_a_store_that_does_not_sync(tmp_path: Path, missing: str) -> None:
    root = tmp_path.resolve() / "ws"
    ops = logged(root, tmp_path / "log")
    fewer = [op for op in ops if op.kind != "fsync" or not UNSYNCED[missing](op.path)]
    assert len(fewer) < len(ops)
    assert next(problems(root, fewer, tmp_path, POLICIES), None) is not None


def test_a_power_cut_during_a_restore_leaves_both_the_old_and_the_new(tmp_path: Path) -> None:
    root = tmp_path.resolve() / "ws"
    (root / "runs" / "r").mkdir(parents=True)
    save_all(root)
    point = find_point(root / MODEL, "kept")  # of iteration 2; 3 is current
    disk, luck, seen = Disk(root, ("model", "runs")), random.Random(1), set()
    for number, op in enumerate(
        logged(root, tmp_path / "log", lambda r: restore(r / MODEL, point))
    ):
        disk.apply(op)
        for place, policy in enumerate(POLICIES):
            left = tmp_path / f"{number}-{place}" / MODEL
            write_tree(left.parent.parent, disk.after_power_cut(policy, luck))
            iteration, words = loads(left)
            assert (iteration in (2, 3), words) == (True, ""), f"{policy} after {op.kind} {op.path}"
            seen.add(iteration)
            store.clean_up(left)  # what the next start does
            points = restore_points(left)
            assert [p.iteration for p in points if p.name == "kept"] == [2]
            assert all(inspect_generation(p.path) == "" for p in points)
            if iteration == 2:  # what was there before the restore is kept
                assert 3 in {p.iteration for p in points}
    assert seen == {2, 3}

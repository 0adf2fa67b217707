"""The save at the end of a run on a full disk, and timed backups that fail."""

import errno
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from trainer_fakes import FakeData, FakeModel, events, make_run, model_folder, of, tell

from recaster_tui.checkpoints import store
from recaster_tui.errors import ExitCode
from recaster_tui.protocol import RunFolder
from recaster_tui.training import backups, generations, last_save, process, saver
from recaster_tui.training.backups import RETRY_SECONDS, BackupTimer
from recaster_tui.training.generations import Snapshot, load_model, write_generation
from recaster_tui.training.saver import SaveOutcome, Saver
from recaster_tui.training.start import start

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def no_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    some = SimpleNamespace(folder=Path(), faces=[None] * 9, skipped=[])
    monkeypatch.setattr(process, "load_faces", lambda *_: {"src": some, "dst": some})


class Disk:
    """Takes nothing after the first save, until there is room; *looked* is called at each look."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.room, self.looks, self.attempts = False, 0, 0
        self._real = generations.write_hashed
        patch.setattr(generations, "write_hashed", self.write)
        patch.setattr(last_save, "_free", self.free)
        patch.setattr(last_save, "_LOOK_SECONDS", 0.0)

    def write(self, path: Path, chunks: Any) -> Any:
        if "000000001" in path.parent.name or self.room:
            return self._real(path, chunks)
        self.attempts += 1
        raise FULL

    def free(self, _: Path) -> int:
        self.looks += 1
        self.looked()
        return (100 if self.room else 1) << 20

    def looked(self) -> None: ...


def train(folder: RunFolder) -> ExitCode:
    return start(folder.root, build_model=FakeModel, open_data=FakeData)


OPTIONS = {"autosave_seconds": 3600, "preview_seconds": 0}


@pytest.mark.usefixtures("no_faces")
def test_the_last_save_waits_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cleared(Disk):
        def looked(self) -> None:
            self.room = self.looks > 5

    disk = Cleared(monkeypatch)
    folder = make_run(tmp_path, options=OPTIONS, target_iterations=9)
    assert train(folder) == ExitCode.OK
    assert disk.attempts == 1  # not again before there is room
    found = events(folder)
    (warning,) = of(found, "warning")
    assert warning["code"] == "disk-full"
    assert "the last good save is iteration 1" in warning["hint"]
    assert "training goes on" not in warning["hint"]
    assert any("the disk is full: waiting 60 s for room" in p["text"] for p in of(found, "phase"))
    assert (of(found, "done")[0]["outcome"], of(found, "done")[0]["saved"]) == ("finished", 9)


@pytest.mark.usefixtures("no_faces")
def test_a_stop_without_saving_ends_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path, options=OPTIONS, target_iterations=9)

    class Impatient(Disk):
        def looked(self) -> None:
            if self.looks == 3:
                tell(folder, "stop", "with")
            if self.looks == 6:
                tell(folder, "stop", "without", save=False)

    disk = Impatient(monkeypatch)
    assert train(folder) == ExitCode.OK
    assert disk.attempts == 1
    found = events(folder)
    answers = [(a["id"], a["ok"], a["message"]) for a in of(found, "ack")]
    assert answers == [
        ("with", True, "waiting for room to save"),
        ("without", True, "ending without a save"),
    ]
    (done,) = of(found, "done")
    assert (done["outcome"], done["iteration"], done["saved"]) == ("stopped", 9, 1)
    loaded = load_model(model_folder(folder))
    assert loaded is not None
    assert loaded.generation.iteration == 1


def test_without_room_it_is_tried_once_more_and_given_up(tmp_path: Path) -> None:
    class Clock:
        now = 0.0

        def sleep(self, seconds: float) -> None:
            self.now += seconds

    clock, attempts = Clock(), []

    def attempt(error: Exception) -> Any:
        def fail() -> Exception:
            attempts.append(clock.now)
            return error

        return fail

    desk: Any = SimpleNamespace(poll=lambda: None, take_stop=lambda: None)

    def save(error: Exception) -> Exception | None:
        return last_save.save_last(
            attempt(error),
            tmp_path,
            desk,
            lambda _: None,
            clock=lambda: clock.now,
            sleep=clock.sleep,
        )

    other = ValueError("no")
    assert save(other) is other  # room would not help
    assert attempts == [0.0]
    assert save(FULL) is FULL
    assert attempts[-1] >= last_save.ROOM_SECONDS


def model(folder: Path, iteration: int) -> store.Generation:
    return write_generation(folder, Snapshot(iteration, {}, {}, {}))


def test_a_backup_is_due_by_time_of_a_changed_model_and_soon_again_where_it_failed(
    tmp_path: Path,
) -> None:
    now = 5000.0
    timer = BackupTimer(tmp_path, lambda: now)
    assert not timer.due(1, 7)
    now += 3600
    assert timer.due(1, 7)
    assert not timer.due(2, 7)
    assert not timer.due(0, 7)  # off
    assert not timer.due(1, 0)  # paused before the first iteration: there is nothing to keep

    over = timer.begin(1, 7)
    assert not timer.due(1, 7)
    over(SaveOutcome(None, FULL))
    now += RETRY_SECONDS - 1
    assert not timer.due(1, 8)
    now += 1
    assert timer.due(1, 8)

    kept = store.write_backup(tmp_path, model(tmp_path, 8), "")
    timer.begin(1, 8)(SaveOutcome(None, backup=kept))
    now += 24 * 3600
    assert not timer.due(1, 8)  # paused all day: one copy is enough
    assert timer.due(1, 9)
    # The next start knows it, too.
    later = BackupTimer(tmp_path, lambda: now)
    now += 3600
    assert not later.due(1, 8)
    assert later.due(1, 9)


@pytest.mark.usefixtures("no_faces")
def test_a_run_makes_its_timed_backup_and_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path, "run-1", options=OPTIONS, target_iterations=5)
    assert train(folder) == ExitCode.OK
    loaded = load_model(model_folder(folder))
    assert loaded is not None
    old = store.write_backup(model_folder(folder), loaded.generation, "")
    os.utime(old.path, (time.time() - 7200, time.time() - 7200))

    begin, write, attempts = Saver.start, saver.write_backup, []

    def begin_and_wait(self: Saver, *args: Any, **more: Any) -> None:
        begin(self, *args, **more)
        self.wait()

    def full_at_first(*args: Any) -> store.Generation:
        attempts.append(args)
        if len(attempts) == 1:
            raise FULL
        return write(*args)

    monkeypatch.setattr(Saver, "start", begin_and_wait)
    monkeypatch.setattr(Saver, "due", lambda *_: True)
    monkeypatch.setattr(saver, "write_backup", full_at_first)
    monkeypatch.setattr(backups, "RETRY_SECONDS", 0.0)
    options = OPTIONS | {"backup_hours": 1}
    assert train(make_run(tmp_path, "run-2", options=options, target_iterations=9)) == ExitCode.OK
    found = events(RunFolder(tmp_path / "runs" / "run-2"))
    assert [w["code"] for w in of(found, "warning")] == ["backup-disk-full"]
    (backup,) = of(found, "backup")
    assert (backup["iteration"], backup["note"]) == (7, "")  # the next one is due in an hour
    assert (tmp_path / backup["folder"]).is_dir()
    assert of(found, "done")[0]["saved"] == 9

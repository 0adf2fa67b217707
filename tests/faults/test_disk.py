"""A disk that is full, too small, or takes nothing: the run goes on, says so, and saves again."""

import asyncio
import os
import resource
from pathlib import Path

import numpy as np
import psutil
import pytest
from fault_kit import (
    fingerprint,
    iterations,
    journal,
    make_run,
    numbered_whole,
    of,
    small_disk,
    small_model,
    stop,
    tell,
    trainer,
    wait_for,
    wait_until,
    warnings,
)

from recaster_tui.checkpoints import files, snapshots, store
from recaster_tui.checkpoints.files import NoRoomError
from recaster_tui.protocol import EventType, read_losses, read_run_spec
from recaster_tui.supervisor import Run
from recaster_tui.supervisor.launcher import ProcessId
from recaster_tui.supervisor.local import LocalLauncher
from recaster_tui.supervisor.run import DISK_FULL, write_process
from recaster_tui.supervisor.state import RunState
from recaster_tui.training import history as loss_history
from recaster_tui.training.generations import load_model, write_generation
from recaster_tui.training.history import LossHistory
from recaster_tui.training.journal import JournalWriter
from recaster_tui.training.saver import RETRY_SECONDS, Saver


def _fill(folder: Path) -> Path:
    """Take every byte that is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


async def test_a_full_disk_stops_no_run_and_is_all_over_once_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=32m") as small:
        disk = small.path
        folder = make_run(disk, options={"autosave_seconds": 3600, "preview_seconds": 0})
        model = disk / "model" / "test.saehd"
        with trainer(folder, disk=small) as process:
            wait_for(folder, lambda found: of(found, "saved"))
            started = psutil.Process(process.pid).create_time()
            write_process(folder, ProcessId(process.pid, started, os.uname().nodename))
            run = Run(folder, read_run_spec(folder.spec), LocalLauncher())
            await run.poll()
            before = fingerprint(model / "generations")

            # 1: a few megabytes are left. The save is given up at once, and that is said.
            filler = disk / "filler"
            filler.write_bytes(bytes((32 - 3) << 20))
            tell(folder, "save", "no-room")
            answer = wait_for(folder, lambda found: list(of(found, "ack")))[-1]
            assert (answer["id"], answer["ok"]) == ("no-room", False)
            (warning,) = warnings(journal(folder), "disk-full")
            assert "the disk is full: 3 MB are free" in warning["message"]
            assert "the last good save is iteration 1" in warning["hint"]
            assert fingerprint(model / "generations") == before
            await run.poll()
            assert run.state is RunState.TRAINING
            assert run.trouble_title == "NOT SAVED since 1"
            assert run.trouble.startswith("the disk is full: 3 MB are free")

            # 2: not a byte is left. Nothing can be said, and the screen says that.
            filler = _fill(disk)
            at = iterations(journal(folder))
            size = await asyncio.to_thread(_standstill, folder.journal)
            async with asyncio.timeout(30):
                while run.message != DISK_FULL:
                    await asyncio.sleep(0.2)
                    await run.poll()
            assert run.state is RunState.TRAINING
            assert run.trouble == DISK_FULL
            assert process.poll() is None
            assert folder.journal.stat().st_size == size

            # 3: room again. What was waiting is told, in order, and a save works.
            filler.unlink()
            wait_for(folder, lambda found: iterations(found) > at + 500)
            tell(folder, "save", "room")
            wait_for(folder, lambda found: of(found, "saved")[1:])
            await run.poll()
            assert run.trouble == ""
            assert stop(folder, process) == 0
        found = journal(folder)
        assert numbered_whole(found)
        told = [row for data in of(found, "iterations") for row in data["rows"]]
        assert len(told) == iterations(found)  # no iteration left out
        last = of(found, "done")[-1]
        assert (last["outcome"], last["saved"]) == ("stopped", last["iteration"])
        rows = read_losses(folder.losses)
        assert rows["iteration"].tolist() == list(range(1, last["iteration"] + 1))
        loaded = load_model(model)
        assert loaded is not None
        assert (loaded.generation.iteration, loaded.damaged) == (last["iteration"], ())


def _standstill(path: Path) -> int:
    """The size of a file that does not grow any more."""
    sizes = [-1]

    def same() -> bool:
        sizes.append(path.stat().st_size)
        return len(sizes) > 40 and len(set(sizes[-40:])) == 1

    wait_until(same, "the journal stands still")
    return sizes[-1]


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: no file grows beyond 6,000 bytes; the journal is the first to feel it."""
    folder = make_run(tmp_path, options={"autosave_seconds": 5})

    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, most))

    with trainer(folder, before=limit) as process:
        wait_until(lambda: folder.journal.exists() and folder.journal.stat().st_size == 6_000)
        assert process.poll() is None
        at = read_losses(folder.losses)["iteration"].max(initial=0)
        # Not a word gets out, and it trains on; now the limit is lifted.
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
        wait_for(folder, lambda found: iterations(found) > at + 100)
        tell(folder, "save", "now")
        wait_for(folder, lambda found: [a for a in of(found, "ack") if a["ok"]])
        assert stop(folder, process) == 0
    found = journal(folder)
    assert numbered_whole(found)
    done = of(found, "done")[-1]
    assert (done["outcome"], done["saved"]) == ("stopped", done["iteration"])
    losses = read_losses(folder.losses)
    assert losses["iteration"].tolist() == list(range(1, done["iteration"] + 1))


def test_a_save_is_not_begun_where_it_cannot_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model" / "a.saehd"
    first = write_generation(model, small_model(1))
    before = fingerprint(model)
    monkeypatch.setattr(files, "SPARE", 1 << 60)
    with pytest.raises(NoRoomError, match="the disk is full") as caught:
        write_generation(model, small_model(2))
    assert caught.value.hint
    with pytest.raises(NoRoomError):
        store.write_backup(model, first, "")
    with pytest.raises(NoRoomError):
        snapshots.create_snapshot(model, "a name")
    left = {k: v for k, v in fingerprint(model).items() if k not in ("backups", "snapshots")}
    assert left == before


def test_a_backup_without_room_does_not_say_that_the_model_is_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model" / "a.saehd"
    with_journal = JournalWriter(tmp_path / "journal.jsonl")
    saver = Saver(model, with_journal, None)

    def full(*_: object) -> None:
        raise NoRoomError("the disk is full: 1 MB are free, 95 MB are needed")

    monkeypatch.setattr("recaster_tui.training.saver.write_backup", full)
    saver.start(small_model(1), backup_note="")
    saver.close()
    with_journal.close()
    text = (tmp_path / "journal.jsonl").read_text()
    assert saver.saved == 1
    assert "the backup of iteration 1 could not be written: the disk is full" in text
    assert '"code":"backup-disk-full"' in text
    assert "could not be saved" not in text


def test_a_save_given_up_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "model" / "a.saehd"
    told = JournalWriter(tmp_path / "journal.jsonl")
    saver = Saver(model, told, None)
    now = 1000.0
    monkeypatch.setattr("recaster_tui.training.saver.time.monotonic", lambda: now)
    monkeypatch.setattr(files, "SPARE", 1 << 60)
    saver.start(small_model(1))
    saver.wait()
    assert saver.saved is None
    now += RETRY_SECONDS - 1
    assert not saver.due(30)
    now += 2
    assert saver.due(30)
    monkeypatch.setattr(files, "SPARE", 0)
    saver.start(small_model(2))
    saver.wait()
    assert saver.saved == 2
    now += 31
    assert saver.due(30)  # and again as often as ever
    saver.close()
    told.close()


def test_losses_that_cannot_be_written_are_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recaster_tui.protocol.losses import loss_rows

    path = tmp_path / "losses.bin"
    history = LossHistory(path, loss_rows(1, [[1.0, 2.0]] * 5, 10.0))
    now, tries = 0.0, 0

    def full(*_: object) -> None:
        nonlocal tries
        tries += 1
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loss_history.time, "monotonic", lambda: now)
    with monkeypatch.context() as patch:
        patch.setattr(loss_history, "append_losses", full)
        patch.setattr(loss_history, "write_losses", full)
        for first in range(6, 106):
            now += 0.25
            history.append(loss_rows(first, [[1.0, 2.0]], 10.0))
        assert tries <= 2 + 25 / loss_history.RETRY_SECONDS
    now += loss_history.RETRY_SECONDS
    history.append(loss_rows(106, [[1.0, 2.0]], 10.0))
    np.testing.assert_array_equal(read_losses(path), history.rows)


def test_a_journal_on_a_disk_that_turned_read_only_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = JournalWriter(tmp_path / "journal.jsonl")
    real = os.write
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> int:
            raise OSError(30, "Read-only file system")

        patch.setattr(os, "write", refuse)
        for iteration in range(10):
            told.emit(EventType.ALIVE, iteration=iteration)
        assert told.refused is not None
    assert os.write is real
    told.emit(EventType.ALIVE, iteration=10)
    assert told.refused is None
    told.close()
    lines = (tmp_path / "journal.jsonl").read_bytes().splitlines()
    assert len(lines) == 11

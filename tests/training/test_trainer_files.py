"""Journal, control file, lock: what is on disk stays readable whatever happened before."""

import errno
import json
import os
from pathlib import Path

import pytest
from trainer_fakes import tell

from recaster_tui.checkpoints.lock import ModelLockedError, lock_model
from recaster_tui.protocol import EventType, RunFolder, decode_event
from recaster_tui.training.commands import Desk
from recaster_tui.training.control import ControlReader, control_size
from recaster_tui.training.journal import JournalWriter


def lines(path: Path) -> list[int]:
    return [decode_event(line).seq for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("tail", "kept"),
    [
        (b'{"v":1,"seq":3,"t":1.0,"type":"iterat', 2),  # torn: dropped
        (b'{"v":1,"seq":3,"t":1.0,"type":"alive","iteration":9}', 3),  # whole: completed
        (b"\0" * 300, 2),  # what a power cut leaves on some file systems
        (b"", 2),
    ],
)
def test_a_torn_last_line_is_repaired_and_seq_goes_on(
    tmp_path: Path, tail: bytes, kept: int
) -> None:
    path = tmp_path / "journal.jsonl"
    first = JournalWriter(path)
    first.emit(EventType.HELLO, pid=1)
    first.emit(EventType.ALIVE, iteration=1)
    first.close()
    with path.open("ab") as file:
        file.write(tail)
    again = JournalWriter(path)
    assert again.resumed
    again.emit(EventType.ALIVE, iteration=2)
    again.close()
    assert lines(path) == list(range(1, kept + 2))


def test_a_full_disk_delays_events_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"
    journal = JournalWriter(path)
    real, room = os.write, 150

    def write(fd: int, data: bytes) -> int:
        nonlocal room
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = real(fd, bytes(data)[:room])  # short, as the last write on a disk is
        room -= done
        return done

    monkeypatch.setattr(os, "write", write)
    for i in range(10):
        journal.emit(EventType.ALIVE, iteration=i)
    assert not path.read_bytes().endswith(b"\n")
    room = 10**9
    journal.emit(EventType.ALIVE, iteration=10)
    journal.close()
    assert lines(path) == list(range(1, 12))


def test_one_writer_per_journal_and_per_model(tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path / "journal.jsonl")
    with pytest.raises(ModelLockedError):
        JournalWriter(tmp_path / "journal.jsonl")
    journal.close()
    JournalWriter(tmp_path / "journal.jsonl").close()

    held = lock_model(tmp_path / "model" / "a.saehd", "run-7")
    with pytest.raises(ModelLockedError, match=rf"process {os.getpid()} .*run-7"):
        lock_model(tmp_path / "model" / "a.saehd", "run-8")
    held.release()
    lock_model(tmp_path / "model" / "a.saehd", "run-8").release()


def test_each_control_line_is_acknowledged_once_across_restarts(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    journal = JournalWriter(folder.journal)
    journal.emit(EventType.HELLO)
    desk = Desk(journal, ControlReader(folder.control, journal.acked))
    desk.poll()
    tell(folder, "pause", "a")
    with folder.control.open("ab") as file:
        file.write(b'not json\n{"id":"b","cmd":"dance"}\n[1]\n\n{"id":"c","cmd":"sa')
    desk.poll()
    request = desk.next()
    assert request is not None
    assert request.command is not None
    assert (request.command.id, request.command.cmd) == ("a", "pause")
    desk.answer(request, True)
    assert desk.next() is None  # the torn line waits
    with folder.control.open("ab") as file:
        file.write(b've"}\n')
    desk.poll()
    request = desk.next()
    assert request is not None
    assert request.command is not None
    assert request.command.id == "c"
    journal.close()  # killed before it answered c

    tell(folder, "stop", "d")
    journal = JournalWriter(folder.journal)
    stale_before = control_size(folder.control)
    tell(folder, "stop", "e")
    desk = Desk(journal, ControlReader(folder.control, journal.acked, stale_before))
    desk.poll()
    request = desk.take_stop()
    assert request is not None
    assert request.command is not None
    assert request.command.id == "e"
    desk.answer(request, True)
    desk.close("over")
    journal.close()
    acks = [json.loads(x) for x in folder.journal.read_bytes().splitlines() if b'"ack"' in x]
    assert [(a["id"], a["ok"]) for a in acks] == [
        ("", False),
        ("b", False),
        ("", False),
        ("a", True),
        ("c", False),  # nobody knows whether its sender still wants it
        ("d", False),
        ("e", True),
    ]

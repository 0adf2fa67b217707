"""Damage in every file of a run folder and of the history: words, no exception, no write."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_kit import fingerprint, journal, make_run, numbered_whole, of, trainer, wait_for
from hypothesis import given
from hypothesis import strategies as st

from recaster_tui.errors import DamagedError
from recaster_tui.protocol import (
    LOSS_DTYPE,
    Event,
    EventType,
    RunFolder,
    decode_event,
    encode_event,
    read_losses,
    read_run_spec,
    write_losses,
)
from recaster_tui.protocol.losses import loss_rows
from recaster_tui.supervisor import Supervisor
from recaster_tui.supervisor.history import History, record_of
from recaster_tui.supervisor.journal import JournalReader
from recaster_tui.supervisor.local import LocalLauncher
from recaster_tui.supervisor.run import Run, parse_process
from recaster_tui.supervisor.state import RunState
from recaster_tui.training.journal import JournalWriter
from recaster_tui.workspace import open_workspace

GARBAGE = [
    b"",
    b"\0" * 4096,
    b"\xff\xfe\xfd" * 100,
    b"{" * 100_000 + b"\n",
    b"[" * 100_000 + b"\n",
    b'{"seq": 1e999, "t": 1, "type": "alive"}\n',
    b'{"seq": 1, "t": NaN, "type": "alive"}\n',
    b'{"seq": 1, "t": 1e300, "type": "alive"}\n',
    b'{"seq": ' + b"9" * 5000 + b', "t": 1, "type": "alive"}\n',
    b'{"v":1,"seq":' + b"9" * 5000 + b',"t":1,"type":"iterations","first":1}\n',
    b'{"seq": 5, "t": 1, "type": "iterations", "first": 1e999, "rows": 5}\n',
    b'{"seq": 5, "t": 1, "type": "iterations", "first": 1' + b"0" * 400 + b"}\n",
    b'{"seq": 5, "t": 1, "type": "preview", "views": [{"file": "previews/\\u0000"}]}\n',
    b'{"seq": 5, "t": 1, "type": "hello", "device": [1], "pid": -5, "started": 1e999}\n',
    b'{"seq": 5, "t": 1, "type": "metrics", "held_out": 7}\n',
    b'{"seq": 5, "t": 1, "type": "done", "outcome": ["x"]}\n',
    b'{"seq": 5, "t": 1, "type": "phase", "phase": {"a": 1}, "text": 5}\n',
    b'{"seq": 5, "t": 1, "type": "rolled-back", "to_iteration": "x"}\n',
    b'{"seq": 5, "t": 1, "type": "restored", "to_iteration": [], "options": 5}\n',
    b'"a text"\n5\nnull\n[]\n',
]
WHOLE = [
    Event(1, 100.0, "hello", {"pid": 2**22 + 1, "started": 1.0, "iteration": 0}),
    Event(2, 101.0, "phase", {"phase": "training", "text": "training"}),
    Event(3, 102.0, "iterations", {"first": 1, "rows": [[1.0, 2.0]] * 4, "ms": 1.0, "its": 9.0}),
    Event(4, 103.0, "done", {"outcome": "stopped", "iteration": 4, "saved": 4, "message": "end"}),
]


def _ended(workspace: Path, lines: list[bytes] | None = None) -> RunFolder:
    folder = make_run(workspace, "20261101T000000-saehd-0001")
    folder.journal.write_bytes(b"".join(lines or [encode_event(event) for event in WHOLE]))
    write_losses(folder.losses, loss_rows(1, [[1.0, 2.0]] * 4, 10.0))
    return folder


async def _look(folder: RunFolder) -> Run:
    run = Run(folder, read_run_spec(folder.spec), LocalLauncher())
    await run.poll()
    await run.poll()
    _ = run.trend, run.verdict, run.phase_text, run.eta_seconds, run.trouble, record_of(run)
    return run


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda raw: repr(raw[:40]))
@pytest.mark.parametrize("place", ["first", "middle", "last"])
async def test_garbage_in_a_journal_is_said_and_the_rest_is_read(
    tmp_path: Path, garbage: bytes, place: str
) -> None:
    lines = [encode_event(event) for event in WHOLE]
    at = {"first": 0, "middle": 2, "last": 4}[place]
    folder = _ended(tmp_path, [*lines[:at], garbage, *lines[at:]])
    before = fingerprint(tmp_path)
    run = await _look(folder)
    assert fingerprint(tmp_path) == before
    if garbage.endswith(b"\n") or not garbage:
        assert run.state in (RunState.STOPPED, RunState.FAILED)  # the last may say another outcome
        assert run.iteration == 4 or place == "last"
    # A trainer that starts here goes on counting, whatever stands above.
    writer = JournalWriter(folder.journal)
    try:
        writer.emit(EventType.ALIVE, iteration=4)
    finally:
        writer.close()
    assert folder.journal.read_bytes().endswith(b"\n")
    decode_event(folder.journal.read_bytes().splitlines()[-1])


@given(data=st.data())
def test_any_damage_to_a_journal_leaves_a_run_that_can_be_looked_at(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    workspace = tmp_path_factory.mktemp("any")
    folder = _ended(workspace)
    raw = bytearray(folder.journal.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=6))
    folder.journal.write_bytes(raw)
    run = asyncio.run(_look(folder))
    assert run.state is not None
    with_more = JournalWriter(folder.journal)
    with_more.emit(EventType.ALIVE, iteration=1)
    with_more.close()
    asyncio.run(_look(folder))


async def test_missing_lines_are_said_by_their_numbers(tmp_path: Path) -> None:
    lines = [encode_event(event) for event in WHOLE]
    run = await _look(_ended(tmp_path, [lines[0], *lines[2:]]))
    assert run.state is RunState.STOPPED
    (notice,) = run.notices
    assert (notice.code, notice.message) == ("journal-gap", "journal lines 2 to 2 are missing")


@pytest.mark.parametrize(
    "harm", ["torn", "torn in the middle", "longer", "foreign", "zeros", "missing", "folder"]
)
async def test_a_damaged_losses_file_costs_the_chart_no_more_than_what_is_damaged(
    tmp_path: Path, harm: str
) -> None:
    folder = _ended(tmp_path)
    rows = loss_rows(1, [[1.0, 2.0]] * 1000, 10.0)
    raw = rows.tobytes()
    middle = 500 * LOSS_DTYPE.itemsize + 7
    content, kept = {
        "torn": (raw[:-7], 999),
        "torn in the middle": (raw[: middle - 7] + raw[middle:], 500),
        "longer": (raw + raw[: 20 * LOSS_DTYPE.itemsize], 1000),
        "foreign": (np.random.default_rng(1).bytes(50_000), 0),
        "zeros": (raw[: middle - 7] + bytes(5000), 500),
        "missing": (None, 0),
        "folder": (b"", 0),
    }[harm]
    folder.losses.unlink()
    if harm == "folder":
        folder.losses.mkdir()
    elif content is not None:
        folder.losses.write_bytes(content)
    run = await _look(folder)
    assert run.state is RunState.STOPPED
    np.testing.assert_array_equal(run.losses, rows[:kept])
    told = [notice.code for notice in run.notices]
    assert told == (
        ["losses-damaged"] if harm in ("torn in the middle", "longer", "foreign") else []
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0",
        b"\xff",
        b"pid = 'x'",
        b"pid = inf\nstarted = 1.0\nhost = ''\nlaunched = 1.0",
        b"pid = -1\nstarted = 1.0\nhost = ''\nlaunched = 1.0",
        b"pid = 0\nstarted = 1.0\nhost = ''\nlaunched = 1.0",
        b"pid = 99999999999999999999\nstarted = nan\nhost = ''\nlaunched = 1.0",
        b"pid = 1\nstarted = 1.0\nhost = ''\nlaunched = 1.0",  # somebody else's
        b"a = " + b"[" * 50_000,
    ],
)
async def test_a_lying_process_file_neither_raises_nor_makes_a_run_alive(
    tmp_path: Path, content: bytes
) -> None:
    folder = _ended(tmp_path, [encode_event(event) for event in WHOLE[:3]])
    folder.process.write_bytes(content)
    with contextlib.suppress(ValueError, KeyError, TypeError):
        parse_process(content)
    run = await _look(folder)
    assert run.state is RunState.FAILED
    assert "without a last word" in run.message


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 50, b"\xff", b"protocol = 1", b"a = " + b"[" * 50_000]
)
async def test_a_damaged_run_toml_is_words_and_hides_no_other_run(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "data_src" / "aligned").mkdir(parents=True)
    damaged = _ended(tmp_path)
    whole = make_run(tmp_path, "20261102T000000-saehd-0002")
    whole.journal.write_bytes(b"".join(encode_event(event) for event in WHOLE))
    raw = damaged.spec.read_bytes()
    damaged.spec.write_bytes(content)
    with pytest.raises(DamagedError):
        read_run_spec(damaged.spec)
    before = fingerprint(tmp_path)
    async with Supervisor(tmp_path / "home") as supervisor:
        await supervisor.adopt(open_workspace(tmp_path))
        assert [record.run_id for record in supervisor.records()] == [whole.run_id]
        damaged.spec.write_bytes(raw)
        await supervisor.adopt(open_workspace(tmp_path))
        assert len(supervisor.records()) == 2
        damaged.spec.write_bytes(content)
    after = fingerprint(tmp_path)
    changed = {k for k in after if after[k].split()[2:] != before.get(k, "").split()[2:]}
    assert all(name.startswith("home") for name in changed)


RECORDS = [
    b"",
    b"\0" * 100,
    b"\xff\xfe",
    b'run_id = "x"',
    b"created = 'yesterday'",
    b"state = 'dancing'",
    b"options = 5",
    b"a = " + b"[" * 50_000,
]


@pytest.mark.parametrize("content", RECORDS, ids=lambda raw: repr(raw[:20]))
async def test_a_damaged_record_of_history_is_made_again_from_its_run(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "data_src" / "aligned").mkdir(parents=True)
    first = _ended(tmp_path)
    second = make_run(tmp_path, "20261102T000000-saehd-0002")
    second.journal.write_bytes(b"".join(encode_event(event) for event in WHOLE))
    home = tmp_path / "home"
    async with Supervisor(home) as supervisor:
        await supervisor.adopt(open_workspace(tmp_path))
    history = History(home)
    path = history.path(first.run_id)
    raw = path.read_bytes()
    if content.startswith((b"created", b"state", b"options")):  # a lie in a whole record
        key = content.split(b" = ")[0]
        lines = [line for line in raw.splitlines() if not line.startswith(key + b" = ")]
        content = b"\n".join([content, *lines]).replace(b"[options]", b"[options_gone]")
    path.write_bytes(content)
    names = [record.run_id for record in History(home).records()]
    assert second.run_id in names
    async with Supervisor(home) as supervisor:
        await supervisor.adopt(open_workspace(tmp_path))
        found = {record.run_id: record for record in supervisor.records()}
        assert set(found) == {first.run_id, second.run_id}
        assert found[second.run_id].state is RunState.STOPPED
    assert len(History(home).records()) == 2


async def test_rubbish_in_the_folder_of_history_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "data_src" / "aligned").mkdir(parents=True)
    _ended(tmp_path)
    home = tmp_path / "home"
    async with Supervisor(home) as supervisor:
        await supervisor.adopt(open_workspace(tmp_path))
    for path in list(home.rglob("*")):
        if path.is_file() and path.suffix != ".toml":  # an index, say
            path.write_bytes(b"\0rubbish\xff" * 10)
    (home / "history" / "folder.toml").mkdir()
    (home / "forgotten.toml").write_bytes(b"\xff\0")
    async with Supervisor(home) as supervisor:
        await supervisor.load_history()
        assert len(supervisor.records()) == 1


CONTROL = [
    b"\0\0\0\n",
    b"\xff\xfe\n",
    b"not json\n",
    b"[" * 100_000 + b"\n",
    b"{}\n",
    b'{"cmd": 5}\n',
    b'{"cmd": ["stop"]}\n',
    b'{"id": "\\ud800", "cmd": "resume"}\n',
    b'{"id": {"a": 1}, "cmd": "fly"}\n',
    b'{"id": "s1", "cmd": "set"}\n',
    b'{"id": "s2", "cmd": "set", "key": ["learning_rate"], "value": {}}\n',
    b'{"id": "s3", "cmd": "set", "key": "learning_rate", "value": 1e999}\n',
    b'{"id": "s4", "cmd": "set", "key": "learning_rate", "value": [1]}\n',
    b'{"id": "s5", "cmd": "set", "key": "target_iterations", "value": -1e30}\n',
    b'{"id": "n1", "cmd": "snapshot", "snapshot": "../../../evil\\u0000", "note": 5}\n',
    b'{"id": "n2", "cmd": "snapshot", "snapshot": {"a": 1}}\n',
    b'{"id": "b1", "cmd": "backup", "note": ["\\ud800"]}\n',
    b"x" * 3_000_000 + b"\n",
    b"\r\n\r{}\r\n",
]


def test_garbage_in_the_control_file_is_answered_and_obeyed_is_what_makes_sense(
    tmp_path: Path,
) -> None:
    folder = make_run(tmp_path, options={"preview_seconds": 0})
    with trainer(folder) as process:
        wait_for(folder, lambda found: of(found, "saved"))
        with folder.control.open("ab") as file:
            for line in CONTROL:
                file.write(line)
            file.write(b'{"id": "good", "cmd": "save"}\n')
        acks = wait_for(
            folder,
            lambda found: (a := of(found, "ack")) and any(x["id"] == "good" for x in a) and a,
        )
        by_id = {ack["id"]: ack for ack in acks}
        assert by_id["good"]["ok"]
        for name in ("s1", "s2", "s3", "s4", "s5", "n1"):
            assert not by_id[name]["ok"], name
            assert by_id[name]["message"]
        assert process.poll() is None
        with folder.control.open("ab") as file:
            file.write(b'{"id": "end", "cmd": "stop"}\n')
        assert process.wait(timeout=60) == 0
    found = journal(folder)
    assert numbered_whole(found)
    assert not list(tmp_path.glob("evil*"))
    assert of(found, "done")[-1]["outcome"] == "stopped"


@pytest.mark.parametrize("end", [b'{"v":1,"seq":', b"\0" * 512, b"\xff\xfe"])
def test_a_torn_line_at_a_restart(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(encode_event(event) for event in WHOLE[:3]) + end)
    writer = JournalWriter(path)
    assert writer.emit(EventType.ALIVE, iteration=4) == 4
    writer.close()
    assert [decode_event(x).seq for x in path.read_bytes().splitlines()] == [1, 2, 3, 4]


def test_a_whole_line_that_only_lacks_its_newline_counts(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(encode_event(event) for event in WHOLE)[:-1])
    writer = JournalWriter(path)
    assert writer.emit(EventType.ALIVE, iteration=4) == 5
    writer.close()


def test_names_of_files_that_are_no_utf8_do_not_end_a_run(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal.jsonl")
    writer.emit(EventType.WARNING, code="face-x", message="caf\udce9.jpg", files=["caf\udce9.jpg"])
    writer.close()
    event = decode_event((tmp_path / "journal.jsonl").read_bytes())
    assert event.data["message"] == "caf?.jpg"


async def test_the_reader_finds_a_gap_among_a_slow_models_lines(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    lines = []
    for seq in range(1, 2001):
        kind = "metrics" if seq % 20 == 0 else "iterations"
        data: dict[str, Any] = {"cpu": 1.0} if kind == "metrics" else {"first": seq, "rows": [[1]]}
        lines.append(encode_event(Event(seq, 100.0 + seq, kind, data)))
    for gone in (1500, 1000, 20):
        del lines[gone - 1]
    path.write_bytes(b"".join(lines))
    reader = JournalReader(LocalLauncher(), path)
    chunk = await reader.read()
    assert chunk.gaps == [(20, 20), (1000, 1000), (1500, 1500)]
    assert reader.seq == 2000
    assert chunk.damaged == 0
    assert len(chunk.events) < 20
    assert json.loads(lines[-1])["seq"] == 2000
    assert path.stat().st_size == reader.offset
    assert len(read_losses(tmp_path / "none")) == 0

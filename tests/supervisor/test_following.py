"""Reading while somebody writes: torn lines, gaps, rewritten files, half a million iterations."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recaster_tui.options import ModelClass
from recaster_tui.protocol import (
    LOSS_DTYPE,
    Event,
    RunFolder,
    RunSpec,
    append_losses,
    encode_event,
    write_losses,
)
from recaster_tui.supervisor import LocalLauncher, Run, decimate
from recaster_tui.supervisor.journal import JournalReader
from recaster_tui.supervisor.losses import LossBuffer, trend


def line(seq: int, kind: str = "alive", **data: object) -> bytes:
    return encode_event(Event(seq, 1000.0 + seq, kind, dict(data)))


def rows(first: int, last: int) -> np.ndarray:
    found = np.zeros(last - first + 1, LOSS_DTYPE)
    found["iteration"] = np.arange(first, last + 1)
    found["src"] = 1.0 / found["iteration"]
    found["dst"] = 2.0 / found["iteration"]
    found["ms"] = 50.0
    return found


async def read_all(reader: JournalReader) -> list[Event]:
    events: list[Event] = []
    while True:
        chunk = await reader.read()
        events += chunk.events
        if not chunk.more:
            return events


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 200), max_size=12))
async def test_however_it_is_torn_every_event_arrives_once(tmp_path_factory, cuts) -> None:
    path = tmp_path_factory.mktemp("j") / "journal.jsonl"
    whole = b"".join(
        line(i, "progress" if i % 3 else "iterations", first=i, rows=[[1.0]], text="é" * i)
        for i in range(1, 20)
    )
    reader, seen, written = JournalReader(LocalLauncher(), path), [], 0
    for cut in [*cuts, len(whole)]:
        with path.open("ab") as file:
            file.write(whole[written : written + cut])
        written = min(len(whole), written + cut)
        seen += await read_all(reader)
    assert [e.seq for e in seen] == list(range(1, 20))
    assert reader.seq == 19


async def test_gaps_damage_and_another_file_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line(1) + line(2) + line(5, "iterations", first=1, rows=[[1.0]]) + line(6))
    reader = JournalReader(LocalLauncher(), path)
    chunk = await reader.read()
    assert chunk.gaps == [(3, 4)] and not chunk.damaged
    with path.open("ab") as file:
        file.write(line(7)[:-9] + b"\n" + line(7) + line(8))
    chunk = await reader.read()
    assert chunk.damaged == 1 and not chunk.gaps and reader.seq == 8
    path.write_bytes(line(1))
    assert (await reader.read()).restarted
    assert [e.seq for e in await read_all(reader)] == [1]


async def test_a_line_longer_than_a_chunk_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line(1, "warning", message="x" * 3_000_000) + line(2))
    events = await read_all(JournalReader(LocalLauncher(), path))
    assert [e.seq for e in events] == [1, 2]


async def test_losses_grow_and_follow_a_rewritten_file(tmp_path: Path) -> None:
    path = tmp_path / "losses.bin"
    buffer = LossBuffer(LocalLauncher(), path)
    assert not await buffer.read()
    append_losses(path, rows(1, 3000))
    assert await buffer.read() and len(buffer.rows) == 3000
    before = buffer.rows
    with path.open("ab") as file:
        file.write(rows(3001, 3001).tobytes()[:7])
    assert not await buffer.read()
    with path.open("ab") as file:
        file.write(rows(3001, 3001).tobytes()[7:])
    assert await buffer.read() and buffer.rows["iteration"][-1] == 3001
    # A resumed run: the checkpoint was older, and learning went another way.
    write_losses(path, rows(1, 2500))
    await buffer.read()
    assert buffer.rows["iteration"][-1] == 2500
    assert np.array_equal(before, rows(1, 3000)), "an array given out is never written again"


def make_run(root: Path) -> Run:
    folder = RunFolder(root / "runs" / "r1")
    folder.root.mkdir(parents=True)
    spec = RunSpec(run_id="r1", created=1000.0, model_name="m", model_class=ModelClass.QUICK96,
                   options={}, target_iterations=600_000)  # fmt: skip
    return Run(folder, spec, LocalLauncher())


async def test_half_a_million_iterations_are_there_at_once(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_losses(run.folder.losses, rows(1, 500_000))
    with run.folder.journal.open("wb") as file:
        file.write(line(1, "hello", iteration=0) + line(2, "phase", phase="training"))
        file.write(
            b"".join(
                line(
                    3 + i,
                    "iterations",
                    first=1 + 5 * i,
                    rows=[[0.123456, 0.654321]] * 5,
                    ms=50.01,
                    its=20.0,
                    data_share=0.05,
                )
                for i in range(100_000)
            )
        )
        file.write(line(100_003, "done", outcome="stopped", iteration=500_000, saved=500_000))
    started = time.perf_counter()
    await run.poll()
    seconds = time.perf_counter() - started
    print(f"attached in {seconds:.2f} s")
    assert run.iteration == 500_000 and len(run.losses) == 500_000
    assert run.state == "stopped" and not run.notices
    assert run.elapsed_seconds == 100_001.0
    assert run.eta_seconds == 100_000 * 0.05


def test_decimation_keeps_peaks_and_is_stable_while_the_run_grows() -> None:
    rng = np.random.default_rng(1)
    whole = rows(1, 100_000)
    whole["src"] += rng.normal(0, 0.01, len(whole)).astype("f4")
    whole["src"][54_321] = 99.0
    small = decimate(whole, 2_000)
    assert len(small) <= 2_000
    assert 54_322 in small["iteration"]
    assert np.all(np.diff(small["iteration"].astype(int)) > 0)
    assert set(small.tolist()) <= set(whole.tolist())
    fewer = decimate(whole[:90_000], 2_000)
    old = small[small["iteration"] < 89_000]
    assert np.array_equal(old, fewer[fewer["iteration"] < 89_000])


def test_trend_finds_the_slope_of_a_line_through_noise() -> None:
    line_rows = rows(1, 2_000)
    x = np.arange(2_000)
    line_rows["src"] = 5.0 - 0.001 * x + np.where(x % 2, 0.01, -0.01)
    line_rows["dst"] = np.nan
    found = trend(line_rows)
    assert abs(found.src_slope + 1.0) < 0.02
    assert np.isnan(found.dst_slope)
    assert np.isnan(trend(line_rows[:3]).src)


def ended_run(root: Path, *said: tuple[float, str, dict[str, object]]) -> Run:
    """A run whose journal says this; nobody lives."""
    folder = RunFolder(root / "runs" / "20260101T000000-quick96-be0c")
    folder.root.mkdir(parents=True)
    events = [Event(i, t, kind, data) for i, (t, kind, data) in enumerate(said, 1)]
    folder.journal.write_bytes(b"".join(map(encode_event, events)))
    spec = RunSpec(run_id=folder.run_id, created=999.0, model_name="m", model_class="quick96",
                   options={})  # fmt: skip
    return Run(folder, spec, LocalLauncher())


HELLO = {"iteration": 0, "pid": 0, "started": 1.0, "host": "elsewhere"}
TRAINING = {"phase": "training"}
AGAIN = ("hello", HELLO), ("phase", {"phase": "loading-data"}), ("warning", {"message": "slow"})


@pytest.mark.parametrize("first", [*AGAIN, ("error", {"message": "no faces", "fatal": True})])
@pytest.mark.parametrize("beside", [True, False])
async def test_the_time_between_a_kill_and_the_next_start_is_no_training(
    tmp_path: Path, first: tuple[str, dict[str, object]], beside: bool
) -> None:
    losses = {"first": 1, "rows": [[0.5, 0.5]]}
    last_word = (1010.0, "metrics", {"cpu": 3}) if beside else (1010.0, "iterations", losses)
    run = ended_run(
        tmp_path,
        (1000.0, "hello", HELLO),
        (1001.0, "phase", TRAINING),
        (1005.0, "iterations", losses),
        last_word,  # killed
        (90_000.0, *first),
        (90_000.5, "hello", HELLO),
        (90_001.0, "phase", TRAINING),
        (90_003.0, "iterations", losses),
        (90_004.0, "done", {"outcome": "stopped", "iteration": 3, "saved": 3}),
    )
    await run.poll()
    assert run.elapsed_seconds == pytest.approx(9 + 3, abs=1)


async def test_numbers_that_jump_among_the_losses_are_told(tmp_path: Path) -> None:
    lines = [line(seq, "iterations", first=seq, rows=[[1.0]]) for seq in (1, 2, 3, 7, 8, 11)]
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(lines))
    chunk = await JournalReader(LocalLauncher(), path).read()
    assert chunk.gaps == [(4, 6), (9, 10)]
    assert [e.seq for e in chunk.events] == [11]


@pytest.mark.parametrize("number", ["1e999", "-1e999", "[]", '"x"', "null"])
async def test_a_measurement_that_cannot_be_does_not_end_the_following(
    tmp_path: Path, number: str
) -> None:
    folder = RunFolder(tmp_path / "runs" / "20261122T153000-quick96-3f2a")
    folder.root.mkdir(parents=True)
    odd = f'{{"v":1,"seq":2,"t":1002.0,"type":"metrics","held_out":{{"iteration":{number}}}}}\n'
    last = line(3, "done", outcome="stopped", iteration=7, saved=7)
    folder.journal.write_bytes(line(1, "hello", pid=1, iteration=0) + odd.encode() + last)
    spec = RunSpec(
        run_id=folder.run_id,
        created=1000.0,
        model_name="a",
        model_class=ModelClass.QUICK96,
        options={},
    )
    run = Run(folder, spec, LocalLauncher())
    await run.poll()
    assert (run.state.value, run.iteration, run.measures) == ("stopped", 7, [])
    assert any(n.code == "journal-damaged" and "line 2" in n.message for n in run.notices)

"""The short form of ``recaster bench faults``: real trainers, really killed, nothing lost."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from recaster_tui.bench.faults import kills
from recaster_tui.bench.faults.fileops import Tap, read_log
from recaster_tui.bench.faults.judge import inspect_losses, read_story
from recaster_tui.bench.faults.tally import Report, print_table
from recaster_tui.bench.faults.victim import Orders, read_flight, tapped

SHORT = [
    "inside the first save",
    "at a random instant",
    "inside a save",
    "inside a backup",
    "inside a rollback",
    "power cut",
    "app without a screen",
    "inside the last save",
]


@pytest.mark.slow
def test_kills_of_every_kind_lose_no_model_no_saved_iteration_and_no_history() -> None:
    report = asyncio.run(kills.run_rounds(len(SHORT), seed=5, tell=lambda *_: None, kinds=SHORT))
    assert report.faults == []
    total = report.total()
    assert (total.rounds, total.models_lost, total.beyond_sum) == (len(SHORT), 0, 0)
    assert total.reached >= len(SHORT) // 2  # not all by our patience, on a busy machine
    assert total.states == 8  # other disks after the power cut
    assert print_table(report, as_json=False) == 0


def test_every_kind_has_its_turn_and_every_tenth_round_is_a_cold_start() -> None:
    kinds = kills.schedule(500)
    assert kinds[9::10] == [kills.COLD] * 50
    for kind, weight in kills.WEIGHTS.items():
        share = 450 * weight / sum(kills.WEIGHTS.values())
        assert abs(kinds.count(kind) - share) <= 1


def test_a_fault_is_counted_and_ends_in_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    from recaster_tui.bench.faults.line import Finding

    report = Report(1)
    finding = Finding(lost=7, beyond=2, gone=True, model=["2 were saved"])
    report.row("power cut").rounds += 1
    report.row("power cut").add(finding)
    report.faults += finding.faults
    assert print_table(report, as_json=True) == 1
    assert '"models_lost": 1' in capsys.readouterr().out
    assert report.total().beyond_sum == 2


BLOCK = 4096


def _write_like_a_trainer(folder: Path) -> None:
    journal = os.open(folder / "journal.jsonl", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.write(journal, b'{"seq":1}\n')
    os.write(journal, b'{"seq":2}\n')
    with (folder / "losses.bin").open("wb", buffering=0) as file:
        for _ in range(5):
            file.write(b"x" * BLOCK)
        os.fsync(file.fileno())
    (folder / "losses.bin").rename(folder / "old")


@pytest.mark.parametrize(
    ("count", "torn", "left"),
    [
        (1, -1, {}),
        (2, -1, {"journal.jsonl": 0}),
        (2, 0, {"journal.jsonl": 5}),
        (2, 1, {"journal.jsonl": 15}),
        (2, 2, {"journal.jsonl": 20}),  # there is no third write: dies before what follows
        (4, 3, {"journal.jsonl": 20, "losses.bin": 3.5 * BLOCK}),
        (6, -1, {"journal.jsonl": 20, "losses.bin": 5 * BLOCK}),
        (99, -1, {"journal.jsonl": 20, "old": 5 * BLOCK}),
    ],
)
def test_a_process_dies_between_two_system_calls_or_inside_a_write(
    tmp_path: Path, count: int, torn: int, left: dict[str, float]
) -> None:
    root, flight, log = tmp_path / "ws", tmp_path / "flight", tmp_path / "log"
    folder = root / "runs" / "r"
    folder.mkdir(parents=True)
    orders = Orders(str(flight), str(root), place="any", count=count, torn=torn, log=str(log))
    child = os.fork()
    if child == 0:
        try:
            tapped(orders)
            _write_like_a_trainer(folder)
        finally:
            os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == (0 if count == 99 else -signal.SIGKILL)
    files = {p.name: p.stat().st_size for p in folder.iterdir()}
    assert files == left
    assert read_flight(flight).stops == min(count, 6)
    written = sum(len(op.data) for op in read_log(log) if op.kind == "write")
    assert written == sum(left.values())  # the log knows exactly what was written


def test_the_judge_notices_gaps_and_losses_that_differ(tmp_path: Path) -> None:
    journal, losses = tmp_path / "journal.jsonl", tmp_path / "losses.bin"
    journal.write_text(
        '{"seq":1,"t":1,"type":"hello","iteration":0}\n'
        '{"seq":3,"t":2,"type":"iterations","first":1,"rows":[[0.5],[0.25]]}\n'
        '{"seq":4,"t":3,"type":"saved","iter'
    )
    story = read_story(journal)
    assert (story.iteration, story.torn, story.saves) == (2, True, [])
    assert story.problems == ["journal: line 3 follows 1"]
    from recaster_tui.protocol import write_losses
    from recaster_tui.protocol.losses import loss_rows

    write_losses(losses, loss_rows(1, [[0.5], [0.25]], 1.0))
    assert inspect_losses(losses, story) == []
    write_losses(losses, loss_rows(1, [[0.5], [0.75]], 1.0))
    assert inspect_losses(losses, story) != []


def test_reading_and_files_elsewhere_are_nobodys_business(tmp_path: Path) -> None:
    inside, seen = tmp_path / "inside", []
    inside.mkdir()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            Tap(inside, lambda op: bool(seen.append(op))).install()
            (tmp_path / "elsewhere").write_text("x")
            (inside / "a").write_text("ä\n")
            assert (inside / "a").read_text() == "ä\n"
            with (inside / "a").open("r+b") as file:
                file.seek(2)
                file.write(b"!")
            assert (inside / "a").read_bytes() == "ä!".encode()
            assert [op.kind for op in seen] == ["create", "write", "write"]
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

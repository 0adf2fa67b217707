"""``recaster queue`` in processes, with a trainer that has no model."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from cli_kit import Recaster

from recaster_tui.cli import entry
from recaster_tui.supervisor.queue import Queue


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"FAKE_STEP": "0.01"}  # slow enough to be seen running


def listed(recaster: Recaster) -> dict:
    done = recaster("queue", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def add(recaster: Recaster, workspace: Path, name: str, iterations: int = 30) -> dict:
    done = recaster(
        "queue", "add", workspace, "--config", "quick96", "--name", name,
        "--iterations", iterations, "--device", "cpu", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def until(recaster: Recaster, condition: Callable[[dict], bool], seconds: float = 60.0) -> dict:
    deadline = time.monotonic() + seconds
    while not condition(now := listed(recaster)):
        assert time.monotonic() < deadline, now
        time.sleep(0.2)
    return now


def test_a_queue_is_worked_off_in_the_order_that_was_given(
    recaster: Recaster, workspace: Path
) -> None:
    assert recaster("queue", "pause").returncode == 0
    for name in ("a", "b", "c"):
        assert add(recaster, workspace, name)["state"] == "waiting"
    moved = recaster("queue", "move", "c", 1)
    assert moved.stdout == "c is number 1\n", moved.stderr
    now = listed(recaster)
    assert [(e["model_name"], e["position"]) for e in now["entries"]] == [
        ("c", 1), ("a", 2), ("b", 3),
    ]  # fmt: skip
    assert recaster("queue").stdout.count("the queue is paused") == 4  # each row, and the last line
    assert now["paused"] and now["slots"] == {"cpu": 1} and now["problems"] == []
    assert not list((workspace / "runs").glob("*"))
    assert recaster("queue", "remove", "2").stdout == "a is off the queue\n"
    assert recaster("queue", "resume").returncode == 0  # starts the keeper
    now = until(recaster, lambda now: all(e["state"] == "done" for e in now["entries"]))
    done = sorted(now["entries"], key=lambda e: e["started"])
    assert [(e["model_name"], e["iteration"]) for e in done] == [("c", 30), ("b", 30)]
    table = recaster("queue").stdout
    assert done[0]["run_id"] in table and "30 it" in table
    assert recaster("queue", "clear").stdout == "2 entries removed\n"
    assert "the queue is empty" in recaster("queue", "list").stdout
    runs = json.loads(recaster("runs", "--json").stdout)
    assert {r["run_id"] for r in runs} == {e["run_id"] for e in done}


def test_a_killed_keeper_is_started_again_by_whatever_comes_next(
    recaster: Recaster, workspace: Path, tmp_path: Path
) -> None:
    add(recaster, workspace, "a", 300)
    add(recaster, workspace, "b", 5)
    until(recaster, lambda now: now["entries"][0]["state"] == "running")
    lock = tmp_path / "home" / "data" / "queue" / "lock"
    keeper = psutil.Process(int(lock.read_text()))
    keeper.kill()
    assert recaster("runs", "--json").returncode == 0  # not even a command of the queue
    now = until(recaster, lambda now: all(e["state"] == "done" for e in now["entries"]))
    assert {e["model_name"]: e["iteration"] for e in now["entries"]} == {"a": 300, "b": 5}
    assert len(list((workspace / "runs").iterdir())) == 2


def test_bad_input_says_what_to_do(
    workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RECASTER_HOME", str(tmp_path / "home"))
    endless = ("add", workspace, "--config", "quick96")
    for arguments, *said in (
        (endless, "needs an end", "--iterations"),
        (("remove", "nobody"), "the queue has no 'nobody'"),
        (("move", "nobody", 1), "the queue has no 'nobody'"),
        (("slots", "cpu", 0), "must be 1 to 16", "pause the queue"),
        (("add", workspace / "nowhere", "--config", "quick96"), "no such workspace"),
    ):
        assert entry.main(["queue", *map(str, arguments)]) == 2
        err = capsys.readouterr().err
        assert all(words in err for words in said), err
    assert entry.main(["queue", "slots", "cpu", "2"]) == 0
    assert capsys.readouterr().out == "cpu 2\n"
    assert not Queue(tmp_path / "home" / "data").entries()

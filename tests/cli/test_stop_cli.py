"""Ending and holding models by the command line: in processes, by output and exit codes."""

import fcntl
import json
import os
import time
from pathlib import Path

import pytest
from cli_kit import Recaster

from recaster_tui.checkpoints.lock import lock_model
from recaster_tui.checkpoints.snapshots import create_snapshot
from recaster_tui.protocol import decode_event
from recaster_tui.protocol.losses import loss_rows
from recaster_tui.training.generations import Snapshot, write_generation


def started(recaster: Recaster, workspace: Path, **more: str) -> str:
    done = recaster("train", workspace, "--config", "quick96", "--detach", **more)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[0]


def test_a_trainer_that_does_not_react_is_ended(recaster: Recaster, workspace: Path) -> None:
    run_id = started(recaster, workspace, FAKE_DEAF="1", FAKE_STUBBORN="1")
    begun = time.monotonic()
    done = recaster("stop", run_id, "--grace", "0.5")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 60
    assert "killed by SIGKILL: it had not reacted for 1 s" in done.stdout
    assert "saved nothing yet" in done.stdout
    assert "no answer within 0.5 s: SIGTERM" in done.stderr and "SIGKILL" in done.stderr
    record = json.loads(recaster("runs", "--json").stdout)[0]
    assert (record["run_id"], record["state"]) == (run_id, "stopped")
    assert record["message"].startswith("killed by SIGKILL")
    again = recaster("stop", run_id)
    assert again.returncode == 2 and "not running: it is stopped" in again.stderr


def test_one_that_is_deaf_but_knows_sigterm_saves(recaster: Recaster, workspace: Path) -> None:
    run_id = started(recaster, workspace, FAKE_DEAF="1")
    done = recaster("stop", run_id, "--grace", "0.5")
    assert done.returncode == 0 and ", saved at" in done.stdout and "SIGTERM" in done.stderr
    run_id = started(recaster, workspace, FAKE_DEAF="1")
    done = recaster("stop", run_id, "--force")
    assert done.returncode == 0 and ", saved at" in done.stdout
    run_id = started(recaster, workspace)
    done = recaster("stop", run_id, "--force", "--no-save")
    assert done.returncode == 0 and "killed by SIGKILL; " in done.stdout


@pytest.mark.parametrize(
    "more", [("--grace", "-1"), ("--grace", "1e9"), ("--force", "--no-wait"), ("--grace", "x")]
)
def test_bad_values_are_told(recaster: Recaster, workspace: Path, more: tuple[str, ...]) -> None:
    done = recaster("stop", "last", *more)
    assert done.returncode == 2 and "Traceback" not in done.stderr and done.stderr


@pytest.fixture
def model(workspace: Path) -> Path:
    import torch

    folder = workspace / "model" / "first.quick96"
    for iteration in (20, 50):
        weights = {"a/weight": torch.full((3, 5), float(iteration))}
        losses = loss_rows(1, [[0.5, 0.25]] * iteration, 10.0)
        state = {"trained_seconds": 2.0, "options": {}}
        write_generation(folder, Snapshot(iteration, weights, {}, state, losses))
        if iteration == 20:
            create_snapshot(folder, "twenty")
    return folder


def test_a_model_in_training_is_not_restored(
    recaster: Recaster, workspace: Path, model: Path
) -> None:
    lock = lock_model(model, "20261122T153000-quick96-3f2a")
    try:
        done = recaster("snapshot", "restore", workspace, "twenty")
    finally:
        lock.release()
    assert done.returncode == 3
    for word in (f"process {os.getpid()} on", "run 20261122T153000-quick96-3f2a", "started 2",
                 "stop that run first"):  # fmt: skip
        assert word in done.stderr
    assert (model / "CURRENT").read_text().startswith("000000050")
    # A second app at work is no trainer.
    lock = lock_model(model, "snapshot restore")
    try:
        done = recaster("snapshot", "create", workspace, "another")
    finally:
        lock.release()
    assert done.returncode == 3 and "in use by process" in done.stderr
    assert "snapshot restore" in done.stderr and "wait until" in done.stderr
    # Who only looks whether it is locked does not count as a holder.
    with (model / "lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        import threading

        threading.Timer(0.015, looking.close).start()
        lock_model(model, "x").release()


def test_restore_by_the_command_line_shows_in_the_run(
    recaster: Recaster, workspace: Path, model: Path
) -> None:
    train = ("train", workspace, "--config", "quick96", "--name", "first", "--iterations", 60)
    assert recaster(*train, FAKE_STEP="0.001").returncode == 0
    done = recaster("snapshot", "restore", workspace, "twenty", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    record = json.loads(recaster("runs", "--json", "--workspace", workspace).stdout)[0]
    assert told["run"] == record["run_id"] and told["kept"]["iteration"] == 50
    assert (record["iteration"], record["saved_iteration"], record["state"]) == (20, 20, "stopped")
    assert record["message"] == "restored to iteration 20"
    folder = workspace / "runs" / record["run_id"]
    assert (folder / "losses.bin").stat().st_size == 20 * 20
    last = decode_event((folder / "journal.jsonl").read_bytes().splitlines()[-1])
    assert (last.type, last.data["to_iteration"]) == ("restored", 20)
    # And the next start goes on from there (the fake one by its loss rows).
    done = recaster("resume", record["run_id"], "--attach", FAKE_STEP="0.001")
    assert "started again at iteration 2" in done.stdout, done.stdout + done.stderr
    kept = recaster("snapshot", "create", workspace, "again", "--from", "twenty", "--note", "x")
    assert kept.returncode == 0 and "kept iteration 20 as 'again'" in kept.stdout

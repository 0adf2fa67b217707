"""Two that want the same: models, run folders, histories; and workspaces that nobody may write."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

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
    trainer,
    wait_for,
    wait_until,
)

from recaster_tui.checkpoints.lock import ModelLockedError, lock_model
from recaster_tui.errors import EnvironmentProblem, ExitCode
from recaster_tui.options import ModelClass
from recaster_tui.protocol import read_run_spec
from recaster_tui.supervisor import RunRequest, Supervisor
from recaster_tui.supervisor.launcher import ProcessId
from recaster_tui.supervisor.local import LocalLauncher
from recaster_tui.supervisor.run import Run, write_process
from recaster_tui.supervisor.state import RunState
from recaster_tui.training.failures import describe
from recaster_tui.training.generations import load_model, write_generation
from recaster_tui.workspace import open_workspace

HOST = os.uname().nodename


def _started(process: "subprocess.Popen[bytes]") -> ProcessId:
    return ProcessId(process.pid, psutil.Process(process.pid).create_time(), HOST)


async def test_a_second_trainer_is_refused_with_who_holds_it_and_the_first_goes_on(
    tmp_path: Path,
) -> None:
    first = make_run(tmp_path, "run-1")
    other = make_run(tmp_path, "run-2")  # the same model from another run folder
    with trainer(first) as holder:
        at = wait_for(first, iterations)
        write_process(first, _started(holder))
        run = Run(first, read_run_spec(first.spec), LocalLauncher())
        await run.poll()
        with trainer(other) as second, trainer(first) as third:  # ... and from its own
            # Whoever started the third believes that it is the trainer of this run.
            write_process(first, _started(third))
            assert await asyncio.to_thread(second.wait, 60) == ExitCode.ENVIRONMENT
            assert await asyncio.to_thread(third.wait, 60) == ExitCode.ENVIRONMENT
        (error,) = of(journal(other), "error")
        assert error["code"] == "model-locked"
        assert f"process {holder.pid} on {HOST}" in error["message"]
        assert "run-1" in error["message"]
        assert error["hint"]
        assert "already running in this run folder" in first.log.read_text()
        fresh = Run(first, read_run_spec(first.spec), LocalLauncher())
        async with asyncio.timeout(20):  # the third is gone, which is not the end of the run
            while fresh.state is not RunState.TRAINING or run.state is not RunState.TRAINING:
                await run.poll()
                await fresh.poll()
                await asyncio.sleep(0.1)
        wait_for(first, lambda found: iterations(found) > at + 50)
        assert stop(first, holder) == 0
    assert numbered_whole(journal(first))
    with trainer(other) as second:  # and the lock is free
        wait_for(other, lambda found: iterations(found) > iterations(journal(first)))
        assert stop(other, second) == 0


def test_a_lock_says_who_even_where_its_text_is_damaged(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path;"
        "from recaster_tui.checkpoints.lock import lock_model;"
        "held = lock_model(Path(sys.argv[1]), 'run-9'); print('held', flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ModelLockedError, match=f"process {holder.pid} on .*run-9"):
            lock_model(tmp_path, "run-1")
        (tmp_path / "lock").write_bytes(b"\xff\0[")
        with pytest.raises(ModelLockedError, match="another process"):
            lock_model(tmp_path, "run-1")
        holder.kill()
    lock_model(tmp_path, "run-1").release()  # however it died


async def test_two_apps_follow_one_run_and_write_one_history(tmp_path: Path) -> None:
    (tmp_path / "data_src" / "aligned").mkdir(parents=True)
    folder = make_run(tmp_path, "20261101T000000-saehd-0001")
    workspace, home = open_workspace(tmp_path), tmp_path / "home"
    with trainer(folder) as process:
        wait_for(folder, iterations)
        write_process(folder, _started(process))
        async with Supervisor(home) as one, Supervisor(home) as two:
            for app in (one, two):
                await app.adopt(workspace)
            runs = [await app.attach(folder.run_id) for app in (one, two)]
            for number, run in enumerate(runs):
                ack = await run.command("set", key="learning_rate", value=1e-5 * (number + 1))
                assert ack.ok
            ends = await asyncio.gather(*(run.command("stop") for run in runs))
            assert all(end.ok for end in ends) or sum(end.ok for end in ends) == 1
            async with asyncio.timeout(60):
                while not all(run.state is RunState.STOPPED for run in runs):
                    await asyncio.sleep(0.05)
        assert runs[0].losses.tobytes() == runs[1].losses.tobytes()
        process.wait(timeout=60)
    async with Supervisor(home) as later:
        (record,) = later.records()
        assert (record.state, record.iteration) == (RunState.STOPPED, runs[0].iteration)
    assert not list((home / "history").glob(".*"))  # no half-written file


READ_ONLY = "ro,size=1m"


def test_a_model_is_read_from_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    """Read-only for a process of ours: a damaged model is loaded without a write."""
    write_generation(tmp_path / "model" / "test.saehd", small_model(1))
    newest = write_generation(tmp_path / "model" / "test.saehd", small_model(2))
    (newest.path / "weights.safetensors").write_bytes(b"")
    script = f"mount --bind {tmp_path} {tmp_path} && mount -o remount,ro,bind {tmp_path} && exec "
    code = (
        "import sys; from pathlib import Path;"
        "from recaster_tui.training.generations import load_model;"
        "print(load_model(Path(sys.argv[1])).generation.iteration)"
    )
    done = subprocess.run(
        [
            "unshare",
            "-Urm",
            "sh",
            "-c",
            script + '"$@"',
            "sh",
            sys.executable,
            "-c",
            code,
            str(tmp_path / "model" / "test.saehd"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("mounting in a namespace of our own is not allowed here")
    assert done.stdout.strip() == "1", done.stderr
    loaded = load_model(tmp_path / "model" / "test.saehd")
    assert loaded is not None
    assert loaded.generation.iteration == 1


async def test_a_read_only_workspace_is_refused_in_words_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = tmp_path / "workspace"
    for side in ("src", "dst"):
        faces = workspace / f"data_{side}" / "aligned"
        faces.mkdir(parents=True)
        (faces / "1.jpg").touch()

    real = Path.mkdir

    def refuse(path: Path, *args: object, **more: object) -> None:
        if path.is_relative_to(workspace):
            raise OSError(30, "Read-only file system", str(path))
        real(path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", refuse)
    before = fingerprint(workspace)
    async with Supervisor(tmp_path / "home") as supervisor:
        with pytest.raises(EnvironmentProblem, match="Read-only file system"):
            await supervisor.start(
                open_workspace(workspace), RunRequest(ModelClass.QUICK96, model_name="a")
            )
    assert fingerprint(workspace) == before


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (30, "the file system is read-only"),
        (13, "not allowed"),
        (28, "the disk is full"),
        (27, "the disk is full"),
        (122, "the disk is full"),
        (5, "the disk cannot be read or written"),
        (116, "the disk cannot be read or written"),
    ],
)
def test_what_a_disk_says_is_no_bug_of_ours(number: int, said: str) -> None:
    failure = describe(OSError(number, os.strerror(number), "/a/long/path/.tmp-000000005"))
    assert failure.message.startswith(said)
    assert "/a/long/path" not in failure.message
    assert failure.exit_code is ExitCode.ENVIRONMENT
    assert failure.hint


def test_a_trainer_whose_model_folder_is_read_only_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=8m") as disk:
        folder = make_run(disk.path)
        inside = disk.inside / "model"
        (disk.path / "model").mkdir()
        subprocess.run(
            [*disk.enter, "mount", "-t", "tmpfs", "-o", READ_ONLY, "none", str(inside)], check=True
        )
        with trainer(folder, disk=disk) as process:
            assert process.wait(timeout=60) == ExitCode.ENVIRONMENT
        (error,) = of(journal(folder), "error")
        assert (error["code"], error["fatal"]) == ("environment", True)
        assert "the file system is read-only" in error["message"]
        assert "must be writable" in error["hint"]
        assert of(journal(folder), "done")[-1]["outcome"] == "failed"


def test_a_disk_that_turns_read_only_stops_no_run(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=8m") as disk:
        folder = make_run(disk.path, options={"autosave_seconds": 5, "preview_seconds": 0})
        with trainer(folder, disk=disk) as process:
            wait_for(folder, iterations)
            # A file open for writing keeps a remount out: a disk of its own covers the model.
            model = disk.inside / "model"
            done = subprocess.run(
                [*disk.enter, "mount", "-t", "tmpfs", "-o", READ_ONLY, "none", str(model)]
            )
            assert done.returncode == 0
            before = len(of(journal(folder), "saved"))
            wait_for(
                folder,
                lambda found: [w for w in of(found, "warning") if w["code"] == "save-failed"],
            )
            (warning, *_) = list(of(journal(folder), "warning"))
            assert "the file system is read-only" in warning["message"]
            assert "training goes on" in warning["hint"]
            assert process.poll() is None
            subprocess.run([*disk.enter, "umount", str(model)], check=True)
            assert stop(folder, process) == 0
        found = journal(folder)
        assert len(of(found, "saved")) > before
        assert of(found, "done")[-1]["outcome"] == "stopped"
        wait_until(lambda: numbered_whole(journal(folder)))

"""The command line as its users meet it: in processes, by arguments, output and exit codes."""

import json
import signal
import subprocess
from pathlib import Path

import pytest
from cli_kit import FAKE, Recaster

from recaster_tui import __version__
from recaster_tui.cli import entry
from recaster_tui.cli.words import duration, size
from recaster_tui.protocol import decode_event


def test_train_goes_to_the_target_and_exits_0(recaster: Recaster, workspace: Path) -> None:
    done = recaster("train", workspace, "--config", "quick96", "--iterations", 30)
    assert done.returncode == 0, done.stderr
    assert "iteration 30/30" in done.stdout and "finished" in done.stdout
    assert "model/quick96.quick96" in done.stderr
    listed = json.loads(recaster("runs", "--json").stdout)
    assert [(r["state"], r["iteration"]) for r in listed] == [("finished", 30)]
    table = recaster("runs").stdout
    assert listed[0]["run_id"] in table and str(workspace) in table


def test_json_is_the_whole_journal_and_nothing_else(recaster: Recaster, workspace: Path) -> None:
    done = recaster(
        "train", workspace, "--config", "quick96", "--set", "batch_size=2", "--set=seed=7",
        "--name", "a b", "--iterations", 20, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    events = [decode_event(line) for line in done.stdout.splitlines()]
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert events[0].type == "hello" and events[-1].type == "done"
    record = json.loads(recaster("runs", "--json").stdout)[0]
    assert record["model_name"] == "a b"
    assert (record["options"]["batch_size"], record["options"]["seed"]) == (2, 7)
    again = recaster("attach", "last", "--json")
    assert again.stdout == done.stdout and again.returncode == 0


def test_a_run_obeys_other_processes(recaster: Recaster, workspace: Path) -> None:
    started = recaster("train", workspace, "--config", "quick96", "--detach")
    run_id = started.stdout.strip()
    assert started.returncode == 0 and (workspace / "runs" / run_id / "run.toml").exists()

    def state() -> str:
        return json.loads(recaster("runs", "--json").stdout)[0]["state"]

    assert recaster("pause", "last").returncode == 0
    assert state() == "paused"
    refused = recaster("train", workspace, "--config", "quick96")
    assert refused.returncode == 2 and "already being trained" in refused.stderr
    assert recaster("save", run_id[:15]).returncode == 0
    assert recaster("backup", run_id[-4:], "--note", "before").returncode == 0
    gone_on = recaster("resume", workspace / "runs" / run_id)
    assert gone_on.returncode == 0 and "goes on at iteration" in gone_on.stdout
    assert state() == "training"
    stopped = recaster("stop", "last")
    assert stopped.returncode == 0 and f"{run_id} stopped at" in stopped.stdout
    assert recaster("pause", "last").returncode == 2
    resumed = recaster("resume", "last")
    assert resumed.returncode == 0 and "started again at iteration" in resumed.stdout
    assert state() in ("starting", "training")
    assert recaster("stop", "last", "--no-wait").returncode == 0
    kinds = {json.loads(x)["type"] for x in recaster("attach", "--json").stdout.splitlines()}
    assert {"saved", "backup", "ack", "done"} <= kinds


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_and_saves(
    environment: dict[str, str], workspace: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [*FAKE, "train", str(workspace), "--config", "quick96"],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("training"):
            break
    process.send_signal(number)
    rest = process.stdout.read()
    assert process.wait(30) == 130
    assert "stopping" in rest and "stopped" in rest


def test_killing_the_watcher_leaves_the_trainer(
    recaster: Recaster, environment: dict[str, str], workspace: Path
) -> None:
    process = subprocess.Popen(
        [*FAKE, "train", str(workspace), "--config", "quick96"],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("training"):
            break
    process.kill()
    process.wait()
    attached = subprocess.Popen(
        [*FAKE, "attach"], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert attached.stdout is not None
    assert attached.stdout.readline().startswith("training")
    attached.send_signal(signal.SIGINT)
    assert "the run goes on" in attached.stdout.read()
    assert attached.wait(30) == 0
    assert recaster("stop", "last").returncode == 0


@pytest.mark.parametrize(
    ("trouble", "code", "text"),
    [
        ({"FAKE_CRASH": "no flux"}, 1, "no flux"),
        ({"FAKE_FATAL": "too few faces", "FAKE_CODE": "too-few-faces"}, 2, "too few faces"),
        ({"FAKE_FATAL": "no memory", "FAKE_CODE": "oom"}, 3, "no memory"),
        ({"FAKE_FATAL": "bad hash", "FAKE_CODE": "damaged"}, 4, "bad hash"),
    ],
)
def test_a_failed_run_fails_the_command(
    recaster: Recaster, workspace: Path, trouble: dict[str, str], code: int, text: str
) -> None:
    done = recaster("train", workspace, "--config", "quick96", **trouble)
    assert done.returncode == code
    assert done.stderr.count("error: ") == 1 and text in done.stderr
    if "FAKE_FATAL" in trouble:
        assert (done.stdout + done.stderr).count(text) == 1
    assert "trainer.log" in done.stderr and "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["train", "nowhere", "--config", "quick96"], 2, "no such workspace"),
        (["train", "ws", "--config", "quick69"], 2, "did you mean quick96"),
        (["train", "ws"], 2, "--config"),
        (["train", "ws", "--config", "quick96", "--set", "batch_sise=3"], 2, "batch_size"),
        (["train", "ws", "--config", "quick96", "--set", "batch_size=0"], 2, "batch_size"),
        (["train", "ws", "--config", "quick96", "--set", "batch_size"], 2, "batch_size"),
        (["train", "ws", "--config", "quick96", "--name", "a_b"], 2, "'a-b'"),
        (["train", "ws", "--config", "quick96", "--iterations", "-3"], 2, "below 0"),
        (["train", "file.txt", "--config", "quick96"], 2, "is a file, not"),
        (["train", "empty", "--config", "quick96"], 2, "no source faces"),
        (["rusn"], 2, "did you mean: recaster runs"),
        (["frobnicate"], 2, "no command or folder called 'frobnicate'"),
        (["some/where"], 2, "no such workspace"),
        (["stop", "nothing"], 2, "no run 'nothing'"),
        (["options", "mve"], 2, "quick96"),
        (["runs", "--nonsense"], 2, "--nonsense"),
        (["ws"], 3, "needs a terminal"),
    ],
)
def test_bad_input_is_told_without_a_traceback(
    recaster: Recaster, workspace: Path, arguments: list[str], code: int, text: str
) -> None:
    (workspace.parent / "file.txt").touch()
    (workspace.parent / "empty" / "data_src" / "aligned").mkdir(parents=True)
    done = recaster(*arguments)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: ") and text in done.stderr
    assert "hint: " in done.stderr and "Traceback" not in done.stderr
    assert not (workspace / "runs").exists()


def test_a_bug_goes_to_the_log_file(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("RECASTER_HOME", str(tmp_path))

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr("recaster_tui.cli.options.show_options", broken)
    assert entry.main(["options", "saehd"]) == 1
    complaint = capsys.readouterr().err
    log = tmp_path / "log" / "recaster.log"
    assert str(log) in complaint and "Traceback" not in complaint
    assert "ZeroDivisionError: on purpose" in log.read_text()


def test_options_and_version_answer(recaster: Recaster) -> None:
    assert recaster("--version").stdout.strip() == __version__
    rows = json.loads(recaster("options", "saehd", "--json").stdout)["options"]
    assert {"resolution", "batch_size", "gan_power"} <= {row["key"] for row in rows}
    assert recaster("options", "amp", "--markdown").stdout.startswith("## AMP")


def test_a_closed_pipe_is_no_error(environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [*FAKE, "options", "saehd"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(30) == 0


def test_words() -> None:
    assert [duration(s) for s in (0, 59.6, 200, 7500, 273_600)] == [
        "0s", "1m00s", "3m20s", "2h05m", "3d04h",
    ]  # fmt: skip
    assert [size(n) for n in (999, 1_500_000, 2e12)] == ["999 B", "1.5 MB", "2.0 TB"]

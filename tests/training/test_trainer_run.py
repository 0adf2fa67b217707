"""The whole trainer on the fake model: what a watcher sees in the run folder."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from trainer_fakes import (
    FakeData,
    FakeModel,
    events,
    losses_told,
    make_run,
    model_folder,
    of,
    tell,
)

from recaster_tui.errors import ExitCode
from recaster_tui.protocol import (
    Event,
    RunFolder,
    decode_event,
    read_losses,
    read_run_spec,
    write_run_spec,
)
from recaster_tui.training import generations, last_save, process
from recaster_tui.training.generations import load_model
from recaster_tui.training.start import start


@pytest.fixture(autouse=True)
def no_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = SimpleNamespace(folder=Path(), faces=[None] * 9, skipped=[])
    monkeypatch.setattr(process, "load_faces", lambda *_: {"src": faces, "dst": faces})


def train(folder: RunFolder, **more: Any) -> ExitCode:
    return start(folder.root, **({"build_model": FakeModel, "open_data": FakeData} | more))


def wait_for(folder: RunFolder, wanted: Callable[[list[Event]], bool]) -> list[Event]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if folder.journal.exists():
            raw = folder.journal.read_bytes()
            found = [decode_event(x) for x in raw[: raw.rfind(b"\n") + 1].splitlines()]
            if wanted(found):
                return found
        time.sleep(0.01)
    raise AssertionError(f"not seen; the journal says\n{folder.journal.read_text()[-3000:]}")


def ack(found: list[Event], id_: str) -> dict[str, Any] | None:
    return next((a for a in of(found, "ack") if a["id"] == id_), None)


def ask(folder: RunFolder, name: str, id_: str, **args: Any) -> dict[str, Any]:
    tell(folder, name, id_, **args)
    answer = ack(wait_for(folder, lambda found: ack(found, id_) is not None), id_)
    assert answer is not None
    return answer


@contextmanager
def training(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ExitCode]]:
    """The trainer in a thread, with the first iteration done; it must end within the block."""
    monkeypatch.setenv("FAKE_STEP", "0.002")
    codes: list[ExitCode] = []
    old = len(events(folder)) if folder.journal.exists() else 0
    thread = threading.Thread(target=lambda: codes.append(train(folder)))
    thread.start()
    try:
        wait_for(folder, lambda found: bool(of(found[old:], "iterations")))
        yield codes
    finally:
        tell(folder, "stop", "end of test", save=False)
        thread.join(30)
        assert not thread.is_alive()


def test_a_run_to_its_target_and_a_resumed_one_give_one_and_the_same_curve(tmp_path: Path) -> None:
    whole = make_run(tmp_path / "whole", target_iterations=60)
    assert train(whole) == ExitCode.OK
    found = events(whole)
    assert [e.type for e in found][:2] == ["phase", "hello"]
    assert of(found, "done") == [
        {
            "outcome": "finished",
            "iteration": 60,
            "saved": 60,
            "message": "reached iteration 60",
        }
    ]
    assert [s["iteration"] for s in of(found, "saved")] == [1, 60]
    told = list(losses_told(found))
    assert [i for i, _ in told] == list(range(1, 61))
    rows = read_losses(whole.losses)
    np.testing.assert_allclose(rows["src"], [v for _, v in told], atol=1e-6)
    for preview in of(found, "preview"):
        for view in preview["views"]:
            assert cv2.imread(str(whole.root / view["file"])) is not None

    first = make_run(tmp_path / "parts", "run-1", target_iterations=25)
    second = make_run(tmp_path / "parts", "run-2", target_iterations=60)
    assert train(first) == train(second) == ExitCode.OK
    (hello,) = of(events(second), "hello")
    assert (hello["resumed"], hello["iteration"]) == (True, 25)
    parts = read_losses(second.losses)
    np.testing.assert_array_equal(parts["iteration"], rows["iteration"])
    np.testing.assert_array_equal(parts["src"], rows["src"])  # optimizer state included

    before = (model_folder(second) / "CURRENT").read_text()
    assert train(second) == ExitCode.OK  # already there: shown, not trained, not saved
    assert of(events(second), "done")[-1]["outcome"] == "finished"
    assert (model_folder(second) / "CURRENT").read_text() == before


def test_every_command_is_obeyed_and_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path)
    with training(folder, monkeypatch) as codes:
        at = ask(folder, "pause", "p1")
        assert at["ok"]
        previews = len(of(wait_for(folder, bool), "preview"))
        assert ask(folder, "preview", "v")["ok"]
        saved = ask(folder, "save", "s")
        assert saved["ok"]
        assert ask(folder, "backup", "b", note="hello")["ok"]
        assert ask(folder, "snapshot", "n", snapshot="before GAN", note="why")["ok"]
        again = ask(folder, "snapshot", "n2", snapshot="before gan")
        assert not again["ok"] and "already" in again["message"]
        found = wait_for(folder, bool)
        assert len(of(found, "preview")) == previews + 1
        iterations = [i for i, _ in losses_told(found)]
        assert saved["message"].startswith(f"iteration {iterations[-1]} ")
        assert at["message"] == f"paused at iteration {iterations[-1]}"  # nothing trained since
        assert of(found, "backup")[0]["note"] == "hello"
        (kept,) = of(found, "snapshot")
        assert (kept["name"], kept["note"]) == ("before GAN", "why")
        assert load_model(tmp_path / "model" / model_folder(folder).name) is not None
        assert (tmp_path / kept["folder"] / "manifest.json").exists()
        assert (tmp_path / of(found, "backup")[0]["folder"] / "manifest.json").exists()

        assert ask(folder, "set", "o1", key="learning_rate", value="1e-4")["ok"]
        for id_, key, value in (
            ("o2", "resolution", 64),
            ("o3", "learning_rate", -1),
            ("o4", "lerning_rate", 1),
        ):
            answer = ask(folder, "set", id_, key=key, value=value)
            assert not answer["ok"]
            assert key in answer["message"]
        assert not ask(folder, "dance", "d")["ok"]
        assert ask(folder, "resume", "r")["ok"]
        more = len(iterations)
        wait_for(folder, lambda found: len(list(losses_told(found))) > more)
        assert ask(folder, "stop", "x")["ok"]
        wait_for(folder, lambda found: bool(of(found, "done")))
    assert codes == [ExitCode.OK]
    found = events(folder)
    assert [o["key"] for o in of(found, "option")] == ["learning_rate"]
    phases = [p["phase"] for p in of(found, "phase")]
    assert phases.index("paused") < len(phases) - 1 - phases[::-1].index("training")
    (done,) = of(found, "done")
    assert (done["outcome"], done["saved"]) == ("stopped", done["iteration"])
    loaded = load_model(model_folder(folder))
    assert loaded is not None
    assert loaded.generation.iteration == done["iteration"]
    assert loaded.snapshot.state["live"] == {"learning_rate": 1e-4}

    # The same run again: the change made while it ran still holds.
    with training(folder, monkeypatch):
        pass
    assert load_model(model_folder(folder)).snapshot.state["options"]["learning_rate"] == 1e-4  # type: ignore[union-attr]
    assert events(folder)[-1].type == "done"


def test_a_second_trainer_is_refused_and_told_by_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path, "run-1")
    other = make_run(tmp_path, "run-2")
    with training(folder, monkeypatch):
        assert train(other) == ExitCode.ENVIRONMENT
        assert train(folder) == ExitCode.ENVIRONMENT
    found = events(other)
    (error,) = of(found, "error")
    assert (error["code"], error["fatal"]) == ("model-locked", True)
    assert f"process {os.getpid()}" in error["message"]
    assert of(found, "done")[0]["outcome"] == "failed"
    assert not of(events(folder), "error")  # the refused one left this journal alone


def test_nan_goes_back_to_the_last_good_save_and_a_second_one_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NAN", "20")
    folder = make_run(tmp_path, "run-1", target_iterations=40)
    assert train(folder) == ExitCode.OK
    found = events(folder)
    (back,) = of(found, "rolled-back")
    assert (back["why"], back["onset"], back["to_iteration"]) == ("nan", 20, 1)
    (option,) = of(found, "option")
    assert option == {"key": "learning_rate", "value": 2.5e-5, "iteration": 1}
    rows = read_losses(folder.losses)
    assert rows["iteration"].tolist() == list(range(1, 41))
    assert np.isfinite(rows["src"]).all()
    assert any(loss is None for _, loss in losses_told(found))

    monkeypatch.setenv("FAKE_STEP", "0.01")  # so that the two are not read together
    monkeypatch.setenv("FAKE_NAN", "5,60")
    folder = make_run(tmp_path, "run-2", target_iterations=10_000)
    assert train(folder) == ExitCode.FAILED
    found = events(folder)
    assert len(of(found, "rolled-back")) == 1
    assert of(found, "error")[0]["code"] == "non-finite"
    assert load_model(model_folder(folder)).generation.iteration == 40  # type: ignore[union-attr]


def test_out_of_memory_goes_on_in_pieces_and_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_OOM", "5")
    monkeypatch.setenv("FAKE_TORN", "20")
    folder = make_run(tmp_path, "run-1", target_iterations=30)
    assert train(folder) == ExitCode.OK
    found = events(folder)
    first, second = (w for w in of(found, "warning") if w["code"] == "memory")
    assert "iteration 5" in first["message"] and "2 pieces" in first["message"]
    assert "4 pieces" in second["message"]
    # Weights changed in part are thrown away; the learning rate is not to blame.
    (back,) = of(found, "rolled-back")
    assert (back["why"], back["to_iteration"]) == ("oom", 1)
    assert not of(found, "option")
    rows = read_losses(folder.losses)
    assert rows["iteration"].tolist() == list(range(1, 31)) and rows["src"].max() <= 1.0

    monkeypatch.setenv("FAKE_OOM", "3")
    monkeypatch.delenv("FAKE_TORN")
    spec = read_run_spec(folder.spec)
    write_run_spec(folder.spec, spec.model_copy(update={"target_iterations": 40}))
    assert train(folder) == ExitCode.OK
    warnings = [w for w in of(events(folder), "warning") if w["code"] == "memory"]
    assert "8 pieces" in warnings[-1]["message"]  # it went on from four


def test_locked_options_bad_options_and_a_stop_while_loading(tmp_path: Path) -> None:
    assert train(make_run(tmp_path, "run-1", target_iterations=2)) == ExitCode.OK
    locked = make_run(tmp_path, "run-2", options={"resolution": 64})
    assert train(locked) == ExitCode.BAD_INPUT
    (error,) = of(events(locked), "error")
    assert error["code"] == "bad-options"
    assert "resolution is 128 in the model and 64 in the run" in error["message"]

    unknown = make_run(tmp_path, "run-3", options={"resolutoin": 64})
    assert train(unknown) == ExitCode.BAD_INPUT
    assert "resolution" in of(events(unknown), "error")[0]["message"]

    loading = make_run(tmp_path, "run-4")

    def open_data(*_: Any, progress: Callable[[int, int], None], **__: Any) -> FakeData:
        tell(loading, "save", "s")
        tell(loading, "stop", "x")
        progress(1, 1)
        raise AssertionError("it went on")

    assert train(loading, open_data=open_data) == ExitCode.OK
    found = events(loading)
    assert of(found, "done")[0]["outcome"] == "stopped"
    assert [(a["id"], a["ok"]) for a in of(found, "ack")] == [("x", True), ("s", False)]


def test_a_crash_is_told_with_its_place_and_a_full_disk_at_the_end_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FakeModel):
        def train_step(self, batch: Any) -> Any:
            if self.steps == 3:
                raise ZeroDivisionError("oops")
            return super().train_step(batch)

    folder = make_run(tmp_path, "run-1")
    assert train(folder, build_model=Broken) == ExitCode.FAILED
    (error,) = of(events(folder), "error")
    assert (error["code"], error["message"]) == ("internal", "ZeroDivisionError: oops")
    assert of(events(folder), "done")[0]["iteration"] == 3
    assert "Traceback" in caplog.text

    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = make_run(tmp_path, "run-2", target_iterations=9)
    monkeypatch.setattr(generations, "write_hashed", full)
    monkeypatch.setattr(last_save, "ROOM_SECONDS", 0.0)
    assert train(folder) == ExitCode.ENVIRONMENT
    found = events(folder)
    assert [w["code"] for w in of(found, "warning")] == ["disk-full"]
    assert of(found, "error")[0]["code"] == "disk-full"
    assert of(found, "done")[0]["saved"] == 1


def launch(folder: RunFolder) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("fake_trainer.py")
    with folder.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(script), str(folder.root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | {"FAKE_STEP": "0.002"},
        )


def test_kill_9_costs_only_what_was_not_saved_and_sigterm_saves(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    trainer = launch(folder)
    wait_for(folder, lambda found: bool(of(found, "iterations")))
    trainer.send_signal(signal.SIGHUP)  # the terminal goes away: no reason to end
    assert ask(folder, "save", "s")["ok"]
    tell(folder, "save", "s2")  # killed somewhere around this save
    trainer.kill()
    trainer.wait()
    tell(folder, "stop", "late")  # meant for the dead one
    loaded = load_model(model_folder(folder))
    assert loaded is not None
    assert loaded.damaged == ()

    trainer = launch(folder)
    wait_for(folder, lambda found: len(of(found, "hello")) == 2 and found[-1].type == "iterations")
    trainer.send_signal(signal.SIGTERM)
    assert trainer.wait(30) == 0
    found = events(folder)
    hello = of(found, "hello")[1]
    assert hello["iteration"] >= int(of(found, "saved")[1]["iteration"])
    assert ack(found, "late") is not None
    assert not ack(found, "late")["ok"]  # type: ignore[index]
    (done,) = of(found, "done")
    assert (done["outcome"], done["saved"]) == ("stopped", done["iteration"])
    assert done["message"] == "stopped by SIGTERM"
    rows = read_losses(folder.losses)
    assert rows["iteration"].tolist() == list(range(1, done["iteration"] + 1))
    fresh = [i for i, _ in losses_told(found)]
    assert fresh[-1] == done["iteration"]
    assert hello["iteration"] + 1 in fresh

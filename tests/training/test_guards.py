"""Guards: what counts as trouble, and what a trainer then does and says."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from trainer_fakes import FakeData, FakeModel, events, make_run, model_folder, of, tell

from recaster_tui.bench.faults.inject import KINDS, Faults, Moment
from recaster_tui.bench.faults.trainer import main as faulty_trainer
from recaster_tui.errors import ExitCode
from recaster_tui.options import ModelClass, defaults
from recaster_tui.protocol import RunFolder
from recaster_tui.protocol.losses import loss_rows
from recaster_tui.supervisor.facts import Facts
from recaster_tui.training import output_guard, process
from recaster_tui.training.failures import NonFiniteError
from recaster_tui.training.generations import load_model
from recaster_tui.training.guards import MINIMUM, SETTLE, SpikeGuard, Trouble
from recaster_tui.training.models import build_model
from recaster_tui.training.models.base import Batch, SideBatch, StepResult
from recaster_tui.training.models.quick96 import Quick96Model
from recaster_tui.training.output_guard import OutputGuard, look
from recaster_tui.training.rollback import half_rate
from recaster_tui.training.saver import Saver
from recaster_tui.training.start import start
from recaster_tui.training.watch import Watch

# -- the loss --------------------------------------------------------------------------------


def feed(
    guard: SpikeGuard, losses: np.ndarray, *, first: int = 1, step: int = 10, dst: float = 0.5
) -> Trouble | None:
    for begin in range(0, len(losses), step):
        rows = [[v, v * dst] for v in losses[begin : begin + step]]
        if (trouble := guard.add(loss_rows(first + begin, rows, 1.0))) is not None:
            return trouble
    return None


def usual(count: int, seed: int = 1) -> np.ndarray:
    """A loss as a young model's: falling, and uneven."""
    rng = np.random.default_rng(seed)
    return 3.0 * np.exp(-np.arange(count) / 900) * rng.lognormal(0, 0.25, count) + 0.3


def test_only_a_loss_that_stays_up_is_a_spike() -> None:
    falling = usual(3000)
    outliers = falling.copy()
    outliers[::97] *= 40
    short = falling.copy()
    short[2000:2030] *= 10
    assert feed(SpikeGuard(), falling) is None
    assert feed(SpikeGuard(), outliers) is None
    assert feed(SpikeGuard(), short) is None

    collapsed = falling.copy()
    collapsed[2000:] = 5.0  # iteration 2001
    trouble = feed(SpikeGuard(), collapsed)
    assert trouble is not None
    assert trouble.why == "spike"
    assert 1990 <= trouble.onset <= 2001
    assert "source loss jumped from 0." in trouble.message
    assert "to 5 and stayed up" in trouble.message


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(0, 399), st.integers(1, 120))
def test_a_save_from_after_a_sudden_spike_is_never_gone_back_to(
    seed: int, after: int, step: int
) -> None:
    losses = usual(1600 + after, seed)
    onset = 1200 + after
    losses[onset - 1 :] *= 8
    trouble = feed(SpikeGuard(), losses, step=step)
    assert trouble is not None
    assert onset - 60 <= trouble.onset <= onset


def test_one_side_alone_is_enough_and_the_ratio_is_an_option() -> None:
    losses = usual(2400)
    high = losses.copy()
    high[2000:] *= 4
    assert feed(SpikeGuard(ratio=8), high) is None
    guard = SpikeGuard()
    rows = [[a, b] for a, b in zip(losses, high, strict=True)]
    found = [guard.add(loss_rows(1 + i, rows[i : i + 10], 1.0)) for i in range(0, 2400, 10)]
    (trouble, *_) = [t for t in found if t is not None]
    assert trouble.message.startswith("the destination loss jumped")
    off = SpikeGuard()
    off.on = False
    assert feed(off, high) is None


def test_a_bad_loss_makes_saves_wait_from_the_first_iteration() -> None:
    guard = SpikeGuard()
    assert feed(guard, usual(1000)) is None
    assert not guard.suspicious
    guard.add(loss_rows(1001, [[30.0, 15.0]], 1.0))
    assert guard.suspicious
    guard.add(loss_rows(1002, [[0.5, 0.2]], 1.0))
    assert not guard.suspicious


class Plain:
    """All a :class:`Watch` wants of a model that cannot show anything."""

    loss_names = ("src", "dst")


def watch(*, iteration: int = 0, **options: Any) -> Watch:
    values = defaults(ModelClass.SAEHD).changed(**options)
    return Watch(values, Plain(), FakeData().preview_batch, iteration=iteration)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "key", ["gan_power", "true_face_power", "face_style_power", "retrain_worst", "random_warp"]
)
def test_a_switch_may_raise_the_loss_and_a_spike_after_it_is_one_again(key: str) -> None:
    low, high = usual(1500), usual(6000) + 12
    guards = watch()
    feed(guards.losses, low)
    guards.configure(defaults(ModelClass.SAEHD), key)
    # It climbs for a while, as with a GAN that learns to see the difference.
    climb = np.linspace(0.4, 12.3, SETTLE)
    assert feed(guards.losses, np.concatenate((climb, high)), first=1501) is None
    spike = np.concatenate((climb, high[: MINIMUM + 600], high[:300] * 4))
    other = watch()
    feed(other.losses, low)
    other.configure(defaults(ModelClass.SAEHD), key)
    assert feed(other.losses, spike, first=1501) is not None


def test_options_that_cannot_change_a_loss_do_not_make_the_guard_forget() -> None:
    losses = usual(2400)
    losses[2000:] *= 8
    guards = watch()
    feed(guards.losses, losses[:1990])
    guards.configure(defaults(ModelClass.SAEHD), "autosave_seconds")
    guards.configure(defaults(ModelClass.SAEHD), "guard_spike_ratio")
    assert feed(guards.losses, losses[1990:], first=1991) is not None


def test_a_resumed_run_starts_calm() -> None:
    """The rows that come first may be of other options, or other faces, than before."""
    losses = usual(1000)
    losses[SETTLE:] *= 8
    assert feed(watch(iteration=5000).losses, losses, first=5001) is None


def test_the_worst_faces_trained_again_are_left_out() -> None:
    # Far more of them than there are, so that leaving them out is what keeps it quiet.
    losses = usual(2000)
    for i in range(1500, 2000):
        if i % 3:
            losses[i] *= 9
    noticed = SpikeGuard()
    assert feed(noticed, losses) is not None
    guard = SpikeGuard()
    for i in range(1500, 2000):
        if i % 3:
            guard.leave_out(i + 1)
    assert feed(guard, losses) is None


# -- the pictures ----------------------------------------------------------------------------


def faces(level: float = 0.5, spread: float = 0.2, n: int = 2, size: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(3)
    image = (torch.randn(n, 3, size, size, generator=generator) * spread + level).clamp(0, 1)
    mask = (image[:, :1] > level).float()
    side = SideBatch(image, image, mask, mask, mask, torch.arange(n))
    return Batch(side, side)


class Drawing:
    """A model that draws its targets, as far as it has learnt to, or one colour."""

    loss_names = ("src", "dst")

    def __init__(self) -> None:
        self.skill, self.colour, self.looks = 0.0, 0.5, 0
        self.dead: set[str] = set()

    def infer(self, src: Tensor, dst: Tensor) -> dict[str, Tensor]:
        self.looks += 1
        out = {"src_src": src, "dst_dst": dst, "src_dst": dst}
        return {
            k: torch.full_like(v, self.colour)
            if k in self.dead
            else v * self.skill + (1 - self.skill) * 0.5
            for k, v in out.items()
        }


def guard_of(batch: Batch) -> OutputGuard:
    ticks = itertools.count()
    return OutputGuard(lambda _: batch, 0, clock=lambda: next(ticks) * 1e-3)


def looks(
    guard: OutputGuard, model: Any, iterations: range, change: Callable[[int], None] | None = None
) -> Trouble | None:
    for iteration in iterations:
        if change is not None:
            change(iteration)
        if guard.due(iteration) and (found := guard.judge(model, iteration)) is not None:
            return found
    return None


def test_a_young_model_is_no_trouble_and_black_pictures_are() -> None:
    model, guard = Drawing(), guard_of(faces())

    def learn(iteration: int) -> None:
        model.skill = iteration / 4000

    assert looks(guard, model, range(1, 4000), learn) is None
    assert guard.alive == {"src", "dst", "swap"}
    model.dead, model.colour = {"src_src", "src_dst"}, 0.0
    trouble = looks(guard, model, range(4000, 6000))
    assert trouble is not None
    assert trouble.why == "output"
    assert trouble.message == "the rebuilt source faces and the swapped faces are all black"
    assert 3500 <= trouble.onset <= 4000
    assert guard.suspicious


def test_a_single_bad_look_is_not_enough() -> None:
    model, guard = Drawing(), guard_of(faces())
    model.skill = 1.0
    assert looks(guard, model, range(1, 1000)) is None
    model.dead = {"dst_dst"}
    looks_before = model.looks

    def mend(_: int) -> None:
        if model.looks > looks_before:
            model.dead = set()

    assert looks(guard, model, range(1000, 3000), mend) is None
    assert not guard.suspicious


def test_dark_faces_are_no_trouble_and_their_loss_is_not_judged() -> None:
    model, guard = Drawing(), guard_of(faces(level=0.03, spread=0.01))
    model.skill = 1.0
    assert looks(guard, model, range(1, 2000)) is None
    model.dead, model.colour = {"src_src", "dst_dst", "src_dst"}, 0.03
    assert looks(guard, model, range(2000, 4000)) is None


def test_what_was_drawn_before_is_remembered_over_a_resume() -> None:
    model = Drawing()
    model.dead, model.colour = {"dst_dst"}, 1.0
    fresh = guard_of(faces())
    assert looks(fresh, model, range(1, 2000)) is None
    ticks = itertools.count()
    resumed = OutputGuard(
        lambda _: faces(), 900, ["src", "dst", "swap"], clock=lambda: next(ticks) * 1e-3
    )
    model.skill = 1.0
    assert not resumed.passes(model)  # type: ignore[arg-type]
    trouble = looks(resumed, model, range(901, 3000))
    assert trouble is not None
    assert "all white" in trouble.message


class Masks:
    """XSeg, as the guard sees it."""

    loss_names = ("mask",)
    needs = SimpleNamespace(segmented=True)

    def __init__(self) -> None:
        self.value: float | None = None

    def infer(self, images: Tensor) -> Tensor:
        truth = (images[:, :1] > 0.5).float()
        return truth if self.value is None else torch.full_like(truth, self.value)


@pytest.mark.parametrize(("value", "word"), [(0.0, "empty"), (1.0, "full")])
def test_masks_empty_or_full_while_labels_are_not(value: float, word: str) -> None:
    model, guard = Masks(), guard_of(faces())
    assert looks(guard, model, range(1, 500)) is None
    model.value = value
    trouble = looks(guard, model, range(500, 1500))
    assert trouble is not None
    assert trouble.message == f"the masks are {word}"
    blank = faces()
    blank.src.mask.fill_(value)
    blank.dst.mask.fill_(value)
    rightly = guard_of(blank)
    rightly.alive = {"mask"}
    assert looks(rightly, model, range(1, 1000)) is None


def test_looking_takes_its_share_of_the_time_and_no_more() -> None:
    now = 0.0

    class Slow(Drawing):
        def infer(self, src: Tensor, dst: Tensor) -> dict[str, Tensor]:
            nonlocal now
            now += 0.1  # a look; an iteration takes 0.2 s
            return super().infer(src, dst)

    model, guard = Slow(), OutputGuard(lambda _: faces(), 0, clock=lambda: now)
    model.skill = 1.0
    for iteration in range(1, 5001):
        now += 0.2
        for saving in (False, iteration % 150 == 0):
            if guard.due(iteration, saving=saving):
                guard.judge(model, iteration)  # type: ignore[arg-type]
    assert model.looks > 10
    assert guard.seconds < 0.005 * now


def test_a_look_without_memory_says_nothing_of_a_save() -> None:
    class Full(FakeModel):
        def infer(self, *_: Any) -> Any:
            raise RuntimeError("CUDA out of memory")

    guard = OutputGuard(lambda n: faces(n=n), 0, ("src",))
    assert guard.passes(Full())


# -- the whole trainer -----------------------------------------------------------------------


@pytest.fixture
def no_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    some = SimpleNamespace(folder=Path(), faces=[None] * 9, skipped=[])
    monkeypatch.setattr(process, "load_faces", lambda *_: {"src": some, "dst": some})


@pytest.fixture
def free_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every 50 iterations, however long it takes: these iterations take no time at all."""
    for share in ("SHARE", "SAVE_SHARE", "ALL_SHARE"):
        monkeypatch.setattr(output_guard, share, 1e9)


class Faces(FakeData):
    """Pictures that have a spread."""

    def preview_batch(self, n: int) -> Batch:
        return faces(n=n)


class DrawingModel(FakeModel):
    """Draws its targets until step ``DIES``, from where on a weight of its says black."""

    dies: int | None = None
    skilled = True

    def train_step(self, batch: Batch) -> Any:
        result = super().train_step(batch)
        if self.steps == self.dies:
            with torch.no_grad():
                self.network.bias.fill_(100.0)
        return result

    def infer(self, src: Tensor, dst: Tensor) -> dict[str, Tensor]:
        black = 0.0 if float(self.network.bias.detach().max()) > 50 else 1.0
        return {"src_src": src * black, "dst_dst": dst, "src_dst": src * black}


class NoSpikes(DrawingModel):
    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()
        self.seconds = 0.002


def trained(folder: RunFolder, **model: Any) -> ExitCode:
    kind = type("Model", (NoSpikes,), model)
    return start(folder.root, build_model=kind, open_data=Faces)


@pytest.mark.usefixtures("no_faces", "free_looks")
def test_black_pictures_go_back_and_a_second_time_ends_the_run(tmp_path: Path) -> None:
    options = {"autosave_seconds": 5, "learning_rate": 1e-4, "guard_spikes": False}
    folder = make_run(tmp_path, options=options, target_iterations=400)
    assert trained(folder, dies=200) == ExitCode.OK
    found = events(folder)
    (back,) = of(found, "rolled-back")
    assert (back["why"], back["to_iteration"], back["learning_rate"]) == ("output", 1, 5e-5)
    assert back["onset"] <= 200 < back["from_iteration"] <= 300
    assert back["message"] == "the rebuilt source faces and the swapped faces are all black"
    assert [(o["key"], o["value"]) for o in of(found, "option")] == [("learning_rate", 5e-5)]
    loaded = load_model(model_folder(folder))
    assert loaded is not None
    assert loaded.generation.iteration == 400
    assert float(loaded.snapshot.weights["line/bias"].max()) < 50

    # It dies again at once, whatever the rate: three rollbacks are allowed, the fourth is the end.
    class Again(NoSpikes):
        def train_step(self, batch: Batch) -> Any:
            result = super().train_step(batch)
            if self.steps >= 120:
                with torch.no_grad():
                    self.network.bias.fill_(100.0)
            return result

    folder = make_run(tmp_path, "run-2", options=options | {"guard_rollbacks": 3})
    assert start(folder.root, build_model=Again, open_data=Faces) == ExitCode.FAILED
    found = events(folder)
    assert [b["to_iteration"] for b in of(found, "rolled-back")] == [400] * 3
    (error,) = of(found, "error")
    assert error["code"] == "non-finite"
    assert "again after going back to 400 (3 times in a row)" in error["message"]
    assert "learning rate" in error["hint"]
    loaded = load_model(model_folder(folder))
    assert loaded is not None
    assert loaded.generation.iteration == 400


@pytest.mark.usefixtures("no_faces", "free_looks")
def test_a_save_of_dead_pictures_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for by hand in the worst moment, it is there; a backup is what helps."""
    monkeypatch.setattr("recaster_tui.training.saver.mark_good", lambda *_: None)  # none is kept
    options = {"autosave_seconds": 3600, "guard_spikes": False}

    class Saved(NoSpikes):
        folder: Any = None

        def train_step(self, batch: Batch) -> Any:
            result = super().train_step(batch)
            if self.steps == 60:
                tell(self.folder, "backup", "b", note="good")
            if self.steps == 120:
                with torch.no_grad():
                    self.network.bias.fill_(100.0)
            if self.steps in (121, 122):
                tell(self.folder, "save", f"s{self.steps}")
            return result

    folder = Saved.folder = make_run(tmp_path, options=options, target_iterations=300)
    assert start(folder.root, build_model=Saved, open_data=Faces) == ExitCode.OK
    found = events(folder)
    assert {a["id"] for a in of(found, "ack") if a["ok"]} == {"b", "s121", "s122"}
    (back,) = of(found, "rolled-back")
    (backup,) = of(found, "backup")
    assert back["to_iteration"] == backup["iteration"] < 120
    assert back["save"].startswith("backups/")
    # What is current on disk is good again at once, not with the next autosave.
    following = found[[e.type for e in found].index("rolled-back") :]
    assert of(following, "saved")[0]["iteration"] == back["to_iteration"]


@pytest.mark.usefixtures("no_faces")
def test_a_spike_goes_back_to_before_it_and_no_autosave_slips_in(tmp_path: Path) -> None:
    class Spiking(FakeModel):
        def __init__(self, *_: Any, **__: Any) -> None:
            super().__init__()
            self.seconds = 0.001

        def train_step(self, batch: Batch) -> Any:
            result = super().train_step(batch)
            if self.steps < 900:
                return result
            if self.steps in (900, 1000):  # an autosave would be due now
                self.saver_is_due()
            return replace(result, losses=result.losses * 1e6 + 1)

        @staticmethod
        def saver_is_due() -> None:
            Saver.due = lambda *_: True  # type: ignore[method-assign]

    due = Saver.due
    try:
        options = {"autosave_seconds": 3600, "guard_rollbacks": 0}
        folder = make_run(tmp_path, options=options)
        code = start(folder.root, build_model=Spiking, open_data=FakeData)
    finally:
        Saver.due = due  # type: ignore[method-assign]
    assert code == ExitCode.FAILED
    found = events(folder)
    assert not of(found, "rolled-back")
    (error,) = of(found, "error")
    assert "loss jumped from" in error["message"]
    assert all(saved["iteration"] < 900 for saved in of(found, "saved"))


@pytest.mark.usefixtures("no_faces")
def test_weights_that_are_nan_at_a_save_are_told_and_the_next_iteration_goes_back(
    tmp_path: Path,
) -> None:
    class Overflow(FakeModel):
        def train_step(self, batch: Batch) -> Any:
            if float(self.network.bias.detach().sum()) != float(self.network.bias.detach().sum()):
                nan = torch.full((2,), float("nan"))
                return StepResult(nan, nan.expand(2, 2), torch.tensor(False))
            result = super().train_step(batch)
            if self.steps == 50:  # the loss was finite, the update was not
                with torch.no_grad():
                    self.network.bias[0] = float("nan")
                tell(folder, "save", "s")
            return result

    folder = make_run(tmp_path, target_iterations=80)
    assert start(folder.root, build_model=Overflow, open_data=FakeData) == ExitCode.OK
    found = events(folder)
    (answer,) = of(found, "ack")
    assert not answer["ok"]
    assert "NaN" in answer["message"]
    (warning,) = of(found, "warning")
    assert "iteration 50 could not be saved: a model with NaN" in warning["message"]
    (back,) = of(found, "rolled-back")
    assert (back["why"], back["onset"], back["to_iteration"]) == ("nan", 51, 1)
    assert of(found, "done")[0]["saved"] == 80


@pytest.mark.usefixtures("no_faces")
def test_nan_that_no_loss_shows_goes_back_when_it_cannot_be_saved_a_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hidden(FakeModel):
        """Of the optimizer's state, say; the losses stay as they are."""

        poisoned = False

        def train_step(self, batch: Batch) -> Any:
            if self.steps == 50:
                self.poisoned = True
                tell(folder, "save", "s")
            return super().train_step(batch)

        def state(self) -> Any:
            state = super().state()
            if self.poisoned:
                state["optimizer"]["0/more"] = torch.tensor([float("inf")])
            return state

        def load_state(self, weights: Any, optimizer: Any) -> None:
            super().load_state(weights, optimizer)
            self.poisoned = False

    folder = make_run(tmp_path, options={"autosave_seconds": 3600}, target_iterations=80)
    begin = Saver.start

    def begin_and_wait(saver: Saver, *args: Any, **more: Any) -> None:
        begin(saver, *args, **more)
        saver.wait()

    def due(saver: Saver, _: float) -> bool:
        return isinstance(saver.error, NonFiniteError)

    monkeypatch.setattr(Saver, "start", begin_and_wait)
    monkeypatch.setattr(Saver, "due", due)
    assert start(folder.root, build_model=Hidden, open_data=FakeData) == ExitCode.OK
    found = events(folder)
    (back,) = of(found, "rolled-back")
    assert (back["why"], back["onset"], back["to_iteration"]) == ("nan", 2, 1)
    assert "0/more" in back["message"]
    assert of(found, "done")[0]["saved"] == 80


SHARED = Path(os.environ.get("RECASTER_SHARED", Path(__file__).parents[3] / "shared"))
GOLDEN_FACES = SHARED / "goldens" / "faceset"
SMALL: dict[str, Any] = {
    "resolution": 64,
    "autoencoder_dims": 32,
    "encoder_dims": 16,
    "decoder_dims": 16,
    "mask_decoder_dims": 16,
    "batch_size": 2,
    "precision": "float32",
    "autosave_seconds": 5,
    "preview_seconds": 0,
    "held_out_percent": 0.0,
}


def with_faults(
    workspace: Path, run_id: str, faults: dict[str, Any], **spec: Any
) -> tuple[RunFolder, int]:
    """A real run of a small model by the real command, with faults in it."""
    if not GOLDEN_FACES.is_dir():
        pytest.skip(f"no goldens at {GOLDEN_FACES} (set RECASTER_SHARED)")
    for side in ("src", "dst"):
        target = workspace / f"data_{side}" / "aligned"
        if not target.exists():
            shutil.copytree(GOLDEN_FACES / side / "aligned", target)
    folder = make_run(
        workspace, run_id, src="data_src/aligned", dst="data_dst/aligned",
        options=SMALL | spec.pop("options", {}), **spec,
    )  # fmt: skip
    command = [sys.executable, "-P", "-m", "recaster_tui.bench.faults.trainer", str(folder.root)]
    environment = os.environ | {"RECASTER_FAULTS": json.dumps(faults), "OMP_NUM_THREADS": "1"}
    with folder.log.open("ab") as log:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, check=False
        )
    return folder, done.returncode


def test_nan_in_a_real_trainer_it_trains_again_from_the_last_good_save(tmp_path: Path) -> None:
    folder, code = with_faults(tmp_path, "run-1", {"nan": 12, "oom": 4}, target_iterations=16)
    assert code == ExitCode.OK, folder.log.read_text()
    found = [e for e in events(folder) if e.type in {"rolled-back", "iterations", "saved"}]
    kinds = [e.type for e in found]
    back = kinds.index("rolled-back")
    data = found[back].data
    assert (data["why"], data["onset"]) == ("nan", 12)
    good = [e.data["iteration"] for e in found[:back] if e.type == "saved"]
    assert data["to_iteration"] == good[-1] < 12
    again = next(e for e in found[back:] if e.type == "iterations")
    assert again.data["first"] == good[-1] + 1
    assert None not in again.data["rows"][0]
    (memory,) = of(events(folder), "warning")
    assert "iteration 4" in memory["message"]
    # What the screen makes of it.
    facts = Facts()
    for event in events(folder):
        facts.apply(event, folder.root)
    (marker,) = [m for m in facts.markers if m.kind == "rolled-back"]
    assert marker.iteration == good[-1]
    assert marker.text.endswith(": the loss became NaN or infinite")
    assert [n.message for n in facts.notices][-1].startswith(
        "the loss became NaN or infinite: back"
    )
    assert facts.options["learning_rate"] == pytest.approx(data["learning_rate"])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (ModelClass.SAEHD, {"architecture": "df-ud"}),
        (ModelClass.SAEHD, {"architecture": "liae-t"}),
        (ModelClass.AMP, {"inter_dims": 32}),
        (ModelClass.XSEG, {}),
    ],
)
def test_every_class_is_looked_at_and_black_is_seen(
    kind: ModelClass, options: dict[str, Any]
) -> None:
    small = {k: v for k, v in SMALL.items() if k in type(defaults(kind)).model_fields}
    values = defaults(kind).changed(**(small | options))
    model = build_model(kind, values, torch.device("cpu"), seed=1)
    size = model.needs.resolution
    batch = faces(n=1, size=size)
    with torch.no_grad():  # so that it draws something, if nothing like a face
        for network in model.networks.values():
            for name, parameter in network.named_parameters():
                if "out_conv" in name and parameter.ndim == 4:
                    parameter.mul_(5000)
    before = torch.get_rng_state()
    alive = look(model, batch)
    assert torch.equal(torch.get_rng_state(), before)
    assert set(alive) == ({"mask"} if kind is ModelClass.XSEG else {"src", "dst", "swap"})
    assert all(one.ratio is not None and one.ratio > 0.1 for one in alive.values())
    faults = Faults()
    KINDS["black"](faults, 7)
    faults.before(Moment(6, None, model))  # type: ignore[arg-type]
    assert look(model, batch) == alive
    faults.before(Moment(7, None, model))  # type: ignore[arg-type]
    for one in look(model, batch).values():
        assert one.ratio is not None
        assert one.ratio < 1e-3
        assert one.mean < 1e-3


@pytest.mark.parametrize(
    ("faults", "words"),
    [("{", "cannot be read"), ('{"fire": 3}', "unknown kind"), ('{"nan": "x"}', "nan = 'x'")],
)
def test_faults_that_are_none_are_refused(
    faults: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("RECASTER_FAULTS", faults)
    assert faulty_trainer([str(tmp_path)]) == ExitCode.BAD_INPUT
    assert words in capsys.readouterr().err


def test_a_fixed_learning_rate_is_halved_and_stays_so() -> None:
    values = defaults(ModelClass.QUICK96)
    model = Quick96Model(values, torch.device("cpu"), seed=1)
    assert half_rate(values, model) == pytest.approx(1e-4)
    model.set_option("random_src_flip", True)  # which sets up the optimizer again
    (optimizer,) = model.optimizers.values()
    assert optimizer.learning_rate == pytest.approx(1e-4)

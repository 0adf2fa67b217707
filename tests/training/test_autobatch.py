"""The automatic batch size: what is tried, what is found, and that nothing else has happened."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor
from trainer_fakes import FakeData, FakeModel, events, make_run, model_folder, of, tell

from recaster_tui.cli.model_move import load_ours
from recaster_tui.cli.model_store import find_ours
from recaster_tui.errors import ExitCode
from recaster_tui.interop.remarks import Remarks
from recaster_tui.options import ModelClass, SaehdOptions, TrainingOptions, defaults
from recaster_tui.protocol import RunFolder, read_run_spec, write_run_spec
from recaster_tui.supervisor.facts import Facts
from recaster_tui.training import memory as memory_module
from recaster_tui.training import probe, process
from recaster_tui.training.failures import StopRequested, TornUpdateError, is_out_of_memory
from recaster_tui.training.generations import load_model
from recaster_tui.training.journal import JournalWriter
from recaster_tui.training.memory import HostMemory, host_room
from recaster_tui.training.models import build_model
from recaster_tui.training.models.base import Batch, DataNeeds, SideBatch, StepResult
from recaster_tui.training.models.engine import Model
from recaster_tui.training.probe import AutoBatch, Found, conditions, find_batch_size, worst_case
from recaster_tui.training.session import open_session
from recaster_tui.training.start import start

CPU = torch.device("cpu")
SIZES = [1, 2, 4, 8, 12, 16]
TINY: dict[str, Any] = {
    "resolution": 64,
    "architecture": "liae",
    "autoencoder_dims": 32,
    "encoder_dims": 16,
    "decoder_dims": 16,
    "mask_decoder_dims": 16,
    "precision": "float32",
    "batch_size": "auto",
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# -- the search ---------------------------------------------------------------------------------


class Machine:
    """Model, data, memory and clock in one: a step of n faces takes what the functions say."""

    deadly = False
    limit = 10**9

    def __init__(
        self,
        seconds: Callable[[int], float] = lambda n: 1.0 + 0.01 * n,
        bytes_: Callable[[int], int] = lambda n: n,
        trouble: Callable[["Machine"], None] = lambda _: None,
    ) -> None:
        self.seconds, self.bytes, self.trouble = seconds, bytes_, trouble
        self.now, self.size, self.pieces, self.most = 0.0, 0, 1, 0
        self.needs = DataNeeds(8, "full", 1)
        self.tried: list[int] = []
        self.steps = 0

    def set_option(self, key: str, value: int) -> None:
        assert key == "batch_size"
        self.size = value
        self.needs = replace(self.needs, batch_size=value)

    def set_needs(self, needs: DataNeeds) -> None:
        assert needs.batch_size == self.size

    def wants_batch(self) -> bool:
        return True

    def next_batch(self) -> Any:
        return SimpleNamespace()

    def train_step(self, _: Any) -> StepResult:
        self.steps += 1
        self.now += self.seconds(self.size)
        self.most = max(self.most, self.bytes(self.size))
        self.trouble(self)
        return StepResult(torch.zeros(2), torch.zeros(1, 2), torch.tensor(True))

    def restart(self) -> int:
        self.most = 0
        return self.bytes(0)

    def peak(self) -> int:
        return self.most

    def find(self, check: Callable[[], None] = lambda: None) -> Found:
        made: Any = self
        return find_batch_size(
            made,
            made,
            SIZES,
            made,
            tell=lambda size, place: self.tried.append(size) if SIZES[place] == size else None,
            check=check,
            clock=lambda: self.now,
        )


def too_large(error: Exception) -> Callable[[Machine], None]:
    def trouble(machine: Machine) -> None:
        if machine.size > 8:
            raise error

    return trouble


def in_pieces(machine: Machine) -> None:
    machine.pieces = 2 if machine.size > 8 else 1


@pytest.mark.parametrize(
    "trouble",
    [
        too_large(torch.OutOfMemoryError("CUDA out of memory")),
        too_large(RuntimeError("DefaultCPUAllocator: can't allocate memory")),
        too_large(MemoryError()),
        too_large(TornUpdateError("out of memory")),
        in_pieces,
    ],
)
def test_memory_that_fails_ends_the_growth(trouble: Callable[[Machine], None]) -> None:
    machine = Machine(trouble=trouble)
    assert machine.find() == Found(8, "memory")
    assert machine.tried == [1, 2, 4, 8, 12]


def test_other_trouble_is_not_mistaken_for_memory() -> None:
    with pytest.raises(ValueError, match="bug"):
        Machine(trouble=too_large(ValueError("a bug"))).find()


@pytest.mark.parametrize("deadly", [False, True])
def test_a_safe_share_is_kept_and_a_deadly_size_never_tried(deadly: bool) -> None:
    machine = Machine(bytes_=lambda n: 500 + 50 * n)
    machine.limit, machine.deadly = 1000, deadly  # 8 need 900, 12 need 1100
    assert machine.find() == Found(8, "memory")
    assert machine.tried == ([1, 2, 4, 8] if deadly else [1, 2, 4, 8, 12])


def test_no_more_speed_ends_the_growth_but_not_below_a_steady_size() -> None:
    assert Machine(seconds=lambda n: 0.5 * n).find() == Found(4, "speed")
    assert Machine(seconds=lambda n: 1.0 + 0.1 * max(0, n - 8)).find() == Found(12, "speed")
    assert Machine().find() == Found(16, "limit")
    # One slow iteration (the machine did something else) is no measure.
    ticks = iter(range(10_000))
    assert Machine(seconds=lambda n: 0.1 if next(ticks) % 6 != 3 else 9.0).find().number == 16


def test_a_slow_machine_is_not_kept_busy() -> None:
    machine = Machine(seconds=lambda n: 20.0 + n / 100)
    assert machine.find() == Found(4, "time")
    assert machine.steps == 2 + 2 + 3


def test_a_stop_is_obeyed_between_two_steps() -> None:
    machine = Machine()

    def check() -> None:
        if machine.steps == 5:
            raise StopRequested("now")

    with pytest.raises(StopRequested):
        machine.find(check)
    assert machine.steps == 5


# -- what it depends on -------------------------------------------------------------------------


def test_worst_case_and_what_makes_a_number_void() -> None:
    usual = defaults("saehd")
    worst = worst_case(usual.changed(architecture="df-ud", gan_power=2.0))
    assert isinstance(worst, SaehdOptions)
    assert worst.gan_power == 2.0 and worst.true_face_power and worst.face_style_power
    assert worst.background_style_power and worst.background_power
    assert not worst_case(usual).true_face_power  # type: ignore[attr-defined]  # liae has none
    # A patch size that suits no GAN of this resolution cannot be switched on.
    odd = usual.changed(gan_patch_size=78, resolution=144, architecture="df")
    assert not worst_case(odd).gan_power  # type: ignore[attr-defined]
    assert worst_case(defaults("xseg")) == defaults("xseg")

    mine = conditions("run", CPU, usual)
    for same in ({"gan_power": 0.3}, {"seed": 3}, {"learning_rate": 1e-4}, {"batch_size": "auto"}):
        assert conditions("run", CPU, usual.changed(**same)) == mine, same
    for other in ({"gan_dims": 32}, {"resolution": 160}, {"eyes_priority": True}):
        assert conditions("run", CPU, usual.changed(**other)) != mine, other
    assert conditions("other", CPU, usual) != mine


@pytest.mark.parametrize("kind", list(ModelClass))
def test_sizes_lie_within_the_option(kind: ModelClass) -> None:
    small = probe.sizes_for(defaults(kind), CPU)
    large = probe.sizes_for(defaults(kind), torch.device("cuda"))
    assert small[-1] == 8 and large[-1] == (16 if kind is ModelClass.XSEG else 32)
    assert large[0] == small[0] == (2 if kind is ModelClass.XSEG else 1)


# -- nothing has happened -----------------------------------------------------------------------


class Pictures:
    """Random faces; every batch follows from its number alone, as with the real source."""

    def __init__(self, needs: DataNeeds) -> None:
        self.needs, self.number = needs, 0
        self.skipped: dict[str, list[Any]] = {"src": [], "dst": []}

    def next_batch(self) -> Batch:
        self.number += 1
        return self.preview_batch(self.needs.batch_size)

    def preview_batch(self, n: int) -> Batch:
        generator = torch.Generator().manual_seed(self.number)
        side = self.needs.resolution

        def face() -> SideBatch:
            def picture(channels: int) -> Tensor:
                small = torch.rand(n, channels, 8, 8, generator=generator)
                return torch.nn.functional.interpolate(small, (side, side))

            mask = (picture(1) > 0.4).float()
            return SideBatch(picture(3), picture(3), mask, mask, mask, torch.arange(n))

        return Batch(face(), face())

    def set_needs(self, needs: DataNeeds) -> None:
        self.needs = needs

    def state_dict(self) -> dict[str, Any]:
        return {"number": self.number}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.number = state["number"]

    def close(self) -> None: ...


def parts(folder: RunFolder, **options: Any) -> tuple[Model, Pictures, AutoBatch, Any]:
    chosen = defaults("saehd").changed(**(TINY | options))

    def build(o: TrainingOptions) -> Any:
        return build_model(ModelClass.SAEHD, o, CPU, seed=3)

    model = build(chosen.changed(batch_size=3))
    journal = JournalWriter(folder.journal)
    return (
        model,
        Pictures(model.needs),
        AutoBatch(open_session(folder.root), CPU, journal, build, {}),
        chosen,
    )


def everything(model: Model) -> dict[str, Tensor]:
    state = model.state()
    return {f"{part}/{k}": v.clone() for part, each in state.items() for k, v in each.items()}


def test_probing_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, optimizer, generators and faces go on bit by bit as without it."""
    monkeypatch.setattr(probe, "MOST_ELSEWHERE", 2)
    monkeypatch.setattr(probe, "REPEATS", 1)
    values = {"gan_power": 0.1, "gan_dims": 4, "gan_noise": 0.1, "learning_rate_dropout": "on"}
    model, data, auto, options = parts(make_run(tmp_path / "a"), **values)
    plain, plain_data, _, _ = parts(make_run(tmp_path / "b"), **values)
    for made, source in ((model, data), (plain, plain_data)):
        made.train_step(source.next_batch())
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    shared = (random.random(), np.random.rand(), float(torch.rand(())))
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)

    found = auto.find(model, data, options, check=lambda: None, iteration=1)  # type: ignore[arg-type]
    assert found == 2 and model.needs.batch_size == data.needs.batch_size == 2
    assert (random.random(), np.random.rand(), float(torch.rand(()))) == shared
    assert set(model.networks) == set(plain.networks) and model.pieces == 1

    plain.set_option("batch_size", 2)
    plain_data.set_needs(plain.needs)
    for _ in range(2):
        want, got = everything(plain), everything(model)
        assert want.keys() == got.keys()
        assert all(torch.equal(want[key], got[key]) for key in want)
        a, b = plain.train_step(plain_data.next_batch()), model.train_step(data.next_batch())
        assert torch.equal(a.per_sample, b.per_sample)
    assert auto.remembered(options) == 2
    assert auto.remembered(options.changed(resolution=96)) is None


def test_no_room_even_for_the_trial_model_is_the_smallest_size(tmp_path: Path) -> None:
    model, data, _, options = parts(make_run(tmp_path))
    journal: Any = SimpleNamespace(emit=lambda *_, **__: 0)

    def build(error: Exception) -> Callable[[TrainingOptions], Any]:
        def fail(_: TrainingOptions) -> Any:
            raise error

        return fail

    def found(error: Exception) -> int:
        session = open_session(tmp_path / "runs" / "run-1")
        auto = AutoBatch(session, CPU, journal, build(error), {})
        return auto.find(model, data, options, check=lambda: None, iteration=0)  # type: ignore[arg-type]

    assert found(RuntimeError("CUDA out of memory")) == 1
    with pytest.raises(ValueError, match="a bug"):
        found(ValueError("a bug"))


def test_a_probe_that_is_stopped_leaves_no_trace_either(tmp_path: Path) -> None:
    model, data, auto, options = parts(make_run(tmp_path))
    before, calls = everything(model), iter(range(100))

    def check() -> None:
        if next(calls) == 3:
            raise StopRequested("now")

    with pytest.raises(StopRequested):
        auto.find(model, data, options, check=check, iteration=0)  # type: ignore[arg-type]
    after = everything(model)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert data.number == 0 and data.needs == model.needs and not auto.state()


# -- the trainer --------------------------------------------------------------------------------


class AutoModel(FakeModel):
    """The fake model with a batch size; above :attr:`fits` faces it needs pieces."""

    fits = 4
    built: ClassVar[list["AutoModel"]] = []

    def __init__(self, _: Any, options: TrainingOptions, **more: Any) -> None:
        super().__init__()
        assert isinstance(options.batch_size, int)
        self.needs = replace(self.needs, batch_size=options.batch_size)
        self.built.append(self)

    def set_option(self, key: str, value: Any) -> None:
        if key == "batch_size":
            self.needs = replace(self.needs, batch_size=value)

    def away(self) -> AbstractContextManager[None]:
        return nullcontext()

    def train_step(self, batch: Batch) -> StepResult:
        if self.needs.batch_size > self.fits * self.pieces:
            self.pieces *= 2
        return super().train_step(batch)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[[RunFolder], ExitCode]:
    faces = SimpleNamespace(folder=Path(), faces=[None] * 9, skipped=[])
    monkeypatch.setattr(process, "load_faces", lambda *_: {"src": faces, "dst": faces})
    monkeypatch.setattr(AutoModel, "built", [])
    return lambda folder: start(folder.root, build_model=AutoModel, open_data=FakeData)


def go_on(folder: RunFolder, target: int, **options: Any) -> None:
    """Let the same run begin again, with another target."""
    spec = read_run_spec(folder.spec)
    changes = {"target_iterations": target, "options": {**spec.options, **options}}
    write_run_spec(folder.spec, spec.model_copy(update=changes))


def phases(folder: RunFolder) -> list[str]:
    return [p["phase"] for p in of(events(folder), "phase")]


def test_a_run_finds_its_batch_size_once(
    tmp_path: Path, trained: Callable[[RunFolder], ExitCode]
) -> None:
    folder = make_run(tmp_path, target_iterations=10, options={"batch_size": "auto"})
    assert trained(folder) == ExitCode.OK
    found = events(folder)
    (option,) = of(found, "option")
    assert option == {
        "key": "batch_size", "value": 4, "iteration": 0, "auto": True, "why": "memory",
    }  # fmt: skip
    order = [p["phase"] for p in of(found, "phase")]
    assert order.index("probing-batch") < order.index("training")
    tried = [p for p in of(found, "progress") if p["what"] == "batch size"]
    assert [p["text"] for p in tried] == [f"batch size: trying {n}" for n in (1, 2, 4, 8)]
    assert {p["total"] for p in tried} == {4}
    assert AutoModel.built[0].needs.batch_size == 4 and AutoModel.built[0].steps == 10
    facts = Facts(options={"batch_size": "auto"})
    for event in found:
        facts.apply(event, folder.root)
    assert facts.batch_found == 4 and facts.options["batch_size"] == "auto"
    assert any(mark.text == "batch_size = auto (4)" for mark in facts.markers)

    # The run still asks for auto; the model remembers what that is.
    assert read_run_spec(folder.spec).options["batch_size"] == "auto"
    saved = load_model(model_folder(folder))
    assert saved is not None and saved.snapshot.state["options"]["batch_size"] == "auto"
    assert probe.found_number(saved.snapshot.state) == 4

    # DeepFaceLab's files have numbers only: they get the one in use.
    (entry,) = find_ours(tmp_path / "model")
    plain, _ = load_ours(entry, Remarks())
    assert plain.options.batch_size == 4

    go_on(folder, 20, gan_power=0.1)
    assert trained(folder) == ExitCode.OK
    assert phases(folder).count("probing-batch") == 1
    assert AutoModel.built[-1].needs.batch_size == 4
    go_on(folder, 30, gan_dims=32)  # takes memory
    assert trained(folder) == ExitCode.OK
    assert phases(folder).count("probing-batch") == 2
    other = make_run(tmp_path, "run-2", target_iterations=40, options={"batch_size": "auto"})
    assert trained(other) == ExitCode.OK
    assert "probing-batch" in phases(other)


def test_memory_that_runs_out_later_is_met_with_pieces_as_ever(
    tmp_path: Path, trained: Callable[[RunFolder], ExitCode], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path, target_iterations=5, options={"batch_size": "auto"})
    assert trained(folder) == ExitCode.OK
    monkeypatch.setattr(AutoModel, "fits", 2)  # another program has come
    go_on(folder, 10)
    assert trained(folder) == ExitCode.OK
    (warning,) = (w for w in of(events(folder), "warning") if w["code"] == "memory")
    assert "iteration 6" in warning["message"] and "2 pieces" in warning["message"]
    assert AutoModel.built[-1].needs.batch_size == 4
    saved = load_model(model_folder(folder))
    assert saved is not None and saved.snapshot.state["pieces"] == 2
    # Found anew, it is one that fits whole.
    go_on(folder, 15, gan_dims=32)
    assert trained(folder) == ExitCode.OK
    saved = load_model(model_folder(folder))
    assert saved is not None and saved.snapshot.state["pieces"] == 1
    assert probe.found_number(saved.snapshot.state) == 2


def test_a_stop_while_probing_ends_the_run(
    tmp_path: Path, trained: Callable[[RunFolder], ExitCode], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path, options={"batch_size": "auto"})
    stepped = FakeModel.train_step

    def step(self: FakeModel, batch: Batch) -> StepResult:
        tell(folder, "stop", "1") if self.steps == 2 else None
        return stepped(self, batch)

    monkeypatch.setattr(FakeModel, "train_step", step)
    assert trained(folder) == ExitCode.OK
    found = events(folder)
    assert of(found, "ack")[0]["ok"] and of(found, "done")[0]["outcome"] == "stopped"
    assert not of(found, "option") and not of(found, "iterations")
    assert AutoModel.built[1].steps == 3


def test_auto_may_be_chosen_and_left_while_training(
    tmp_path: Path, trained: Callable[[RunFolder], ExitCode], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path, options={"batch_size": 2})
    emit = JournalWriter.emit

    def watched(self: JournalWriter, kind: str, **data: Any) -> Any:
        written = emit(self, kind, **data)
        if kind == "iterations" and data["first"] == 1:
            tell(folder, "set", "auto", key="batch_size", value="auto")
        elif kind == "option" and data.get("auto") and data["why"] != "remembered":
            tell(folder, "set", "number", key="batch_size", value=3)
        elif kind == "ack" and data["id"] == "number":
            tell(folder, "set", "again", key="batch_size", value="auto")
        elif kind == "ack" and data["id"] == "again":
            tell(folder, "stop", "end")
        return written

    monkeypatch.setattr(JournalWriter, "emit", watched)
    assert trained(folder) == ExitCode.OK
    found = events(folder)
    assert all(a["ok"] for a in of(found, "ack"))
    options = [(o["value"], o.get("why", "")) for o in of(found, "option")]
    assert options == [("auto", ""), (4, "memory"), (3, ""), ("auto", ""), (4, "remembered")]
    first, *_ = AutoModel.built
    assert first.needs.batch_size == 4 and len(AutoModel.built) == 2  # probed once
    order = phases(folder)
    at = order.index("probing-batch")
    assert order[at - 1] == order[at + 1] == "training"
    saved = load_model(model_folder(folder))
    assert saved is not None and saved.snapshot.state["live"] == {"batch_size": "auto"}
    assert len(json.dumps(saved.snapshot.state["data"]))


# -- memory -------------------------------------------------------------------------------------


def test_the_peak_of_the_host_is_seen_and_forgotten() -> None:
    memory = HostMemory()
    assert memory.restart() < memory.limit < psutil.virtual_memory().total + memory.restart()
    before = memory.peak()
    block = np.ones(100 << 20, np.uint8)
    del block
    assert memory.peak() >= before + (90 << 20)
    if memory_module.PROC.exists():
        memory.restart()
        assert memory.peak() < before + (50 << 20)


def test_cgroups_and_limits_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text("0::/user/session\n")
    inner = groups / "user" / "session"
    inner.mkdir(parents=True)
    for folder, most in ((inner, "max"), (inner.parent, "5000")):
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text("3000\n")
        (folder / "memory.stat").write_text("anon 2000\ninactive_file 700\n")
    monkeypatch.setattr(memory_module, "PROC", proc)
    monkeypatch.setattr(memory_module, "CGROUPS", groups)
    assert host_room() == 5000 - 3000 + 700
    old = groups / "memory"
    old.mkdir()
    (old / "memory.limit_in_bytes").write_text("900")
    (old / "memory.usage_in_bytes").write_text("400")
    (old / "memory.stat").write_text("total_inactive_file 100")
    # In a container the group's own path is not to be seen, its limit stands at the top.
    (proc / "self/cgroup").write_text("9:cpu:/x\n4:memory:/docker/abc\n")
    assert host_room() == 900 - 400 + 100
    (old / "memory.usage_in_bytes").write_text("2000")
    assert host_room() == 0
    (proc / "self/cgroup").unlink()
    monkeypatch.setattr(memory_module.resource, "getrlimit", lambda _: (0, 0))
    assert host_room() == 0


# -- out of memory, for real --------------------------------------------------------------------

_STARVED = """
import ctypes, gc, resource, sys
import torch
import test_models as kit

def taken():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmData:"))

torch.set_num_threads(1)
libc = ctypes.CDLL(None)
libc.mallopt(-3, 1 << 16)  # M_MMAP_THRESHOLD: what is freed is given back
faces = kit.batch(count=32)
whole = kit.model()
wanted = whole.train_step(faces)
for room in (128, 96, 64, 48):
    cut = kit.model()
    gc.collect()
    libc.malloc_trim(0)
    free = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_DATA, (taken() + (room << 20), free[1]))
    found = cut.train_step(faces)
    resource.setrlimit(resource.RLIMIT_DATA, free)
    if cut.pieces > 1:
        assert torch.allclose(found.per_sample, wanted.per_sample, rtol=1e-3)
        ours = kit.weights(cut)
        for name, weight in kit.weights(whole).items():
            assert torch.allclose(ours[name], weight, atol=2e-4), name
        print("pieces", cut.pieces)
        sys.exit()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits are Linux's")
def test_a_process_that_runs_out_of_memory_works_the_same_batch_in_pieces() -> None:
    kit = Path(__file__).parents[1] / "nets"
    ran = subprocess.run(
        [sys.executable, "-c", _STARVED],
        env=os.environ | {"PYTHONPATH": str(kit)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.startswith("pieces"), "the limit was never met"


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, memory: bool) -> None:
    assert is_out_of_memory(error) is memory


def test_no_room_for_a_batch_or_a_preview_does_not_end_the_run(
    tmp_path: Path, trained: Callable[[RunFolder], ExitCode], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = torch.OutOfMemoryError("CUDA out of memory")
    made, shown = FakeData.next_batch, FakeModel.preview
    calls, previews = iter(range(100)), iter(range(100))

    def next_batch(self: FakeData) -> Batch:
        if next(calls) in (3, 4):
            raise full
        return made(self)

    def preview(self: FakeModel, batch: Batch, samples: int) -> Any:
        if next(previews) == 0:
            raise full
        return shown(self, batch, samples)

    monkeypatch.setattr(FakeData, "next_batch", next_batch)
    monkeypatch.setattr(FakeModel, "preview", preview)
    folder = make_run(tmp_path, target_iterations=8, options={"batch_size": 4})
    assert trained(folder) == ExitCode.OK
    found = events(folder)
    assert of(found, "done")[0]["iteration"] == 8
    said = [w["message"] for w in of(found, "warning")]
    assert any("preview could not be made: out of memory" in text for text in said)
    assert any("iteration 4" in text and "4 pieces" in text for text in said)
    assert [p["iteration"] for p in of(found, "preview")] == [8]
    saved = load_model(model_folder(folder))
    assert saved is not None and saved.snapshot.state["data"] == '{"taken": 8}'

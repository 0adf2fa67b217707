"""A save from before the trouble is there, however many follow before anybody looks."""

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trainer_fakes import FakeData, FakeModel, events, make_run, of

from recaster_tui.checkpoints import snapshots, store
from recaster_tui.errors import ExitCode
from recaster_tui.options import ModelClass, defaults
from recaster_tui.protocol.losses import loss_rows
from recaster_tui.training import output_guard, process
from recaster_tui.training.generations import Snapshot, write_generation
from recaster_tui.training.models.base import Batch, SideBatch
from recaster_tui.training.saver import Saver
from recaster_tui.training.start import start
from recaster_tui.training.watch import Watch, tell_never_drew


def save(folder: Path, iteration: int, judged: int | None = None) -> None:
    """As a trainer saves."""
    store.mark_good(folder, judged)
    tensors = {"line/weight": torch.full((2,), float(iteration))}
    write_generation(folder, Snapshot(iteration, tensors, {}, {"model_class": "saehd"}))


def kept(folder: Path) -> list[int]:
    return sorted(store.iteration_of(path) for path in store.named(folder / "generations"))


def test_the_last_good_one_stays_until_a_newer_one_is_judged(tmp_path: Path) -> None:
    for iteration in (1, 10, 20, 30):
        save(tmp_path, iteration)
    assert kept(tmp_path) == [1, 20, 30]  # nothing is judged yet
    save(tmp_path, 40, judged=25)
    assert kept(tmp_path) == [20, 30, 40]
    save(tmp_path, 50, judged=25)
    assert kept(tmp_path) == [20, 40, 50]
    save(tmp_path, 60)  # training went on in another process: not judged for a while
    save(tmp_path, 70)
    assert kept(tmp_path) == [20, 60, 70]
    save(tmp_path, 80, judged=10_000)
    save(tmp_path, 90, judged=10_000)
    assert kept(tmp_path) == [80, 90]


def test_after_going_back_it_is_the_one_that_training_goes_on_from(tmp_path: Path) -> None:
    for iteration in (10, 20, 30, 40):
        save(tmp_path, iteration, judged=30)
    assert kept(tmp_path) == [30, 40]
    for path in store.named(tmp_path / "generations"):
        if store.iteration_of(path) == 30:
            store.make_current(tmp_path, store.verify(path))
    for iteration in (33, 36, 39):
        save(tmp_path, iteration)
    assert kept(tmp_path) == [30, 36, 39]
    old = snapshots.create_snapshot(tmp_path, "old", "")
    save(tmp_path, 50, judged=45)
    (point,) = [p for p in snapshots.restore_points(tmp_path) if p.path == old.path]
    snapshots.restore(tmp_path, point)
    assert store.good_name(tmp_path) is None  # of the life that was left
    for iteration in (60, 70, 80):
        save(tmp_path, iteration)
    assert kept(tmp_path) == [39, 70, 80]


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"../../x", b"000000007"])
def test_a_hint_that_says_nothing_changes_nothing(tmp_path: Path, content: bytes | None) -> None:
    save(tmp_path, 1)
    if content is not None:
        (tmp_path / "GOOD").write_bytes(content)
    write_generation(tmp_path, Snapshot(2, {}, {}, {}))
    write_generation(tmp_path, Snapshot(3, {}, {}, {}))
    assert kept(tmp_path) == [2, 3]


def test_a_disk_without_room_for_the_hint_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_atomic", full)
        store.mark_good(tmp_path, None)
    assert store.good_name(tmp_path) is None
    assert kept(tmp_path) == [1]


class Drawing(FakeModel):
    """Draws its targets until :attr:`black` says that it does not."""

    black = False

    def infer(self, src: torch.Tensor, dst: torch.Tensor) -> dict[str, torch.Tensor]:
        level = 0.0 if self.black else 1.0
        return {"src_src": src * level, "dst_dst": dst, "src_dst": dst}


def faces(n: int) -> Batch:
    image = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    mask = image[:, :1]
    side = SideBatch(image, image, mask, mask, mask, torch.arange(n))
    return Batch(side, side)


def watched(model: Drawing, iteration: int = 0) -> Watch:
    watch = Watch(defaults(ModelClass.SAEHD), model, faces, iteration=iteration)
    ticks = itertools.count(10**9)
    watch.pictures._clock = lambda: float(next(ticks))
    return watch


def test_what_is_judged_waits_for_the_losses_and_the_pictures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for share in ("SHARE", "SAVE_SHARE", "ALL_SHARE"):
        monkeypatch.setattr(output_guard, share, 1e9)
    model = Drawing()
    watch = watched(model)
    assert watch.judged is None
    watch.judge_losses(loss_rows(1, [[1.0, 1.0]] * 300, 1.0))
    watch.judge_pictures(300)
    assert watch.judged is None  # too few losses
    watch.judge_losses(loss_rows(301, [[1.0, 1.0]] * 200, 1.0))
    assert watch.judged == 300  # as far as the pictures were looked at
    watch.judge_pictures(500)
    assert watch.judged == 490
    model.black = True
    watch.judge_pictures(560)
    watch.judge_losses(loss_rows(501, [[1.0, 1.0]] * 100, 1.0))
    assert watch.judged == 500
    watch.judge_losses(loss_rows(601, [[9.0, 9.0]] * 25, 1.0))  # the beginning of a spike
    watch.judge_pictures(700)
    assert watch.judged == 500
    watch.configure(defaults(ModelClass.SAEHD), "gan_power")
    assert watch.judged is None
    assert watched(model, 5000).judged is None
    off = defaults(ModelClass.SAEHD).changed(guard_spikes=False)
    watch.configure(off)
    assert watch.judged == 500


def test_pictures_that_never_came_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for share in ("SHARE", "SAVE_SHARE", "ALL_SHARE"):
        monkeypatch.setattr(output_guard, share, 1e9)
    model, told = Drawing(), []
    model.black = True
    journal: Any = SimpleNamespace(emit=lambda kind, **facts: told.append((kind.value, facts)))
    watch = watched(model)
    for iteration in range(50, 3000, 50):
        assert watch.judge_pictures(iteration) is None
        tell_never_drew(journal, watch.pictures)
        assert bool(told) == (iteration >= 1000)
    ((kind, facts),) = told
    assert (kind, facts["code"]) == ("warning", "output")
    assert "1,000 iterations the rebuilt source faces are still all black" in facts["message"]
    assert facts["hint"]


def test_a_spike_that_begins_before_anything_is_judged_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saves all the time, and the first look at the losses comes long after the onset."""
    some = SimpleNamespace(folder=Path(), faces=[None] * 9, skipped=[])
    monkeypatch.setattr(process, "load_faces", lambda *_: {"src": some, "dst": some})
    monkeypatch.setattr(Saver, "due", lambda self, _: not self.busy)

    class Spiking(FakeModel):
        def __init__(self, *_: Any, **__: Any) -> None:
            super().__init__()
            self.seconds = 0.0005

        def train_step(self, batch: Batch) -> Any:
            result = super().train_step(batch)
            high = 300 <= self.steps < 420  # steps go on counting, whatever is rolled back
            return replace(result, losses=torch.full_like(result.losses, 50.0 if high else 1.0))

    folder = make_run(tmp_path, target_iterations=500)
    assert start(folder.root, build_model=Spiking, open_data=FakeData) == ExitCode.OK
    found = events(folder)
    (back,) = of(found, "rolled-back")
    assert (back["why"], back["to_iteration"]) == ("spike", 1)
    before = found[: [e.type for e in found].index("rolled-back")]
    late = [saved for saved in of(before, "saved") if saved["iteration"] >= 300]
    assert len(late) > 2  # enough to push out everything from before the onset
    assert of(found, "done")[0]["saved"] == 500

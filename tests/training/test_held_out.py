"""Held-out faces: chosen by time, remembered, in no batch; measuring changes nothing."""

import copy
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_fakes import events, make_run, model_folder, of

from recaster_tui.errors import ExitCode
from recaster_tui.faces.codec import write_face
from recaster_tui.faces.face import Face, Polygon
from recaster_tui.faces.faceset import Faceset, open_faceset
from recaster_tui.faces.types import FaceType
from recaster_tui.options import ModelClass, changed, defaults
from recaster_tui.protocol import decode_event
from recaster_tui.training.data import open_data
from recaster_tui.training.data.prefetch import BatchSource
from recaster_tui.training.generations import load_model
from recaster_tui.training.held_out import (
    LEAST_FACES,
    NOTHING,
    HeldOut,
    hold_out,
    in_time,
)
from recaster_tui.training.journal import JournalWriter
from recaster_tui.training.measuring import (
    KEPT,
    Measures,
    agreement,
    judged_each_step,
    restored,
    sharpness,
)
from recaster_tui.training.models import build_model
from recaster_tui.training.models.base import Batch, DataNeeds, SideAugment
from recaster_tui.training.retrain import WorstFaces
from recaster_tui.training.start import start

CPU = torch.device("cpu")
SIZE = 64
TINY = {
    "resolution": 64,
    "autoencoder_dims": 32,
    "encoder_dims": 16,
    "decoder_dims": 16,
    "mask_decoder_dims": 16,
    "batch_size": 2,
    "precision": "float32",
    "seed": 3,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def landmarks(seed: int) -> np.ndarray:
    """An oval, brows, nose, eyes and mouth where a face has them, a little different each time."""
    angle = np.linspace(0, np.pi, 17)
    jaw = np.stack([0.5 - 0.35 * np.cos(angle), 0.45 + 0.45 * np.sin(angle)], 1)
    parts = [jaw]
    for centre in (0.32, 0.68):
        parts.append(np.stack([np.linspace(centre - 0.1, centre + 0.1, 5), np.full(5, 0.32)], 1))
    parts.append(np.stack([np.full(4, 0.5), np.linspace(0.4, 0.58, 4)], 1))
    parts.append(np.stack([np.linspace(0.42, 0.58, 5), np.full(5, 0.62)], 1))
    ring = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    for centre in (0.35, 0.65):
        parts.append(np.stack([centre - 0.06 * np.cos(ring), 0.42 - 0.03 * np.sin(ring)], 1))
    for count, size in ((12, 0.12), (8, 0.08)):
        ring = np.linspace(0, 2 * np.pi, count, endpoint=False)
        parts.append(np.stack([0.5 - size * np.cos(ring), 0.76 - 0.4 * size * np.sin(ring)], 1))
    points = np.concatenate(parts) + np.random.default_rng(seed).normal(0, 0.004, (68, 2))
    return (points * SIZE).astype(np.float32)


def made_face(number: int, *, side: int = 0, folder: Path = Path()) -> Face:
    name = f"{number:05d}_0.jpg"
    return Face(
        folder / name,
        name,
        FaceType.FULL,
        landmarks(1000 * side + number),
        (SIZE, SIZE, 3),
        source_filename=f"frame{number}.png",
    )


def made_faces(count: int, **more: Any) -> list[Face]:
    return [made_face(number, **more) for number in range(1, count + 1)]


def frames(faces: Sequence[Face]) -> list[int]:
    return sorted(int(str(f.source_filename)[5:-4]) for f in faces)


def runs_of(numbers: Sequence[int]) -> list[list[int]]:
    """Consecutive numbers together."""
    parts = np.split(np.array(numbers), np.flatnonzero(np.diff(numbers) > 1) + 1)
    return [part.tolist() for part in parts]


def choose(faces: Sequence[Face], percent: float = 3.0, **more: Any) -> HeldOut:
    return hold_out({"src": faces}, **({"percent": percent, "seed": 5, "iteration": 0} | more))


# -- the choice -------------------------------------------------------------------------------


@settings(max_examples=12)
@given(st.integers(LEAST_FACES, 1500), st.sampled_from([1.0, 3.0, 10.0]), st.integers(0, 99))
def test_whole_stretches_of_the_film_are_held_out(count: int, percent: float, seed: int) -> None:
    faces = made_faces(count)
    np.random.default_rng(seed).shuffle(faces)  # type: ignore[arg-type]
    held = choose(faces, percent, seed=seed)
    wanted = max(5, round(count * percent / 100))
    assert len(held.aside) == wanted
    stretches = runs_of(frames(list(held.aside)))
    assert len(stretches) <= 8 and all(len(part) >= 5 for part in stretches)
    measured, compared = held.measured["src"], held.compared["src"]
    assert set(measured) <= held.aside and not set(compared) & held.aside
    assert len(compared) == len(measured) <= 24
    if all(len(part) <= 15 for part in stretches):
        # Every frame beside a measured one is held out, too, but where a stretch is very short.
        aside = set(frames(list(held.aside)))
        assert all({n - 1, n + 1} <= aside for n in frames(measured))


def test_frame_9_comes_before_frame_10_and_faces_of_one_frame_stay_together() -> None:
    faces = made_faces(120)
    assert frames(in_time(faces)) == [int(f.source_filename[5:-4]) for f in in_time(faces)]  # type: ignore[index]
    twins = [replace(face, name=face.name.replace("_0", "_1")) for face in faces]
    held = choose([*faces, *twins])
    for face, twin in zip(faces, twins, strict=True):
        assert (face in held.aside) == (twin in held.aside)


def test_small_sides_and_none_wanted() -> None:
    assert not choose(made_faces(LEAST_FACES - 1)).aside
    assert not choose(made_faces(500), 0).aside
    both = {"src": made_faces(300), "dst": made_faces(40, side=1)}
    held = hold_out(both, percent=3, seed=1, iteration=0)
    assert held.measured["src"] and "dst" not in held.measured


def test_the_choice_never_changes_for_a_model() -> None:
    faces = made_faces(200)
    first = choose(faces)
    state = json.loads(json.dumps(first.state()))

    def again(now: list[Face], **more: Any) -> HeldOut:
        return choose(now, state=state, iteration=900, **({"seed": 77} | more))

    def points(held: HeldOut) -> set[bytes]:
        return {face.landmarks.tobytes() for face in held.aside}

    # Faces are added, the percentage is another, files are renamed by sorting, masks are drawn.
    more = [*made_faces(200), *(made_face(1000 + i) for i in range(500))]
    assert points(again(more)) == points(first)
    assert points(again(made_faces(200), percent=15)) == points(first)
    shuffled = made_faces(200)
    for number, face in enumerate(reversed(shuffled)):
        face.name = f"{number:05d}.jpg"
        face.polygons = [Polygon(True, np.ones((3, 2), np.float32))]
    assert points(again(shuffled)) == points(first)
    assert again(shuffled).since == 0
    # Corrected landmarks: the name and the frame find it.
    corrected = made_faces(200)
    for face in corrected:
        face.landmarks = face.landmarks + 3
    assert frames(list(again(corrected).aside)) == frames(list(first.aside))
    # Some are deleted: the others stay.
    fewer = [
        f
        for f in made_faces(200)
        if f.source_filename != f"frame{frames(list(first.aside))[0]}.png"
    ]
    assert points(again(fewer)) < points(first) and len(again(fewer).aside) == len(first.aside) - 1


def test_faces_added_between_two_held_out_ones_are_not_trained_on() -> None:
    first = choose(made_faces(200))
    number = frames(list(first.aside))[0]
    between = made_face(number)
    between.name, between.landmarks = "new.jpg", landmarks(9999)
    between.source_filename = f"frame{number}.png"
    held = choose([*made_faces(200), between], state=first.state())
    assert between in held.aside and between not in held.measured["src"]


def test_where_hardly_any_other_face_is_left_all_are_trained_on() -> None:
    faces = made_faces(300)
    first = choose(faces, 10)
    left = [face for face in faces if face in first.aside][:20] + faces[:3]
    few = choose(left, 10, state=first.state(), iteration=80)
    assert not few.aside
    assert not few.measured
    again = choose(faces, 10, state=few.state(), iteration=90)
    assert again.aside == first.aside and again.since == 90
    # Faces that time does not tell apart cannot be held out by time.
    assert not choose([replace(face, source_filename="one.png") for face in faces]).aside


def test_switching_off_and_on_again_says_since_when() -> None:
    faces = made_faces(200)
    first = choose(faces)
    off = choose(faces, 0, state=first.state(), iteration=50)
    assert not off.aside
    on = choose(faces, state=json.loads(json.dumps(off.state())), iteration=70)
    assert on.aside == first.aside and on.since == 70
    assert choose(faces, iteration=40).since == 40  # a model that was trained on all before
    assert choose(faces, state={"src": "rubbish"}).aside == first.aside


# -- batches ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def facesets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Faceset]:
    sets = {}
    for number, side in enumerate(("src", "dst")):
        folder = tmp_path_factory.mktemp(side)
        for face in made_faces(110, side=number, folder=folder):
            rng = np.random.default_rng(1000 * number + int(face.name[:5]))
            picture = cv2.resize(rng.integers(0, 255, (8, 8, 3), np.uint8), (SIZE, SIZE))
            outline = face.landmarks[:17].astype(np.float32)
            face.polygons = [Polygon(True, outline)]
            write_face(face.path, picture, face, durable=False)
        sets[side] = open_faceset(folder)
    return sets


@pytest.fixture
def opened(facesets: dict[str, Faceset], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    sources: list[BatchSource] = []

    def make(needs: DataNeeds, held: HeldOut | None = None, **sets: Faceset) -> BatchSource:
        both = {**facesets, **sets}
        if held is None:
            faces = {side: faceset.faces for side, faceset in both.items()}
            held = hold_out(faces, percent=5, seed=2, iteration=0)
        cache = tmp_path_factory.getbasetemp() / "held-out-cache"
        source = open_data(
            both["src"], both["dst"], needs, device=CPU, seed=4, cache_dir=cache, held_out=held
        )
        sources.append(source)
        return source

    yield make
    for source in sources:
        source.close()


def drawn(source: BatchSource, batches: int) -> set[Face]:
    """Faces of so many batches, straight from where they are made (no thread, all quick)."""
    seen: set[Face] = set()
    for _ in range(batches):
        batch = source._make()
        for side, part in (("src", batch.src), ("dst", batch.dst)):
            seen.update(source.faces(side)[i] for i in part.index.tolist())  # type: ignore[arg-type]
    return seen


NEEDS = DataNeeds(64, "full", 16)


@pytest.mark.parametrize(
    "needs",
    [
        NEEDS,
        replace(NEEDS, uniform_yaw=True),
        replace(NEEDS, src=SideAugment(color_transfer="rct"), eyes=True),
    ],
    ids=["plain", "uniform yaw", "colour transfer"],
)
def test_no_batch_has_a_held_out_face(opened: Any, needs: DataNeeds) -> None:
    source = opened(needs)
    aside = source.held_out.aside
    assert len(aside) == 12
    seen = drawn(source, 40)
    assert not seen & aside
    if not needs.uniform_yaw:
        assert len(seen) == 220 - len(aside)  # and every other one is
    # A live change makes new queues: still none.
    source.set_needs(replace(needs, uniform_yaw=not needs.uniform_yaw))
    assert not drawn(source, 30) & aside
    source.load_state_dict(json.loads(json.dumps(source.state_dict())))
    assert not drawn(source, 10) & aside
    # What is made of whole pictures for colour transfer does not look at them, either.
    for name, sampler in source._samplers.items():
        if name.endswith("references"):
            other = source._stores["dst" if name.startswith("src") else "src", "picture"].cache
            assert not {other.faces[i] for i in sampler.take(300)} & aside


def test_retrained_faces_come_from_batches_only(opened: Any) -> None:
    source = opened(NEEDS)
    worst = WorstFaces()
    from recaster_tui.training.models.base import StepResult

    batch: Batch | None = None
    for _ in range(20):
        made = source._make()
        loss = torch.rand(len(made.src.index), 2)
        worst.add(made, StepResult(loss.mean(0), loss, torch.tensor(True)))
        batch = worst.take() or batch
    assert batch is not None
    for side, part in (("src", batch.src), ("dst", batch.dst)):
        assert not {source.faces(side)[i] for i in part.index.tolist()} & source.held_out.aside


def test_xseg_where_both_sides_are_one_set(opened: Any) -> None:
    needs = DataNeeds(256, "full", 12, segmented=True)
    source = opened(needs)
    aside = source.held_out.aside
    labelled = source._labelled_faces
    assert len(labelled) == 220 and len(aside) == 12
    for queue in (source._faces, source._backgrounds):
        assert not {labelled[i] for i in queue.take(500)} & aside
    assert {labelled[i] for i in source._faces.take(2 * 208)} == set(labelled) - aside
    places = source.positions("dst", source.held_out.measured["dst"])
    assert [labelled[i] for i in places] == list(source.held_out.measured["dst"])


def test_nothing_is_held_out_where_both_sides_are_the_pretraining_set(
    opened: Any, facesets: dict[str, Faceset]
) -> None:
    source = opened(NEEDS, NOTHING, dst=facesets["src"])
    assert drawn(source, 30) == set(facesets["src"].faces)


def test_plain_batches_are_the_faces_as_they_are(opened: Any) -> None:
    source = opened(NEEDS)
    index = {
        side: source.positions(side, source.held_out.measured[side]) for side in ("src", "dst")
    }
    batch = source.plain_batch(index)
    assert batch.src.index.tolist() == index["src"].tolist()
    assert torch.equal(batch.src.warped, batch.src.target)
    image = source._faces("src").cache.image(int(index["src"][0]))
    np.testing.assert_allclose(batch.src.target[0].permute(1, 2, 0).numpy() * 255, image, atol=0.01)


@pytest.mark.parametrize("segmented", [False, True])
def test_previews_show_the_same_faces_for_ever(
    opened: Any, facesets: dict[str, Faceset], tmp_path: Path, segmented: bool
) -> None:
    needs = DataNeeds(256, "full", 4, segmented=True) if segmented else NEEDS
    source = opened(needs)

    def shown(of: BatchSource, count: int) -> list[str]:
        batch = of.preview_batch(count)
        if segmented:
            chosen = [of._labelled_faces[i] for i in batch.src.index.tolist()]
        else:
            chosen = [of.faces("src")[i] for i in batch.src.index.tolist()]
        return [f"{face.name.removeprefix('x')} {face.landmarks.sum()}" for face in chosen]

    few, more = shown(source, 4), shown(source, 7)
    assert len(set(more)) == 7 and set(few) <= set(more)  # a live change of their number
    pictures = source.preview_batch(4).dst.target
    state = json.loads(json.dumps(source.state_dict()))
    # Later: faces were added, and the names they sort by are others.
    folder = tmp_path / "aligned"
    folder.mkdir()
    for face in facesets["src"].faces[::-1] + made_faces(3, side=7):
        copied = copy.copy(face)
        data = face.path.read_bytes() if face.path.is_file() else None
        picture = data if data is not None else np.zeros((SIZE, SIZE, 3), np.uint8)
        copied.polygons = face.polygons or [Polygon(True, face.landmarks[:17])]
        write_face(folder / ("x" + face.name), picture, copied, durable=False)
    later = opened(needs, NOTHING, src=open_faceset(folder))
    later.load_state_dict(state)
    assert shown(later, 4) == few
    assert torch.equal(later.preview_batch(4).dst.target, pictures)


# -- measuring --------------------------------------------------------------------------------


class _Journal:
    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    def emit(self, kind: str, **data: Any) -> None:
        self.said.append({"type": kind, **data})


def options_of(kind: ModelClass) -> Any:
    chosen = dict(TINY)
    if kind is ModelClass.AMP:
        chosen["inter_dims"] = 32
    else:
        chosen |= {"learning_rate_dropout": "on", "gan_power": 0.1, "gan_dims": 4}
    return changed(defaults(kind), chosen)


@pytest.mark.parametrize("kind", [ModelClass.SAEHD, ModelClass.AMP])
def test_training_is_bit_for_bit_the_same_with_and_without_measuring(
    opened: Any, kind: ModelClass
) -> None:
    after = []
    for measuring in (False, True):
        torch.manual_seed(1)
        model = build_model(kind, options_of(kind), CPU, seed=11)
        source = opened(model.needs)
        measures = Measures(source, _Journal())  # type: ignore[arg-type]
        for iteration in range(4):
            model.train_step(source.next_batch())
            if measuring:
                measures.measure(model, iteration)
        after.append((model.state(), source.state_dict(), torch.rand(3), len(measures.series)))
    (plain, place, chance, none), (watched, place2, chance2, count) = after
    assert (none, count) == (0, 4)
    assert place == place2 and torch.equal(chance, chance2)
    for part in ("weights", "optimizer"):
        assert plain[part].keys() == watched[part].keys()
        assert all(torch.equal(v, watched[part][k]) for k, v in plain[part].items())


def test_figures_are_what_they_say_and_repeat(opened: Any) -> None:
    model = build_model(ModelClass.AMP, options_of(ModelClass.AMP), CPU, seed=11)
    source = opened(model.needs)
    journal = _Journal()
    measures = Measures(source, journal)  # type: ignore[arg-type]
    measures.tell()
    first, again = measures.measure(model, 1), measures.measure(model, 2)
    assert first is not None and again is not None
    for name in ("src", "dst", "mask", "sharpness", "faces"):
        assert first[name] == again[name]  # AMP's chance is fixed here
    told = journal.said[0]
    assert told["held_out_faces"] == {"src": 6, "dst": 6} and told["held_out_history"] == []
    assert first["faces"] == {side: len(f) for side, f in source.held_out.measured.items()}
    assert first["src"]["held_out"] > 0 and 0 <= first["mask"]["held_out"] <= 1
    # Few at once give what many at once give, where nothing is left to chance.
    saehd = build_model(ModelClass.SAEHD, options_of(ModelClass.SAEHD), CPU, seed=11)
    many = measures.measure(saehd, 3)
    measures._at_once = 1
    slowly = measures.measure(saehd, 4)
    assert many is not None and slowly is not None
    assert slowly["src"]["held_out"] == pytest.approx(many["src"]["held_out"], rel=1e-4)


def test_masks_are_measured_for_xseg(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from recaster_tui.nets.xseg import XSeg
    from recaster_tui.training.models import xseg

    monkeypatch.setattr(xseg, "XSeg", lambda: XSeg(4))
    model = build_model(ModelClass.XSEG, defaults(ModelClass.XSEG), CPU, seed=11)
    source = opened(replace(model.needs, batch_size=4))
    figures = Measures(source, _Journal()).measure(model, 1)  # type: ignore[arg-type]
    assert figures is not None and "dst" not in figures and "sharpness" not in figures
    assert figures["src"]["held_out"] > 0 and 0 <= figures["mask"]["trained"] <= 1


def test_a_slow_machine_measures_less_often(opened: Any) -> None:
    now = [0.0]
    source = opened(NEEDS)
    measures = Measures(source, _Journal(), clock=lambda: now[0])  # type: ignore[arg-type]

    class Slow:
        needs = NEEDS

        def infer(self, src: torch.Tensor, dst: torch.Tensor) -> dict[str, torch.Tensor]:
            now[0] += 1.0
            mask = torch.ones(len(src), 1, 64, 64)
            names = ("src_src", "dst_dst", "src_dst")
            return dict.fromkeys(names, src) | {f"{k}m": mask for k in names}

    model: Any = Slow()
    assert judged_each_step(model) == 32
    now[0] = 61.0
    # Before the first: guessed from a training step of a second with 32 faces.
    assert measures.due(60, 1.0, 32) == (61.0 >= 0.6 * 4 * 4 / 32 / 0.01)
    now[0] = 1000.0
    assert measures.due(60, 1.0, 32)
    figures = measures.measure(model, 5)
    cost = now[0] - 1000.0
    assert figures is not None and figures["seconds"] == cost > 0
    total = 0.0
    while now[0] < 20_000:
        now[0] += 7.0
        if measures.due(60, 1.0, 32):
            before = now[0]
            measures.measure(model, 5)
            total += now[0] - before
    assert 0.005 < total / 19_000 < 0.02


def test_memory_that_runs_out_halves_the_pieces_and_trouble_ends_no_run(opened: Any) -> None:
    source, journal = opened(NEEDS), _Journal()
    measures = Measures(source, journal)  # type: ignore[arg-type]
    sizes: list[int] = []

    class Hungry:
        needs = NEEDS

        def infer(self, src: torch.Tensor, dst: torch.Tensor) -> dict[str, torch.Tensor]:
            sizes.append(len(src))
            if len(src) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            mask = torch.ones(len(src), 1, 64, 64)
            names = ("src_src", "dst_dst", "src_dst")
            return dict.fromkeys(names, src) | {f"{k}m": mask for k in names}

    model: Any = Hungry()
    assert measures.measure(model, 1) is not None
    assert max(sizes) > 2 and sizes[-1] <= 2
    model.infer = lambda *_: 1 / 0
    assert measures.measure(model, 2) is None
    assert journal.said[-1]["code"] == "measuring" and "division" in journal.said[-1]["message"]
    assert not measures.due(0, 0.0, 1)  # not again and again


def test_the_series_goes_with_the_model(opened: Any, tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path / "journal.jsonl")
    series = [{"iteration": i, "src": {"held_out": 0.5, "trained": 0.4}} for i in range(450)]
    measures = Measures(opened(NEEDS), journal, series=series)
    text = measures.state()
    chosen, kept = restored(text, 300)
    assert chosen == json.loads(json.dumps(measures._held.state()))
    assert len(measures.series) < 450 and len(measures.series) >= KEPT
    assert kept[-1]["iteration"] <= 300 and [k["iteration"] for k in kept] == sorted(
        {k["iteration"] for k in kept}
    )
    measures.cut(100)
    assert measures.series[-1]["iteration"] <= 100
    measures.tell()
    journal.close()
    said = decode_event((tmp_path / "journal.jsonl").read_bytes().splitlines()[0])
    assert said.data["held_out_history"] == measures.series
    assert restored("rubbish", 5) == restored(None, 5) == ({}, [])


def test_agreement_and_sharpness() -> None:
    a = torch.zeros(2, 1, 8, 8)
    b = a.clone()
    a[0, :, :4], b[0, :, 2:6] = 1, 1
    assert agreement(a, b).tolist() == pytest.approx([1 / 3, 1.0])
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    soft = torch.nn.functional.avg_pool2d(picture, 5, 1, 2)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    ratio = sharpness(soft, mask) / sharpness(picture, mask)
    assert 0 < ratio.item() < 0.2
    outside = picture.clone()
    outside[..., :8, :] = 0  # what lies outside the mask does not count
    assert sharpness(outside, mask).item() == pytest.approx(sharpness(picture, mask).item())


def test_a_run_measures_and_the_next_one_goes_on_with_the_same_faces(
    facesets: dict[str, Faceset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for side, faceset in facesets.items():
        shutil.copytree(faceset.folder, tmp_path / f"data_{side}" / "aligned")
    monkeypatch.setattr(Measures, "due", lambda *_: True)
    folders = []
    for run_id, target in (("run-1", 2), ("run-2", 3)):
        options = defaults(ModelClass.SAEHD).model_dump() | TINY | {"preview_samples": 2}
        folder = make_run(tmp_path, run_id, options=options, target_iterations=target)
        assert start(folder.root) == ExitCode.OK
        folders.append(folder)
        # A face that was held out is renamed in between, and sorts elsewhere.
        if run_id == "run-1":
            state = json.loads(load_model(model_folder(folder)).snapshot.state["held_out"])  # type: ignore[union-attr]
            name = state["faces"]["src"]["stretches"][0][2][0]
            aligned = tmp_path / "data_src/aligned"
            (aligned / name).rename(aligned / "zzz.jpg")
    first, second = (of(events(folder), "metrics") for folder in folders)
    held = [one["held_out"] for one in first if "held_out" in one]
    assert [one["iteration"] for one in held] == [1, 2]
    (told,) = [one for one in second if "held_out_faces" in one]
    assert told["held_out_faces"] == {"src": 5, "dst": 5} and told["held_out_since"] == 0
    assert told["held_out_history"] == held
    assert 0 <= time.time() - held[0]["t"] < 600
    again = json.loads(load_model(model_folder(folders[0])).snapshot.state["held_out"])  # type: ignore[union-attr]
    assert again["faces"] == state["faces"]
    assert [one["iteration"] for one in again["series"]] == [1, 2, 3]

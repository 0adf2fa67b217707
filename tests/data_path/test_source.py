"""Batches: repeatable, resumable, live changes, errors, clean end."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recaster_tui.errors import BadInputError
from recaster_tui.faces.faceset import open_faceset
from recaster_tui.faces.types import FaceType
from recaster_tui.training.data import DataSource, open_data
from recaster_tui.training.data.augment import FaceStore, SideMaker
from recaster_tui.training.data.cache import FaceCache
from recaster_tui.training.models.base import Batch, DataNeeds, SideAugment

CPU = torch.device("cpu")
NEEDS = DataNeeds(64, "whole", 4, src=SideAugment(flip=True), dst=SideAugment(flip=True))

Open = Callable[..., DataSource]


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def open_source(goldens: Path, cache_dir: Path) -> Iterator[Open]:
    opened: list[DataSource] = []

    def make(needs: DataNeeds = NEEDS, seed: int = 7) -> DataSource:
        source = open_data(
            open_faceset(goldens / "faceset/src/aligned"),
            open_faceset(goldens / "faceset/dst/aligned"),
            needs,
            device=CPU,
            seed=seed,
            cache_dir=cache_dir,
            progress=None,
        )
        opened.append(source)
        return source

    yield make
    for source in opened:
        source.close()


def same(a: Batch, b: Batch) -> bool:
    return all(
        torch.equal(x, y)
        for one, other in ((a.src, b.src), (a.dst, b.dst))
        for x, y in zip(vars(one).values(), vars(other).values(), strict=True)
    )


def test_batch_is_what_the_interface_says(open_source: Open) -> None:
    batch = open_source(replace(NEEDS, eyes=True, mouth=True)).next_batch()
    for side in (batch.src, batch.dst):
        assert side.warped.shape == side.target.shape == (4, 3, 64, 64)
        assert side.mask.shape == side.eyes.shape == side.mouth.shape == (4, 1, 64, 64)
        assert side.index.shape == (4,) and side.index.dtype == torch.int64
        for tensor in (side.warped, side.target, side.mask, side.eyes, side.mouth):
            assert tensor.dtype == torch.float32 and tensor.is_contiguous()
            assert tensor.min() >= 0 and 0.5 < tensor.max() <= 1
        assert not torch.equal(side.warped, side.target)
        # Eyes and mouth lie inside the face, and the strongest of them is 1.
        assert ((side.eyes + side.mouth) * (side.mask < 0.01)).max() < 0.2
        assert torch.allclose((side.eyes + side.mouth).amax((1, 2, 3)), torch.ones(4), atol=0.02)
    plain = open_source().next_batch()
    assert not plain.src.eyes.any() and not plain.dst.mouth.any()


def test_same_seed_same_batches_and_resume(open_source: Open) -> None:
    everything = SideAugment(
        flip=True,
        hsv_power=0.1,
        color_transfer="sot",
        random_color=True,
        downsample=True,
        noise=True,
        blur=True,
        jpeg=True,
        shadow=True,
    )
    needs = replace(NEEDS, src=everything, uniform_yaw=True)
    first = open_source(needs)
    batches = [first.next_batch() for _ in range(2)]
    state = json.loads(json.dumps(first.state_dict()))
    later = [first.next_batch() for _ in range(2)]
    again = open_source(needs)
    assert all(same(batch, again.next_batch()) for batch in batches)
    resumed = open_source(needs, seed=99)
    resumed.load_state_dict(state)
    assert all(same(batch, resumed.next_batch()) for batch in later)
    assert not same(batches[0], open_source(needs, seed=8).next_batch())


def test_every_face_once_a_pass(open_source: Open) -> None:
    source = open_source()
    seen = torch.cat([source.next_batch().src.index for _ in range(3)])
    assert sorted(seen.tolist()) == sorted(list(range(6)) * 2)


def test_live_change_takes_effect_at_once_and_loses_no_face(open_source: Open) -> None:
    source = open_source()
    before = [source.next_batch() for _ in range(2)]
    source.set_needs(replace(NEEDS, src=replace(NEEDS.src, warp=False)))
    after = source.next_batch()
    assert torch.equal(after.src.warped, after.src.target)
    assert not torch.equal(after.dst.warped, after.dst.target)
    seen = torch.cat([batch.src.index for batch in (*before, after)])
    assert sorted(seen.tolist()) == sorted(list(range(6)) * 2)
    # Only the warp differs from what an unchanged source would have given.
    twin = open_source()
    unchanged = [twin.next_batch() for _ in range(3)][-1]
    assert torch.equal(unchanged.src.target, after.src.target)
    assert torch.equal(unchanged.dst.warped, after.dst.warped)
    source.set_needs(replace(source.needs, batch_size=2, eyes=True, uniform_yaw=True))
    batch = source.next_batch()
    assert len(batch.src.index) == 2 and batch.src.eyes.any()
    source.set_needs(replace(source.needs, src=SideAugment(color_transfer="rct", warp=False)))
    recoloured = source.next_batch().src
    assert torch.equal(recoloured.warped, recoloured.target)


def test_color_transfer_takes_the_other_sides_colours(open_source: Open) -> None:
    still = SideAugment(warp=False, rotation=0, scale=0, shift=0)
    needs = replace(NEEDS, src=replace(still, color_transfer="lct"), dst=still, batch_size=6)
    plain = open_source(replace(needs, src=still)).next_batch()
    moved = open_source(needs).next_batch()
    assert torch.equal(plain.src.index, moved.src.index)

    def sorted_means(images: torch.Tensor) -> np.ndarray:
        means = images.mean((2, 3)).numpy()
        return means[np.argsort(means[:, 0])]

    # Each destination face is the reference once, so the sets of mean colours agree.
    np.testing.assert_allclose(
        sorted_means(moved.src.target), sorted_means(plain.dst.target), atol=0.02
    )


def test_preview_is_fixed_and_spread_by_yaw(open_source: Open) -> None:
    source = open_source(replace(NEEDS, eyes=True))
    first = source.preview_batch(3)
    source.next_batch()
    assert same(first, source.preview_batch(3))
    cache = FaceCache.open(
        source._facesets["src"], 64, FaceType.WHOLE, source._cache_dir, kind="face+parts"
    )
    yaw = cache.yaw[first.src.index.numpy()]
    assert len(set(yaw.tolist())) == 3
    assert (np.diff(np.abs(yaw)) > 0).all()  # the most frontal first
    target = first.src.target[0].permute(1, 2, 0).numpy() * 255
    np.testing.assert_allclose(target, cache.image(int(first.src.index[0])), atol=0.01)
    assert not torch.equal(first.src.warped, first.src.target)
    assert source.preview_batch(9).dst.index.shape == (9,)  # more than there are faces


def test_torch_and_opencv_make_the_same_batch(goldens: Path, cache_dir: Path) -> None:
    faceset = open_faceset(goldens / "faceset/src/aligned")
    cache = FaceCache.open(faceset, 64, FaceType.WHOLE, cache_dir, kind="face+parts")
    augment = SideAugment(flip=True, hsv_power=0.1, noise=True, blur=True)
    index = np.arange(6)
    in_cv, in_torch = (
        SideMaker(
            FaceStore(cache, CPU), None, augment, parts=True, device=CPU, use_torch=use_torch
        ).make(index, None, np.random.default_rng(4))
        for use_torch in (False, True)
    )
    for name in ("target", "mask", "eyes", "mouth", "index"):
        torch.testing.assert_close(getattr(in_cv, name), getattr(in_torch, name), atol=1e-3, rtol=0)
    # cv2.remap rounds coordinates to 1/32 pixel; these drawings have hard edges.
    assert (in_cv.warped - in_torch.warped).abs().mean() < 2e-3


def test_errors_reach_the_trainer(open_source: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source()
    source.next_batch()
    source._halt()

    def broken(*_: object) -> None:
        raise RuntimeError("no more memory")

    with monkeypatch.context() as patch:
        patch.setattr(SideMaker, "make", broken)
        with pytest.raises(RuntimeError, match="no more memory"):
            source.next_batch()
    assert source.next_batch().src.index.shape == (4,)  # and it can go on


def test_close_ends_the_threads(open_source: Open) -> None:
    source = open_source()
    source.next_batch()
    assert 0 <= source.wait_share <= 1
    assert any(t.name == "batches" for t in threading.enumerate())
    source.close()
    source.close()
    assert not any(t.name == "batches" for t in threading.enumerate())


def test_too_few_faces(goldens: Path, tmp_path: Path) -> None:
    folder = tmp_path / "aligned"
    folder.mkdir()
    shutil.copy(goldens / "faceset/src/aligned/00000_0.jpg", folder)
    lonely = open_faceset(folder)
    with pytest.raises(BadInputError, match="1 usable faces"):
        open_data(lonely, lonely, NEEDS, device=CPU, seed=1, cache_dir=tmp_path / "c")


def test_an_empty_faceset_and_one_face_are_too_few(goldens: Path, tmp_path: Path) -> None:
    full = open_faceset(goldens / "faceset/src/aligned")
    for count in (0, 1):
        few = replace(full, faces=full.faces[:count])
        with pytest.raises(BadInputError, match=f"destination faceset has {count} usable"):
            open_data(full, few, NEEDS, device=CPU, seed=1, cache_dir=tmp_path)


def test_one_faceset_for_both_sides_is_held_once(goldens: Path, tmp_path: Path) -> None:
    faces = open_faceset(goldens / "faceset/src/aligned")
    source = open_data(faces, faces, NEEDS, device=CPU, seed=1, cache_dir=tmp_path)
    assert isinstance(source, DataSource)
    try:
        assert source._faces("src") is source._faces("dst")
        batch = source.next_batch()
        # not the same faces at the same time: each side has its own order
        assert not torch.equal(batch.src.target, batch.dst.target)
    finally:
        source.close()

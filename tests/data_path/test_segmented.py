"""XSeg's samples: the original's own pictures, the fast path against them, the source."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recaster_tui.errors import BadInputError
from recaster_tui.faces.face import Polygon
from recaster_tui.faces.faceset import Faceset, open_faceset
from recaster_tui.faces.masks import encode_xseg_mask, face_mask
from recaster_tui.faces.types import FaceType
from recaster_tui.training.data import open_data
from recaster_tui.training.data.prefetch import BatchSource
from recaster_tui.training.data.segmented import eligible_faces
from recaster_tui.training.data.segmented_sample import (
    FAST,
    LabelledFace,
    fit_labelled,
    make_sample,
)
from recaster_tui.training.models.base import Batch, DataNeeds, SideAugment
from recaster_tui.training.reference.segmented import ExactPixels

CPU = torch.device("cpu")
NEEDS = DataNeeds(
    256, "whole", 3, src=SideAugment(flip=True), dst=SideAugment(flip=True), segmented=True
)
Open = Callable[..., BatchSource]


@pytest.fixture(scope="module")
def facesets(goldens: Path) -> tuple[Faceset, Faceset]:
    src, dst = (open_faceset(goldens / f"faceset/{side}/aligned") for side in ("src", "dst"))
    return src, dst


@pytest.fixture(scope="module")
def faces(facesets: tuple[Faceset, Faceset]) -> list[LabelledFace]:
    return [fit_labelled(face, FaceType.WHOLE) for each in facesets for face in each.faces]


def test_fast_path_follows_the_original(faces: list[LabelledFace]) -> None:
    degrees = []
    for seed in range(12):
        face, other = faces[seed], faces[(seed * 5 + 1) % 12]
        exact, fast = (
            make_sample(face, lambda other=other: other, np.random.RandomState(seed), pixels)
            for pixels in (ExactPixels(), FAST)
        )
        assert set(np.unique(fast[1])) <= {0.0, 1.0}
        assert fast[0].shape == (256, 256, 3) and fast[0].dtype == np.float32
        assert fast[0].min() >= 0 and fast[0].max() <= 1
        overlap = (exact[1] * fast[1]).sum() / np.maximum(exact[1], fast[1]).sum()
        assert overlap > 0.997
        degrees.append(np.abs(exact[0] - fast[0]).mean())
    # One interpolation instead of two, and hues of grey pixels: sharper, not elsewhere.
    assert np.median(degrees) < 0.005 and max(degrees) < 0.03


def test_wide_blur_at_a_quarter_of_the_size(faces: list[LabelledFace]) -> None:
    for size in (65, 151, 255):
        masked = faces[0].image * faces[0].mask[..., None]
        error = np.abs(FAST.wide_blur(masked, size) - ExactPixels().wide_blur(masked, size))
        assert error.max() < 0.01 and error.mean() < 0.001


@pytest.fixture
def open_source(
    facesets: tuple[Faceset, Faceset], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Open]:
    opened: list[BatchSource] = []

    def make(
        needs: DataNeeds = NEEDS,
        seed: int = 7,
        sets: tuple[Faceset, Faceset] = facesets,
    ) -> BatchSource:
        cache = tmp_path_factory.getbasetemp() / "segmented-cache"
        source = open_data(*sets, needs, device=CPU, seed=seed, cache_dir=cache)
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


def test_batches_are_pairs_repeatable_and_resumable(open_source: Open) -> None:
    first = open_source()
    batches = [first.next_batch() for _ in range(4)]
    for side, count in ((batches[0].src, 2), (batches[0].dst, 1)):
        assert side.warped.shape == (count, 3, 256, 256) and side.mask.shape == (count, 1, 256, 256)
        assert side.warped.dtype == side.mask.dtype == torch.float32
        assert set(side.mask.unique().tolist()) == {0.0, 1.0}
        assert 0.05 < side.mask.mean() < 0.6
    index = torch.cat([torch.cat((batch.src.index, batch.dst.index)) for batch in batches])
    assert sorted(index.tolist()) == list(range(12))  # both sides are one set, each once a pass
    state = json.loads(json.dumps(first.state_dict()))
    again = open_source()
    assert all(same(batch, again.next_batch()) for batch in batches)
    resumed = open_source(seed=99)
    resumed.load_state_dict(state)
    assert same(first.next_batch(), resumed.next_batch())
    assert not same(batches[0], open_source(seed=8).next_batch())
    assert not any(first.skipped.values()) and first.counts == {"src": 6, "dst": 6}


def test_preview_is_fixed_and_shows_both_sides(open_source: Open) -> None:
    source = open_source()
    batch = source.preview_batch(3)
    source.next_batch()
    assert same(batch, source.preview_batch(3))
    assert batch.src.target.shape == batch.dst.target.shape == (3, 3, 256, 256)
    assert not torch.equal(batch.src.target, batch.dst.target)
    assert torch.equal(batch.src.warped, batch.dst.warped)


def test_flips_follow_the_side_of_the_face(open_source: Open) -> None:
    never = replace(NEEDS, src=SideAugment(flip=False), dst=SideAugment(flip=False), batch_size=12)
    plain, flipping = open_source(never).next_batch(), open_source(replace(NEEDS, batch_size=12))
    mixed = flipping.next_batch()
    pairs = [
        (a, b)
        for one, other in ((plain.src, mixed.src), (plain.dst, mixed.dst))
        for a, b in zip(one.mask, other.mask, strict=True)
    ]
    turned = [torch.equal(a.flip(-1), b) for a, b in pairs]
    assert 0 < sum(turned) < 12
    assert all(torch.equal(a, b) for (a, b), t in zip(pairs, turned, strict=True) if not t)


def test_eligible_faces(facesets: tuple[Faceset, Faceset], open_source: Open) -> None:
    src, dst = facesets
    bare = [replace(face, polygons=[]) for face in src.faces]
    empty = replace(src, faces=bare)
    chosen = eligible_faces({"src": empty, "dst": dst})
    assert not chosen["src"] and len(chosen["dst"]) == 6

    masked = replace(bare[2], xseg_mask=encode_xseg_mask(face_mask(bare[2])))
    only_mask = replace(src, faces=[*bare, masked])
    assert eligible_faces({"src": only_mask, "dst": empty}) == {"src": [masked], "dst": []}
    batch = open_source(sets=(only_mask, empty)).next_batch()
    assert torch.cat((batch.src.index, batch.dst.index)).tolist() == [0, 0, 0]
    # An outline without points is none; a stored mask is not used beside a single polygon.
    hollow = replace(bare[0], polygons=[Polygon(True, np.empty((0, 2), np.float32))])
    with pytest.raises(BadInputError, match="none of the 7 faces") as caught:
        open_source(sets=(replace(src, faces=[hollow]), empty))
    assert caught.value.hint

"""Colour transfer: the arrays of color/."""

import re
from collections.abc import Iterator

import numpy as np

from recaster_tui.training.reference import color_transfer
from recaster_tui.training.reference.color import random_rotation, sliced_optimal_transport
from tests.parity.goldens import Case, Deviation, absolute, picture, unit
from tests.parity.tables import Arrays, Table

GROUPS = ("color",)
FIRST_SEED = 1234
ROTATIONS = 1e-12
MEAN, MANY, FAR = 1e-4, 1e-3, 1e-3
RANDOM = {
    "idt": "rotations drawn as by scipy's special_ortho_group (judged by itself); histogram bins: "
    "a last digit moves a pixel to the next",
    "sot": "pixels of equal projection are ordered by numpy's sort as its version likes",
}
"""What keeps a method from being equal pixel by pixel. It is judged by its mean deviation, and by
the share of values that are off by more than FAR."""

Match = re.Match[str]


def statistical(what: str, got: np.ndarray, want: np.ndarray, note: str) -> list[Deviation]:
    """Deviations of a picture in which single pixels may fall either way."""
    assert got.shape == want.shape, f"{what}: shape {got.shape}, the original has {want.shape}"
    off = np.abs(np.asarray(got, np.float64) - want)
    largest = f"largest {off.max():.1e}; {note}"
    return [
        Deviation(f"{what} mean", off.mean(), MEAN, largest),
        Deviation(f"{what} share beyond {FAR:g}", (off > FAR).mean(), MANY, largest),
    ]


def _transfer(match: Match, arrays: Arrays) -> list[Deviation]:
    mode = match[1].removesuffix("_pca")  # the original's lct is the pca one
    a, b = unit(arrays["a_u8"]), unit(arrays["b_u8"])
    want = arrays[match[0]]
    result = []
    for i, golden in enumerate(want):
        got = color_transfer(mode, a[i], b[i], np.random.RandomState(FIRST_SEED + i))
        if mode in RANDOM:
            result += statistical(f"{mode} {i}", got, golden, RANDOM[mode])
        else:
            result.append(picture(f"{mode} {i}", got, golden))
    return result


def _sot_unfiltered(match: Match, arrays: Arrays) -> list[Deviation]:
    a, b = unit(arrays["a_u8"]), unit(arrays["b_u8"])
    result = []
    note = f"{RANDOM['sot']}: only pixels of a colour that no other has"
    for i, golden in enumerate(arrays[match[0]]):
        # Pixels of one colour are told apart by the order alone; nothing smooths that here.
        colours = arrays["a_u8"][i].reshape(-1, 3)
        _, which, counts = np.unique(colours, axis=0, return_inverse=True, return_counts=True)
        single = (counts == 1)[which.reshape(golden.shape[:2])]
        rnd = np.random.RandomState(FIRST_SEED + i)
        got = sliced_optimal_transport(a[i], b[i], rnd, steps=4, batch=3, smooth=False)
        # Ours ends in 0..1; the original leaves that to who calls it.
        result += statistical(f"sot {i}", got[single], np.clip(golden, 0, 1)[single], note)
    return result


def _rotations(match: Match, arrays: Arrays) -> list[Deviation]:
    rnd = np.random.RandomState(int(match[1]))
    want = arrays[match[0]]
    got = np.array([random_rotation(rnd) for _ in want])
    return [absolute(match[0], got, want, ROTATIONS)]


_TABLE = Table(
    "color",
    rules={
        "(rct|lct|mkl|idt|sot|lct_pca)": _transfer,
        "sot_noreg": _sot_unfiltered,
        r"special_ortho_group_seed(\d+)_first\d+": _rotations,
    },
    inputs="(a|b)_u8|mask_(a|b)",
    absent={
        "lct_(chol|sym)": "the original never asks for this variant of lct",
        "rct_masked|mix|hist_match.*": "used by the merger only",
    },
)


def discover() -> Iterator[Case]:
    return _TABLE.discover()


def unjudged() -> Iterator[tuple[str, str]]:
    return _TABLE.unjudged()


def judge(case: Case) -> list[Deviation]:
    return _TABLE.judge(case)

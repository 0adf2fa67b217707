"""The same picture more than once in a set."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.quality.measure import Measurements

_SMALL = 12
_HASH = 8
_BLOCK = 1024
_CORRELATION = 0.992  # of the small pictures: who is looked at closely
_HASH_BITS = 10  # of 63 that may differ there
_SAME, _SAME_SOMEWHERE = 0.7, 2.3
"""Mean difference of two crops at the same brightness and contrast (standard deviation 40), and
that of the 8×8 pixels where it is greatest, below which they are one picture. Frames of a still
head differ by 3 and more somewhere, JPEG at quality 75 by less than 2."""
_SPREAD = 40.0


@dataclass(frozen=True)
class Twin:
    """A face that another one makes superfluous.

    Attributes:
        kept: index of the one to keep.
        difference: grey levels.
        same_place: both were cut from the same place of the same frame.
    """

    kept: int
    difference: float
    same_place: bool


def twins(known: Measurements, worth: Sequence[float]) -> dict[int, Twin]:
    """Every superfluous face and the one to keep: of each group that of the most *worth*."""
    count = len(known)
    small, bits = _small(known.crop), _hashes(known.crop)
    pairs: list[tuple[int, int, float, bool]] = []
    crops = known.crop
    for first in range(0, count, _BLOCK):
        for second in range(first, count, _BLOCK):
            alike = small[first : first + _BLOCK] @ small[second : second + _BLOCK].T
            for a, b in np.argwhere(alike >= _CORRELATION).tolist():
                i, j = first + a, second + b
                if i < j and (bits[i] ^ bits[j]).bit_count() <= _HASH_BITS:
                    apart, somewhere = _difference(crops[i], crops[j])
                    if apart <= _SAME and somewhere <= _SAME_SOMEWHERE:
                        pairs.append((i, j, apart, False))
    pairs += _same_place(known)
    group = list(range(count))

    def root(i: int) -> int:
        while group[i] != i:
            group[i] = group[group[i]]
            i = group[i]
        return i

    closest: dict[int, tuple[float, bool]] = {}
    for i, j, apart, place in sorted(pairs, key=lambda pair: pair[2]):
        group[root(j)] = root(i)
        for k in (i, j):
            closest.setdefault(k, (apart, place))
    groups: dict[int, list[int]] = {}
    for i in closest:
        groups.setdefault(root(i), []).append(i)
    found = {}
    for some in groups.values():
        kept = max(some, key=lambda i: (worth[i], -i))
        found.update({i: Twin(kept, *closest[i]) for i in some if i != kept})
    return found


def _small(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 144) small pictures of mean 0 and length 1."""
    size = (_SMALL, _SMALL)
    rows = [cv2.resize(c, size, interpolation=cv2.INTER_AREA).ravel() for c in crops]
    small = np.array(rows, np.float32).reshape(len(crops), -1)
    small -= small.mean(1, keepdims=True)
    return np.asarray(small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-3))


def _hashes(crops: NDArray[np.uint8]) -> list[int]:
    """Perceptual hashes: signs of the lowest cosine terms against their median."""
    found = []
    for crop in crops:
        low = cv2.dct(cv2.resize(crop, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32))
        terms = low[:_HASH, :_HASH].ravel()[1:]
        found.append(int.from_bytes(np.packbits(terms > np.median(terms)).tobytes(), "big"))
    return found


def _difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> tuple[float, float]:
    """Between two pictures brought to the same brightness and contrast: mean, greatest local."""
    a, b = one.astype(np.float32), other.astype(np.float32)
    spread = float(a.std()) + 1e-3, float(b.std()) + 1e-3
    if max(spread) > 2 * min(spread):
        return math.inf, math.inf  # one of them is dark or flat: it has a finding of its own
    apart = np.abs((a - a.mean()) / spread[0] - (b - b.mean()) / spread[1]) * _SPREAD
    return float(apart.mean()), float(cv2.blur(apart, (8, 8)).max())


def _same_place(known: Measurements) -> list[tuple[int, int, float, bool]]:
    frames: dict[str, list[int]] = {}
    for index, frame in enumerate(known.frame):
        if frame and np.isfinite(known.placement[index]).all():
            frames.setdefault(frame, []).append(index)
    pairs = []
    for some in frames.values():
        for number, i in enumerate(some):
            for j in some[number + 1 :]:
                one, other = known.placement[i], known.placement[j]
                size = float(np.exp(min(one[2], other[2])))
                moved = float(np.hypot(*(one[:2] - other[:2]))) / size
                # Alike as pictures, too: copies of unequal faces may carry one frame's name.
                a, b = _small(known.crop[[i, j]])
                if moved < 0.25 and abs(one[2] - other[2]) < 0.3 and float(a @ b) > 0.8:
                    pairs.append((i, j, 0.0, True))
    return pairs

"""What the frames before and after say of a face."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.quality.fit import ARM
from recaster_tui.faces.tracks import frame_number

Floats = NDArray[np.float32]

_REACH = 3  # neighbours on each side
_LONGEST_GAP = 6  # frames between two neighbours
_NEAR = 0.35  # unit squares that a face moves from one to the next, at most
_ALIKE = 0.48  # correlation of what sets two pictures apart from the set's mean
_WINDOW = 8


@dataclass(frozen=True)
class Chains:
    """Which faces follow each other.

    Attributes:
        members: for each face the indices of its chain around it, itself included; one person
            without a cut between them.
        jump: (n,) how much further a face lies from the line through its neighbours than those
            lie from each other, unit squares; NaN where there are none.
        near: for each face up to six others a few frames away at about the same place, whatever
            they look like.
    """

    members: list[NDArray[np.intp]]
    jump: Floats
    near: list[NDArray[np.intp]]

    @cached_property
    def share(self) -> float:
        """How many of the faces are in a chain of four and more, 0 to 1."""
        return float((self.length >= 4).mean()) if self.members else 0.0

    def median(self, values: Floats, i: int) -> float:
        """The median over the chain of face *i*."""
        return float(np.median(values[self.members[i]]))

    @cached_property
    def length(self) -> NDArray[np.intp]:
        """(n,) how many faces each chain has, at most 17."""
        return np.array([len(some) for some in self.members], np.intp)


def chains(frames: list[str], placement: Floats, looks: Floats) -> Chains:
    """Link faces of one clip.

    Args:
        frames: (n) names of the source frames.
        placement: (n, 4) see ``Measurement.placement``.
        looks: (n, d) features in which the same face a frame later is nearly the same.
    """
    count = len(frames)
    numbers = np.array([-1 if (k := frame_number(f)) is None else k for f in frames], np.int64)
    places = placement.astype(np.float64)
    usable = (numbers >= 0) & np.isfinite(places).all(1)
    order = np.flatnonzero(usable)
    order = order[np.lexsort((order, numbers[order]))]
    rank = np.zeros(count, np.intp)
    rank[order] = np.arange(len(order))
    unit = looks - looks.mean(0)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-6)
    jump = np.full(count, np.nan, np.float32)
    members: list[NDArray[np.intp]] = [np.array([i]) for i in range(count)]
    near = [np.zeros(0, np.intp) for _ in range(count)]
    chain_of: dict[int, list[int]] = {}
    for at, i in enumerate(order.tolist()):
        near[i] = _near(order, at, numbers, places)
        jump[i] = _jump(order, at, numbers, places)
        # A covered or strange face in between breaks no chain.
        for j in order[max(0, at - _REACH) : at][::-1].tolist():
            if _linked(j, i, numbers, places, unit):
                chain_of[i] = chain_of[j]
                break
        chain_of.setdefault(i, []).append(i)
    for i, chain in chain_of.items():
        place = int(np.searchsorted(rank[chain], rank[i]))
        members[i] = np.array(chain[max(0, place - _WINDOW) : place + _WINDOW + 1])
    return Chains(members, jump, near)


def _linked(
    one: int, other: int, numbers: NDArray[np.int64], places: NDArray[np.float64], unit: Floats
) -> bool:
    gap = int(numbers[other] - numbers[one])
    if not 1 <= gap <= _LONGEST_GAP:
        return False
    close = _apart(places[one], places[other]) <= _NEAR * min(gap, 2)
    return close and float(unit[one] @ unit[other]) >= _ALIKE


def _near(
    order: NDArray[np.intp], at: int, numbers: NDArray[np.int64], places: NDArray[np.float64]
) -> NDArray[np.intp]:
    i = order[at]
    around = [*order[max(0, at - _REACH) : at], *order[at + 1 : at + 1 + _REACH]]
    found = [
        j
        for j in around
        if 1 <= abs(int(numbers[j] - numbers[i])) <= _LONGEST_GAP
        and _apart(places[i], places[j]) <= _NEAR
    ]
    return np.array(found, np.intp)


def _apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    size = np.exp(min(one[2], other[2]))
    turn = (one[3] - other[3] + np.pi) % (2 * np.pi) - np.pi
    parts = np.array([*((one - other)[:2] / size), ARM * (one[2] - other[2]), ARM * turn])
    return float(np.sqrt((parts**2).sum()))


def _jump(
    order: NDArray[np.intp], at: int, numbers: NDArray[np.int64], places: NDArray[np.float64]
) -> float:
    i = order[at]
    excess = []
    for a in order[max(0, at - _REACH) : at]:
        for b in order[at + 1 : at + 1 + _REACH]:
            gap = int(numbers[b] - numbers[a])
            if not 2 <= gap <= _LONGEST_GAP or numbers[i] in (numbers[a], numbers[b]):
                continue
            share = (numbers[i] - numbers[a]) / gap
            between = places[a] * (1 - share) + places[b] * share
            excess.append(_apart(places[i], between) - _apart(places[a], places[b]))
    return float(np.median(excess)) if len(excess) >= 3 else float("nan")

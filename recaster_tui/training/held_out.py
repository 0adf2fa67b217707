"""Faces that a model never trains on, so that it can be measured on what it has not seen.

Chosen by time: whole stretches of the film, since the frame before or after a face is almost the
same face. The choice is part of the model's state and stays, whatever becomes of the faceset.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recaster_tui.faces.face import Face

LEAST_FACES = 100
"""Of a smaller side none can be spared."""
MOST_MEASURED = 24
"""Faces of each side that are measured, and as many trained ones: twice 24 is what costs."""

_LEAST_HELD = 5
_STRETCH = 8  # faces that a stretch should have before there are two
_MOST_STRETCHES = 8
_MARGIN = 5  # a fifth of a stretch at each end is kept aside, but lies too near to be measured
_WAY_BETWEEN = 3  # how many times its length a stretch may have grown by faces added within
_DIGITS = re.compile(r"(\d+)")

Entry = tuple[str, str, str]
"""Of a face: file name, name of its frame, content key."""


def content_key(face: Face) -> str:
    """A key that outlives renaming, repacking, resizing and new masks: frame and landmarks."""
    points = np.round(np.asarray(face.landmarks, np.float64) / max(face.shape[1], 1), 3) + 0.0
    digest = hashlib.sha256((face.source_filename or "").encode())
    digest.update(points.astype("<f4").tobytes())
    return digest.hexdigest()[:16]


def entry_of(face: Face) -> Entry:
    """What is remembered of a face."""
    return face.name, face.source_filename or "", content_key(face)


class Finder:
    """Finds remembered faces among *faces*."""

    def __init__(self, faces: Sequence[Face]) -> None:
        self._by_key: dict[str, list[Face]] = {}
        self._by_name: dict[tuple[str, str], list[Face]] = {}
        for face in faces:
            name, frame, key = entry_of(face)
            self._by_key.setdefault(key, []).append(face)
            self._by_name.setdefault((name, frame), []).append(face)

    def find(self, entries: Sequence[Entry]) -> list[list[Face]]:
        """The faces of each entry, none where they are gone.

        The content key decides, because sorting gives files new names; where it is not found
        (landmarks were corrected) the same file name cut from the same frame does.
        """
        by_key, by_name = self._by_key, self._by_name
        return [by_key.get(key) or by_name.get((name, frame)) or [] for name, frame, key in entries]


def in_time(faces: Sequence[Face]) -> list[Face]:
    """In the order of their frames' names, numbers by their value."""
    return sorted(faces, key=lambda face: (_natural(_frame(face)), _natural(face.name)))


@dataclass(frozen=True)
class Chosen:
    """What is remembered of one side.

    Attributes:
        since: iteration from which on these faces have not been trained on; -1: they are now.
        stretches: the faces kept aside, in the order of time.
        compared: trained faces that are measured beside them.
    """

    since: int
    stretches: tuple[tuple[Entry, ...], ...]
    compared: tuple[Entry, ...]


@dataclass(frozen=True)
class HeldOut:
    """The held-out faces of a model, found again in its present facesets.

    Attributes:
        chosen: what is remembered, by side.
        aside: every face that is never trained on, of both sides.
        measured: the ones that are measured, by side; none where a side has none.
        compared: as many trained ones, by side.
    """

    chosen: Mapping[str, Chosen] = field(default_factory=dict)
    aside: frozenset[Face] = frozenset()
    measured: Mapping[str, Sequence[Face]] = field(default_factory=dict)
    compared: Mapping[str, Sequence[Face]] = field(default_factory=dict)

    @property
    def since(self) -> int:
        """Iteration from which on none of the measured faces has been trained on."""
        return max((self.chosen[side].since for side in self.measured), default=0)

    def state(self) -> dict[str, Any]:
        """JSON-able, for :func:`hold_out`."""
        return {
            side: {
                "since": chosen.since,
                "stretches": [[list(entry) for entry in part] for part in chosen.stretches],
                "compared": [list(entry) for entry in chosen.compared],
            }
            for side, chosen in self.chosen.items()
        }


NOTHING = HeldOut()
"""No face is held out."""


def hold_out(
    faces: Mapping[str, Sequence[Face]],
    *,
    percent: float,
    seed: int,
    iteration: int,
    state: Mapping[str, Any] | None = None,
) -> HeldOut:
    """Choose the held-out faces of a model, or find those chosen before.

    Args:
        faces: by side, those that could be trained on.
        percent: of each side; 0 = none, those of earlier are trained on then.
        seed: of the model: where the stretches lie.
        iteration: of the model, now.
        state: :meth:`HeldOut.state` of the model's last save.
    """
    chosen = {side: known for side in state or {} if (known := _remembered((state or {})[side]))}
    aside: set[Face] = set()
    measured: dict[str, list[Face]] = {}
    compared: dict[str, list[Face]] = {}
    for side, those in faces.items():
        known = chosen.get(side)
        if percent <= 0:
            if known is not None:
                chosen[side] = Chosen(-1, known.stretches, known.compared)
            continue
        if known is None and len(those) < LEAST_FACES:
            continue
        ordered = in_time(those)
        finder = Finder(ordered)
        found = [finder.find(part) for part in known.stretches] if known else []
        if known is None or not any(any(hits) for part in found for hits in part):
            if len(ordered) < LEAST_FACES:
                continue  # none of the old ones is left, and too few for a choice
            known = _choose(ordered, percent, seed, iteration)
            found = [finder.find(part) for part in known.stretches]
        kept, inner = _spread(found, ordered)
        if 2 * len(kept) > len(ordered):  # most of the others were deleted: too few to train on
            chosen[side] = Chosen(-1, known.stretches, known.compared)
            continue
        if known.since < 0:
            known = Chosen(iteration, known.stretches, known.compared)
        chosen[side] = known
        aside |= kept
        measured[side] = [inner[i] for i in _evenly(len(inner), MOST_MEASURED)]
        those_compared = [hit[0] for hit in finder.find(known.compared) if hit]
        compared[side] = [face for face in those_compared if face not in kept]
    return HeldOut(chosen, frozenset(aside), measured, compared)


def _choose(ordered: Sequence[Face], percent: float, seed: int, iteration: int) -> Chosen:
    count = len(ordered)
    held = max(_LEAST_HELD, round(count * percent / 100))
    parts = max(1, min(_MOST_STRETCHES, held // _STRETCH))
    rng = np.random.default_rng((seed, 0x4E1D))
    stretches: list[tuple[Entry, ...]] = []
    taken: set[int] = set()
    for part in range(parts):
        # Each in its own part of the film, so that all of its scenes have their chance.
        low, high = count * part // parts, count * (part + 1) // parts
        length = held * (part + 1) // parts - held * part // parts
        start = low + int(rng.integers(0, high - low - length + 1))
        stop = start + length
        while start > low and _frame(ordered[start - 1]) == _frame(ordered[start]):
            start -= 1  # two faces cut from one frame are not told apart by time
        while stop < high and _frame(ordered[stop]) == _frame(ordered[stop - 1]):
            stop += 1
        taken |= set(range(start, stop))
        stretches.append(tuple(entry_of(face) for face in ordered[start:stop]))
    rest = [face for i, face in enumerate(ordered) if i not in taken]
    wanted = sum(len(_inner(len(part))) for part in stretches)
    compared = [rest[i] for i in _evenly(len(rest), min(MOST_MEASURED, wanted))]
    return Chosen(iteration, tuple(stretches), tuple(map(entry_of, compared)))


def _spread(
    found: Sequence[Sequence[Sequence[Face]]], ordered: Sequence[Face]
) -> tuple[set[Face], list[Face]]:
    """All faces to keep aside, and the inner ones of each stretch.

    Faces that were added between two of a stretch are neighbours of both: aside with them.
    """
    place = {face: i for i, face in enumerate(ordered)}
    kept: set[Face] = set()
    inner: list[Face] = []
    for part in found:
        there = [face for hits in part for face in hits]
        kept.update(there)
        places = sorted(place[face] for face in there)
        if places and places[-1] - places[0] < _WAY_BETWEEN * len(part):
            kept.update(ordered[places[0] : places[-1] + 1])
        inner += [part[i][0] for i in _inner(len(part)) if part[i]]
    return kept, inner


def _inner(length: int) -> range:
    margin = length // _MARGIN
    return range(margin, length - margin)


def _evenly(count: int, most: int) -> list[int]:
    """At most *most* of 0 … count - 1, evenly spread."""
    if count <= most:
        return list(range(count))
    return [(2 * i + 1) * count // (2 * most) for i in range(most)]


def _remembered(state: Any) -> Chosen | None:
    try:
        return Chosen(
            int(state["since"]),
            tuple(tuple(_entry(e) for e in part) for part in state["stretches"]),
            tuple(_entry(e) for e in state["compared"]),
        )
    except (TypeError, KeyError, ValueError):
        return None


def _entry(stored: Sequence[Any]) -> Entry:
    name, frame, key = stored
    return str(name), str(frame), str(key)


def _frame(face: Face) -> str:
    return face.source_filename or face.name


def _natural(text: str) -> list[tuple[int, str]]:
    """A key that sorts ``f9`` before ``f10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(text)]

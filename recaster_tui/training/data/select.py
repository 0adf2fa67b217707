"""Which faces make a batch (spec/dfl-models.md 7.2). Everything here can be saved and resumed.

Orders are not stored: a pass is reshuffled by a generator made from (seed, name, pass), so the
state of a queue is two numbers and a resumed run goes on with the very same faces.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

_YAW_GRID = np.linspace(-1.2, 1.2, 128)


class BatchSampler(Protocol):
    """Chooses positions in a face cache."""

    def take(self, count: int) -> Indices:
        """The next *count* positions."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """JSON-able state."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        ...


class ShuffledQueue:
    """Every position once a pass, in a new order each pass; *stream* tells queues apart."""

    def __init__(self, count: int, seed: int, *stream: int) -> None:
        if count < 1:
            raise ValueError("nothing to choose from")
        self._count = count
        self._entropy = (seed, *stream)
        self._pass = 0
        self._used = 0
        self._order: Indices | None = None

    def take(self, count: int) -> Indices:
        """The next *count* positions; a pass may end and another begin within."""
        taken = np.empty(count, np.int64)
        done = 0
        while done < count:
            if self._used == self._count:
                self._pass, self._used, self._order = self._pass + 1, 0, None
            if self._order is None:
                rng = np.random.default_rng((*self._entropy, self._pass))
                self._order = rng.permutation(self._count)
            step = min(count - done, self._count - self._used)
            taken[done : done + step] = self._order[self._used : self._used + step]
            self._used += step
            done += step
        return taken

    def state_dict(self) -> dict[str, Any]:
        """Pass and place in it."""
        return {"count": self._count, "pass": self._pass, "used": self._used}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume; a faceset that changed in size begins a new pass."""
        same = state["count"] == self._count
        self._pass = int(state["pass"]) + (not same)
        self._used = int(state["used"]) if same else 0
        self._order = None


class YawQueue:
    """Uniform yaw: bins from a shuffled queue, a face from each bin's own queue.

    Args:
        yaw: (n,) radians, as :attr:`FaceCache.yaw`.
        seed: run seed.
        stream: tells queues of a run apart.
    """

    def __init__(self, yaw: NDArray[np.float32], seed: int, *stream: int) -> None:
        place = np.searchsorted(_YAW_GRID, yaw.astype(np.float64), side="right") - 1
        place = np.clip(place, 0, len(_YAW_GRID) - 1)
        self._bins = [np.flatnonzero(place == p) for p in np.unique(place)]
        self._order = ShuffledQueue(len(self._bins), seed, *stream, 0)
        self._queues = [
            ShuffledQueue(len(faces), seed, *stream, i + 1) for i, faces in enumerate(self._bins)
        ]

    def take(self, count: int) -> Indices:
        """The next *count* positions."""
        bins = self._order.take(count)
        return np.array([self._bins[b][self._queues[b].take(1)[0]] for b in bins], np.int64)

    def state_dict(self) -> dict[str, Any]:
        """Of the bin queue and of each bin's."""
        return {
            "order": self._order.state_dict(),
            "queues": [queue.state_dict() for queue in self._queues],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume; with other bins than before (the faceset changed) begin anew."""
        self._order.load_state_dict(state["order"])
        if len(state["queues"]) == len(self._queues):
            for queue, saved in zip(self._queues, state["queues"], strict=True):
                queue.load_state_dict(saved)


class Among:
    """A sampler's choice among *positions* only: the others never come."""

    def __init__(self, sampler: BatchSampler, positions: Indices) -> None:
        self._sampler = sampler
        self._positions = positions

    def take(self, count: int) -> Indices:
        """The next *count* of the positions."""
        return self._positions[self._sampler.take(count)]

    def state_dict(self) -> dict[str, Any]:
        """The sampler's own."""
        return self._sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume the sampler."""
        self._sampler.load_state_dict(state)

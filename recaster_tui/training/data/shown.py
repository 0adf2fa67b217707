"""The faces of the previews: the same ones however many are shown, and in every later run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from recaster_tui.faces.face import Face
from recaster_tui.training.data.select import Indices
from recaster_tui.training.held_out import Finder, entry_of

MOST = 16
"""As many as ``preview_samples`` may ask for."""

# Shares of an ordered set: the first n of these lie well apart for every n.
_SHARES = (6, 10, 2, 14, 4, 12, 8, 0, 16, 5, 11, 1, 15, 7, 9, 3, 13)


def well_spread(count: int) -> list[int]:
    """Up to :data:`MOST` different places of 0 … count - 1, well apart from the first on."""
    places = [min(share * count // 16, count - 1) for share in _SHARES]
    return list(dict.fromkeys([*places, *range(min(count, 2 * MOST))]))[: min(count, MOST)]


class ShownFaces:
    """Chosen once, saved with the data source's state, found again when the set has changed."""

    def __init__(self, faces: Sequence[Face], order: Sequence[int]) -> None:
        """Take *order*, positions in *faces*, most wanted first."""
        self.faces = faces
        self._take_over(order)

    def _take_over(self, positions: Sequence[int]) -> None:
        self._positions = list(positions)
        self._entries = [list(entry_of(self.faces[i])) for i in self._positions]

    def take(self, count: int) -> Indices:
        """Positions of *count* faces; few repeat."""
        return np.resize(np.array(self._positions, np.int64), count)

    def state(self) -> list[list[str]]:
        """JSON-able."""
        return self._entries

    def recall(self, state: Any) -> None:
        """Go back to the faces of *state*; those that are gone are replaced."""
        try:
            entries = [(str(name), str(frame), str(key)) for name, frame, key in state]
        except (TypeError, ValueError):
            return
        if [list(entry) for entry in entries] == self._entries:
            return
        place = {face: i for i, face in enumerate(self.faces)}
        known = [place[hit[0]] for hit in Finder(self.faces).find(entries) if hit]
        if known:
            self._take_over(list(dict.fromkeys([*known, *self._positions]))[:MOST])

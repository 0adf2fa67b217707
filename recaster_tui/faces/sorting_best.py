"""DFL's selection of the best faces over all poses (dfl-data.md 6.3)."""

import math

import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.sorting_chains import dissimilarity

_YAW_BINS = 128
_YAW_LIMIT = 1.2
_KEEP = 10  # candidates for each place in a yaw bin


def best_faces(
    quality: NDArray[np.float64],
    yaw: NDArray[np.float64],
    pitch: NDArray[np.float64],
    histograms: NDArray[np.float32],
    target: int,
) -> list[int]:
    """Choose about *target* faces: the sharpest of each yaw, as different as can be in pitch.

    The original takes none at all for fewer than 64 faces (its 128 bins get a share of 0); here
    a small target gets fewer bins, and never more faces than asked for.

    Args:
        quality: (n,) the larger the better.
        yaw: (n,) radians.
        pitch: (n,) radians.
        histograms: (n, 256) square roots of gray shares.
        target: how many to choose.

    Returns:
        chosen indices in the order of yaw bins.
    """
    count = max(1, min(_YAW_BINS, target))
    by_yaw = _bins(-yaw, np.linspace(-_YAW_LIMIT, _YAW_LIMIT, count))
    share = max(1, round(target / count))
    lack = sum(max(0, share - len(some)) for some in by_yaw)
    share += lack // count

    chosen: list[int] = []
    for some in by_yaw:
        candidates = some[np.argsort(-quality[some], kind="stable")][: _KEEP * share]
        edges = np.linspace(-math.pi / 2, math.pi / 2, share)
        queues = [
            part[np.argsort(-dissimilarity(histograms[part]), kind="stable")].tolist()
            for part in (candidates[found] for found in _bins(pitch[candidates], edges))
            if len(part)
        ]
        taken = 0
        while queues and taken < share:
            for queue in queues:
                if taken < share:
                    chosen.append(queue.pop(0))
                    taken += 1
            queues = [queue for queue in queues if queue]
    return chosen[:target] if target < _YAW_BINS else chosen


def _bins(values: NDArray[np.float64], edges: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Indices between neighbouring edges; the first and the last bin take what lies beyond."""
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 1)
    return [np.flatnonzero(places == i) for i in range(len(edges))]

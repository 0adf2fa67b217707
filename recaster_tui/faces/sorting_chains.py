"""Orders that compare every face with every other: chains and dissimilarity (dfl-data.md 6.2).

The Bhattacharyya distance of two histograms is OpenCV's: sqrt(1 - sum(sqrt(p q))) for shares p
and q. Histograms arrive as square roots of shares, so that the sum is a dot product.
"""

from collections.abc import Callable
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_Row = TypeVar("_Row")
Tick = Callable[[int], bool]
"""Told how many faces are done; answers whether to go on."""

_BLOCK = 512
_TELL_EVERY = 64


def histogram_chain(histograms: Floats, tick: Tick) -> list[int]:
    """Greedy chain from the first face, each next one the most similar by its colours.

    Args:
        histograms: (n, channels, 256) square roots of shares; distances are summed over channels.
        tick: called now and then.

    Returns:
        all n indices, or fewer when *tick* said stop.
    """
    data = np.ascontiguousarray(histograms.transpose(1, 0, 2))

    def distances(count: int, current: Floats) -> Floats:
        total = np.zeros(count, np.float32)
        for channel, one in zip(data, current, strict=True):
            total += np.sqrt(np.maximum(1.0 - channel[:count] @ one, 0.0))
        return total

    def drop(place: int, last: int) -> Floats:
        taken = data[:, place].copy()
        data[:, place] = data[:, last]
        return taken

    return _chain(data.shape[1], distances, drop, tick, farthest=False)


def difference_chain(pictures: NDArray[np.uint8], tick: Tick, *, farthest: bool) -> list[int]:
    """Greedy chain from the first face by the sum of absolute differences of pixels.

    Args:
        pictures: (n, values) uint8.
        tick: called now and then.
        farthest: each next one the least similar instead of the most similar.

    Returns:
        all n indices, or fewer when *tick* said stop.
    """
    data = pictures.copy()

    def distances(count: int, current: NDArray[np.uint8]) -> NDArray[np.int32]:
        one = current[None]
        found = cv2.batchDistance(data[:count], one, cv2.CV_32S, None, None, cv2.NORM_L1, 1)[0]
        return np.asarray(found, np.int32).reshape(-1)

    def drop(place: int, last: int) -> NDArray[np.uint8]:
        taken: NDArray[np.uint8] = data[place].copy()
        data[place] = data[last]
        return taken

    return _chain(len(data), distances, drop, tick, farthest=farthest)


def _chain(
    count: int,
    distances: Callable[[int, _Row], NDArray[np.float32] | NDArray[np.int32]],
    drop: Callable[[int, int], _Row],
    tick: Tick,
    *,
    farthest: bool,
) -> list[int]:
    """The chain over rows that are kept together: the one taken is overwritten by the last."""
    order: list[int] = []
    if not count:
        return order
    ids = np.arange(count)
    place = 0
    while True:
        order.append(int(ids[place]))
        count -= 1
        ids[place] = ids[count]
        if not count:
            return order
        current = drop(place, count)
        if len(order) % _TELL_EVERY == 0 and not tick(len(order)):
            return order
        found = distances(count, current)
        place = int(found.argmax() if farthest else found.argmin())


def dissimilarity(histograms: Floats, tick: Tick = lambda _: True) -> NDArray[np.float64]:
    """(n,) sum of the Bhattacharyya distances of each histogram to all others.

    Args:
        histograms: (n, 256) square roots of shares.
        tick: told how many are done; where it says stop, the rest stays 0.
    """
    count = len(histograms)
    result = np.zeros(count)
    for start in range(0, count, _BLOCK):
        some = histograms[start : start + _BLOCK]
        distance = np.sqrt(np.maximum(1.0 - some @ histograms.T, 0.0))
        place = np.arange(len(some))
        distance[place, start + place] = 0.0  # rounding would leave a little
        result[start : start + _BLOCK] = distance.sum(1, dtype=np.float64)
        if not tick(start + len(some)):
            break
    return result

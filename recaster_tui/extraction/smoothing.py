"""Landmarks smoothed over time without lag, per face, frames streaming through.

Savitzky and Golay, "Smoothing and differentiation of data by simplified least squares
procedures", Anal. Chem. 36(8), 1964: a parabola through the frames around each one. It takes out
the detector's noise and leaves movements up to constant acceleration as they are. Where a face is
lost, jumps or is new, the window ends: nothing is smoothed across a cut.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.extraction.finder import FoundFace

HALF = 2
"""Frames before and after each one that take part. Three take out no more of the jitter of
rendered films, and begin to flatten quick movements of the mouth."""
GLANCE = (32, 18)
"""Width and height of the glance at a frame by which cuts are seen."""
_ORDER = 2
_JUMP = 0.12  # of the face's size between two frames: another face, or a cut
_CUT = 20.0  # mean difference of two glances, of 255


@dataclass
class _Frame:
    faces: list[FoundFace]
    before: list[int | None]  # which face of the frame before each one is


def glance(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame (H, W, 3), tiny."""
    return np.asarray(cv2.resize(picture, GLANCE, interpolation=cv2.INTER_AREA), np.uint8)


def is_cut(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> bool:
    """Whether two glances show different scenes."""
    return float(np.abs(before.astype(np.int16) - after).mean()) > _CUT


class TrackSmoother:
    """Frames go in by :meth:`push` in order and come out smoothed, :data:`HALF` frames later."""

    def __init__(self, half: int = HALF) -> None:
        self._half = half
        self._frames: deque[_Frame] = deque()
        self._out = 0  # position in the deque of the next frame to come out

    def push(self, faces: Sequence[FoundFace], *, cut: bool = False) -> Iterator[list[FoundFace]]:
        """Add a frame; yields those that are complete now.

        Args:
            faces: what was found; empty where nothing was.
            cut: nothing connects this frame with the one before.
        """
        before: list[int | None] = [None] * len(faces)
        if self._frames and not cut:
            before = _match(self._frames[-1].faces, faces)
        self._frames.append(_Frame(list(faces), before))
        while len(self._frames) - self._out > self._half:
            yield self._next()

    def flush(self) -> Iterator[list[FoundFace]]:
        """The frames still held, when no more come."""
        while self._out < len(self._frames):
            yield self._next()

    def _next(self) -> list[FoundFace]:
        at = self._out
        result = [self._smoothed(at, index) for index in range(len(self._frames[at].faces))]
        self._out += 1
        while self._out > self._half:
            self._frames.popleft()
            self._out -= 1
        return result

    def _smoothed(self, at: int, index: int) -> FoundFace:
        here = self._frames[at].faces[index]
        window = {0: here}
        position: int | None = index
        for step in range(1, min(self._half, at) + 1):
            assert position is not None
            position = self._frames[at - step + 1].before[position]
            if position is None:
                break
            window[-step] = self._frames[at - step].faces[position]
        position = index
        for step in range(1, self._half + 1):
            if at + step >= len(self._frames) or position not in self._frames[at + step].before:
                break
            position = self._frames[at + step].before.index(position)
            window[step] = self._frames[at + step].faces[position]
        offsets = tuple(sorted(window))
        weights = _weights(offsets)
        faces = [window[offset] for offset in offsets]
        mesh = here.mesh
        if mesh is not None:
            meshes = [face.mesh for face in faces]
            if all(other is not None and other.shape == mesh.shape for other in meshes):
                mesh = _mean(meshes, weights)
        return replace(here, landmarks=_mean([f.landmarks for f in faces], weights), mesh=mesh)


@lru_cache(maxsize=256)
def _weights(offsets: tuple[int, ...]) -> tuple[float, ...]:
    """What each frame counts for the value of the fitted polynomial at offset 0.

    A window that is cut short on one side gets a polynomial of lower order: a parabola's end
    follows the noise.
    """
    reach = min(-offsets[0], offsets[-1])
    order = min(_ORDER, len(offsets) - 1) if reach > 0 else min(1, len(offsets) - 1)
    powers = np.vander(np.array(offsets, np.float64), order + 1, increasing=True)
    return tuple(float(w) for w in np.linalg.pinv(powers)[0])


def _mean(arrays: Sequence[Any], weights: Sequence[float]) -> NDArray[np.float32]:
    return np.asarray(
        np.tensordot(np.array(weights), np.stack(arrays).astype(np.float64), 1), np.float32
    )


def _match(old: Sequence[FoundFace], new: Sequence[FoundFace]) -> list[int | None]:
    """For each new face the index of the old one that it is, nearest pairs first."""
    pairs = []
    for j, face in enumerate(new):
        for i, other in enumerate(old):
            size = max(_size(face), _size(other), 1e-6)
            apart = np.linalg.norm(face.landmarks - other.landmarks, axis=1).mean()
            ratio = min(_size(face), _size(other)) / size
            if apart < _JUMP * size and ratio > 0.7:
                pairs.append((float(apart / size), i, j))
    found: list[int | None] = [None] * len(new)
    used: set[int] = set()
    for _, i, j in sorted(pairs):
        if i not in used and found[j] is None:
            found[j] = i
            used.add(i)
    return found


def _size(face: FoundFace) -> float:
    extent = np.ptp(np.asarray(face.landmarks, np.float64), axis=0)
    return float(np.sqrt(abs(extent[0] * extent[1])))

"""Tracks: faces of one person in frame after frame of a source."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_NUMBER = re.compile(r"(\d+)(?!.*\d)")
_OVERLAP = 0.25
"""Least intersection over union of a face's places in two frames that makes them one track."""


@dataclass(frozen=True)
class TrackFace:
    """What is known of a face before its pixels are looked at.

    Attributes:
        frame: number of its frame; None when its name has none.
        rect: (4,) left, top, right, bottom in the frame.
    """

    frame: int | None
    rect: NDArray[np.float64] | None


def frame_number(source_filename: str | None) -> int | None:
    """The last number in a frame's name: 17 of ``clip_00017.png``."""
    stem = (source_filename or "").rsplit(".", 1)[0]
    found = _NUMBER.search(stem)
    return int(found.group(1)[:18]) if found else None


def place_in_frame(
    source_landmarks: ArrayLike | None, source_rect: ArrayLike | None
) -> NDArray[np.float64] | None:
    """(4,) the box of the landmarks in the frame, else the stored rectangle."""
    if source_landmarks is not None:
        points = np.asarray(source_landmarks, np.float64)
        return np.concatenate([points.min(0), points.max(0)])
    return None if source_rect is None else np.asarray(source_rect, np.float64)


def find_tracks(faces: Sequence[TrackFace], longest_gap: int = 5) -> list[list[int]]:
    """Group faces that follow each other at about the same place.

    Args:
        faces: in any order.
        longest_gap: frames that a face may be missing for.

    Returns:
        indices into *faces*, each track in the order of its frames, at most one face a frame;
        faces without a frame number or place are in none.
    """
    usable = [i for i, f in enumerate(faces) if f.frame is not None and f.rect is not None]
    usable.sort(key=lambda i: (faces[i].frame, i))
    tracks: list[list[int]] = []
    open_tracks: list[list[int]] = []
    start = 0
    while start < len(usable):
        frame = faces[usable[start]].frame
        assert frame is not None
        end = start
        while end < len(usable) and faces[usable[end]].frame == frame:
            end += 1
        here = usable[start:end]
        open_tracks = [t for t in open_tracks if frame - _frame(faces, t[-1]) <= longest_gap + 1]
        pairs = [
            (overlap(faces[t[-1]].rect, faces[i].rect), k, i)
            for k, t in enumerate(open_tracks)
            for i in here
        ]
        taken: set[int] = set()
        continued: set[int] = set()
        for score, k, i in sorted(pairs, key=lambda p: -p[0]):
            if score >= _OVERLAP and k not in continued and i not in taken:
                open_tracks[k].append(i)
                continued.add(k)
                taken.add(i)
        for i in here:
            if i not in taken:
                track = [i]
                tracks.append(track)
                open_tracks.append(track)
        start = end
    return tracks


def overlap(one: NDArray[np.float64] | None, other: NDArray[np.float64] | None) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    if one is None or other is None:
        return 0.0
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    areas = [float(np.prod(np.maximum(b[2:] - b[:2], 0))) for b in (one, other)]
    union = sum(areas) - common
    return common / union if union > 0 else 0.0


def between_labels(
    track: Sequence[int], labelled: Sequence[bool], at: int
) -> tuple[int, int] | None:
    """The nearest labelled faces before and after position *at* of a track, as positions.

    Args:
        track: see :func:`find_tracks`.
        labelled: for each face of it.
        at: a position in *track*; if it is labelled itself, the gap after it is meant.
    """
    before = next((i for i in range(at, -1, -1) if labelled[i]), None)
    after = next((i for i in range(at + 1, len(track)) if labelled[i]), None)
    if before is None or after is None or after - before < 2:
        return None
    return before, after


def _frame(faces: Sequence[TrackFace], index: int) -> int:
    frame = faces[index].frame
    assert frame is not None
    return frame

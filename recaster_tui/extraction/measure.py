"""How well a finder does on frames whose truth is known.

Landmark error is the normalised mean error of the face-alignment literature: mean distance of the
points to the truth, divided by the distance of the outer eye corners in the picture (points 36 and
45). That distance shrinks with yaw, so a profile counts its errors several times, and beyond 75
degrees the figure says nothing. ``nme_inner`` is of the 51 points inside the face, which alone
decide the alignment; ``nme`` is of all 68.

Alignment jitter is how far the truth's points move from frame to frame in the aligned picture. The
truth's own alignment gives the movement that is real (expressions, turning); what a finder gives
beyond that is its wobble.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recaster_tui.extraction.finder import FaceFinder, FoundFace, Frame, Points
from recaster_tui.faces.geometry import alignment_matrix, transform_points
from recaster_tui.faces.types import FaceType

YAW_EDGES = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0)
LIMIT = 60.0  # degrees of yaw within which the product promises to find a face
MISSED = 0.25  # mean distance in sides of the face beyond which what was found is another one
INNER = slice(17, 68)
JITTER_SIZE = 256
JITTER_TYPE = FaceType.WHOLE


@dataclass(frozen=True)
class TrueFrame:
    """A frame with one face, and the truth about it."""

    image: Frame
    landmarks: Points  # (68, 2) frame pixels
    yaw: float  # degrees
    clip: int = 0  # frames of the same clip in a row are neighbours in time


@dataclass(frozen=True)
class Bin:
    """The frames whose ``|yaw|`` lies between two angles, the upper one included."""

    low: float
    high: float
    frames: int
    found: int
    nme: float  # mean over the found ones, as a fraction; NaN without any
    nme_inner: float

    @property
    def rate(self) -> float:
        """Share of frames in which the face was found, 0..1."""
        return self.found / self.frames if self.frames else float("nan")


@dataclass
class Measures:
    """What :func:`measure` found out. Errors are fractions, not percent."""

    bins: list[Bin]
    within: Bin  # all frames with |yaw| <= LIMIT
    jitter: float  # pixels of a 256-pixel whole face per frame
    jitter_truth: float
    surplus: int  # faces found beyond the one that is there
    doubtful: int
    seconds: float  # per frame, median, processor time of this thread
    missed: list[int] = field(default_factory=list)  # indices of frames


def nme(found: Points, truth: Points, points: slice = INNER) -> float:
    """Normalised mean error of landmarks (68, 2) over *points*; a fraction."""
    between = float(np.linalg.norm(truth[36] - truth[45]))
    return float(np.linalg.norm(found[points] - truth[points], axis=1).mean()) / between


def nearest(faces: Sequence[FoundFace], truth: Points) -> FoundFace | None:
    """The found face that is the true one (68, 2): None where none comes near."""
    best = min(faces, key=lambda face: _off(face.landmarks, truth), default=None)
    if best is None or _off(best.landmarks, truth) > MISSED:
        return None
    return best


def _off(found: Points, truth: Points) -> float:
    """Mean distance in sides of the true face: unlike the NME it means the same at every yaw."""
    side = float(np.sqrt(np.prod(truth.max(0) - truth.min(0))))
    return float(np.linalg.norm(found - truth, axis=1).mean()) / side


def alignment_jitter(landmarks: Sequence[Points | None], truths: Sequence[Points]) -> list[float]:
    """Movement of the true inner points between neighbouring aligned pictures, in pixels.

    Args:
        landmarks: (68, 2) by which each frame would be aligned; None where nothing was found.
        truths: (68, 2) of each frame.

    Returns:
        One mean distance for each pair of neighbours that both have landmarks.
    """
    placed: list[NDArray[np.floating] | None] = []
    for points, truth in zip(landmarks, truths, strict=True):
        if points is None:
            placed.append(None)
            continue
        matrix = alignment_matrix(points, JITTER_SIZE, JITTER_TYPE)
        placed.append(transform_points(truth[INNER].astype(np.float64), matrix))
    return [
        float(np.linalg.norm(after - before, axis=1).mean())
        for before, after in pairwise(placed)
        if before is not None and after is not None
    ]


def measure(finder: FaceFinder, frames: Iterable[TrueFrame]) -> Measures:
    """Run *finder* over *frames* and compare."""
    truths: list[TrueFrame] = []
    matched: list[Points | None] = []
    seconds: list[float] = []
    surplus = doubtful = 0
    for frame in frames:
        start = time.thread_time()
        faces = finder.find(frame.image)
        seconds.append(time.thread_time() - start)
        face = nearest(faces, frame.landmarks)
        surplus += len(faces) - (face is not None)
        doubtful += face is not None and face.doubt is not None
        matched.append(None if face is None else face.landmarks)
        # The picture is not kept: a film would not fit.
        truths.append(
            TrueFrame(np.empty((0, 0, 3), np.uint8), frame.landmarks, frame.yaw, frame.clip)
        )
    found_jitter, true_jitter = [], []
    for clip in dict.fromkeys(t.clip for t in truths):
        rows = [k for k, t in enumerate(truths) if t.clip == clip]
        true = [truths[k].landmarks for k in rows]
        found = [matched[k] for k in rows]
        both = [t if f is not None else None for t, f in zip(true, found, strict=True)]
        found_jitter += alignment_jitter(found, true)
        true_jitter += alignment_jitter(both, true)
    edges = pairwise(YAW_EDGES)
    return Measures(
        bins=[_bin(truths, matched, low, high) for low, high in edges],
        within=_bin(truths, matched, 0.0, LIMIT),
        jitter=_mean(found_jitter),
        jitter_truth=_mean(true_jitter),
        surplus=surplus,
        doubtful=doubtful,
        seconds=float(np.median(seconds)) if seconds else float("nan"),
        missed=[k for k, points in enumerate(matched) if points is None],
    )


def _bin(truths: list[TrueFrame], found: list[Points | None], low: float, high: float) -> Bin:
    rows = [
        k for k, t in enumerate(truths) if low < abs(t.yaw) <= high or (low == 0 and t.yaw == 0)
    ]
    pairs = [(points, truths[k].landmarks) for k in rows if (points := found[k]) is not None]
    return Bin(
        low,
        high,
        frames=len(rows),
        found=len(pairs),
        nme=_mean([nme(points, truth, slice(68)) for points, truth in pairs]),
        nme_inner=_mean([nme(points, truth) for points, truth in pairs]),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")

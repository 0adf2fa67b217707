"""Whether the landmarks fit the picture, learnt from the set itself.

Most faces of a set are aligned well. Moving their crops by known amounts shows how the picture
looks when the landmarks are off, for exactly these people, lights and cameras; a linear map from
gradient histograms (N. Dalal, B. Triggs, "Histograms of oriented gradients for human detection",
CVPR 2005) back to the movement then tells of each face how far its own landmarks are off. A face
is always judged by a map that was learnt from others.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.quality.canonical import CROP, CROP_HALF
from recaster_tui.faces.quality.subspace import remainder

Floats = NDArray[np.float32]

WINDOW = 50
_CELL = 5
_ORIENTATIONS = 8
_SHIFT, _STRETCH, _TURN = 0.2, 0.26, 0.45  # unit squares, log scale, radians
_LEARN_FROM = 500
_SAMPLES = 3600
_FOLDS = 3
_RIDGE = 100.0
_COMPONENTS = 24
ARM = 0.45
"""Distance at which a turn or a stretch is felt, in unit squares: about that of eyes and mouth."""


@dataclass(frozen=True)
class Fit:
    """How well landmarks fit pictures.

    Attributes:
        offset: (n, 4) how far they are off: x, y in unit squares, log scale, radians.
        gain: (n,) how much more usual the picture becomes where the landmarks are moved back by
            that: log of the ratio of what the set's components leave. Landmarks that are off gain
            much, a picture that is strange for another reason does not.
    """

    offset: Floats
    gain: Floats

    @property
    def displacement(self) -> Floats:
        """(n,) one length in unit squares for each offset."""
        return displacement(self.offset)


def fit_landmarks(
    crops: NDArray[np.uint8], usable: NDArray[np.bool_], pose: Floats, seed: int = 0
) -> Fit:
    """Judge the landmarks of every face by the pictures of the others.

    Args:
        crops: (n, CROP, CROP) of the set.
        usable: (n,) which faces may teach; at least eight.
        pose: (n, m) see ``subspace.pose_terms``.
        seed: of the movements.
    """
    count = len(crops)
    rng = np.random.default_rng(seed)
    fold = rng.permutation(count) % min(_FOLDS, count)
    own = histograms(_windows(crops, np.zeros((count, 4), np.float32)))
    offset = np.zeros((count, 4), np.float32)
    gain = np.zeros(count, np.float32)
    trusted = usable.copy()
    for last in (False, True):
        found = offset.copy()
        for k in range(int(fold.max()) + 1):
            learn = np.flatnonzero((fold != k) & trusted)
            judged = np.flatnonzero(fold == k)
            if len(learn) < 4:
                continue
            learn = rng.permutation(learn)[:_LEARN_FROM]
            each = max(4, min(60, _SAMPLES // len(learn)))
            moves = rng.uniform(-1, 1, (len(learn) * each, 4)).astype(np.float32)
            moves *= np.array([_SHIFT, _SHIFT, _STRETCH, _TURN], np.float32)
            seen = histograms(_windows(np.repeat(crops[learn], each, 0), moves))
            tell = _Ridge(seen, moves)
            first = tell(own[judged])
            if not last:
                found[judged] = first
                continue
            # The map is timid: a second look from where it says the face is.
            found[judged] = first + tell(histograms(_windows(crops[judged], -first)))
            fixed = histograms(_windows(crops[judged], -found[judged]))
            left = remainder(own[learn], pose[learn], _COMPONENTS)
            gain[judged] = np.log(left(own[judged], pose[judged]) / left(fixed, pose[judged]))
        offset = found
        # Those that are off would teach that this is where landmarks belong.
        size = displacement(offset)
        trusted = usable & (size <= max(float(np.quantile(size[usable], 0.85)), 0.03))
    return Fit(offset, gain)


def displacement(offset: Floats) -> Floats:
    """(n,) one length in unit squares for (n, 4) offsets."""
    parts = offset * np.array([1, 1, ARM, ARM], np.float32)
    return np.asarray(np.sqrt((parts**2).sum(1)), np.float32)


def _windows(crops: NDArray[np.uint8], moves: Floats) -> NDArray[np.uint8]:
    """The (n, WINDOW, WINDOW) middles of crops whose landmarks are off by *moves*."""
    scale = CROP / (2 * CROP_HALF)
    half = CROP / 2
    out = np.empty((len(crops), WINDOW, WINDOW), np.uint8)
    for index, (x, y, stretch, turn) in enumerate(moves.tolist()):
        a, b = np.exp(stretch) * np.cos(turn), np.exp(stretch) * np.sin(turn)
        middle = WINDOW / 2
        # Window to crop: turned and stretched about the middle, then shifted.
        matrix = np.array(
            [
                (a, -b, half + x * scale - a * middle + b * middle),
                (b, a, half + y * scale - b * middle - a * middle),
            ]
        )
        out[index] = cv2.warpAffine(
            crops[index],
            matrix,
            (WINDOW, WINDOW),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    return out


def histograms(windows: NDArray[np.uint8], chunk: int = 1024) -> Floats:
    """Gradient histograms (n, cells·cells·orientations) of square (n, S, S) pictures.

    Each cell is normalised with its 3×3 neighbourhood.
    """
    parts = [_histograms(windows[at : at + chunk]) for at in range(0, len(windows), chunk)]
    return np.concatenate(parts)


def _histograms(windows: NDArray[np.uint8]) -> Floats:
    count, side = len(windows), windows.shape[1]
    cells = side // _CELL
    used = slice(0, cells * _CELL)
    picture = windows.astype(np.float32)
    gx, gy = np.zeros_like(picture), np.zeros_like(picture)
    np.subtract(picture[:, :, 2:], picture[:, :, :-2], out=gx[:, :, 1:-1])
    np.subtract(picture[:, 2:], picture[:, :-2], out=gy[:, 1:-1])
    # One tall picture: OpenCV's polar is many times faster than arctan2.
    flat_x, flat_y = (np.ascontiguousarray(g[:, used, used]).reshape(count, -1) for g in (gx, gy))
    size, angle = cv2.cartToPolar(flat_x, flat_y)
    angle *= np.float32(_ORIENTATIONS / np.pi)  # a full turn is two rounds of orientations
    low = angle.astype(np.int32)
    part = angle - low
    row, column = np.divmod(np.arange((cells * _CELL) ** 2, dtype=np.int32), cells * _CELL)
    cell = ((row // _CELL) * cells + column // _CELL) * _ORIENTATIONS
    base = np.arange(count, dtype=np.int32)[:, None] * (cells * cells * _ORIENTATIONS) + cell
    total = count * cells * cells * _ORIENTATIONS
    sums = np.bincount((base + low % _ORIENTATIONS).ravel(), (size * (1 - part)).ravel(), total)
    sums += np.bincount((base + (low + 1) % _ORIENTATIONS).ravel(), (size * part).ravel(), total)
    flat = sums.astype(np.float32).reshape(count, cells, cells, _ORIENTATIONS)
    energy = np.pad((flat**2).sum(3), ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = sum(energy[:, dy : dy + cells, dx : dx + cells] for dy in range(3) for dx in range(3))
    flat /= np.sqrt(np.asarray(around) / 9 + (4.0 * _CELL) ** 2)[..., None]
    return np.sqrt(flat).reshape(count, -1)


class _Ridge:
    """A linear map from histograms (n, d) to movements (n, 4)."""

    def __init__(self, seen: Floats, moves: Floats) -> None:
        self._centre, self._target = seen.mean(0), moves.mean(0)
        x = seen - self._centre
        gram = x.T @ x
        gram[np.diag_indices(len(gram))] += _RIDGE * len(x) / 1000
        self._weights = np.linalg.solve(gram, x.T @ (moves - self._target))

    def __call__(self, seen: Floats) -> Floats:
        return np.asarray((seen - self._centre) @ self._weights + self._target, np.float32)

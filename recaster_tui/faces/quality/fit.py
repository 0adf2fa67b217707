"""Whether the landmarks fit the picture, learnt from the set itself.

Most faces of a set are aligned well. Moving their crops by known amounts shows how the picture
looks when the landmarks are off, for exactly these people, lights and cameras; a linear map from
gradient histograms (N. Dalal, B. Triggs, "Histograms of oriented gradients for human detection",
CVPR 2005) back to the movement then tells of each face how far its own landmarks are off. A face
is always judged by a map that was learnt from others.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.quality.canonical import CROP, CROP_HALF

Floats = NDArray[np.float32]

WINDOW = 50
_CELL = 5
_ORIENTATIONS = 8
_SHIFT, _STRETCH, _TURN = 0.2, 0.26, 0.45  # unit squares, log scale, radians
_LEARN_FROM = 500
_SAMPLES = 5000
_FOLDS = 3
_RIDGE = 100.0
ARM = 0.45
"""Distance at which a turn or a stretch is felt, in unit squares: about that of eyes and mouth."""


def offsets(crops: NDArray[np.uint8], seed: int = 0) -> Floats:
    """How far each face's landmarks are off: (n, 4) x, y in unit squares, log scale, radians.

    Args:
        crops: (n, CROP, CROP) of the set; at least eight.
        seed: of the movements.
    """
    count = len(crops)
    rng = np.random.default_rng(seed)
    fold = rng.permutation(count) % min(_FOLDS, count)
    own = histograms(_windows(crops, np.zeros((count, 4), np.float32)))
    result = np.zeros((count, 4), np.float32)
    trusted = np.ones(count, bool)
    for _ in range(2):
        for k in range(int(fold.max()) + 1):
            learn = np.flatnonzero((fold != k) & trusted)
            learn = rng.permutation(learn)[:_LEARN_FROM]
            each = max(4, min(60, _SAMPLES // max(1, len(learn))))
            moves = rng.uniform(-1, 1, (len(learn) * each, 4)).astype(np.float32)
            moves *= np.array([_SHIFT, _SHIFT, _STRETCH, _TURN], np.float32)
            seen = histograms(_windows(np.repeat(crops[learn], each, 0), moves))
            judged = np.flatnonzero(fold == k)
            result[judged] = _ridge(seen, moves, own[judged])
        # Those that are off would teach that this is where landmarks belong.
        size = displacement(result)
        trusted = size <= max(float(np.quantile(size, 0.85)), 0.03)
    return result


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
    picture = windows.astype(np.float32)
    gx, gy = np.zeros_like(picture), np.zeros_like(picture)
    gx[:, :, 1:-1] = picture[:, :, 2:] - picture[:, :, :-2]
    gy[:, 1:-1] = picture[:, 2:] - picture[:, :-2]
    size = np.hypot(gx, gy)
    angle = np.arctan2(gy, gx) * np.float32(_ORIENTATIONS / np.pi) % _ORIENTATIONS
    low = angle.astype(np.int64) % _ORIENTATIONS
    part = angle - np.floor(angle)
    cells = windows.shape[1] // _CELL
    count = len(windows)
    flat = np.zeros((count, cells, cells, _ORIENTATIONS), np.float32)
    for orientation in range(_ORIENTATIONS):
        share = np.where(low == orientation, size * (1 - part), 0)
        share += np.where((low + 1) % _ORIENTATIONS == orientation, size * part, 0)
        used = share[:, : cells * _CELL, : cells * _CELL]
        flat[..., orientation] = used.reshape(count, cells, _CELL, cells, _CELL).sum((2, 4))
    energy = np.pad((flat**2).sum(3), ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = sum(
        energy[:, dy : dy + cells, dx : dx + cells] for dy in range(3) for dx in range(3)
    )
    flat /= np.sqrt(np.asarray(around) / 9 + (4.0 * _CELL) ** 2)[..., None]
    return np.sqrt(flat).reshape(count, -1)


def _ridge(seen: Floats, moves: Floats, judged: Floats) -> Floats:
    centre, target = seen.mean(0), moves.mean(0)
    x = seen - centre
    gram = x.T @ x
    gram[np.diag_indices(len(gram))] += _RIDGE * len(x) / 1000
    weights = np.linalg.solve(gram, x.T @ (moves - target))
    return np.asarray((judged - centre) @ weights + target, np.float32)

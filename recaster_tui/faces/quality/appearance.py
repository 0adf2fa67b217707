"""Who is on a face and whether something covers it, judged by the rest of the set."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.quality.canonical import TEXTURE, atlas
from recaster_tui.faces.quality.fit import histograms
from recaster_tui.faces.quality.measure import Measurements, fit_shape
from recaster_tui.faces.quality.subspace import distances, leverage, pose_terms, standard

Floats = NDArray[np.float32]

FEWEST = 12
"""Faces below which a set cannot tell what is usual in it."""
# Points that tell a person more than an expression.
_GEOMETRY = np.array([*range(37), 39, 42, 45, 48, 54, 57])
_BLOB = 4.0  # robust standard deviations
_COARSE = 10


@dataclass(frozen=True)
class Appearance:
    """How unusual each face of a set is; NaN where the set is too small to tell.

    Attributes:
        texture, shape, colour: robust standard deviations of gradients, proportions and
            colours from what the set's pose and light explain.
        tone: of the whole face's colour.
        covered: share of the face that lies in one unusual patch.
        patch: what part of the face that is, in words.
        rare: how rare the pose is, see ``subspace.leverage``.
        sudden: share of the face in one patch that differs from the frames around it; NaN where
            there are none.
        sudden_patch: where that is.
    """

    texture: Floats
    shape: Floats
    colour: Floats
    tone: Floats
    covered: Floats
    patch: list[str]
    rare: Floats
    sudden: Floats
    sudden_patch: list[str]


def appearance(
    known: Measurements, usable: NDArray[np.bool_], near: list[NDArray[np.intp]]
) -> Appearance:
    """Judge every face by the *usable* ones (n,), and by those *near* in time (see ``Chains``)."""
    count = len(known)
    if usable.sum() < FEWEST:
        nothing, no_words = np.full(count, np.nan, np.float32), [""] * count
        return Appearance(
            nothing, nothing, nothing, nothing, nothing, no_words, nothing, nothing, no_words
        )
    pose = pose_terms(known.value("turn"), known.value("nod"))
    grey = np.array([cv2.cvtColor(t, cv2.COLOR_BGR2GRAY) for t in known.texture])
    texture = distances(histograms(grey), pose, 24, usable)
    rest = np.array([fit_shape(points).rest[_GEOMETRY].reshape(-1) for points in known.landmarks])
    shape = distances(rest * np.float32(10), pose, 12, usable)
    light, chroma, tone = relief(known.texture)
    patches = np.concatenate([_coarse(chroma[:, :, 0]), _coarse(chroma[:, :, 1])], 1)
    colour = distances(patches, pose, 24, usable)
    pixels = np.concatenate([light, 1.5 * chroma[:, :, 0], 1.5 * chroma[:, :, 1]], 1)
    unexplained = distances(pixels, pose, 20, usable, robust=True).rest
    covered, patch = _patches(unexplained, usable)
    by_pose, *_ = np.linalg.lstsq(pose[usable], tone[usable], rcond=None)
    off = tone - pose @ by_pose
    unlike = np.abs(np.stack([standard(off[:, 0]), standard(off[:, 1])])).max(0)
    changes = np.array(
        [
            pixels[i] - np.median(pixels[some], 0) if len(some) >= 3 else pixels[i] * np.nan
            for i, some in enumerate(near)
        ],
        np.float32,
    )
    timed = np.isfinite(changes[:, 0])
    sudden, where = np.full(count, np.nan, np.float32), [""] * count
    if (timed & usable).sum() >= FEWEST:
        shares, names = _patches(changes[timed], usable[timed])
        sudden[timed] = shares
        for i, name in zip(np.flatnonzero(timed).tolist(), names, strict=True):
            where[i] = name
    rare = leverage(pose)
    return Appearance(
        texture.unusual, shape.unusual, colour.unusual, unlike, covered, patch, rare, sudden, where
    )


def relief(textures: NDArray[np.uint8]) -> tuple[Floats, Floats, Floats]:
    """Textures without most of their light.

    Returns:
        (n, p) log brightness less a quadratic surface, (n, p, 2) log red and blue against
        brightness less their medians, and those (n, 2) medians.
    """
    texel, surface, solver = _surface()
    values = textures.reshape(len(textures), -1, 3)[:, texel].astype(np.float32)
    logs = np.log(values + 8)
    mean = logs.mean(2)
    chroma = np.stack([logs[:, :, 2] - mean, logs[:, :, 0] - mean], 2)
    light = mean - (mean @ solver.T) @ surface.T
    middle = np.median(chroma, 1)
    return light, chroma - middle[:, None], middle.astype(np.float32)


@lru_cache(maxsize=1)
def _surface() -> tuple[NDArray[np.intp], Floats, Floats]:
    texel = atlas().texel
    y, x = np.divmod(texel, TEXTURE)
    x, y = (x / TEXTURE - 0.5) * 2, (y / TEXTURE - 0.5) * 2
    surface = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], 1).astype(np.float32)
    return texel, surface, np.linalg.pinv(surface).astype(np.float32)


def _picture(values: Floats) -> Floats:
    flat = np.zeros(TEXTURE * TEXTURE, np.float32)
    flat[atlas().texel] = values
    return flat.reshape(TEXTURE, TEXTURE)


def _coarse(values: Floats) -> Floats:
    """(n, p) texels to (n, 100) means of patches."""
    size = (_COARSE, _COARSE)
    rows = [cv2.resize(_picture(v), size, interpolation=cv2.INTER_AREA).ravel() for v in values]
    return np.array(rows, np.float32) * 3


def _patches(unexplained: Floats, usable: NDArray[np.bool_]) -> tuple[Floats, list[str]]:
    """Share of each face in its largest patch of unexplained texels, and where that is."""
    texel = atlas().texel
    parts = unexplained.reshape(len(unexplained), 3, len(texel))
    spread = 1.4826 * np.median(np.abs(parts[usable]), 0) + np.array([[0.03], [0.015], [0.015]])
    # Light moves over a face, colour hardly does: colour counts in full, light by three quarters.
    ratio = np.abs(parts) / spread
    unlike = np.maximum(np.maximum(ratio[:, 1], ratio[:, 2]), 0.75 * ratio[:, 0])
    shares, names = [], []
    for row in unlike.astype(np.float32):
        smooth = cv2.blur(_picture(np.minimum(row, 12.0)), (5, 5))
        found = (smooth > _BLOB).astype(np.uint8)
        number, _, stats, centres = cv2.connectedComponentsWithStats(found)
        if number < 2:
            shares.append(0.0)
            names.append("")
            continue
        largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
        shares.append(float(stats[largest, cv2.CC_STAT_AREA]) / len(texel))
        names.append(_place(*centres[largest]))
    return np.array(shares, np.float32), names


def _place(x: float, y: float) -> str:
    """The part of the face around a texel, sides as the viewer sees them."""
    across, down = x / TEXTURE, y / TEXTURE
    side = "left" if across < 0.4 else "right" if across > 0.6 else ""
    if down < 0.2:
        part = "forehead"
    elif down < 0.42:
        part = "eye" if side else "bridge of the nose"
    elif down < 0.65:
        part = "cheek" if side else "nose"
    else:
        part = "jaw" if side else "mouth"
    return f"{side} {part}".strip()

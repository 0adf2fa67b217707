"""What the faces of a set usually look like, learnt robustly, and how far each is from that.

For every feature vector a linear model of pose and then principal components are learnt from the
other faces (folds), the strangest ones left out (trimming, as in the minimum covariance determinant
of P. Rousseeuw), so that an outlier neither explains itself nor its like.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

FOLDS = 4
_ROUNDS = 3
_TRIM = 0.88
_LEARN_FROM = 600
_SCALE = 1.4826  # of a normal distribution's median absolute deviation


@dataclass(frozen=True)
class Distances:
    """How far each face is from what the others are like.

    Attributes:
        unusual: (n,) log of the mean squared deviation along the components and off them, in
            robust standard deviations of the set (0 = the middle).
        rest: (n, d) what neither pose nor components explain.
    """

    unusual: Floats
    rest: Floats


def pose_terms(turn: Floats, nod: Floats) -> Floats:
    """(n, 7) polynomial of the pose, in degrees."""
    t, q = np.nan_to_num(turn) / 30, np.nan_to_num(nod) / 20
    return np.stack([np.ones_like(t), t, q, t * t, q * q, t * q, t**3], 1).astype(np.float32)


def leverage(pose: Floats) -> Floats:
    """(n,) how rare each pose is in the set; the mean is 1."""
    gram = pose.T @ pose + 1e-3 * np.eye(pose.shape[1], dtype=np.float32)
    hat = np.einsum("ij,jk,ik->i", pose, np.linalg.inv(gram), pose)
    return np.asarray(hat * len(pose) / pose.shape[1], np.float32)


def standard(values: Floats) -> Floats:
    """Robust z-scores."""
    known = values[np.isfinite(values)]
    if not len(known):
        return np.zeros_like(values)
    middle = np.median(known)
    spread = _SCALE * np.median(np.abs(known - middle))
    return np.asarray((values - middle) / (spread + 1e-6), np.float32)


def distances(
    features: Floats, pose: Floats, components: int, usable: Bools, *, robust: bool = False
) -> Distances:
    """Judge each face by a model learnt from others.

    Args:
        features: (n, d).
        pose: (n, m) see :func:`pose_terms`.
        components: at most so many; fewer where the set is small.
        usable: (n,) which faces may teach.
        robust: find the components' shares of each face in spite of a part of it that does not
            fit (iteratively reweighted least squares); for features that are pixels.
    """
    count = len(features)
    along, off = np.zeros(count, np.float32), np.zeros(count, np.float32)
    rest = np.zeros_like(features, np.float32)
    trusted = usable.copy()
    for round_ in range(_ROUNDS):
        last = round_ == _ROUNDS - 1
        for learn, judged in _folds(count, trusted):
            model = _learn(features[learn], pose[learn], components)
            deviation = features[judged] - pose[judged] @ model.by_pose
            basis = model.basis
            shares = _robust(deviation, basis) if robust and last else deviation @ basis.T
            rest[judged] = deviation - shares @ basis
            along[judged] = (shares**2 / model.variance).mean(1)
            off[judged] = (rest[judged] ** 2).sum(1) / model.remainder
        strange = np.log(along + 1e-6) + np.log(off + 1e-6)
        trusted = usable & (strange <= np.quantile(strange[usable], _TRIM))
    return Distances(standard(strange), rest)


def remainder(
    features: Floats, pose: Floats, components: int
) -> Callable[[Floats, Floats], Floats]:
    """Learn from (n, d) features and their poses; the result gives, of features (k, d) and poses
    (k, m), the mean square (k,) that pose and components do not explain.
    """
    model = _learn(features, pose, components)

    def left(some: Floats, at: Floats) -> Floats:
        deviation = some - at @ model.by_pose
        off = deviation - (deviation @ model.basis.T) @ model.basis
        return np.asarray((off**2).mean(1) + 1e-9, np.float32)

    return left


@dataclass(frozen=True)
class _Model:
    by_pose: Floats
    basis: Floats
    variance: Floats
    remainder: float


def _folds(count: int, trusted: Bools) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    rng = np.random.default_rng(0)
    fold = rng.permutation(count) % FOLDS
    for k in range(FOLDS):
        learn = np.flatnonzero((fold != k) & trusted)
        yield np.sort(rng.permutation(learn)[:_LEARN_FROM]), np.flatnonzero(fold == k)


def _learn(features: Floats, pose: Floats, components: int) -> _Model:
    count = len(features)
    gram = pose.T @ pose + 1e-2 * count * np.eye(pose.shape[1], dtype=np.float32)
    by_pose = np.linalg.solve(gram, pose.T @ features).astype(np.float32)
    deviation = features - pose @ by_pose
    # Eigenvectors of the small one of the two Gram matrices: cheaper than an SVD.
    if count <= features.shape[1]:
        values, vectors = np.linalg.eigh(deviation @ deviation.T)
        kept = max(1, min(components, count // 5))
        values, vectors = values[::-1], vectors[:, ::-1][:, :kept]
        basis = (deviation.T @ vectors / np.sqrt(np.maximum(values[:kept], 1e-9))).T
    else:
        values, vectors = np.linalg.eigh(deviation.T @ deviation)
        kept = max(1, min(components, count // 5))
        values, vectors = values[::-1], vectors[:, ::-1][:, :kept]
        basis = vectors.T
    variance = np.maximum(values[:kept], 1e-9) / count
    remainder = max(float(values[kept:].clip(0).sum()) / count, 1e-9)
    return _Model(
        by_pose, np.asarray(basis, np.float32), np.asarray(variance, np.float32), remainder
    )


def _robust(deviation: Floats, basis: Floats, rounds: int = 4) -> Floats:
    """(n, k) shares that explain most of each row, Geman and McClure's weights."""
    shares = deviation @ basis.T
    scale = _SCALE * np.median(np.abs(deviation - shares @ basis)) * 2.5 + 1e-6
    ridge = 1e-3 * np.eye(len(basis), dtype=np.float32)
    for _ in range(rounds):
        left = deviation - shares @ basis
        weight = 1 / (1 + (left / scale) ** 2) ** 2
        for row in range(len(deviation)):
            weighted = basis * weight[row]
            shares[row] = np.linalg.solve(weighted @ basis.T + ridge, weighted @ deviation[row])
    return np.asarray(shares, np.float32)

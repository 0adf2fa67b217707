"""Colour transfer and HSV jitter of one image (spec/dfl-models.md 7.5 step 3, 7.6).

Images are (H, W, 3) float32 BGR 0..1. *image* takes on the colours of *reference*.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

_EPS = float(np.finfo(np.float64).eps)


def color_transfer(
    mode: str, image: Image, reference: Image, rnd: np.random.RandomState | None = None
) -> Image:
    """Recolour *image* after *reference*; *mode* is rct, lct, mkl, idt or sot.

    *rnd* feeds idt and sot, which the original takes from numpy's global stream.
    """
    if mode in _DETERMINISTIC:
        return _DETERMINISTIC[mode](image, reference)
    if mode in _RANDOM:
        return _RANDOM[mode](image, reference, rnd or np.random.RandomState())
    raise ValueError(f"no colour transfer called {mode!r}")


def reinhard(image: Image, reference: Image) -> Image:
    """Match mean and deviation of each CIE Lab channel (Reinhard et al. 2001)."""
    target = cv2.cvtColor(image, cv2.COLOR_BGR2LAB)
    source = cv2.cvtColor(reference, cv2.COLOR_BGR2LAB)
    axes = (0, 1)
    ratio = source.std(axes) / target.std(axes)
    moved = (target - target.mean(axes)) * ratio + source.mean(axes)
    low, high = np.array([0, -127, -127]), np.array([100, 127, 127])
    lab = np.clip(moved, low, high).astype(np.float32)
    result: Image = cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)
    return result


def linear(image: Image, reference: Image) -> Image:
    """Match mean and covariance with symmetric square roots (Hertzmann's "pca" variant)."""
    target, _mean_t, cov_t = _centred(image, 0, 1e-5)
    _, mean_s, cov_s = _centred(reference, 0, 1e-5)
    mapping = _power(cov_s, 0.5) @ _power(cov_t, -0.5)
    return _back(target @ mapping.T + mean_s, image)


def monge_kantorovich(image: Image, reference: Image) -> Image:
    """Match mean and covariance with the least movement (Pitié and Kokaram 2007)."""
    target, _, cov_t = _centred(image, 1, 0.0)
    _, mean_s, cov_s = _centred(reference, 1, 0.0)
    values, vectors = np.linalg.eigh(cov_t)
    root = np.sqrt(np.maximum(values, _EPS))
    middle = _power(root[:, None] * (vectors.T @ cov_s @ vectors) * root, 0.5)
    mapping = vectors @ (middle / root[:, None] / root) @ vectors.T
    return _back(target @ mapping + mean_s, image)


def iterative_distribution(
    image: Image, reference: Image, rnd: np.random.RandomState, *, bins: int = 256, steps: int = 20
) -> Image:
    """Match the whole distribution by 1-D histogram matches on random axes (Pitié et al. 2005)."""
    target = image.reshape(-1, 3).T.astype(np.float32)
    source = reference.reshape(-1, 3).T.astype(np.float32)
    for _ in range(steps):
        rotation = random_rotation(rnd).astype(np.float32)
        ours, theirs = rotation @ target, rotation @ source
        moved = np.empty_like(ours)
        for axis in range(3):
            low = min(ours[axis].min(), theirs[axis].min())
            high = max(ours[axis].max(), theirs[axis].max())
            count_t, edges = np.histogram(ours[axis], bins, (low, high))
            count_s, _ = np.histogram(theirs[axis], bins, (low, high))
            cdf_t = np.cumsum(count_t) / count_t.sum()
            cdf_s = np.cumsum(count_s) / count_s.sum()
            curve = np.interp(cdf_t, cdf_s, edges[1:])
            moved[axis] = np.interp(ours[axis], edges[1:], curve, left=0, right=bins)
        target = target + rotation.T @ (moved - ours) / steps
    return _back(target.T, image)


def sliced_optimal_transport(
    image: Image,
    reference: Image,
    rnd: np.random.RandomState,
    *,
    steps: int = 10,
    batch: int = 5,
    smooth: bool = True,
) -> Image:
    """Transport colours along random directions (Rabin et al. 2011), then smooth the change."""
    target = image.reshape(-1, 3).copy()
    source = reference.reshape(-1, 3)
    for _ in range(steps):
        change = np.zeros_like(target)
        for _ in range(batch):
            direction = rnd.normal(size=3).astype(np.float32)
            direction /= np.linalg.norm(direction)
            ours, theirs = (target * direction).sum(-1), (source * direction).sum(-1)
            order = np.argsort(ours)
            change[order] += (np.sort(theirs) - ours[order])[:, None] * direction
        target += change / batch
    moved = target.reshape(image.shape)
    if smooth:
        moved = image + cv2.bilateralFilter(moved - image, 0, 5.0, 16.0)
    return np.clip(moved, 0, 1).astype(np.float32)


def hsv_shift(image: Image, amount: float, rnd: np.random.RandomState) -> Image:
    """Jitter hue by ±180·amount degrees, saturation and value by ±amount/2; draws H, S, V."""
    span = max(1, int(360 * amount * 0.5))
    hue_shift = rnd.randint(-span, span + 1)
    saturation_shift = (rnd.random_sample() - 0.5) * amount
    value_shift = (rnd.random_sample() - 0.5) * amount
    hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
    shifted = (
        (hue + hue_shift) % 360,
        np.clip(saturation + saturation_shift, 0, 1),
        np.clip(value + value_shift, 0, 1),
    )
    merged = cv2.merge([np.asarray(channel, np.float32) for channel in shifted])
    return np.asarray(np.clip(cv2.cvtColor(merged, cv2.COLOR_HSV2BGR), 0, 1), np.float32)


def random_rotation(rnd: np.random.RandomState) -> NDArray[np.float64]:
    """Uniform 3 x 3 rotation: QR of a normal matrix (Mezzadri 2007); scipy 1.17's draw order."""
    matrix, upper = np.linalg.qr(rnd.normal(size=(3, 3)))
    matrix *= np.sign(np.diagonal(upper))
    matrix[0] *= np.sign(np.linalg.det(matrix))
    result: NDArray[np.float64] = matrix
    return result


def _centred(
    image: Image, ddof: int, ridge: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    pixels = image.reshape(-1, 3).astype(np.float64)
    mean = pixels.mean(0)
    centred = pixels - mean
    covariance = centred.T @ centred / (len(pixels) - ddof) + ridge * np.eye(3)
    return centred, mean, covariance


def _power(matrix: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    result: NDArray[np.float64] = (vectors * np.maximum(values, _EPS) ** exponent) @ vectors.T
    return result


def _back(pixels: NDArray[np.floating], like: Image) -> Image:
    return np.asarray(np.clip(pixels.reshape(like.shape), 0, 1), np.float32)


_DETERMINISTIC: dict[str, Callable[[Image, Image], Image]] = {
    "rct": reinhard,
    "lct": linear,
    "mkl": monge_kantorovich,
}
_RANDOM: dict[str, Callable[[Image, Image, np.random.RandomState], Image]] = {
    "idt": iterative_distribution,
    "sot": sliced_optimal_transport,
}

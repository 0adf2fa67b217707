"""Colour spaces, colour transfer and jitter of whole batches in torch (dfl-models.md 7.5, 7.6).

Images are (B, 3, H, W) float32 BGR 0..1, on any device. "target" is the image being changed,
"reference" the one whose colours it takes. Formulas as in :mod:`recaster_tui.training.reference`.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# Transfers that need a face of the other side.
TRANSFERS = ("rct", "lct", "mkl", "idt", "sot")
# Augmentations that go by the same option but need none.
SELF_TRANSFERS = ("fs-aug", "cc-aug")

_EPS = float(np.finfo(np.float64).eps)
_IDT_STEPS, _IDT_BINS = 20, 256
_SOT_STEPS, _SOT_DIRECTIONS = 10, 5
_SOT_SIGMA, _SOT_RADIUS = 16.0, 24

# sRGB primaries, D65 white (CIE 1931), rows X Y Z, columns B G R, divided by the white point.
_BGR_TO_XYZ = (
    (0.180423 / 0.950456, 0.357580 / 0.950456, 0.412453 / 0.950456),
    (0.072169, 0.715160, 0.212671),
    (0.950227 / 1.088754, 0.119193 / 1.088754, 0.019334 / 1.088754),
)
_LAB_KNEE = 0.008856


def bgr_to_lab(images: Tensor) -> Tensor:
    """CIE L*a*b*: L 0..100, a and b about ±127 (sRGB transfer curve, D65)."""
    light = torch.where(images > 0.04045, ((images + 0.055) / 1.055) ** 2.4, images / 12.92)
    xyz = torch.einsum("ij,bjhw->bihw", light.new_tensor(_BGR_TO_XYZ), light)
    root = torch.where(xyz > _LAB_KNEE, xyz.clamp_min(_LAB_KNEE) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = root.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def lab_to_bgr(lab: Tensor) -> Tensor:
    """Inverse of :func:`bgr_to_lab`, clipped to 0..1."""
    lightness, a, b = lab.unbind(1)
    y = (lightness + 16) / 116
    root = torch.stack([y + a / 500, y, y - b / 200], 1)
    knee = 7.787 * _LAB_KNEE + 16 / 116
    xyz = torch.where(root > knee, root**3, (root - 16 / 116) / 7.787)
    inverse = torch.linalg.inv(torch.tensor(_BGR_TO_XYZ, dtype=torch.float64))
    light = torch.einsum("ij,bjhw->bihw", inverse.to(lab), xyz).clamp(0, 1)
    bright = 1.055 * light.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(light > 0.0031308, bright, 12.92 * light)


def bgr_to_hsv(images: Tensor) -> Tensor:
    """Hue 0..360 degrees, saturation and value 0..1."""
    blue, green, red = images.unbind(1)
    value, low = images.amax(1), images.amin(1)
    span = value - low
    scale = 60 / span.clamp_min(1e-7)
    hue = torch.where(
        value == red,
        (green - blue) * scale,
        torch.where(value == green, (blue - red) * scale + 120, (red - green) * scale + 240),
    )
    return torch.stack([hue % 360, span / value.clamp_min(1e-7), value], 1)


def hsv_to_bgr(hsv: Tensor) -> Tensor:
    """Inverse of :func:`bgr_to_hsv`."""
    hue, saturation, value = hsv.unbind(1)
    channels = []
    for offset in (1, 3, 5):
        k = (hue / 60 + offset) % 6
        channels.append(value - value * saturation * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, 1)


def draw_hsv(rng: np.random.Generator, batch: int, power: float) -> NDArray[np.float32]:
    """(B, 3) shifts: whole degrees of hue in ±max(1, 180·power), S and V in ±power/2."""
    span = max(1, int(360 * power * 0.5))
    hue = rng.integers(-span, span + 1, batch)
    rest = (rng.random((batch, 2)) - 0.5) * power
    return np.concatenate([hue[:, None], rest], 1).astype(np.float32)


def hsv_shift(images: Tensor, shifts: Tensor) -> Tensor:
    """Apply :func:`draw_hsv`'s (B, 3) shifts."""
    hsv = bgr_to_hsv(images)
    hue = (hsv[:, 0] + shifts[:, 0, None, None]) % 360
    rest = (hsv[:, 1:] + shifts[:, 1:, None, None]).clamp(0, 1)
    return hsv_to_bgr(torch.cat([hue[:, None], rest], 1)).clamp(0, 1)


def color_transfer(
    mode: str, target: Tensor, reference: Tensor, rng: np.random.Generator
) -> Tensor:
    """Give *target* the colours of *reference*; *rng* feeds idt and sot.

    Input and target of a sample share one result: the original's slightly different colours
    between the two with idt and sot (Quirk 10) are not kept.
    """
    return _TRANSFER[mode](target, reference, rng)


def _reinhard(target: Tensor, reference: Tensor, _: np.random.Generator) -> Tensor:
    ours, theirs = bgr_to_lab(target), bgr_to_lab(reference)
    axes = (2, 3)
    std_ours = ours.std(axes, correction=0, keepdim=True)
    std_theirs = theirs.std(axes, correction=0, keepdim=True)
    ratio = std_theirs / std_ours.clamp_min(1e-6)
    moved = (ours - ours.mean(axes, True)) * ratio + theirs.mean(axes, True)
    lightness = moved[:, :1].clamp(0, 100)
    return lab_to_bgr(torch.cat([lightness, moved[:, 1:].clamp(-127, 127)], 1))


def _linear(target: Tensor, reference: Tensor, _: np.random.Generator) -> Tensor:
    centred, _own, cov_t = _moments(target, 0, 1e-5)
    _same, mean_s, cov_s = _moments(reference, 0, 1e-5)
    mapping = _power(cov_s, 0.5) @ _power(cov_t, -0.5)
    return _restore(mapping @ centred + mean_s, target)


def _monge_kantorovich(target: Tensor, reference: Tensor, _: np.random.Generator) -> Tensor:
    centred, _own, cov_t = _moments(target, 1, 0.0)
    _same, mean_s, cov_s = _moments(reference, 1, 0.0)
    values, vectors = torch.linalg.eigh(cov_t)
    root = values.clamp_min(_EPS).sqrt()
    inner = root[:, :, None] * (vectors.mT @ cov_s @ vectors) * root[:, None, :]
    middle = _power(inner, 0.5) / root[:, :, None] / root[:, None, :]
    # The mapping is symmetric, so it acts on columns as on rows.
    return _restore(vectors @ middle @ vectors.mT @ centred + mean_s, target)


def _iterative(target: Tensor, reference: Tensor, rng: np.random.Generator) -> Tensor:
    ours, theirs = target.flatten(2), reference.flatten(2)
    batch = target.shape[0]
    for _ in range(_IDT_STEPS):
        rotation = torch.from_numpy(_rotations(rng, batch)).to(target)
        projected, wanted = rotation @ ours, rotation @ theirs
        moved = _match_histograms(projected, wanted)
        ours = ours + rotation.mT @ (moved - projected) / _IDT_STEPS
    return _restore(ours, target)


def _match_histograms(ours: Tensor, theirs: Tensor) -> Tensor:
    """Move each row (B, 3, N) of *ours* to the distribution of *theirs*, by 256 bins."""
    bins = _IDT_BINS
    low = torch.minimum(ours.amin(-1), theirs.amin(-1))[..., None]
    high = torch.maximum(ours.amax(-1), theirs.amax(-1))[..., None]
    width = ((high - low) / bins).clamp_min(1e-12)
    cdf_ours = _cumulative(ours, low, width)
    cdf_theirs = _cumulative(theirs, low, width)
    edges = low + width * torch.arange(1, bins + 1, device=ours.device)
    curve = _interpolate(cdf_ours, cdf_theirs, edges)
    # The edges are equally spaced: no search is needed to interpolate on them.
    place = (ours - edges[..., :1]) / width
    left = place.long().clamp_(0, bins - 2)
    y0, y1 = curve.gather(-1, left), curve.gather(-1, left + 1)
    moved = y0 + (y1 - y0) * (place - left).clamp_(0, 1)
    # Below the first edge the original's interpolation gives 0.
    return moved.masked_fill_(place < 0, 0.0)


def _cumulative(values: Tensor, low: Tensor, width: Tensor) -> Tensor:
    index = ((values - low) / width).long().clamp(0, _IDT_BINS - 1)
    counts = torch.zeros(*values.shape[:-1], _IDT_BINS, device=values.device)
    counts.scatter_add_(-1, index, torch.ones_like(values))
    return counts.cumsum(-1) / values.shape[-1]


def _interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """``numpy.interp`` along the last axis; *xs* ascends and may repeat."""
    right = torch.searchsorted(xs.contiguous(), x.contiguous(), right=True)
    right = right.clamp(1, xs.shape[-1] - 1)
    x0, x1 = xs.gather(-1, right - 1), xs.gather(-1, right)
    y0, y1 = ys.gather(-1, right - 1), ys.gather(-1, right)
    part = ((x - x0) / (x1 - x0).clamp_min(1e-12)).clamp(0, 1)
    return y0 + (y1 - y0) * part


def _sliced(target: Tensor, reference: Tensor, rng: np.random.Generator) -> Tensor:
    ours, theirs = target.flatten(2), reference.flatten(2)
    batch = target.shape[0]
    for _ in range(_SOT_STEPS):
        directions = rng.standard_normal((batch, _SOT_DIRECTIONS, 3))
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        axes = torch.from_numpy(directions).to(target)
        projected = axes @ ours
        order = _argsort(projected)
        moves = _sort(axes @ theirs) - projected.gather(-1, order)
        steps = torch.empty_like(projected).scatter_(-1, order, moves)
        ours = ours + axes.mT @ steps / _SOT_DIRECTIONS
    change = ours.view_as(target) - target
    return (target + _smooth(change)).clamp(0, 1)


def _sort(values: Tensor) -> Tensor:
    # numpy sorts floats with vector instructions: on a CPU 18 times as fast as torch.
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), -1))
    return values.sort(-1).values


def _argsort(values: Tensor) -> Tensor:
    if values.device.type == "cpu":
        return torch.from_numpy(np.argsort(values.numpy(), -1))
    return values.argsort(-1)


def _smooth(change: Tensor) -> Tensor:
    """The original's bilateral filter: sigma 16 in space over a disc of radius 24.

    Its colour sigma (5.0, for changes below 1) makes every colour weight 1 to within 2 %, so it is
    a plain blur, done by FFT.
    """
    height, width = change.shape[-2:]
    radius = min(_SOT_RADIUS, height - 1, width - 1)
    line = torch.arange(-radius, radius + 1, device=change.device, dtype=change.dtype)
    square = line[:, None] ** 2 + line**2
    kernel = torch.exp(square / (-2 * _SOT_SIGMA**2)) * (square <= _SOT_RADIUS**2)
    kernel = kernel / kernel.sum()
    padded = F.pad(change, (radius,) * 4, mode="reflect")
    size = padded.shape[-2:]
    product = torch.fft.rfft2(padded) * torch.fft.rfft2(kernel, s=size)
    blurred: Tensor = torch.fft.irfft2(product, s=size)
    return blurred[..., 2 * radius : 2 * radius + height, 2 * radius : 2 * radius + width]


def _rotations(rng: np.random.Generator, batch: int) -> NDArray[np.float64]:
    """(B, 3, 3) uniform rotations (Mezzadri 2007)."""
    matrices, upper = np.linalg.qr(rng.standard_normal((batch, 3, 3)))
    matrices = matrices * np.sign(np.diagonal(upper, axis1=1, axis2=2))[:, None, :]
    matrices[:, 0] *= np.linalg.det(matrices)[:, None]
    result: NDArray[np.float64] = matrices
    return result


def _moments(images: Tensor, correction: int, ridge: float) -> tuple[Tensor, Tensor, Tensor]:
    """Centred pixels (B, 3, N), mean (B, 3, 1), covariance (B, 3, 3), all float64."""
    pixels = images.flatten(2).double()
    mean = pixels.mean(-1, keepdim=True)
    centred = pixels - mean
    covariance = centred @ centred.mT / (pixels.shape[-1] - correction)
    return centred, mean, covariance + ridge * torch.eye(3).to(covariance)


def _power(matrices: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrices)
    powered: Tensor = (vectors * values.clamp_min(_EPS)[:, None, :] ** exponent) @ vectors.mT
    return powered


def _restore(pixels: Tensor, like: Tensor) -> Tensor:
    return pixels.reshape(like.shape).clamp(0, 1).to(like.dtype)


_TRANSFER: dict[str, Callable[[Tensor, Tensor, np.random.Generator], Tensor]] = {
    "rct": _reinhard,
    "lct": _linear,
    "mkl": _monge_kantorovich,
    "idt": _iterative,
    "sot": _sliced,
}

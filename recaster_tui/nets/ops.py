"""Tensor operators of the original program, NCHW (dfl-models.md 1.4). Plain functions, float32.

Blurs and structure windows are Gaussian, hence separable: each is two products with a banded
matrix (one for rows, one for columns). That is several times faster than a depthwise convolution
on CPUs and exact in float32 (no TF32) on GPUs.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponent of each scale, finest first (Wang, Simoncelli, Bovik 2003)."""


def depth_to_space(x: Tensor, size: int = 2) -> Tensor:
    """Spread channels over pixels: (B, size*size*C, H, W) -> (B, C, size*H, size*W).

    "DCR" order: input channel ``(dy*size + dx)*C + c`` (torch's pixel_shuffle is the other one).
    Keeps channels_last memory when the input has it.
    """
    batch, channels, height, width = x.shape
    out = channels // (size * size)
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        y = x.permute(0, 2, 3, 1).reshape(batch, height, width, size, size, out)
        y = y.permute(0, 1, 3, 2, 4, 5).reshape(batch, height * size, width * size, out)
        return y.permute(0, 3, 1, 2)
    y = x.reshape(batch, size, size, out, height, width).permute(0, 3, 4, 1, 5, 2)
    return y.reshape(batch, out, height * size, width * size)


def pixel_norm(x: Tensor) -> Tensor:
    """x / sqrt(mean of squares over the last axis + 1e-6)."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


# MKL's vector cosine, when its first call of a process runs on several threads, sometimes (about 1
# in 6) works in a low-accuracy mode: errors of 1.5e-4. One single-threaded call first prevents it.
torch.cos(torch.zeros(1))


def x_cos_x(x: Tensor) -> Tensor:
    """The "c" activation, x·cos(x)."""
    return x * torch.cos(x)


def per_sample_mean(x: Tensor) -> Tensor:
    """Mean over all axes but the first: (B, …) -> (B,)."""
    return x.flatten(1).mean(1)


def total_variation_mse(x: Tensor, axes: Sequence[int] = (2, 3)) -> Tensor:
    """Sum of squared forward differences along two axes of (B, C, H, W): -> (B,).

    The original uses fixed tensor axes 1 and 2: height and width when it runs NHWC (CPU), but
    channel and height when it runs NCHW (GPU, AMP): ``axes=(1, 2)`` (quirk 3).
    """
    total = x.new_zeros(x.shape[0])
    for axis in axes:
        total = total + x.diff(dim=axis).square().flatten(1).sum(1)
    return total


def sigmoid_cross_entropy(label: float | Tensor, logits: Tensor) -> Tensor:
    """Per-sample mean of the binary cross-entropy of logits (B, …) -> (B,)."""
    target = torch.full_like(logits, label) if isinstance(label, float | int) else label
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return per_sample_mean(loss)


# ---------------------------------------------------------------- Gaussian windows


def _blur_taps(sigma: float) -> list[float]:
    size = max(3, int(4 * sigma))
    size += 1 - size % 2
    centre = size // 2
    taps = [math.exp(-((i - centre) ** 2) / (2 * sigma**2)) for i in range(size)]
    total = sum(taps)
    return [t / total for t in taps]


def _window_taps(size: int, sigma: float) -> list[float]:
    taps = [math.exp(-0.5 * (i - (size - 1) / 2) ** 2 / sigma**2) for i in range(size)]
    total = sum(taps)
    return [t / total for t in taps]


@lru_cache(maxsize=64)
def _band(side: int, taps: tuple[float, ...], pad: int, device: torch.device) -> Tensor:
    """Matrix (side, out) whose column j holds the taps that make output j."""
    size = len(taps)
    matrix = torch.zeros(side + 2 * pad, side + 2 * pad - size + 1, dtype=torch.float64)
    for i, tap in enumerate(taps):
        matrix.diagonal(-i).fill_(tap)
    return matrix[pad : pad + side].to(device=device, dtype=torch.float32).contiguous()


def _correlate(x: Tensor, taps: list[float], pad: int) -> Tensor:
    height, width = x.shape[-2:]
    key = tuple(taps)
    # Cached matrices must not be inference tensors, or training could not use them later.
    with torch.inference_mode(False):
        columns = _band(width, key, pad, x.device)
        rows = _band(height, key, pad, x.device)
    return rows.T @ (x @ columns)


def gaussian_blur(x: Tensor, sigma: float) -> Tensor:
    """Blur (B, C, H, W) with a zero-padded Gaussian of max(3, int(4·sigma)) taps (made odd)."""
    taps = _blur_taps(sigma)
    return _correlate(x, taps, len(taps) // 2)


def _ssim_parts(
    a: Tensor, b: Tensor, taps: list[float], max_val: float, k1: float, k2: float
) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure maps of (B, C, H, W) pictures."""
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    mean_a, mean_b, cross, square = _correlate(
        torch.stack((a, b, a * b, a * a + b * b)), taps, 0
    ).unbind(0)
    product = 2 * mean_a * mean_b
    squares = mean_a * mean_a + mean_b * mean_b
    luminance = (product + c1) / (squares + c1)
    structure = (2 * cross - product + c2) / (square - squares + c2)
    return luminance, structure


def dssim(
    a: Tensor,
    b: Tensor,
    filter_size: int,
    *,
    max_val: float = 1.0,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
) -> Tensor:
    """Structural dissimilarity (1 - SSIM)/2 of (B, C, H, W) pictures, per channel: (B, C).

    The window has *filter_size* taps (even sizes allowed) and is not padded; values 0..1.
    """
    taps = _window_taps(max(1, filter_size), filter_sigma)
    luminance, structure = _ssim_parts(a, b, taps, max_val, k1, k2)
    return (1 - (luminance * structure).mean((2, 3))) / 2


def ms_ssim(a: Tensor, b: Tensor, filter_size: int = 11) -> Tensor:
    """Multi-scale SSIM of (B, C, H, W) pictures in 0..1, per channel: (B, C) in 0..1.

    Wang, Simoncelli, Bovik 2003, with as many of the five scales as the window fits into (their
    exponents rescaled to sum 1); negative structure terms count as 0.
    """
    taps = _window_taps(filter_size, 1.5)
    scales = 1
    while scales < len(MS_SSIM_WEIGHTS) and min(a.shape[-2:]) >> scales >= filter_size:
        scales += 1
    weights = MS_SSIM_WEIGHTS[:scales]
    result = a.new_ones(a.shape[:2])
    for i, weight in enumerate(weights):
        luminance, structure = _ssim_parts(a, b, taps, 1.0, 0.01, 0.03)
        last = i == scales - 1
        value = (luminance * structure if last else structure).mean((2, 3))
        # The floor keeps the gradient of the power finite.
        result = result * value.clamp_min(1e-4) ** (weight / sum(weights))
        if not last:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return result


def style_loss(target: Tensor, style: Tensor, *, blur_sigma: float, weight: float) -> Tensor:
    """Distance of per-channel mean and deviation of two (B, C, H, W) pictures: (B,)."""
    if blur_sigma > 0:
        target, style = gaussian_blur(target, blur_sigma), gaussian_blur(style, blur_sigma)

    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        variance, mean = torch.var_mean(x, dim=(2, 3), correction=0)
        return mean, torch.sqrt(variance + 1e-5)

    (mean_t, std_t), (mean_s, std_s) = moments(target), moments(style)
    distance = (mean_t - mean_s).square().sum(1) + (std_t - std_s).square().sum(1)
    return distance * weight / target.shape[1]

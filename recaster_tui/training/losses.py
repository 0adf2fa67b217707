"""Loss terms of the autoencoders (dfl-models.md 3.6, 3.7, 4.4, 5). One value per sample: (B,).

All in float32, whatever the networks compute in.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recaster_tui.nets.ops import (
    dssim,
    gaussian_blur,
    ms_ssim,
    per_sample_mean,
    sigmoid_cross_entropy,
    total_variation_mse,
)

MS_SSIM_SHARE = 0.84
"""Weight of MS-SSIM against blurred L1 in ``ms-ssim+l1`` (Zhao, Gallo, Frosio, Kautz 2017)."""


@dataclass(frozen=True)
class SoftMasks:
    """Blurred face mask of one side and its complement, (B, 1, R, R)."""

    inside: Tensor
    outside: Tensor


def soft_masks(mask: Tensor) -> SoftMasks:
    """clip(blur(mask), 0, 0.5)·2 with sigma max(1, R//32), and one minus it (3.6)."""
    inside = gaussian_blur(mask, max(1, mask.shape[-1] // 32)).clamp(0, 0.5) * 2
    return SoftMasks(inside, 1 - inside)


def blur_out(target: Tensor, mask: Tensor) -> Tensor:
    """Replace what lies outside the mask by a blur of the outside only; sigma R/128 (3.6)."""
    sigma = target.shape[-1] / 128
    outside = 1 - mask
    blurred = gaussian_blur(target * outside, sigma)
    share = 1 - gaussian_blur(mask, sigma)
    share = torch.where(share == 0, torch.ones_like(share), share)
    return target * mask + blurred / share * outside


def window_sizes(resolution: int) -> tuple[int, int]:
    """The two structure windows in pixels, int(R/11.6) and int(R/23.2)."""
    return int(resolution / 11.6), int(resolution / 23.2)


def structure(a: Tensor, b: Tensor, *, two_scales: bool | None = None) -> Tensor:
    """10·DSSIM, from 256 pixels on 5 + 5 with both windows (or as *two_scales* says)."""
    resolution = a.shape[-1]
    large, small = window_sizes(resolution)
    if two_scales is None:
        two_scales = resolution >= 256
    if not two_scales:
        return 10 * dssim(a, b, large).mean(1)
    return 5 * dssim(a, b, large).mean(1) + 5 * dssim(a, b, small).mean(1)


def mean_square(a: Tensor, b: Tensor) -> Tensor:
    """Per-sample mean of (a - b)²."""
    return per_sample_mean((a - b).square())


def likeness(target: Tensor, predicted: Tensor, function: str, two_scales: bool | None) -> Tensor:
    """Structure and pixel term of one side.

    Args:
        target: (B, 3, R, R), masked as the options say.
        predicted: likewise.
        function: ``ssim`` (the original's), ``ms-ssim``: 10·(1 - MS-SSIM)/2 instead of the DSSIM
            term, or ``ms-ssim+l1``: 10·(0.84·(1 - MS-SSIM)/2 + 0.16·mean of Gaussian-blurred
            |difference|) instead of both. The originals of the latter two are not specified, so
            these follow the papers.
        two_scales: see :func:`structure`.
    """
    if function == "ssim":
        return structure(target, predicted, two_scales=two_scales) + 10 * mean_square(
            target, predicted
        )
    unlike = (1 - ms_ssim(target, predicted).mean(1)) / 2
    if function == "ms-ssim":
        return 10 * unlike + 10 * mean_square(target, predicted)
    difference = gaussian_blur((target - predicted).abs(), 1.5)
    return 10 * (MS_SSIM_SHARE * unlike + (1 - MS_SSIM_SHARE) * per_sample_mean(difference))


def priority(target: Tensor, predicted: Tensor, region: Tensor) -> Tensor:
    """Eyes and mouth: 300·mean of |difference| inside the region, over the whole picture."""
    return 300 * per_sample_mean(((target - predicted) * region).abs())


def adversarial(logits: tuple[Tensor, Tensor]) -> Tensor:
    """How far the discriminator is from calling the picture real: centre and pixels."""
    return sigmoid_cross_entropy(1.0, logits[0]) + sigmoid_cross_entropy(1.0, logits[1])


def outside_calm(
    predicted: Tensor,
    target: Tensor,
    outside: Tensor,
    *,
    axes: tuple[int, int],
) -> Tensor:
    """What goes with the GAN under masked training: little variation, a plain outside (3.8)."""
    variation = 1e-6 * total_variation_mse(predicted, axes)
    return variation + 0.02 * mean_square(predicted * outside, target * outside)


def disturbed_label(
    label: int, like: Tensor, smoothing: float, noise: float, generator: torch.Generator | None
) -> Tensor:
    """Labels for a discriminator's logits: real is 1 - *smoothing*; a share *noise* is swapped."""
    labels = torch.full_like(like, float(label))
    if noise > 0:
        wrong = torch.rand(like.shape, device=like.device, generator=generator) < noise
        labels = torch.where(wrong, 1 - labels, labels)
    return labels * (1 - smoothing)

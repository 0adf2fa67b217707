"""The augmentations DeepFaceLab does not have (product.md 6.3.1), on whole batches.

The product's options say only what they are called; strengths and chances here are ours. Colour
casts (:func:`lab_rotation`, :func:`lab_shift`, :func:`channel_cast`) change input and target alike;
everything else is done to the network input only, after the geometry, so that the model learns to
give a clean face for a poor picture. Each face gets each change with probability 1/2 (colour casts
always).

Images are (B, 3, R, R) float32 BGR 0..1.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recaster_tui.training.data.color import bgr_to_lab, lab_to_bgr
from recaster_tui.training.models.base import SideAugment

_CHANCE = 0.5
_SMALLEST_PART = 0.25
_NOISE_SIGMA = 0.06
_BLUR_SIGMA = 2.0 / 128
_JPEG_QUALITY = (15, 85)
_SHADOW_DEPTH = (-0.6, 0.4)


def lab_rotation(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Random colour: turn a and b of CIE Lab by any angle, lightness kept."""
    angle = torch.from_numpy(rng.uniform(-math.pi, math.pi, images.shape[0])).to(images)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    lightness, a, b = bgr_to_lab(images).unbind(1)
    return lab_to_bgr(torch.stack([lightness, a * cos - b * sin, a * sin + b * cos], 1))


def lab_shift(images: Tensor, rng: np.random.Generator) -> Tensor:
    """``fs-aug``: lightness up to 30 % towards white or black, a and b by up to 8 % of range."""
    draws = torch.from_numpy(rng.uniform(-1, 1, (images.shape[0], 3))).to(images)
    lightness, a, b = bgr_to_lab(images).unbind(1)
    amount = draws[:, 0, None, None] * 0.3
    lightness = torch.where(
        amount >= 0, lightness + (100 - lightness) * amount, lightness * (1 + amount)
    )
    a = a + draws[:, 1, None, None] * (0.08 * 127)
    b = b + draws[:, 2, None, None] * (0.08 * 127)
    return lab_to_bgr(torch.stack([lightness, a, b], 1))


def channel_cast(images: Tensor, rng: np.random.Generator) -> Tensor:
    """``cc-aug``: each channel by a gain of 0.8 … 1.2 and a gamma of 0.8 … 1.25."""
    shape = (images.shape[0], 3, 1, 1)
    gain = torch.from_numpy(rng.uniform(0.8, 1.2, shape)).to(images)
    gamma = torch.from_numpy(1.25 ** rng.uniform(-1, 1, shape)).to(images)
    return (images.clamp(0, 1) ** gamma * gain).clamp(0, 1)


def degrade(
    images: Tensor, augment: SideAugment, rng: np.random.Generator, pool: ThreadPoolExecutor | None
) -> Tensor:
    """Shadow, blur, downsampling, noise, JPEG: as real footage spoils pictures, in that order."""
    if augment.shadow:
        images = _shadow(images, rng)
    if augment.blur:
        images = _blur(images, rng)
    if augment.downsample:
        images = _downsample(images, rng)
    if augment.noise:
        images = _noise(images, rng)
    if augment.jpeg:
        images = _jpeg(images, rng, pool)
    return images


def _chosen(rng: np.random.Generator, batch: int) -> np.ndarray:
    return rng.random(batch) < _CHANCE


def _shadow(images: Tensor, rng: np.random.Generator) -> Tensor:
    """A soft-edged half plane made darker or lighter by a factor 0.4 … 1.4."""
    batch, side = images.shape[0], images.shape[-1]
    chosen = _chosen(rng, batch)
    angle, place = rng.uniform(0, 2 * math.pi, batch), rng.uniform(-0.4, 0.4, batch)
    softness, depth = rng.uniform(0.02, 0.3, batch), rng.uniform(*_SHADOW_DEPTH, batch)
    line = torch.linspace(-0.5, 0.5, side, device=images.device)

    def column(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(images)[:, None, None]

    distance = column(np.cos(angle)) * line + column(np.sin(angle)) * line[:, None]
    veil = torch.sigmoid((distance - column(place)) / column(softness) * 4)
    factor = 1 + column(depth * chosen) * veil
    return (images * factor[:, None]).clamp(0, 1)


def _blur(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Gaussian blur of up to 2 pixels at 128, edges repeated."""
    batch, channels, side, _ = images.shape
    largest = max(0.5, _BLUR_SIGMA * side)
    sigma = np.where(_chosen(rng, batch), rng.uniform(0.3, largest, batch), 1e-3)
    radius = math.ceil(3 * largest)
    line = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    width = torch.from_numpy(sigma).to(images)[:, None]
    kernel = torch.softmax(-(line**2) / (2 * width**2), dim=1).repeat_interleave(channels, 0)
    flat = images.reshape(1, batch * channels, side, side)
    padded = F.pad(flat, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel[:, None, None, :], groups=batch * channels)
    return F.conv2d(rows, kernel[:, None, :, None], groups=batch * channels).view_as(images)


def _downsample(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Shrink to 25 … 100 % (area) and enlarge again (bilinear)."""
    side = images.shape[-1]
    chosen = _chosen(rng, images.shape[0])
    sides = np.rint(rng.uniform(_SMALLEST_PART, 1, images.shape[0]) * side).astype(int)
    result = [images[i : i + 1] for i in range(len(images))]
    for i in np.flatnonzero(chosen & (sides < side)):
        small = F.interpolate(result[i], size=(int(sides[i]),) * 2, mode="area")
        result[i] = F.interpolate(small, size=(side, side), mode="bilinear", align_corners=False)
    return torch.cat(result)


def _noise(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Gaussian pixel noise of up to 6 % of full scale."""
    batch = images.shape[0]
    sigma = rng.uniform(0, _NOISE_SIGMA, batch) * _chosen(rng, batch)
    generator = torch.Generator(images.device).manual_seed(int(rng.integers(2**62)))
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    return (images + noise * torch.from_numpy(sigma).to(images)[:, None, None, None]).clamp(0, 1)


def _jpeg(images: Tensor, rng: np.random.Generator, pool: ThreadPoolExecutor | None) -> Tensor:
    """Through JPEG of quality 15 … 85, in OpenCV (on threads): there is no codec in torch."""
    batch = images.shape[0]
    chosen = _chosen(rng, batch)
    quality = rng.integers(_JPEG_QUALITY[0], _JPEG_QUALITY[1] + 1, batch)
    pictures = (images * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()

    def recode(i: Any) -> np.ndarray:
        parameters = [cv2.IMWRITE_JPEG_QUALITY, int(quality[i])]
        data = cv2.imencode(".jpg", np.ascontiguousarray(pictures[i]), parameters)[1]
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))

    picked = np.flatnonzero(chosen)
    coded = list(pool.map(recode, picked)) if pool else [recode(i) for i in picked]
    result = images.clone()
    for i, picture in zip(picked, coded, strict=True):
        plane = torch.from_numpy(picture).to(images.device).permute(2, 0, 1)
        result[i] = plane.to(images.dtype) / 255
    return result

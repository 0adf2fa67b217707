"""Batched colour work in torch against OpenCV, the goldens and the reference."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from recaster_tui.training.data import color
from recaster_tui.training.data.degrade import channel_cast, degrade, lab_rotation, lab_shift
from recaster_tui.training.models.base import SideAugment
from recaster_tui.training.reference.color import hsv_shift


def images(batch: int = 3, side: int = 32) -> torch.Tensor:
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    rng = np.random.default_rng(5)
    planes = [np.stack([x * y, 1 - x, 0.5 + 0.4 * np.sin(9 * y)]) for _ in range(batch)]
    noise = rng.random((batch, 3, side, side)) * 0.2
    return torch.from_numpy((np.stack(planes) * 0.8 + noise).astype(np.float32)).clamp(0, 1)


class LegacyStreams:
    """Feeds each sample of a batch from its own RandomState, as the goldens were made."""

    def __init__(self, *seeds: int) -> None:
        self.streams = [np.random.RandomState(seed) for seed in seeds]

    def standard_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.stack([stream.normal(size=shape[1:]) for stream in self.streams])


def test_hsv_and_lab_round_trip() -> None:
    x = images()
    assert (color.hsv_to_bgr(color.bgr_to_hsv(x)) - x).abs().max() < 1e-5
    assert (color.lab_to_bgr(color.bgr_to_lab(x)) - x).abs().max() < 1e-4
    hsv = color.bgr_to_hsv(x)[0].permute(1, 2, 0).numpy()
    theirs = cv2.cvtColor(x[0].permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_BGR2HSV)
    np.testing.assert_allclose(hsv, theirs, atol=2e-3)


@pytest.mark.parametrize(
    ("mode", "mean", "most"),
    [
        ("rct", 2e-3, 1e-2),  # OpenCV's Lab is interpolated from a table, ours is computed
        ("lct", 1e-5, 1e-4),
        ("mkl", 1e-5, 1e-4),
        ("idt", 1e-3, 2e-2),  # bins: a last digit moves a pixel to the next
        ("sot", 1e-3, 5e-3),  # bilateral filter taken as a blur
    ],
)
def test_transfer_goldens(goldens: Path, mode: str, mean: float, most: float) -> None:
    z = np.load(goldens / "color/color_transfer.npz")
    a, b = (
        torch.from_numpy(z[name].astype(np.float32) / np.float32(255)).permute(0, 3, 1, 2)
        for name in ("a_u8", "b_u8")
    )
    ours = color.color_transfer(mode, a, b, LegacyStreams(1234, 1235))  # type: ignore[arg-type]
    error = np.abs(ours.permute(0, 2, 3, 1).numpy() - z[mode])
    assert error.mean() < mean and error.max() < most
    assert ours.min() >= 0 and ours.max() <= 1


def test_hsv_shift_is_the_reference() -> None:
    x = images(1)
    stream = np.random.RandomState(11)
    power = 0.1
    span = 18
    shifts = [
        stream.randint(-span, span + 1),
        (stream.random_sample() - 0.5) * power,
        (stream.random_sample() - 0.5) * power,
    ]
    ours = color.hsv_shift(x, torch.tensor([shifts], dtype=torch.float32))
    theirs = hsv_shift(x[0].permute(1, 2, 0).contiguous().numpy(), power, np.random.RandomState(11))
    np.testing.assert_allclose(ours[0].permute(1, 2, 0).numpy(), theirs, atol=1e-4)
    drawn = color.draw_hsv(np.random.default_rng(0), 2000, power)
    assert set(np.unique(drawn[:, 0])) == set(range(-span, span + 1))
    assert np.abs(drawn[:, 1:]).max() <= power / 2


@pytest.mark.parametrize("name", ["downsample", "noise", "blur", "jpeg", "shadow"])
def test_degradations(name: str) -> None:
    """Repeatable, in range, some faces changed and some left."""
    x = images(8)
    augment = SideAugment(**{name: True})
    with ThreadPoolExecutor(2) as pool:
        once = degrade(x, augment, np.random.default_rng(1), pool)
        again = degrade(x, augment, np.random.default_rng(1), None)
    other = degrade(x, augment, np.random.default_rng(2), None)
    assert torch.equal(once, again) and not torch.equal(once, other)
    assert once.shape == x.shape and once.min() >= -1e-6 and once.max() <= 1 + 1e-6
    change = (once - x).abs().amax((1, 2, 3))
    assert (change > 0.01).any() and (change < 1e-2).any()


def test_color_casts_keep_what_they_promise() -> None:
    x = images()
    rng = np.random.default_rng(3)
    for cast in (lab_rotation, lab_shift, channel_cast):
        y = cast(x, rng)
        assert y.shape == x.shape and y.min() >= 0 and y.max() <= 1
        assert (y - x).abs().mean() > 1e-3
    # Muted colours stay in gamut, so lightness survives the turn.
    grey = x * 0.2 + 0.4
    before = color.bgr_to_lab(grey)[:, 0]
    after = color.bgr_to_lab(lab_rotation(grey, rng))[:, 0]
    assert (after - before).abs().max() < 0.1

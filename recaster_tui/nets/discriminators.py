"""Discriminators: "true face" on codes, U-Net on pictures (dfl-models.md 3.8)."""

from functools import lru_cache
from itertools import pairwise, product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recaster_tui.nets.layers import Conv2d, ConvTranspose2d


class CodeDiscriminator(nn.Module):
    """Code (B, ae, r, r) -> logits (B, 1, r', r'); tells source codes from destination codes."""

    def __init__(self, ae_dims: int, side: int, base: int = 256) -> None:
        super().__init__()
        count = 1 + side // 8
        widths = [ae_dims, *(base * min(2**i, 8) for i in range(count))]
        self.convs = nn.ModuleList(
            Conv2d(a, b, 4 if i == 0 else 3, stride=2) for i, (a, b) in enumerate(pairwise(widths))
        )
        self.out_conv = Conv2d(widths[-1], 1, 1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.1)
        logits: Tensor = self.out_conv(x)
        return logits.float()


@lru_cache(maxsize=1)
def _plans() -> dict[int, tuple[int, ...]]:
    """Receptive field -> the strides that reach it with fewest layers, then largest strides."""
    best: dict[int, tuple[int, ...]] = {}
    for layers in range(1, 10):
        for rest in product((1, 2), repeat=layers - 1):
            strides = (2, *rest)
            field, step = 3, 1
            for stride in strides[:-1]:
                step *= stride
                field += 2 * step
            known = best.get(field)
            if known is None or (len(known) == layers and sum(known) < sum(strides)):
                best[field] = strides
    return best


def patch_plan(patch_size: int) -> tuple[int, ...]:
    """Strides of the discriminator's convolutions for a patch of 3..640 pixels.

    The reachable receptive field closest to the patch wins, the smaller one on a tie.
    """
    plans = _plans()
    return plans[min(plans, key=lambda field: (abs(field - patch_size), field))]


def patch_multiple(patch_size: int) -> int:
    """The resolution must be a multiple of this, or the skips do not fit together (quirk 6)."""
    multiple = 1
    for stride in patch_plan(patch_size):
        multiple *= stride
    return multiple


class UNetPatchDiscriminator(nn.Module):
    """Picture (B, 3, R, R) -> logits of the deepest map and of every pixel (B, 1, R, R)."""

    def __init__(self, strides: tuple[int, ...], base: int, channels: int = 3) -> None:
        super().__init__()
        widths = [base, *(min(base * 2 ** (i + 1), 512) for i in range(len(strides)))]
        last = len(strides) - 1
        self.convs = nn.ModuleList(
            Conv2d(widths[i], widths[i + 1], 3, stride=s) for i, s in enumerate(strides)
        )
        self.upconvs = nn.ModuleList(
            ConvTranspose2d(
                widths[i + 1] * (1 if i == last else 2), widths[i], 3, stride=strides[i]
            )
            for i in range(last, -1, -1)
        )
        self.in_conv = Conv2d(channels, base, 1)
        self.out_conv = Conv2d(2 * base, 1, 1)
        self.center_out = Conv2d(widths[-1], 1, 1)
        self.center_conv = Conv2d(widths[-1], widths[-1], 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        x = F.leaky_relu(self.in_conv(x), 0.2)
        skips = []
        for conv in self.convs:
            skips.append(x)
            x = F.leaky_relu(conv(x), 0.2)
        center = self.center_out(x)
        x = F.leaky_relu(self.center_conv(x), 0.2)
        for skip, conv in zip(reversed(skips), self.upconvs, strict=True):
            x = torch.cat((skip, F.leaky_relu(conv(x), 0.2)), 1)
        return center.float(), self.out_conv(x).float()

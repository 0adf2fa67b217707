"""Discriminators: "true face" on codes, U-Net on pictures (dfl-models.md 3.8)."""

from itertools import pairwise

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


class UNetPatchDiscriminator(nn.Module):
    """Picture (B, 3, R, R) -> logits of the deepest map and of every pixel (B, 1, R, R).

    The strides follow from the patch size (:func:`recaster_tui.options.gan_strides`); their product
    must divide R, or the skips do not fit together (quirk 6).
    """

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

"""The automatic mask's network: a small U-Net (Ronneberger et al., 2015) with five outputs."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RESOLUTION = 160
CHANNELS = ("face", "hair", "neck", "mouth", "eyes")
"""What the logits say. They may overlap: mouth and eyes belong to the face."""
WIDTHS = (24, 40, 64, 112, 160)


class ConvNorm(nn.Sequential):
    """k3 convolution without bias, batch normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class AutoMask(nn.Module):
    """(B, 3, 160, 160) BGR 0..1 of a whole-face crop -> logits (B, 5, 160, 160), see CHANNELS.

    Nothing is computed at full size: 2 x 2 pixels come in as 12 channels and go out as 20
    (sub-pixel convolution, Shi et al. 2016), which on a CPU is several times faster.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvNorm(12, widths[0]), ConvNorm(widths[0], widths[0]))
        self.down = nn.ModuleList(
            nn.Sequential(ConvNorm(a, b, 2), ConvNorm(b, b)) for a, b in pairwise(widths)
        )
        # The mean over the picture says where it is dark or coloured all over.
        self.context = nn.Linear(widths[-1], widths[-1])
        self.up = nn.ModuleList(
            nn.Sequential(ConvNorm(a + b, b), ConvNorm(b, b)) for a, b in pairwise(widths[::-1])
        )
        self.out = nn.Conv2d(widths[0], 4 * len(CHANNELS), 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y = self.stem(F.pixel_unshuffle(x - 0.5, 2))
        kept = [y]
        for stage in self.down:
            y = stage(y)
            kept.append(y)
        kept.pop()
        y = y + self.context(y.mean((2, 3)))[..., None, None]
        for stage in self.up:
            larger = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
            y = stage(torch.cat((larger, kept.pop()), 1))
        logits: Tensor = F.pixel_shuffle(self.out(y), 2)
        return logits.float()

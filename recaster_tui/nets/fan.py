"""FAN, the face alignment network: 68 heat maps (dfl-data.md 5.8).

Bulat, Tzimiropoulos 2017, "How far are we from solving the 2D & 3D Face Alignment problem?": four
stacked hourglasses. ``2DFAN.npy`` and ``3DFAN.npy`` are the same network; module names are theirs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STACKS = 4
DEPTH = 4
POINTS = 68


class ConvBlock(nn.Module):
    """Three pre-activated 3 x 3 convolutions, all three outputs side by side, plus a shortcut."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        half, quarter = channels_out // 2, channels_out // 4
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, quarter, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(quarter)
        self.conv3 = nn.Conv2d(quarter, quarter, 3, padding=1, bias=False)
        self.fits = channels_in == channels_out
        if not self.fits:
            self.down_bn1 = nn.BatchNorm2d(channels_in)
            self.down_conv1 = nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        one = self.conv1(F.relu(self.bn1(x)))
        two = self.conv2(F.relu(self.bn2(one)))
        three = self.conv3(F.relu(self.bn3(two)))
        if not self.fits:
            x = self.down_conv1(F.relu(self.down_bn1(x)))
        return torch.cat((one, two, three), 1) + x


class HourGlass(nn.Module):
    """Blocks at this size plus, recursively, at half of it."""

    def __init__(self, depth: int, width: int = 256) -> None:
        super().__init__()
        self.b1 = ConvBlock(width, width)
        self.b2 = ConvBlock(width, width)
        self.b2_plus: nn.Module = (
            HourGlass(depth - 1, width) if depth > 1 else ConvBlock(width, width)
        )
        self.b3 = ConvBlock(width, width)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        low = self.b3(self.b2_plus(self.b2(F.avg_pool2d(x, 2))))
        y: Tensor = self.b1(x) + F.interpolate(low, scale_factor=2, mode="nearest")
        return y


class FAN(nn.Module):
    """(B, 3, 256, 256) RGB 0..1 -> heat maps (B, 68, 64, 64) of the last stack."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = ConvBlock(64, 128)
        self.conv3 = ConvBlock(128, 128)
        self.conv4 = ConvBlock(128, 256)
        self.m = nn.ModuleList(HourGlass(DEPTH) for _ in range(STACKS))
        self.top_m = nn.ModuleList(ConvBlock(256, 256) for _ in range(STACKS))
        self.conv_last = nn.ModuleList(nn.Conv2d(256, 256, 1) for _ in range(STACKS))
        self.bn_end = nn.ModuleList(nn.BatchNorm2d(256) for _ in range(STACKS))
        self.l = nn.ModuleList(nn.Conv2d(256, POINTS, 1) for _ in range(STACKS))
        self.bl = nn.ModuleList(nn.Conv2d(256, 256, 1) for _ in range(STACKS - 1))
        self.al = nn.ModuleList(nn.Conv2d(POINTS, 256, 1) for _ in range(STACKS - 1))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = self.conv2(F.relu_(self.bn1(self.conv1(x))))
        x = self.conv4(self.conv3(F.avg_pool2d(x, 2)))
        heat = x
        for k in range(STACKS):
            y = self.conv_last[k](self.top_m[k](self.m[k](x)))
            y = F.relu_(self.bn_end[k](y))
            heat = self.l[k](y)
            if k < STACKS - 1:
                x = x + self.bl[k](y) + self.al[k](heat)
        return heat

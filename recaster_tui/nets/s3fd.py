"""S3FD, the single-shot scale-invariant face detector, as DeepFaceLab has it (dfl-data.md 5.8).

Zhang et al. 2017, "S3FD: Single Shot Scale-invariant Face Detector". Module names are those of the
file ``S3FD.npy``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDES = (4, 8, 16, 32, 64, 128)
MEANS = (104.0, 117.0, 123.0)  # BGR means, but DFL subtracts them from RGB

_VGG = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # width, convolutions
_HEADS = (
    ("conv3_3_norm", 256),
    ("conv4_3_norm", 512),
    ("conv5_3_norm", 512),
    ("fc7", 1024),
    ("conv6_2", 512),
    ("conv7_2", 256),
)


class L2Norm(nn.Module):
    """Each pixel's channels divided by their length, times a learned weight."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        length = x.square().sum(1, keepdim=True).sqrt()
        return x / (length + 1e-10) * self.weight[:, None, None]


class S3FD(nn.Module):
    """(B, 3, H, W) RGB 0..255 -> for each of :data:`STRIDES` the face score (B, h, w), 0..1, and
    the box (B, 4, h, w): offset of the centre x, y and logarithm of the size, in SSD's units.
    """

    def __init__(self) -> None:
        super().__init__()
        before = 3
        for block, (width, count) in enumerate(_VGG, 1):
            for k in range(1, count + 1):
                self.add_module(f"conv{block}_{k}", nn.Conv2d(before, width, 3, padding=1))
                before = width
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=3)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.conv6_1 = nn.Conv2d(1024, 256, 1)
        self.conv6_2 = nn.Conv2d(256, 512, 3, stride=2, padding=1)
        self.conv7_1 = nn.Conv2d(512, 128, 1)
        self.conv7_2 = nn.Conv2d(128, 256, 3, stride=2, padding=1)
        for name, width in _HEADS[:3]:
            self.add_module(name, L2Norm(width))
        for name, width in _HEADS:
            classes = 4 if name == "conv3_3_norm" else 2
            self.add_module(f"{name}_mbox_conf", nn.Conv2d(width, classes, 3, padding=1))
            self.add_module(f"{name}_mbox_loc", nn.Conv2d(width, 4, 3, padding=1))

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:  # noqa: D102
        x = x - x.new_tensor(MEANS)[:, None, None]
        taps = []
        for block, (_, count) in enumerate(_VGG, 1):
            for k in range(1, count + 1):
                x = F.relu_(getattr(self, f"conv{block}_{k}")(x))
            if block >= 3:
                taps.append(getattr(self, f"conv{block}_3_norm")(x))
            x = F.max_pool2d(x, 2)
        x = F.relu_(self.fc7(F.relu_(self.fc6(x))))
        taps.append(x)
        x = F.relu_(self.conv6_2(F.relu_(self.conv6_1(x))))
        taps.append(x)
        taps.append(F.relu_(self.conv7_2(F.relu_(self.conv7_1(x)))))
        return [self._head(name, tap) for (name, _), tap in zip(_HEADS, taps, strict=True)]

    def _head(self, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        classes = getattr(self, f"{name}_mbox_conf")(x)
        # The finest head has three kinds of background; the likeliest counts.
        background, face = classes[:, :-1].amax(1), classes[:, -1]
        return torch.sigmoid(face - background), getattr(self, f"{name}_mbox_loc")(x)

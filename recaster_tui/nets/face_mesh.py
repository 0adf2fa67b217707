"""Face mesh: 478 landmarks of one face in a square crop of 256 x 256 pixels.

Google's "MediaPipe Face Mesh V2" (its model card; Kartynnik et al. 2019, "Real-time Facial Surface
Geometry from Monocular Video on Mobile GPUs"). Points 468 to 477 are the irises.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from recaster_tui.nets.blazeface import SameConv2d, widen

POINTS = 478


class Bottleneck(nn.Module):
    """Narrow 1 x 1, depthwise 3 x 3, wide 1 x 1, shortcut; at *stride* 2 a 2 x 2 convolution halves
    first and the shortcut is pooled and zero-padded to the new width.
    """

    def __init__(self, channels_in: int, middle: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.channels_out = stride, channels_out
        self.squeeze = nn.Conv2d(channels_in, middle, stride, stride)
        self.squeeze_slope = nn.PReLU(middle)
        self.depthwise = nn.Conv2d(middle, middle, 3, padding=1, groups=middle, bias=False)
        self.expand = nn.Conv2d(middle, channels_out, 1)
        self.slope = nn.PReLU(channels_out)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y = self.expand(self.depthwise(self.squeeze_slope(self.squeeze(x))))
        if self.stride == 2:
            x = F.max_pool2d(x, 2)
        z: Tensor = self.slope(y.add_(widen(x, self.channels_out)))
        return z


class FaceMesh(nn.Module):
    """(B, 3, 256, 256) RGB 0..1 -> points (B, 478, 3) and the face's presence, a logit (B,).

    x and y are pixels of the crop, z is in the same unit, 0 near the head's middle and smaller
    towards the camera.
    """

    side = 256

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, 16, 3)
        self.stem_slope = nn.PReLU(16)
        blocks = [Bottleneck(16, 8, 16) for _ in range(4)]
        width = 16
        for wider in (32, 64, 128, 128, 128, 128):
            middle = wider // 2
            blocks.append(Bottleneck(width, middle, wider, 2))
            blocks += [Bottleneck(wider, middle, wider) for _ in range(4)]
            width = wider
        self.blocks = nn.Sequential(*blocks)
        self.presence = nn.Conv2d(width, 1, 2)
        self.points = nn.Conv2d(width, 3 * POINTS, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        y = self.blocks(self.stem_slope(self.stem(x)))
        return self.points(y).reshape(-1, POINTS, 3), self.presence(y).reshape(-1)

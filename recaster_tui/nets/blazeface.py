"""BlazeFace, Google's face detectors: full-range (192 x 192) and short-range (128 x 128).

Bazarevsky et al. 2019, "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", and the
model cards "MediaPipe BlazeFace Full Range" and "Short Range". Convolutions of stride 2 pad as
TensorFlow's SAME does: on even sides the surplus zero goes right and below.

Both take (B, 3, side, side) RGB in -1..1 and give, for each of N anchors, 16 numbers (B, N, 16)
and a logit (B, N): centre x, y relative to the anchor, width, height, then x, y relative to the
anchor of the subject's right eye, left eye, nose tip, mouth, right and left ear; all in pixels of
the input.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SameConv2d(nn.Conv2d):
    """Convolution of stride 2 with TensorFlow's SAME padding, for even sides."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, groups: int = 1) -> None:
        super().__init__(channels_in, channels_out, kernel, stride=2, groups=groups)
        self.before = (kernel - 2) // 2
        self.after = kernel - 2 - self.before

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return super().forward(F.pad(x, (self.before, self.after, self.before, self.after)))


def _depthwise(channels: int, stride: int) -> nn.Conv2d:
    if stride == 2:
        return SameConv2d(channels, channels, 3, groups=channels)
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels)


def widen(x: Tensor, channels: int) -> Tensor:
    """*x* (B, C, H, W) with zero channels appended up to *channels*."""
    missing = channels - x.shape[1]
    return F.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x


class BlazeBlock(nn.Module):
    """Separable convolution with a shortcut: pooled where it strides, zero-padded to its width."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.channels_out = stride, channels_out
        self.depthwise = _depthwise(channels_in, stride)
        self.pointwise = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y = self.pointwise(self.depthwise(x))
        if self.stride == 2:
            x = F.max_pool2d(x, 2)
        return F.relu_(y.add_(widen(x, self.channels_out)))


class DoubleBlazeBlock(nn.Module):
    """Two separable convolutions through a narrow middle, with the same shortcut."""

    def __init__(self, channels_in: int, middle: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.channels_out = stride, channels_out
        self.depthwise1 = _depthwise(channels_in, stride)
        self.squeeze = nn.Conv2d(channels_in, middle, 1)
        self.depthwise2 = _depthwise(middle, 1)
        self.expand = nn.Conv2d(middle, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y = F.relu_(self.squeeze(self.depthwise1(x)))
        y = self.expand(self.depthwise2(y))
        if self.stride == 2:
            x = F.max_pool2d(x, 2)
        return F.relu_(y.add_(widen(x, self.channels_out)))


class Merge(nn.Module):
    """A feature-pyramid step: deep features, doubled in size, join the shallow ones."""

    def __init__(self, deep: int, shallow: int, width: int, blocks: int) -> None:
        super().__init__()
        self.deep = nn.Conv2d(deep, width, 1)
        self.shallow = nn.Conv2d(shallow, width, 1)
        self.blocks = nn.Sequential(
            *(DoubleBlazeBlock(width, width // 2, width) for _ in range(blocks))
        )

    def forward(self, deep: Tensor, shallow: Tensor) -> Tensor:  # noqa: D102
        up = F.interpolate(F.relu_(self.deep(deep)), scale_factor=2, mode="bilinear")
        y: Tensor = self.blocks(F.relu_(self.shallow(shallow)).add_(up))
        return y


class BlazeFaceFull(nn.Module):
    """The full-range detector (dense variant): faces up to about 5 m away; N = 48 · 48."""

    side = 192

    def __init__(self) -> None:
        super().__init__()
        double = DoubleBlazeBlock
        self.stem = SameConv2d(3, 32, 3)
        self.stage1 = nn.Sequential(double(32, 8, 32), double(32, 8, 32))
        self.stage2 = nn.Sequential(double(32, 12, 48, 2), double(48, 12, 48), double(48, 16, 64))
        self.stage3 = nn.Sequential(
            double(64, 24, 96, 2), double(96, 32, 128), double(128, 32, 128)
        )
        self.stage4 = nn.Sequential(
            double(128, 36, 144, 2), double(144, 48, 192), double(192, 64, 256)
        )
        self.stage5 = nn.Sequential(
            double(256, 96, 384, 2), *(double(384, 96, 384) for _ in range(3))
        )
        self.merge4 = Merge(384, 256, 96, 2)
        self.merge3 = Merge(96, 128, 64, 2)
        self.merge2 = Merge(64, 64, 48, 1)
        self.score = nn.Conv2d(48, 1, 1)
        self.box = nn.Conv2d(48, 16, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        x2 = self.stage2(self.stage1(F.relu_(self.stem(x))))
        x3 = self.stage3(x2)
        x4 = self.stage4(x3)
        x5 = self.stage5(x4)
        y = self.merge2(self.merge3(self.merge4(x5, x4), x3), x2)
        return _rows(self.box(y), 16), _rows(self.score(y), 1).squeeze(2)

    @staticmethod
    def anchors() -> Tensor:
        """(2304, 2) x, y of the anchors, 0..1: one in the middle of each of 48 x 48 cells."""
        return _grid(48, 1)


class BlazeFaceShort(nn.Module):
    """The short-range detector: faces within about 2 m; N = 16 · 16 · 2 + 8 · 8 · 6."""

    side = 128

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, 24, 5)
        widths = (24, 24, 28, 32, 36, 42, 48, 56, 64, 72, 80, 88)
        halved = (32, 48)
        self.shallow = nn.Sequential(
            *(
                BlazeBlock(before, after, 2 if after in halved else 1)
                for before, after in pairwise(widths)
            )
        )
        self.deep = nn.Sequential(BlazeBlock(88, 96, 2), *(BlazeBlock(96, 96) for _ in range(4)))
        self.score_shallow = nn.Conv2d(88, 2, 1)
        self.score_deep = nn.Conv2d(96, 6, 1)
        self.box_shallow = nn.Conv2d(88, 32, 1)
        self.box_deep = nn.Conv2d(96, 96, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        shallow = self.shallow(F.relu_(self.stem(x)))
        deep = self.deep(shallow)
        boxes = (_rows(self.box_shallow(shallow), 16), _rows(self.box_deep(deep), 16))
        scores = (_rows(self.score_shallow(shallow), 1), _rows(self.score_deep(deep), 1))
        return torch.cat(boxes, 1), torch.cat(scores, 1).squeeze(2)

    @staticmethod
    def anchors() -> Tensor:
        """(896, 2) x, y of the anchors, 0..1: two per cell of 16 x 16, six per cell of 8 x 8."""
        return torch.cat((_grid(16, 2), _grid(8, 6)))


def _rows(x: Tensor, width: int) -> Tensor:
    """(B, k·width, H, W) -> (B, H·W·k, width), cell by cell."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, width)


def _grid(cells: int, per_cell: int) -> Tensor:
    middle = (torch.arange(cells) + 0.5) / cells
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    return torch.stack((x, y), 2).reshape(-1, 2).repeat_interleave(per_cell, 0)

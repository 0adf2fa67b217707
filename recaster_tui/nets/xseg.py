"""XSeg, the face segmentation network, 256 x 256 (dfl-models.md 6.2)."""

import torch
from torch import Tensor, nn

from recaster_tui.nets.layers import TLU, Conv2d, ConvTranspose2d, FRNorm2d, blur_pool

RESOLUTION = 256


class ConvBlock(nn.Module):
    """k3 convolution, filter response normalisation, thresholded linear unit."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv: nn.Module = Conv2d(channels_in, channels_out, 3)
        self.frn = FRNorm2d(channels_out)
        self.tlu = TLU(channels_out)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        y: Tensor = self.tlu(self.frn(self.conv(x)))
        return y


class UpConvBlock(ConvBlock):
    """The same with a transposed convolution of stride 2."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out)
        self.conv = ConvTranspose2d(channels_in, channels_out, 3, stride=2)


# Per stage: convolutions, width in units of the base, blur filter of the pooling after it.
_STAGES = ((2, 1, 4), (2, 2, 3), (2, 4, 2), (3, 8, 2), (3, 8, 2), (3, 8, 2))


class XSeg(nn.Module):
    """(B, 3, 256, 256) BGR 0..1 -> logits (B, 1, 256, 256).

    ``skips=False`` is the original's pretraining mode: skip connections are zeros.
    """

    def __init__(self, base: int = 32) -> None:
        super().__init__()
        previous = 3
        for stage, (count, width, _) in enumerate(_STAGES):
            for i in range(1, count + 1):
                self.add_module(f"conv{stage}{i}", ConvBlock(previous, width * base))
                previous = width * base
        self.dense1 = nn.Linear(4 * 4 * previous, 512)
        self.dense2 = nn.Linear(512, 4 * 4 * previous)
        for stage in range(5, -1, -1):
            count, width, _ = _STAGES[stage]
            up = {5: 4, 4: 4, 3: 4, 2: 4, 1: 2, 0: 1}[stage] * base
            self.add_module(f"up{stage}", UpConvBlock(previous, up))
            previous = up + width * base
            # Stages 5..3 come back to 8 bases, the others to their own width.
            for i in range(count, 0, -1):
                self.add_module(f"uconv{stage}{i}", ConvBlock(previous, width * base))
                previous = width * base
        self.out_conv = Conv2d(base, 1, 3)

    def forward(self, x: Tensor, skips: bool = True) -> Tensor:  # noqa: D102
        kept = []
        for stage, (count, _, blur) in enumerate(_STAGES):
            for i in range(1, count + 1):
                x = getattr(self, f"conv{stage}{i}")(x)
            kept.append(x if skips else torch.zeros_like(x))
            x = blur_pool(x, blur)
        shape = x.shape
        x = self.dense2(self.dense1(x.flatten(1))).view(shape)
        for stage in range(5, -1, -1):
            x = torch.cat((getattr(self, f"up{stage}")(x), kept[stage]), 1)
            for i in range(_STAGES[stage][0], 0, -1):
                x = getattr(self, f"uconv{stage}{i}")(x)
        logits: Tensor = self.out_conv(x)
        return logits.float()

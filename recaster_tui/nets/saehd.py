"""SAEHD autoencoder: encoder, inter, decoder of every architecture string (dfl-models.md 3.3, 3.4).

Quick96 is the same with fixed sizes. Module names follow the original's saved keys:
``down1.downs.0.conv1.weight`` is its ``down1/downs_0/conv1/weight:0``; registration order is its
file order.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recaster_tui.nets.layers import Conv2d
from recaster_tui.nets.ops import depth_to_space, pixel_norm, x_cos_x


@dataclass(frozen=True)
class Archi:
    """A parsed architecture string.

    Attributes:
        liae: two inters and one shared decoder instead of one inter and two decoders.
        u: normalise the encoder's output vector.
        d: decode at half resolution, doubled by four parallel output convolutions.
        t: deeper encoder and decoder, inter without upscale.
        c: x·cos(x) instead of every leaky ReLU.
    """

    liae: bool
    u: bool = False
    d: bool = False
    t: bool = False
    c: bool = False

    @classmethod
    def parse(cls, text: str) -> "Archi":
        """Read ``df``, ``liae-ud``, ``df-udtc`` … (letters in any order and number).

        Raises:
            ValueError: another string.
        """
        found = re.fullmatch(r"(df|liae)(?:-([udtc]+))?", text.strip().lower())
        if not found:
            raise ValueError(f"architecture {text!r} is not df or liae with letters of u, d, t, c")
        letters = found[2] or ""
        return cls(found[1] == "liae", *(letter in letters for letter in "udtc"))

    @property
    def multiple(self) -> int:
        """The resolution must be a multiple of this (32 for t as well: quirk 5)."""
        return 32 if self.d or self.t else 16


class _Block(nn.Module):
    """Holds the activation choice."""

    def __init__(self, cosine: bool) -> None:
        super().__init__()
        self.cosine = cosine

    def act(self, x: Tensor, slope: float) -> Tensor:
        return x_cos_x(x) if self.cosine else F.leaky_relu(x, slope)


class Downscale(_Block):
    """k5 stride 2 convolution and activation: half the side."""

    def __init__(self, channels_in: int, channels_out: int, cosine: bool = False) -> None:
        super().__init__(cosine)
        self.conv1 = Conv2d(channels_in, channels_out, 5, stride=2)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.act(self.conv1(x), 0.1)


class Upscale(_Block):
    """k3 convolution to four times the channels, activation, depth to space: twice the side."""

    def __init__(self, channels_in: int, channels_out: int, cosine: bool = False) -> None:
        super().__init__(cosine)
        self.conv1 = Conv2d(channels_in, 4 * channels_out, 3)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return depth_to_space(self.act(self.conv1(x), 0.1), 2)


class Residual(_Block):
    """Two k3 convolutions around which the input is added."""

    def __init__(self, channels: int, cosine: bool = False) -> None:
        super().__init__(cosine)
        self.conv1 = Conv2d(channels, channels, 3)
        self.conv2 = Conv2d(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.act(x + self.conv2(self.act(self.conv1(x), 0.2)), 0.2)


class _DownscaleList(nn.Module):
    def __init__(self, channels: list[int], cosine: bool) -> None:
        super().__init__()
        self.downs = nn.ModuleList(Downscale(i, o, cosine) for i, o in pairwise(channels))

    def forward(self, x: Tensor) -> Tensor:
        for down in self.downs:
            x = down(x)
        return x


class Encoder(nn.Module):
    """(B, 3, R, R) -> (B, 8·e·(R/16)²) vector in C, H, W order; R/32 with t."""

    def __init__(self, e_dims: int, archi: Archi) -> None:
        super().__init__()
        e, c = e_dims, archi.c
        self.normalise = archi.u
        if not archi.t:
            self.down1 = _DownscaleList([3, e, 2 * e, 4 * e, 8 * e], c)
            self._order: tuple[str, ...] = ("down1",)
        else:
            self.down1 = Downscale(3, e, c)  # type: ignore[assignment]
            self.res1 = Residual(e, c)
            self.down2 = Downscale(e, 2 * e, c)
            self.down3 = Downscale(2 * e, 4 * e, c)
            self.down4 = Downscale(4 * e, 8 * e, c)
            self.down5 = Downscale(8 * e, 8 * e, c)
            self.res5 = Residual(8 * e, c)
            self._order = ("down1", "res1", "down2", "down3", "down4", "down5", "res5")

    def features(self, x: Tensor) -> Tensor:
        """The map before it is flattened."""
        for name in self._order:
            x = getattr(self, name)(x)
        return x

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        vector = self.features(x).flatten(1)
        # The mean of some thousand squares wants float32 under autocast.
        return pixel_norm(vector.float()) if self.normalise else vector

    @staticmethod
    def length(e_dims: int, resolution: int, archi: Archi) -> int:
        """Length of the vector."""
        return 8 * e_dims * (resolution // (32 if archi.t else 16)) ** 2


class Inter(nn.Module):
    """Vector -> feature map (B, io, r, r), r = R/8, R/16 (d or t) or R/32 (d and t)."""

    def __init__(
        self, length: int, ae_dims: int, channels_out: int, resolution: int, archi: Archi
    ) -> None:
        super().__init__()
        self.channels = channels_out
        self.lowest = resolution // (32 if archi.d else 16)
        self.dense1 = nn.Linear(length, ae_dims)
        self.dense2 = nn.Linear(ae_dims, self.lowest**2 * channels_out)
        self.upscale1 = None if archi.t else Upscale(channels_out, channels_out, archi.c)

    def forward(self, vector: Tensor) -> Tensor:  # noqa: D102
        x: Tensor = self.dense2(self.dense1(vector))
        x = x.view(-1, self.channels, self.lowest, self.lowest)
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in (self.upscale1,) if self.upscale1 is not None else ():
            x = layer(x)
        return x

    @property
    def side(self) -> int:
        """Side of the map."""
        return self.lowest if self.upscale1 is None else 2 * self.lowest


def _chain(net: nn.Module, names: tuple[str, ...], x: Tensor) -> Tensor:
    for name in names:
        x = getattr(net, name)(x)
    return x


class Decoder(nn.Module):
    """Feature map -> image (B, 3, R, R) and mask (B, 1, R, R), both float32 0..1."""

    def __init__(
        self,
        channels_in: int,
        d_dims: int,
        mask_dims: int,
        archi: Archi,
        *,
        mask_first: bool = False,
    ) -> None:
        """*mask_first*: register the mask's last layers before ``out_conv``, AMP's file order."""
        super().__init__()
        d, m, c = d_dims, mask_dims, archi.c
        image = [8 * d, 8 * d, 4 * d, 2 * d] if archi.t else [8 * d, 4 * d, 2 * d]
        mask = [8 * m, 8 * m, 4 * m, 2 * m] if archi.t else [8 * m, 4 * m, 2 * m]
        self.stages = len(image)
        for i, (a, b) in enumerate(pairwise([channels_in, *image])):
            self.add_module(f"upscale{i}", Upscale(a, b, c))
        for i, channels in enumerate(image):
            self.add_module(f"res{i}", Residual(channels, c))
        for i, (a, b) in enumerate(pairwise([channels_in, *mask])):
            self.add_module(f"upscalem{i}", Upscale(a, b, c))
        self.doubled = archi.d
        # Off for export: the graph then has the convolutions as they are stored.
        self.merged_output = True

        def image_out() -> None:
            self.out_conv = Conv2d(2 * d, 3, 1)
            for i in range(1, 4 if archi.d else 1):
                self.add_module(f"out_conv{i}", Conv2d(2 * d, 3, 3))

        def mask_out() -> None:
            if archi.d:
                self.add_module(f"upscalem{len(mask)}", Upscale(2 * m, m, c))
            self.out_convm = Conv2d(m if archi.d else 2 * m, 1, 1)

        if mask_first:
            mask_out()
            image_out()
        else:
            image_out()
            mask_out()
        self._image = tuple(f"{kind}{i}" for i in range(self.stages) for kind in ("upscale", "res"))
        self._mask = tuple(f"upscalem{i}" for i in range(self.stages + int(archi.d)))

    def _output(self, x: Tensor) -> Tensor:
        if not self.doubled:
            plain: Tensor = self.out_conv(x)
            return plain
        convs = [self.out_conv, *(getattr(self, f"out_conv{i}") for i in (1, 2, 3))]
        if not self.merged_output:
            return depth_to_space(torch.cat([conv(x) for conv in convs], 1), 2)
        # Four convolutions with three outputs each are one with twelve (the 1x1 kernel padded to
        # 3x3): a quarter of the memory traffic, same numbers.
        weight = torch.cat([F.pad(convs[0].weight, (1, 1, 1, 1)), *(k.weight for k in convs[1:])])
        bias = torch.cat([k.bias for k in convs])
        return depth_to_space(F.conv2d(x, weight, bias, padding=1), 2)

    def image(self, code: Tensor) -> Tensor:
        """Only the image."""
        return torch.sigmoid(self._output(_chain(self, self._image, code)).float())

    def mask(self, code: Tensor) -> Tensor:
        """Only the mask."""
        return torch.sigmoid(self.out_convm(_chain(self, self._mask, code)).float())

    def forward(self, code: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        return self.image(code), self.mask(code)


def autoencoder(
    archi: Archi, resolution: int, ae_dims: int, e_dims: int, d_dims: int, mask_dims: int
) -> dict[str, nn.Module]:
    """The networks of one SAEHD model under their saved names, in the original's order.

    df: encoder, inter, decoder_src, decoder_dst. liae: encoder, inter_AB, inter_B, decoder.
    """
    length = Encoder.length(e_dims, resolution, archi)
    nets: dict[str, nn.Module] = {"encoder": Encoder(e_dims, archi)}
    if archi.liae:
        for name in ("inter_AB", "inter_B"):
            nets[name] = Inter(length, ae_dims, 2 * ae_dims, resolution, archi)
        nets["decoder"] = Decoder(4 * ae_dims, d_dims, mask_dims, archi)
    else:
        nets["inter"] = Inter(length, ae_dims, ae_dims, resolution, archi)
        for name in ("decoder_src", "decoder_dst"):
            nets[name] = Decoder(ae_dims, d_dims, mask_dims, archi)
    return nets


QUICK96 = {
    "archi": Archi(liae=False, u=True, d=True),
    "resolution": 96,
    "ae_dims": 128,
    "e_dims": 64,
    "d_dims": 64,
    "mask_dims": 16,
}
"""Fixed sizes of Quick96 (dfl-models.md 5), arguments of :func:`autoencoder`."""

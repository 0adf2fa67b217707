"""Layers with the original's padding, names and initial values (dfl-models.md 1.3, 1.5)."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)


class Conv2d(nn.Conv2d):
    """Convolution padded with ((k-1)·dilation+1)//2 zeros on all sides.

    For even kernels that is k/2 on *both* sides, so the output is one larger than usual (quirk 17).
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        padding = ((kernel - 1) * dilation + 1) // 2
        super().__init__(
            channels_in, channels_out, kernel, stride=stride, padding=padding, dilation=dilation
        )


class ConvTranspose2d(nn.ConvTranspose2d):
    """Gradient of a SAME convolution: output side = input side · stride.

    The surplus of max(k - stride, 0) rows is cropped total//2 in front, the rest behind: for
    k=3, stride 2 only the last row and column go (torch's ``output_padding`` crops the other side).
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, stride: int) -> None:
        super().__init__(channels_in, channels_out, kernel, stride=stride, padding=0)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:  # noqa: D102
        full = super().forward(x)
        stride, kernel = int(self.stride[0]), self.kernel_size[0]
        front = max(kernel - stride, 0) // 2
        height, width = x.shape[2] * stride, x.shape[3] * stride
        return full[:, :, front : front + height, front : front + width]


class FRNorm2d(nn.Module):
    """Filter response normalisation with a learned epsilon (Singh, Krishnan 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = nn.Parameter(torch.full((1,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if torch.is_grad_enabled():
            y: Tensor = _Normalise.apply(x, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
            return y
        return _normalise(x, self.weight, self.bias, self.eps)[0]


class TLU(nn.Module):
    """Thresholded linear unit, max(x, tau) per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if torch.is_grad_enabled():
            y: Tensor = _Threshold.apply(x, self.tau)  # type: ignore[no-untyped-call]
            return y
        return torch.maximum(x, self.tau.to(x.dtype)[:, None, None])


# The gradients of both are written out: autograd's own take two to three times as long on a CPU,
# and they are most of XSeg's step. Gradients of gradients are not offered.


def _normalise(x: Tensor, weight: Tensor, bias: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """The layer's output and 1 / sqrt(mean(x²) + |eps|), (B, C, 1, 1)."""
    inverse = torch.rsqrt(x.square().mean((2, 3), keepdim=True) + eps.abs())
    scale = inverse * weight[:, None, None]
    return torch.addcmul(bias[:, None, None], x.to(scale.dtype), scale), inverse


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: Tensor) -> Tensor:
        y, inverse = _normalise(x, weight, bias, eps)
        ctx.save_for_backward(x, weight, eps, inverse)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        x, weight, eps, inverse = ctx.saved_tensors
        weight = weight[:, None, None]
        # With m = mean(x²): y = w x r + b, r = (m + |e|)^(-1/2), dr/dm = -r³/2, dm/dx = 2x/HW.
        along = (grad * x).sum((2, 3), keepdim=True)
        by_mean = -0.5 * inverse**3 * weight * along
        by_x = torch.addcmul(
            grad * (inverse * weight), x.to(grad.dtype), by_mean * (2 / (x.shape[2] * x.shape[3]))
        )
        return (
            by_x.to(x.dtype),
            (along * inverse).sum((0, 2, 3)),
            grad.sum((0, 2, 3)),
            by_mean.sum() * eps.sign(),
        )


class _Threshold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, tau: Tensor) -> Tensor:
        ctx.save_for_backward(x, tau)
        return torch.maximum(x, tau.to(x.dtype)[:, None, None])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, tau = ctx.saved_tensors
        by_x = grad * (x >= tau.to(x.dtype)[:, None, None])
        return by_x, (grad - by_x).sum((0, 2, 3)).to(tau.dtype)


_BINOMIAL = {n: [1.0] for n in (1,)}
for _n in range(2, 8):
    _row = _BINOMIAL[_n - 1]
    _BINOMIAL[_n] = [a + b for a, b in zip([0.0, *_row], [*_row, 0.0], strict=True)]


@lru_cache(maxsize=32)
def _blur_kernel(size: int, channels: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    taps = torch.tensor(_BINOMIAL[size], dtype=torch.float64)
    kernel = torch.outer(taps, taps)
    return (kernel / kernel.sum()).to(device, dtype).expand(channels, 1, size, size).contiguous()


def blur_pool(x: Tensor, size: int) -> Tensor:
    """Binomial filter of *size* 1..7 taps, stride 2, zero padding: half the side."""
    before, after = (size - 1) // 2, size // 2
    with torch.inference_mode(False):
        kernel = _blur_kernel(size, x.shape[1], x.device, x.dtype)
    padded = F.pad(x, (before, after, before, after))
    return F.conv2d(padded, kernel, stride=2, groups=x.shape[1])


def initialise(net: nn.Module, generator: torch.Generator) -> None:
    """Give every parameter its start value: Glorot uniform weights, zero biases (1.5).

    Drawn on the CPU in parameter order, so that a seed means the same network on every device.
    """
    for module in net.modules():
        if isinstance(module, FRNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
            nn.init.constant_(module.eps, 1e-6)
        elif isinstance(module, TLU):
            nn.init.zeros_(module.tau)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def build(make: Callable[[], Net], generator: torch.Generator) -> Net:
    """Construct a network on the CPU with its start values drawn from *generator* only."""
    with torch.device("meta"):
        net = make()
    net = net.to_empty(device="cpu")
    initialise(net, generator)
    return net

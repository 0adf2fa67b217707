"""Quick96's golden has a data race of the original in it; here that race happens on purpose.

TensorFlow orders the update of a layer's weights after that layer's weight gradient, but not after
its *input* gradient, which reads the same memory. Where the update came first, everything behind
the layer gets its gradient through weights that are already one step ahead. (dfl-models.md 1.6
reports the same of the iteration counter.)

Which layers these were in the golden's first update can be read off what it recorded. Walking in
backpropagation order, each tensor's ``delta_sum`` (signs of all its elements), the first elements
and the bias decide whether the layer before it raced. The right choice misses a sum by at most 5e-5
of a weight's elements, what rounding does; the wrong one mostly by 1e-2 to 1. Where it misses it by
little (out_convm, inter) the first elements, the bias or the next layers decide. In encoder and
inter, whose update waits for both sides, src and dst were tried one by one. Of 48 input gradients
LAYERS are ten; the others, biases and the forward pass are as without a race, and no read needs to
be torn. All this is inferred from the numbers; it was not watched in TensorFlow itself.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recaster_tui.nets.layers import Conv2d
from recaster_tui.training.models.engine import Model
from recaster_tui.training.optimizers import DflOptimizer, RMSprop
from tests.parity.goldens import Deviation

LAYERS = {
    "encoder/down1.downs.2.conv1": "dst",
    "encoder/down1.downs.1.conv1": "dst",
    "decoder_src/out_convm": "both",
    "decoder_src/upscalem3.conv1": "both",
    "decoder_dst/out_conv": "both",
    "decoder_dst/out_conv1": "both",
    "decoder_dst/out_conv2": "both",
    "decoder_dst/out_conv3": "both",
    "decoder_dst/upscale2.conv1": "both",
    "decoder_dst/upscale1.conv1": "both",
}
"""Layers updated too early, and on which side's way back (only encoder and inter see both)."""
ELEMENTS, SUMS = 0.01, 6e-4
"""Shares of elements that may differ. Measured: none, and 5e-5 with or without oneDNN."""
MANY = 4000
"""A single sign is 5e-4 of so many elements."""


class _Raced(torch.autograd.Function):
    """A convolution that is updated between its weight gradient and its input gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        layer: Conv2d,
        optimizer: DflOptimizer,
        name: str,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.rest = layer, optimizer, name
        return F.conv2d(x, weight, bias, layer.stride, layer.padding)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, weight = ctx.saved_tensors
        layer, optimizer, name = ctx.rest

        def gradients(weights: Tensor, wanted: list[bool]) -> Any:
            return torch.ops.aten.convolution_backward(
                grads[0],
                x,
                weights,
                [len(weight)],
                layer.stride,
                layer.padding,
                [1, 1],
                False,
                [0, 0],
                1,
                wanted,
            )

        before, by_weight, by_bias = gradients(weight, [True, True, True])
        ahead = _stepped(optimizer, name, weight, by_weight)
        after, _, _ = gradients(ahead, [True, False, False])
        if LAYERS[name] == "dst":
            after = torch.cat((before.chunk(2)[0], after.chunk(2)[1]))
        return after, by_weight, by_bias, None, None, None


def _stepped(optimizer: DflOptimizer, name: str, weight: Tensor, gradient: Tensor) -> Tensor:
    """The weight after the update that *optimizer* is about to make (without dropout)."""
    ahead = {"w": weight.detach().clone()}
    ours = RMSprop(ahead, learning_rate=optimizer.learning_rate)
    ours.load_state({"acc/w": optimizer.state()[f"acc/{name}.weight"]})
    ours.step({"w": gradient.clone()}, 0.0)
    return ahead["w"]


def install(model: Model) -> None:
    """Let every later update of *model* (a Quick96) race in LAYERS."""
    optimizer = model.optimizers[model.main_optimizer]
    for name in LAYERS:
        network, key = name.split("/")
        net = model.networks[network]
        if hasattr(net, "merged_output"):
            net.merged_output = False
        layer = net.get_submodule(key)
        assert isinstance(layer, Conv2d)

        def forward(x: Tensor, layer: Conv2d = layer, name: str = name) -> Tensor:
            args = (x, layer.weight, layer.bias, layer, optimizer, name)
            result: Tensor = _Raced.apply(*args)  # type: ignore[no-untyped-call]
            return result

        layer.forward = forward  # type: ignore[method-assign]


def first_update(
    start: Mapping[str, Mapping[str, np.ndarray]],
    now: Mapping[str, Mapping[str, np.ndarray]],
    want: Mapping[str, np.ndarray],
) -> list[Deviation]:
    """Single elements and sums of the first update: its signs, which no l2 shows."""
    result = []
    for net in now:
        wrong = total = 0
        worst = 0.0
        names = [str(key) for key in want[f"names.{net}"]]
        assert set(names) == set(now[net])
        for i, key in enumerate(names):
            old, new = (np.asarray(w[net][key], np.float64).reshape(-1) for w in (start, now))
            step = want[f"after1.{net}.delta_l2"][i] / np.sqrt(old.size)
            size = min(8, old.size)
            off = np.abs(new[:size] - want[f"after1.{net}.first8"][i][:size])
            wrong += int((off > 0.1 * step).sum())
            total += size
            if old.size >= MANY:
                missed = abs((new - old).sum() - want[f"after1.{net}.delta_sum"][i])
                worst = max(worst, float(missed / (step * old.size)))
        result += [
            Deviation(f"after1 {net} elements", wrong / total, ELEMENTS),
            Deviation(f"after1 {net} sums", worst, SUMS),
        ]
    return result

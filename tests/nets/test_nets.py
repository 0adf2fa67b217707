"""Shapes, names and counts of the networks, and their mapping to DFL's files."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from recaster_tui.interop.dfl_layout import (
    dfl_key,
    from_dfl,
    optimizer_key,
    parse_optimizer_key,
    to_dfl,
    torch_name,
)
from recaster_tui.nets import amp, ops, saehd
from recaster_tui.nets.discriminators import CodeDiscriminator, UNetPatchDiscriminator
from recaster_tui.nets.layers import TLU, FRNorm2d, build
from recaster_tui.nets.xseg import XSeg
from recaster_tui.options import gan_strides


def size(net: nn.Module) -> tuple[int, int]:
    parameters = list(net.parameters())
    return len(parameters), sum(p.numel() for p in parameters)


# dfl-models.md 3.4, observed in the original: archi, R, ae, e, d, m -> (tensors, parameters).
@pytest.mark.parametrize(
    ("archi", "dims", "encoder", "inter", "decoder"),
    [
        ("liae-ud", (128, 256, 64, 64, 22), (8, 4306560), (6, 19933440), (36, 38203115)),
        ("df-ud", (128, 256, 64, 64, 22), (8, 4306560), (6, 11801856), (36, 19181291)),
        ("df", (128, 256, 64, 64, 22), (8, 4306560), (6, 14959872), (28, 19136000)),
        ("liae-udt", (224, 256, 64, 64, 22), (18, 15654144), (4, 12870400), (44, 53477803)),
        ("df-udt", (256, 256, 64, 64, 22), (18, 15654144), (4, 12599552), (44, 34455979)),
        ("liae-t", (128, 256, 64, 64, 22), (18, 15654144), (4, 10518784), (36, 53432512)),
        ("df-ud", (96, 128, 64, 64, 16), (8, 4306560), (6, 3098368), (36, 15444701)),
    ],
)
def test_counts(
    archi: str,
    dims: tuple[int, int, int, int, int],
    encoder: tuple[int, int],
    inter: tuple[int, int],
    decoder: tuple[int, int],
) -> None:
    with torch.device("meta"):
        nets = saehd.autoencoder(saehd.Archi.parse(archi), *dims)
    want = {"encoder": encoder, "inter": inter, "decoder": decoder}
    assert {n: size(net) for n, net in nets.items()} == {n: want[n.split("_")[0]] for n in nets}


def test_other_counts() -> None:
    with torch.device("meta"):
        nets = amp.autoencoder(224, 256, 1024, 64, 64, 22)
        assert {n: size(net)[0] for n, net in nets.items()} == {
            "encoder": 20,
            "inter_src": 2,
            "inter_dst": 2,
            "decoder": 44,
        }
        assert size(XSeg()) == (222, 17569317)
        for patch, count in ((16, 233650), (28, 3799090), (32, 946994), (64, 3799090)):
            assert size(UNetPatchDiscriminator(gan_strides(patch), 16))[1] == count


def test_names_are_the_originals() -> None:
    with torch.device("meta"):
        net = saehd.Encoder(16, saehd.Archi.parse("df"))
        disc = UNetPatchDiscriminator((2, 2), 16)
        code = CodeDiscriminator(32, 8)
    assert dfl_key(next(iter(net.state_dict()))) == "down1/downs_0/conv1/weight:0"
    assert [dfl_key(n) for n in disc.state_dict()][:10:2] == [
        "convs_0/weight:0",
        "convs_1/weight:0",
        "upconvs_0/weight:0",
        "upconvs_1/weight:0",
        "in_conv/weight:0",
    ]
    every = [*net.state_dict(), *disc.state_dict(), *code.state_dict(), *XSeg(2).state_dict()]
    assert [torch_name(dfl_key(n)) for n in every] == every
    key = optimizer_key("ms", "inter_AB", "dense1.weight")
    assert key == "ms_inter_AB/dense1/weight_0:0"
    assert parse_optimizer_key(key) == ("ms", "inter_AB", "dense1.weight")
    assert parse_optimizer_key("iters:0") is None


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_layouts_are_inverse(shape: list[int]) -> None:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.testing.assert_array_equal(from_dfl(to_dfl(array)), array)


def test_weights_follow_the_seed_alone() -> None:
    def make(seed: int) -> dict[str, torch.Tensor]:
        torch.rand(seed)  # the global generator must not matter
        net = build(lambda: amp.Encoder(4, 8, 64), torch.Generator().manual_seed(7))
        return net.state_dict()

    one, two = make(1), make(2)
    assert all(torch.equal(one[k], two[k]) for k in one)
    weight = one["down1.conv1.weight"]
    limit = (6 / (25 * 3 + 25 * 4)) ** 0.5
    assert 0.8 * limit < weight.abs().max() <= limit
    assert not one["down1.conv1.bias"].any()


def test_depth_to_space_keeps_channels_last() -> None:
    x = torch.randn(2, 12, 3, 5)
    fast = ops.depth_to_space(x.contiguous(memory_format=torch.channels_last))
    assert torch.equal(fast, ops.depth_to_space(x))
    assert fast.is_contiguous(memory_format=torch.channels_last)


def test_ms_ssim() -> None:
    torch.manual_seed(0)
    a, b = torch.rand(2, 3, 96, 96), torch.rand(2, 3, 96, 96)
    assert torch.allclose(ops.ms_ssim(a, a), torch.ones(2, 3), atol=1e-5)
    near, far = ops.ms_ssim(a, 0.9 * a + 0.1 * b), ops.ms_ssim(a, 0.5 * a + 0.5 * b)
    assert bool((near > far).all() and (near < 1).all() and (far > 0).all())


@pytest.mark.parametrize("layer", [FRNorm2d(3), TLU(3)])
def test_written_out_gradients(layer: nn.Module) -> None:
    layer = layer.double()
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 3, 4, 5, dtype=torch.double, generator=generator).requires_grad_()
    parameters = {
        name: torch.randn(p.shape, dtype=p.dtype, generator=generator).requires_grad_()
        for name, p in layer.named_parameters()
    }

    def run(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        given = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(layer, given, (x,))

    values = tuple(parameters.values())
    assert torch.autograd.gradcheck(run, (x, *values))
    with torch.no_grad():
        plain = run(x, *values)
    assert torch.equal(plain, run(x, *values).detach())

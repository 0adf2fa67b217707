"""Operators, layers and optimizers: the arrays of ops/ and optim/."""

import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recaster_tui.interop.dfl_layout import from_dfl, to_dfl
from recaster_tui.nets import layers, ops
from recaster_tui.training.optimizers import KINDS, global_norm
from tests.parity.goldens import (
    GRADIENT,
    OPERATOR,
    Case,
    Deviation,
    absolute,
    formula_module,
    nchw,
    nhwc,
    relative_norm,
    root,
)

GROUPS = ("ops", "optim")

UNUSED = re.compile(
    r"dwconv|conv_k3_wscale|dense_wscale|inorm|^bn|scaleadd|adain|tanhpolar|deconv_k3_s2_valid"
    r"|conv_k3_valid|resize2d|space_to_depth|rgb_to_lab|bilinear_sampler|upsample2d|max_pool|gelu"
)
"""What none of the four models uses; we do not have it, so there is nothing to judge."""

FILES = ("dssim", "gaussian_blur", "style_loss", "reshape_resize")

Arrays = Mapping[str, np.ndarray]


def discover() -> Iterator[Case]:
    for name in FILES:
        path = root() / "ops" / f"{name}.npz"
        if path.exists():
            yield Case("ops", name, path)
    path = root() / "ops" / "layers.npz"
    if path.exists():
        tags = [k.removesuffix(".out") for k in np.load(path).files if k.endswith(".out")]
        yield from (Case("ops", f"layer {t}", path, t) for t in tags if not UNUSED.search(t))
    path = root() / "optim" / "optimizers.npz"
    if path.exists():
        tags = sorted({k.removesuffix(".iters") for k in np.load(path).files if "iters" in k})
        yield from (Case("optim", tag, path, tag) for tag in tags)


def unjudged() -> Iterator[tuple[str, str]]:
    """Layers and operators that no network of ours uses, and files nobody reads."""
    why = "none of the four models uses it"
    for path in sorted((root() / "ops").glob("*.npz")):
        with np.load(path) as arrays:
            names = list(arrays.files)
        if path.stem == "layers":
            tags = [name.removesuffix(".out") for name in names if name.endswith(".out")]
            yield from ((f"ops/layer {tag}", why) for tag in tags if UNUSED.search(tag))
        elif path.stem == "reshape_resize":
            yield from ((f"ops/{path.stem} {n}", why) for n in names if UNUSED.search(n))
        elif path.stem == "ca_init":
            yield "ops/ca_init", "an initializer: start weights come from files or from a seed"
        elif path.stem not in FILES:
            yield f"ops/{path.stem}", "an array file of a kind that is not known here"


def judge(case: Case) -> list[Deviation]:
    arrays = dict(np.load(case.path))
    if case.group == "optim":
        return _optimizer(arrays, case.tag)
    if case.tag:
        return _layer(arrays, case.tag)
    judges: dict[str, Callable[[Arrays], list[Deviation]]] = {
        "dssim": _dssim,
        "gaussian_blur": _blur,
        "style_loss": _style,
        "reshape_resize": _reshape,
    }
    return judges[case.path.stem](arrays)


def _dssim(arrays: Arrays) -> list[Deviation]:
    result = []
    for key, want in arrays.items():
        found = re.fullmatch(r"dssim_(gray_)?(\d+)_fs(\d+)(_max255_sigma2)?", key)
        if not found:
            continue
        gray, side, size, large = found[1], found[2], int(found[3]), found[4]
        a, b = nchw(arrays[f"a{side}"]), nchw(arrays[f"b{side}"]).requires_grad_()
        if gray:
            got = ops.dssim(a[:, :1], 1 - a[:, :1], size)
        elif large:
            got = ops.dssim(a * 255, b * 255, size, max_val=255, filter_sigma=2, k1=0.02, k2=0.05)
        else:
            got = ops.dssim(a, b, size)
        result.append(absolute(key, got, want, OPERATOR))
        grad_key = f"grad_b_{side}_fs{size}"
        if gray or large:
            continue
        (gradient,) = torch.autograd.grad(got.sum(), [b])
        if grad_key in arrays:
            result.append(relative_norm(grad_key, nhwc(gradient), arrays[grad_key], GRADIENT))
        elif f"{grad_key}_crop" in arrays:
            crop = nhwc(gradient)[:, 40:48, 40:48]
            result.append(
                relative_norm(f"{grad_key}_crop", crop, arrays[f"{grad_key}_crop"], GRADIENT)
            )
            norm = np.linalg.norm(gradient.double().numpy())
            result.append(relative_norm(f"{grad_key}_l2", norm, arrays[f"{grad_key}_l2"], GRADIENT))
    return result


def _blur(arrays: Arrays) -> list[Deviation]:
    return [
        absolute(k, nhwc(ops.gaussian_blur(nchw(arrays[k[0] + "64"]), float(k[3:]))), v, OPERATOR)
        for k, v in arrays.items()
        if "_r" in k
    ]


def _style(arrays: Arrays) -> list[Deviation]:
    result = []
    for key, want in arrays.items():
        found = re.fullmatch(r"loss_blur([\d.]+)_w([\d.]+)", key)
        if not found:
            continue
        target = nchw(arrays["target"]).requires_grad_()
        loss = ops.style_loss(
            target, nchw(arrays["style"]), blur_sigma=float(found[1]), weight=float(found[2])
        )
        (gradient,) = torch.autograd.grad(loss.sum(), [target])
        result.append(relative_norm(key, loss.detach().numpy(), want, OPERATOR))
        name = key.replace("loss", "grad")
        result.append(relative_norm(name, nhwc(gradient)[:1], arrays[name], GRADIENT))
    return result


def _reshape(arrays: Arrays) -> list[Deviation]:
    x, z = nchw(arrays["x"]), torch.from_numpy(arrays["z"])
    got = {
        "depth_to_space_2": ops.depth_to_space(x, 2),
        "depth_to_space_4": ops.depth_to_space(x, 4),
        "depth_to_space_2 channels_last": ops.depth_to_space(
            x.contiguous(memory_format=torch.channels_last), 2
        ),
        "flatten": x.flatten(1),
        "reshape_4D": z.view(2, 16, 4, 4),
    }
    result = []
    for name, tensor in got.items():
        for layout in ("NHWC", "NCHW"):
            want = arrays[f"{name.split()[0]}_{layout}"]
            array = nhwc(tensor) if tensor.ndim == 4 else tensor.numpy()
            result.append(absolute(f"{name}_{layout}", array, want, OPERATOR))
    result.append(absolute("pixel_norm", ops.pixel_norm(z), arrays["pixel_norm_flat"], OPERATOR))
    variation = ops.total_variation_mse(nchw(arrays["img16"]))
    want = arrays["total_variation_mse"]
    return [
        *result,
        relative_norm("total_variation_mse", variation.numpy(), want[: len(variation)], OPERATOR),
    ]


def _layer(arrays: Arrays, tag: str) -> list[Deviation]:
    x = arrays["d"] if tag.startswith("dense") else arrays["x"]
    weights = {
        k.removeprefix(f"{tag}.").removesuffix(":0"): from_dfl(v)
        for k, v in arrays.items()
        if k.startswith(f"{tag}.") and not k.endswith(".out")
    }
    found = re.fullmatch(r"(conv|deconv|blurpool)_?k?(\d)(_odd\w*)?(?:_s(\d))?_?(\w*)", tag)
    with torch.inference_mode():
        if tag.startswith("dense"):
            vector = torch.from_numpy(x)
            got = (
                ops.pixel_norm(vector)
                if tag == "densenorm"
                else F.linear(vector, *(torch.from_numpy(weights[k]) for k in ("weight", "bias")))
            )
            return [absolute("out", got, arrays[f"{tag}.out"], OPERATOR)]
        if "odd" in tag:
            x = x[:, :11, :11]
        net: Callable[[Tensor], Tensor]
        if found and found[1] == "blurpool":
            size = int(found[2])
            net = lambda t: layers.blur_pool(t, size)  # noqa: E731
        else:
            net = _module(tag, weights)
        return [absolute("out", nhwc(net(nchw(x))), arrays[f"{tag}.out"], OPERATOR)]


def _module(tag: str, weights: Mapping[str, np.ndarray]) -> nn.Module:
    channels = 6
    net: nn.Module
    if tag == "frn":
        net = layers.FRNorm2d(channels)
    elif tag == "tlu":
        net = layers.TLU(channels)
    else:
        kernel = int(re.search(r"_k(\d)", tag)[1])  # type: ignore[index]
        stride = int((re.search(r"_s(\d)", tag) or [0, 1])[1])
        if tag.startswith("deconv"):
            net = layers.ConvTranspose2d(channels, 5, kernel, stride=stride)
        else:
            dilation = 2 if "dil2" in tag else 1
            net = layers.Conv2d(channels, 5, kernel, stride=stride, dilation=dilation)
    net.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
    return net


def _optimizer(arrays: Arrays, tag: str) -> list[Deviation]:
    found = re.fullmatch(r"(\w+?)_clip([\d.]+)_cos(\d+)_drop([\d.]+)", tag)
    assert found
    names = ("w1", "b1")
    start = {n: torch.from_numpy(arrays[f"w0.{n}"].copy()) for n in names}
    target = {n: torch.from_numpy(arrays[f"target.{n}"]) for n in names}
    curve = {n: torch.from_numpy(arrays[f"a.{n}"]) for n in names}
    keep = float(found[4])
    optimizer = KINDS[found[1].lower()](
        start,
        learning_rate=0.01,
        clip_norm=float(found[2]),
        cosine_period=int(found[3]),
        dropout=keep < 1,
    )

    def mask(name: str, parameter: Tensor) -> Tensor:
        flat = formula_module().det_binomial(parameter.numel(), keep)
        # A matrix here is no dense layer: it keeps its axes.
        return torch.from_numpy(flat.reshape(parameter.shape))

    optimizer.mask_source = mask
    worst = dict.fromkeys(names, 0.0)
    steps = len(arrays[f"{tag}.w1"])

    def step(i: int) -> dict[str, float]:
        gradients = {n: curve[n] * (start[n] - target[n]) for n in names}
        optimizer.step(gradients, float(global_norm(gradients.values())))
        return {n: float(np.abs(start[n].numpy() - arrays[f"{tag}.{n}"][i]).max()) for n in names}

    for i in range(steps):
        before = {n: start[n].clone() for n in names}, optimizer.state()
        moments = {k: v.clone() for k, v in before[1].items()}
        off = step(i)
        if max(off.values()) > OPERATOR / 10 and optimizer.cosine_period:
            # In the original reading and incrementing the counter race (spec 1.6): either counts.
            for n in names:
                start[n].copy_(before[0][n])
            optimizer.load_state(moments)
            optimizer.iterations -= 1
            off = step(i)
            optimizer.iterations += 1
        worst = {n: max(worst[n], off[n]) for n in names}
    result = [Deviation(n, worst[n], OPERATOR) for n in names]
    state = optimizer.state()
    for key, want in arrays.items():
        saved = re.fullmatch(re.escape(f"{tag}.state.") + r"(\w+)_m/(\w+)_0:0", key)
        if saved:
            got = state[f"{saved[1]}/{saved[2]}"]
            size = max(1.0, float(np.abs(want).max()))  # RMSprop's reach thousands
            result.append(absolute(f"{saved[1]} {saved[2]}", got / size, want / size, OPERATOR))
    result.append(
        Deviation("iterations", abs(optimizer.iterations - int(arrays[f"{tag}.iters"])), 0)
    )
    return result


__all__ = ["discover", "judge", "to_dfl"]

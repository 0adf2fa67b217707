"""Networks forward: archi, archi_tiny, quick96, xseg, unet_disc, code_disc."""

import json
from collections.abc import Iterator

import numpy as np
import torch

from recaster_tui.nets import discriminators, layers, saehd, xseg
from recaster_tui.options import gan_strides
from tests.parity.goldens import (
    FORWARD,
    GRADIENT,
    Case,
    Deviation,
    absolute,
    golden_weights,
    load,
    meta,
    nchw,
    nhwc,
    relative_norm,
    root,
)

GROUPS = ("archi", "archi_tiny", "quick96", "xseg", "unet_disc", "code_disc")


def discover() -> Iterator[Case]:
    for group in GROUPS:
        for info in sorted((root() / group).glob("*/meta.json")):
            yield Case(group, info.parent.name, info.parent)
    if (root() / "quick96" / "meta.json").exists():
        yield Case("quick96", "net", root() / "quick96")
    plans = root() / "unet_disc" / "find_archi_3_640.json"
    if plans.exists():
        yield Case("unet_disc", "patch_plans", plans)


def judge(case: Case) -> list[Deviation]:
    if case.path.suffix == ".json":
        return _plans(case)
    judges = {
        "archi": _autoencoder,
        "archi_tiny": _autoencoder,
        "quick96": _autoencoder,
        "xseg": _xseg,
        "unet_disc": _unet,
        "code_disc": _code,
    }
    return judges[case.group](case)


def _autoencoder(case: Case) -> list[Deviation]:
    info = meta(case.path)
    archi = saehd.Archi.parse(info["archi"])
    dims = [info[k] for k in ("ae_dims", "e_dims", "d_dims", "d_mask_dims")]
    nets = layers.build(
        lambda: torch.nn.ModuleDict(saehd.autoencoder(archi, info["resolution"], *dims)),
        torch.Generator(),
    )
    for name, net in nets.items():
        load(net, golden_weights(case.path, info, name))
    want = dict(np.load(case.path / "io.npz"))
    inputs = want if "src" in want else dict(np.load(case.path.parent / "inputs.npz"))
    got: dict[str, np.ndarray] = {}

    def keep(name: str, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
        got[name], got[name + "m"] = nhwc(pair[0]), nhwc(pair[1])

    with torch.inference_mode():
        src, dst = nets["encoder"](nchw(inputs["src"])), nets["encoder"](nchw(inputs["dst"]))
        got["enc_src"], got["enc_dst"] = src.numpy(), dst.numpy()
        if archi.liae:
            a_src, a_dst = nets["inter_AB"](src), nets["inter_AB"](dst)
            b_dst = nets["inter_B"](dst)
            got["inter_AB_src"], got["inter_AB_dst"] = nhwc(a_src), nhwc(a_dst)
            got["inter_B_dst"] = nhwc(b_dst)
            keep("src_src", nets["decoder"](torch.cat((a_src, a_src), 1)))
            keep("dst_dst", nets["decoder"](torch.cat((b_dst, a_dst), 1)))
            keep("src_dst", nets["decoder"](torch.cat((a_dst, a_dst), 1)))
        else:
            c_src, c_dst = nets["inter"](src), nets["inter"](dst)
            got["inter_src"], got["inter_dst"] = nhwc(c_src), nhwc(c_dst)
            keep("src_src", nets["decoder_src"](c_src))
            keep("dst_dst", nets["decoder_dst"](c_dst))
            keep("src_dst", nets["decoder_src"](c_dst))
    names = [name for name in want if name not in ("src", "dst")]
    # Some files keep only the first picture of an output.
    return [absolute(n, got[n][: want[n].shape[0]], want[n], FORWARD) for n in names]


def _xseg(case: Case) -> list[Deviation]:
    info, want = meta(case.path), np.load(case.path / "io.npz")
    net = layers.build(lambda: xseg.XSeg(info["base_ch"]), torch.Generator())
    load(net, golden_weights(case.path, info, "XSeg", "XSeg_256.npy"))
    x = nchw(want["x"])
    with torch.inference_mode():
        first = net.get_submodule("conv01")(x)
        pooled = layers.blur_pool(net.get_submodule("conv02")(first), 4)
        logits = net(x)
        got = {
            "logits": nhwc(logits),
            "pred": nhwc(torch.sigmoid(logits)),
            "logits_pretrain": nhwc(net(x, skips=False)),
            "conv01_crop": nhwc(first)[:, :32, :32],
            "bp0_crop": nhwc(pooled)[:, :16, :16],
        }
    # Against a float64 run our logits are off by 3e-5 (pretrain 9e-5), the original's by 3.5e-4 (up
    # to 12): so logits are measured in units of the largest one; probabilities absolutely.
    return [
        absolute(n, got[n], want[n], FORWARD * max(1.0, np.abs(want[n]).max()))
        for n in want.files
        if n != "x"
    ]


def _unet(case: Case) -> list[Deviation]:
    info, want = meta(case.path), np.load(case.path / "io.npz")
    strides = gan_strides(info["patch_size"])
    assert [[3, s] for s in strides] == info["layers"], (strides, info["layers"])
    net = layers.build(
        lambda: discriminators.UNetPatchDiscriminator(strides, info["gan_dims"]), torch.Generator()
    )
    load(net, golden_weights(case.path, info, "D_src"))
    x = nchw(want["x"]).requires_grad_()
    center, out = net(x)
    (gradient,) = torch.autograd.grad(out.square().mean() + center.square().mean(), [x])
    return [
        absolute("center_out", nhwc(center), want["center_out"], FORWARD),
        absolute("out", nhwc(out), want["out"], FORWARD),
        relative_norm("grad_x", nhwc(gradient), want["grad_x_of_mse0"], GRADIENT),
    ]


def _code(case: Case) -> list[Deviation]:
    info, want = meta(case.path), np.load(case.path / "io.npz")
    net = layers.build(
        lambda: discriminators.CodeDiscriminator(info["ae_dims"], info["code_res"], info["ch"]),
        torch.Generator(),
    )
    load(net, golden_weights(case.path, info, "dis", "code_discriminator.npy"))
    with torch.inference_mode():
        return [absolute("out", nhwc(net(nchw(want["x"]))), want["out"], FORWARD)]


def _plans(case: Case) -> list[Deviation]:
    plans = json.loads(case.path.read_text())
    wrong = [
        patch
        for patch, layer_list in plans.items()
        if [[3, s] for s in gan_strides(int(patch))] != layer_list
    ]
    return [Deviation(f"{len(plans)} patch sizes, wrong", float(len(wrong)), 0.0)]

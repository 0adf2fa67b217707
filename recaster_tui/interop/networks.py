"""The networks of a model class, made from its options: shapes to check by, or real ones to run."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from recaster_tui.errors import BadInputError, DamagedError
from recaster_tui.interop.dfl_layout import Array
from recaster_tui.nets import amp, saehd, xseg
from recaster_tui.nets.discriminators import CodeDiscriminator, UNetPatchDiscriminator
from recaster_tui.options import (
    AmpOptions,
    ModelClass,
    Quick96Options,
    SaehdOptions,
    TrainingOptions,
    class_of,
)

Shapes = dict[str, dict[str, tuple[int, ...]]]
DISCRIMINATORS = ("dis", "D_src", "GAN")


def make_networks(
    options: TrainingOptions, *, discriminators: bool = False
) -> dict[str, nn.Module]:
    """Networks by root name, on torch's current default device, weights not meaningful.

    Raises:
        BadInputError: the architecture is not one that this version knows.
    """
    if isinstance(options, Quick96Options):
        return saehd.autoencoder(*saehd.QUICK96.values())  # type: ignore[arg-type]
    if isinstance(options, AmpOptions):
        o = options
        nets = amp.autoencoder(
            o.resolution,
            o.autoencoder_dims,
            o.inter_dims,
            o.encoder_dims,
            o.decoder_dims,
            o.mask_decoder_dims,
        )
        if discriminators:
            nets["GAN"] = UNetPatchDiscriminator(o.gan_strides, o.gan_dims)
        return nets
    if isinstance(options, SaehdOptions):
        return _saehd(options, discriminators)
    return {"XSeg": xseg.XSeg()}


def _saehd(o: SaehdOptions, discriminators: bool) -> dict[str, nn.Module]:
    try:
        archi = saehd.Archi.parse(o.architecture)
    except ValueError as error:
        raise BadInputError(
            str(error), hint="networks of DFL before 2021 are not known to this version"
        ) from error
    nets = saehd.autoencoder(
        archi,
        o.resolution,
        o.autoencoder_dims,
        o.encoder_dims,
        o.decoder_dims,
        o.mask_decoder_dims,
    )
    if discriminators:
        if not archi.liae:
            inter = nets["inter"]
            assert isinstance(inter, saehd.Inter)
            nets["dis"] = CodeDiscriminator(o.autoencoder_dims, inter.side)
        nets["D_src"] = UNetPatchDiscriminator(o.gan_strides, o.gan_dims)
    return nets


def shapes_of(options: TrainingOptions) -> Shapes:
    """Torch shape of every parameter of every network, discriminators too, in file order.

    Raises:
        BadInputError: see :func:`make_networks`.
    """
    _require_possible(options)
    try:
        with torch.device("meta"):
            nets = make_networks(options, discriminators=True)
    except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        raise BadInputError("its options describe no network that can exist") from error
    return {
        name: {key: tuple(p.shape) for key, p in net.named_parameters()}
        for name, net in nets.items()
    }


def _require_possible(options: TrainingOptions) -> None:
    """Options of a stranger's model may be far beyond what the schema allows."""
    for key in _SIZES:
        value = getattr(options, key, 1)
        if not 0 < value <= _LARGEST:
            raise BadInputError(f"its options describe no network that can exist: {key} = {value}")


_SIZES = (
    *("resolution", "autoencoder_dims", "inter_dims", "encoder_dims", "decoder_dims"),
    "mask_decoder_dims",
)
_LARGEST = 1 << 15


def load_networks(
    options: TrainingOptions, weights: Mapping[str, Array], names: tuple[str, ...] = ()
) -> dict[str, nn.Module]:
    """The main networks (or only *names*) on the CPU with *weights* (``encoder/down1…`` names).

    Raises:
        DamagedError: a weight is missing or has another shape.
    """
    with torch.device("meta"):
        nets = make_networks(options)
    for name in names or tuple(nets):
        net = nets[name].to_empty(device="cpu")
        for key, parameter in net.named_parameters():
            given = weights.get(f"{name}/{key}")
            if given is None or tuple(given.shape) != tuple(parameter.shape):
                raise DamagedError(f"weight {name}/{key} is missing or has another shape")
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(given, np.float32)))
        net.requires_grad_(False).eval()
    return {name: nets[name] for name in names or tuple(nets)}


def optimizer_slots(options: TrainingOptions) -> tuple[str, ...]:
    """Names of the moments that the model's optimizer keeps (1.6)."""
    if class_of(options) in (ModelClass.QUICK96, ModelClass.XSEG):
        return ("acc",)
    return ("ms", "vs") if getattr(options, "optimizer", "") == "adabelief" else ("acc",)

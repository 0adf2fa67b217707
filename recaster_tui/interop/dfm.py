"""DFM: a face-swap network as ONNX, the file that DeepFaceLive runs.

Source: dfl-models.md 3.12, 4.6 and 1.9, dfl-data.md 9.

Opset 12, IR 7, NHWC, BGR, 0..1, the batch size left open, names that end in ``:0``. Quantised
means float16 convolutions with float32 in- and outputs.
"""

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import recaster_tui
from recaster_tui.errors import BadInputError, EnvironmentProblem, RecasterError
from recaster_tui.files import fsync_dir
from recaster_tui.interop.dfl_layout import Array
from recaster_tui.interop.networks import load_networks
from recaster_tui.nets.saehd import Decoder, Inter
from recaster_tui.options import AmpOptions, SaehdOptions, TrainingOptions, class_of

OPSET, IR_VERSION = 12, 7
IN_FACE, MORPH = "in_face:0", "morph_value:0"
OUTPUTS = ("out_face_mask:0", "out_celeb_face:0", "out_celeb_face_mask:0")
TOLERANCE = 1e-3
QUANTIZED_TOLERANCE = 2e-2

Outputs = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Exported:
    """A file written by :func:`export_dfm`.

    Attributes:
        deviation: largest difference from torch on random faces; None where onnxruntime, which
            would measure it, is not installed.
    """

    path: Path
    bytes: int
    deviation: float | None


class _Swap(nn.Module):
    """What both classes do around their networks: layout, and float16 where it is asked for."""

    def __init__(self, nets: Mapping[str, nn.Module], quantize: bool) -> None:
        super().__init__()
        self.nets = nn.ModuleDict(nets)
        self.quantize = quantize
        for net in nets.values():
            if isinstance(net, Decoder):
                # Its four convolutions as they are stored, not merged at each call.
                net.merged_output = False
            if quantize:
                _halve(net)

    def encode(self, face: Tensor) -> Tensor:
        """(B, R, R, 3) -> the encoder's float32 vector."""
        x = face.permute(0, 3, 1, 2)
        vector: Tensor = self.nets["encoder"](x.half() if self.quantize else x)
        return vector.float() if self.quantize else vector

    def outputs(self, code: Tensor, own: Tensor, celeb: str, dst: str) -> Outputs:
        """Destination's mask, celebrity's face and its mask, NHWC."""
        if self.quantize:
            code, own = code.half(), own.half()
        face, mask = self.nets[celeb](code)
        decoder = self.nets[dst]
        assert isinstance(decoder, Decoder)
        return _nhwc(decoder.mask(own)), _nhwc(face), _nhwc(mask)


class SaehdSwap(_Swap):
    """(B, R, R, 3) -> (B, R, R, 1) mask of the input, (B, R, R, 3) swapped face, its mask."""

    def forward(self, face: Tensor) -> Outputs:  # noqa: D102
        vector = self.encode(face)
        if "inter" in self.nets:
            code = self.nets["inter"](vector)
            return self.outputs(code, code, "decoder_src", "decoder_dst")
        shared, own = self.nets["inter_AB"](vector), self.nets["inter_B"](vector)
        swapped = torch.cat((shared, shared), 1)
        return self.outputs(swapped, torch.cat((own, shared), 1), "decoder", "decoder")


class AmpSwap(_Swap):
    """The same with a second input, (1,) float32: how far to morph towards the source, 0..1."""

    def __init__(self, nets: Mapping[str, nn.Module], quantize: bool, inter_dims: int) -> None:
        super().__init__(nets, quantize)
        self.register_buffer("channel", torch.arange(inter_dims, dtype=torch.int32)[:, None, None])

    def forward(self, face: Tensor, morph: Tensor) -> Outputs:  # noqa: D102
        vector = self.encode(face)
        own = self.nets["inter_dst"](vector)
        channel = self.get_buffer("channel")
        # So many of the first channels are the source's; the product is cut off, not rounded.
        taken = (morph[0] * float(len(channel))).to(torch.int32)
        code = torch.where(channel < taken, self.nets["inter_src"](vector), own)
        return self.outputs(code, own, "decoder", "decoder")


def _nhwc(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _halve(net: nn.Module) -> None:
    """Convolutions in float16; dense layers stay float32, with a cast between the two."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.half()
    if isinstance(net, Inter) and net.upscale1 is not None:
        net.upscale1.register_forward_pre_hook(lambda _, given: (given[0].half(),))


def swap_module(
    options: TrainingOptions, weights: Mapping[str, Array], *, quantize: bool = False
) -> nn.Module:
    """The network of a DFM as a torch module; arguments and results as in the file.

    Raises:
        BadInputError: the class has no DFM.
        DamagedError: a weight is missing or has another shape.
    """
    if not isinstance(options, SaehdOptions | AmpOptions):
        raise BadInputError(
            f"there is no DFM of {class_of(options).title} models: only of SAEHD and AMP"
        )
    nets = load_networks(options, weights)
    if isinstance(options, AmpOptions):
        return AmpSwap(nets, quantize, options.inter_dims).eval()
    return SaehdSwap(nets, quantize).eval()


def export_dfm(
    options: TrainingOptions,
    weights: Mapping[str, Array],
    path: Path,
    *,
    quantize: bool = False,
) -> Exported:
    """Write a model as a DFM, and run it against torch where onnxruntime is installed.

    Args:
        options: of a SAEHD or AMP model.
        weights: its weights by our names, torch layout.
        path: the file; replaced in one step at the end.
        quantize: float16 convolutions: half the size, for players on GPUs.

    Raises:
        EnvironmentProblem: the package ``onnx`` is missing.
        BadInputError: the class has no DFM.
        RecasterError: the exporter failed, or the file computes something else than torch.
    """
    if find_spec("onnx") is None:
        raise EnvironmentProblem(
            "the package onnx is not installed, which writes DFM files",
            hint="pip install 'recaster_tui[export]'",
        )
    module = swap_module(options, weights, quantize=quantize)
    side = int(getattr(options, "resolution"))  # noqa: B009 - both classes have it
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}_", suffix=".tmp")
    os.close(fd)
    temporary = Path(name)
    try:
        _trace(module, side, temporary)
        _finish(temporary, side)
        # What a quantised file loses counts, too: it is compared with the model as it is.
        reference = swap_module(options, weights) if quantize else module
        deviation = _measure(reference, side, temporary)
        limit = QUANTIZED_TOLERANCE if quantize else TOLERANCE
        if deviation is not None and not deviation <= limit:
            raise RecasterError(
                f"the exported network differs from the model by {deviation:.2g}, "
                f"more than {limit:g}; no file was written",
                hint="quantised export cannot hold this model; export it without --quantize"
                if quantize
                else "this is a bug of the exporter; please report it with the model's options",
            )
        temporary.chmod(0o644)
        temporary.replace(path)
        fsync_dir(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
    return Exported(path, path.stat().st_size, deviation)


def _inputs(module: nn.Module, side: int, count: int, seed: int = 0) -> tuple[Tensor, ...]:
    face = torch.rand(count, side, side, 3, generator=torch.Generator().manual_seed(seed))
    return (face, torch.tensor([0.75])) if isinstance(module, AmpSwap) else (face,)


def _trace(module: nn.Module, side: int, path: Path) -> None:
    inputs = _inputs(module, side, 2)
    names = [IN_FACE, MORPH][: len(inputs)]
    with torch.inference_mode(), warnings.catch_warnings(), _quiet():
        # The legacy exporter is the one that still writes opset 12, and it says that it is legacy.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                module,
                inputs,
                str(path),
                input_names=names,
                output_names=list(OUTPUTS),
                dynamic_axes={name: {0: "batch"} for name in (IN_FACE, *OUTPUTS)},
                opset_version=OPSET,
                dynamo=False,
            )
        except RuntimeError as error:
            raise RecasterError(
                f"the model cannot be exported: {str(error).splitlines()[0]}",
                hint="ONNX files hold at most 2 GB; --quantize halves them"
                if "2GB" in str(error) or "2GiB" in str(error)
                else None,
            ) from error


def _finish(path: Path, side: int) -> None:
    """Versions, and the fixed sizes that tracing leaves open (players read them)."""
    import onnx

    model = onnx.load(str(path))
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "recaster_tui", recaster_tui.__version__
    for value in (*model.graph.input, *model.graph.output):
        if value.name == MORPH:
            continue
        channels = 1 if "mask" in value.name else 3
        shape = value.type.tensor_type.shape
        del shape.dim[:]
        shape.dim.add().dim_param = "batch"
        for size in (side, side, channels):
            shape.dim.add().dim_value = size
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def run_dfm(path: Path, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs of a DFM by name, computed by onnxruntime on the CPU.

    Raises:
        EnvironmentProblem: onnxruntime is not installed.
    """
    if find_spec("onnxruntime") is None:
        raise EnvironmentProblem(
            "the package onnxruntime is not installed", hint="pip install 'recaster_tui[export]'"
        )
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(feeds)), strict=True))


def _measure(module: nn.Module, side: int, path: Path) -> float | None:
    if find_spec("onnxruntime") is None:
        return None
    # Another batch size than the traced one, so that it is really open.
    inputs = _inputs(module, side, 3, seed=1)
    with torch.inference_mode():
        wanted = module(*inputs)
    names = [IN_FACE, MORPH][: len(inputs)]
    got = run_dfm(path, {n: x.numpy() for n, x in zip(names, inputs, strict=True)})
    differences = [
        float(np.abs(got[name] - want.numpy()).max())
        for name, want in zip(OUTPUTS, wanted, strict=True)
    ]
    return float(np.max(differences))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)

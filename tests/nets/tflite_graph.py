"""The layer graphs of MediaPipe's networks, run operation by operation: the judge of our modules.

``mp_face.json`` and ``mp_face.safetensors`` (in the shared folder) hold operations and weights as
read from the TFLite files. :func:`named_weights` gives them our modules' names; this command
writes the file that ships (fp16, as the TFLite files store them):

    python -m tests.nets.tflite_graph /path/to/shared/data recaster_tui/extraction/data
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from recaster_tui.nets.blazeface import BlazeFaceFull, BlazeFaceShort
from recaster_tui.nets.face_mesh import FaceMesh

NETS: dict[str, tuple[str, type[nn.Module]]] = {
    "full": ("detect", BlazeFaceFull),
    "short": ("detect_short", BlazeFaceShort),
    "mesh": ("mesh", FaceMesh),
}
Op = tuple[str, list[int], list[int], dict[str, Any]]


class Graph:
    """One network: ``graph(x)`` with x (B, H, W, 3) gives its outputs in the file's order."""

    def __init__(self, folder: Path, key: str) -> None:
        graph = json.loads((folder / "mp_face.json").read_text())[key]
        self.ops: list[Op] = graph["ops"]
        self.input, self.outputs = graph["i"][0], graph["o"]
        self.raw = {
            int(name.rpartition("t")[2]): value
            for name, value in load_file(folder / "mp_face.safetensors").items()
            if name.startswith(key + ".")
        }

    def __call__(self, x: Tensor) -> list[Tensor]:
        values: dict[int, Tensor] = {self.input: x}
        for kind, ins, outs, a in self.ops:
            got = [values[i] if i in values else self.raw[i].float() for i in ins]
            values[outs[0]] = _run(kind, got, a)
        return [values[i] for i in self.outputs]


def _run(kind: str, got: list[Tensor], a: dict[str, Any]) -> Tensor:
    x = got[0]
    match kind:
        case "CONV_2D" | "DEPTHWISE_CONV_2D":
            w = got[1]
            y = x.permute(0, 3, 1, 2)
            if a["same"]:
                y = F.pad(y, _same(y, w.shape[2:], a["s"]))
            groups = w.shape[0] if kind[0] == "D" else 1
            assert a["act"] == 0 and a["d"] == [1, 1]
            return F.conv2d(y, w, got[2], a["s"], groups=groups).permute(0, 2, 3, 1)
        case "PRELU":
            return torch.where(x > 0, x, x * got[1].reshape(-1))
        case "RELU":
            return x.clamp(min=0)
        case "LOGISTIC":
            return torch.sigmoid(x)
        case "ADD":
            return x + got[1]
        case "PAD":
            return F.pad(x, [n for pair in reversed(a["p"]) for n in pair])
        case "MAX_POOL_2D":
            return F.max_pool2d(x.permute(0, 3, 1, 2), a["k"], a["s"]).permute(0, 2, 3, 1)
        case "RESIZE_BILINEAR":
            assert a["hp"] and not a["ac"]
            y = F.interpolate(x.permute(0, 3, 1, 2), a["size"], mode="bilinear")
            return y.permute(0, 2, 3, 1)
        case "RESHAPE":
            return x.reshape([x.shape[0], *a["shape"][1:]])
        case "CONCATENATION":
            return torch.cat(got, a["axis"])
    raise NotImplementedError(kind)


def _same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, int]) -> list[int]:
    pads: list[int] = []
    for length, k, s in ((x.shape[3], kernel[1], stride[1]), (x.shape[2], kernel[0], stride[0])):
        total = max((-(-length // s) - 1) * s + k - length, 0)
        pads += [total // 2, total - total // 2]
    return pads


def named_weights(folder: Path) -> dict[str, Tensor]:
    """The weights our modules use, fp16, by ``<net>.<parameter>``: both list their layers in the
    same order. Left out: the mesh's second score, and biases that are all zero.
    """
    named: dict[str, Tensor] = {}
    for name, (key, make) in NETS.items():
        graph = Graph(folder, key)
        layers = [op for op in graph.ops if "CONV" in op[0] or op[0] == "PRELU"]
        if name == "mesh":  # the heads: another score, presence, points
            assert [op[2][0] for op in layers[-3:]] == [471, *reversed(graph.outputs[:2])]
            del layers[-3]
        modules = [
            (path, module)
            for path, module in make().named_modules()
            if isinstance(module, nn.Conv2d | nn.PReLU)
        ]
        assert len(modules) == len(layers)
        for (path, module), (_, ins, _, _) in zip(modules, layers, strict=True):
            tensors = [graph.raw[i] for i in ins[1:]]
            weight = tensors[0].reshape(module.weight.shape)
            named[f"{name}.{path}.weight"] = weight.half().contiguous()
            if getattr(module, "bias", None) is not None:
                named[f"{name}.{path}.bias"] = tensors[1].half().contiguous()
            elif len(tensors) > 1:
                assert not tensors[1].any()
    return named


if __name__ == "__main__":
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    save_file(
        named_weights(source),
        target / "mp_face.safetensors",
        {"licence": "Apache-2.0", "origin": "Google MediaPipe; see NOTICE"},
    )

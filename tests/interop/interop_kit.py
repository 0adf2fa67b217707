"""Small models, hostile pickles and a plain unpickler for the interop tests."""

import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

from recaster_tui.interop.dfl_convert import PlainModel
from recaster_tui.interop.networks import optimizer_slots, shapes_of
from recaster_tui.options import AmpOptions, SaehdOptions, TrainingOptions
from recaster_tui.protocol.losses import LOSS_DTYPE

SIZES: dict[str, Any] = {
    "resolution": 64,
    "autoencoder_dims": 32,
    "encoder_dims": 16,
    "decoder_dims": 16,
    "mask_decoder_dims": 16,
}


def goldens_root() -> Path:
    """``RECASTER_GOLDENS``, else below ``RECASTER_SHARED``, else beside the checkout."""
    named = os.environ.get("RECASTER_GOLDENS")
    if named:
        return Path(named)
    shared = os.environ.get("RECASTER_SHARED")
    return (Path(shared) if shared else Path(__file__).parents[3] / "shared") / "goldens"


def saehd(architecture: str = "df-ud", **more: Any) -> SaehdOptions:
    return SaehdOptions(**(SIZES | {"architecture": architecture} | more))


def amp(**more: Any) -> AmpOptions:
    return AmpOptions(**(SIZES | {"inter_dims": 64} | more))


def plain_model(
    options: TrainingOptions, iteration: int = 3, *, leave: tuple[str, ...] = ()
) -> Any:
    """A trained-looking model: random weights and moments, a full history."""
    rng = np.random.default_rng(7)
    shapes = {n: s for n, s in shapes_of(options).items() if n not in leave}
    weights = {
        f"{net}/{name}": rng.standard_normal(shape, np.float32)
        for net, params in shapes.items()
        for name, shape in params.items()
    }
    holders = {"dis": "D_code_opt", "D_src": "GAN_opt", "GAN": "GAN_opt", "XSeg": "opt"}
    optimizer: dict[str, Any] = {}
    for name, array in weights.items():
        net = name.partition("/")[0]
        if type(options) is AmpOptions and net in ("inter_src", "inter_dst"):
            continue
        holder = holders.get(net, "src_dst_opt")
        optimizer[f"{holder}/iterations"] = np.array(iteration - 1, np.int64)
        for slot in optimizer_slots(options):
            optimizer[f"{holder}/{slot}/{name}"] = rng.random(array.shape, np.float32)
    losses = np.zeros(iteration, LOSS_DTYPE)
    losses["iteration"] = np.arange(1, iteration + 1)
    losses["src"], losses["dst"] = rng.random((2, iteration), np.float32)
    return PlainModel(iteration, options, weights, optimizer, losses)


class OldNumpy(pickle.Unpickler):
    """Python's own unpickler in an installation of DFL: numpy 1's four names and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        import numpy._core.multiarray as multiarray  # where numpy 2 keeps it

        known = {
            ("numpy.core.multiarray", "_reconstruct"): multiarray._reconstruct,
            ("numpy.core.multiarray", "scalar"): multiarray.scalar,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        return known[module, name]


def old_loads(data: bytes) -> Any:
    return OldNumpy(io.BytesIO(data)).load()


def same(a: Any, b: Any) -> bool:
    """Equal in value, type and order; arrays bit by bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def hostile_pickles(marker: Path) -> dict[str, bytes]:
    """Ten ways to do harm; those that run something would create *marker*."""
    touch = f"touch {marker}".encode()

    def text(raw: bytes) -> bytes:
        return b"X" + struct.pack("<I", len(raw)) + raw

    system = b"cposix\nsystem\n" + text(touch) + b"\x85R"
    code = text(f"open({str(marker)!r}, 'w')".encode())
    head = b"\x80\x04"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    dtype = b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R"
    return {
        "os.system": head + system + b".",
        "eval": head + b"cbuiltins\neval\n" + code + b"\x85R.",
        "stack global": head + text(b"posix") + text(b"system") + b"\x93" + text(touch) + b"\x85R.",
        "inside an array": head
        + b"}" + text(b"iter") + array + b"(K\x01K\x01\x85" + system + b"\x89C\x00tbs.",
        "huge array": head + b"}" + text(b"iter") + array
        + b"(K\x01\x8a\x06\x00\x00\x00\x00\x00\x10\x85" + dtype + b"\x89C\x04\x00\x00\x00\x00tbs.",
        "deep nesting": head + b"]" * 200_000 + b"a" * 199_999 + b".",
        "contains itself": head + b"]\x94h\x00a.",
        "unknown global": head + b"ctorch\nload\n" + text(b"x") + b"\x85R.",
        "old instance": b"\x80\x02(" + text(touch) + b"iposix\nsystem\n.",
        "objects": head + b"}" + text(b"iter") + array
        + b"(K\x01K\x01\x85" + dtype.replace(b"f4", b"O8") + b"\x89]" + system + b"atbs.",
    }  # fmt: skip

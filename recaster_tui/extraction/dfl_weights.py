"""DFL's own network files ``S3FD.npy``, ``2DFAN.npy``, ``3DFAN.npy`` (dfl-data.md 5.8).

They are pickles, read by ``faces.unpickle``: nothing in them is executed.
"""

import mmap
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from recaster_tui.errors import DamagedError
from recaster_tui.faces.unpickle import MODEL_RULES, RefusedPickleError, restricted_loads

Net = TypeVar("Net", bound=nn.Module)


def load_dfl_net(net: Net, path: Path) -> Net:
    """*net* with the weights of a file, in inference mode. Surplus arrays in it are ignored.

    Raises:
        RefusedPickleError: the file is damaged, or not plain data.
        DamagedError: it cannot be read, or does not hold this network. (DFL itself would go on
            with random values for what is missing.)
    """
    arrays = _read(path)
    wanted = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    state: dict[str, Tensor] = {}
    for name, tensor in wanted.items():
        key = dfl_key(name)
        array = arrays.get(key)
        if not isinstance(array, np.ndarray):
            raise _other(path, f"{key} is missing")
        if array.size != tensor.numel() or array.dtype.kind != "f":
            raise _other(path, f"{key} is {array.dtype} {array.shape}")
        # Convolutions are (kh, kw, in, out) there, (out, in, kh, kw) here.
        if tensor.ndim == 4:
            height_width_in_out = tuple(tensor.shape[k] for k in (2, 3, 1, 0))
            array = array.reshape(height_width_in_out).transpose(3, 2, 0, 1)
        array = np.ascontiguousarray(array.reshape(tuple(tensor.shape)), np.float32)
        if not np.isfinite(array).all():
            raise _other(path, f"{key} holds values that are no numbers")
        state[name] = torch.from_numpy(array)
    net.load_state_dict(state, strict=False, assign=True)
    for name, buffer in net.named_buffers():
        if name.endswith("num_batches_tracked") and buffer.is_meta:
            parent = net.get_submodule(name.rpartition(".")[0])
            parent.register_buffer("num_batches_tracked", torch.tensor(0))
    net.requires_grad_(False)
    return net.eval()


def dfl_key(name: str) -> str:
    """``m.0.b1.bn1.weight`` -> ``m_0/b1/bn1/weight:0``."""
    parts: list[str] = []
    for part in name.split("."):
        if part.isdecimal():
            parts[-1] += f"_{part}"
        else:
            parts.append(part)
    return "/".join(parts) + ":0"


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise DamagedError("the file is empty", where=path)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                found = restricted_loads(content, MODEL_RULES)
    except RefusedPickleError as error:
        error.where = str(path)
        raise
    except (OSError, ValueError) as error:
        raise DamagedError(f"the file cannot be read ({error})", where=path) from error
    if not isinstance(found, dict):
        raise _other(path, "it holds no named arrays")
    return found


def _other(path: Path, why: str) -> DamagedError:
    return DamagedError(
        f"these are not the weights of DeepFaceLab's {path.stem} ({why})",
        where=path,
        hint="take the file from DeepFaceLab's own folder _internal/DeepFaceLab/facelib",
    )

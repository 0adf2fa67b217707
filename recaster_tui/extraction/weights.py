"""The weights of Google's face networks, as shipped in ``data/mp_face.safetensors``."""

from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from recaster_tui.errors import DamagedError

MP_FACE = Path(__file__).parent / "data" / "mp_face.safetensors"
HINT = "install recaster_tui again, or leave the weights file out to use the one that ships"

Net = TypeVar("Net", bound=nn.Module)


def read_weights(path: Path | None = None) -> dict[str, Tensor]:
    """All tensors of the file, as float32, by ``<net>.<parameter>`` (nets full, short, mesh).

    Raises:
        DamagedError: it cannot be read.
    """
    source = path or MP_FACE
    try:
        return {name: tensor.float() for name, tensor in load_file(source).items()}
    except (OSError, SafetensorError, ValueError) as error:
        raise DamagedError(
            f"the weights of the face networks cannot be read ({error})", where=source, hint=HINT
        ) from error


def fill(net: Net, weights: dict[str, Tensor], prefix: str, path: Path | None = None) -> Net:
    """*net* with the weights named ``<prefix>.…``, ready for inference (channels last).

    Raises:
        DamagedError: a tensor is missing, surplus, of another shape, or not finite.
    """
    start = prefix + "."
    own = {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
    try:
        net.load_state_dict(own)
    except RuntimeError as error:
        raise DamagedError(
            f"these are not the weights of the face network {prefix!r}",
            where=path or MP_FACE,
            hint=HINT,
        ) from error
    if not all(torch.isfinite(tensor).all() for tensor in own.values()):
        raise DamagedError("weights that are no numbers", where=path or MP_FACE, hint=HINT)
    net.requires_grad_(False)
    return net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

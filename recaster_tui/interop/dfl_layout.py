"""Names and array layouts of DFL's saved weights against ours; no torch, no files.

Ours are torch ``state_dict`` names (``down1.downs.0.conv1.weight``) with torch layouts, theirs the
keys inside their ``.npy`` files (``down1/downs_0/conv1/weight:0``) with TensorFlow layouts
(dfl-models.md 1.2, 1.3, 1.8, 12.7). The order of a file is the order of our ``state_dict``.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def dfl_key(name: str) -> str:
    """``downs.0.conv1.weight`` -> ``downs_0/conv1/weight:0``."""
    return re.sub(r"\.(\d+)(?=\.)", r"_\1", name).replace(".", "/") + ":0"


def torch_name(key: str) -> str:
    """``downs_0/conv1/weight:0`` -> ``downs.0.conv1.weight``; the inverse of :func:`dfl_key`."""
    return re.sub(r"_(\d+)(?=/)", r".\1", key.removesuffix(":0")).replace("/", ".")


def to_dfl(array: Array) -> Array:
    """Torch layout -> TensorFlow layout, by number of axes only.

    Conv2d (O,I,k,k) -> HWIO; ConvTranspose2d (I,O,k,k) -> HW(O)(I); Linear (O,I) -> (I,O).
    """
    if array.ndim == 4:
        return np.ascontiguousarray(array.transpose(2, 3, 1, 0))
    return np.ascontiguousarray(array.T) if array.ndim == 2 else array


def from_dfl(array: Array) -> Array:
    """TensorFlow layout -> torch layout; the inverse of :func:`to_dfl`."""
    if array.ndim == 4:
        return np.ascontiguousarray(array.transpose(3, 2, 0, 1))
    return np.ascontiguousarray(array.T) if array.ndim == 2 else array


def dfl_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of :func:`to_dfl`'s result."""
    if len(shape) == 4:
        return shape[2], shape[3], shape[1], shape[0]
    return shape[::-1] if len(shape) == 2 else shape


def weights_to_dfl(state: Mapping[str, Array]) -> dict[str, Array]:
    """A whole network: torch names and layouts -> DFL's, order kept."""
    return {dfl_key(name): to_dfl(array) for name, array in state.items()}


def weights_from_dfl(weights: Mapping[str, Array]) -> dict[str, Array]:
    """A whole network: DFL's names and layouts -> torch's, order kept."""
    return {torch_name(key): from_dfl(array) for key, array in weights.items()}


def optimizer_key(slot: str, network: str, name: str) -> str:
    """Key of a moment in DFL's optimizer files.

    Args:
        slot: ``acc`` (RMSprop), ``ms`` or ``vs`` (AdaBelief).
        network: ``encoder``, ``inter_AB``, …
        name: torch parameter name; ``ms`` of it is ``ms_encoder/down1/…/weight_0:0``.
    """
    return f"{slot}_{network}/{dfl_key(name).removesuffix(':0')}_0:0"


def parse_optimizer_key(key: str) -> tuple[str, str, str] | None:
    """Inverse of :func:`optimizer_key`; None for keys that are no moment (``iters:0``)."""
    found = re.fullmatch(r"(acc|ms|vs)_([^/]+)/(.+)_0:0", key)
    if not found:
        return None
    return found[1], found[2], torch_name(found[3] + ":0")

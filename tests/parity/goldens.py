"""Where the original's numbers are, and how a comparison is expressed."""

import importlib.util
import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recaster_tui.interop.dfl_layout import dfl_key, dfl_shape, weights_from_dfl

FORWARD = 1e-4
OPERATOR = 1e-4
GRADIENT = 1e-3
WEIGHTS = 0.1
PIXELS = 1e-4
"""Geometry and colours, in pixels and in units of white."""


def root() -> Path:
    """Folder of the goldens: RECASTER_GOLDENS, or ../shared/goldens beside the checkout."""
    named = os.environ.get("RECASTER_GOLDENS")
    return Path(named) if named else Path(__file__).parents[3] / "shared" / "goldens"


@dataclass(frozen=True)
class Deviation:
    """Largest distance of one quantity from the original's, in its own measure."""

    what: str
    value: float
    tolerance: float
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", float(self.value))  # numpy's are no JSON
        object.__setattr__(self, "tolerance", float(self.tolerance))

    @property
    def ok(self) -> bool:
        return bool(self.value <= self.tolerance)


@dataclass(frozen=True)
class Case:
    """One thing to judge: a folder with a meta.json, or the arrays of one tag of an .npz."""

    group: str
    name: str
    path: Path
    tag: str = ""
    marks: tuple[str, ...] = field(default=(), compare=False)

    @property
    def id(self) -> str:
        return f"{self.group}/{self.name}"


def absolute(
    what: str, got: Tensor | np.ndarray, want: np.ndarray, tol: float, note: str = ""
) -> Deviation:
    got = np.asarray(got.detach() if isinstance(got, Tensor) else got, np.float64)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, the original has {want.shape}"
    worst = np.abs(got - want).max(initial=0.0)
    return Deviation(what, float(worst) if np.isfinite(worst) else float("inf"), tol, note)


def picture(what: str, got: np.ndarray, want: np.ndarray, tol: float = PIXELS) -> Deviation:
    """Like :func:`absolute`; what was stored as float16 counts beyond that rounding only."""
    if want.dtype != np.float16:
        return absolute(what, got, want, tol)
    wide = want.astype(np.float64)
    rounding = np.spacing(np.abs(want)).astype(np.float64) / 2
    beyond = np.sign(got - wide) * np.maximum(np.abs(got - wide) - rounding, 0)
    return absolute(what, wide + beyond, wide, tol, "beyond float16, as it was stored")


def unit(u8: np.ndarray) -> np.ndarray:
    """uint8 pixels as float32 0..1, rounded as the goldens say."""
    return np.asarray(u8.astype(np.float32) / np.float32(255))


def relative(what: str, got: Any, want: Any, tol: float, floor: float = 1e-12) -> Deviation:
    """Largest |got - want| / |want|, elementwise."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, the original has {want.shape}"
    worst = (np.abs(got - want) / np.maximum(np.abs(want), floor)).max(initial=0.0)
    return Deviation(what, float(worst) if np.isfinite(worst) else float("inf"), tol)


def relative_norm(what: str, got: Any, want: Any, tol: float) -> Deviation:
    """|got - want| / |want| of the whole array."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, the original has {want.shape}"
    size = max(float(np.linalg.norm(want)), 1e-12)
    return Deviation(what, float(np.linalg.norm(got - want)) / size, tol)


@lru_cache
def formula_module() -> Any:
    spec = importlib.util.spec_from_file_location("golden_formula", root() / "formula.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def meta(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "meta.json").read_text()))


def saved_weights(path: Path) -> dict[str, np.ndarray]:
    """A DFL weight file of the goldens (trusted: they are ours)."""
    return dict(pickle.loads(path.read_bytes()))


def golden_weights(
    folder: Path, info: Mapping[str, Any], net: str, file: str | None = None
) -> dict[str, np.ndarray]:
    """DFL keys -> arrays of a network: its file where there is one, else by formula."""
    path = folder / (file or f"{net}.npy")
    if path.exists():
        return saved_weights(path)
    shapes = info["shapes"].get(net, info["shapes"])
    make = formula_module().formula
    return {key: make(info["seed"], net, key, shape) for key, shape in shapes.items()}


def load(net: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Put DFL weights into a network; names, order and shapes must agree exactly."""
    state = net.state_dict()
    keys = [dfl_key(name) for name in state]
    assert keys == list(weights), f"keys differ: {keys} / {list(weights)}"
    for name, tensor in state.items():
        want = tuple(weights[dfl_key(name)].shape)
        assert dfl_shape(tuple(tensor.shape)) == want, f"{name}: {tuple(tensor.shape)} / {want}"
    arrays = weights_from_dfl(weights)
    net.load_state_dict({k: torch.from_numpy(np.array(v, np.float32)) for k, v in arrays.items()})


def nchw(array: np.ndarray) -> Tensor:
    """NHWC array -> NCHW tensor."""
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def nhwc(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().permute(0, 2, 3, 1).contiguous().numpy())

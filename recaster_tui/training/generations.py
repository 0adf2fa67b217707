"""Writing a model's tensors as generations, and reading them; their folder: ``checkpoints``."""

import json
import logging
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from safetensors.torch import load_file
from torch import Tensor

from recaster_tui.checkpoints import store
from recaster_tui.checkpoints.files import require_room, write_hashed
from recaster_tui.checkpoints.store import (
    FORMAT,
    LOSSES,
    MANIFEST,
    OPTIMIZER,
    STATE,
    WEIGHTS,
    Damage,
    Generation,
    verify,
)
from recaster_tui.errors import DamagedError
from recaster_tui.files import read_toml
from recaster_tui.protocol.losses import LOSS_DTYPE, read_losses
from recaster_tui.training.failures import NonFiniteError
from recaster_tui.training.tensorfile import tensor_chunks

log = logging.getLogger(__name__)

_TOO_LARGE = 2**63
_STATE_KINDS: dict[str, type | tuple[type, ...]] = {
    "model_class": str,
    "run_id": str,
    "seed": int,
    "pieces": int,
    "trained_seconds": (int, float),
    "options": dict,
    "live": dict,
    "data": str,
    "auto_batch": dict,
}


@dataclass(frozen=True)
class Snapshot:
    """A model at one iteration, in host memory. ``state`` becomes ``state.toml``."""

    iteration: int
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    state: Mapping[str, Any]
    losses: np.ndarray = field(default_factory=lambda: np.empty(0, LOSS_DTYPE))


@dataclass(frozen=True)
class Loaded:
    """What :func:`load_model` found."""

    generation: Generation
    snapshot: Snapshot
    damaged: tuple[Damage, ...] = ()


def write_generation(folder: Path, snapshot: Snapshot) -> Generation:
    """Write *snapshot* as the current generation of the model in *folder*.

    At any instant, whatever happens, ``CURRENT`` names a whole generation. The generation that
    was current before is kept; older ones are removed.

    Raises:
        NoRoomError: the disk is too full to begin with it.
        OSError: the disk is full or broken; nothing of the attempt remains.
        DamagedError: what was read back is not what was written; likewise.
        NonFiniteError: a tensor holds NaN or infinity; nothing was written.
    """
    for part in (snapshot.weights, snapshot.optimizer):
        if (name := first_non_finite(part)) is not None:
            raise NonFiniteError(
                f"a model with NaN or infinity in it is not saved ({name})",
                hint="the saves before are kept",
            )
    folder.mkdir(parents=True, exist_ok=True)
    require_room(folder, _size(snapshot))

    def fill(temporary: Path, name: str) -> None:
        _write_files(temporary, snapshot, name)

    return store.publish(folder, snapshot.iteration, fill)


def load_model(folder: Path) -> Loaded | None:
    """Read and verify the newest usable generation; None when there is no model yet.

    ``CURRENT`` first, then other generations from the newest to the oldest, then backups, then
    named snapshots.

    Raises:
        DamagedError: there was a model, and nothing of it can be used.
    """
    damaged: list[Damage] = []
    for loaded in _usable(store.candidates(folder), damaged):
        return replace(loaded, damaged=tuple(damaged))
    if not damaged and not (folder / "CURRENT").exists():
        return None
    reasons = "; ".join(f"{d.path.name}: {d.reason}" for d in damaged[:3])
    raise DamagedError(
        "no saved generation of this model can be loaded" + (f" ({reasons})" if reasons else ""),
        where=folder,
        hint="restore the folder from a copy of your own, or train under another model name",
    )


def _size(snapshot: Snapshot) -> int:
    tensors = [*snapshot.weights.values(), *snapshot.optimizer.values()]
    return sum(t.numel() * t.element_size() for t in tensors) + snapshot.losses.nbytes


def saves_before(
    folder: Path, iteration: int, damaged: list[Damage], *, since: int = 0
) -> Iterator[Loaded]:
    """The usable saves from *since* to before *iteration*, as a rollback wants them: newest first.

    Generations, then backups and named snapshots; those that cannot be used join *damaged*.
    """
    candidates = store.candidates(folder)
    old = [path for path in candidates if since <= store.iteration_of(path) < iteration]
    # The newest, wherever it lies; of the same iteration in the order of the candidates.
    old.sort(key=store.iteration_of, reverse=True)
    yield from _usable(old, damaged)


def _usable(candidates: Iterable[Path], damaged: list[Damage]) -> Iterator[Loaded]:
    for path in candidates:
        try:
            generation = verify(path, store.iteration_of(path))
            loaded = Loaded(generation, _read(path, generation.iteration))
        except (DamagedError, OSError) as error:
            log.warning("%s cannot be used: %s", path, error)
            damaged.append(Damage(path, getattr(error, "message", str(error))))
        else:
            yield loaded


def first_non_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or infinity; None when all are finite.

    One pass over the memory: a sum is not finite when a number in it is not.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or bool(tensor.sum().isfinite()):
            continue
        if not bool(tensor.isfinite().all()):  # the sum may have overflowed
            return name
    return None


def _write_files(folder: Path, snapshot: Snapshot, name: str) -> None:
    about = {"iteration": str(snapshot.iteration)}
    state = dict(snapshot.state) | {"format": FORMAT, "iteration": snapshot.iteration}
    losses = np.ascontiguousarray(snapshot.losses, LOSS_DTYPE)
    digests = {
        WEIGHTS: write_hashed(folder / WEIGHTS, tensor_chunks(snapshot.weights, about)),
        OPTIMIZER: write_hashed(folder / OPTIMIZER, tensor_chunks(snapshot.optimizer, about)),
        STATE: write_hashed(folder / STATE, [tomli_w.dumps(state).encode()]),
        LOSSES: write_hashed(folder / LOSSES, [losses.tobytes()]),
    }
    manifest = {
        "format": FORMAT,
        "generation": name,
        "iteration": snapshot.iteration,
        "saved": time.time(),
        "files": {file: {"size": d.size, "sha256": d.sha256} for file, d in digests.items()},
    }
    write_hashed(folder / MANIFEST, [(json.dumps(manifest, indent=1) + "\n").encode()])


def _read(path: Path, iteration: int) -> Snapshot:
    try:
        state = read_toml(path / STATE)
        weights, optimizer = load_file(path / WEIGHTS), load_file(path / OPTIMIZER)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RuntimeError, ValueError) as error:
        raise DamagedError(f"its content cannot be read ({error})", where=path) from error
    except Exception as error:  # safetensors has an error type of its own, straight from Rust
        if isinstance(error, OSError):
            raise
        raise DamagedError(f"its tensors cannot be read ({error})", where=path) from error
    if state.get("format") != FORMAT or state.get("iteration") != iteration:
        raise DamagedError("its state.toml is of another format or iteration", where=path)
    if (name := first_non_finite(weights)) is not None:
        raise DamagedError(f"its weights hold NaN or infinity ({name})", where=path)
    if (lie := _first_lie(state)) is not None:
        raise DamagedError(f"its state.toml has no usable value for {lie}", where=path)
    return Snapshot(iteration, weights, optimizer, state, read_losses(path / LOSSES))


def _first_lie(state: Mapping[str, Any]) -> str | None:
    """The first key whose value is not of the kind that a trainer writes."""
    for key, kind in _STATE_KINDS.items():
        value = state.get(key)
        if value is None:
            continue
        if not isinstance(value, kind) or isinstance(value, bool):
            return key
        if isinstance(value, int | float) and not 0 <= value < _TOO_LARGE:
            return key
    try:
        json.loads(state.get("data", "{}"))
    except (ValueError, RecursionError):
        return "data"
    return None

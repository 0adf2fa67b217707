"""The folder of a model on disk: generations that are whole or not there (DESIGN section 5).

::

    model/<name>.<class>/
        CURRENT                        name of the generation to load
        generations/000001234/         weights.safetensors optimizer.safetensors
                                       state.toml losses.bin manifest.json
        backups/20261122T153000-000001234/     the same files, and note.toml
        damaged/                       what failed its hashes, set aside
        lock                           flock of the trainer

A generation is written beside, synced, read back, verified, renamed, and only then named by
``CURRENT``. Loading only reads; setting damaged generations aside is a step of its own for the
one who holds the lock.
"""

import contextlib
import hashlib
import json
import logging
import shutil
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from safetensors.torch import load_file
from torch import Tensor

from recaster_tui.errors import DamagedError
from recaster_tui.files import fsync_dir, read_toml, write_atomic, write_toml
from recaster_tui.protocol.losses import LOSS_DTYPE, read_losses
from recaster_tui.training.tensorfile import digest_file, tensor_chunks, write_hashed

log = logging.getLogger(__name__)

FORMAT = 1
KEEP = 2
WEIGHTS, OPTIMIZER, STATE, LOSSES = (
    "weights.safetensors",
    "optimizer.safetensors",
    "state.toml",
    "losses.bin",
)
FILES = (WEIGHTS, OPTIMIZER, STATE, LOSSES)
MANIFEST = "manifest.json"
NOTE = "note.toml"
_TEMP = ".tmp-"


@dataclass(frozen=True)
class Snapshot:
    """A model at one iteration, in host memory. ``state`` becomes ``state.toml``."""

    iteration: int
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    state: Mapping[str, Any]
    losses: np.ndarray = field(default_factory=lambda: np.empty(0, LOSS_DTYPE))


@dataclass(frozen=True)
class Generation:
    """A verified generation (or backup) on disk."""

    path: Path
    iteration: int
    bytes: int
    sha256: str
    """Of the manifest."""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name


@dataclass(frozen=True)
class Damage:
    """A generation that cannot be used, and why."""

    path: Path
    reason: str


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
        OSError: the disk is full or broken; nothing of the attempt remains.
        DamagedError: what was read back is not what was written; likewise.
    """
    root = folder / "generations"
    if not root.is_dir():
        root.mkdir(parents=True)
        fsync_dir(folder)
    name = _free_name(root, snapshot.iteration)
    temporary = root / f"{_TEMP}{name}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        _write_files(temporary, snapshot, name)
        fsync_dir(temporary)
        written = verify(temporary, snapshot.iteration)
        temporary.rename(root / name)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    before = current_name(folder)
    try:
        fsync_dir(root)
        write_atomic(folder / "CURRENT", name + "\n")
    except OSError:
        # On a full disk, whole generations that nothing names would pile up.
        if current_name(folder) != name:
            _remove(root / name)
        raise
    _prune(root, keep={name, before} if before else {name})
    return Generation(root / name, written.iteration, written.bytes, written.sha256)


def make_current(folder: Path, generation: Generation) -> None:
    """Let ``CURRENT`` name *generation*, after a rollback; a backup stays where it is."""
    if generation.path.parent == folder / "generations":
        write_atomic(folder / "CURRENT", generation.name + "\n")


def load_model(folder: Path, *, before: int | None = None) -> Loaded | None:
    """Read and verify the newest usable generation; None when there is no model yet.

    ``CURRENT`` first, then other generations from the newest to the oldest, then backups. With
    *before*, only generations of an iteration below it (a rollback looks for one that is older
    than the trouble); the oldest whole one is used when there is none.

    Raises:
        DamagedError: there was a model, and nothing of it can be used.
    """
    candidates = _candidates(folder)
    if before is not None:
        old = [path for path in candidates if _iteration_of(path) < before]
        candidates = old + [path for path in reversed(candidates) if path not in old]
    damaged: list[Damage] = []
    for path in candidates:
        try:
            generation = verify(path, _iteration_of(path))
            return Loaded(generation, _read(path, generation.iteration), tuple(damaged))
        except (DamagedError, OSError) as error:
            log.warning("%s cannot be used: %s", path, error)
            damaged.append(Damage(path, getattr(error, "message", str(error))))
    if not damaged and not (folder / "CURRENT").exists():
        return None
    reasons = "; ".join(f"{d.path.name}: {d.reason}" for d in damaged[:3])
    raise DamagedError(
        "no saved generation of this model can be loaded" + (f" ({reasons})" if reasons else ""),
        where=folder,
        hint="restore the folder from a copy of your own, or train under another model name",
    )


def verify(path: Path, iteration: int | None = None) -> Generation:
    """Check every file of a generation against its manifest.

    Raises:
        DamagedError: a file is missing, cut, altered, or of another generation.
    """
    try:
        raw = (path / MANIFEST).read_bytes()
        manifest = json.loads(raw)
        files = {str(k): (int(v["size"]), str(v["sha256"])) for k, v in manifest["files"].items()}
        own_iteration = int(manifest["iteration"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"its manifest cannot be read ({error})", where=path) from error
    if iteration is not None and own_iteration != iteration:
        raise DamagedError(f"its manifest is of iteration {own_iteration}", where=path)
    for name in FILES:
        if name not in files:
            raise DamagedError(f"its manifest does not name {name}", where=path)
    total = len(raw)
    for name, (size, sha256) in files.items():
        try:
            found = digest_file(path / name)
        except OSError as error:
            raise DamagedError(f"{name} cannot be read ({error.strerror})", where=path) from error
        if found.size != size:
            raise DamagedError(f"{name} has {found.size} bytes instead of {size}", where=path)
        if found.sha256 != sha256:
            raise DamagedError(f"{name} does not match its hash", where=path)
        total += size
    return Generation(path, own_iteration, total, _sha256(raw))


def set_aside(folder: Path, damaged: Iterable[Damage]) -> list[Path]:
    """Move damaged generations to ``damaged/``; only for the holder of the model's lock."""
    moved = []
    for damage in damaged:
        if not damage.path.is_dir():
            continue
        target = folder / "damaged" / f"{damage.path.name}-{time.strftime('%Y%m%dT%H%M%S')}"
        target.parent.mkdir(exist_ok=True)
        number = 2
        while target.exists():
            target = target.with_name(f"{target.name}-{number}")
            number += 1
        damage.path.rename(target)
        moved.append(target)
    return moved


def clean_up(folder: Path) -> None:
    """Remove what an interrupted save left; only for the holder of the model's lock."""
    for kind in ("generations", "backups"):
        for path in (folder / kind).glob(f"{_TEMP}*"):
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(".CURRENT.*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()


def current_name(folder: Path) -> str | None:
    """What ``CURRENT`` says, if that generation is there."""
    try:
        name = (folder / "CURRENT").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    # Never let a damaged file point outside the folder.
    return name if _is_name(name) and (folder / "generations" / name).is_dir() else None


def write_backup(folder: Path, source: Generation, note: str) -> Generation:
    """Copy a generation to ``backups/``, verified. Raises like :func:`write_generation`.

    A real copy, not a hard link: a backup that shares its bytes shares their damage.
    """
    root = folder / "backups"
    root.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%S")
    name = f"{stamp}-{source.iteration:09d}"
    temporary = root / f"{_TEMP}{name}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        for file in (*FILES, MANIFEST):
            write_hashed(temporary / file, _pieces(source.path / file))
        write_toml(temporary / NOTE, {"note": note, "created": time.time()})
        fsync_dir(temporary)
        written = verify(temporary, source.iteration)
        target = root / name
        number = 2
        while target.exists():
            target = root / f"{name}-{number}"
            number += 1
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    fsync_dir(root)
    return Generation(target, written.iteration, written.bytes, written.sha256)


def newest_backup_age(folder: Path) -> float | None:
    """Seconds since the newest backup was made; None when there is none."""
    times = [path.stat().st_mtime for path in _named(folder / "backups")]
    return max(0.0, time.time() - max(times)) if times else None


def thin_backups(folder: Path, keep: int, days: int = 7) -> list[Path]:
    """Remove old timed backups: the last *keep* stay, and the first of each of *days* days.

    Backups with a note are the user's own and always stay; *keep* 0 keeps everything.
    """
    if keep <= 0:
        return []
    timed = [p for p in sorted((folder / "backups").glob("[0-9]*")) if not _note(p)]
    first_of_day: dict[str, Path] = {}
    for path in timed:
        first_of_day.setdefault(path.name[:8], path)
    kept = set(timed[-keep:]) | {first_of_day[d] for d in sorted(first_of_day)[-days:]}
    gone = [path for path in timed if path not in kept]
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    return gone


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
    return Snapshot(iteration, weights, optimizer, state, read_losses(path / LOSSES))


def _candidates(folder: Path) -> list[Path]:
    generations = _named(folder / "generations")
    generations.sort(key=lambda p: (_iteration_of(p), p.name), reverse=True)
    current = current_name(folder)
    if current is not None:
        first = folder / "generations" / current
        generations = [first, *(p for p in generations if p != first)]
    backups = sorted(_named(folder / "backups"), key=lambda p: p.name, reverse=True)
    return generations + backups


def _named(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return [p for p in root.iterdir() if _is_name(p.name) and p.is_dir()]


def _is_name(name: str) -> bool:
    return bool(name) and all(c.isdigit() or c in "-T" for c in name) and name[0].isdigit()


def _iteration_of(path: Path) -> int:
    parts = path.name.split("-")
    try:
        return int(parts[1] if path.parent.name == "backups" else parts[0])
    except (ValueError, IndexError):
        return -1


def _free_name(root: Path, iteration: int) -> str:
    name = f"{iteration:09d}"
    number = 2
    while (root / name).exists():
        name = f"{iteration:09d}-{number}"
        number += 1
    return name


def _prune(root: Path, keep: set[str]) -> None:
    for path in _named(root):
        if path.name not in keep:
            _remove(path)


def _remove(path: Path) -> None:
    # Renamed first: a removal that is cut short must not leave a half generation.
    rubbish = path.with_name(f"{_TEMP}gone-{path.name}")
    with contextlib.suppress(OSError):
        path.rename(rubbish)
        shutil.rmtree(rubbish)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(4 << 20):
            yield piece


def _note(backup: Path) -> str:
    try:
        return str(read_toml(backup / NOTE).get("note", ""))
    except (OSError, ValueError):
        return ""


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()

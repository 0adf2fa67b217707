"""The folder of a model on disk: generations that are whole or not there (DESIGN section 5).

::

    model/<name>.<class>/
        CURRENT                        name of the generation to load
        GOOD                           name of the last one that was judged good: it stays
        generations/000001234/         weights.safetensors optimizer.safetensors
                                       state.toml losses.bin manifest.json
        backups/20261122T153000-000001234/     the same files, and note.toml
        snapshots/before-gan-000001234/        likewise; named by the user, never removed
        damaged/                       what failed its hashes, set aside
        lock                           flock of the trainer

A generation is written beside, synced, read back, verified, renamed, and only then named by
``CURRENT``. Loading only reads; setting damaged generations aside is a step of its own for the
one who holds the lock.
"""

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recaster_tui.checkpoints.files import digest_file, file_pieces, require_room, write_hashed
from recaster_tui.errors import DamagedError
from recaster_tui.files import fsync_dir, read_toml, sweep, write_atomic, write_toml

FORMAT = 1
WEIGHTS, OPTIMIZER, STATE, LOSSES = (
    "weights.safetensors",
    "optimizer.safetensors",
    "state.toml",
    "losses.bin",
)
FILES = (WEIGHTS, OPTIMIZER, STATE, LOSSES)
MANIFEST = "manifest.json"
NOTE = "note.toml"
GOOD = "GOOD"
TEMPORARY = ".tmp-"
_STAMP = "%Y%m%dT%H%M%S"


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


def publish(folder: Path, iteration: int, fill: Callable[[Path, str], None]) -> Generation:
    """Make a new current generation of the model in *folder*.

    At any instant, whatever happens, ``CURRENT`` names a whole generation. The generation that
    was current before is kept, and the one that ``GOOD`` names; others are removed.

    Args:
        fill: writes and syncs the files of the generation, given its (temporary) folder and name.

    Raises:
        OSError: the disk is full or broken; nothing of the attempt remains.
        DamagedError: what was read back is not what was written; likewise.
    """
    root = folder / "generations"
    if not root.is_dir():
        root.mkdir(parents=True)
        fsync_dir(folder)
    name = _free_name(root, iteration)
    temporary = root / f"{TEMPORARY}{name}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        fill(temporary, name)
        fsync_dir(temporary)
        written = verify(temporary, iteration)
        temporary.rename(root / name)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    before = current_name(folder) or _newest(root, but=name)
    try:
        fsync_dir(root)
        if current_name(folder) is None:
            # The first generation: the folders above may be as new (whoever made them may have
            # been killed), and a name is only safe once its folder was synced.
            for parent in (folder.parent, folder.parent.parent):
                fsync_dir(parent)
        write_atomic(folder / "CURRENT", name + "\n")
    except OSError:
        # On a full disk, whole generations that nothing names would pile up.
        if current_name(folder) != name:
            remove(root / name)
        raise
    _prune(root, keep={name, before or name, good_name(folder) or name})
    return Generation(root / name, written.iteration, written.bytes, written.sha256)


def copy_generation(source: Generation, target: Path, note: Mapping[str, Any]) -> Generation:
    """Copy *source* to the new folder *target*, verified, with *note* as its ``note.toml``.

    A real copy, not a hard link: a copy that shares its bytes shares their damage.

    Raises:
        NoRoomError: the disk is too full to begin with it.
        OSError: the disk is full or broken; nothing of the attempt remains.
        DamagedError: what was read back is not what was written; likewise.
        FileExistsError: *target* exists.
    """
    root = target.parent
    root.mkdir(parents=True, exist_ok=True)
    require_room(root, source.bytes)
    temporary = root / f"{TEMPORARY}{target.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        for file in (*FILES, MANIFEST):
            write_hashed(temporary / file, file_pieces(source.path / file))
        write_toml(temporary / NOTE, dict(note))
        fsync_dir(temporary)
        written = verify(temporary, source.iteration)
        if target.exists():
            raise FileExistsError(f"{target} exists already")
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    fsync_dir(root)
    fsync_dir(root.parent)  # the folder of all backups may be new
    return Generation(target, written.iteration, written.bytes, written.sha256)


def make_current(folder: Path, generation: Generation) -> None:
    """Let ``CURRENT`` name *generation*, after a rollback; a backup stays where it is."""
    if generation.path.parent == folder / "generations":
        write_atomic(folder / "CURRENT", generation.name + "\n")


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
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise DamagedError(f"its manifest cannot be read ({error})", where=path) from error
    if iteration is not None and own_iteration != iteration:
        raise DamagedError(f"its manifest is of iteration {own_iteration}", where=path)
    for name in FILES:
        if name not in files:
            raise DamagedError(f"its manifest does not name {name}", where=path)
    for name in files:
        if name not in FILES:  # which may be any path of this machine
            raise DamagedError("its manifest names other files than a generation's", where=path)
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
        target = folder / "damaged" / f"{damage.path.name}-{time.strftime(_STAMP)}"
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
    for kind in ("generations", "backups", "snapshots"):
        for path in (folder / kind).glob(f"{TEMPORARY}*"):
            shutil.rmtree(path, ignore_errors=True)
    sweep(folder, "CURRENT", age=0)
    sweep(folder, GOOD, age=0)
    for path in (*named(folder / "backups"), *snapshots(folder)):
        sweep(path, NOTE)  # an app may be writing one now: only old ones


def current_name(folder: Path) -> str | None:
    """What ``CURRENT`` says, if that generation is there."""
    return _named_by(folder, "CURRENT")


def good_name(folder: Path) -> str | None:
    """What ``GOOD`` says, if that generation is there: a hint, which nothing depends on."""
    return _named_by(folder, GOOD)


def mark_good(folder: Path, judged: int | None) -> None:
    """Let ``GOOD`` name the newest generation that is known to be good, so that it is kept.

    That is the newest up to iteration *judged*. While none is (None: nothing has been judged
    since training began, went on or went back), the one named before stays, else the current
    one, which training came from. Never raises ``OSError``; for the holder of the model's lock.
    """
    current, before = current_name(folder), good_name(folder)
    if current is None:
        return
    root = folder / "generations"

    def age(name: str) -> tuple[int, str]:
        return iteration_of(root / name), name

    good = current if before is None or age(before) > age(current) else before
    if judged is not None:
        for path in named(root):  # those beyond the current one are of a life that was given up
            if age(good) < age(path.name) <= age(current) and iteration_of(path) <= judged:
                good = path.name
    if good != before:
        with contextlib.suppress(OSError):
            write_atomic(folder / GOOD, good + "\n")


def _named_by(folder: Path, pointer: str) -> str | None:
    try:
        name = (folder / pointer).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    # Never let a damaged file point outside the folder.
    return name if _is_name(name) and (folder / "generations" / name).is_dir() else None


def write_backup(folder: Path, source: Generation, note: str) -> Generation:
    """Copy a generation to ``backups/``, verified. Raises like :func:`copy_generation`."""
    name = f"{time.strftime(_STAMP)}-{source.iteration:09d}"
    target = folder / "backups" / name
    number = 2
    while target.exists():
        target = target.with_name(f"{name}-{number}")
        number += 1
    return copy_generation(source, target, {"note": note, "created": time.time()})


def newest_backup(folder: Path) -> tuple[Path, float] | None:
    """The newest backup and the seconds since it was made; None when there is none."""
    times = [(path.stat().st_mtime, path) for path in named(folder / "backups")]
    if not times:
        return None
    made, path = max(times)
    return path, max(0.0, time.time() - made)


def thin_backups(folder: Path, keep: int, days: int = 7, *, now: float | None = None) -> list[Path]:
    """Remove old timed backups: the last *keep* stay, and the first of each of *days* days.

    Backups with a note are the user's own and always stay; *keep* 0 keeps everything. What is
    dated after *now* (unix seconds) was made before the clock was set right: it counts as older
    than all others, or it would push out every backup made since.
    """
    if keep <= 0:
        return []
    moment = time.strftime(_STAMP, time.localtime(now))
    timed = [path for path in named(folder / "backups") if _is_timed(path)]
    timed.sort(key=lambda path: (path.name[: len(moment)] <= moment, path.name))
    first_of_day: dict[str, Path] = {}
    for path in timed:
        first_of_day.setdefault(path.name[:8], path)
    kept = {*timed[-keep:], *list(first_of_day.values())[-days:]}
    gone = [path for path in timed if path not in kept]
    for path in gone:
        remove(path)
    return gone


def candidates(folder: Path) -> list[Path]:
    """Where the model may be loaded from: current, other generations, backups, snapshots."""
    generations = named(folder / "generations")
    generations.sort(key=lambda p: (iteration_of(p), p.name), reverse=True)
    current = current_name(folder)
    if current is not None:
        first = folder / "generations" / current
        generations = [first, *(p for p in generations if p != first)]
    backups = sorted(named(folder / "backups"), key=lambda p: p.name, reverse=True)
    return generations + backups + sorted(snapshots(folder), key=iteration_of, reverse=True)


def snapshots(folder: Path) -> list[Path]:
    """The folders of the model's named snapshots, by name."""
    try:
        found = sorted((folder / "snapshots").iterdir())
    except OSError:
        return []
    return [p for p in found if p.is_dir() and not p.name.startswith(".") and iteration_of(p) >= 0]


def named(root: Path) -> list[Path]:
    """Generations (or backups) in *root*, by the look of their names, in no order."""
    if not root.is_dir():
        return []
    return [p for p in root.iterdir() if _is_name(p.name) and p.is_dir()]


def _is_name(name: str) -> bool:
    return bool(name) and all(c.isdigit() or c in "-T" for c in name) and name[0].isdigit()


def iteration_of(path: Path) -> int:
    """The iteration that the name of a generation, backup or snapshot tells; -1 if it does not."""
    parts = path.name.split("-")
    place = {"backups": 1, "snapshots": -1}.get(path.parent.name, 0)
    try:
        return int(parts[place])
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
    for path in named(root):
        if path.name not in keep:
            remove(path)


def remove(path: Path) -> None:
    """Remove a generation in one step as seen from outside. Never raises ``OSError``."""
    # Renamed first: a removal that is cut short must not leave a half generation.
    rubbish = path.with_name(f"{TEMPORARY}gone-{path.name}")
    with contextlib.suppress(OSError):
        path.rename(rubbish)
        # Synced, or a power cut might remember that files went and forget the new name.
        fsync_dir(path.parent)
        shutil.rmtree(rubbish)


def _is_timed(backup: Path) -> bool:
    """Whether a backup was surely made by the timer: one whose note cannot be read may not."""
    try:
        return bool(read_toml(backup / NOTE)["note"] == "")
    except (OSError, ValueError, KeyError):
        return False


def _newest(root: Path, but: str) -> str | None:
    names = [path for path in named(root) if path.name != but]
    return max(names, key=lambda p: (iteration_of(p), p.name)).name if names else None


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()

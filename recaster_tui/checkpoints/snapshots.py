"""Named snapshots: generations that a user has given a name, and that nothing removes.

A snapshot is a folder ``snapshots/<slug>-<iteration>/`` of the model, a verified copy of a
generation with a ``note.toml``: name, note, time, losses. Backups are listed beside them, because
one goes back to either in the same way.
"""

import contextlib
import math
import re
import shutil
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recaster_tui.checkpoints import store
from recaster_tui.checkpoints.files import file_pieces, write_hashed
from recaster_tui.checkpoints.store import (
    FILES,
    GOOD,
    LOSSES,
    MANIFEST,
    NOTE,
    STATE,
    TEMPORARY,
    Generation,
    copy_generation,
    current_name,
    iteration_of,
    publish,
    verify,
)
from recaster_tui.errors import BadInputError, DamagedError
from recaster_tui.files import fsync_dir, read_toml, write_atomic, write_toml
from recaster_tui.protocol.losses import LOSS_DTYPE, read_losses

MEAN_OF = 100
_NAME_LIMIT = 80


Kind = Literal["snapshot", "backup", "generation"]


@dataclass(frozen=True)
class RestorePoint:
    """A snapshot or a backup of a model, or one of its generations.

    Attributes:
        name: the user's; of a backup or a generation, the name of its folder.
        src: mean source loss of its last iterations, NaN where unknown; ``dst`` likewise.
        bytes: of all its files.
    """

    path: Path
    kind: Kind
    name: str
    note: str
    iteration: int
    created: float
    bytes: int
    src: float
    dst: float
    trained_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``: NaN becomes None."""

        def number(value: float) -> float | None:
            return value if math.isfinite(value) else None

        return {
            "kind": self.kind,
            "name": self.name,
            "note": self.note,
            "iteration": self.iteration,
            "created": self.created,
            "bytes": self.bytes,
            "src": number(self.src),
            "dst": number(self.dst),
            "trained_seconds": self.trained_seconds,
            "folder": str(self.path),
        }


def restore_points(folder: Path) -> list[RestorePoint]:
    """Snapshots and backups of the model in *folder*, the newest first. Reads no tensor."""
    found = [_point(path, "snapshot") for path in store.snapshots(folder)]
    found += [_point(path, "backup") for path in store.named(folder / "backups")]
    return sorted(found, key=lambda p: (p.created, p.iteration), reverse=True)


def generation_points(folder: Path) -> list[RestorePoint]:
    """The generations of the model in *folder*: the current one first, then the one before."""
    current = current_name(folder)
    found = [_point(path, "generation") for path in store.named(folder / "generations")]
    return sorted(found, key=lambda p: (p.path.name != current, -p.created))


def find_point(folder: Path, name: str) -> RestorePoint:
    """The snapshot (or backup) called *name*; an iteration or a unique beginning will do.

    Raises:
        BadInputError: there is none, or more than one.
    """
    points = restore_points(folder)
    for test in (
        lambda p: name in (p.name, p.path.name),
        lambda p: p.name.casefold() == name.casefold(),
        lambda p: name.replace(",", "").lstrip("0") == str(p.iteration),
        lambda p: p.name.casefold().startswith(name.casefold()),
    ):
        matching = [p for p in points if test(p)]
        if len(matching) == 1:
            return matching[0]
        if matching:
            names = ", ".join(p.path.name for p in matching[:5])
            raise BadInputError(
                f"'{name}' may be {len(matching)} snapshots", where=folder, hint=f"one of: {names}"
            )
    names = ", ".join(p.name for p in points[:8]) or "there is none yet"
    raise BadInputError(f"no snapshot is called '{name}'", where=folder, hint=names)


def create_snapshot(
    folder: Path, name: str, note: str = "", *, source: Generation | None = None
) -> RestorePoint:
    """Keep a generation under a name: *source*, or the current one.

    Raises:
        BadInputError: the name is no good or taken, or nothing was saved yet.
        DamagedError: the generation, or the copy as read back, is damaged.
        OSError: the disk is full or broken; nothing of the attempt remains.
    """
    check_name(folder, name)
    if source is None:
        source = _current(folder)
    losses = _means(source.path)
    table: dict[str, Any] = {
        "name": name,
        "note": note,
        "created": time.time(),
        "iteration": source.iteration,
        "trained_seconds": _trained(source.path),
    }
    table |= {k: v for k, v in zip(("src", "dst"), losses, strict=True) if math.isfinite(v)}
    target = folder / "snapshots" / f"{_slug(name)}-{source.iteration:09d}"
    number = 2
    while target.exists():
        target = target.with_name(f"{_slug(name)}-{number}-{source.iteration:09d}")
        number += 1
    copy_generation(source, target, table)
    return _point(target, "snapshot")


def rename_snapshot(
    folder: Path, point: RestorePoint, *, name: str | None = None, note: str | None = None
) -> RestorePoint:
    """Give a snapshot another name, another note, or both. Its folder keeps its name.

    Raises:
        BadInputError: the name is no good or taken, or *point* is a backup and gets a name.
    """
    if name is not None:
        if point.kind != "snapshot":
            raise BadInputError(
                f"a {point.kind} has no name",
                hint="keep it under one: recaster snapshot create --from",
            )
        check_name(folder, name, but=point)
    table = _read_note(point.path)
    table |= {k: v for k, v in (("name", name), ("note", note)) if v is not None}
    write_toml(point.path / NOTE, table)
    return _point(point.path, point.kind)


def delete_snapshot(point: RestorePoint) -> None:
    """Remove a snapshot or a backup from the disk. There is no way back.

    Raises:
        OSError: it cannot be removed.
    """
    rubbish = point.path.with_name(f"{TEMPORARY}gone-{point.path.name}")
    point.path.rename(rubbish)
    fsync_dir(point.path.parent)
    shutil.rmtree(rubbish)


def export_snapshot(folder: Path, point: RestorePoint, target: Path) -> Path:
    """Copy a snapshot into *target* as a model folder of its own, ready for any workspace.

    Returns:
        the model folder, ``<target>/<name>.<class>``.

    Raises:
        BadInputError: there is such a folder already.
        DamagedError: the snapshot is damaged.
        OSError: the disk is full or broken; nothing of the attempt remains.
    """
    made = target / folder.name
    if made.exists():
        raise BadInputError("there is such a model already", where=made, hint="name another folder")
    source = verify(point.path, point.iteration)
    temporary = target / f"{TEMPORARY}{folder.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        name = f"{point.iteration:09d}"
        (temporary / "generations").mkdir(parents=True)
        copy_generation(source, temporary / "generations" / name, _read_note(point.path))
        (temporary / "generations" / name / NOTE).unlink()
        write_atomic(temporary / "CURRENT", name + "\n")
        temporary.rename(made)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    fsync_dir(target)
    return made


def restore(folder: Path, point: RestorePoint) -> tuple[Generation, RestorePoint | None]:
    """Make *point* the current generation, after keeping the present one as a snapshot.

    Only for the holder of the model's lock. Where the present one is damaged, the one that a
    trainer would have gone on from is kept: the generation before it.

    Returns:
        the new current generation, and the snapshot of what was current before (None where that
        is the very same state, or there was nothing that could be kept).

    Raises:
        DamagedError: *point* is damaged; nothing has been changed.
        OSError: the disk is full or broken; the model is as it was.
    """
    source = verify(point.path, point.iteration)
    kept = None
    before = _present(folder)
    if before is not None and before.sha256 != source.sha256:
        name = f"before restoring {point.name}"[: _NAME_LIMIT - 4]
        taken = {p.name for p in restore_points(folder)}
        free = next(n for n in _numbered(name) if n not in taken)
        kept = create_snapshot(folder, free, "made by itself", source=before)

    def fill(temporary: Path, _: str) -> None:
        for file in (*FILES, MANIFEST):
            write_hashed(temporary / file, file_pieces(source.path / file))

    restored = publish(folder, source.iteration, fill)
    with contextlib.suppress(OSError):
        (folder / GOOD).unlink(missing_ok=True)  # training no longer comes from that one
    return restored, kept


def _numbered(name: str) -> Any:
    yield name
    number = 2
    while True:
        yield f"{name} {number}"
        number += 1


def _current(folder: Path) -> Generation:
    name = current_name(folder)
    if name is None:
        raise BadInputError("nothing of this model is saved yet", where=folder)
    path = folder / "generations" / name
    return verify(path, iteration_of(path))


def _present(folder: Path) -> Generation | None:
    """The generation that a trainer would load; None where none is whole."""
    for path in store.candidates(folder):
        if path.parent.name == "generations":
            with contextlib.suppress(DamagedError):
                return verify(path, iteration_of(path))
    return None


def check_name(folder: Path, name: str, but: RestorePoint | None = None) -> None:
    """Whether a snapshot of the model in *folder* can be called *name*.

    Raises:
        BadInputError: it is no name, or another snapshot than *but* has it.
    """
    if not name.strip() or len(name) > _NAME_LIMIT or any(not c.isprintable() for c in name):
        raise BadInputError(
            "this cannot be the name of a snapshot",
            hint=f"1 to {_NAME_LIMIT} printable characters, for example: before GAN",
        )
    for point in restore_points(folder):
        same = point.name.casefold() == name.casefold()
        if same and (but is None or point.path != but.path):
            raise BadInputError(
                f"a snapshot is called '{point.name}' already",
                where=folder,
                hint="take another name, or rename that one",
            )


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-").lower()
    return slug[:40].strip("-") or "snapshot"


def _point(path: Path, kind: Kind) -> RestorePoint:
    note = _read_note(path)
    size, created = 0, 0.0
    with contextlib.suppress(OSError):
        created = path.stat().st_mtime
        size = sum(file.stat().st_size for file in path.iterdir())
    means = (_number(note.get("src")), _number(note.get("dst")))
    if not any(map(math.isfinite, means)):
        means = _means(path)
    trained = _number(note.get("trained_seconds"))
    return RestorePoint(
        path=path,
        kind=kind,
        name=str(note.get("name") or path.name),
        note=str(note.get("note") or ""),
        iteration=iteration_of(path),
        created=_number(note.get("created"), created),
        bytes=size,
        src=means[0],
        dst=means[1],
        trained_seconds=trained if math.isfinite(trained) else _trained(path),
    )


def _read_note(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path / NOTE)
    except (OSError, ValueError):
        return {}


def _trained(path: Path) -> float:
    try:
        value = _number(_state(path).get("trained_seconds"), 0.0)
    except (OSError, ValueError):
        return 0.0
    return value


def _state(path: Path) -> Mapping[str, Any]:
    return read_toml(path / STATE)


def _means(path: Path) -> tuple[float, float]:
    try:
        count = (path / LOSSES).stat().st_size // LOSS_DTYPE.itemsize
        rows = read_losses(path / LOSSES, max(0, count - MEAN_OF))[-MEAN_OF:]
    except (OSError, ValueError):
        return math.nan, math.nan
    return _mean(rows["src"]), _mean(rows["dst"])


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan


def _number(value: Any, otherwise: float = math.nan) -> float:
    ok = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if ok else otherwise

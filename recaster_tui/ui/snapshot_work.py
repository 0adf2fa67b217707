"""Keeping, restoring and exporting models from the app: threads for the copies, words for the end.

No widgets here: screens call these in workers and say what they return.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from recaster_tui.checkpoints.lock import is_run, lock_holder
from recaster_tui.checkpoints.snapshots import (
    RestorePoint,
    check_name,
    create_snapshot,
    delete_snapshot,
    export_snapshot,
    generation_points,
    rename_snapshot,
    restore_points,
)
from recaster_tui.checkpoints.store import TEMPORARY, current_name, verify
from recaster_tui.errors import BadInputError, RecasterError
from recaster_tui.protocol import CommandName
from recaster_tui.supervisor.restoring import Restored, beside_trainer, disk_words, restore_point
from recaster_tui.ui import clock, words

if TYPE_CHECKING:
    from recaster_tui.supervisor import Run, Supervisor

LONGEST_COPY = 1800.0
"""Seconds a trainer may take to save and keep a snapshot before we stop waiting for its word."""


def all_points(folder: Path) -> list[RestorePoint]:
    """Everything one can go back to: generations first, then snapshots and backups by age."""
    return [*generation_points(folder), *restore_points(folder)]


def current_generation(folder: Path) -> Path | None:
    """What the model is now."""
    name = current_name(folder)
    return folder / "generations" / name if name else None


def signature(folder: Path) -> tuple[float, ...]:
    """Changes when somebody saved, kept or removed something."""
    found = []
    for name in ("CURRENT", "generations", "backups", "snapshots"):
        try:
            found.append((folder / name).stat().st_mtime)
        except OSError:
            found.append(0.0)
    return tuple(found)


def suggested_name(folder: Path, iteration: int | None) -> str:
    """``at 12,345``, or the time where it is not known yet; with a number where it is taken."""
    taken = {p.name.casefold() for p in restore_points(folder)}
    base = f"at {words.count(iteration)}" if iteration is not None else clock.stamp(clock.now())
    name, number = base, 2
    while name.casefold() in taken:
        name, number = f"{base} ({number})", number + 1
    return name


def copied_bytes(places: Iterable[Path]) -> int:
    """Bytes of copies that are being written into these folders now."""
    total = 0
    for place in places:
        with contextlib.suppress(OSError):
            for path in place.glob(f"{TEMPORARY}*"):
                if not path.name.startswith(f"{TEMPORARY}gone"):
                    total += sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    return total


def trainer_of(supervisor: "Supervisor", folder: Path) -> "Run | None":
    """The living run that trains, or is about to train, the model in *folder*."""
    for run in supervisor.live_runs():
        if (run.workspace_root / run.spec.model_folder).resolve() == folder.resolve():
            return run
    return None


async def keep(
    supervisor: "Supervisor", folder: Path, name: str, note: str, source: RestorePoint | None = None
) -> str:
    """Make a snapshot, of *source* or of the present; what came of it, in words.

    The present is the trainer's where one lives: it saves first, so that nothing is left out.

    Raises:
        RecasterError: it cannot be; says why. Nothing of the attempt remains.
    """
    await asyncio.to_thread(check_name, folder, name)
    if source is None:
        run = trainer_of(supervisor, folder)
        holder = lock_holder(folder)
        if run is None and holder is not None and is_run(holder):
            run = await supervisor.attach(holder)
        if run is not None:
            ack = await run.command(
                CommandName.SNAPSHOT, snapshot=name, note=note, timeout=LONGEST_COPY
            )
            if not ack.ok:
                raise RecasterError(f"the trainer refused: {ack.message}")
            return (
                f"'{name}' is kept: {words.answer(ack.message)}"
                if ack.message
                else f"'{name}' is kept"
            )

    def work() -> RestorePoint:
        with disk_words(folder), beside_trainer(folder, "snapshot create"):
            chosen = verify(source.path, source.iteration) if source is not None else None
            return create_snapshot(folder, name, note, source=chosen)

    point = await asyncio.to_thread(work)
    return f"iteration {words.count(point.iteration)} is kept as '{point.name}'"


async def restore(supervisor: "Supervisor", folder: Path, point: RestorePoint) -> Restored:
    """Go back to *point*; runs that are held in memory show it at once.

    Raises:
        RecasterError: it cannot be; the model is as it was.
    """
    run = trainer_of(supervisor, folder)
    if run is not None and lock_holder(folder) is None and run.state.live:
        # It is starting, or nobody can ask it: it would find another model than it expects.
        raise BadInputError(
            f"run {run.run_id} trains this model, or is about to ({run.state.value})",
            hint="stop it first, then restore",
        )
    runs = folder.parent.parent / "runs"
    restored = await asyncio.to_thread(restore_point, folder, point, runs)
    if restored.run_id and (held := supervisor.run(restored.run_id)) is not None:
        await held.poll()
    return restored


async def change(
    folder: Path, point: RestorePoint, *, name: str | None = None, note: str | None = None
) -> RestorePoint:
    """Another name or note. Raises ``RecasterError``."""

    def work() -> RestorePoint:
        with disk_words(folder), beside_trainer(folder, "snapshot rename"):
            return rename_snapshot(folder, point, name=name, note=note)

    return await asyncio.to_thread(work)


async def delete(folder: Path, point: RestorePoint) -> None:
    """Remove a snapshot or a backup for ever. Raises ``RecasterError``."""

    def work() -> None:
        hint = "is it on a disk that may be written?"
        with disk_words(folder, hint), beside_trainer(folder, "snapshot delete"):
            delete_snapshot(point)

    await asyncio.to_thread(work)


async def export(folder: Path, point: RestorePoint, target: Path) -> Path:
    """A model folder of its own below *target*. Raises ``RecasterError``."""

    def work() -> Path:
        with disk_words(target, "nothing of the copy is left; choose a folder with room for it"):
            target.mkdir(parents=True, exist_ok=True)
            return export_snapshot(folder, point, target)

    return await asyncio.to_thread(work)

"""Snapshots for app and command line: under the model's lock, and seen by the model's runs."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recaster_tui.checkpoints.lock import ModelLockedError, is_run, lock_holder, lock_model
from recaster_tui.checkpoints.snapshots import RestorePoint, restore
from recaster_tui.checkpoints.store import LOSSES, STATE, Generation, current_name
from recaster_tui.errors import BadInputError, EnvironmentProblem, RecasterError
from recaster_tui.files import read_toml
from recaster_tui.protocol import (
    EventType,
    RunFolder,
    RunSpec,
    read_losses,
    read_run_spec,
    write_losses,
)
from recaster_tui.supervisor.last_word import say_for_trainer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Restored:
    """What a restore led to.

    Attributes:
        kept: the snapshot of what was before; None where there was nothing to keep.
        run_id: of the run whose journal tells of it; "" = none.
    """

    generation: Generation
    kept: RestorePoint | None
    run_id: str = ""


def restore_point(folder: Path, point: RestorePoint, runs: Path) -> Restored:
    """Make *point* what the model in *folder* is, and let its last run in *runs* say so.

    The present is kept as a snapshot first. Blocks: call it in a thread.

    Raises:
        ModelLockedError: somebody trains the model; says who.
        BadInputError: the model is at this very state already.
        DamagedError: *point* is damaged; nothing has been changed.
        EnvironmentProblem: the disk is full or broken; the model is as it was.
    """
    try:
        lock = lock_model(folder, "snapshot restore")
    except ModelLockedError as error:
        if not is_run(lock_holder(folder) or ""):
            raise
        raise ModelLockedError(
            error.message, where=error.where, hint="stop that run first, then restore"
        ) from error
    try:
        name = current_name(folder)
        if name is not None and point.path == folder / "generations" / name:
            raise BadInputError(
                f"the model is at iteration {point.iteration:,} already: this is what it is now"
            )
        before = _last_run(folder, runs)
        with disk_words(folder):
            generation, kept = restore(folder, point)
        run_id = ""
        if before is not None:
            run_id = _tell(*before, generation, point, kept)
        return Restored(generation, kept, run_id)
    finally:
        lock.release()


@contextlib.contextmanager
def beside_trainer(folder: Path, what: str) -> Iterator[None]:
    """Hold the model's lock; where a trainer has it, go on without.

    For what a trainer leaves alone, snapshots and backups that exist. Without a trainer the lock
    keeps one from starting meanwhile (it sweeps half-made copies away), and another app out.

    Raises:
        ModelLockedError: another app or command is at work here.
        OSError: the folder cannot be written.
    """
    try:
        lock = lock_model(folder, what)
    except ModelLockedError:
        if not is_run(lock_holder(folder) or ""):
            raise
        yield
        return
    try:
        yield
    finally:
        lock.release()


class disk_words:  # noqa: N801 - reads as a word
    """Turns what a disk may do to us into words: ``with disk_words(place): …``."""

    def __init__(
        self, place: Path, hint: str = "nothing was changed; free some space or check the rights"
    ) -> None:
        self._place, self._hint = place, hint

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """An ``OSError`` becomes an :class:`EnvironmentProblem`."""
        if isinstance(error, OSError):
            raise EnvironmentProblem(
                f"the disk refused: {error.strerror or error}",
                where=error.filename or self._place,
                hint=self._hint,
            ) from error


def _last_run(folder: Path, runs: Path) -> tuple[RunFolder, RunSpec] | None:
    """The run of this model that wrote last, and what it was asked for."""
    found: list[tuple[float, RunFolder]] = []
    with contextlib.suppress(OSError):
        for entry in runs.iterdir():
            run = RunFolder(entry)
            with contextlib.suppress(OSError):
                found.append((run.journal.stat().st_mtime, run))
    # Newest first: of thousands of runs few are read.
    for _, run in sorted(found, key=lambda item: item[0], reverse=True):
        with contextlib.suppress(OSError, RecasterError):
            spec = read_run_spec(run.spec)
            if (runs.parent / spec.model_folder).resolve() == folder.resolve():
                return run, spec
    return None


def _tell(
    run: RunFolder,
    spec: RunSpec,
    generation: Generation,
    point: RestorePoint,
    kept: RestorePoint | None,
) -> str:
    rows = read_losses(generation.path / LOSSES)
    try:
        # The file first: who reads the event finds the rows.
        write_losses(run.losses, rows[rows["iteration"] <= generation.iteration])
    except OSError as error:
        log.warning("cannot write %s: %s", run.losses, error)
    said = say_for_trainer(
        run,
        EventType.RESTORED,
        from_iteration=kept.iteration if kept is not None else generation.iteration,
        to_iteration=generation.iteration,
        name=point.name,
        kept=kept.name if kept is not None else "",
        options=_options(generation, spec),
    )
    return run.run_id if said else ""


def _options(generation: Generation, spec: RunSpec) -> dict[str, Any]:
    """What the next start of the run begins with: its own, and live changes that it had saved."""
    options = dict(spec.options)
    try:
        state = read_toml(generation.path / STATE)
    except (OSError, ValueError):
        return options
    if state.get("run_id") == spec.run_id:
        options |= dict(state.get("live") or {})
    return options

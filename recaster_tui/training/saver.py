"""Saving while training goes on: a quick copy between two iterations, a thread for the rest.

The loop asks :meth:`Saver.due`, hands over a :class:`~.generations.Snapshot` made by
:meth:`Saver.copy`, and goes on. One save is in flight at a time, so that one set of host
buffers (pinned on CUDA) serves them all.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recaster_tui.checkpoints.snapshots import create_snapshot
from recaster_tui.checkpoints.store import Generation, mark_good, thin_backups, write_backup
from recaster_tui.protocol import EventType
from recaster_tui.training.failures import describe
from recaster_tui.training.generations import Snapshot, write_generation
from recaster_tui.training.journal import JournalWriter

log = logging.getLogger(__name__)

WRITE_BUDGET = 20e6
"""Bytes a second that saving may write on average."""
RETRY_SECONDS = 60.0


@dataclass(frozen=True)
class SaveOutcome:
    """How a save ended: the generation, or the error that is already in the journal."""

    generation: Generation | None
    error: Exception | None = None
    backup: Generation | None = None


Done = Callable[[SaveOutcome], None]


@dataclass(frozen=True)
class _Job:
    snapshot: Snapshot
    backup_note: str | None
    backups_kept: int
    snapshot_name: str | None
    judged: int | None
    done: tuple[Done, ...]


class Saver:
    """Writes generations and backups of the model in *folder*, and journals them.

    Attributes:
        saved: iteration of the last whole generation, or None.
        error: why the last save failed; None when it did not.
        last: the run ends with the save that comes next.
    """

    def __init__(self, folder: Path, journal: JournalWriter, saved: int | None) -> None:
        self.saved = saved
        self.error: Exception | None = None
        self.last = False
        self._folder = folder
        self._journal = journal
        self._interval_floor = 0.0
        self._last_start = time.monotonic()
        self._buffers: dict[str, Tensor] = {}
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._work, name="saver", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a save is being written."""
        return not self._idle.is_set()

    def due(self, autosave_seconds: float) -> bool:
        """Whether it is time for an autosave; never while one is being written.

        The interval is stretched so that the average stays below :data:`WRITE_BUDGET`.
        """
        if self.busy or autosave_seconds <= 0:
            return False
        interval = max(autosave_seconds, self._interval_floor)
        return time.monotonic() - self._last_start >= interval

    def copy(
        self,
        live: Mapping[str, Mapping[str, Tensor]],
        *,
        iteration: int,
        state: Mapping[str, Any],
        losses: np.ndarray,
    ) -> Snapshot:
        """Copy the live tensors to host memory; waits for a save in flight first."""
        self.wait()
        copies = {
            part: {name: self._to_host(f"{part}/{name}", t) for name, t in tensors.items()}
            for part, tensors in live.items()
        }
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return Snapshot(iteration, copies["weights"], copies["optimizer"], state, losses)

    def start(
        self,
        snapshot: Snapshot,
        *done: Done,
        backup_note: str | None = None,
        backups_kept: int = 24,
        snapshot_name: str | None = None,
        judged: int | None = None,
    ) -> None:
        """Write *snapshot* in the thread; with a note (may be empty) also as a backup.

        With a name, it is kept as a snapshot of that name and note instead of a backup.
        Up to iteration *judged* all is known to be good: see :func:`mark_good`.

        *done* is called from the thread, after the ``saved`` event or the warning.
        """
        self.wait()
        self._idle.clear()
        self._last_start = time.monotonic()
        self._jobs.put(_Job(snapshot, backup_note, backups_kept, snapshot_name, judged, done))

    def wait(self) -> None:
        """Until nothing is being written."""
        self._idle.wait()

    def close(self) -> None:
        """Finish what is being written and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _to_host(self, key: str, tensor: Tensor) -> Tensor:
        buffer = self._buffers.get(key)
        if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
            buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
            self._buffers[key] = buffer
        return buffer.copy_(tensor.detach(), non_blocking=tensor.is_cuda)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                outcome = self._save(job)
                self.error = outcome.error
                for done in job.done:
                    done(outcome)
            except Exception as error:  # the loop waits for us: this thread must not die
                self.error = self.error or error
                log.exception("after a save")
            finally:
                self._idle.set()

    def _save(self, job: _Job) -> SaveOutcome:
        begun = time.monotonic()
        generation: Generation | None = None
        try:
            mark_good(self._folder, job.judged)  # before the older ones are removed
            generation = write_generation(self._folder, job.snapshot)
            self.saved = generation.iteration
            seconds = time.monotonic() - begun
            # Reading back and hashing load the disk as well: no more than a third of the time.
            self._interval_floor = max(generation.bytes / WRITE_BUDGET, 3.0 * seconds)
            self._emit(EventType.SAVED, generation, seconds)
            if job.snapshot_name is not None:
                return SaveOutcome(generation, backup=self._keep(job, generation))
            if job.backup_note is None:
                return SaveOutcome(generation)
            begun = time.monotonic()
            backup = write_backup(self._folder, generation, job.backup_note)
            seconds = time.monotonic() - begun
            folder = str(backup.path.relative_to(self._folder.parent.parent))
            note = job.backup_note
            self._emit(EventType.BACKUP, backup, seconds, note=note, folder=folder)
            thin_backups(self._folder, job.backups_kept)
            return SaveOutcome(generation, backup=backup)
        except Exception as error:
            log.warning("saving failed", exc_info=True)
            self._warn(job, generation, error)
            return SaveOutcome(generation, error)

    def _warn(self, job: _Job, generation: Generation | None, error: Exception) -> None:
        failure = describe(error)
        code = "disk-full" if failure.code == "disk-full" else "save-failed"
        at = job.snapshot.iteration
        if generation is not None:
            what = "backup" if job.snapshot_name is None else f"snapshot '{job.snapshot_name}'"
            self._journal.emit(
                EventType.WARNING,
                code=f"backup-{code}",
                message=f"the {what} of iteration {at:,} could not be written: {failure.message}",
                hint="the model itself is saved, and training goes on",
            )
            return
        self._interval_floor = max(self._interval_floor, RETRY_SECONDS)
        saved = "nothing is saved yet"
        if self.saved is not None:
            saved = f"the last good save is iteration {self.saved:,}"
        again = f"training goes on and tries again every {RETRY_SECONDS:.0f} s; "
        self._journal.emit(
            EventType.WARNING,
            code=code,
            message=f"iteration {at:,} could not be saved: {failure.message}",
            hint=("" if self.last else again)
            + saved
            + ("; free some space" if code == "disk-full" else ""),
            saved=self.saved,
        )

    def _keep(self, job: _Job, generation: Generation) -> Generation:
        begun = time.monotonic()
        name, note = job.snapshot_name or "", job.backup_note or ""
        point = create_snapshot(self._folder, name, note, source=generation)
        kept = Generation(point.path, point.iteration, point.bytes, generation.sha256)
        folder = str(point.path.relative_to(self._folder.parent.parent))
        seconds = time.monotonic() - begun
        self._emit(EventType.SNAPSHOT, kept, seconds, name=name, note=note, folder=folder)
        return kept

    def _emit(self, kind: EventType, saved: Generation, seconds: float, **more: Any) -> None:
        self._journal.emit(
            kind,
            iteration=saved.iteration,
            generation=saved.name,
            bytes=saved.bytes,
            seconds=round(seconds, 3),
            sha256=saved.sha256,
            **more,
        )
        self._journal.sync()  # a power cut shall not make the history forget a save

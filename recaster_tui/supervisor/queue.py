"""The queue of runs: one file each under ``<data>/queue/``, worked off by a keeper.

``<id>.toml`` is an entry, ``settings.toml`` holds the slots of each device and whether the queue is
paused. Every file is replaced whole. Whoever changes one holds ``write.lock`` for that moment; the
keeper (:mod:`recaster_tui.supervisor.queue_keeper`), a process of its own, holds ``lock`` for as
long as it lives, so there is never more than one. A file that cannot be understood is set aside in
``damaged/``; the others go on.
"""

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recaster_tui.errors import BadInputError, EnvironmentProblem
from recaster_tui.supervisor.queue_entry import (
    QueueEntry,
    QueueState,
    entry_id,
    launch_mark,
    require_target,
)
from recaster_tui.supervisor.queue_files import (
    MOST_SLOTS,
    QueueFiles,
    QueueSettings,
    cannot_write,
)
from recaster_tui.supervisor.request import RunRequest, make_spec, require_way_to_go
from recaster_tui.workspace import Workspace

KEEPER_COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "recaster_tui", "queue", "keep")
# What Textual, our probe and pytest set for the screen means nothing to a keeper.
_SCREEN_VARIABLES = ("TEXTUAL", "RECASTER_UI", "COLUMNS", "LINES", "PYTEST_")


class Queue(QueueFiles):
    """The files, read afresh at each question. Any number of programs may hold one."""

    def __init__(self, data_dir: Path | None = None) -> None:
        super().__init__(data_dir)
        self._child: subprocess.Popen[bytes] | None = None

    def find(self, text: str) -> QueueEntry:
        """The entry meant by an id, a unique part of one, its run, model name, or ``1`` = next.

        Raises:
            BadInputError: none or several fit.
        """
        entries = self.entries()
        waiting = [e for e in entries if e.state is QueueState.WAITING]
        if text.isdecimal() and 1 <= int(text) <= len(waiting):
            return waiting[int(text) - 1]
        exact = [e for e in entries if text in (e.id, e.run_id)]
        fitting = exact or [
            e
            for e in entries
            if e.model_name == text
            or (len(text) > 2 and (e.id.startswith(text) or e.id.endswith(text)))
        ]
        if len(fitting) == 1:
            return fitting[0]
        if not fitting:
            raise BadInputError(
                f"the queue has no '{text}'", hint="recaster queue lists it: use position or id"
            )
        names = ", ".join(e.id for e in fitting[:4])
        raise BadInputError(f"'{text}' fits {len(fitting)} entries: {names}", hint="use the id")

    def has_work(self) -> bool:
        """Whether a keeper has something to do."""
        entries = self.entries()
        if any(e.state.active for e in entries):
            return True
        waiting = [e for e in entries if e.state is QueueState.WAITING]
        return any(e.now for e in waiting) or (bool(waiting) and not self.paused)

    # -- changing ---------------------------------------------------------------------------

    def add(
        self, workspace: Workspace, request: RunRequest, *, device: str | None = None
    ) -> QueueEntry:
        """Put a run at the end.

        Raises:
            OptionsError, BadInputError: it cannot be done, or would never end.
            EnvironmentProblem: the file cannot be written.
        """
        spec = make_spec(workspace, request)
        require_target(spec.target_iterations, spec.target_seconds)
        require_way_to_go(workspace, spec)
        with self.changing():
            entry = QueueEntry(
                id=entry_id(),
                order=max((e.order for e in self.entries()), default=0.0) + 1.0,
                created=time.time(),
                workspace=str(workspace.root),
                model_name=spec.model_name,
                model_class=spec.model_class,
                options=spec.options,
                device=device or spec.device,
                target_iterations=spec.target_iterations,
                target_seconds=spec.target_seconds,
            )
            self.write(entry)
        return entry

    def move(self, id: str, step: int) -> bool:  # noqa: A002
        """Let a waiting entry go *step* places towards the end (negative: front).

        Returns whether it moved. One file is written, so a crash leaves the old or the new order.
        """
        with self.changing():
            waiting = self.waiting()
            here = next((i for i, e in enumerate(waiting) if e.id == id), None)
            if here is None:
                return False
            there = max(0, min(here + step, len(waiting) - 1))
            if there == here:
                return False
            entry = waiting.pop(here)
            low = waiting[there - 1].order if there else waiting[0].order - 2.0
            high = waiting[there].order if there < len(waiting) else waiting[-1].order + 2.0
            if not low < (low + high) / 2 < high:
                waiting = self._spread(waiting)
                low = waiting[there - 1].order if there else waiting[0].order - 2.0
                high = waiting[there].order if there < len(waiting) else waiting[-1].order + 2.0
            self.write(entry.model_copy(update={"order": (low + high) / 2}))
        return True

    def remove(self, id: str) -> None:  # noqa: A002
        """Take an entry off the list; a run of it goes on by itself.

        Raises:
            BadInputError: there is no such entry, or it is just being started.
        """
        with self.changing():
            entry = self._need(id)
            if entry.state is QueueState.STARTING:
                raise BadInputError(
                    f"{entry.model_name} is just being started", hint="try again in a moment"
                )
            self.path(id).unlink(missing_ok=True)

    def clear(self) -> int:
        """Take everything that is over off the list; how many these were."""
        with self.changing():
            over = [e for e in self.entries() if e.state.over]
            for entry in over:
                self.path(entry.id).unlink(missing_ok=True)
        return len(over)

    def again(self, id: str) -> QueueEntry:  # noqa: A002
        """Let a failed or stopped entry wait again, at the end; its run goes on where it was.

        Raises:
            BadInputError: it is not over, or is done.
        """
        with self.changing():
            entry = self._need(id)
            if entry.state not in (QueueState.FAILED, QueueState.STOPPED):
                raise BadInputError(
                    f"{entry.model_name} is {entry.state}",
                    hint="only what failed or was stopped can wait again",
                )
            changes: dict[str, Any] = {
                "state": QueueState.WAITING,
                "order": max(e.order for e in self.entries()) + 1.0,
                "why": "",
                "now": False,
                "restarts": 0,
                "ended": 0.0,
            }
            if not entry.folder.spec.is_file():
                changes["run_id"] = ""
            return self.write(entry.model_copy(update=changes))

    def start_now(self, id: str) -> QueueEntry:  # noqa: A002
        """Let a waiting entry start whatever runs on its device, and though the queue is paused.

        Raises:
            BadInputError: it does not wait.
        """
        with self.changing():
            entry = self._need(id)
            if entry.state is not QueueState.WAITING:
                raise BadInputError(f"{entry.model_name} does not wait: it is {entry.state}")
            return self.write(entry.model_copy(update={"now": True}))

    def set_slots(self, device: str, count: int) -> int:
        """How many runs *device* takes at once, 1 to 16; returns what was set.

        Raises:
            BadInputError: a number outside.
        """
        if not 1 <= count <= MOST_SLOTS:
            raise BadInputError(
                f"{count} slots of {device}: must be 1 to {MOST_SLOTS}",
                hint="to start nothing new, pause the queue",
            )
        with self.changing():
            now = self.settings()
            self.write_settings(QueueSettings(now.paused, {**now.slots, device: count}))
        return count

    def set_paused(self, paused: bool) -> None:
        """Start nothing new, or go on. What runs is not touched."""
        with self.changing():
            self.write_settings(QueueSettings(paused, self.settings().slots))

    def _need(self, id: str) -> QueueEntry:  # noqa: A002
        entry = self.get(id)
        if entry is None:
            raise BadInputError(f"the queue has no entry {id}", hint="it was removed meanwhile")
        return entry

    def _spread(self, waiting: Sequence[QueueEntry]) -> list[QueueEntry]:
        """Give them room between each other, the last one first: their order never changes."""
        top = max(e.order for e in self.entries())
        spread = [
            entry.model_copy(update={"order": top + number})
            for number, entry in enumerate(waiting, start=1)
        ]
        for entry in reversed(spread):
            self.write(entry)
        return spread

    # -- for the keeper ---------------------------------------------------------------------

    def claim(self, id: str, run_id: str, boot: str) -> QueueEntry | None:  # noqa: A002
        """Choose a waiting entry: its run's id is on disk before anything is started.

        None where it waits no more (removed, paused, chosen) since the caller looked.
        """
        with self.changing():
            entry = self.get(id)
            if entry is None or entry.state is not QueueState.WAITING:
                return None
            if self.paused and not entry.now:
                return None
            chosen = entry.model_copy(update={"run_id": entry.run_id or run_id})
            return self.write(
                chosen.model_copy(
                    update={
                        "state": QueueState.STARTING,
                        "launch": launch_mark(chosen.folder),
                        "boot": boot,
                        "started": time.time(),
                        "why": "",
                    }
                )
            )

    def update(self, id: str, **changes: Any) -> QueueEntry | None:  # noqa: A002
        """Change what the file says now; None where the entry was removed meanwhile."""
        with self.changing():
            entry = self.get(id)
            if entry is None:
                return None
            changed = entry.model_copy(update=changes)
            return entry if changed == entry else self.write(changed)

    def hold(self, seconds: float = 1.0) -> "KeeperLock | None":
        """The keeper's lock; None where another holds it.

        Who only asks (:meth:`keeper_alive`) holds it for an instant: it is tried for *seconds*.

        Raises:
            EnvironmentProblem: the folder cannot be written, or its disk knows no locks.
        """
        deadline = time.monotonic() + seconds
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                os.close(fd)
                return None
            except OSError as error:
                os.close(fd)
                raise cannot_write(self.folder, error) from error
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            return KeeperLock(fd)

    def release_when_idle(self, lock: "KeeperLock") -> bool:
        """Let go of *lock* if there is nothing to do; whether that was so.

        Nobody can add an entry in between and take the leaving keeper for a working one.
        """
        with self.changing():
            if self.has_work():
                return False
            lock.release()
            return True

    # -- the keeper from outside ------------------------------------------------------------

    def keeper_alive(self) -> bool:
        """Whether a keeper is at work."""
        try:
            fd = os.open(self.folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(fd)
        return False

    def wake(self) -> bool:
        """Start a keeper where there is work and nobody does it; whether one was started.

        Cheap where there is no queue. The keeper is detached: it outlives this program.

        Raises:
            EnvironmentProblem: it cannot be started.
        """
        if not self.folder.is_dir() or not self.has_work() or self.keeper_alive():
            return False
        if self._child is not None and self._child.poll() is None:
            return False  # it has not got as far as the lock yet
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_SCREEN_VARIABLES)}
        try:
            with (self.folder / "keeper.log").open("ab") as output:
                if output.tell() > 1_000_000:
                    output.truncate(0)
                child = subprocess.Popen(
                    [*KEEPER_COMMAND, "--data", str(self.data_dir)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self.folder,
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            raise EnvironmentProblem(
                f"the queue's keeper cannot be started: {error.strerror or error}",
                where=self.folder,
            ) from error
        threading.Thread(target=child.wait, name="reap-keeper", daemon=True).start()
        self._child = child
        return True


class KeeperLock:
    """Held until :meth:`release` or the end of the process, however it ends."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        """Give it back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

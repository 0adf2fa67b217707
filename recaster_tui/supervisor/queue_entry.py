"""One entry of the queue, as its file holds it."""

import hashlib
import time
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from recaster_tui.errors import BadInputError
from recaster_tui.options import ModelClass
from recaster_tui.protocol import RunFolder
from recaster_tui.supervisor.history import RunRecord
from recaster_tui.supervisor.queue_device import device_of
from recaster_tui.supervisor.request import RunRequest
from recaster_tui.supervisor.state import RunState


class QueueState(StrEnum):
    """Where an entry stands."""

    WAITING = "waiting"
    STARTING = "starting"  # its run has an id; whether its trainer was launched is not noted yet
    RUNNING = "running"
    DONE = "done"  # the target was reached
    STOPPED = "stopped"  # somebody asked the run to end
    FAILED = "failed"

    @property
    def active(self) -> bool:
        """Whether it takes a slot of its device."""
        return self in (QueueState.STARTING, QueueState.RUNNING)

    @property
    def over(self) -> bool:
        """Whether nothing will happen to it by itself."""
        return self in (QueueState.DONE, QueueState.STOPPED, QueueState.FAILED)


class QueueEntry(BaseModel):
    """What shall be trained, and what became of it.

    ``order`` decides who is next (ties: who came first); ``why`` says what it waits for, or how it
    ended. ``launch`` and ``boot`` tell a keeper that takes over whether the trainer was launched
    after the entry was chosen, and whether the machine has been restarted since. Times are unix
    seconds.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    id: str = Field(pattern=r"^[A-Za-z0-9-]+$")
    order: float = Field(allow_inf_nan=False)
    created: float = Field(allow_inf_nan=False)
    workspace: str
    model_name: str
    model_class: ModelClass
    options: dict[str, Any]
    device: str = "auto"
    target_iterations: int = Field(default=0, ge=0)
    target_seconds: float = Field(default=0.0, ge=0)
    state: QueueState = QueueState.WAITING
    why: str = ""
    now: bool = False
    run_id: str = Field(default="", pattern=r"^[A-Za-z0-9-]*$")
    launch: str = ""
    boot: str = ""
    restarts: int = Field(default=0, ge=0)
    started: float = 0.0
    ended: float = 0.0
    iteration: int = 0

    @property
    def rank(self) -> tuple[float, float, str]:
        """What entries are ordered by."""
        return (self.order, self.created, self.id)

    @property
    def slot(self) -> str:
        """The device whose slots count for it."""
        return device_of(self.device)

    @property
    def folder(self) -> RunFolder:
        """Where its run lies, or will lie."""
        return RunFolder(Path(self.workspace) / "runs" / (self.run_id or "-"))

    @property
    def model_folder(self) -> Path:
        """Where its model lies, or will lie."""
        return Path(self.workspace) / "model" / f"{self.model_name}.{self.model_class.value}"

    @property
    def record(self) -> RunRecord:
        """As much of a record as attaching to its run needs: the history may not have it yet."""
        return RunRecord(
            run_id=self.run_id,
            model_name=self.model_name,
            model_class=self.model_class.value,
            workspace=self.workspace,
            state=RunState.STARTING,
            created=self.created,
            options=self.options,
        )

    @property
    def request(self) -> RunRequest:
        """What its run is started with."""
        return RunRequest(
            model_class=self.model_class,
            options=self.options,
            model_name=self.model_name,
            device=self.device,
            target_iterations=self.target_iterations,
            target_seconds=self.target_seconds,
        )


def require_target(iterations: int, seconds: float) -> None:
    """Raise ``BadInputError`` for a run that would never let the next one begin."""
    if iterations <= 0 and seconds <= 0:
        raise BadInputError(
            "a queued run needs an end: without one, those behind it would wait for ever",
            hint="give it a target: --iterations N or --seconds S; in the form: Target iteration",
        )


def launch_mark(folder: RunFolder) -> str:
    """Changes as soon as a trainer is launched on *folder*, or says its first word there."""
    try:
        last = hashlib.sha256(folder.process.read_bytes()).hexdigest()[:16]
    except OSError:
        last = ""
    try:
        said = folder.journal.stat().st_size
    except OSError:
        said = 0
    return f"{last}:{said}"


NEVER_LAUNCHED = ":0"


def boot_id() -> str:
    """The same until the machine is restarted."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return str(round(psutil.boot_time() / 60))  # it moves a little when the clock is set


def entry_id() -> str:
    """Sortable by time and unique."""
    import secrets

    return f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(3)}"

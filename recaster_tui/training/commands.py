"""Control lines in, acknowledgements out: what each command does to a trainer."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from recaster_tui.errors import RecasterError
from recaster_tui.protocol import CommandName, EventType
from recaster_tui.training.control import ControlReader, Request
from recaster_tui.training.failures import describe
from recaster_tui.training.journal import JournalWriter

if TYPE_CHECKING:
    # Not now: it brings torch, and this module is needed before that.
    from recaster_tui.training.saver import SaveOutcome


@dataclass
class StopFlag:
    """Set by SIGTERM and SIGINT; the loop looks at it between two iterations."""

    reason: str = ""
    event: threading.Event = field(default_factory=threading.Event)

    def set(self, reason: str) -> None:
        """Ask for a stop with a save."""
        self.reason = self.reason or reason
        self.event.set()


class Desk:
    """Where control lines wait. Every line gets exactly one ``ack``."""

    def __init__(self, journal: JournalWriter, reader: ControlReader) -> None:
        self._journal = journal
        self._reader = reader
        self._waiting: deque[Request] = deque()

    def poll(self) -> None:
        """Read new lines; those that nobody could obey are answered at once."""
        for request in self._reader.poll():
            if request.command is None:
                self.answer(request, False, request.problem)
            elif request.stale:
                self.answer(request, False, "the trainer had ended before it read this")
            elif request.command.cmd not in {name.value for name in CommandName}:
                self.answer(request, False, f"unknown command {request.command.cmd!r}")
            else:
                self._waiting.append(request)

    def next(self) -> Request | None:
        """The oldest request not yet handled."""
        return self._waiting.popleft() if self._waiting else None

    def take_stop(self) -> Request | None:
        """A waiting stop, for the time before training, when nothing else can be obeyed."""
        for request in self._waiting:
            if request.command is not None and request.command.cmd == CommandName.STOP:
                self._waiting.remove(request)
                return request
        return None

    @property
    def stop_waits(self) -> bool:
        """Whether a stop is among the requests not yet handled."""
        commands = (request.command for request in self._waiting)
        return any(c is not None and c.cmd == CommandName.STOP for c in commands)

    def answer(self, request: Request, ok: bool, message: str = "") -> None:
        """Write the ``ack``."""
        name = request.command.id if request.command is not None else ""
        self._journal.emit(EventType.ACK, id=name, ok=ok, message=message, offset=request.offset)

    def close(self, why: str) -> None:
        """Refuse whatever still waits."""
        self.poll()
        while request := self.next():
            self.answer(request, False, why)
        self._reader.close()


class Obedient(Protocol):
    """What a trainer lets a command do."""

    iteration: int

    def pause(self) -> None:
        """Stop stepping."""
        ...

    def resume(self) -> bool:
        """Step again; False when it was not paused."""
        ...

    def save(
        self,
        text: str,
        *done: Callable[["SaveOutcome"], None],
        note: str | None,
        snapshot: str | None = None,
    ) -> None:
        """Save in the background; with a note also as a backup, with a name as a snapshot."""
        ...

    def preview(self) -> bool:
        """Show the model now; False when the files could not be written."""
        ...

    def change(self, key: str, value: Any) -> Any:
        """Change a live option and return the value it took. Raises ``BadOptionsError``."""
        ...

    def stop(self, *, save: bool) -> None:
        """End after this."""
        ...


def obey(trainer: Obedient, desk: Desk, request: Request) -> None:
    """Do what *request* asks and acknowledge it, at once or when it is done."""
    command = request.command
    if command is None:
        return
    args = command.args
    try:
        match command.cmd:
            case CommandName.PAUSE:
                trainer.pause()
                desk.answer(request, True, f"paused at iteration {trainer.iteration}")
            case CommandName.RESUME:
                desk.answer(request, True, "" if trainer.resume() else "it was not paused")
            case CommandName.SAVE:
                trainer.save("saving", _when_saved(desk, request), note=None)
            case CommandName.BACKUP:
                note = str(args.get("note") or "")
                trainer.save("saving and backing up", _when_saved(desk, request), note=note)
            case CommandName.SNAPSHOT:
                name, note = str(args.get("snapshot") or ""), str(args.get("note") or "")
                trainer.save(
                    "saving a snapshot", _when_saved(desk, request), note=note, snapshot=name
                )
            case CommandName.PREVIEW:
                ok = trainer.preview()
                desk.answer(request, ok, "" if ok else "the preview could not be written")
            case CommandName.SET:
                key = str(args.get("key", ""))
                value = trainer.change(key, args.get("value"))
                desk.answer(request, True, f"{key} = {value}")
            case CommandName.STOP:
                save = bool(args.get("save", True))
                trainer.stop(save=save)
                desk.answer(request, True, "saving first" if save else "ending without a save")
    except RecasterError as error:
        desk.answer(request, False, describe(error).message)


def _when_saved(desk: Desk, request: Request) -> Callable[["SaveOutcome"], None]:
    def answer(outcome: "SaveOutcome") -> None:
        if outcome.error is not None:
            desk.answer(request, False, describe(outcome.error).message)
        elif (where := outcome.backup or outcome.generation) is not None:
            desk.answer(request, True, f"iteration {where.iteration} in {where.path.name}")

    return answer

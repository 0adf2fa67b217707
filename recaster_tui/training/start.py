"""From the first instruction to the last word: journal, signals, heartbeat, exit code.

Only light modules are imported here, so that the journal speaks within a fraction of a second;
torch comes with :mod:`recaster_tui.training.process`.
"""

import contextlib
import logging
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from recaster_tui.errors import ExitCode, RecasterError
from recaster_tui.protocol import EventType, Outcome, Phase, RunFolder, read_run_spec
from recaster_tui.training.commands import Desk, StopFlag
from recaster_tui.training.control import ControlReader, control_size
from recaster_tui.training.failures import StopRequested, describe
from recaster_tui.training.journal import JournalWriter
from recaster_tui.training.metrics import Heartbeat

if TYPE_CHECKING:
    from recaster_tui.training.session import BuildModel, OpenData

log = logging.getLogger(__name__)


@dataclass
class Context:
    """What lives as long as the process.

    Attributes:
        iteration: the last iteration trained, as far as known.
        saved: the last one saved, likewise.
    """

    folder: RunFolder
    journal: JournalWriter
    desk: Desk
    heartbeat: Heartbeat
    stop: StopFlag = field(default_factory=StopFlag)
    iteration: int = 0
    saved: int | None = None

    def say(self, phase: Phase, text: str) -> None:
        """Journal a phase."""
        self.journal.emit(EventType.PHASE, phase=phase.value, text=text)

    def check_stop(self) -> None:
        """For the time before training.

        Raises:
            StopRequested: by a signal or a command.
        """
        self.desk.poll()
        if (request := self.desk.take_stop()) is not None:
            self.desk.answer(request, True, "training had not begun")
            raise StopRequested("stopped by the user before training began")
        if self.stop.event.is_set():
            raise StopRequested(self.stop.reason)


def start(
    root: Path, *, build_model: "BuildModel | None" = None, open_data: "OpenData | None" = None
) -> ExitCode:
    """Run the trainer in *root*, a run folder; returns the exit code, raises nothing.

    Args:
        root: ``<workspace>/runs/<run-id>``.
        build_model: instead of :func:`recaster_tui.training.models.build_model` (tests).
        open_data: instead of :func:`recaster_tui.training.data.open_data` (tests).
    """
    folder = RunFolder(root.resolve())
    stale_before = control_size(folder.control)
    try:
        read_run_spec(folder.spec)  # before a journal is made in a folder that is no run
        journal = JournalWriter(folder.journal)
    except (RecasterError, OSError) as error:
        # There is no journal that we may write, or another trainer writes it.
        failure = describe(error)
        sys.stderr.write(f"{failure.message}\n")
        return failure.exit_code
    desk = Desk(
        journal,
        ControlReader(folder.control, journal.acked, stale_before if journal.resumed else 0),
    )
    context = Context(folder, journal, desk, Heartbeat(journal, lambda: context.iteration))
    before = _install_signals(context.stop)
    context.heartbeat.start()
    try:
        return _train(context, build_model, open_data)
    finally:
        context.heartbeat.stop()
        journal.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _train(
    context: Context, build_model: "BuildModel | None", open_data: "OpenData | None"
) -> ExitCode:
    try:
        context.say(Phase.BUILDING, "loading PyTorch")
        from recaster_tui.training import process

        process.train(context, build_model, open_data)
        return ExitCode.OK
    except StopRequested as reason:
        context.desk.close("the run has ended")
        _done(context, Outcome.STOPPED, str(reason))
        return ExitCode.OK
    except BaseException as error:
        log.exception("the run has failed")
        failure = describe(error)
        with contextlib.suppress(Exception):  # the last words must not fail on one another
            context.desk.close("the run has failed")
        context.journal.emit(
            EventType.ERROR,
            code=failure.code,
            message=failure.message,
            hint=failure.hint,
            fatal=True,
        )
        _done(context, Outcome.FAILED, failure.message)
        return failure.exit_code


def _done(context: Context, outcome: Outcome, message: str) -> None:
    context.journal.emit(
        EventType.DONE,
        outcome=outcome.value,
        iteration=context.iteration,
        saved=context.saved,
        message=message,
    )


def _install_signals(stop: StopFlag) -> dict[signal.Signals, Any]:
    def on_signal(number: int, _: FrameType | None) -> None:
        stop.set(f"stopped by {signal.Signals(number).name}")

    before: dict[signal.Signals, Any] = {}
    with contextlib.suppress(ValueError):  # not the main thread: somebody runs us inside a test
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, on_signal)
        # The terminal that started us may go away; that is the point of being a process.
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return before

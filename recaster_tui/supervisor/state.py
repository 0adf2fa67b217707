"""What a run is doing, worked out from what the trainer said and whether it still lives.

Everything here is pure: :func:`advance` takes a status, one event (or none), the time and the
answer to "is the process alive?" and returns the next status.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from recaster_tui.protocol import Event, EventType, Outcome, Phase

SILENCE_SECONDS = 30.0
"""A live trainer says something every 5 s; silent for this long, it hangs."""

FIRST_WORD_SECONDS = 120.0
"""Importing torch from a cold network disk may take long: the first word may come later."""


class RunState(StrEnum):
    """The states of a run, each told apart from the others."""

    STARTING = "starting"
    TRAINING = "training"
    PAUSED = "paused"
    SAVING = "saving"
    STOPPING = "stopping"
    STOPPED = "stopped"  # it was asked to
    FINISHED = "finished"  # it reached its target
    FAILED = "failed"  # it said so, or its process is gone without a word
    LOST = "lost"  # nobody can be asked: link down, folder gone, other machine
    STALLED = "stalled"  # the process is there, but it says nothing

    @property
    def over(self) -> bool:
        """Whether the trainer has ended (it may be started again)."""
        return self in _OVER

    @property
    def live(self) -> bool:
        """Whether a trainer process is known or believed to exist."""
        return self not in _OVER


_OVER = frozenset({RunState.STOPPED, RunState.FINISHED, RunState.FAILED})

_PHASE_STATES = {
    Phase.TRAINING: RunState.TRAINING,
    Phase.PAUSED: RunState.PAUSED,
    Phase.SAVING: RunState.SAVING,
    Phase.STOPPING: RunState.STOPPING,
}

_OUTCOME_STATES = {
    Outcome.FINISHED: RunState.FINISHED,
    Outcome.STOPPED: RunState.STOPPED,
    Outcome.FAILED: RunState.FAILED,
}


@dataclass(frozen=True)
class Status:
    """A state with its reasons.

    ``said`` is the state by the trainer's own words, ``state`` the judgement after looking at
    silence and process. ``message`` says why, for failed, lost and stalled; after a fatal
    error event it holds that error. Times are unix seconds.
    """

    state: RunState = RunState.STARTING
    since: float = 0.0
    said: RunState = RunState.STARTING
    before_saving: RunState = RunState.TRAINING
    heard: float = 0.0
    spoken: bool = False
    text: str = ""
    text_at: float = 0.0
    error: str = ""
    message: str = ""


def _with(status: Status, **changes: Any) -> Status:
    """As ``dataclasses.replace``, at a sixth of its time: a long journal asks for it often."""
    new = object.__new__(Status)
    new.__dict__.update(status.__dict__, **changes)
    return new


def launched(now: float) -> Status:
    """The status of a run whose process was just started."""
    return Status(since=now, heard=now, text="starting the trainer")


def advance(status: Status, event: Event | None, now: float, alive: bool | None = True) -> Status:
    """The status after *event* (or, with None, after looking at clock and process).

    Args:
        status: where the run stood.
        event: the next journal event, or None to only judge silence and process.
        now: unix seconds; when old events are replayed, the event's own time.
        alive: whether the trainer's process exists; None when nobody can tell.
            Ask *before* reading the journal, so that the last words are heard first.
    """
    if event is not None:
        status = _hear(status, event, now)
    state, message = _judge(status, now, alive)
    since = status.since if state is status.state else now
    return _with(status, state=state, since=since, message=message)


def _hear(status: Status, event: Event, now: float) -> Status:
    status = _with(status, heard=now, spoken=True)
    said = status.said
    match event.type:
        case EventType.HELLO:
            return _with(
                status, said=RunState.STARTING, text="", error="", before_saving=RunState.TRAINING
            )
        case EventType.PHASE:
            new = _phase_state(str(event.data.get("phase", "")))
            if new is RunState.SAVING and said is not RunState.SAVING:
                status = _with(status, before_saving=said)
            return _with(status, said=new, text=str(event.data.get("text") or ""), text_at=now)
        case EventType.SAVED if said is RunState.SAVING:
            return _with(status, said=status.before_saving)
        case EventType.ITERATIONS if said is RunState.STARTING:
            return _with(status, said=RunState.TRAINING, text="")
        case EventType.ERROR if event.data.get("fatal"):
            return _with(status, error=str(event.data.get("message") or event.data.get("code")))
        case EventType.RESTORED:
            at = event.data.get("to_iteration")
            text = f"restored to iteration {at:,}" if isinstance(at, int) else "restored"
            return _with(status, said=RunState.STOPPED, text=text, error="")
        case EventType.DONE:
            message = str(event.data.get("message") or "")
            outcome = _outcome(str(event.data.get("outcome", "")))
            error = status.error or message if outcome is RunState.FAILED else ""
            return _with(status, said=outcome, text=message, error=error)
    return status


def _judge(status: Status, now: float, alive: bool | None) -> tuple[RunState, str]:
    if status.said.over:
        if status.said is RunState.FAILED:
            return status.said, status.error or "the trainer failed"
        return status.said, status.text
    if alive is None:
        return RunState.LOST, "the trainer cannot be asked"
    if not alive:
        return RunState.FAILED, status.error or "the trainer's process is gone without a last word"
    silence = now - status.heard
    if silence > (SILENCE_SECONDS if status.spoken else FIRST_WORD_SECONDS):
        return RunState.STALLED, f"the trainer is alive but silent for {silence:.0f} s"
    return status.said, ""


def _phase_state(phase: str) -> RunState:
    try:
        return _PHASE_STATES.get(Phase(phase), RunState.STARTING)
    except ValueError:
        return RunState.STARTING


def _outcome(outcome: str) -> RunState:
    try:
        return _OUTCOME_STATES[Outcome(outcome)]
    except ValueError:
        return RunState.FAILED

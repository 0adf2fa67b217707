"""Ending a trainer, also one that does not react: asked, then told, then killed.

The stop command first (a process stopped by SIGSTOP is woken for it), SIGTERM after the grace
time, SIGKILL after another one. Signals go to the process of the recorded pid *and* start time
and to nothing else, never to a name: see :meth:`Launcher.signal`.

A trainer that answers is never hurried: as long as it shows signs of life it may take minutes to
write a large model.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from recaster_tui.errors import EnvironmentProblem, RecasterError
from recaster_tui.protocol import CommandName, EventType, Outcome
from recaster_tui.supervisor.last_word import say_for_trainer
from recaster_tui.supervisor.launcher import ProcessId
from recaster_tui.supervisor.run import NoAnswerError, Run
from recaster_tui.supervisor.state import RunState

log = logging.getLogger(__name__)

GRACE_SECONDS = 30.0
LONGEST_SAVE_SECONDS = 900.0
"""A trainer that obeys may take this long to write its model."""
_SLOW_ITERATIONS = 4
_DEATH_SECONDS = 10.0
_EXIT_SECONDS = 15.0
_POLL = 0.1
_LEAVING = frozenset({RunState.SAVING, RunState.STOPPING})

Tell = Callable[[str], None]


class How(StrEnum):
    """What ended a trainer."""

    OVER = "over"  # it had ended before
    STOPPED = "stopped"  # it obeyed the stop command
    TERMINATED = "terminated"  # it obeyed SIGTERM
    KILLED = "killed"  # by SIGKILL


@dataclass(frozen=True)
class Unsaved:
    """What would be lost if the trainer were killed now.

    Attributes:
        iterations: trained since the last save.
        saved: iteration of the last save; 0 = none in this run.
        since: unix seconds of that save; 0 where unknown.
    """

    iterations: int
    saved: int
    since: float

    def __str__(self) -> str:
        if not self.iterations:
            return "nothing is lost: everything trained is saved"
        if not self.saved:
            return f"{self.iterations:,} iterations are lost: this run has saved nothing yet"
        return (
            f"{self.iterations:,} iteration{'s are' if self.iterations != 1 else ' is'} lost: "
            f"those after the last save, iteration {self.saved:,}"
        )


def unsaved(run: Run) -> Unsaved:
    """What is not on the disk, as far as the journal says."""
    facts = run.facts
    saved = facts.saved_iteration
    begun = saved or facts.start_iteration
    return Unsaved(max(0, run.iteration - begun), saved, facts.saved_at)


def grace_of(run: Run, least: float = GRACE_SECONDS) -> float:
    """Seconds in which this trainer should react: at least four of its iterations."""
    return max(least, _SLOW_ITERATIONS * run.ms / 1000.0)


async def end_run(
    run: Run,
    *,
    save: bool = True,
    grace: float | None = None,
    ask: bool = True,
    tell: Tell | None = None,
) -> How:
    """End the trainer of *run*, whatever it takes; returns when its process is gone.

    Args:
        run: may be followed by somebody else at the same time.
        save: whether it shall save first. SIGTERM always saves.
        grace: seconds to react to the command, and again to SIGTERM; by default :func:`grace_of`.
        ask: False begins with SIGTERM; without *save*, too, with SIGKILL.
        tell: told of each step in a sentence.

    Raises:
        EnvironmentProblem: its process is not known, runs elsewhere, is another user's, or the
            kernel does not let it die (waiting for a disk or a device).
        RecasterError: it answered, and refused; or another trainer was started on the run
            meanwhile, which is left alone.
    """
    await run.poll()
    say: Tell = tell or (lambda _: None)
    wait = grace_of(run) if grace is None else max(0.0, grace)
    if run.state.over:
        return await _end_leftover(run, wait, say)
    if await run.process_alive() is False:
        await run.poll()
        return How.OVER
    target = run.process
    await _wake(run)
    if ask and await _by_command(run, save, wait, say):
        return How.STOPPED
    if (ask or save) and await _by_term(run, target, wait, say, asked=ask):
        return How.TERMINATED
    waited = wait * (int(ask) + int(ask or save))
    why = f": it had not reacted for {waited:g} s" if waited else ""
    return await _by_kill(run, target, say, why)


async def _by_command(run: Run, save: bool, wait: float, say: Tell) -> bool:
    say("asking it to stop" + ("" if save else " without saving"))
    try:
        ack = await run.command(CommandName.STOP, save=save, timeout=max(wait, 2 * _POLL))
    except NoAnswerError:
        return run.state.over and await _gone(run, _EXIT_SECONDS)
    if not ack.ok and not run.state.over:  # at its very end it refuses everything
        raise RecasterError(f"the trainer refused to stop: {ack.message}", where=run.run_id)
    return await obeyed(run, wait, say)


async def _by_term(
    run: Run, target: ProcessId | None, wait: float, say: Tell, *, asked: bool
) -> bool:
    say(f"no answer within {wait:g} s: SIGTERM" if asked else "SIGTERM: it saves and ends")
    if not await _send(run, target, signal.SIGTERM):
        await run.poll()
        return True
    await _wake(run)
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        await run.poll()
        if run.state.over or run.status.said is RunState.STOPPING:
            return await obeyed(run, wait, say)
        await asyncio.sleep(_POLL)
    return False


async def _by_kill(run: Run, target: ProcessId | None, say: Tell, why: str = "") -> How:
    await run.poll()
    lost = unsaved(run)
    over = run.state.over
    say(f"SIGKILL; {lost}")
    if not await _send(run, target, signal.SIGKILL):
        await run.poll()
        return How.TERMINATED
    if not await _gone(run, _DEATH_SECONDS):
        assert run.process is not None
        raise EnvironmentProblem(
            f"process {run.process.pid} was killed but is still there: it waits for a disk, a "
            "network drive or a device",
            where=run.folder.root,
            hint="it ends when that answers; otherwise only a restart of the machine helps",
        )
    if not over:
        lost = unsaved(run)  # it may have trained and saved until the very last
        await asyncio.to_thread(
            say_for_trainer,
            run.folder,
            EventType.DONE,
            outcome=Outcome.STOPPED.value,
            iteration=run.iteration,
            saved=lost.saved or None,
            message=f"killed by SIGKILL{why}; {lost}",
            killed=True,
        )
    await run.poll()
    return How.KILLED


async def _end_leftover(run: Run, wait: float, say: Tell) -> How:
    """It has said its last word; its process shall not hold the model any longer."""
    if run.process is None or not await run.process_alive() or await _gone(run, wait):
        return How.OVER
    target = run.process
    say("it has said goodbye, but its process is still there: SIGTERM")
    if not await _send(run, target, signal.SIGTERM) or await _gone(run, min(wait, _EXIT_SECONDS)):
        return How.TERMINATED
    return await _by_kill(run, target, say)


async def obeyed(run: Run, wait: float = GRACE_SECONDS, tell: Tell | None = None) -> bool:
    """Wait for a trainer that has agreed to stop; False where it falls silent on its way out."""
    deadline = time.monotonic() + LONGEST_SAVE_SECONDS
    told = False
    while not run.state.over:
        silent = time.time() - run.status.heard
        if time.monotonic() > deadline or silent > max(wait, 2 * _EXIT_SECONDS):
            return False
        if tell is not None and not told and run.status.said in _LEAVING:
            tell("it is saving, then it ends")
            told = True
        await asyncio.sleep(_POLL)
        await run.poll()
    return await _gone(run, _EXIT_SECONDS)


async def _gone(run: Run, seconds: float) -> bool:
    """Whether its process ends within *seconds*."""
    deadline = time.monotonic() + seconds
    while await run.process_alive():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL)
    await run.poll()
    return True


async def _wake(run: Run) -> None:
    """SIGCONT: a process stopped by SIGSTOP hears nothing else; for others it means nothing."""
    try:
        await run.signal(signal.SIGCONT)
    except EnvironmentProblem as error:
        log.info("cannot wake the trainer of %s: %s", run.run_id, error.message)


async def _send(run: Run, target: ProcessId | None, number: signal.Signals) -> bool:
    """Signal the trainer that was to be ended; False where it is gone."""
    if run.process is None:
        raise EnvironmentProblem(
            "nobody knows the trainer's process",
            where=run.folder.process,
            hint="it stops by itself as soon as it reads the stop command",
        )
    if target is not None and run.process.pid != target.pid:
        # The old one has ended, and the run was started again: that one hears its commands.
        raise RecasterError(
            f"another trainer of this run was started meanwhile, process {run.process.pid}: "
            "it is not signalled",
            where=run.run_id,
            hint="stop that one, if it shall end, too",
        )
    sent = await run.signal(number)
    if not sent and await run.process_alive():
        # Alive by its command line, but its start time is not the recorded one.
        raise EnvironmentProblem(
            f"process {run.process.pid} looks like the trainer, but its start time is another "
            "one than recorded (was the clock set?): it is not signalled",
            where=run.folder.root,
            hint=f"if it is the trainer (ps -fp {run.process.pid}): kill {run.process.pid}",
        )
    log.info("sent %s to process %d of %s", number.name, run.process.pid, run.run_id)
    return sent

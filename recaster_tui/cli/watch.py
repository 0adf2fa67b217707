"""Showing a run as one progress line, as plain lines, or as the lines of its journal."""

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from recaster_tui.cli.words import duration
from recaster_tui.errors import ExitCode, RecasterError
from recaster_tui.protocol import CommandName
from recaster_tui.supervisor import Notice, Run, RunState, Supervisor
from recaster_tui.supervisor.verdict import Kind, held_out_words

PLAIN_SECONDS = 5.0
_REPEAT_SECONDS = 30.0
_STOP_SECONDS = 150.0

_EXIT_OF_CODE = {
    "bad-input": ExitCode.BAD_INPUT,
    "bad-options": ExitCode.BAD_INPUT,
    "too-few-faces": ExitCode.BAD_INPUT,
    "environment": ExitCode.ENVIRONMENT,
    "model-locked": ExitCode.ENVIRONMENT,
    "oom": ExitCode.ENVIRONMENT,
    "disk-full": ExitCode.ENVIRONMENT,
    "damaged": ExitCode.DAMAGED,
}


class View(Protocol):
    """One way to show a run."""

    def show(self, run: Run) -> None:
        """Called after each change, and at least every quarter of a second."""

    def say(self, text: str) -> None:
        """A sentence of ours."""

    def close(self) -> None:
        """Give the terminal back."""


class PlainView:
    """Lines for a log: every few seconds, and at each new state."""

    def __init__(self) -> None:
        self._time = 0.0
        self._state: RunState | None = None
        self._text = ""
        self._notices = 0

    def show(self, run: Run) -> None:
        """See :class:`View`."""
        for notice in unseen_notices(run, self._notices):
            self.say(f"{notice.level}: {notice.message}")
        self._notices = run.facts.notice_count
        now, text = time.monotonic(), describe(run)
        wait = _REPEAT_SECONDS if text == self._text else PLAIN_SECONDS
        if run.state is self._state and now - self._time < wait:
            return
        self._state, self._time, self._text = run.state, now, text
        self.say(f"{run.state.value:<8}  {text}".rstrip())

    def say(self, text: str) -> None:
        """See :class:`View`."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def close(self) -> None:
        """See :class:`View`."""


class JsonView:
    """The journal's own lines, whole and in order."""

    def __init__(self, run: Run, *, from_now: bool) -> None:
        path = run.folder.journal
        self._offset = path.stat().st_size if from_now and path.exists() else 0

    def show(self, run: Run) -> None:
        """See :class:`View`."""
        try:
            with run.folder.journal.open("rb") as file:
                file.seek(self._offset)
                raw = file.read(run.journal_bytes - self._offset)
        except OSError:
            return
        whole = raw[: raw.rfind(b"\n") + 1]
        self._offset += len(whole)
        if whole:
            sys.stdout.buffer.write(whole)
            sys.stdout.buffer.flush()

    def say(self, text: str) -> None:
        """See :class:`View`."""
        sys.stderr.write(text + "\n")

    def close(self) -> None:
        """See :class:`View`."""


class LineView:
    """One line of a terminal, rewritten in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._console = Console()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[state]}", style="bold"),
            BarColumn(bar_width=20),
            TextColumn("{task.description}"),
            console=self._console,
            refresh_per_second=4,
            transient=False,
        )
        self._task = self._progress.add_task("", total=None, state="starting")
        self._progress.start()
        self._notices = 0

    def show(self, run: Run) -> None:
        """See :class:`View`."""
        for notice in unseen_notices(run, self._notices):
            self.say(f"{notice.level}: {notice.message}")
        self._notices = run.facts.notice_count
        current, total = run.iteration, run.target_iterations
        if run.state is RunState.STARTING and run.facts.progress is not None:
            current, total = run.facts.progress.current, run.facts.progress.total
        self._progress.update(
            self._task,
            completed=min(current, total) if total else 0,
            total=total or None,
            description=describe(run).replace("[", "\\["),
            state=run.state.value,
        )

    def say(self, text: str) -> None:
        """See :class:`View`."""
        self._console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """See :class:`View`."""
        self._progress.stop()


def unseen_notices(run: Run, seen: int) -> list[Notice]:
    """The warnings and errors after the first *seen* ones, as far as they are kept.

    Not the one that ended the run: :func:`outcome` tells of it.
    """
    new = run.facts.notice_count - seen
    notices = run.notices[-new:] if new > 0 else []
    fatal = ("error", run.status.error)  # said before the run counts as failed
    return [n for n in notices if (n.level, n.message) != fatal]


def describe(run: Run) -> str:
    """The figures of one run in one line."""
    if run.state is RunState.FAILED:  # outcome() says why, once
        return f"iteration {run.iteration:,}" if run.iteration else ""
    if run.state is RunState.STARTING or not run.iteration:
        return run.phase_text
    target = f"/{run.target_iterations:,}" if run.target_iterations else ""
    parts = [f"iteration {run.iteration:,}{target}"]
    if run.loss is not None:
        src, dst = run.loss
        # XSeg has a single loss; the other is NaN.
        parts += [f"src {src:.4f}", f"dst {dst:.4f}"] if dst == dst else [f"loss {src:.4f}"]
    if run.state in (RunState.TRAINING, RunState.SAVING):
        parts.append(f"{run.its:.2f} it/s")
        if run.eta_seconds is not None:
            parts.append(f"eta {duration(run.eta_seconds)}")
        if run.verdict.kind is not Kind.TOO_EARLY:
            parts.append(run.verdict.kind.value)
    elif run.message and run.message != run.trouble:
        parts.append(run.message)
    if run.trouble:
        parts.append(f"{run.trouble_title}: {run.trouble}")
    return "  ".join(parts)


def summary(run: Run) -> str:
    """How the training did, with the figures behind it; several lines."""
    verdict = run.verdict
    figures = (*verdict.reasons, *held_out_words(run.measures))
    return "\n  ".join((f"{verdict.kind.value}: {verdict.text}", *figures))


def make_view(run: Run, *, as_json: bool, from_now: bool = False) -> View:
    """What fits the output."""
    if as_json:
        return JsonView(run, from_now=from_now)
    return LineView() if sys.stdout.isatty() else PlainView()


async def watch(run: Run, view: View, *, interrupt_stops: bool) -> int:
    """Show *run* until it ends; the exit code of the command.

    With *interrupt_stops* the first ctrl-c (or SIGTERM) asks the trainer to stop and save, a
    second one leaves; without, the first one leaves. Leaving never touches the trainer.
    """
    interrupts = 0
    woken = asyncio.Event()
    stopping: asyncio.Task[Any] | None = None

    def interrupt() -> None:
        nonlocal interrupts
        interrupts += 1
        woken.set()

    restore = _on_interrupt(interrupt)
    try:
        while True:
            view.show(run)
            if run.state.over:
                if not isinstance(view, JsonView) and run.verdict.kind is not Kind.TOO_EARLY:
                    view.say(summary(run))
                break
            if interrupts and not interrupt_stops:
                view.say(f"the run goes on: recaster attach {run.run_id}")
                return ExitCode.OK
            if interrupts and stopping is None:
                view.say("stopping: the trainer saves first (ctrl-c again leaves at once)")
                stopping = asyncio.create_task(_ask_to_stop(run))
            if interrupts > 1:
                view.say("left; the trainer ends by itself after saving")
                return ExitCode.INTERRUPTED
            waits = [asyncio.create_task(woken.wait()), asyncio.create_task(run.changed.wait())]
            await asyncio.wait(waits, timeout=0.25, return_when=asyncio.FIRST_COMPLETED)
            for task in waits:
                task.cancel()
            woken.clear()
    finally:
        restore()
        if stopping is not None:
            stopping.cancel()
        view.close()
    return outcome(run)


def outcome(run: Run) -> int:
    """The exit code for a run that is over; a failure is explained."""
    if run.state is RunState.FINISHED:
        return ExitCode.OK
    if run.state is RunState.STOPPED:
        return ExitCode.INTERRUPTED
    fatal = next((n for n in reversed(run.notices) if n.level == "error"), None)
    same = fatal is not None and fatal.message == run.error
    hint = fatal.hint if fatal is not None and same and fatal.hint else None
    error = RecasterError(
        run.error or f"the run is {run.state.value}", where=run.folder.log, hint=hint
    )
    if fatal is not None and same:
        error.exit_code = _EXIT_OF_CODE.get(fatal.code, ExitCode.FAILED)
    raise error


async def first_word(run: Run, seconds: float = 60.0) -> None:
    """Wait until the trainer has spoken or ended, to tell a false start at once."""
    deadline = time.monotonic() + seconds
    while not (run.state.over or run.facts.hellos) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)


def in_supervisor(action: Callable[[Supervisor], Any]) -> int:
    """Run an async *action* with a supervisor of its own; a queue without a keeper gets one."""
    from recaster_tui.cli.queue_run import wake_quietly

    wake_quietly()

    async def whole() -> int:
        async with Supervisor() as supervisor:
            return int(await action(supervisor) or 0)

    return asyncio.run(whole())


async def _ask_to_stop(run: Run) -> None:
    try:
        await run.command(CommandName.STOP, save=True, timeout=_STOP_SECONDS)
    except RecasterError as error:
        sys.stderr.write(f"error: {error}\n")


def _on_interrupt(callback: Callable[[], None]) -> Callable[[], None]:
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, callback)

    def restore() -> None:
        for number in signals:
            loop.remove_signal_handler(number)

    return restore

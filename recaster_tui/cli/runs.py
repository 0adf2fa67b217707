"""Commands on runs, whoever started them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recaster_tui.cli.training import assigned
from recaster_tui.cli.watch import first_word, in_supervisor, make_view, outcome, watch
from recaster_tui.errors import BadInputError, ExitCode, RecasterError
from recaster_tui.protocol import CommandName
from recaster_tui.supervisor import Run, RunState, Supervisor
from recaster_tui.supervisor.ending import How, end_run
from recaster_tui.workspace import open_workspace

_ACK_SECONDS = 60.0


def attach_run(text: str, *, as_json: bool) -> int:
    """Watch a run until it ends."""

    async def action(supervisor: Supervisor) -> int:
        run = await find(supervisor, text)
        ended = run.state.over
        code = await watch(run, make_view(run, as_json=as_json), interrupt_stops=False)
        # That others stopped it, or that it ended long ago, is no failure of the looking.
        return ExitCode.OK if ended or code == ExitCode.INTERRUPTED else code

    return in_supervisor(action)


def stop_run(text: str, *, save: bool, wait: bool, grace: float | None, force: bool) -> int:
    """Ask a run to stop, and wait for it; one that does not react is ended."""
    if grace is not None and not 0 <= grace <= 86_400:
        raise BadInputError(f"a grace time of {grace:g} s", hint="give 0 to 86400 seconds")
    if force and not wait:
        raise BadInputError("--force waits for the end", hint="leave --no-wait out")

    async def action(supervisor: Supervisor) -> int:
        run = await find(supervisor, text)
        if run.state.over and not await run.process_alive():
            raise BadInputError(
                f"run {run.run_id} is not running: it is {run.state.value}",
                hint="recaster runs --live lists those that are",
            )
        if not wait:
            ack = await run.command(CommandName.STOP, save=save, timeout=_ACK_SECONDS)
            if not ack.ok:
                raise RecasterError(f"the trainer refused: {ack.message}", where=run.run_id)
            sys.stdout.write(f"{run.run_id} is stopping\n")
            return 0
        said = list[str]()

        def tell(step: str) -> None:
            if said or force:  # that it is asked first is no news
                sys.stderr.write(f"{run.run_id}: {step}\n")
            said.append(step)

        how = await end_run(run, save=save, grace=grace, ask=not force, tell=tell)
        if how is How.KILLED:
            sys.stdout.write(f"{run.run_id} at {run.iteration:,} {run.message}\n")
            return 0
        if run.state is RunState.FAILED:
            return outcome(run)
        saved = f", saved at {run.facts.saved_iteration:,}" if run.facts.saved_iteration else ""
        sys.stdout.write(f"{run.run_id} {run.state.value} at {run.iteration:,}{saved}\n")
        return 0

    return in_supervisor(action)


def command_run(text: str, name: str, **args: Any) -> int:
    """Send one command and tell the answer."""

    async def action(supervisor: Supervisor) -> int:
        run = await find(supervisor, text)
        await _command(run, name, **args)
        return 0

    return in_supervisor(action)


def resume_run(
    text: str, *, iterations: int | None, assignments: Sequence[str], watch: bool
) -> int:
    """Let a paused run go on, or start an ended one again."""

    async def action(supervisor: Supervisor) -> int:
        run = await find(supervisor, text)
        values = assigned(run.spec.model_class, assignments)
        if run.state.live and run.state is not RunState.LOST:
            if values or iterations is not None:
                raise BadInputError(
                    f"run {run.run_id} is {run.state.value}; its options are given at its start",
                    hint="stop it first, or change live options in the app",
                )
            paused = run.state is RunState.PAUSED
            await _command(run, CommandName.RESUME, done=_goes_on(run) if paused else "")
        else:
            run = await supervisor.resume(
                run.run_id, changes=values or None, target_iterations=iterations
            )
            await first_word(run)
            if run.state is RunState.FAILED:
                return outcome(run)
            sys.stdout.write(f"{run.run_id} started again at iteration {run.iteration:,}\n")
        if watch:
            return await _watch(run)
        return 0

    return in_supervisor(action)


async def find(supervisor: Supervisor, text: str) -> Run:
    """The run meant by *text*: id, beginning, ending, run folder, or ``last``."""
    folder = Path(text)
    if (folder / "run.toml").is_file():
        folder = folder.resolve()
        await supervisor.adopt(open_workspace(folder.parent.parent, must_look_right=False))
        text = folder.name
    return await supervisor.attach(text)


async def _watch(run: Run) -> int:
    return await watch(run, make_view(run, as_json=False), interrupt_stops=False)


def _goes_on(run: Run) -> str:
    target = f" of {run.target_iterations:,}" if run.target_iterations else ""
    return f"training goes on at iteration {run.iteration:,}{target}"


async def _command(run: Run, name: str, *, done: str = "", **args: Any) -> None:
    ack = await run.command(name, timeout=_ACK_SECONDS, **args)
    if not ack.ok:
        raise RecasterError(f"the trainer refused: {ack.message}", where=run.run_id)
    sys.stdout.write(f"{run.run_id}: {ack.message or done or 'done'}\n")

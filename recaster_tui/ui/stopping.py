"""Stopping a run from the app: it is asked; one that does not react may be ended.

Nobody is killed without being asked for it: the question says what would be lost.
"""

import logging
from typing import TYPE_CHECKING

from recaster_tui.errors import RecasterError
from recaster_tui.protocol import CommandName
from recaster_tui.supervisor import NoAnswerError, RunState
from recaster_tui.supervisor.ending import How, end_run, grace_of, unsaved
from recaster_tui.supervisor.run import NotAskedError
from recaster_tui.ui import words
from recaster_tui.ui.screens.dialogs import Confirm

if TYPE_CHECKING:
    from recaster_tui.supervisor import Run
    from recaster_tui.ui.app import RecasterApp

log = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
_MUTE = frozenset({RunState.STALLED, RunState.LOST})


def answer_seconds(run: "Run") -> float:
    """How long the app waits for an answer before it offers more: two iterations at least."""
    return max(ANSWER_SECONDS, 2.0 * run.ms / 1000.0)


async def stop(app: "RecasterApp", run: "Run", *, save: bool = True) -> bool:
    """Ask *run* to stop; offer to end it where it does not react. Call it in a worker.

    Returns:
        whether it ends.
    """
    name = run.spec.model_name
    if run.run_id in app.ending:
        app.notify("it is being ended already", title=name, timeout=4)
        return False
    if run.state not in _MUTE:
        app.notify("asking it …", title="Stop", timeout=answer_seconds(run) + 1)
        try:
            ack = await run.command(CommandName.STOP, save=save, timeout=answer_seconds(run))
        except NotAskedError as error:  # a signal needs no room on the disk
            app.notify(str(error), title="Stop", severity="warning", timeout=10)
        except NoAnswerError:
            pass
        except RecasterError as error:
            app.notify(str(error), title="Stop", severity="error", timeout=10)
            return False
        else:
            if ack.ok:
                done = "saving, then it ends" if save else "ending without a save"
                app.notify(ack.message or done, title="Stop", timeout=4)
            else:
                app.notify(ack.message, title="Stop was refused", severity="error", timeout=10)
            return ack.ok
        if run.state.over:
            return True
    if not await offer(app, [run]):
        return False
    return await end(app, run, save=save)


def ending_text(runs: "list[Run]") -> str:
    """What happened, what would be done, and what it costs."""
    parts = []
    for run in runs:
        process = f"process {run.process.pid}" if run.process else "its process is not known"
        silent = f"; {run.message}" if run.message else ""
        parts.append(f"{run.spec.model_name} ({process}, {run.state.value}{silent})")
    lost = "\n".join(f"  {run.spec.model_name}: {unsaved(run)}" for run in runs)
    one = len(runs) == 1
    grace = words.duration(max(grace_of(run) for run in runs))
    asked = (
        f"{'It was' if one else 'They were'} asked to stop, and {'does' if one else 'do'} so as "
        "soon as the question is read. "
        if all(run.state not in _MUTE for run in runs)
        else ""
    )
    return (
        f"{'; '.join(parts)} {'does' if one else 'do'} not answer.\n\n"
        f"{asked}Ended now, {'it is' if one else 'they are'} woken (if suspended), asked "
        f"{'again' if asked else 'to stop'}, told by SIGTERM to save and end after {grace}, and "
        f"killed after another {grace}. If it comes to that:\n\n{lost}"
    )


async def offer(app: "RecasterApp", runs: "list[Run]") -> bool:
    """Ask whether trainers that do not react shall be ended."""
    title = "The trainer does not react" if len(runs) == 1 else "Trainers do not react"
    answer = await app.push_screen_wait(
        Confirm(title, ending_text(runs), yes="End it" if len(runs) == 1 else "End them", no="Wait")
    )
    return bool(answer)


async def end(app: "RecasterApp", run: "Run", *, save: bool = True) -> bool:
    """End *run* whatever it takes, and say so; whether it is over."""
    name = run.spec.model_name
    if run.run_id in app.ending:
        return False
    app.ending.add(run.run_id)
    grace = grace_of(run)

    def tell(step: str) -> None:
        app.notify(step, title=name, timeout=grace + 5)

    try:
        how = await end_run(run, save=save, grace=grace, tell=tell)
    except RecasterError as error:
        app.notify(str(error), title=f"{name} cannot be ended", severity="error", timeout=15)
        return False
    finally:
        app.ending.discard(run.run_id)
    if how is How.KILLED:
        text = run.message or "killed by SIGKILL"
        app.notify(text, title=f"{name} is ended", severity="warning", timeout=12)
        log.warning("%s: %s", run.run_id, text)
    else:
        saved = run.facts.saved_iteration
        text = f"it has ended, saved at iteration {words.count(saved)}" if saved else "it has ended"
        app.notify(text, title=name, timeout=6)
    return True


async def stop_unsaved(app: "RecasterApp", run: "Run") -> bool:
    """End without a save, after asking."""
    lost = unsaved(run)
    name = run.spec.model_name
    text = (
        f"{name} is at iteration {words.count(run.iteration)}. It ends at the next iteration "
        f"without saving: {lost}.\n\nx stops it and saves first."
    )
    title = "Stop without saving?"
    if not await app.push_screen_wait(Confirm(title, text, yes="Stop without saving")):
        return False
    return await stop(app, run, save=False)

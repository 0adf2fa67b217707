"""Leaving while something trains."""

import asyncio
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button

from recaster_tui.errors import RecasterError
from recaster_tui.jobs import running_jobs
from recaster_tui.protocol import CommandName
from recaster_tui.supervisor import NoAnswerError, RunState
from recaster_tui.supervisor.ending import obeyed
from recaster_tui.ui import stopping, words
from recaster_tui.ui.queue_watch import pause_queue, waiting_text
from recaster_tui.ui.screens.dialogs import Dialog, DialogText

if TYPE_CHECKING:
    from recaster_tui.supervisor import Run
    from recaster_tui.ui.app import RecasterApp

LEAVE, STOP, CANCEL = "leave", "stop", "cancel"


def ask_and_quit(app: "RecasterApp", live: "list[Run]") -> None:
    """Ask what becomes of the living runs, do it, and end the app."""
    if isinstance(app.screen, QuitScreen):
        return

    def answered(answer: str | None) -> None:
        if answer == LEAVE:
            app.exit(0, message=farewell(app))
        elif answer == STOP:
            app.run_worker(_stop_and_exit(app), exit_on_error=False)

    waiting = 0 if app.queue.paused else len(app.queue.waiting())
    app.push_screen(QuitScreen(live, waiting), answered)


def farewell(app: "RecasterApp") -> Text | None:
    """For the shell: how to see again what goes on; nothing where all has ended meanwhile."""
    live = app.supervisor.live_runs()
    lines = [f"training goes on: recaster attach {run.run_id}" for run in live]
    if app.workspace is not None:
        root = app.workspace.root
        lines += [f"{job} goes on: recaster {root} shows it" for job in running_jobs(root)]
    if waiting := waiting_text(app.queue):
        lines.append(waiting)
    return Text("\n".join(lines), no_wrap=True, overflow="ignore") if lines else None


async def _stop_and_exit(app: "RecasterApp") -> None:
    """Stop every run, then leave; trainers that do not react may be ended, or left."""
    runs = app.supervisor.live_runs()
    try:
        waiting = pause_queue(app.queue)  # or the next one would be started instead
    except RecasterError as error:
        app.notify(str(error), title="Queue", severity="error", timeout=12)
        return
    queued = "; the queue is paused" if waiting else ""
    app.notify(f"saving, then the window closes{queued}", title="Stopping", timeout=30)
    answers = await asyncio.gather(*(_ask_to_stop(run) for run in runs), return_exceptions=True)
    mute: list[Run] = []
    for run, answer in zip(runs, answers, strict=True):
        if isinstance(answer, NoAnswerError):
            mute.append(run)
        elif isinstance(answer, BaseException) and not run.state.over:
            app.notify(str(answer), title=run.spec.model_name, severity="error", timeout=12)
            return
    if mute and not await _end_mute(app, mute):
        return
    listening = [run for run in runs if run not in mute]
    ended = await asyncio.gather(*(obeyed(run) for run in listening))
    # One may fall silent in the midst of its save.
    mute = [run for run, over in zip(listening, ended, strict=True) if not over]
    if mute and not await _end_mute(app, mute):
        return
    app.exit(0, message=farewell(app))


async def _ask_to_stop(run: "Run") -> None:
    if run.state in (RunState.STALLED, RunState.LOST):
        raise NoAnswerError(f"run {run.run_id} is {run.state.value}")
    ack = await run.command(CommandName.STOP, save=True, timeout=stopping.answer_seconds(run))
    if not ack.ok and not run.state.over:
        raise RecasterError(f"the trainer refused to stop: {ack.message}")


async def _end_mute(app: "RecasterApp", mute: "list[Run]") -> bool:
    if not await stopping.offer(app, mute):
        return False
    return all(await asyncio.gather(*(stopping.end(app, run) for run in mute)))


class QuitScreen(Dialog[str]):
    """Leave running, stop and save, or stay."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", f"choose('{LEAVE}')", "Leave running", id="quit-leave"),
        Binding("s", f"choose('{STOP}')", "Stop and save", id="quit-stop"),
        Binding("escape,c,n", f"choose('{CANCEL}')", "Stay", id="quit-cancel"),
        Binding("left,h", "app.focus_previous", "Previous", show=False, id="quit-previous"),
        Binding("right", "app.focus_next", "Next", show=False, id="quit-next"),
    ]

    def __init__(self, runs: "list[Run]", waiting: int = 0) -> None:
        super().__init__()
        self._runs = runs
        self._queue = (
            f"{waiting} in the queue: started in turn when left running; stopping pauses the queue."
            if waiting
            else ""
        )

    def compose(self) -> ComposeResult:
        """What runs, and three buttons."""
        with Vertical(classes="dialog", id="quit-dialog") as dialog:
            dialog.border_title = "Quit"
            lines = [
                f"{run.spec.model_name} ({run.spec.model_class.title}), "
                f"{run.state}, iteration {words.count(run.iteration)}"
                for run in self._runs[:6]
            ]
            what = "A model is" if len(lines) == 1 else f"{len(self._runs)} models are"
            yield DialogText(
                f"{what} being trained:\n\n"
                + "\n".join(f"  {line}" for line in lines)
                + "\n\nLeft running, it goes on without this window; recaster shows it again."
                + (f"\n\n{self._queue}" if self._queue else "")
            )
            with Horizontal(id="quit-buttons", classes="dialog-buttons"):
                yield Button("Leave running (l)", variant="primary", id=LEAVE)
                yield Button("Stop and save (s)", variant="warning", id=STOP)
                yield Button("Cancel (esc)", id=CANCEL)

    def on_mount(self) -> None:
        """The harmless choice first."""
        self.query_one(f"#{LEAVE}").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button."""
        self.dismiss(event.button.id or CANCEL)

    def action_choose(self, answer: str) -> None:
        """A key."""
        self.dismiss(answer)

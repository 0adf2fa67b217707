"""The keys of the Train screen, when each makes sense, and the commands behind them."""

from typing import Any

from textual.binding import Binding, BindingType

from recaster_tui.errors import RecasterError
from recaster_tui.protocol import CommandName
from recaster_tui.supervisor import Run, RunState
from recaster_tui.ui import words
from recaster_tui.ui.screens.model_keys import ModelKeys, answer_timeout, model_bindings

TRAIN_KEYS: list[BindingType] = [
    Binding("s", "start", "Start", id="train-start", tooltip="Train with this configuration"),
    Binding("s", "start_again", "Resume", id="train-start-again", tooltip="Go on with this run"),
    Binding("p", "pause", "Pause", id="train-pause", tooltip="Keep the model in memory, wait"),
    Binding("p", "go_on", "Resume", id="train-resume", tooltip="Go on after a pause"),
    Binding("x", "stop", "Stop", id="train-stop", tooltip="Save and end the run"),
    Binding("w", "save", "Save", id="train-save", tooltip="Save the model now"),
    *model_bindings("train"),
    Binding("o", "load", "Load config", id="train-load", tooltip="Take a starting point"),
    Binding("space,full_stop", "view(1)", "View", id="train-view", tooltip="Next preview view"),
    # A priority key: whatever follows it in the same burst must already find the filter.
    Binding("slash", "filter", "Filter", id="form-filter", tooltip="Find an option", priority=True),
    Binding("f", "full", "Full", id="train-full", tooltip="Preview on the whole screen"),
    Binding("r", "range", "Range", id="train-range", tooltip="Chart: all, 50k, 10k, 1k"),
    Binding("n", "new", "New model", id="train-new", tooltip="Leave this run, configure anew"),
    Binding(
        "Q",
        "queue",
        "Add to the queue",
        show=False,
        id="train-queue",
        tooltip="Train this configuration when its turn comes",
    ),
    Binding("shift+space,comma", "view(-1)", "Previous view", show=False, id="train-view-back"),
    Binding("P", "preview", "New preview", show=False, id="train-preview"),
    Binding("y", "log", "Logarithmic loss axis", show=False, id="train-log"),
    Binding("e", "smooth", "Smoothing of the curve", show=False, id="train-smooth"),
    Binding("left_square_bracket", "time(-1)", "Older preview", show=False, id="train-older"),
    Binding("right_square_bracket", "time(1)", "Newer preview", show=False, id="train-newer"),
    Binding("left_curly_bracket", "time_to(0)", "First preview", show=False, id="train-oldest"),
    Binding("right_curly_bracket", "time_to(-1)", "Newest preview", show=False, id="train-newest"),
    Binding(
        "a",
        "play",
        "Play the previews",
        show=False,
        id="train-play",
        tooltip="Go through the previews from the oldest to the newest; again stops",
    ),
    Binding(
        "i", "verdict", "Is it done?", show=False, id="train-verdict", tooltip="Verdict and figures"
    ),
    Binding("c", "form", "Hide or show the configuration", show=False, id="train-form"),
    Binding(
        "greater_than_sign",
        "run(1)",
        "Next living run",
        show=False,
        id="train-next-run",
        tooltip="Each keeps its own panel, chart, preview and form",
    ),
    Binding(
        "less_than_sign", "run(-1)", "Previous living run", show=False, id="train-previous-run"
    ),
    Binding("tab", "pane(1)", "Next panel", show=False, id="train-next-panel"),
    Binding("shift+tab", "pane(-1)", "Previous panel", show=False, id="train-previous-panel"),
    Binding("escape", "leave_full", "Leave full screen", show=False, id="train-leave-full"),
]

RUN_KEYS = frozenset(
    f"train-{name}"
    for name in ("start", "start-again", "pause", "resume", "stop", "save", "backup")
)


def allowed(action: str, run: Run | None) -> bool:
    """Whether *action* makes sense for the run that is shown."""
    state = run.state if run is not None else None
    live = state is not None and state.live
    match action:
        case "start" | "start_again" | "load":
            return not live
        case "pause":
            return live and state is not RunState.PAUSED
        case "go_on":
            return state is RunState.PAUSED
        case "stop" | "stop_unsaved" | "save" | "backup" | "preview":
            return live
        case "new" | "verdict":
            return run is not None
        case "view" | "time" | "time_to" | "play" | "full":
            return run is not None and bool(run.previews)
        case "range" | "log" | "smooth":
            return run is not None and len(run.losses) > 0
    return True


class RunCommands(ModelKeys):
    """Actions that ask the shown run's trainer for something and say how it answered."""

    async def kept_run(self) -> Run | None:
        """The run that is shown."""
        return self.recaster.current_run

    def _ask(self, name: CommandName, done: str, **args: Any) -> None:
        run = self.recaster.current_run
        if run is not None and run.state.live:
            self.run_worker(self._command(run, name, done, **args), exit_on_error=False)

    async def _command(self, run: Run, name: CommandName, done: str, **args: Any) -> bool:
        try:
            ack = await run.command(name, timeout=answer_timeout(run, name), **args)
        except RecasterError as error:
            self.notify(str(error), title=str(name), severity="error", timeout=10)
            return False
        if ack.ok:
            text = words.answer(ack.message) or done
            self.notify(text, title=str(name).capitalize(), timeout=4)
        else:
            self.notify(ack.message, title=f"{name} was refused", severity="error", timeout=10)
        self.tick()
        return ack.ok

    def action_pause(self) -> None:
        """Wait at the next iteration."""
        self._ask(CommandName.PAUSE, "paused; p goes on")

    def action_go_on(self) -> None:
        """Go on after a pause."""
        self._ask(CommandName.RESUME, "training goes on")

    def action_save(self) -> None:
        """Save now."""
        self._ask(CommandName.SAVE, "the model is being saved")

    def action_preview(self) -> None:
        """Render new pictures now."""
        self._ask(CommandName.PREVIEW, "a preview is on its way")

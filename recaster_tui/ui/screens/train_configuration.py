"""The configuration on the Train screen: what is typed, loaded, sent live, started and queued."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recaster_tui import paths
from recaster_tui.errors import RecasterError
from recaster_tui.options import load_config
from recaster_tui.protocol import CommandName
from recaster_tui.supervisor import Run, RunRequest
from recaster_tui.ui import words
from recaster_tui.ui.form_model import DEVICE, MODEL, NAME
from recaster_tui.ui.queue_list import QueueView, added_text
from recaster_tui.ui.screens.train_panels import TrainPanels
from recaster_tui.ui.widgets.option_rows import OptionRows
from recaster_tui.workspace import stored_options

if TYPE_CHECKING:
    from recaster_tui.options import Config

_SEND_AFTER = 0.4  # seconds of quiet before a live option is sent


class TrainConfiguration(TrainPanels):
    """The form's values, and what is done with them."""

    def model_folder(self) -> Path | None:
        """Where the configured model lies or would lie; None without a workspace."""
        form, workspace = self.form_model, self.recaster.workspace
        return workspace.models / f"{form.name}.{form.model.value}" if workspace else None

    def _check_exists(self) -> bool:
        """Whether the configured model exists: its fixed options are then known and fixed."""
        form = self.form_model
        folder = self.model_folder()
        existed = form.exists
        there = folder is not None and (folder / "CURRENT").exists()
        form.found(stored_options(folder) if folder is not None and there else None)
        return form.exists and not existed

    def on_option_rows_changed(self, event: OptionRows.Changed) -> None:
        """A value was changed: note it, or tell the running trainer."""
        event.stop()
        run = self._shown
        if event.key in (MODEL, NAME):
            # Going back to a type finds what was typed for it, not what the model was saved with.
            if self._check_exists() and not (event.key == MODEL and self.form_model.was_left()):
                self._take_options_of_model()
            self.form.reload()
        elif event.key != DEVICE and run is not None and run.state.live:
            if message := self.form_model.errors().get(event.key):
                self._put_back(run, event.key, message)
                return
            self._send[event.key] = event.value
            self.set_timer(_SEND_AFTER, lambda: self._send_option(run, event.key, event.value))
        self._captions()
        self.refresh_bindings()  # another configuration is another run

    def _send_option(self, run: Run, key: str, value: Any) -> None:
        # The last of several quick presses counts.
        if self._send.get(key) == value and self._send.pop(key, None) is not None:
            self.run_worker(self._set_option(run, key, value), group="set", exit_on_error=False)

    async def _set_option(self, run: Run, key: str, value: Any) -> None:
        label = next((f.label for f in self.form_model.fields() if f.key == key), key)
        if not await self._command(run, CommandName.SET, f"{label} = {words.plain(value)}",
                                   key=key, value=value):  # fmt: skip
            self._put_back(run, key)

    def _put_back(self, run: Run, key: str, why: str = "") -> None:
        """The form shows what the trainer works with."""
        item = next((f for f in self.form_model.fields() if f.key == key), None)
        if item is None or key not in run.options or run is not self._shown:
            return
        value = run.options[key]
        if why:
            kept = f"{why}; it stays {words.plain(value)}"
            self.notify(kept, title=item.label, severity="warning", timeout=8)
        self.form_model.set(item, value)
        self.form.reload()

    def on_option_rows_refused(self, event: OptionRows.Refused) -> None:
        """Say why not."""
        event.stop()
        self.notify(event.why, title=event.label, severity="warning", timeout=4)

    def _take_options_of_model(self) -> None:
        """The configured name is an existing model: go on with what it was trained with."""
        form, workspace = self.form_model, self.recaster.workspace
        if workspace is None:
            return
        for record in self.recaster.supervisor.records():
            same = (record.model_name, record.model_class) == (form.name, form.model.value)
            if same and record.workspace == str(workspace.root):
                form.load(form.model, record.options)
                self.notify("its configuration was loaded", title=f"{form.name} exists")
                return
        if form.own:  # never trained here: imported
            form.load(form.model, form.own)
            self.notify("its configuration was loaded", title=f"{form.name} exists")

    def action_load(self) -> None:
        """Choose one of the configs."""
        from recaster_tui.ui.screens.help import Picker

        items: list[tuple[str, str, Config]] = []
        for name, path in paths.find_all("configs").items():
            try:
                config = load_config(path)
            except RecasterError as error:
                self.notify(str(error), title=name, severity="warning")
                continue
            note = " · ".join(t for t in (config.model.title, config.hardware) if t)
            items.append((config.title or name, note, config))
        if not items:
            self.notify("no configs found", severity="warning")
            return
        self.app.push_screen(Picker("Load a configuration", items), self._take_config)

    def _take_config(self, config: "Config | None") -> None:
        if config is None:
            return
        self.form.load(config.model, config.options.model_dump())
        self._check_exists()
        self.form.reload()
        self.refresh_bindings()
        self.notify(config.description or config.hardware, title=config.title or config.name)

    def _queued_names(self) -> set[str]:
        """Models of this workspace that the queue has and that are not over."""
        workspace = self.recaster.workspace
        root = str(workspace.root) if workspace is not None else None
        entries = self.recaster.queue.entries()
        return {e.model_name for e in entries if e.workspace == root and not e.state.over}

    async def action_start(self) -> None:
        """Begin, or go on with, the configured model."""
        if self._configured("The configuration is not right yet"):
            self.run_worker(self._start(), group="start", exclusive=True, exit_on_error=False)

    def _configured(self, complaint: str) -> bool:
        """Whether the form is right; goes to what is not."""
        form = self.form_model
        if self.form.rows.editing:
            return False
        if errors := form.errors():
            key, message = next(iter(errors.items()))
            self.notify(message, title=complaint, severity="error")
            self._go_to_field(key)
        return not errors

    def _go_to_field(self, key: str) -> None:
        if key:
            self.open_tab("form")
            self.form.rows.goto(key)

    async def action_start_again(self) -> None:
        """The same key where the shown run would go on: only its name is another."""
        await self.action_start()

    async def _start(self) -> None:
        form, app = self.form_model, self.recaster
        try:
            run = await app.start_training(form.model, dict(form.values), form.name, form.device)
        except RecasterError as error:
            self.notify(str(error), title="Cannot start", severity="error", timeout=12)
            return
        app.show_run(run)
        self.tick()
        self.open_tab("chart")

    def action_queue(self) -> None:
        """Let the configured model wait for its turn."""
        if not self._configured("Not queued: the configuration is not right yet"):
            return
        if not int(self.form_model.values.get("target_iterations") or 0):
            text = "a queued run needs an end, or those behind it wait for ever: set a target"
            self.notify(text, title="Not queued", severity="warning", timeout=8)
            self._go_to_field("target_iterations")
            return
        self.run_worker(self._queue(), group="queue-add", exit_on_error=False)

    async def _queue(self) -> None:
        form, app = self.form_model, self.recaster
        if app.workspace is None:
            text = "no workspace is open; open one on the Project screen (1)"
            self.notify(text, title="Not queued", severity="error")
            return
        request = RunRequest(form.model, dict(form.values), form.name, form.device)
        try:
            entry = await app.queue_watch.add(app.workspace, request, app.current_run)
        except RecasterError as error:
            self.notify(str(error), title="Not queued", severity="error", timeout=12)
            return
        text = added_text(entry, QueueView.of(app.queue), app.supervisor.live_runs())
        self.notify(text, title=f"{entry.model_name} is in the queue", timeout=8)
        self.refresh_bindings()  # n: the next one
        app.wake_queue()

"""The Train screen: configuration, what the run does, its curve and its pictures."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.markup import escape
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.timer import Timer
from textual.widget import Widget

from recaster_tui import paths
from recaster_tui.errors import RecasterError
from recaster_tui.options import ModelClass, load_config
from recaster_tui.protocol import CommandName
from recaster_tui.supervisor import Run, RunRecord, RunRequest, RunState
from recaster_tui.ui import words
from recaster_tui.ui.form_model import DEVICE, MODEL, NAME, FormModel
from recaster_tui.ui.hires import pixel_widget
from recaster_tui.ui.queue_list import QueueView, added_text
from recaster_tui.ui.screens.run_views import ChartView, FormView, RunView, living
from recaster_tui.ui.screens.train_keys import RUN_KEYS, TRAIN_KEYS, RunCommands, allowed
from recaster_tui.ui.widgets.bars import TabStrip
from recaster_tui.ui.widgets.loss_chart import LossChart
from recaster_tui.ui.widgets.option_form import OptionForm
from recaster_tui.ui.widgets.option_rows import OptionRows
from recaster_tui.ui.widgets.panel import Panel
from recaster_tui.ui.widgets.preview import PreviewWidget
from recaster_tui.ui.widgets.status_line import StatusLine, newest_losses
from recaster_tui.workspace import stored_options

if TYPE_CHECKING:
    from recaster_tui.options import Config

log = logging.getLogger(__name__)

TABS = (("form", "Configuration"), ("chart", "Loss"), ("preview", "Preview"))
_SHARP_AFTER = 0.3
_LEAST_CHART = 14  # rows, frame included, below which no second row of faces is worth it
_SEND_AFTER = 0.4  # seconds of quiet before a live option is sent


class TrainScreen(RunCommands):
    """The heart of the program."""

    BINDING_GROUP_TITLE = "Train"
    AUTO_FOCUS = ""  # what runs decides where the focus goes
    BINDINGS: ClassVar[list[BindingType]] = TRAIN_KEYS
    FIRST_KEYS: ClassVar[frozenset[str]] = RUN_KEYS  # the key bar shows them first

    def __init__(self) -> None:
        super().__init__()
        self.form_model = FormModel()
        self._shown: Run | None = None
        self._version = -1
        self._state: RunState | None = None
        self._notices = 0
        self._options: dict[str, Any] = {}
        self._tab = "form"
        self._preview_key: tuple[int, int] = (0, 0)
        self._send: dict[str, Any] = {}
        self._views: dict[str, RunView] = {}
        self._has_losses = False
        self._pixels: Widget | None = None
        self._sharpen: Timer | None = None

    # -- layout ---------------------------------------------------------------------------------

    def body(self) -> Iterable[Widget]:
        """Status above everything; form left; chart over preview right."""
        status = StatusLine(id="status")
        tabs = TabStrip(TABS, id="tabs")
        form = Panel(OptionForm(self.form_model, id="form"), title="Configuration", id="form-panel")
        chart = Panel(LossChart(id="chart"), title="Loss", id="chart-panel")
        pictures: list[Widget] = [PreviewWidget(id="preview")]
        self._pixels = pixel_widget(self.recaster.terminal)
        if self._pixels is not None:
            pictures[0].want_picture = True  # type: ignore[attr-defined]
            pictures.append(self._pixels)
        preview = Panel(*pictures, title="Preview", id="preview-panel")
        status_panel = Panel(status, title="Run", id="status-panel")
        # The form comes last and is docked left: where there are tabs, the status is above it.
        right = Vertical(status_panel, chart, preview, id="right")
        yield Vertical(tabs, Container(right, form, id="columns"), id="train")

    @property
    def form(self) -> OptionForm:
        """The configuration."""
        return self.query_one(OptionForm)

    @property
    def chart(self) -> LossChart:
        """The curves."""
        return self.query_one(LossChart)

    @property
    def preview(self) -> PreviewWidget:
        """The pictures."""
        return self.query_one(PreviewWidget)

    def on_mount(self) -> None:
        """First layout: the form open where nothing trains."""
        self.form_model.name = self.recaster.suggested_model_name
        self.open_tab("form", focus=False)
        self._captions()
        self.form.rows.focus()
        self._check_exists()

    def open_tab(self, name: str, *, focus: bool = True) -> None:
        """Show a panel where only one has room, and focus it."""
        self._tab = name
        for tab, _ in TABS:
            self.set_class(tab == name, f"-tab-{tab}")
        self.query_one(TabStrip).activate(name)
        if focus:
            {"form": self.form.rows, "chart": self.chart, "preview": self.preview}[name].focus()

    def on_resize(self) -> None:
        """Share the height between chart and preview."""
        self.call_after_refresh(self._share_height)

    def _share_height(self) -> None:
        """Give the preview exactly the rows that whole faces need, the chart the rest."""
        panel, right = self.query_one("#preview-panel"), self.query_one("#right")
        alone = self.has_class("-narrow") or self.has_class("-short") or self.has_class("-full")
        if alone or not self.preview.caption:
            panel.styles.height = None
            return
        room = right.size.height - self.query_one("#status-panel").outer_size.height
        width = right.size.width - 2
        most = max(room * 2 // 3, room - 24) - 2
        tall = room - _LEAST_CHART - 2
        if self.preview.faces_in(width, tall) > self.preview.faces_in(width, most):
            most = tall
        panel.styles.height = self.preview.ideal_height(width, most) + 2

    def action_pane(self, step: int) -> None:
        """The next panel; where there are tabs, the next tab."""
        names = [name for name, _ in TABS]
        if self.has_class("-no-form") and not self.has_class("-narrow"):
            names.remove("form")
        if self.has_class("-full"):
            return
        here = names.index(self._tab) if self._tab in names else 0
        self.open_tab(names[(here + step) % len(names)])

    def on_descendant_focus(self) -> None:
        """Clicks move the focus, too: keep the tab in step."""
        focused = self.focused
        for name, selector in (
            ("form", "#form-panel"),
            ("chart", "#chart"),
            ("preview", "#preview"),
        ):
            widget = self.query_one(selector)
            inside = focused is not None and widget in focused.ancestors_with_self
            if inside and self._tab != name:
                self.open_tab(name, focus=False)

    def action_full(self) -> None:
        """The preview alone."""
        full = not self.has_class("-full")
        self.set_class(full, "-full")
        self.open_tab("preview")
        self._share_height()

    def action_leave_full(self) -> None:
        """Back from the whole screen."""
        self.remove_class("-full")
        self._share_height()

    def action_form(self) -> None:
        """Give the form's columns to chart and preview."""
        self.toggle_class("-no-form")
        self.call_after_refresh(self._share_height)
        if self.has_class("-no-form") and self._tab == "form":
            self.open_tab("chart")

    def action_filter(self) -> None:
        """Look for an option, whichever panel has the focus."""
        self.remove_class("-full", "-no-form")
        rows = self.form.rows
        self.open_tab("form", focus=False)
        self.set_focus(rows)  # at once: the next key may already be waiting
        rows.begin_filter()
        self.call_after_refresh(self._share_height)

    # -- showing the run ------------------------------------------------------------------------

    def tick(self) -> None:
        """Read the run; only what changed is drawn."""
        self.recaster.follow_new_run()
        run = self.recaster.current_run
        if run is not self._shown:
            self._switch(run)
        self.query_one(StatusLine).show(run, self._place(run))
        if run is None:
            return
        if run.version != self._version:
            if self._version < 0 or not self._has_losses:
                self._has_losses = len(run.losses) > 0
                self.refresh_bindings()
            self._version = run.version
            self.chart.measures = run.measures
            self.chart.set_data(run.losses, run.markers, _loss_names(run), newest_losses(run))
            key = _preview_key(run)
            if key != self._preview_key:
                if not self._preview_key[0]:
                    self.refresh_bindings()
                self._preview_key = key
                self.preview.set_previews(list(run.previews))
            self._follow_options(run)
            self._tell(run)
        if run.state is not self._state:
            self._state_changed(run)
        self._captions()

    # -- several runs ---------------------------------------------------------------------------

    def _living(self) -> list[Run]:
        supervisor = self.recaster.supervisor
        return living(supervisor.live_runs(), supervisor.gone)

    def _place(self, run: Run | None) -> str:
        """``run 2 of 3`` where several live."""
        runs = self._living()
        return f"run {runs.index(run) + 1} of {len(runs)}" if run in runs and len(runs) > 1 else ""

    def action_run(self, step: int) -> None:
        """Show the next or the previous living run."""
        runs, app = self._living(), self.recaster
        if not runs:
            return
        if self._shown in runs:
            run = runs[(runs.index(self._shown) + step) % len(runs)]
        else:
            run = runs[0 if step > 0 else -1]
        if run is self._shown:
            return
        root = run.workspace_root
        if app.workspace is None or app.workspace.root != root:
            try:
                app.open_workspace(root)
            except RecasterError as error:
                self.notify(str(error), title="Cannot open", severity="error", timeout=10)
                return
            self.notify(str(root), title="Workspace", timeout=4)
        app.show_run(run)
        self.tick()

    def _leave(self) -> None:
        """Keep how the shown run was looked at, and send what was just changed."""
        run, rows = self._shown, self.form.rows
        sending, self._send = self._send, {}
        if run is not None:
            for key, value in sending.items():
                self.run_worker(self._set_option(run, key, value), group="set",
                                exit_on_error=False)  # fmt: skip
        row = rows.row.field.key if rows.row and rows.row.field else ""
        self._views[run.run_id if run is not None else ""] = RunView(
            self._tab,
            FormView.of(self.form_model, run, row),
            ChartView.of(self.chart),
            self.preview.place,
        )

    def _return(self, run: Run, view: RunView) -> None:
        """Show the run as it was left."""
        view.form.restore(self.form_model, run)
        self._check_exists()
        self.form.reload()
        if view.form.row:
            self.form.rows.goto(view.form.row)
        view.chart.settings(self.chart)
        if len(run.losses):
            self.chart.set_data(run.losses, run.markers, _loss_names(run), newest_losses(run))
            view.chart.read_out(self.chart)
        self.preview.set_previews(list(run.previews))
        self.preview.go_back_to(view.preview)
        self._preview_key = _preview_key(run)
        self.open_tab(view.tab, focus=not self.form.rows.editing)

    def take_options(self, record: RunRecord) -> None:
        """Load a run's configuration to train on with it, changed where the model allows."""
        self._views.pop(record.run_id, None)
        self.tick()
        form = self.form_model
        form.load(ModelClass(record.model_class), record.options)
        form.name = record.model_name
        self._check_exists()
        self.remove_class("-full", "-no-form")
        self.form.reload()
        self.open_tab("form")
        self.refresh_bindings()
        text = "change what is to be different; s trains on with it"
        self.notify(text, title=f"Configuration of {record.model_name}", timeout=6)

    def _switch(self, run: Run | None) -> None:
        first = self._shown is None
        self._leave()
        self._shown, self._version, self._state = run, -1, None
        self._has_losses = False
        self._preview_key = (0, 0)
        self.preview.clear()
        self.chart.measures = ()
        self.chart.set_data(None)
        if run is None:
            self.form_model.running = False
            self.form_model.meanings = {}
            self._check_exists()
            self.form.reload()
            self.refresh_bindings()
            return
        self._notices = run.facts.notice_count
        self._options = dict(run.options)
        form = self.form_model
        form.load(run.spec.model_class, run.options)
        form.meanings = _meanings(run)
        form.name, form.device = run.spec.model_name, run.spec.device
        if form.device not in form.devices:
            form.devices = (*form.devices, form.device)
        self._check_exists()
        self.form.reload()
        if (view := self._views.get(run.run_id)) is not None:
            self._return(run, view)
        elif first and run.state.live and not self.form.rows.editing:
            self.open_tab("chart")

    def _state_changed(self, run: Run) -> None:
        before, self._state = self._state, run.state
        self.form_model.running = run.state.live
        self._check_exists()
        self.form.reload()
        self.refresh_bindings()
        if before is None:
            return
        name = run.spec.model_name
        if run.state is RunState.FAILED:
            self.notify(run.message, title=f"{name} failed", severity="error", timeout=15)
        elif run.state is RunState.FINISHED:
            text = f"iteration {words.count(run.iteration)}, saved"
            self.notify(text, title=f"{name} has reached its target", timeout=10)
        elif run.state is RunState.STOPPED:
            self.notify(_how_it_ended(run), title=name)
        elif run.state in (RunState.LOST, RunState.STALLED):
            self.notify(run.message, title=f"{name} is {run.state}", severity="warning")

    def _tell(self, run: Run) -> None:
        count = run.facts.notice_count - self._notices
        self._notices = run.facts.notice_count
        # Only the newest are kept: their number stands still one day.
        new = run.notices[-count:] if count > 0 else []
        for notice in new[-3:]:
            severity = "error" if notice.level == "error" else "warning"
            text = notice.message + (f"\n{notice.hint}" if notice.hint else "")
            self.notify(text, severity=severity, timeout=10)  # type: ignore[arg-type]

    def _follow_options(self, run: Run) -> None:
        if (meanings := _meanings(run)) != self.form_model.meanings:
            self.form_model.meanings = meanings
            if not self.form.rows.editing:
                self.form.reload()
        changed = {k: v for k, v in run.options.items() if self._options.get(k) != v}
        if not changed:
            return
        self._options = dict(run.options)
        waiting = {k: v for k, v in changed.items() if k not in self._send}
        self.form_model.load(run.spec.model_class, {**self.form_model.values, **waiting})
        if not self.form.rows.editing:
            self.form.reload()

    def _captions(self) -> None:
        caption = self.preview.caption
        self.query_one("#chart-panel", Panel).caption(subtitle=self.chart.settings)
        self.query_one("#preview-panel", Panel).caption(
            title=f"Preview  {escape(caption)}" if caption else "Preview",
            subtitle=self.preview.age(),
        )
        wrong = len(self.form_model.errors())
        self.query_one("#form-panel", Panel).caption(subtitle=f"{wrong} to mend" if wrong else "")

    def on_loss_chart_settings_changed(self) -> None:
        """Range, scale or smoothing."""
        self._captions()

    def on_preview_widget_shown(self) -> None:
        """Another picture."""
        self._captions()
        self._share_height()
        if self._pixels is not None:
            # Half-blocks are there at once; pixels follow when nothing has moved for a moment.
            self._pixels.display = False
            if self._sharpen is not None:
                self._sharpen.stop()
            self._sharpen = self.set_timer(_SHARP_AFTER, self._show_pixels)

    def _show_pixels(self) -> None:
        region, picture = self.preview.picture_region, self.preview.picture
        if self._pixels is None or region is None or picture is None:
            return
        self._pixels.styles.offset = (region.x, region.y)
        self._pixels.styles.width = region.width
        self._pixels.styles.height = region.height
        self._pixels.image = picture  # type: ignore[attr-defined]
        self._pixels.display = True

    # -- configuration --------------------------------------------------------------------------

    def model_folder(self) -> Path | None:
        """Where the configured model lies or would lie; None without a workspace."""
        form, workspace = self.form_model, self.recaster.workspace
        return workspace.models / f"{form.name}.{form.model.value}" if workspace else None

    def kept_model(self) -> Path | None:
        """The model of the run that lives, else the configured one."""
        run = self.recaster.current_run
        if run is not None and run.state.live:
            return run.workspace_root / run.spec.model_folder
        return self.model_folder()

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

    def action_new(self) -> None:
        """Configure another model; the run that is shown goes on by itself."""
        workspace = self.recaster.workspace
        taken = {p.stem for p in workspace.models.glob("*.*")} if workspace else set()
        taken |= self._queued_names()
        base, number = self.recaster.suggested_model_name, 2
        name = base
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        self.recaster.show_run(None)
        self._switch(None)
        self.form_model.name = name
        if (view := self._views.pop("", None)) is not None:  # begun before, and left for a run
            view.form.restore(self.form_model, None)
            self.form_model.name = name if view.form.name in taken else view.form.name
        self._check_exists()
        self.open_tab("form")
        self.form.reload()
        self.form.rows.goto(NAME)

    # -- commands -------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what makes sense now is bound."""
        if action == "run":
            return not self.is_mounted or any(run is not self._shown for run in self._living())
        if action == "leave_full":
            return self.has_class("-full")
        if action == "filter":
            return not self.is_mounted or not (self.form.rows.editing or self.form.rows.filtering)
        if action in ("start", "start_again") and self.is_mounted:
            form = self.form_model
            again = self.recaster.would_resume(form.model, form.values, form.name, form.device)
            if again is not (action == "start_again"):
                return False
        if action == "new" and self.is_mounted and self.form_model.name in self._queued_names():
            return True
        return allowed(action, self.recaster.current_run if self.is_mounted else None)

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

    # -- chart and preview ----------------------------------------------------------------------

    def action_range(self) -> None:
        """All, 50k, 10k, 1k."""
        self.chart.cycle_range()

    def action_log(self) -> None:
        """Linear or logarithmic."""
        self.chart.toggle_log()

    def action_smooth(self) -> None:
        """How much the curve is smoothed."""
        self.chart.cycle_smoothing()

    def action_view(self, step: int) -> None:
        """Next or previous view of the preview."""
        self.preview.next_view(step)

    def action_time(self, step: int) -> None:
        """Older or newer preview."""
        self.preview.back_in_time(step)

    def action_time_to(self, end: int) -> None:
        """The oldest or the newest preview."""
        self.preview.jump_in_time(end)

    def action_play(self) -> None:
        """Go through all previews, or stop that."""
        self.preview.play()

    def action_verdict(self) -> None:
        """How it does, in full."""
        from recaster_tui.ui.screens.verdict import VerdictScreen

        if self._shown is not None:
            self.app.push_screen(VerdictScreen(self._shown))


def _meanings(run: Run) -> dict[str, str]:
    return {"batch_size": f"({run.batch_found})"} if run.batch_found else {}


def _preview_key(run: Run) -> tuple[int, int]:
    return len(run.previews), run.previews[-1].iteration if run.previews else 0


def _how_it_ended(run: Run) -> str:
    """Of a run that was stopped: what is saved, and what is not."""
    saved = run.facts.saved_iteration
    if saved == run.iteration:
        return f"saved at iteration {words.count(saved)}"
    last = f"the last save is iteration {words.count(saved)}" if saved else "nothing is saved"
    return f"it has ended at iteration {words.count(run.iteration)}; {last}"


def _loss_names(run: Run) -> tuple[str, ...]:
    return ("src",) if run.spec.model_class.value == "xseg" else ("src", "dst")

"""The Train screen: configuration, what the run does, its curve and its pictures."""

from pathlib import Path

from recaster_tui.errors import RecasterError
from recaster_tui.options import ModelClass
from recaster_tui.supervisor import Run, RunRecord, RunState
from recaster_tui.ui import words
from recaster_tui.ui.form_model import NAME
from recaster_tui.ui.screens.run_views import ChartView, FormView, RunView, living
from recaster_tui.ui.screens.train_configuration import TrainConfiguration
from recaster_tui.ui.screens.train_keys import allowed
from recaster_tui.ui.widgets.status_line import StatusLine, newest_losses


class TrainScreen(TrainConfiguration):
    """The heart of the program: the run that is shown, one of several perhaps."""

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

    # -- several runs ---------------------------------------------------------------------------

    def _living(self) -> list[Run]:
        supervisor = self.recaster.supervisor
        return living(supervisor.live_runs(), supervisor.gone)

    def _place(self, run: Run | None) -> str:
        """``run 2 of 3`` where several live; how to reach those that do where none is shown."""
        runs = self._living()
        if runs and (run is None or run.state.over):
            return "1 run goes on: >" if len(runs) == 1 else f"{len(runs)} runs go on: < >"
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

    # -- keys ------------------------------------------------------------------------------------

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

    def kept_model(self) -> Path | None:
        """The model of the run that lives, else the configured one."""
        run = self.recaster.current_run
        if run is not None and run.state.live:
            return run.workspace_root / run.spec.model_folder
        return self.model_folder()

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

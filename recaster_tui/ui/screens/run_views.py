"""What the Train screen keeps for each run while another one is shown."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recaster_tui.options import ModelClass
from recaster_tui.supervisor import Run
from recaster_tui.ui.form_model import FormModel

if TYPE_CHECKING:
    from recaster_tui.ui.widgets.loss_chart import LossChart


@dataclass(frozen=True)
class FormView:
    """A form as it was left. ``edits`` are the values unlike the run's, not yet started with."""

    model: ModelClass
    name: str
    device: str
    values: dict[str, Any]
    edits: dict[str, Any]
    query: str
    folded: frozenset[str]
    row: str

    @classmethod
    def of(cls, form: FormModel, run: Run | None, row: str) -> "FormView":
        """What stands in *form*; *row* is the key under its cursor."""
        options = run.options if run is not None else {}
        same_kind = run is not None and form.model is run.spec.model_class
        edits = {
            key: value
            for key, value in form.values.items()
            if same_kind and key in options and options[key] != value
        }
        return cls(
            form.model,
            form.name,
            form.device,
            dict(form.values),
            edits,
            form.query,
            frozenset(form.folded),
            row,
        )

    def restore(self, form: FormModel, run: Run | None) -> None:
        """Put it back. A living run's options may have changed meanwhile: only edits return."""
        if run is None or run.state.over:
            form.load(self.model, self.values)
            form.name, form.device = self.name, self.device
        else:
            form.load(run.spec.model_class, {**run.options, **self.edits})
            form.name, form.device = run.spec.model_name, run.spec.device
        form.query, form.folded = self.query, set(self.folded)


@dataclass(frozen=True)
class ChartView:
    """Range, scale, smoothing and read-out of the loss chart."""

    range_index: int = 0
    log_scale: bool = False
    smoothing_index: int = 0
    cursor: int | None = None

    @classmethod
    def of(cls, chart: "LossChart") -> "ChartView":
        """As it is."""
        return cls(chart.range_index, chart.log_scale, chart.smoothing_index, chart.cursor)

    def settings(self, chart: "LossChart") -> None:
        """Before the run's losses are drawn."""
        chart.range_index, chart.log_scale = self.range_index, self.log_scale
        chart.smoothing_index = self.smoothing_index

    def read_out(self, chart: "LossChart") -> None:
        """After they were."""
        chart.cursor = self.cursor
        chart.update_lines()


@dataclass(frozen=True)
class RunView:
    """All of it: the panel that was open, the form, the chart, and where the preview was."""

    tab: str
    form: FormView
    chart: ChartView
    preview: tuple[Any, ...] = field(default=())


def living(runs: list[Run], gone: frozenset[str]) -> list[Run]:
    """Runs with a trainer in the order in which they were started."""
    return sorted(
        (r for r in runs if r.state.live and r.run_id not in gone),
        key=lambda run: (run.spec.created, run.run_id),
    )

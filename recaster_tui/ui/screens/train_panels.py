"""The panels of the Train screen: status, form, chart and preview, and how they share the room."""

from collections.abc import Iterable
from typing import Any, ClassVar

from rich.markup import escape
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.timer import Timer
from textual.widget import Widget

from recaster_tui.supervisor import Run, RunState
from recaster_tui.ui.form_model import FormModel
from recaster_tui.ui.hires import pixel_widget
from recaster_tui.ui.screens.run_views import RunView
from recaster_tui.ui.screens.train_keys import RUN_KEYS, TRAIN_KEYS, RunCommands
from recaster_tui.ui.widgets.bars import TabStrip
from recaster_tui.ui.widgets.loss_chart import LossChart
from recaster_tui.ui.widgets.option_form import OptionForm
from recaster_tui.ui.widgets.panel import Panel
from recaster_tui.ui.widgets.preview import PreviewWidget
from recaster_tui.ui.widgets.status_line import StatusLine

TABS = (("form", "Configuration"), ("chart", "Loss"), ("preview", "Preview"))
_SHARP_AFTER = 0.3
_LEAST_CHART = 14  # rows, frame included, below which no second row of faces is worth it


class TrainPanels(RunCommands):
    """What lies where. :class:`~recaster_tui.ui.screens.train.TrainScreen` fills it."""

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

    def _check_exists(self) -> bool:
        raise NotImplementedError

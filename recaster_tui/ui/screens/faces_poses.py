"""The map of poses of both sides, over the Faces screen."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from recaster_tui.ui.coverage import Cell, Coverage
from recaster_tui.ui.widgets.coverage_map import CoverageMap


class PosesScreen(ModalScreen[tuple[Cell, str] | None]):
    """Dismissed with a cell and the side whose faces to show."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,P", "dismiss(None)", "Close", id="poses-close"),
    ]

    def __init__(self, coverage: Coverage, reading: bool = False) -> None:
        super().__init__()
        self._coverage, self._reading = coverage, reading

    def compose(self) -> ComposeResult:
        """As large as it gets."""
        with Vertical(classes="dialog -full") as dialog:
            more = " · still measuring" if self._reading else ""
            dialog.border_title = (
                f"Poses: {self._coverage.src:,} source, {self._coverage.dst:,} destination{more}"
            )
            dialog.border_subtitle = (
                "enter destination's faces · s source's · n next gap · esc closes"
            )
            yield CoverageMap(self._coverage, id="poses")

    def on_mount(self) -> None:
        """Ready to move."""
        self.query_one(CoverageMap).focus()

    def on_coverage_map_chosen(self, event: CoverageMap.Chosen) -> None:
        """Taken."""
        event.stop()
        self.dismiss((event.cell, event.side))

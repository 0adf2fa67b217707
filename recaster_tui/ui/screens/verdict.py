"""Is it done? The verdict on a run, with its figures and how they went."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.markup import escape
from textual.screen import ModalScreen

from recaster_tui.supervisor import Run
from recaster_tui.ui.widgets.verdict import VerdictPane


class VerdictScreen(ModalScreen[None]):
    """Follows the run while it is open."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,i", "dismiss(None)", "Close", id="verdict-close"),
    ]

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def compose(self) -> ComposeResult:
        """A large frame."""
        with Vertical(classes="dialog -large") as dialog:
            dialog.border_title = escape(f"Is it done?  {self._run.spec.model_name}")
            dialog.border_subtitle = "j k scroll · esc closes"
            yield VerdictPane(id="verdict-pane")

    def on_mount(self) -> None:
        """Draw now and every second."""
        pane = self.query_one(VerdictPane)
        pane.run = self._run
        pane.focus()
        self.call_after_refresh(pane.update_content)
        self.set_interval(1.0, pane.update_content)

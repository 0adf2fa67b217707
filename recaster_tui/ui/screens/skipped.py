"""The list of files that are no usable faces."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from recaster_tui.ui.widgets.project_tables import SkippedTable

if TYPE_CHECKING:
    from recaster_tui.faces.faceset import Skipped


class SkippedScreen(ModalScreen[None]):
    """File and reason; nothing is changed on disk."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,s", "dismiss(None)", "Close", id="skipped-close"),
    ]

    def __init__(self, items: "Sequence[tuple[str, Skipped]]") -> None:
        super().__init__()
        self._items = items

    def compose(self) -> ComposeResult:
        """A large frame."""
        with Vertical(classes="dialog -large") as dialog:
            number = len(self._items)
            dialog.border_title = f"Skipped: {number:,} file{'s' * (number != 1)}"
            dialog.border_subtitle = (
                "training leaves them out; they stay where they are · esc closes"
            )
            yield SkippedTable(self._items)

    def on_mount(self) -> None:
        """Ready to scroll."""
        self.query_one(SkippedTable).focus()

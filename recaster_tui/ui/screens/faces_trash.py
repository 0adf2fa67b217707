"""What lies in the trash of a side, and the way back."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.screen import ModalScreen
from textual.timer import Timer

from recaster_tui.errors import RecasterError
from recaster_tui.ui import clock
from recaster_tui.ui.face_picture import draw_face
from recaster_tui.ui.face_side import FaceSide
from recaster_tui.ui.palette import Palette
from recaster_tui.ui.widgets.face_detail import FaceDetail, FaceText, Painter, Value
from recaster_tui.ui.widgets.project_tables import printable
from recaster_tui.ui.widgets.table_view import Cell, Column, TableView

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_REST = 0.12


class TrashTable(TableView):
    """Names in the trash folder."""

    BINDING_GROUP_TITLE = "Trash"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="trash-mark"),
    ]
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("mark", "", 1),
        Column("name", "face", 16, most=40),
        Column("when", "changed", 10, rank=1),
    )

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        super().__init__(id="trash-table")
        self._folder, self._names = folder, names
        self.marked: dict[str, None] = {}

    def on_mount(self) -> None:
        """All of them."""
        self.set_rows(list(self._names))

    def cell(self, key: str, column: str, width: int, colours: Palette) -> Cell:
        """One value."""
        match column:
            case "mark":
                mark = "◆" if key in self.marked else " "
                return ((mark, colours.style("accent", bold=True)),)
            case "name":
                return ((printable(key), colours.style("text", bold=True)),)
            case "when":
                try:
                    return ((clock.ago((self._folder / key).stat().st_ctime), colours.muted()),)
                except OSError:
                    return (("gone", colours.style("warning")),)
        return ()

    def action_mark(self) -> None:
        """For restoring several."""
        if self.key is None:
            return
        if self.key in self.marked:
            del self.marked[self.key]
        else:
            self.marked[self.key] = None
        self.update_visible()
        self.action_move(1)


class TrashScreen(ModalScreen[list[str] | None]):
    """Dismissed with the names to bring back."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r,enter", "restore", "Bring back", id="trash-restore"),
        Binding("a", "all", "Mark all", show=False, id="trash-all"),
        Binding("escape,q,T", "dismiss(None)", "Close", id="trash-close"),
    ]

    def __init__(self, side: FaceSide, names: Sequence[str]) -> None:
        super().__init__()
        assert side.edits is not None
        self._side, self._names, self._folder = side, names, side.edits.trash_folder
        self._rest: Timer | None = None

    def compose(self) -> ComposeResult:
        """List left, face right."""
        with Vertical(classes="dialog -large") as dialog:
            dialog.border_title = f"Trash of the {self._side.name}: {len(self._names):,}"
            dialog.border_subtitle = "space marks · enter brings back · esc closes"
            with Container(id="trash-body"):
                yield TrashTable(self._folder, self._names)
                yield FaceDetail(id="trash-face", text_right=False)

    @property
    def table(self) -> TrashTable:
        """The list."""
        return self.query_one(TrashTable)

    def on_mount(self) -> None:
        """Ready to choose."""
        self.table.focus()
        self.call_after_refresh(self._show)

    def on_table_view_moved(self) -> None:
        """Another face."""
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(_REST, self._show)

    def on_table_view_chosen(self, event: TableView.Chosen) -> None:
        """A click on the face under the cursor marks it."""
        self.table.action_mark()

    def _show(self) -> None:
        name = self.table.key
        self.query_one(FaceDetail).show(name, _painter(self._folder / name) if name else None)

    def action_all(self) -> None:
        """Mark all."""
        self.table.marked = dict.fromkeys(self.table.keys)
        self.table.update_visible()

    def action_restore(self) -> None:
        """The marked ones, else the one under the cursor."""
        chosen = list(self.table.marked) or ([self.table.key] if self.table.key else [])
        self.dismiss([name for name in chosen if name] or None)


def _painter(path: Path) -> Painter:
    def paint(across: int, down: int) -> "tuple[NDArray[np.uint8] | None, FaceText]":
        from recaster_tui.faces.codec import decode_pixels, read_face

        try:
            face = read_face(path)
            pixels = draw_face(decode_pixels(face), face, (), max(2, min(across, down)))
        except RecasterError as error:
            return None, FaceText(printable(path.name), note=error.message)
        rows = [Value("face", f"{face.face_type.value}, {face.shape[1]}×{face.shape[0]}")]
        if face.source_filename:
            rows.append(Value("frame", printable(face.source_filename)))
        return pixels, FaceText(printable(path.name), rows)

    return paint

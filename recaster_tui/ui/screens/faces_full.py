"""One face, as large as the terminal lets it be."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.markup import escape
from textual.screen import Screen
from textual.widget import Widget

from recaster_tui.ui.sharp import SharpPicture
from recaster_tui.ui.terminal import Images
from recaster_tui.ui.widgets.bars import KeyBar, TopBar
from recaster_tui.ui.widgets.face_detail import FaceDetail
from recaster_tui.ui.widgets.panel import Panel

if TYPE_CHECKING:
    from recaster_tui.ui.screens.faces_edits import FacesEdits


class FaceScreen(Screen[None]):
    """Shows what the Faces screen's cursor is on, and moves it."""

    BINDING_GROUP_TITLE = "Face"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter", "leave", "Back", id="face-back"),
        Binding("right,l,down,j", "step(1)", "Next", id="face-next"),
        Binding("left,h,up,k", "step(-1)", "Previous", show=False, id="face-previous"),
        Binding("home,g", "step(-9999999)", "First", show=False, id="face-first"),
        Binding("end,G", "step(9999999)", "Last", show=False, id="face-last"),
        Binding("space", "home('mark')", "Mark", id="face-mark"),
        Binding("d", "home('trash')", "Trash", id="face-trash"),
        Binding("u", "home('undo')", "Undo", id="face-undo"),
        Binding("ctrl+r,U", "home('redo')", "Redo", show=False, id="face-redo"),
        Binding("L", "overlay('landmarks')", "Landmarks", id="face-landmarks"),
        Binding("M", "overlay('masks')", "Outlines", id="face-masks"),
        Binding("f", "home('frame')", "Frame", id="face-frame"),
    ]

    def __init__(self, home: "FacesEdits") -> None:
        super().__init__()
        self._home = home
        self._sharp: SharpPicture | None = None

    def compose(self) -> ComposeResult:
        """Bar, face, keys."""
        yield TopBar()
        with Container(id="body"):
            yield from self._body()
        yield KeyBar()

    def _body(self) -> Iterable[Widget]:
        yield Panel(FaceDetail(id="face-full"), title="Face", id="full-panel")

    @property
    def detail(self) -> FaceDetail:
        """The picture."""
        return self.query_one(FaceDetail)

    def on_mount(self) -> None:
        """Show the face."""
        terminal = self._home.recaster.terminal
        self.detail.pictures = terminal is None or terminal.images is not Images.OFF
        self._sharp = SharpPicture(terminal, self.detail, self.query_one("#full-panel"))
        self.call_after_refresh(self._home.show_face)

    def on_face_detail_shown(self, event: FaceDetail.Shown) -> None:
        """Caption and pixels follow."""
        home, panel = self._home, self.query_one("#full-panel", Panel)
        side, grid = home.side, home.grid
        if side is None or grid.face is None:
            self.dismiss(None)
            return
        mark = "◆ " if side.is_marked(grid.face) else ""
        panel.caption(
            title=escape(f"{mark}{side.name.capitalize()}  {side.shown_name(grid.face)}"),
            subtitle=f"{grid.cursor + 1:,} of {len(grid):,}",
        )
        if self._sharp is not None:
            self._sharp.soon()

    def action_step(self, step: int) -> None:
        """Another face."""
        self._home.grid.goto(self._home.grid.cursor + step)
        self._home.show_face()

    def action_overlay(self, what: str) -> None:
        """Landmarks or outlines."""
        self._home.action_overlay(what)

    async def action_home(self, name: str) -> None:
        """An action of the Faces screen, on the face shown here."""
        getattr(self._home, f"action_{name}")()
        if name == "mark":
            self.on_face_detail_shown(FaceDetail.Shown(self.detail))

    def action_leave(self) -> None:
        """Back to the grid, with the cursor on this face."""
        self.dismiss(None)

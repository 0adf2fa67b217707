"""Going through the faces that a check proposes to drop."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.screen import ModalScreen
from textual.timer import Timer

from recaster_tui.ui.face_side import FaceSide
from recaster_tui.ui.palette import Palette
from recaster_tui.ui.widgets.face_detail import FaceDetail, score_colour
from recaster_tui.ui.widgets.project_tables import printable
from recaster_tui.ui.widgets.table_view import Cell, Column, TableView

if TYPE_CHECKING:
    from recaster_tui.faces.quality import Proposal
    from recaster_tui.ui.screens.faces_base import FacesBase

_REST = 0.12


class PruneTable(TableView):
    """A line a proposal: drop or keep, name, score, why."""

    BINDING_GROUP_TITLE = "Prune list"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,enter", "flip", "Keep or drop", id="prune-toggle"),
    ]
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("drop", "", 6),
        Column("name", "face", 12, most=24),
        Column("score", "", 4, rank=2, right=True),
        Column("why", "why", 20, most=200),
    )

    def __init__(self, side: FaceSide, proposals: "Sequence[Proposal]") -> None:
        super().__init__(id="prune-table")
        self._side = side
        self.proposals = {p.name: p for p in proposals}
        self.kept: set[str] = set()

    def on_mount(self) -> None:
        """All of them."""
        self.set_rows(list(self.proposals))

    def cell(self, key: str, column: str, width: int, colours: Palette) -> Cell:
        """One value."""
        kept = key in self.kept
        match column:
            case "drop":
                word = ("keep", "state-good") if kept else ("drop", "state-bad")
                return ((word[0], colours.style(word[1], bold=True)),)
            case "name":
                look = colours.muted() if kept else colours.style("text", bold=True)
                return ((printable(key), look),)
            case "score":
                catalog = self._side.catalog
                face = catalog.index(key) if catalog is not None else None
                score = self._side.score(face) if face is not None else None
                if score is None:
                    return ()
                return ((f"{score.score:.0f}", colours.style(score_colour(score.score))),)
            case "why":
                look = colours.muted() if kept else colours.style("text")
                return ((printable(self.proposals[key].reason), look),)
        return ()

    def action_flip(self) -> None:
        """Keep what would be dropped, or the other way round; then the next one."""
        if self.key is None:
            return
        self.kept ^= {self.key}
        self.update_visible()
        self.post_message(self.Moved())
        self.action_move(1)


class PruneScreen(ModalScreen[list[str] | None]):
    """Dismissed with the names to drop, or None."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "apply", "Move to the trash", id="prune-apply"),
        Binding("a", "all(False)", "Drop all", show=False, id="prune-all"),
        Binding("n", "all(True)", "Keep all", show=False, id="prune-none"),
        Binding("L", "overlay", "Landmarks", show=False, id="prune-landmarks"),
        Binding("escape,q,p", "dismiss(None)", "Close", id="prune-close"),
    ]

    def __init__(self, home: "FacesBase", side: FaceSide, proposals: "Sequence[Proposal]") -> None:
        super().__init__()
        self._home, self._side, self._proposals = home, side, proposals
        self._rest: Timer | None = None
        self._overlays = home.overlays

    def compose(self) -> ComposeResult:
        """List left, face right."""
        with Vertical(classes="dialog -full") as dialog:
            dialog.border_title = "Prune"
            with Container(id="prune-body"):
                yield PruneTable(self._side, self._proposals)
                yield FaceDetail(id="prune-face", text_right=False)

    @property
    def table(self) -> PruneTable:
        """The list."""
        return self.query_one(PruneTable)

    def on_mount(self) -> None:
        """Ready to go through."""
        self.query_one(FaceDetail).pictures = self._home.detail.pictures
        self.table.focus()
        self._title()
        self.call_after_refresh(self._show)

    def _title(self) -> None:
        dialog = self.query_one(".dialog")
        drop = len(self._proposals) - len(self.table.kept)
        dialog.border_title = f"Prune {self._side.name}: {drop:,} of {len(self._side):,} faces"
        dialog.border_subtitle = "space keep or drop · y moves them to the trash · esc leaves"

    def on_table_view_moved(self) -> None:
        """Another face."""
        self._title()
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(_REST, self._show)

    def _show(self) -> None:
        detail, catalog, name = self.query_one(FaceDetail), self._side.catalog, self.table.key
        face = catalog.index(name) if catalog is not None and name is not None else None
        if face is None:
            detail.show(None, None)
            return
        detail.show((name, self._overlays), self._home.painter(self._side, face, self._overlays))

    def action_overlay(self) -> None:
        """Landmarks: misaligned faces show themselves."""
        from recaster_tui.ui.face_picture import Overlay

        self._overlays = self._overlays ^ {Overlay.LANDMARKS}
        self._show()

    def action_all(self, keep: bool) -> None:
        """Keep or drop every one."""
        self.table.kept = set(self.table.keys) if keep else set()
        self.table.update_visible()
        self._title()

    def action_apply(self) -> None:
        """Drop those that are not kept."""
        names = [name for name in self.table.keys if name not in self.table.kept]
        self.dismiss(names or None)

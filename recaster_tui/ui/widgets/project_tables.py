"""The lists of the Project screen: models, recent workspaces, skipped files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from recaster_tui.ui import clock, words
from recaster_tui.ui.model_facts import ModelFact
from recaster_tui.ui.palette import Palette
from recaster_tui.ui.recent import Recent
from recaster_tui.ui.run_list import class_title
from recaster_tui.ui.widgets.table_view import Cell, Column, TableView

if TYPE_CHECKING:
    from recaster_tui.faces.faceset import Skipped


class ModelTable(TableView):
    """Models of the workspace."""

    BINDING_GROUP_TITLE = "Models"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Show", id="model-show", tooltip="Its last run on Train"),
    ]
    EMPTY = "No models yet: 3, then s, starts one."
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("name", "name", 10, most=28),
        Column("class", "class", 11, rank=1),
        Column("iteration", "iteration", 9, right=True),
        Column("size", "size", 5, rank=3, right=True),
        Column("saved", "saved", 9, rank=2, right=True),
        Column("note", " notes", 16, rank=4, most=40),  # apart from the dates at the right edge
    )

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._models: dict[str, ModelFact] = {}

    def show(self, models: Sequence[ModelFact]) -> None:
        """Take the list."""
        self._models = {model.key: model for model in models}
        self.set_rows([model.key for model in models])

    def cell(self, key: str, column: str, width: int, colours: Palette) -> Cell:
        """One value."""
        model = self._models.get(key)
        if model is None:
            return ()
        muted = colours.muted()
        match column:
            case "name":
                return ((model.name, colours.style("text", bold=True)),)
            case "class":
                title = (class_title(model.model_class), muted)
                return (title, (" DFL", colours.style("accent"))) if model.dfl else (title,)
            case "iteration":
                known = model.iteration is not None
                return ((words.count(model.iteration or 0) if known else "–", None),)
            case "size":
                return ((words.size(model.size) if model.size else "–", None),)
            case "saved":
                return ((clock.ago(model.saved) if model.saved else "–", muted),)
            case "note":
                return ((f" {model.note}", muted),)
        return ()


class RecentTable(TableView):
    """Workspaces opened before; rows are their paths."""

    BINDING_GROUP_TITLE = "Recent workspaces"
    EMPTY = "None yet. o opens one; recaster demo makes one to try things on."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Open", id="recent-open", tooltip="Open this workspace"),
    ]
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("mark", "", 1),
        Column("name", "name", 12, most=24),
        Column("where", "in", 14, rank=1, most=60),
        Column("opened", "opened", 9, rank=2, right=True),
    )

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._recent: dict[str, Recent] = {}
        self.here: Path | None = None

    def show(self, recent: Sequence[Recent], here: Path | None) -> None:
        """Take the list."""
        self.here = here
        self._recent = {str(item.path): item for item in recent}
        self.set_rows([str(item.path) for item in recent])

    def cell(self, key: str, column: str, width: int, colours: Palette) -> Cell:
        """One value."""
        item = self._recent.get(key)
        if item is None:
            return ()
        match column:
            case "mark":
                return (("●" if item.path == self.here else " ", colours.style("state-good")),)
            case "name":
                return ((item.path.name, colours.style("text", bold=True)),)
            case "where":
                return ((short_path(item.path.parent, width), colours.muted()),)
            case "opened":
                return ((clock.ago(item.opened), colours.muted()),)
        return ()


class SkippedTable(TableView):
    """Files that are no usable faces, and why."""

    BINDING_GROUP_TITLE = "Skipped files"
    EMPTY = "Nothing was skipped: every file is a usable face."
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("side", "of", 11, rank=2),
        Column("name", "file", 20, most=44),
        Column("code", "", 12, rank=1, most=16),
        Column("why", "why", 20, most=200),
    )

    def __init__(self, items: "Sequence[tuple[str, Skipped]]") -> None:
        super().__init__(id="skipped-table")
        self._items = {f"{i}": item for i, item in enumerate(items)}

    def on_mount(self) -> None:
        """Every one."""
        self.set_rows(list(self._items))

    def cell(self, key: str, column: str, width: int, colours: Palette) -> Cell:
        """One value."""
        side, item = self._items[key]
        match column:
            case "side":
                return ((side, colours.style("loss-src" if side == "source" else "loss-dst")),)
            case "name":
                return ((printable(item.name), colours.style("text", bold=True)),)
            case "code":
                return ((item.code, colours.style("warning")),)
            case "why":
                return ((printable(item.message), None),)
        return ()


def printable(text: str) -> str:
    """Names come from other people's disks: nothing in them may steer the terminal."""
    text = text.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else "�" for c in text)


def short_path(path: Path, width: int = 0) -> str:
    """With ``~`` for the home folder; cut at the left where it is longer than *width*."""
    home = Path.home()
    text = f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
    text = printable(text.removesuffix("/."))
    return text if not width or len(text) <= width else "…" + text[1 - width :]

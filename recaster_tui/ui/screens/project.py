"""The Project screen: what this workspace holds, and the way to another one."""

import asyncio
import logging
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.markup import escape
from textual.widget import Widget
from textual.worker import get_current_worker

from recaster_tui.errors import RecasterError
from recaster_tui.ui import clock, face_facts
from recaster_tui.ui.model_facts import ModelFact, find_models
from recaster_tui.ui.recent import Recent, recent_workspaces
from recaster_tui.ui.screens.base import ModeScreen
from recaster_tui.ui.terminal import Images
from recaster_tui.ui.widgets.bars import TabStrip
from recaster_tui.ui.widgets.faceset_view import FacesetView
from recaster_tui.ui.widgets.panel import Panel
from recaster_tui.ui.widgets.project_tables import ModelTable, RecentTable, printable
from recaster_tui.ui.widgets.table_view import TableView
from recaster_tui.ui.widgets.workspace_view import WorkspaceFacts, WorkspaceView, read_workspace
from recaster_tui.workspace import Workspace, open_workspace

log = logging.getLogger(__name__)

TABS = (
    ("workspace", "Workspace"),
    ("source", "Source"),
    ("destination", "Destination"),
    ("recent", "Recent"),
)
_SIDES = {"src": "source", "dst": "destination"}
_RESCAN_SECONDS = 3.0


class ProjectScreen(ModeScreen):
    """Everything is read in threads; what is known is shown meanwhile."""

    BINDING_GROUP_TITLE = "Project"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "open", "Open", id="project-open", tooltip="Another workspace, by its path"),
        Binding("s", "skipped", "Skipped files", id="project-skipped", tooltip="And why"),
        Binding("r", "refresh", "Read again", id="project-refresh", tooltip="Faces and models"),
        Binding("tab", "pane(1)", "Next panel", show=False, id="project-next-panel"),
        Binding("shift+tab", "pane(-1)", "Previous panel", show=False, id="project-previous-panel"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._root: Path | None = None
        self._loaded = False
        self._progress: dict[str, tuple[str, int, int]] = {}
        self._cancel = threading.Event()
        self._signatures: dict[str, object] = {}
        self._models: dict[str, ModelFact] = {}
        self._tab = "workspace"

    # -- layout ---------------------------------------------------------------------------------

    def body(self) -> Iterable[Widget]:
        """Workspace, models and recent ones left; both sides' faces right."""
        yield TabStrip(TABS, id="project-tabs")
        left = Vertical(
            Panel(WorkspaceView(id="workspace"), title="Workspace", id="workspace-panel"),
            Panel(ModelTable(id="models"), title="Models", id="models-panel"),
            Panel(RecentTable(id="recent"), title="Recent workspaces", id="recent-panel"),
            id="project-left",
        )
        faces = Vertical(
            Panel(FacesetView("src", id="faces-src"), title="Source", id="source-panel"),
            Panel(FacesetView("dst", id="faces-dst"), title="Destination", id="destination-panel"),
            id="project-faces",
        )
        yield Container(left, faces, id="project")

    def on_mount(self) -> None:
        """The models have the focus; without a workspace the recent ones."""
        terminal = self.recaster.terminal
        for side in _SIDES:
            self._view(side).pictures = terminal is None or terminal.images is not Images.OFF
        self.open_tab("workspace" if self.recaster.workspace else "recent")
        self.set_interval(_RESCAN_SECONDS, self._rescan)

    def on_unmount(self) -> None:
        """Threads that read need not go on."""
        self._cancel.set()

    def _view(self, side: str) -> FacesetView:
        return self.query_one(f"#faces-{side}", FacesetView)

    def _panels(self) -> dict[str, Widget]:
        return {
            "workspace": self.query_one(ModelTable),
            "recent": self.query_one(RecentTable),
            "source": self._view("src"),
            "destination": self._view("dst"),
        }

    def open_tab(self, name: str, *, focus: bool = True) -> None:
        """Show a panel where only one has room, and focus it."""
        self._tab = name
        for tab, _ in TABS:
            self.set_class(tab == name, f"-tab-{tab}")
        self.query_one(TabStrip).activate(name)
        if focus:
            self._panels()[name].focus()

    def action_pane(self, step: int) -> None:
        """The next panel; where there are tabs, the next tab."""
        names = [name for name, _ in TABS]
        self.open_tab(names[(names.index(self._tab) + step) % len(names)])

    def on_descendant_focus(self) -> None:
        """Clicks move the focus, too."""
        for name, widget in self._panels().items():
            if self.focused is widget and self._tab != name:
                self.open_tab(name, focus=False)

    # -- reading --------------------------------------------------------------------------------

    def tick(self) -> None:
        """Another workspace? How far is the reading?"""
        workspace = self.recaster.workspace
        root = workspace.root if workspace is not None else None
        if root != self._root or not self._loaded:
            self._root, self._loaded = root, True
            self._clear(workspace)
            self.load()
        for side, (what, done, total) in self._progress.items():
            self._view(side).show_progress(what, done, total)

    def _clear(self, workspace: Workspace | None) -> None:
        self.query_one(WorkspaceView).show(None)
        self.query_one(ModelTable).show([])
        self._progress.clear()
        self._signatures.clear()
        for side, name in _SIDES.items():
            folder = ""
            if workspace is not None:
                folder = workspace.relative(getattr(workspace, f"{side}_faces"))
            self._view(side).clear(folder, "reading …" if folder else "")
            panel = self.query_one(f"#{name}-panel")
            panel.border_title = escape(f"{name.capitalize()}  {printable(folder)}")

    def load(self) -> None:
        """Read everything; what was asked for before is dropped."""
        self._cancel.set()
        self._cancel = threading.Event()
        workspace = self.recaster.workspace
        self.run_worker(
            self._load(workspace, self._cancel), group="project", exclusive=True,
            exit_on_error=False,
        )  # fmt: skip

    async def _load(self, workspace: Workspace | None, cancel: threading.Event) -> None:
        await self._load_lists(workspace)
        if workspace is None:
            return
        found: dict[str, face_facts.FaceFacts] = {}
        for side in _SIDES:
            folder: Path = getattr(workspace, f"{side}_faces")
            video = workspace.video(side)
            self._signatures[side] = face_facts.signature(folder)
            facts = face_facts.known_facts(folder)
            if facts is None:
                facts = await self._read_faces(side, folder, cancel)
            if facts is None or get_current_worker().is_cancelled:
                return
            found[side] = facts
            self._view(side).show_facts(facts)
            self.refresh_bindings()
            if video is not None:
                self._view(side).show_video(await asyncio.to_thread(face_facts.read_video, video))
        src, dst = found["src"].poses, found["dst"].poses
        if src is not None and dst is not None and len(src) and len(dst):
            share = await asyncio.to_thread(face_facts.uncovered, dst, src)
            self._view("dst").show_missing(share)

    async def _read_faces(
        self, side: str, folder: Path, cancel: threading.Event
    ) -> face_facts.FaceFacts | None:
        def progress(what: str, done: int, total: int) -> None:
            self._progress[side] = (what, done, total)

        try:
            return await asyncio.to_thread(face_facts.read_facts, folder, progress, cancel)
        except face_facts.CancelledError:
            return None
        except Exception as error:  # a set of faces from anywhere must never end the screen
            log.exception("reading %s", folder)
            return face_facts.FaceFacts(folder, problem=f"cannot be read: {error}")
        finally:
            if cancel is self._cancel:
                self._progress.pop(side, None)

    async def _load_lists(self, workspace: Workspace | None) -> None:
        supervisor = self.recaster.supervisor
        await supervisor.load_history()
        newest: dict[Path, float] = {}
        for record in supervisor.records():
            path = Path(record.workspace)
            newest[path] = max(newest.get(path, 0.0), record.created)

        def read() -> tuple[list[Recent], list[ModelFact], WorkspaceFacts | None]:
            recent = recent_workspaces()
            if workspace is not None and all(item.path != workspace.root for item in recent):
                recent.insert(0, Recent(workspace.root, clock.now()))  # being remembered now
            known = {item.path for item in recent}
            recent += [
                Recent(path, t) for path, t in newest.items() if path not in known and path.is_dir()
            ]
            recent.sort(key=lambda item: item.opened, reverse=True)
            if workspace is None:
                return recent, [], None
            return recent, find_models(workspace.models), read_workspace(workspace)

        recent, models, facts = await asyncio.to_thread(read)
        self._models = {model.key: model for model in models}
        self.query_one(RecentTable).show(recent, workspace.root if workspace else None)
        self.query_one(ModelTable).show(models)
        self.query_one(WorkspaceView).show(facts)
        self._captions(workspace, models)

    def _captions(self, workspace: Workspace | None, models: list[ModelFact]) -> None:
        panel = self.query_one("#workspace-panel")
        name = printable(workspace.name) if workspace else ""
        panel.border_title = escape(f"Workspace  {name}".rstrip())
        panel = self.query_one("#models-panel")
        panel.border_subtitle = f"{len(models)} in model/" if models else ""

    def _rescan(self) -> None:
        """Models are saved and faces come while one looks at the screen."""
        if not self.is_current or self._progress:
            return
        workspace = self.recaster.workspace
        for side, before in self._signatures.items():
            if workspace is None:
                break
            if face_facts.signature(getattr(workspace, f"{side}_faces")) != before:
                self.load()
                return
        self.run_worker(
            self._load_lists(workspace), group="lists", exclusive=True, exit_on_error=False
        )

    # -- actions --------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what makes sense now is bound."""
        if not self.is_mounted or not self.query(FacesetView):
            return True
        if action == "skipped":
            return any((f := self._view(s).facts) and f.skipped for s in _SIDES)
        if action == "refresh":
            return self.recaster.workspace is not None
        return True

    def action_refresh(self) -> None:
        """Read the faces again, even where the folder looks the same."""
        workspace = self.recaster.workspace
        if workspace is not None:
            # Faces may have come to a folder that was not there before.
            workspace = open_workspace(workspace.root, must_look_right=False)
            self.recaster.workspace = workspace
            for folder in (workspace.src_faces, workspace.dst_faces):
                face_facts.forget(folder)
            self._clear(workspace)
        self.load()

    def action_skipped(self) -> None:
        """The files left out, and why."""
        from recaster_tui.ui.screens.skipped import SkippedScreen

        items = [
            (name, item)
            for side, name in _SIDES.items()
            if (facts := self._view(side).facts) is not None
            for item in facts.skipped
        ]
        if items:
            self.app.push_screen(SkippedScreen(items))

    def action_open(self) -> None:
        """Type a path."""
        from recaster_tui.ui.screens.open_workspace import OpenScreen

        workspace = self.recaster.workspace
        start = workspace.root.parent if workspace is not None else Path.cwd()
        self.app.push_screen(OpenScreen(start), self._open)

    def _open(self, root: Path | None) -> None:
        if root is None:
            return
        try:
            self.recaster.open_workspace(root)
        except (RecasterError, OSError) as error:
            self.notify(str(error), title="Cannot open", severity="error", timeout=10)
            return
        self.open_tab("workspace")
        self.tick()

    def on_table_view_chosen(self, event: TableView.Chosen) -> None:
        """Enter on a recent workspace opens it, on a model shows its last run."""
        event.stop()
        if isinstance(event.table, RecentTable):
            self._open(Path(event.key))
        elif (model := self._models.get(event.key)) is not None:
            self.run_worker(self._show_model(model), group="model", exit_on_error=False)

    async def _show_model(self, model: ModelFact) -> None:
        workspace = self.recaster.workspace
        if model.dfl or workspace is None:
            self.notify("these are DeepFaceLab's own files; they are only listed", timeout=5)
            return
        wanted = (str(workspace.root), model.name, model.model_class)
        for record in self.recaster.supervisor.records():
            if (record.workspace, record.model_name, record.model_class) == wanted:
                try:
                    await self.recaster.open_run(record.run_id)
                except RecasterError as error:
                    self.notify(str(error), severity="error", timeout=10)
                return
        self.notify("no run of this model is remembered", title=model.name, timeout=5)

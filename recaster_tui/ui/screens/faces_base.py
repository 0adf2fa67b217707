"""The Faces screen: its panels, what is read, and what is shown of it."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from textual.binding import BindingType
from textual.containers import Container
from textual.markup import escape
from textual.timer import Timer
from textual.widget import Widget

from recaster_tui.errors import RecasterError
from recaster_tui.ui import face_facts
from recaster_tui.ui.face_picture import Overlay, Source, draw_face, draw_source, find_source
from recaster_tui.ui.face_side import FaceSide, Reading
from recaster_tui.ui.hires import USUAL_CELL
from recaster_tui.ui.screens.base import ModeScreen
from recaster_tui.ui.screens.faces_keys import FACES_KEYS, FIRST_KEYS
from recaster_tui.ui.sharp import SharpPicture
from recaster_tui.ui.terminal import Images
from recaster_tui.ui.widgets.face_captions import Caption
from recaster_tui.ui.widgets.face_detail import FaceDetail, FaceText, Painter
from recaster_tui.ui.widgets.face_grid import FaceGrid
from recaster_tui.ui.widgets.job_line import JobLines
from recaster_tui.ui.widgets.panel import Panel
from recaster_tui.ui.widgets.project_tables import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recaster_tui.faces.face import Face

log = logging.getLogger(__name__)

SIDES = ("src", "dst")
_REST = 0.18  # seconds without a key until the face under the cursor is shown large
_LOOK_EVERY = 2.0
_EMPTY = {
    "src": "data_src.mp4",
    "dst": "data_dst.mp4",
}
MASK_OVERLAYS = frozenset({Overlay.HULL, Overlay.MASK, Overlay.POLYGONS})


class FacesBase(ModeScreen):
    """Panels and reading; subclasses add what can be done with faces."""

    BINDING_GROUP_TITLE = "Faces"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide"), (160, "-broad")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = FACES_KEYS
    FIRST_KEYS: ClassVar[frozenset[str]] = FIRST_KEYS
    AUTO_FOCUS = ""

    def __init__(self) -> None:
        super().__init__()
        self.at_side = "src"
        self.sides: dict[str, FaceSide] = {}
        self.overlays: frozenset[Overlay] = frozenset()
        self.frame_wanted = False
        self._root: Path | None = None
        self._loaded = False
        self._rest: Timer | None = None
        self._reading: dict[str, tuple[int, int]] = {}
        self._loading: set[str] = set()
        self._stop = threading.Event()
        self._looked = 0.0
        self._source: tuple[Any, Source | RecasterError] | None = None
        self._sharp: SharpPicture | None = None
        self._keep: dict[str, list[str]] = {}

    # -- layout ---------------------------------------------------------------------------------

    def body(self) -> Iterable[Widget]:
        """Jobs above; source, destination, and the face under the cursor."""
        yield JobLines(id="faces-jobs")
        yield Container(id="faces-filter-line")
        grids = [
            Panel(FaceGrid(id=f"grid-{side}"), title=title, id=f"{side}-panel")
            for side, title in (("src", "Source"), ("dst", "Destination"))
        ]
        detail = Panel(
            FaceDetail(id="face-detail", text_right=False), title="Face", id="face-panel"
        )
        detail.border_subtitle = "L landmarks · M masks · f frame"
        yield Container(*grids, detail, id="faces")

    def on_mount(self) -> None:
        """The grid has the focus."""
        terminal = self.recaster.terminal
        pictures = terminal is None or terminal.images is not Images.OFF
        for side in SIDES:
            grid = self.grid_of(side)
            grid.pictures = pictures
            grid.hint = "reading …"
            if terminal is not None and terminal.images is Images.SIXEL:
                grid.pixels.cell = terminal.cell or USUAL_CELL
            self._wire(grid, side)
        self.detail.pictures = pictures
        self._sharp = SharpPicture(
            self.recaster.terminal, self.detail, self.query_one("#face-panel")
        )
        self.set_class(True, "-side-src")
        self.grid.focus()
        self._place_detail()

    def on_unmount(self) -> None:
        """Threads that read need not go on."""
        self._stop.set()
        for side in self.sides.values():
            side.close()

    def _wire(self, grid: FaceGrid, name: str) -> None:
        def picture(face: int, pixels: int) -> "NDArray[np.uint8] | None":
            side = self.sides.get(name)
            if side is None or side.thumbnails is None:
                return None
            if side.thumbnails.failed(face):
                return _broken()
            return side.thumbnails.get(face, 64 if pixels <= 64 else 128)

        def caption(face: int) -> Caption:
            side = self.sides.get(name)
            return side.caption(face) if side is not None else Caption("")

        def wish(faces: Sequence[int]) -> None:
            side = self.sides.get(name)
            if side is not None and side.thumbnails is not None:
                side.thumbnails.prefetch(faces)

        def key(face: int) -> int:
            side = self.sides.get(name)
            return side.catalog.key(face) if side is not None and side.catalog is not None else 0

        grid.picture, grid.caption, grid.wish, grid.key = picture, caption, wish, key

    def grid_of(self, side: str) -> FaceGrid:
        """The grid of ``src`` or ``dst``."""
        return self.query_one(f"#grid-{side}", FaceGrid)

    @property
    def grid(self) -> FaceGrid:
        """The one worked with."""
        return self.grid_of(self.at_side)

    @property
    def side(self) -> FaceSide | None:
        """The faces worked with."""
        return self.sides.get(self.at_side)

    @property
    def detail(self) -> FaceDetail:
        """The face under the cursor."""
        return self.query_one("#face-detail", FaceDetail)

    @property
    def face(self) -> int | None:
        """Under the cursor."""
        return self.grid.face if self.side is not None else None

    def on_resize(self) -> None:
        """Beside the grid or instead of it."""
        self.call_after_refresh(self._place_detail)

    def _place_detail(self) -> None:
        wide = self.has_class("-wide") or self.has_class("-broad")
        both = self.has_class("-both")
        self.set_class(wide and both and not self.has_class("-broad"), "-no-detail")

    # -- reading --------------------------------------------------------------------------------

    def tick(self) -> None:
        """Another workspace? Other files? How far is the reading?"""
        workspace = self.recaster.workspace
        root = workspace.root if workspace is not None else None
        if root != self._root or not self._loaded:
            self._root, self._loaded = root, True
            self._begin()
            return
        for name in list(self._reading):
            side = self.sides.get(name)
            if side is not None and side.order.key not in ("name", "source"):
                side.forget_values()
                self.grid_of(name).update_captions()
            self._captions(name)
        if time.monotonic() - self._looked > _LOOK_EVERY:
            self._looked = time.monotonic()
            for name, side in self.sides.items():
                if name not in self._loading and side.changed():
                    self.reload(name)

    def _begin(self) -> None:
        """Another workspace: everything anew."""
        self._stop.set()
        self._stop = threading.Event()
        for side in self.sides.values():
            side.close()
        self.sides.clear()
        self._reading.clear()
        workspace = self.recaster.workspace
        for name in SIDES:
            grid = self.grid_of(name)
            grid.hint = "reading …" if workspace else "No workspace is open: 1, then o, opens one."
            grid.show(np.zeros(0, np.int64))
            if workspace is not None:
                self.sides[name] = FaceSide(workspace, name)
                self.reload(name)
            self._captions(name)
        self.show_face()

    def reload(self, name: str) -> None:
        """Read a side as it is now; the cursor stays on its face."""
        side = self.sides.get(name)
        if side is not None:
            self._loading.add(name)

            async def work() -> None:
                await self._reload(side)

            group = f"faces-{name}"
            self.run_worker(
                work,  # type: ignore[arg-type]  # not awaited yet, so that it may be dropped
                group=group,
                exclusive=True,
                exit_on_error=False,
            )

    async def _reload(self, side: FaceSide) -> None:
        stop, name = self._stop, side.side
        try:
            reading = await asyncio.to_thread(side.read)
        except Exception as error:  # a set of faces from anywhere must never end the screen
            log.exception("reading %s", side.folder)
            seen = face_facts.signature(side.folder)
            reading = Reading(side.workspace, seen, f"cannot be read: {error}")
        self._loading.discard(name)
        if stop.is_set() or self.sides.get(name) is not side:
            if reading.thumbnails is not None:
                reading.thumbnails.close()
            return
        self.recaster_workspace_moved(reading)
        keep = self._keep.pop(name, None) or self._names_from_cursor(name)
        side.take(reading)
        self.rearranged(name, keep)
        catalog = side.catalog
        if catalog is None or catalog.known >= len(catalog):
            return
        self._reading[name] = (catalog.known, len(catalog))

        def measure() -> None:
            for known in catalog.refresh(lambda: stop.is_set() or side.catalog is not catalog):
                self._reading[name] = (known, len(catalog))

        try:
            await asyncio.to_thread(measure)
        except Exception:  # what is not measured stays unknown
            log.exception("measuring %s", side.folder)
        finally:
            if side.catalog is catalog:
                self._reading.pop(name, None)
        if not stop.is_set() and side.catalog is catalog:
            keep = self._names_from_cursor(name)
            side.forget_values()
            side.arrange()
            self.rearranged(name, keep)

    def recaster_workspace_moved(self, reading: Reading) -> None:
        """Faces may have come to a folder that was not there before: the app should know."""
        app = self.recaster
        if app.workspace is not None and app.workspace.root == reading.workspace.root:
            app.workspace = reading.workspace

    def _names_from_cursor(self, name: str) -> list[str]:
        """The face under the cursor, then those after it, then those before."""
        side, grid = self.sides.get(name), self.grid_of(name)
        if side is None or side.catalog is None or grid.faces is None or not len(grid):
            return []
        names, at = side.catalog.names, grid.cursor
        order = [*grid.faces[at : at + 500].tolist(), *grid.faces[:at][::-1][:500].tolist()]
        return [names[face] for face in order if face < len(names)]

    def keep_cursor_near(self, name: str) -> None:
        """After the next reading the cursor is where it is now, or on the next face left."""
        self._keep[name] = self._names_from_cursor(name)

    def rearranged(self, name: str, keep: Sequence[str] = ()) -> None:
        """Show a side in its present order; the cursor on the first of *keep* that is there."""
        side, grid = self.sides[name], self.grid_of(name)
        cursor = 0
        if side.catalog is not None and len(side.shown):
            place = {int(face): at for at, face in enumerate(side.shown)} if keep else {}
            for wanted in keep:
                face = side.catalog.index(wanted)
                if face is not None and face in place:
                    cursor = place[face]
                    break
        grid.hint = self._hint(side)
        grid.show(side.shown, cursor)
        self._captions(name)
        if name == self.at_side:
            self.show_face()
        self.refresh_bindings()

    def _hint(self, side: FaceSide) -> str:
        """What an empty grid says."""
        if side.problem:
            what = f"{side.problem[:1].upper()}{side.problem[1:]}."
            if side.hint:
                return f"{what}\n{side.hint}"
            video = side.workspace.video(side.side)
            folder = side.workspace.relative(side.folder.parent)
            source = video.name if video is not None else f"the frames in {folder}"
            if video is None and not side.frames:
                return (
                    f"{what}\n\nPut a video {_EMPTY[side.side]} (or .mkv, .mov, .avi, .webm) into "
                    f"the workspace, or frames into {folder}; then press e."
                )
            return (
                f"{what}\n\nPress e to extract them from {source}.\n\nFaces that DeepFaceLab "
                f"extracted go to {side.workspace.relative(side.folder)}."
            )
        if side.filter_text:
            return f"No face fits {side.filter_text}\n\nesc clears the filter."
        return "Nothing here."

    def _captions(self, name: str) -> None:
        side = self.sides.get(name)
        panel = self.query_one(f"#{name}-panel", Panel)
        title = "Source" if name == "src" else "Destination"
        if side is None:
            panel.caption(title=title, subtitle="")
            return
        folder = printable(side.workspace.relative(side.folder))
        damaged = side.damaged_count
        more = f"  ! {damaged} damaged" if damaged else ""
        panel.caption(title=escape(f"{title}  {folder}{more}"))
        text = side.summary()
        if name in self._reading:
            known, total = self._reading[name]
            text += f" · measuring {known:,} of {total:,}"
        panel.caption(subtitle=escape(text))

    # -- the face under the cursor --------------------------------------------------------------

    def on_face_grid_moved(self, event: FaceGrid.Moved) -> None:
        """Another face: it is shown large when the keys rest."""
        if event.grid is self.grid:
            self.show_face_soon()

    def on_face_grid_chosen(self, event: FaceGrid.Chosen) -> None:
        """A click on the face under the cursor."""
        self.run_worker(self.run_action("open"), exit_on_error=False)

    def show_face_soon(self) -> None:
        """Whoever holds a key down passes by."""
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(_REST, self.show_face)

    def show_face(self) -> None:
        """Show the face under the cursor in the panel, and where it is shown alone."""
        for detail in self.details():
            self._show_in(detail)

    def details(self) -> list[FaceDetail]:
        """Where the face under the cursor is shown."""
        from recaster_tui.ui.screens.faces_full import FaceScreen

        shown = [self.detail] if self.detail.display else []
        front = [s for s in self.app.screen_stack if isinstance(s, FaceScreen)]
        return [*shown, *(s.detail for s in front)]

    def _show_in(self, detail: FaceDetail) -> None:
        side, face = self.side, self.face
        if side is None or face is None or side.catalog is None or face >= len(side.catalog):
            detail.show(None, None)
            return
        key = (
            side.side,
            side.catalog.names[face],
            side.catalog.key(face),
            side.version,
            self.overlays,
            self.frame_wanted,
        )
        detail.show(key, self.painter(side, face, self.overlays, frame=self.frame_wanted))

    def painter(
        self, side: FaceSide, face: int, overlays: frozenset[Overlay], *, frame: bool = False
    ) -> Painter:
        """What draws and describes a face, in a thread."""
        catalog = side.catalog
        assert catalog is not None

        def paint(across: int, down: int) -> "tuple[NDArray[np.uint8] | None, FaceText]":
            data: Face | None = None
            picture, note, where = None, "", ""
            try:
                data = catalog.face(face)
                if frame:
                    source = self._frame_of(side, data)
                    picture = draw_source(
                        source, data, across, down, landmarks=Overlay.LANDMARKS in overlays
                    )
                    where = source.where
                else:
                    pixels = catalog.pixels(face)
                    picture = draw_face(pixels, data, overlays, max(2, min(across, down)))
            except (RecasterError, OSError) as error:
                note = error.message if isinstance(error, RecasterError) else str(error)
            return picture, side.text(face, data, note, where)

        return paint

    def _frame_of(self, side: FaceSide, face: "Face") -> Source:
        """The frame of a face; the last one is kept, neighbours are often from the same."""
        key = (side.side, side.workspace.root, face.source_filename)
        known = self._source
        if known is None or known[0] != key:
            try:
                known = (key, find_source(side.workspace, side.side, face))
            except RecasterError as error:
                known = (key, error)
            self._source = known
        if isinstance(known[1], RecasterError):
            raise known[1]
        return known[1]

    def on_face_detail_shown(self, event: FaceDetail.Shown) -> None:
        """Pixels follow where the terminal can."""
        if self._sharp is not None:
            self._sharp.soon()


def _broken() -> "NDArray[np.uint8]":
    """In the place of a picture that cannot be decoded: a cross on grey."""
    picture = np.full((64, 64, 3), 60, np.uint8)
    for i in range(8, 56):
        picture[i, i - 1 : i + 2] = picture[i, 62 - i : 65 - i] = (200, 80, 80)
    return picture

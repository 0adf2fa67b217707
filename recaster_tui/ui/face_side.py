"""One side's faces as the screen works with them: catalog, order, filter, findings, edits.

Everything lasting is on disk (marks and values in the catalog's cache, edits in the trash's
journal); what is kept here can be read again at any time. Methods marked *thread* may take long.
"""

import logging
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recaster_tui.errors import RecasterError
from recaster_tui.ui import face_facts, words
from recaster_tui.ui.face_picture import FRAME_SUFFIXES
from recaster_tui.ui.widgets.face_captions import Caption
from recaster_tui.ui.widgets.face_detail import FaceText, Value, score_colour
from recaster_tui.ui.widgets.project_tables import printable
from recaster_tui.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recaster_tui.faces.catalog import Catalog, ColumnInfo, Filter
    from recaster_tui.faces.edits import FaceEdits
    from recaster_tui.faces.face import Face
    from recaster_tui.faces.quality import Check, FaceScore
    from recaster_tui.faces.thumbnails import Thumbnails
    from recaster_tui.jobs import Reporter

log = logging.getLogger(__name__)

NAMES = {"src": "source", "dst": "destination"}
SCORE = "score"
_QUIET = ("name", "source", SCORE)  # orders whose value stands elsewhere, or is the name


@dataclass(frozen=True)
class Order:
    """How faces are ordered.

    Attributes:
        key: ``name``, ``source``, or a column of the catalog.
        method: of DeepFaceLab's sorting: it has to be run, which makes the column.
        quiet: the column holds places, no figures worth showing.
    """

    key: str = "name"
    label: str = "name"
    descending: bool = False
    method: str = ""
    quiet: bool = False

    @property
    def arrow(self) -> str:
        """Its direction."""
        return "↓" if self.descending else "↑"


@dataclass(frozen=True)
class Reading:
    """A folder of faces as it was read.

    Attributes:
        problem: why there are none.
        frames: where there are none, whether there are frames to extract them from.
    """

    workspace: Workspace
    seen: object
    problem: str = ""
    hint: str = ""
    frames: bool = False
    catalog: "Catalog | None" = None
    thumbnails: "Thumbnails | None" = None
    edits: "FaceEdits | None" = None
    check: "Check | None" = None


def read_check(folder: Path) -> "Check | None":
    """*Thread.* What the last check of these faces found."""
    from recaster_tui.faces.quality import load_check

    try:
        return load_check(folder)
    except RecasterError as error:
        log.info("check of %s: %s", folder, error)
        return None


def has_frames(folder: Path) -> bool:
    """Whether *folder* holds pictures to extract faces from."""
    try:
        with os.scandir(folder) as entries:
            return any(Path(entry.name).suffix.lower() in FRAME_SUFFIXES for entry in entries)
    except OSError:
        return False


class FaceSide:
    """Source or destination of one workspace."""

    def __init__(self, workspace: Workspace, side: str) -> None:
        self.workspace = workspace
        self.side = side
        self.catalog: Catalog | None = None
        self.thumbnails: Thumbnails | None = None
        self.edits: FaceEdits | None = None
        self.check: Check | None = None
        self.problem = ""
        self.hint = ""
        self.frames = False
        self.order = Order()
        self.filter_text = ""
        self.shown: NDArray[np.int64] = np.zeros(0, np.int64)
        self.columns: dict[str, ColumnInfo] = {}
        self.version = 0  # of what is known of the faces
        self.seen: object = None  # how the folder looked when it was read
        self._filter: Filter | None = None
        self._scores: dict[str, FaceScore] = {}
        self._values: dict[str, NDArray[np.float32]] = {}
        self._marked: NDArray[np.bool_] = np.zeros(0, np.bool_)

    @property
    def name(self) -> str:
        """In words."""
        return NAMES[self.side]

    @property
    def folder(self) -> Path:
        """Of the aligned faces."""
        return self.workspace.src_faces if self.side == "src" else self.workspace.dst_faces

    def __len__(self) -> int:
        return 0 if self.catalog is None else len(self.catalog)

    # -- reading --------------------------------------------------------------------------------

    def read(self) -> "Reading":
        """*Thread.* List the faces as they are now; what is known is not measured again."""
        from recaster_tui.faces.catalog import Catalog
        from recaster_tui.faces.edits import FaceEdits
        from recaster_tui.faces.quality import follow
        from recaster_tui.faces.thumbnails import Thumbnails

        workspace = open_workspace(self.workspace.root, must_look_right=False)
        folder = workspace.src_faces if self.side == "src" else workspace.dst_faces
        seen = face_facts.signature(folder)
        if not folder.is_dir():
            problem = f"no faces of the {self.name} yet"
            return Reading(workspace, seen, problem, frames=has_frames(folder.parent))
        before = self.catalog
        try:
            if before is not None and before.folder == folder:
                catalog = before.reopened()
            else:
                catalog = Catalog.open(folder)
            reading = Reading(workspace, seen, catalog=catalog, edits=FaceEdits(folder))
        except RecasterError as error:
            return Reading(workspace, seen, error.message, error.hint or "")
        if not len(catalog):
            problem = f"no faces of the {self.name} yet"
            return replace(reading, problem=problem, frames=has_frames(folder.parent))
        check = read_check(folder)
        if check is not None:
            check = follow(check, catalog)
        return replace(reading, thumbnails=Thumbnails(catalog), check=check)

    def take(self, reading: "Reading") -> None:
        """Show what was read from now on; faces are numbered anew."""
        old, self.thumbnails = self.thumbnails, reading.thumbnails
        if old is not None:
            old.close()
        self.workspace, self.seen = reading.workspace, reading.seen
        self.problem, self.hint, self.frames = reading.problem, reading.hint, reading.frames
        self.catalog, self.edits, self.check = reading.catalog, reading.edits, reading.check
        self._scores = {s.name: s for s in self.check.scores} if self.check is not None else {}
        self.forget_values()
        self.arrange()

    def changed(self) -> bool:
        """Whether faces came, went or were edited since they were read."""
        return face_facts.signature(self.folder) != self.seen

    def forget_values(self) -> None:
        """Columns changed."""
        catalog = self.catalog
        self.version += 1
        self._values = {}
        self.columns = dict(catalog.columns) if catalog is not None else {}
        self._marked = catalog.marked if catalog is not None else np.zeros(0, np.bool_)

    def close(self) -> None:
        """Let go of threads and files."""
        if self.thumbnails is not None:
            self.thumbnails.close()
            self.thumbnails = None

    # -- order and filter -----------------------------------------------------------------------

    def set_filter(self, text: str) -> None:
        """Show only what fits.

        Raises:
            BadInputError: the text means nothing; says why, with a hint. The filter stays.
        """
        from recaster_tui.faces.catalog import parse_filter

        wanted = parse_filter(text, tuple(self.columns) or None)
        self.filter_text = text.strip()
        self._filter = None if wanted.empty else wanted

    def arrange(self) -> None:
        """Order and filter anew."""
        catalog = self.catalog
        if catalog is None or not len(catalog):
            self.shown = np.zeros(0, np.int64)
            return
        try:
            chosen = None if self._filter is None else catalog.matching(self._filter)
        except KeyError:  # the column went with the values it held
            self._filter, self.filter_text, chosen = None, "", None
        order = self._arranged(catalog)
        self.shown = (order if chosen is None else order[chosen[order]]).astype(np.int64)

    def _arranged(self, catalog: "Catalog") -> "NDArray[np.intp]":
        order = self.order
        try:
            return catalog.sorted_by(order.key, order.descending)
        except KeyError:
            self.order = Order()
            return catalog.sorted_by("name")

    def run_method(self, order: Order, report: "Reporter") -> tuple[Order, list[str]]:
        """*Thread.* Run one of DeepFaceLab's methods; its outcome becomes a column.

        Returns:
            the order by that column, and the names that the method would drop.

        Raises:
            RecasterError: it cannot sort these faces.
        """
        from recaster_tui.faces import sorting

        catalog = self.catalog
        if catalog is None:
            return order, []
        result = sorting.sort_order(catalog, order.method, report)
        if not result.complete:
            return order, []
        sorting.remember(catalog, result)
        return replace(order, method=""), list(result.trash)

    def turn(self) -> None:
        """The other direction."""
        self.order = replace(self.order, descending=not self.order.descending)

    # -- marks ----------------------------------------------------------------------------------

    @property
    def marked(self) -> "NDArray[np.int64]":
        """Faces that are marked, whether shown or not."""
        return np.flatnonzero(self._marked).astype(np.int64)

    def is_marked(self, face: int) -> bool:
        """Whether it is marked."""
        return face < len(self._marked) and bool(self._marked[face])

    def mark(self, faces: Iterable[int], marked: bool = True) -> None:
        """Mark faces, or take their marks away."""
        if self.catalog is not None:
            self.catalog.mark(faces, marked)
            self._marked = self.catalog.marked

    def invert_marks(self) -> None:
        """Of the faces shown: marked ones become unmarked, and the other way round."""
        shown = self.shown
        marked = self._marked[shown]
        self.mark(shown[~marked].tolist())
        self.mark(shown[marked].tolist(), False)

    def targets(self, face: int | None) -> list[int]:
        """What an action is for: the marked faces, else *face*."""
        marked = self.marked.tolist()
        return marked or ([face] if face is not None else [])

    def names(self, faces: Iterable[int]) -> list[str]:
        """Their file names."""
        assert self.catalog is not None
        return [self.catalog.names[face] for face in faces]

    # -- what is said of a face -----------------------------------------------------------------

    def value(self, key: str, face: int) -> float:
        """A face's value of a column; NaN where unknown."""
        catalog = self.catalog
        if catalog is None:
            return math.nan
        values = self._values  # another thread may forget them meanwhile
        known = values.get(key)
        if known is None:
            try:
                known = catalog.column(key)
            except KeyError:
                known = np.full(len(catalog), np.nan, np.float32)
            values[key] = known
        return float(known[face]) if face < len(known) else math.nan

    def poses(self) -> "NDArray[np.float32]":
        """(n, 2) float32 degrees: yaw (positive: nose to the picture's right) and pitch."""
        if self.catalog is None:
            return np.zeros((0, 2), np.float32)
        return np.stack([self.catalog.column("yaw"), self.catalog.column("pitch")], axis=1)

    def score(self, face: int) -> "FaceScore | None":
        """What the check says of a face."""
        return self._scores.get(self.catalog.names[face]) if self.catalog is not None else None

    def caption(self, face: int) -> Caption:
        """Below a thumbnail: name, score, and the value it is ordered by, or what is wrong."""
        catalog = self.catalog
        if catalog is None or face >= len(catalog):
            return Caption("")
        name = self.shown_name(face)
        stem = name[:-4] if name.lower().endswith(".jpg") else name
        found = self._scores.get(catalog.names[face])
        score = f"{found.score:.0f}" if found is not None else ""
        colour = score_colour(found.score) if found is not None else "text"
        problem = catalog.problem(face)
        notes = [f"! {problem}"] if problem else []
        key = self.order.key
        if key not in _QUIET and not self.order.quiet:
            notes.append(self.written(key, self.value(key, face)))
        if found is not None:
            notes += [finding.code for finding in found.findings]
        return Caption(stem, score, colour, " ".join(notes), self.is_marked(face))

    def shown_name(self, face: int) -> str:
        """A face's file name as it may be shown."""
        from recaster_tui.faces.catalog import shown_name

        assert self.catalog is not None
        return printable(shown_name(self.catalog.names[face]))

    def written(self, key: str, value: float) -> str:
        """A value with its unit."""
        info = self.columns.get(key)
        unit = info.unit if info is not None else ""
        if not math.isfinite(value):
            return "–"
        if unit == "°":
            return f"{round(value):+d}°"
        if unit == "B":
            return words.size(value)
        if abs(value) >= 100 or value == int(value):
            return f"{value:,.0f}{unit and ' ' + unit}"
        return f"{value:.3g}{unit and ' ' + unit}"

    def text(self, face: int, data: "Face | None", note: str = "", frame: str = "") -> FaceText:
        """Everything that is known of a face, in words; *frame*: where its frame was found."""
        catalog = self.catalog
        assert catalog is not None
        found = self.score(face)
        findings: list[tuple[str, str]] = []
        if problem := catalog.problem(face):
            findings.append(("error", f"no usable face: {problem}"))
        if found is not None:
            findings += [
                ("error" if f.severity >= 0.5 else "warning", f"{f.code}: {f.reason}")
                for f in found.findings
            ]
        rows: list[Value] = []
        if data is not None:
            height, width = data.shape[:2]
            rows.append(Value("face", f"{data.face_type.value}, {width}×{height}"))
            if frame or data.source_filename:
                rows.append(Value("frame", frame or printable(data.source_filename or "")))
            if doubt := data.extra.get("recaster_doubt"):
                findings.append(("warning", f"doubtful: {doubt}"))
            drawn = len(data.polygons)
            mask = [f"{drawn} polygon{'s' * (drawn != 1)}"] if drawn else []
            mask += ["XSeg mask"] if data.xseg_mask is not None else []
            rows.append(Value("mask", ", ".join(mask) or "hull of the landmarks"))
        pose = [self.value(key, face) for key in ("yaw", "pitch", "roll")]
        if any(math.isfinite(v) for v in pose):
            yaw, pitch, roll = (
                self.written(key, v) for key, v in zip(("yaw", "pitch", "roll"), pose, strict=True)
            )
            rows += [Value("yaw, pitch", f"{yaw}, {pitch}"), Value("roll", roll)]
        told = {"yaw", "pitch", "roll", "size", "has_polygons", "has_xseg", "doubt", SCORE}
        for key, info in self.columns.items():
            if key in told or key.startswith(("finding.", "sort_")):
                continue
            value = self.value(key, face)
            if math.isfinite(value):
                rows.append(Value(info.label, self.written(key, value)))
        score = found.score if found is not None else None
        return FaceText(self.shown_name(face), tuple(rows), tuple(findings), score, note)

    # -- summary --------------------------------------------------------------------------------

    def summary(self) -> str:
        """For the frame: how many, how many shown and marked, in which order."""
        if self.catalog is None or not len(self.catalog):
            return ""
        all_faces, shown = len(self.catalog), len(self.shown)
        parts = [f"{all_faces:,} faces" if shown == all_faces else f"{shown:,} of {all_faces:,}"]
        if marked := len(self.marked):
            parts.append(f"{marked:,} marked")
        if self.filter_text:
            parts.append(self.filter_text)
        parts.append(f"by {self.order.label} {self.order.arrow}")
        return " · ".join(parts)

    @property
    def damaged(self) -> list[int]:
        """Files that are no usable faces, as far as they have been read."""
        catalog = self.catalog
        if catalog is None:
            return []
        return [i for i in range(len(catalog)) if catalog.problem(i)]

    @property
    def damaged_count(self) -> int:
        """How many of them there are."""
        return len(self.damaged)

    def counts(self) -> dict[str, int]:
        """How many faces the check accuses of what."""
        return self.check.counts() if self.check is not None else {}

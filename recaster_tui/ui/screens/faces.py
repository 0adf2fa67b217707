"""The Faces screen: looking at a faceset, cleaning it, and the jobs that make and judge it."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from recaster_tui import jobs
from recaster_tui.errors import RecasterError
from recaster_tui.jobs import JobState, JobStatus
from recaster_tui.ui import face_facts
from recaster_tui.ui.face_side import NAMES as SIDE_NAMES
from recaster_tui.ui.screens.faces_edits import FacesEdits
from recaster_tui.ui.screens.faces_extract import ExtractScreen
from recaster_tui.ui.screens.help import Picker
from recaster_tui.ui.widgets.job_line import NAMES, JobLines

_KINDS = ("extract", "check", "mask", "sort")
_ASK_EVERY = 1.0  # seconds between two looks at the jobs


class FacesScreen(FacesEdits):
    """Adds the jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[tuple[str, str], JobState] = {}
        self._hidden: set[tuple[str, str, float]] = set()
        self._asked = 0.0
        self._asking = False
        self._begun = time.time()

    # -- following ------------------------------------------------------------------------------

    def tick(self) -> None:
        """Jobs, too."""
        super().tick()
        if not self._asking and time.monotonic() - self._asked > _ASK_EVERY:
            self.look_at_jobs()

    def look_at_jobs(self) -> None:
        """Read what the jobs say, in a thread."""
        self._asked = time.monotonic()
        if self._root is not None:
            self.run_worker(self._read_jobs(), group="faces-jobs", exit_on_error=False)

    async def _read_jobs(self) -> None:
        root = self._root
        assert root is not None
        self._asking = True
        try:
            found = await asyncio.to_thread(_read_all, root)
        finally:
            self._asking = False
        if root != self._root:
            return
        before, self.jobs = self.jobs, found
        shown = []
        for key, job in found.items():
            running = job.status is JobStatus.RUNNING
            old = before.get(key)
            if old is not None and old.status is JobStatus.RUNNING and not running:
                self._job_ended(job)
            # What ended before this screen was there is old news.
            told = running or job.started + job.seconds >= self._begun
            if told and (*key, job.started) not in self._hidden:
                shown.append(job)
        self.query_one(JobLines).show(shown)
        if [(k, j.status) for k, j in before.items()] != [(k, j.status) for k, j in found.items()]:
            self.refresh_bindings()

    def _job_ended(self, job: JobState) -> None:
        """Its work is on disk: read it."""
        name = job.side
        if (side := self.sides.get(name)) is not None:
            face_facts.forget(side.folder)
            self.reload(name)
        title = f"{NAMES.get(job.kind, job.kind)} {SIDE_NAMES.get(name, name)}".capitalize()
        if job.status in (JobStatus.FAILED, JobStatus.LOST):
            text = job.text + (f"\nhint: {job.hint}" if job.hint else "")
            if job.status is JobStatus.LOST and job.kind == "extract":
                text += "\nWhat it wrote is there; e goes on where it was."
            self.notify(text, title=f"{title} failed", severity="error", timeout=15)
        else:
            done = "stopped" if job.status is JobStatus.STOPPED else "done"
            said = job.text or "".join(job.notes[-1:]) or done
            self.notify(said, title=f"{title}: {done}", timeout=6)

    def hide_jobs(self) -> bool:
        """Lines of jobs that are over."""
        lines = self.query_one(JobLines)
        over = [job for job in lines.jobs if job.status is not JobStatus.RUNNING]
        for job in over:
            self._hidden.add((job.kind, job.side, job.started))
        if over:
            lines.show([job for job in lines.jobs if job not in over])
        return bool(over)

    def running(self) -> list[JobState]:
        """Jobs that go on, those of the side worked with first."""
        found = [job for job in self.jobs.values() if job.status is JobStatus.RUNNING]
        return sorted(found, key=lambda job: job.side != self.at_side)

    # -- starting and stopping ------------------------------------------------------------------

    def start(self, kind: str, side: str, arguments: Sequence[str]) -> None:
        """Start ``recaster ARGUMENTS`` as a job."""
        self.run_worker(self._start(kind, side, list(arguments)), exit_on_error=False)

    async def _start(self, kind: str, side: str, arguments: list[str]) -> None:
        root = self._root
        assert root is not None
        try:
            await asyncio.to_thread(jobs.start_job, root, kind, side, arguments)
        except RecasterError as error:
            self.notify(str(error), title="Cannot start", severity="error", timeout=10)
            return
        self.look_at_jobs()

    def action_extract(self) -> None:
        """Ask for settings, then extract."""
        side = self.side
        if side is None:
            return
        if self._busy_with("extract"):
            return
        name = side.side

        def answered(arguments: list[str] | None) -> None:
            if arguments is not None:
                self.start("extract", name, arguments)

        self.app.push_screen(ExtractScreen(side.workspace, name, len(side)), answered)

    def action_check(self) -> None:
        """Score every face."""
        side = self.side
        if side is not None and len(side) and not self._busy_with("check"):
            self.start("check", side.side, ["faces", "check", str(self._root), side.side])

    def action_auto_mask(self) -> None:
        """Masks for all faces of this side."""
        side = self.side
        if side is None or not len(side) or self._busy_with("mask"):
            return
        name = side.side
        items: list[tuple[str, str, list[str]]] = [
            ("Automatic mask", "stored as XSeg mask in every face", ["--to", "mask"]),
            ("Automatic polygons", "only faces without polygons; to be corrected with m",
             ["--to", "polygons", "--only-unlabelled"]),
            *(
                (f"XSeg model {model}", "apply a model that was trained here",
                 ["--with", model, "--to", "mask"])
                for model in xseg_models(self.recaster.workspace)
            ),
            ("Worst first", "order faces by how much the mask differs from its label or hull",
             ["--worst", "0"]),
            ("Fetch labelled faces", "copy faces with polygons to aligned_xseg, for training",
             ["--fetch"]),
            ("Remove XSeg masks", "polygons stay; u brings the masks back", ["--remove", "mask"]),
            ("Remove polygons", "XSeg masks stay; u brings the polygons back",
             ["--remove", "polygons"]),
        ]  # fmt: skip

        def answered(options: list[str] | None) -> None:
            if options is not None:
                self.start("mask", name, ["faces", "mask", str(self._root), name, *options])

        self.app.push_screen(Picker(f"Masks of all {side.name} faces", items), answered)

    def _busy_with(self, kind: str) -> bool:
        job = self.jobs.get((kind, self.at_side))
        if job is None or job.status is not JobStatus.RUNNING:
            return False
        self.notify(f"{NAMES[kind]} is running; x stops it", timeout=5)
        return True

    def action_stop(self) -> None:
        """End a job soon; what it wrote stays, and it can go on."""
        running = self.running()
        if running and self._root is not None:
            job = running[0]
            jobs.stop_job(self._root, job.kind, job.side)
            self.notify("it ends when the file it is at is whole", title="Stopping", timeout=4)

    # -- keys -----------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what makes sense now is bound."""
        if not self.is_mounted or not self.query(JobLines):
            return True
        if self.focused is not None and self.focused.id == "faces-filter-input":
            return action in ("back", "side")
        side = self.side
        there = side is not None and side.catalog is not None and len(side.catalog) > 0
        match action:
            case "open" | "mark" | "trash" | "order" | "reverse" | "filter" | "edit_mask":
                return there
            case "check" | "auto_mask" | "range" | "mark_all" | "invert" | "mark_none" | "rename":
                return there
            case "compare" | "overlay" | "frame":
                return there
            case "prune":
                return there and side is not None and side.check is not None
            case "extract" | "poses" | "refresh" | "side" | "both":
                return self.recaster.workspace is not None
            case "undo" | "redo" | "trashed":
                return side is not None and side.edits is not None
            case "stop":
                return bool(self.running())
            case "damaged":
                return any(s.damaged_count for s in self.sides.values())
        return True


def xseg_models(workspace: Any) -> list[str]:
    """Names of XSeg models that were trained or imported here."""
    if workspace is None or not workspace.models.is_dir():
        return []
    return sorted(p.stem for p in workspace.models.glob("*.xseg") if (p / "CURRENT").exists())


def _read_all(root: Any) -> dict[tuple[str, str], JobState]:
    found = {}
    for kind in _KINDS:
        for side in ("src", "dst"):
            if (state := jobs.read_job(root, kind, side)) is not None:
                found[kind, side] = state
    return found

"""Extraction: frames in, aligned faces out, over all cores; stopped and gone on with at will.

The parent hands out one frame at a time to each worker and writes down what became of it; it
imports neither torch nor a decoder. When smoothing, a frame goes out twice: its faces are found,
wait until those of the next frames are known, and are then cut by the smoothed landmarks.
"""

import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

import numpy as np
import psutil
from numpy.typing import NDArray

from recaster_tui.errors import DamagedError, EnvironmentProblem
from recaster_tui.extraction.children import Child
from recaster_tui.extraction.finder import FoundFace
from recaster_tui.extraction.journal import FrameRecord, Journal
from recaster_tui.extraction.messages import (
    Answer,
    Fatal,
    Ready,
    SharedMemory,
    Step,
    Task,
    WorkerSetup,
)
from recaster_tui.extraction.pictures import list_pictures
from recaster_tui.extraction.place import (
    Input,
    aligned_folder,
    done_stems,
    find_input,
    open_journal,
    side_folder,
)
from recaster_tui.extraction.report import ExtractReport, read_earlier
from recaster_tui.extraction.settings import ExtractSettings
from recaster_tui.extraction.smoothing import HALF, TrackSmoother, is_cut
from recaster_tui.extraction.sources import (
    Item,
    PictureSource,
    Source,
    VideoSource,
    frame_numbers,
)
from recaster_tui.helpers import usable_cores
from recaster_tui.jobs import Reporter
from recaster_tui.workspace import Workspace

_ATTEMPTS = 2
_HOPELESS = 5  # frames lost in a row, or workers that never got ready
_WORKER_BYTES = 700 << 20
_STOP_SECONDS = 15.0
_TOLD_WARNINGS = 20


def extract(
    workspace: Workspace, side: str, settings: ExtractSettings, report: Reporter
) -> ExtractReport:
    """Extract the faces of a side; goes on where an earlier call ended.

    Faces go to ``data_<side>/aligned`` as ``<frame>_<k>.jpg``, the report to
    ``data_<side>/extraction.toml``, frames of a video (where wanted) to ``data_<side>``. Existing
    faces are never overwritten. When *report* asks to stop, frames in work are finished first.

    Args:
        side: ``src`` or ``dst``.

    Returns:
        what the side holds now; ``complete`` is False where it was stopped or the video is
        damaged (then ``problems`` say how).

    Raises:
        BadInputError: nothing to read, or faces of other settings are there.
        DamagedError: nothing of the input can be decoded.
        EnvironmentProblem: the disk, or helper processes that keep ending.
    """
    source = find_input(workspace, side, settings, report)
    base, aligned = side_folder(workspace, side), aligned_folder(workspace, side)
    stored = workspace.relative(source.path)
    with open_journal(aligned, settings, report) as journal, ExitStack() as stack:
        done = done_stems(journal, aligned, settings, source, stored, report)
        frames_as = _frames_as(workspace, side, settings, source, stored, journal, report)
        summary = _settings_table(settings, frames_as)
        result = ExtractReport(aligned, stored, source.kind, summary)
        memory = SharedMemory()
        stack.callback(memory.close)
        workers = settings.workers or _worker_count()
        frames = _open_source(source, done, settings, memory, workers)
        stack.callback(frames.close)
        journal.begin(
            {"input": stored, "kind": source.kind, "started": round(time.time(), 3), **summary}
        )
        # Killed, it must still be known that frames in the folder are those of the video.
        result.complete = False
        result.fill(journal.frames.values())
        _write_report(result, workspace, side)
        debug = aligned.with_name("aligned_debug") if settings.debug else None
        setup = WorkerSetup(settings, aligned, debug, base if frames_as != "none" else None)
        before = len(journal.frames), journal.faces
        started = time.monotonic()
        run = _Run(setup, frames, memory, workers, journal, report, result)
        try:
            run.work()
        except OSError as error:  # the journal; workers tell of theirs
            raise EnvironmentProblem(
                f"cannot write: {error.strerror or error}",
                where=error.filename or aligned,
                hint="free some space; the same command goes on there",
            ) from error
        finally:
            result.seconds = time.monotonic() - started
            result.new_frames = len(journal.frames) - before[0]
            result.new_faces = journal.faces - before[1]
            result.problems = list(frames.problems)
            result.complete = run.finished and not frames.problems
            result.fill(journal.frames.values())
            _write_report(result, workspace, side)
    for problem in frames.problems:
        report.warning(
            f"{source.path.name}: {problem}", "the faces of what could be decoded are kept"
        )
    return result


def _open_source(
    source: Input, done: set[str], settings: ExtractSettings, memory: SharedMemory, workers: int
) -> Source:
    if source.kind == "pictures":
        return PictureSource(source.pictures, done, settings)
    held = _held(workers, settings)
    return VideoSource(source.path, frame_numbers(done, settings.prefix), settings, memory, held)


def _held(workers: int, settings: ExtractSettings) -> int:
    """Frames in memory: in work, the next ones, and those that wait for their neighbours."""
    return 2 * workers + 2 + (HALF + workers if settings.smooth else 0)


def _frames_as(
    workspace: Workspace,
    side: str,
    settings: ExtractSettings,
    source: Input,
    stored: str,
    journal: Journal,
    report: Reporter,
) -> str:
    """As what frames are written; ``none`` where others of these names lie there."""
    if source.kind == "pictures" or settings.frames == "none":
        return "none"
    base = side_folder(workspace, side)
    runs = [*journal.runs, read_earlier(base) or {}]
    wanted = (stored, settings.prefix)
    ours = any(
        (run.get("input"), run.get("prefix")) == wanted and run.get("frames") != "none"
        for run in runs
    )
    if ours or not base.is_dir():
        return settings.frames
    there = {path.stem for path in list_pictures(base)[0]}
    if frame_numbers(there, settings.prefix):
        report.note(f"{base.name} holds frames of such names; those of the video are not written")
        return "none"
    return settings.frames


def _settings_table(settings: ExtractSettings, frames_as: str) -> dict[str, object]:
    table: dict[str, object] = {
        "detector": settings.detector,
        "face_type": settings.face_type.value,
        "size": settings.face_size,
        "quality": settings.quality,
        "max_faces": settings.max_faces,
        "every": settings.every,
        "smooth": settings.smooth,
        "prefix": settings.prefix,
        "frames": frames_as,
    }
    if settings.fps is not None:
        table["fps"] = settings.fps
    return table


def _worker_count() -> int:
    """One per core that this process may use, as far as memory goes."""
    return max(1, min(usable_cores(), int(psutil.virtual_memory().available // _WORKER_BYTES)))


def _write_report(result: ExtractReport, workspace: Workspace, side: str) -> None:
    try:
        result.write(side_folder(workspace, side))
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write the report: {error.strerror or error}",
            where=side_folder(workspace, side),
        ) from error


@dataclass
class _Job:
    """A frame on its way."""

    item: Item
    attempts: int = 0
    found: tuple[FoundFace, ...] | None = None  # None while the detector has not answered
    glance: NDArray[np.uint8] | None = None
    problem: str | None = None


class _Worker:
    """A helper process and what it is at."""

    def __init__(self, setup: WorkerSetup, memory: SharedMemory) -> None:
        self.child = Child("recaster_tui.extraction.worker", setup, memory=memory.descriptor)
        self.ready = False
        self.task: Task | None = None


class _Run:
    """One run of the extraction: who works on what."""

    def __init__(
        self,
        setup: WorkerSetup,
        source: Source,
        memory: SharedMemory,
        workers: int,
        journal: Journal,
        report: Reporter,
        result: ExtractReport,
    ) -> None:
        self._setup, self._settings = setup, setup.settings
        self._source, self._memory = source, memory
        self._count = workers
        self._journal, self._report, self._result = journal, report, result
        self._workers: dict[Connection, _Worker] = {}
        self._jobs: dict[int, _Job] = {}
        self._urgent: deque[Task] = deque()  # tried again, or waiting for its second half
        self._next_number = 0
        self._smoother = TrackSmoother() if self._settings.smooth else None
        self._to_smooth = 0  # the next number that goes into the smoother
        self._smoothing: deque[int] = deque()  # numbers inside of it
        self._last_order = -2  # of the frame that went in last
        self._last_glance: NDArray[np.uint8] | None = None
        self._flushed = False
        self._finished = 0
        self._lost_in_row = self._never_ready = self._unreadable = 0
        self._faces = journal.faces
        self._none = self._doubtful = 0
        self.finished = False

    def work(self) -> None:
        """Until every frame is done, or a stop is asked for."""
        try:
            self._loop()
        finally:
            for worker in self._workers.values():
                worker.child.end()
        self._tell()

    def _loop(self) -> None:
        stop_at: float | None = None
        while True:
            if stop_at is None and self._report.stop_requested():
                stop_at = time.monotonic() + _STOP_SECONDS
                self._source.close()
            if stop_at is None:
                self._hand_out()
            busy = any(worker.task is not None for worker in self._workers.values())
            if stop_at is not None and (not busy or time.monotonic() > stop_at):
                return
            if stop_at is None and self._all_done(busy):
                self.finished = True
                return
            connections = list(self._workers)
            if stop_at is None and (more := self._source.connection) is not None:
                connections.append(more)
            for connection in wait(connections, 0.2):
                self._receive(connection)  # type: ignore[arg-type]
            self._watch()
            self._source.watch()
            self._tell()

    def _all_done(self, busy: bool) -> bool:
        if busy or self._urgent or not self._source.exhausted:
            return False
        if self._smoother is not None and not self._flushed:
            self._flushed = True
            for faces in self._smoother.flush():
                self._smoothed(list(faces))
            return not self._urgent
        return not self._jobs

    # --- handing out -----------------------------------------------------------------------

    def _hand_out(self) -> None:
        for worker in self._workers.values():
            if worker.ready and worker.task is None and (task := self._next_task()) is not None:
                self._give(worker, task)
        # A worker costs seconds to start: only as many as there is work for.
        needed = bool(self._urgent) or self._source.waiting
        if needed and len(self._workers) < min(self._count, self._left()):
            worker = _Worker(self._setup, self._memory)
            self._workers[worker.child.connection] = worker

    def _left(self) -> int:
        """Frames still to do, as far as known; never less than one."""
        known = self._source.total - self._source.skipped - self._finished
        return max(1, len(self._urgent), known) if self._source.total else self._count

    def _next_task(self) -> Task | None:
        if self._urgent:
            return self._urgent.popleft()
        if len(self._jobs) >= _held(self._count, self._settings):
            return None
        item = self._source.take()
        if item is None:
            return None
        number = self._next_number
        self._next_number += 1
        self._jobs[number] = _Job(item)
        step = Step.ALL if self._smoother is None else Step.FIND
        return Task(number, item.frame, step)

    def _give(self, worker: _Worker, task: Task) -> None:
        worker.task = task
        worker.child.send(task)  # a child that is gone is found by its connection

    # --- what comes back -------------------------------------------------------------------

    def _receive(self, connection: Connection) -> None:
        worker = self._workers.get(connection)
        if worker is None:
            self._source.receive()
            return
        try:
            message = worker.child.receive()
        except EOFError:
            self._gone(worker, worker.child.last_words())
            return
        match message:
            case Ready():
                worker.ready = True
                self._never_ready = 0
            case Fatal():
                raise message.error()
            case Answer():
                task, worker.task = worker.task, None
                assert task is not None and task.number == message.number
                self._lost_in_row = 0
                self._answered(task, message)

    def _answered(self, task: Task, answer: Answer) -> None:
        stages = self._result.stages
        for stage, seconds in answer.seconds.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
        job = self._jobs[task.number]
        if answer.unreadable is not None:
            job.problem = answer.unreadable
            self._unreadable += 1
            if self._unreadable <= _TOLD_WARNINGS:
                self._report.warning(f"{task.frame.filename}: {answer.unreadable}")
            elif self._unreadable == _TOLD_WARNINGS + 1:
                self._report.warning("more frames cannot be read: see extraction.toml")
        if task.step is Step.FIND:
            job.found, job.glance = answer.found, answer.glance
            self._feed_smoother()
        else:
            self._record(task.number, answer.faces, answer.doubts)

    def _gone(self, worker: _Worker, why: str) -> None:
        """A worker ended: its frame is tried once more by another one, then left out."""
        self._workers.pop(worker.child.connection, None)
        worker.child.end()
        if not worker.ready:
            self._never_ready += 1
            if self._never_ready >= _HOPELESS:
                raise EnvironmentProblem(f"the helper processes end at once: {why}")
        task = worker.task
        if task is None:
            return
        job = self._jobs[task.number]
        job.attempts += 1
        if job.attempts < _ATTEMPTS:
            self._urgent.appendleft(task)
            return
        self._lost_in_row += 1
        if self._lost_in_row >= _HOPELESS:
            raise EnvironmentProblem(
                f"the helper processes end again and again: {why}",
                where=task.frame.filename,
                hint="is memory short? The same command goes on there; --workers 1 needs less",
            )
        job.problem = f"left out: the helper that worked on it ended twice ({why})"
        self._report.warning(f"{task.frame.filename}: {job.problem}")
        if task.step is Step.FIND:
            job.found = ()
            self._feed_smoother()
        else:
            self._record(task.number, 0, ())

    def _watch(self) -> None:
        limit = self._settings.timeout
        for worker in list(self._workers.values()):
            starts = not worker.ready
            if (worker.task is not None or starts) and worker.child.silent_seconds > limit:
                self._gone(worker, f"nothing for {limit:.0f} s")

    # --- smoothing -------------------------------------------------------------------------

    def _feed_smoother(self) -> None:
        """Every frame that follows the last one without a gap goes in."""
        smoother = self._smoother
        assert smoother is not None
        while (job := self._jobs.get(self._to_smooth)) is not None and job.found is not None:
            cut = job.item.order != self._last_order + 1
            if job.glance is not None and self._last_glance is not None:
                cut = cut or is_cut(self._last_glance, job.glance)
            self._last_order, self._last_glance = job.item.order, job.glance
            self._smoothing.append(self._to_smooth)
            self._to_smooth += 1
            for faces in smoother.push(job.found, cut=cut):
                self._smoothed(list(faces))

    def _smoothed(self, faces: list[FoundFace]) -> None:
        """The oldest frame in the smoother is ready for its second half."""
        number = self._smoothing.popleft()
        job = self._jobs[number]
        if job.item.context or job.problem is not None:
            self._record(number, 0, ())
        else:
            self._urgent.append(Task(number, job.item.frame, Step.FINISH, tuple(faces)))

    # --- done ------------------------------------------------------------------------------

    def _record(self, number: int, faces: int, doubts: tuple[tuple[int, str], ...]) -> None:
        job = self._jobs.pop(number)
        frame = job.item.frame
        self._source.give_back(frame)
        if job.item.context:
            return
        self._journal.add(FrameRecord(frame.stem, frame.filename, faces, doubts, job.problem))
        self._finished += 1
        self._faces += faces
        self._none += faces == 0 and job.problem is None
        self._doubtful += bool(doubts)

    def _tell(self) -> None:
        current = self._source.skipped + self._finished
        total = current if self.finished else max(current, self._source.total)
        if not self._source.total and not self.finished:
            total = 0
        self._report.progress(
            current,
            total,
            "finding faces",
            faces=self._faces,
            without=self._none,
            doubtful=self._doubtful,
        )


def check_readable(result: ExtractReport) -> None:
    """Raise where nothing at all could be read.

    Raises:
        DamagedError: not one frame.
    """
    if not result.frames and result.unreadable:
        raise DamagedError(
            f"none of the {len(result.unreadable)} frames can be read: {result.unreadable[0][1]}",
            where=result.unreadable[0][0],
        )

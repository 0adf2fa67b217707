"""A helper process of the extraction: finds, cuts and writes the faces of one frame at a time."""

import importlib
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from recaster_tui.errors import BadInputError, DamagedError, EnvironmentProblem, RecasterError
from recaster_tui.extraction.children import child_connection
from recaster_tui.extraction.finder import FaceFinder, Factory, FoundFace, make_finder
from recaster_tui.extraction.messages import (
    Answer,
    Fatal,
    Frame,
    Ready,
    SharedMemory,
    Step,
    Task,
    WorkerSetup,
)
from recaster_tui.extraction.pictures import even, read_picture
from recaster_tui.extraction.smoothing import glance
from recaster_tui.extraction.writer import (
    Picture,
    cut_faces,
    debug_picture,
    write_cut,
    write_debug,
    write_frame,
)

GUESSED = "the frame is damaged in the video"


def load_finder(name: str, weights: Path | None) -> FaceFinder:
    """A detector by its name, or by ``module:factory`` one that somebody else wrote.

    Raises:
        BadInputError: there is none, or it cannot be made.
    """
    if ":" not in name:
        return make_finder(name, threads=1, weights=weights)
    module, _, attribute = name.partition(":")
    try:
        factory = cast(Factory, getattr(importlib.import_module(module), attribute))
        return factory(1, weights)
    except RecasterError:
        raise
    except Exception as error:  # a plug-in may fail in any way
        raise BadInputError(
            f"the detector {name!r} cannot be made: {type(error).__name__}: {error}"
        ) from error


@dataclass
class Stages:
    """How long each stage of a frame took, in seconds."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Count the time inside for *stage*."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent


class Worker:
    """Does tasks; holds the detector."""

    def __init__(self, setup: WorkerSetup, finder: FaceFinder, memory: SharedMemory) -> None:
        self._setup, self._finder, self._memory = setup, finder, memory

    def do(self, task: Task) -> Answer:
        """One task.

        Raises:
            OSError: the disk.
            FaceFileError: a face could not be written.
        """
        stages = Stages()
        try:
            with stages.of("decode"):
                picture = self._pixels(task.frame)
        except DamagedError as error:
            return Answer(task.number, unreadable=error.message, seconds=stages.seconds)
        settings = self._setup.settings
        found: list[FoundFace] = list(task.faces)
        if task.step is not Step.FINISH:
            with stages.of("find"):
                found = list(self._finder.find(picture, max_faces=settings.max_faces))
            if settings.max_faces:
                found = found[: settings.max_faces]
        if task.step is Step.FIND:
            return Answer(
                task.number, found=tuple(found), glance=glance(picture), seconds=stages.seconds
            )
        faces, doubts = self._write(task.frame, picture, found, stages)
        return Answer(task.number, faces=faces, doubts=tuple(doubts), seconds=stages.seconds)

    def _pixels(self, frame: Frame) -> Picture:
        if frame.path is not None:
            return even(read_picture(frame.path))
        if frame.slot is not None:
            return even(self._memory.view(frame.slot))
        assert frame.pixels is not None
        return even(frame.pixels)

    def _write(
        self, frame: Frame, picture: Picture, found: list[FoundFace], stages: Stages
    ) -> tuple[int, list[tuple[int, str]]]:
        setup, settings = self._setup, self._setup.settings
        if setup.frames is not None and frame.path is None:
            with stages.of("encode"):
                write_frame(setup.frames / frame.filename, picture)
        with stages.of("warp"):
            cuts = cut_faces(picture, found, settings.face_size, settings.face_type)
        doubts = []
        with stages.of("encode"):
            for k, cut in enumerate(cuts):
                path = setup.aligned / f"{frame.stem}_{k}.jpg"
                write_cut(path, cut, settings.face_type, frame.filename, settings.quality)
                if frame.damaged or cut.found.doubt:
                    doubts.append((k, cut.found.doubt or GUESSED))
        if setup.debug is not None:
            with stages.of("debug"):
                write_debug(setup.debug / f"{frame.stem}.jpg", debug_picture(picture, found, cuts))
        return len(cuts), doubts


def main(arguments: list[str]) -> int:
    """Serve tasks until the connection ends."""
    import cv2

    cv2.setNumThreads(1)  # there is one worker per core already
    logging.disable(logging.WARNING)
    connection, descriptor = child_connection(arguments)
    try:
        setup: WorkerSetup = connection.recv()
        try:
            finder = load_finder(setup.settings.detector, setup.settings.weights)
        except RecasterError as error:
            connection.send(Fatal.of(error))
            return 1
        worker = Worker(setup, finder, SharedMemory(descriptor))
        connection.send(Ready())
        while True:
            task: Task = connection.recv()
            try:
                connection.send(worker.do(task))
            except BrokenPipeError:
                return 0
            except OSError as error:
                what = error.strerror or str(error)
                problem = EnvironmentProblem(
                    f"cannot write: {what}",
                    where=error.filename or setup.aligned,
                    hint="free some space or check the rights; the same command goes on there",
                )
                connection.send(Fatal.of(problem))
                return 1
            except RecasterError as error:
                connection.send(Fatal.of(error))
                return 1
    except (EOFError, ConnectionError):
        return 0  # the extraction is gone


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

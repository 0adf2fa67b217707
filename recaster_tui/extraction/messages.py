"""What the extraction and its helper processes say to each other, pickled over a socket pair.

Both ends are this program, on this machine; nothing from a file of the user's is unpickled.
"""

import mmap
import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recaster_tui.errors import EnvironmentProblem, ExitCode, RecasterError
from recaster_tui.extraction.finder import FoundFace
from recaster_tui.extraction.settings import ExtractSettings


class Step(StrEnum):
    """What a worker does with a frame: all of it, or (when smoothing) one half and the other."""

    ALL = "all"
    FIND = "find"
    FINISH = "finish"


@dataclass(frozen=True)
class Slot:
    """A frame (height, width, 3) of uint8 at *offset* of the shared memory."""

    offset: int
    height: int
    width: int

    @property
    def size(self) -> int:
        """In bytes."""
        return self.height * self.width * 3


@dataclass(frozen=True)
class Frame:
    """A frame to work on, and where its pixels are.

    Attributes:
        stem: the faces are called ``<stem>_<k>.jpg``.
        filename: what the faces say they come from.
        path: the picture, where frames lie in a folder.
        slot: where the decoder has put it, for a video.
        pixels: the frame itself, where it does not fit the slots.
        damaged: the decoder had to guess.
    """

    stem: str
    filename: str
    path: Path | None = None
    slot: Slot | None = None
    pixels: NDArray[np.uint8] | None = None
    damaged: bool = False


@dataclass(frozen=True)
class WorkerSetup:
    """The first message to a worker. *debug*, *frames*: folders, None = not wanted."""

    settings: ExtractSettings
    aligned: Path
    debug: Path | None
    frames: Path | None


@dataclass(frozen=True)
class Task:
    """Work on one frame; *faces* only for :attr:`Step.FINISH`."""

    number: int
    frame: Frame
    step: Step
    faces: tuple[FoundFace, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What became of a task.

    Attributes:
        found: what the detector gave (:attr:`Step.FIND`).
        glance: at the frame, likewise; see ``smoothing.glance``.
        faces: written, or there already.
        doubts: (number of the face, why it is doubtful).
        unreadable: why the frame could not be read; nothing else counts then.
        seconds: by stage: decode, find, warp, encode.
    """

    number: int
    found: tuple[FoundFace, ...] = ()
    glance: NDArray[np.uint8] | None = None
    faces: int = 0
    doubts: tuple[tuple[int, str], ...] = ()
    unreadable: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ready:
    """A worker has loaded its networks."""


@dataclass(frozen=True)
class Fatal:
    """A helper cannot go on, for a reason that would be the same for another one."""

    message: str
    where: str | None
    hint: str | None
    exit_code: int

    @classmethod
    def of(cls, error: RecasterError) -> "Fatal":
        """From an error."""
        return cls(error.message, error.where, error.hint, int(error.exit_code))

    def error(self) -> RecasterError:
        """As the error that it was."""
        found = RecasterError(self.message, where=self.where, hint=self.hint)
        found.exit_code = ExitCode(self.exit_code)
        return found


@dataclass(frozen=True)
class ReaderSetup:
    """The first message to a decoder.

    Attributes:
        skip: numbers of frames that are not needed.
    """

    path: Path
    every: int
    fps: float | None
    skip: frozenset[int]


@dataclass(frozen=True)
class Room:
    """A free place for a frame, from the extraction to the decoder."""

    offset: int
    size: int


@dataclass(frozen=True)
class Decoded:
    """A frame of a video, in *slot* or as *pixels*; *selected* counts those skipped, too."""

    number: int
    room: Room
    damaged: bool
    selected: int
    slot: Slot | None
    pixels: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Alive:
    """A decoder that passes over frames which are done, or not selected."""

    selected: int


@dataclass(frozen=True)
class Ended:
    """The video is over. *problems*: what was wrong with it."""

    selected: int
    problems: tuple[str, ...]


class SharedMemory:
    """Memory that children inherit as a file descriptor: no name, gone with the last of them."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _anonymous_file() if descriptor is None else descriptor
        self._map: mmap.mmap | None = None

    def resize(self, size: int) -> None:
        """Make it *size* bytes; only the process that made it, before anything is in it.

        Raises:
            EnvironmentProblem: there is not as much.
        """
        try:
            os.ftruncate(self.descriptor, size)
        except OSError as error:
            raise EnvironmentProblem(
                f"no memory for frames ({size >> 20:,} MB): {error.strerror}",
                hint="--workers 1 needs less",
            ) from error

    def view(self, slot: Slot) -> NDArray[np.uint8]:
        """The frame in *slot*, (height, width, 3), not a copy."""
        if self._map is None or slot.offset + slot.size > len(self._map):
            # The old map lives as long as arrays look into it.
            self._map = mmap.mmap(self.descriptor, 0)
        flat = np.frombuffer(self._map, np.uint8, slot.size, slot.offset)
        return flat.reshape(slot.height, slot.width, 3)

    def close(self) -> None:
        """Give it back."""
        self._map = None
        os.close(self.descriptor)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("recaster-frames")
    import tempfile

    with tempfile.TemporaryFile() as file:  # macOS
        return os.dup(file.fileno())

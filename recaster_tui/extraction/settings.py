"""What an extraction is asked for (dfl-data.md 5.1)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recaster_tui.errors import BadInputError
from recaster_tui.faces.types import FaceType

FrameFiles = Literal["jpg", "png", "none"]

FACE_TYPES = (FaceType.HALF, FaceType.MIDFULL, FaceType.FULL, FaceType.WHOLE, FaceType.HEAD)
SMALLEST, LARGEST = 256, 2048
_DEFAULT_SIZE, _HEAD_SIZE = 512, 768


@dataclass(frozen=True)
class ExtractSettings:
    """Settings of :func:`recaster_tui.extraction.pipeline.extract`, checked when made.

    Attributes:
        input: a video or a folder of pictures; None chooses (see ``place.find_input``).
        face_type: how much of the head is shown; one of :data:`FACE_TYPES`.
        size: side of an aligned face in pixels, 256 to 2048; 0 = 512, 768 for heads, as DFL.
        quality: JPEG quality of the faces, 1 to 100.
        max_faces: the largest N of a frame; 0 = all.
        every: only every Nth frame (the first, the N+1st, …), with ``fps`` only one of the two.
        fps: so many frames a second of a video; None = all.
        smooth: smooth the landmarks over neighbouring frames.
        debug: write a picture of each frame with what was found, to ``aligned_debug``.
        detector: name of a finder, or ``module:factory`` of one's own.
        weights: the finder's weight files, where it needs some.
        fresh: move faces that are there to the trash first, instead of going on.
        frames: frames of a video are written beside the faces' folder as this, or not.
        prefix: put before the frame numbers of a video, to add it to faces of another one.
        workers: processes; None = one per core.
        timeout: seconds after which a worker that says nothing is replaced.
    """

    input: Path | None = None
    face_type: FaceType = FaceType.WHOLE
    size: int = 0
    quality: int = 90
    max_faces: int = 0
    every: int = 1
    fps: float | None = None
    smooth: bool = False
    debug: bool = False
    detector: str = "mediapipe"
    weights: Path | None = None
    fresh: bool = False
    frames: FrameFiles = "jpg"
    prefix: str = ""
    workers: int | None = None
    timeout: float = 120.0

    def __post_init__(self) -> None:
        if self.face_type not in FACE_TYPES:
            raise BadInputError(
                f"faces of type {self.face_type.value!r} cannot be extracted",
                hint="the types are " + ", ".join(kind.value for kind in FACE_TYPES),
            )
        _within("size", self.size or _DEFAULT_SIZE, SMALLEST, LARGEST)
        _within("quality", self.quality, 1, 100)
        _within("max-faces", self.max_faces, 0, 1000)
        _within("every", self.every, 1, 1_000_000)
        if self.fps is not None:
            if not 0 < self.fps <= 1000:
                raise BadInputError(f"fps is above 0 and at most 1000, not {self.fps:g}")
            if self.every != 1:
                raise BadInputError("give either every or fps, not both")
        if self.workers is not None:
            _within("workers", self.workers, 1, 1024)
        if not self.timeout > 0:
            raise BadInputError(f"the timeout is above 0 seconds, not {self.timeout:g}")
        if not all(c.isalnum() or c in "-." for c in self.prefix) or self.prefix[:1] == ".":
            raise BadInputError(
                f"a prefix is made of letters, digits, - and ., not {self.prefix!r}",
                hint="_ separates the frame's name from the face's number",
            )

    @property
    def face_size(self) -> int:
        """Side of an aligned face in pixels."""
        return self.size or (_HEAD_SIZE if self.face_type is FaceType.HEAD else _DEFAULT_SIZE)


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise BadInputError(f"{name} is from {low} to {high}, not {value}")

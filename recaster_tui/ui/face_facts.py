"""What the Project screen tells of a set of faces; read in a thread, remembered.

Importing this is cheap; numpy and OpenCV come with the first reading.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from recaster_tui.errors import RecasterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recaster_tui.faces.face import Face
    from recaster_tui.faces.faceset import Skipped

log = logging.getLogger(__name__)

MOST_POSES = 4_000
SAMPLES = 24
SAMPLE_PIXELS = 96
_REMEMBERED = 8

Progress = Callable[[str, int, int], None]
"""(what, done, total), called from the reading thread."""


class CancelledError(Exception):
    """Nobody wants to know any more."""


@dataclass(frozen=True)
class Video:
    """A film beside the faces. ``seconds`` and ``fps`` are 0 where the file does not say."""

    name: str
    width: int = 0
    height: int = 0
    fps: float = 0.0
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class FaceFacts:
    """A folder of faces in figures.

    Attributes:
        problem: why there is nothing to tell (no folder, a broken pack); else empty.
        types: (face type, how many), most frequent first.
        sizes: ((height, width), how many), most frequent first.
        poses: (n, 2) float32 degrees: yaw (positive: nose to the picture's right) and pitch
            (positive: up) of *posed* faces.
        posed: how many faces the poses were taken from: all, or evenly spread ones.
        samples: (96, 96, 3) uint8 RGB, from the face looking most to the left to the rightmost.
    """

    folder: Path
    problem: str = ""
    count: int = 0
    pack: str = ""
    types: tuple[tuple[str, int], ...] = ()
    sizes: tuple[tuple[tuple[int, int], int], ...] = ()
    masks: int = 0
    polygons: int = 0
    skipped: "tuple[Skipped, ...]" = ()
    poses: "NDArray[np.float32] | None" = None
    samples: "tuple[NDArray[np.uint8], ...]" = field(default=())

    @property
    def posed(self) -> int:
        """Faces whose pose is known."""
        return len(self.poses) if self.poses is not None else 0

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """(code, how many) of the files left out, most frequent first."""
        return Counter(item.code for item in self.skipped).most_common()


_known: dict[Path, tuple[object, FaceFacts]] = {}
_lock = threading.Lock()


def signature(folder: Path) -> object:
    """Changes when files come or go (not when one is rewritten in place)."""
    try:
        pack = folder / "faceset.pak"
        packed = pack.stat() if pack.is_file() else None
        return folder.stat().st_mtime_ns, packed and (packed.st_mtime_ns, packed.st_size)
    except OSError:
        return None


def known_facts(folder: Path) -> FaceFacts | None:
    """What was read before, if the folder still looks the same."""
    with _lock:
        known = _known.get(folder)
    return known[1] if known is not None and known[0] == signature(folder) else None


def read_facts(folder: Path, progress: Progress, cancelled: threading.Event) -> FaceFacts:
    """Read every face's metadata, poses, and a few pictures.

    Raises:
        CancelledError: *cancelled* was set meanwhile.
    """
    before = signature(folder)

    def tell(what: str, done: int, total: int) -> None:
        if cancelled.is_set():
            raise CancelledError
        progress(what, done, total)

    facts = _read(folder, tell)
    with _lock:
        _known[folder] = (before, facts)
        while len(_known) > _REMEMBERED:
            _known.pop(next(iter(_known)))
    return facts


def forget(folder: Path) -> None:
    """Read *folder* anew next time."""
    with _lock:
        _known.pop(folder, None)


def _read(folder: Path, tell: Progress) -> FaceFacts:
    from recaster_tui.faces.faceset import open_faceset

    if not folder.is_dir():
        return FaceFacts(folder, problem="there is no such folder")
    try:
        faceset = open_faceset(folder, lambda done, total: tell("faces", done, total))
    except RecasterError as error:
        return FaceFacts(folder, problem=str(error))
    faces = faceset.faces
    poses, chosen = _poses(faces, tell)
    return FaceFacts(
        folder,
        count=len(faces),
        pack=faceset.pack.name if faceset.pack else "",
        types=tuple(Counter(f.face_type.value for f in faces).most_common()),
        sizes=tuple(Counter((f.shape[0], f.shape[1]) for f in faces).most_common()),
        masks=sum(f.xseg_mask is not None for f in faces),
        polygons=sum(bool(f.polygons) for f in faces),
        skipped=tuple(faceset.skipped),
        poses=poses,
        samples=_samples(chosen, poses, tell),
    )


def _spread(count: int, most: int) -> list[int]:
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def _poses(faces: "list[Face]", tell: Progress) -> "tuple[NDArray[np.float32], list[Face]]":
    import numpy as np

    from recaster_tui.faces.pose import pitch_yaw_roll

    chosen = [faces[i] for i in _spread(len(faces), MOST_POSES)]
    poses = np.zeros((len(chosen), 2), np.float32)
    for i, face in enumerate(chosen):
        if i % 64 == 0:
            tell("poses", i, len(chosen))
        pitch, yaw, _ = pitch_yaw_roll(face.landmarks, face.shape[0])
        # DFL's yaw is positive for a nose at the picture's left.
        poses[i] = np.degrees((-yaw, pitch))
    return poses, chosen


def _samples(
    faces: "list[Face]", poses: "NDArray[np.float32]", tell: Progress
) -> "tuple[NDArray[np.uint8], ...]":
    import cv2
    import numpy as np

    from recaster_tui.faces.codec import decode_pixels

    order = np.argsort(poses[:, 0], kind="stable")
    found: list[NDArray[np.uint8]] = []
    picks = _spread(len(order), SAMPLES)
    for n, i in enumerate(picks):
        tell("pictures", n, len(picks))
        try:
            pixels = decode_pixels(faces[int(order[i])])
        except RecasterError as error:
            log.info("no thumbnail: %s", error)
            continue
        small = cv2.resize(pixels, (SAMPLE_PIXELS, SAMPLE_PIXELS), interpolation=cv2.INTER_AREA)
        found.append(np.ascontiguousarray(small[..., ::-1]).astype(np.uint8))
    return tuple(found)


def read_video(path: Path) -> Video:
    """Size and length by the file's own header; nothing is decoded."""
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                return Video(path.name, problem="holds no picture")
            stream = container.streams.video[0]
            rate = stream.average_rate
            if stream.duration is not None and stream.time_base is not None:
                seconds = float(stream.duration * stream.time_base)
            else:
                seconds = (container.duration or 0) / 1_000_000
            return Video(
                path.name,
                stream.codec_context.width,
                stream.codec_context.height,
                float(rate) if rate else 0.0,
                max(0.0, seconds),
            )
    except (OSError, ValueError) as error:  # PyAV's own errors are of these kinds
        log.info("%s: %s", path, error)
        return Video(path.name, problem="cannot be read as a video")


def uncovered(of: "NDArray[np.float32]", by: "NDArray[np.float32]", reach: float = 8.0) -> float:
    """Share of the poses in *of* that have no pose of *by* within *reach* degrees, 0..1."""
    import numpy as np

    if not len(of) or not len(by):
        return 1.0 if len(of) else 0.0
    far = 0
    for start in range(0, len(of), 256):
        part = of[start : start + 256]
        distance = ((part[:, None] - by[None]) ** 2).sum(-1).min(1)
        far += int(np.count_nonzero(distance > reach**2))
    return far / len(of)

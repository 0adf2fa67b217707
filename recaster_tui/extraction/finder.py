"""What extraction asks of a detector: faces of one frame, with their landmarks.

A detector is a plug-in: an object with a name and a method :meth:`FaceFinder.find`, and a factory
in :data:`FINDERS`. ``mediapipe`` ships with its weights; ``mediapipe-thorough`` is the same with a
search of every frame for small faces beside large ones and, where nothing is found, for faces on
their side or head; ``s3fd-fan`` are DeepFaceLab's own networks, for those who have its weight
files.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recaster_tui.errors import BadInputError

Frame = NDArray[np.uint8]
Points = NDArray[np.float32]


@dataclass(frozen=True)
class FoundFace:
    """One face of a frame. Points are (x, y) in pixels of the frame, y down, (0, 0) the centre of
    the first pixel; they may lie outside of it.
    """

    rect: Points  # (4,) left, top, right, bottom
    landmarks: Points  # (68, 2) in iBUG order
    mesh: Points | None  # (478, 3) of the face mesh; z in pixels too, smaller is nearer
    score: float  # 0..1, how sure the detector is that this is a face
    doubt: str | None  # in words, why the landmarks may be wrong; None where nothing speaks so


class FaceFinder(Protocol):
    """Finds faces. Not thread-safe: one per process or thread."""

    name: str

    def find(self, frame_bgr: Frame, *, max_faces: int = 0) -> list[FoundFace]:
        """The faces of a frame, largest first.

        Args:
            frame_bgr: (H, W, 3), any size.
            max_faces: keep only the largest so many; 0 keeps all.
        """
        ...


Factory = Callable[[int, Path | None], FaceFinder]  # threads, weights


def _mediapipe(threads: int, weights: Path | None) -> FaceFinder:
    from recaster_tui.extraction.mediapipe import MediaPipeFinder

    return MediaPipeFinder(threads=threads, weights=weights)


def _thorough(threads: int, weights: Path | None) -> FaceFinder:
    from recaster_tui.extraction.mediapipe import MediaPipeFinder

    return MediaPipeFinder(threads=threads, weights=weights, small_faces=True, rotations=True)


def _s3fd_fan(threads: int, weights: Path | None) -> FaceFinder:
    from recaster_tui.extraction.s3fd_fan import S3fdFanFinder

    return S3fdFanFinder(threads=threads, weights=weights)


FINDERS: dict[str, Factory] = {
    "mediapipe": _mediapipe,
    "mediapipe-thorough": _thorough,
    "s3fd-fan": _s3fd_fan,
}


def make_finder(
    name: str = "mediapipe", *, threads: int = 1, weights: Path | None = None
) -> FaceFinder:
    """A detector, ready to use; loads its weights.

    Args:
        name: one of :data:`FINDERS`.
        threads: CPU threads that torch and OpenCV may use in this whole process.
        weights: another weights file (``mediapipe…``) or the folder with ``S3FD.npy`` and
            ``2DFAN.npy`` or ``3DFAN.npy`` (``s3fd-fan``, which ships without).

    Raises:
        BadInputError: no such detector, or it needs weights that were not given.
        DamagedError: the weights are not what they should be.
    """
    factory = FINDERS.get(name)
    if factory is None:
        raise BadInputError(
            f"there is no detector {name!r}", hint=f"detectors: {', '.join(sorted(FINDERS))}"
        )
    return factory(threads, weights)

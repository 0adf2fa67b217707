"""One aligned face: what DeepFaceLab stores beside the pixels (dfl-data.md 1.5)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recaster_tui.errors import DamagedError
from recaster_tui.faces.types import FaceType

DOUBT_KEY = "recaster_doubt"
"""Metadata entry of ours: in words why the extraction doubts this face (dropped when certain)."""
MESH_KEY = "mesh_landmarks_478"
"""Metadata entry of ours: (478, 2) float32 points on the aligned picture, which move with it."""


class FaceFileError(DamagedError):
    """A file that cannot be used as a face.

    :attr:`code` is one of: ``unreadable`` (the system would not read it), ``empty``, ``not-jpeg``,
    ``truncated``, ``damaged``, ``too-large``, ``no-metadata``, ``refused-pickle``,
    ``no-landmarks``, ``bad-landmarks``, ``bad-metadata``, ``unsupported`` (fine, but DFL could
    not read it back), ``bad-pack``.
    """

    def __init__(
        self, message: str, *, code: str, where: Path | str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.code = code


@dataclass(frozen=True)
class Polygon:
    """A hand-drawn outline on the aligned image (dfl-data.md 1.6).

    Attributes:
        include: keep the inside (True) or carve it out (False).
        points: (n, 2) float32, pixels of the aligned image, not closed.
    """

    include: bool
    points: NDArray[np.float32]


@dataclass(frozen=True)
class PackEntry:
    """Where a packed face's JPEG lies: ``size`` bytes from ``offset`` in the .pak file."""

    offset: int
    size: int


@dataclass(eq=False)
class Face:
    """Metadata of one aligned face; the pixels stay on disk (``codec.decode_pixels``).

    Attributes:
        path: the .jpg file, or the .pak that holds it (then :attr:`packed` says where).
        name: file name of the face, e.g. ``00001_0.jpg``.
        face_type: how the picture was cropped.
        landmarks: (68, 2) float32, (x, y) pixels of this picture; may lie outside it.
        shape: (height, width, 3) of the picture.
        source_filename: name of the frame it was cut from, with extension.
        source_rect: (4,) left, top, right, bottom in the frame, as stored (integer or float).
        source_landmarks: (68, 2) float32 pixels of the frame.
        image_to_face_mat: (2, 3) float64, frame pixels to pixels of this picture.
        polygons: outlines, all including ones before all excluding ones.
        xseg_mask: an encoded single-channel picture (see ``masks.decode_xseg_mask``).
        eyebrows_expand: brow factor of the hull mask.
        extra: every other key of the metadata, kept when the face is written again.
        person: name of the person in a person pack.
        packed: place inside a .pak; None for a loose file.
    """

    path: Path
    name: str
    face_type: FaceType
    landmarks: NDArray[np.float32]
    shape: tuple[int, int, int]
    source_filename: str | None = None
    source_rect: NDArray[Any] | None = None
    source_landmarks: NDArray[np.float32] | None = None
    image_to_face_mat: NDArray[np.float64] | None = None
    polygons: list[Polygon] = field(default_factory=list)
    xseg_mask: bytes | None = None
    eyebrows_expand: float = 1.0
    extra: dict[str, Any] = field(default_factory=dict)
    person: str | None = None
    packed: PackEntry | None = None

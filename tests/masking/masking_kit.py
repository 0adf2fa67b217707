"""Shared by the tests of masks: real files of the original, maskers that draw what is bright."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from recaster_tui.errors import BadInputError
from recaster_tui.faces.codec import read_face, write_face
from recaster_tui.faces.face import Face
from recaster_tui.faces.geometry import alignment_matrix, transform_points
from recaster_tui.faces.types import FaceType

DATA = Path(__file__).parents[1] / "data" / "faces"
LABELLED, MASKED, BARE, HEAD = (f"aligned_0000{k}_0.jpg" for k in (1, 2, 3, 4))
"""Polygons and a mask; a mask; neither; a head with both. Written by the original."""


class Bright(nn.Module):
    """A network whose face is what is bright."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        logits = (x.mean(1, keepdim=True) - 0.5) * 20
        return logits.expand(-1, self.channels, -1, -1)


class HalfMasker:
    """The left half of every picture."""

    name, batch = "half", 2

    def __init__(self, refuse: str = "") -> None:
        self.refuse, self.seen = refuse, 0

    def masks(self, faces: Sequence[tuple[Face, np.ndarray]]) -> list[np.ndarray]:
        if any(face.name == self.refuse for face, _ in faces):
            raise BadInputError("these landmarks do not describe a face")
        self.seen += len(faces)
        mask = np.zeros((256, 256), np.float32)
        mask[:, :128] = 0.9
        return [mask.copy() for _ in faces]


class Listening:
    """A reporter that remembers, and asks to stop after so many progress reports."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.warnings: list[str] = []
        self.told: list[tuple[int, int]] = []
        self._left = stop_after

    def progress(self, current: int, total: int, text: str = "", **counts: int) -> None:
        self.told.append((current, total))

    def note(self, text: str) -> None: ...

    def warning(self, text: str, hint: str | None = None) -> None:
        self.warnings.append(text)

    def stop_requested(self) -> bool:
        self._left -= 1
        return self._left < 0


def faces_folder(folder: Path, *names: str) -> Path:
    """A folder with copies of the original's files (all four by default)."""
    folder.mkdir(parents=True)
    for name in names or (LABELLED, MASKED, BARE, HEAD):
        shutil.copy(DATA / name, folder / name)
    return folder


def pixels_of(path: Path) -> bytes:
    """What follows the metadata: the JPEG's tables and scan."""
    data = path.read_bytes()
    return data[data.index(b"\xff\xdb") :]


def spot_face(path: Path, face_type: FaceType, size: int) -> tuple[Face, np.ndarray, np.ndarray]:
    """A face of a type and size with a bright disc on the nose, and the disc: (256, 256) bool."""
    known = read_face(DATA / BARE)
    assert known.source_landmarks is not None
    matrix = alignment_matrix(known.source_landmarks, size, face_type)
    points = transform_points(known.source_landmarks, matrix)
    centre = points[30]
    radius = 0.5 * float(np.linalg.norm(points[45] - points[36]))
    y, x = np.mgrid[:size, :size]
    picture = np.zeros((size, size, 3), np.uint8)
    picture[np.hypot(x - centre[0], y - centre[1]) < radius] = 255
    scale = size / 256
    y, x = np.mgrid[:256, :256]
    grown = [(v + 0.5) * scale - 0.5 for v in (x, y)]
    disc = np.hypot(grown[0] - centre[0], grown[1] - centre[1]) < radius
    face = replace(
        known,
        path=path,
        name=path.name,
        face_type=face_type,
        landmarks=points.astype(np.float32),
        shape=(size, size, 3),
        image_to_face_mat=matrix,
        polygons=[],
        xseg_mask=None,
    )
    return face, picture, disc


def write_spot(path: Path, face_type: FaceType, size: int) -> np.ndarray:
    """Such a face as a file; the disc."""
    face, picture, disc = spot_face(path, face_type, size)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_face(path, picture, face, durable=False)
    return disc


def iou(one: np.ndarray, two: np.ndarray) -> float:
    return float((one & two).sum() / max(1, (one | two).sum()))

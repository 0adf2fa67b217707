"""Facesets with planted faults: rendered people, and among them faces of which we know the fault.

Used by ``recaster bench check`` and by the tests of the check.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.demo.frames import encode_jpeg
from recaster_tui.demo.people import Person
from recaster_tui.demo.plan import frame_size
from recaster_tui.demo.render import render
from recaster_tui.demo.scene import scene_at
from recaster_tui.faces.codec import jpeg_bytes, read_face, write_face
from recaster_tui.faces.face import Face
from recaster_tui.faces.geometry import alignment_matrix, landmarks_rect, transform_points
from recaster_tui.faces.quality import Check
from recaster_tui.faces.types import FaceType

Image = NDArray[np.uint8]
Points = NDArray[np.float32]

FAULTS: tuple[tuple[str, str], ...] = (
    ("blurred", "focus"),
    ("blurred", "motion"),
    ("blurred", "enlarged"),
    ("dark", "dark"),
    ("dark", "dark"),
    ("bright", "bright"),
    ("bright", "bright"),
    ("duplicate", "copied"),
    ("duplicate", "encoded again"),
    ("misaligned", "shifted"),
    ("misaligned", "turned"),
    ("misaligned", "scaled"),
    ("misaligned", "metadata"),
    ("other-person", "stranger"),
    ("other-person", "stranger"),
    ("other-person", "stranger"),
    ("occluded", "hand"),
    ("occluded", "board"),
    ("damaged", "truncated"),
    ("damaged", "no metadata"),
)
"""The twenty faults: the code that a check has to find, and how it is made."""


@dataclass(frozen=True)
class Plate:
    """A frame and where the face is in it."""

    jpeg: bytes
    landmarks: Points  # (68, 2)

    def image(self) -> Image:
        """(H, W, 3) BGR."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), 1), np.uint8)


def plates(person: Person, seed: int, frames: Sequence[int], size: int) -> list[Plate]:
    """Render *frames* of the clip that *seed* names, for faces of *size* pixels."""
    made = []
    for index in frames:
        rendering = render(person, scene_at(seed, index), *frame_size(size))
        made.append(Plate(encode_jpeg(rendering.image).tobytes(), rendering.landmarks68))
    return made


@dataclass(frozen=True)
class Planted:
    """What was written: the code that each faulty file must be found with, and how it was made."""

    faults: dict[str, tuple[str, str]]
    good: list[str]


def plant(
    folder: Path,
    own: Sequence[Plate],
    others: Sequence[Plate],
    *,
    seed: int,
    size: int = 256,
    face_type: FaceType = FaceType.WHOLE,
    faults: Sequence[tuple[str, str]] = FAULTS,
    jitter: float = 0.006,
) -> Planted:
    """Write a faceset of *own*, some of it made faulty.

    Args:
        folder: where; made if need be.
        own: frames of the person of the set.
        others: frames of other people, each used once at most.
        seed: decides which frames become faulty, and how strongly.
        size: side of the aligned faces.
        face_type: how they are cut.
        faults: what to plant; codes and kinds as in :data:`FAULTS`.
        jitter: noise of the landmarks as of a detector, standard deviation in face sizes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    count = len(own)
    # Not the first, and not neighbours: the copy of a face must not be its faulty neighbour.
    chosen = [int(i) for i in 1 + 2 * rng.permutation((count - 1) // 2)[: len(faults)]]
    wanted = dict(zip(chosen, faults, strict=True))
    strangers = [others[int(i)] for i in rng.permutation(len(others))]
    result = Planted({}, [])
    for index, plate in enumerate(own):
        name = f"{index + 1:05d}_0.jpg"
        path = folder / name
        if index not in wanted:
            _write(path, _cut(plate, size, face_type, _noisy(plate.landmarks, rng, jitter)))
            result.good.append(name)
            continue
        code, kind = wanted[index]
        result.faults[name] = code, kind
        if code == "other-person":
            plate = strangers.pop()
        landmarks = _noisy(plate.landmarks, rng, jitter)
        if code == "misaligned" and kind != "metadata":
            landmarks = _moved(landmarks, kind, rng)
        picture, face = _cut(plate, size, face_type, landmarks)
        face.source_filename = f"{index + 1:05d}.jpg"
        if code == "duplicate":
            # The frame before it, once more.
            source = folder / f"{index:05d}_0.jpg"
            data = jpeg_bytes(source)
            if kind == "copied":
                path.write_bytes(data)
            else:
                before = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), 1), np.uint8)
                write_face(path, before, read_face(source), 75, durable=False)
            result.good.remove(source.name)
            result.faults[source.name] = "either", name
            continue
        if kind == "metadata":
            face = _contradicting(face, rng)
        change = _CHANGES.get(kind)
        if change is not None:
            picture = change(picture, face, rng)
        write_face(path, picture, face, 95, durable=False)
        if code == "damaged":
            _damage(path, kind, rng)
    return result


def _noisy(landmarks: Points, rng: np.random.Generator, jitter: float) -> Points:
    span = float(np.ptp(landmarks[:, 1]))
    noise = rng.normal(0, jitter * span, (68, 2)) * 0.7 + rng.normal(0, jitter * span * 0.7, 2)
    return (landmarks + noise).astype(np.float32)


def _cut(plate: Plate, size: int, face_type: FaceType, landmarks: Points) -> tuple[Image, Face]:
    matrix = alignment_matrix(landmarks, size, face_type)
    picture = cv2.warpAffine(plate.image(), matrix, (size, size), flags=cv2.INTER_LINEAR)
    face = Face(
        path=Path(),
        name="",
        face_type=face_type,
        landmarks=transform_points(landmarks, matrix).astype(np.float32),
        shape=(size, size, 3),
        source_landmarks=landmarks,
        source_rect=np.round(landmarks_rect(landmarks)).astype(np.int64),
        image_to_face_mat=matrix,
    )
    return np.asarray(picture, np.uint8), face


def _write(path: Path, cut: tuple[Image, Face]) -> None:
    picture, face = cut
    face.source_filename = path.name.split("_")[0] + ".jpg"
    write_face(path, picture, face, 95, durable=False)


def _moved(landmarks: Points, kind: str, rng: np.random.Generator) -> Points:
    """Where a detector that erred would have put the points."""
    centre = landmarks.mean(0)
    span = float(np.ptp(landmarks[:, 1]))
    points = landmarks - centre
    sign = float(rng.choice((-1, 1)))
    if kind == "shifted":
        angle = rng.uniform(0, 2 * np.pi)
        points = points + span * rng.uniform(0.15, 0.25) * np.array([np.cos(angle), np.sin(angle)])
    elif kind == "turned":
        angle = sign * np.radians(rng.uniform(15, 28))
        cos, sin = np.cos(angle), np.sin(angle)
        points = points @ np.array([[cos, sin], [-sin, cos]])
    else:
        points = points * rng.uniform(1.25, 1.4) ** sign
    return np.asarray(points + centre, np.float32)


def _contradicting(face: Face, rng: np.random.Generator) -> Face:
    """Landmarks that belong to another picture than the matrix and the frame say."""
    size = face.shape[0]
    shift = rng.uniform(0.08, 0.15) * size * np.sign(rng.normal(size=2))
    return replace(face, landmarks=(face.landmarks + shift).astype(np.float32))


def _focus(picture: Image, face: Face, rng: np.random.Generator) -> Image:
    sigma = rng.uniform(2.8, 4.5) * picture.shape[0] / 256
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def _motion(picture: Image, face: Face, rng: np.random.Generator) -> Image:
    length = int(rng.uniform(14, 20) * picture.shape[0] / 256) | 1
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    centre = (length / 2 - 0.5, length / 2 - 0.5)
    turn = cv2.getRotationMatrix2D(centre, float(rng.uniform(0, 180)), 1)
    kernel = np.asarray(cv2.warpAffine(kernel, turn, (length, length)), np.float32)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.uint8)


def _enlarged(picture: Image, face: Face, rng: np.random.Generator) -> Image:
    side = picture.shape[0]
    small = int(side * 256 / side / rng.uniform(5, 7))
    reduced = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(reduced, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


def _dark(picture: Image, face: Face, rng: np.random.Generator) -> Image:
    return np.asarray(picture * rng.uniform(0.1, 0.2), np.uint8)


def _bright(picture: Image, face: Face, rng: np.random.Generator) -> Image:
    lifted = picture.astype(np.float32) * rng.uniform(2.4, 3.2) + 30
    return np.asarray(np.clip(lifted, 0, 255), np.uint8)


def _hand(picture: Image, face: Face, rng: np.random.Generator) -> Image:
    """Something the colour of skin with fingers, over one half of the lower face."""
    points = face.landmarks
    span = float(np.ptp(points[:, 1]))
    skin = np.median(picture[_box(points[[2, 14, 30, 33]], picture)].reshape(-1, 3), axis=0)
    colour = np.clip(skin * rng.uniform(0.65, 0.95) + rng.normal(0, 6, 3), 0, 255)
    out = picture.copy()
    side = float(rng.choice((-1, 1)))
    at = points[33] + np.array([side * 0.22 * span, 0.15 * span])
    lean = rng.uniform(-0.5, 0.5)
    for finger in range(4):
        shift = (finger - 1.5) * 0.13 * span
        along = np.array([np.sin(lean), -np.cos(lean)])
        across = np.array([np.cos(lean), np.sin(lean)])
        root = at + across * shift + 0.4 * span * -along
        tip = at + across * shift + along * span * rng.uniform(0.12, 0.3)
        width = max(2, int(0.12 * span))
        ends = [tuple(int(v) for v in p) for p in (root, tip)]
        cv2.line(out, ends[0], ends[1], (colour * 0.75).tolist(), width + 2, cv2.LINE_AA)
        cv2.line(out, ends[0], ends[1], colour.tolist(), width, cv2.LINE_AA)
    return out


def _board(picture: Image, face: Face, rng: np.random.Generator) -> Image:
    """A flat thing of any colour over a part of the face."""
    points = face.landmarks
    span = float(np.ptp(points[:, 1]))
    at = points[int(rng.choice((36, 45, 48, 54, 57, 33)))] + rng.normal(0, 0.05 * span, 2)
    size = (span * rng.uniform(0.4, 0.6), span * rng.uniform(0.3, 0.5))
    corners = cv2.boxPoints((tuple(at.tolist()), size, float(rng.uniform(0, 90))))
    out = picture.copy()
    cv2.fillPoly(out, [corners.astype(np.int32)], rng.integers(20, 220, 3).tolist(), cv2.LINE_AA)
    return out


def _box(points: Points, picture: Image) -> tuple[slice, slice]:
    low = np.clip(points.min(0), 0, None).astype(int)
    high = np.clip(points.max(0), low + 2, picture.shape[1::-1]).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


_CHANGES: dict[str, Callable[[Image, Face, np.random.Generator], Image]] = {
    "focus": _focus,
    "motion": _motion,
    "enlarged": _enlarged,
    "dark": _dark,
    "bright": _bright,
    "hand": _hand,
    "board": _board,
}


def _damage(path: Path, kind: str, rng: np.random.Generator) -> None:
    data = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(data[: int(len(data) * rng.uniform(0.3, 0.9))])
    elif kind == "zero":
        path.write_bytes(b"")
    else:
        picture = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), 1))
        cv2.imwrite(str(path), picture)


def judge_planted(check: Check, planted: Planted) -> tuple[int, list[str], list[tuple[str, str]]]:
    """How many faults a check found with the right reason, those missed, the good ones accused.

    A duplicate counts where either of the two is named.
    """
    said = {p.name: p for p in check.proposals}
    found, missed = 0, []
    for name, (code, kind) in planted.faults.items():
        if code == "either":
            continue
        names = [name, *(n for n, fault in planted.faults.items() if fault == ("either", name))]
        if any(code in said[n].codes for n in names if n in said):
            found += 1
        else:
            instead = said[name].reason if name in said else "nothing"
            missed.append(f"{name}: {code} ({kind}), said: {instead}")
    accused = [(name, said[name].reason) for name in planted.good if name in said]
    return found, missed, accused

"""Training pictures of the automatic mask: synthetic heads with exact labels, in chunk files.

Nothing real is in them: the people, their scenes and every label come from the demo's renderer
(a CC0 head mesh). A chunk is one compressed file of some hundred faces, written whole, so that
training can begin while others are still being rendered.
"""

import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.demo.frames import FACE_TYPE
from recaster_tui.demo.people import Person, random_identity
from recaster_tui.demo.plan import frame_size
from recaster_tui.demo.render import render
from recaster_tui.demo.scene import Light, Scene, scene_at
from recaster_tui.faces.geometry import alignment_matrix, transform_points
from recaster_tui.files import write_atomic

log = logging.getLogger(__name__)

Bytes = NDArray[np.uint8]

EXTENT = 160
"""Pixels of a stored picture that the whole-face crop spans; around it lies the margin."""
STORED = 208
RENDERED = 256  # the aligned size whose frames are rendered: the exact masks are defined there
FACE_BIT = 16
FIRST_SEED = 1000
"""Identities from here on are for training."""
HELD_OUT_SEED = 900_000
"""Identities from here on are for judging, and never trained on."""
_QUALITY = 95
_SCENES = 14  # faces of one identity: baking one costs as much as a dozen frames


@dataclass(frozen=True)
class Labelled:
    """One picture and its labels.

    Attributes:
        picture: (S, S, 3) BGR.
        labels: (S, S) of :class:`Label`, plus :data:`FACE_BIT` where the face mask is 1.
        landmarks: (68, 2) pixels of the picture; None where it was read from a chunk.
    """

    picture: Bytes
    labels: Bytes
    landmarks: NDArray[np.float32] | None = None


def labelled_face(
    person: Person, scene: Scene, *, extent: int = EXTENT, side: int = STORED
) -> Labelled:
    """Render one picture.

    Args:
        person: see :mod:`recaster_tui.demo.people`.
        scene: see :mod:`recaster_tui.demo.scene`.
        extent: pixels that the whole-face crop spans.
        side: of the picture, in whose middle that crop lies.
    """
    rendering = render(person, scene, *frame_size(RENDERED))
    matrix = alignment_matrix(rendering.landmarks68, extent, FACE_TYPE)
    matrix[:, 2] += (side - extent) / 2
    size = (side, side)
    # What lies outside the frame is black in an extracted face, and no face.
    picture = cv2.warpAffine(rendering.image, matrix, size, flags=cv2.INTER_AREA)
    area = cv2.warpAffine(rendering.face.astype(np.float32), matrix, size, flags=cv2.INTER_LINEAR)
    classes = cv2.warpAffine(rendering.labels, matrix, size, flags=cv2.INTER_NEAREST)
    labels = np.asarray(classes, np.uint8) | np.where(area >= 0.5, FACE_BIT, 0).astype(np.uint8)
    points = transform_points(rendering.landmarks68, matrix)
    return Labelled(np.asarray(picture, np.uint8), labels, points)


def training_scene(seed: int, index: int) -> Scene:
    """A scene of the demo, or one with a wider range of poses and lights than a demo wants."""
    rng = np.random.default_rng((seed, index, 7))
    scene = scene_at(seed, int(rng.integers(0, 3000)))
    if rng.random() < 0.4:
        return scene
    yaw = float(rng.uniform(-78, 78))
    pitch = float(np.clip(rng.normal(0, 13), -32, 32))
    expression = dict(scene.expression)
    if rng.random() < 0.3:
        expression["jawOpen"] = float(rng.uniform(0.3, 1.0))
    if rng.random() < 0.15:
        expression |= dict.fromkeys(("eyeBlinkLeft", "eyeBlinkRight"), float(rng.uniform(0.5, 1)))
    return replace(
        scene,
        angles=(yaw, pitch, scene.angles[2]),
        expression=expression,
        light=_any_light(rng) if rng.random() < 0.7 else scene.light,
    )


def _any_light(rng: np.random.Generator) -> Light:
    """From anywhere in front or beside, of any warmth, against a bright or a dark room."""
    key = rng.normal(0, 1, 3)
    key[2] = abs(key[2]) * 0.8 + 0.05
    fill = rng.normal(0, 1, 3)
    fill[2] = abs(fill[2])
    warm = rng.normal(0, 0.16)
    tint = np.array([1 - warm, 1 + rng.normal(0, 0.03), 1 + warm]).clip(0.4, 1.6)
    strength = rng.uniform(0.2, 2.4)
    sky = rng.uniform(0.1, 0.75) * np.array([1, 0.97, 0.95]) * rng.uniform(0.85, 1.15, 3)
    glow = rng.uniform(0, 0.9) * rng.uniform(0.6, 1.2, 3)
    return Light(
        key=_triple(key),
        key_colour=_triple(strength * tint),
        fill=_triple(fill),
        fill_colour=_triple(glow),
        ambient=_triple(sky),
    )


def _triple(values: NDArray[np.floating]) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z


def write_chunks(
    folder: Path,
    first: int,
    count: int,
    *,
    each: int = _SCENES,
    per_chunk: int = 8,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Render identities *first* … *first* + *count* - 1 into *folder*; chunks there are kept.

    Args:
        folder: made where it is missing.
        first: seed of the first identity.
        count: identities.
        each: pictures of one identity.
        per_chunk: identities in a file.
        stop: asked between identities.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(first, first + count, per_chunk):
        path = folder / f"{start:07d}.npz"
        if path.is_file():
            continue
        faces: list[Labelled] = []
        for seed in range(start, min(start + per_chunk, first + count)):
            if stop():
                return
            person = random_identity(seed)
            faces += [labelled_face(person, training_scene(seed, k)) for k in range(each)]
        _write(path, faces)
        log.info("%s: %d faces", path.name, len(faces))


def _write(path: Path, faces: list[Labelled]) -> None:
    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    parts = []
    for face in faces:
        parts.append(cv2.imencode(".jpg", face.picture, options)[1].reshape(-1))
        parts.append(cv2.imencode(".png", face.labels)[1].reshape(-1))
    lengths = np.array([len(part) for part in parts], np.int64)
    buffer = io.BytesIO()
    np.savez(buffer, lengths=lengths, data=np.concatenate(parts))
    write_atomic(path, buffer.getvalue(), durable=False)


def read_chunk(path: Path) -> Iterator[tuple[Bytes, Bytes]]:
    """Encoded picture and labels of each face of a chunk (see :func:`decode`)."""
    with np.load(path, allow_pickle=False) as chunk:
        ends = np.cumsum(chunk["lengths"])
        parts = np.split(chunk["data"], ends[:-1])
    yield from zip(parts[::2], parts[1::2], strict=True)


def decode(picture: Bytes, labels: Bytes) -> Labelled:
    """The face of an entry of a chunk."""
    return Labelled(
        np.asarray(cv2.imdecode(picture, cv2.IMREAD_COLOR), np.uint8),
        np.asarray(cv2.imdecode(labels, cv2.IMREAD_UNCHANGED), np.uint8),
    )

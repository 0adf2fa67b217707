"""From a stored picture to a training sample: recoloured, moved, covered, lit and spoilt."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.demo.render import Label
from recaster_tui.masking.occluders import Canvas, clear_glasses, long_hair, occlude
from recaster_tui.masking.pictures import EXTENT, FACE_BIT, STORED, Labelled
from recaster_tui.nets.automask import RESOLUTION

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Rng = np.random.Generator

_SKIN = (Label.SKIN, Label.EAR, Label.NECK)


def planes(labels: Bytes) -> Bytes:
    """(S, S, 5) 0 or 255: the channels of :data:`recaster_tui.nets.automask.CHANNELS`."""
    kind = labels & (FACE_BIT - 1)
    face = (labels & FACE_BIT) > 0
    stack = (
        face,
        (kind == Label.HAIR) & ~face,
        kind == Label.NECK,
        (kind == Label.MOUTH) | (kind == Label.LIPS),
        kind == Label.EYE,
    )
    return np.asarray(np.stack(stack, -1), np.uint8) * np.uint8(255)


def plain_sample(face: Labelled) -> tuple[Bytes, Bytes]:
    """Picture (160, 160, 3) and planes (160, 160, 5) of the whole-face crop, untouched."""
    return _move(face.picture, planes(face.labels), _matrix(0, 1, 0, 0, False))


def covered_sample(face: Labelled, other: Labelled, rng: Rng) -> tuple[Bytes, Bytes]:
    """As :func:`plain_sample`, with things in front of the face and nothing else."""
    picture, truth = plain_sample(face)
    canvas = Canvas(picture, truth, plain_sample(other)[0])
    occlude(canvas, rng)
    return canvas.picture, canvas.planes


def training_sample(face: Labelled, other: Labelled, rng: Rng) -> tuple[Bytes, Bytes]:
    """A randomly changed picture (160, 160, 3) and its planes (160, 160, 5) in 0..255."""
    picture = _recolour(face, other, rng)
    wide = rng.random() < 0.1
    matrix = _matrix(
        float(rng.normal(0, 20 if wide else 6)),
        float(np.exp(rng.normal(0, 0.16 if wide else 0.08))),
        float(rng.normal(0, 0.07 if wide else 0.035)),
        float(rng.normal(0, 0.07 if wide else 0.035)),
        bool(rng.random() < 0.5),
    )
    picture, truth = _move(picture, planes(face.labels), matrix)
    other_picture = cv2.resize(other.picture, (RESOLUTION, RESOLUTION))
    canvas = Canvas(picture, truth, np.asarray(other_picture, np.uint8))
    if rng.random() < 0.3:
        long_hair(canvas, rng)
    if rng.random() < 0.15:
        clear_glasses(canvas, rng)
    if rng.random() < 0.5:
        occlude(canvas, rng)
    if rng.random() < 0.12:
        _tighter_crop(canvas, rng)
    return spoil(canvas.picture, rng), canvas.planes


def _recolour(face: Labelled, other: Labelled, rng: Rng) -> Bytes:
    """Other hair, clothes, skin and background: there are more of them than the demo has."""
    kind = face.labels & (FACE_BIT - 1)
    picture = face.picture.astype(np.float32)
    hair = (kind == Label.HAIR) & ((face.labels & FACE_BIT) == 0)
    for area, chance, spread in (
        (hair, 0.4, 0.5),
        (kind == Label.CLOTH, 0.4, 0.7),
        (np.isin(kind, _SKIN), 0.35, 0.22),
    ):
        if rng.random() < chance:
            gain = np.exp(rng.normal(0, spread) + rng.normal(0, spread * 0.35, 3))
            picture[area] = picture[area] * gain.astype(np.float32) + rng.uniform(0, 18)
    if rng.random() < 0.4:
        behind = _background(other, rng)
        alpha = cv2.GaussianBlur((kind == Label.BACKGROUND).astype(np.float32), (0, 0), 0.7)
        picture += alpha[..., None] * (behind - picture)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _background(other: Labelled, rng: Rng) -> Floats:
    if rng.random() < 0.35:  # a scene with another person, out of place
        turned = cv2.rotate(other.picture, int(rng.integers(0, 3)))
        return np.asarray(turned, np.float32)
    base = rng.uniform(0, 255, (1, 1, 3)).astype(np.float32)
    total = np.broadcast_to(base, (STORED, STORED, 3)).copy()
    for _ in range(int(rng.integers(1, 4))):
        grain = int(2 ** rng.uniform(1, 6.5))
        noise = rng.standard_normal((grain, grain, 3), np.float32)
        way = cv2.INTER_NEAREST if rng.random() < 0.3 else cv2.INTER_LINEAR
        total += rng.uniform(5, 60) * cv2.resize(noise, (STORED, STORED), interpolation=way)
    return np.clip(total, 0, 255)


def _matrix(turn: float, scale: float, x: float, y: float, flip: bool) -> NDArray[np.float64]:
    """(2, 3) from stored picture to sample; shifts in parts of the crop's side."""
    middle = (STORED - 1) / 2
    matrix = np.asarray(cv2.getRotationMatrix2D((middle, middle), turn, scale), np.float64)
    matrix[:, 2] += (RESOLUTION - STORED) / 2 + np.array([x, y]) * RESOLUTION
    if flip:
        matrix[0] = -matrix[0]
        matrix[0, 2] += RESOLUTION - 1
    return matrix


def _move(picture: Bytes, truth: Bytes, matrix: NDArray[np.float64]) -> tuple[Bytes, Bytes]:
    size = (RESOLUTION, RESOLUTION)
    moved = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR)
    masks = [
        cv2.warpAffine(part, matrix, size, flags=cv2.INTER_LINEAR)
        for part in (np.ascontiguousarray(truth[..., :4]), np.ascontiguousarray(truth[..., 4:]))
    ]
    return np.asarray(moved, np.uint8), np.dstack(masks).astype(np.uint8)


def _tighter_crop(canvas: Canvas, rng: Rng) -> None:
    """What a face of a tighter type leaves of a whole face: black around a smaller square."""
    side = RESOLUTION * rng.uniform(0.55, 0.95)
    centre = RESOLUTION / 2 + rng.normal(0, 3), RESOLUTION * 0.54 + rng.normal(0, 4)
    corners = cv2.boxPoints((centre, (side, side), float(rng.normal(0, 4))))
    inside = np.zeros((RESOLUTION, RESOLUTION), np.uint8)
    cv2.fillPoly(inside, [corners.astype(np.int32)], 1)
    canvas.picture *= inside[..., None]
    canvas.planes *= inside[..., None]


def spoil(picture: Bytes, rng: Rng) -> Bytes:
    """Light, colour, blur, low resolution, noise and JPEG."""
    image: NDArray[Any] = picture.astype(np.float32)
    size = int(image.shape[0])
    if rng.random() < 0.4:
        rough = cv2.resize(rng.standard_normal((3, 3), np.float32), (size, size))
        image *= np.exp(rng.uniform(0.1, 0.45) * rough)[..., None]
    if rng.random() < 0.8:
        image *= np.exp(rng.normal(0, 0.22) + rng.normal(0, 0.09, 3)).astype(np.float32)
        image = (image - 110) * np.float32(np.exp(rng.normal(0, 0.15))) + 110
        image += np.float32(rng.normal(0, 12))
    image = np.clip(image, 0, 255)
    if rng.random() < 0.4:
        gamma = np.float32(np.exp(rng.normal(0, 0.3)))
        image = 255 * (image / 255) ** gamma
    if rng.random() < 0.3:
        grey = image @ np.array([0.114, 0.587, 0.299], np.float32)
        share = np.float32(1 if rng.random() < 0.25 else rng.uniform(-0.5, 1))
        image += share * (grey[..., None] - image)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 2.0))
    elif rng.random() < 0.2:
        length = int(rng.integers(2, 8))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        if rng.random() < 0.5:
            kernel = kernel.T
        image = cv2.filter2D(image, -1, kernel)
    if rng.random() < 0.25:
        small = int(rng.integers(36, 130))
        ways = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_NEAREST)
        tiny = cv2.resize(image, (small, small), interpolation=ways[int(rng.integers(0, 3))])
        image = cv2.resize(tiny, (size, size), interpolation=cv2.INTER_CUBIC)
    elif rng.random() < 0.2:
        image += rng.uniform(0.3, 1.5) * (image - cv2.GaussianBlur(image, (0, 0), 1.2))
    if rng.random() < 0.3:
        depth = 1 if rng.random() < 0.5 else 3
        image += rng.uniform(1, 14) * rng.standard_normal((size, size, depth), np.float32)
    result = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(18, 92))]
        coded = cv2.imencode(".jpg", result, quality)[1]
        result = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(result, np.uint8)


assert STORED > EXTENT == RESOLUTION

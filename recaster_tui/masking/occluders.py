"""Things in front of a face: hands, bars, boxes, blobs, sunglasses, masks, hair, clear glasses.

They are crude on purpose. What the network has to learn is that a shape which does not belong
there is not the face, whatever its colour; shapes with the colour of skin are the hard ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Rng = np.random.Generator


@dataclass
class Canvas:
    """A picture that is being covered.

    Attributes:
        picture: (S, S, 3) BGR, changed in place.
        planes: (S, S, 5) 0..255 of face, hair, neck, mouth, eyes, changed in place.
        other: (S, S, 3) another picture, for textures and skin.
    """

    picture: Bytes
    planes: Bytes
    other: Bytes

    @property
    def size(self) -> int:
        """S."""
        return int(self.picture.shape[0])


def occlude(canvas: Canvas, rng: Rng) -> None:
    """Cover the face by one to three things (see the module)."""
    for _ in range(int(rng.choice((1, 2, 3), p=(0.65, 0.25, 0.1)))):
        kind = _KINDS[int(rng.choice(len(_KINDS), p=_ODDS))]
        kind(canvas, rng)


def clear_glasses(canvas: Canvas, rng: Rng) -> None:
    """Frames around the eyes. They leave the labels: clear glasses are part of the face."""
    layer = np.zeros(canvas.picture.shape[:2], np.uint8)
    _frames(canvas, layer, rng, filled=False)
    colour = rng.integers(0, 110, 3) if rng.random() < 0.8 else rng.integers(0, 255, 3)
    _blend(canvas.picture, np.asarray(colour, np.float32), layer.astype(np.float32) / 255)


def long_hair(canvas: Canvas, rng: Rng) -> None:
    """Curtains of hair beside the face, in the person's own colour or another one."""
    size = canvas.size
    layer = np.zeros((size, size), np.uint8)
    spots = np.flatnonzero(canvas.planes[..., 1] > 128)
    if len(spots) > 50 and rng.random() < 0.7:
        colour = canvas.picture.reshape(-1, 3)[spots].mean(0)
    else:
        colour = np.array([30, 45, 70]) * rng.uniform(0.3, 3.0)
    left, right, top, bottom = _box(canvas.planes[..., 0])
    width = right - left
    for side in (-1, 1):
        if rng.random() < 0.15:
            continue
        edge = left if side < 0 else right
        inner0 = edge - side * width * rng.uniform(-0.05, 0.22)
        inner1 = edge - side * width * rng.uniform(-0.15, 0.25)
        outer = edge + side * width * rng.uniform(0.2, 0.7)
        high = top - rng.uniform(0.05, 0.3) * (bottom - top)
        low = bottom + rng.uniform(-0.3, 0.6) * (bottom - top)
        part = (left + right) / 2 + rng.uniform(-0.2, 0.2) * width
        bow = side * width * rng.uniform(-0.05, 0.12)
        middle = (high + low) / 2
        outline = [
            (part, high),
            ((part + inner0) / 2, high + 0.05 * (low - high)),
            (inner0, (high + middle) / 2),
            ((inner0 + inner1) / 2 + bow, middle),
            (inner1, low),
            (outer, low),
            (outer + side * 3, middle),
            (outer - side * width * 0.15, high),
        ]
        _fill(layer, _smooth(np.array(outline), rng, 0.8))
    ragged = cv2.resize(_noise(rng, size // 2, 12), (size, size)).T
    alpha = cv2.GaussianBlur(layer, (0, 0), 1.0).astype(np.float32) / 255
    alpha = np.clip((alpha + 0.25 * ragged * (alpha > 0.02) - 0.5) * 3 + 0.5, 0, 1)
    # Streaks run down: noise that is fine across and coarse along.
    streaks = 1 + rng.uniform(0.1, 0.35) * cv2.resize(_noise(rng, 6, size // 2), (size, size))
    streaks *= 1 + 0.3 * cv2.resize(_noise(rng, 4, 4), (size, size))
    texture = np.clip(np.asarray(colour, np.float32) * streaks[..., None], 0, 255)
    _blend(canvas.picture, texture, alpha)
    _cover(canvas, alpha)
    canvas.planes[..., 1] = np.maximum(canvas.planes[..., 1], (alpha * 255).astype(np.uint8))


def _hand(canvas: Canvas, rng: Rng) -> None:
    """A palm and two to five fingers, in a colour of skin."""
    size = canvas.size
    layer = np.zeros((size, size), np.uint8)
    shade = np.ones((size, size), np.float32)
    centre = _somewhere(canvas, rng, 0.55)
    reach = size * rng.uniform(0.10, 0.2)
    turn = rng.uniform(0, 2 * np.pi)
    ahead = np.array([np.cos(turn), np.sin(turn)])
    across = np.array([-ahead[1], ahead[0]])
    axes = (round(reach), round(reach * rng.uniform(0.7, 0.95)))
    _ellipse(layer, centre, axes, np.degrees(turn))
    arm = centre - ahead * size
    cv2.line(layer, _pixel(centre), _pixel(arm), 255, max(2, round(reach * 1.1)))
    for k in range(int(rng.integers(2, 6))):
        root = centre + ahead * reach * 0.6 + across * reach * (0.42 * k - 0.75)
        aim = turn + rng.normal(0, 0.14) + (0.12 * k - 0.2)
        length = reach * rng.uniform(0.7, 1.6)
        tip = root + length * np.array([np.cos(aim), np.sin(aim)])
        thick = max(2, round(reach * rng.uniform(0.3, 0.44)))
        cv2.line(layer, _pixel(root), _pixel(tip), 255, thick, cv2.LINE_AA)
        cv2.line(
            shade, _pixel(root - across * thick / 2), _pixel(tip - across * thick / 2), 0.72, 1
        )
    shade = np.asarray(cv2.GaussianBlur(shade, (0, 0), 1.0), np.float32)
    light = 1 + 0.25 * cv2.resize(_noise(rng, 3, 3), (size, size))
    _paste(canvas, layer, _skin(canvas, rng) * (shade * light)[..., None], rng)


def _blob(canvas: Canvas, rng: Rng) -> None:
    layer = np.zeros(canvas.picture.shape[:2], np.uint8)
    centre = _somewhere(canvas, rng, 0.7)
    radius = canvas.size * rng.uniform(0.05, 0.24)
    count = int(rng.integers(5, 10))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    radii = radius * rng.uniform(0.55, 1.4, count)
    points = centre + np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]
    _fill(layer, _smooth(points, rng, 0.7))
    _paste(canvas, layer, _texture(canvas, rng), rng)


def _box_shape(canvas: Canvas, rng: Rng) -> None:
    layer = np.zeros(canvas.picture.shape[:2], np.uint8)
    centre = _somewhere(canvas, rng, 0.75)
    sides = canvas.size * rng.uniform(0.08, 0.45, 2)
    box = ((float(centre[0]), float(centre[1])), (float(sides[0]), float(sides[1])))
    points = cv2.boxPoints((*box, float(rng.uniform(0, 90))))
    _fill(layer, points)
    _paste(canvas, layer, _texture(canvas, rng), rng)


def _bar(canvas: Canvas, rng: Rng) -> None:
    """A stick, an arm, a cable; a microphone where it ends in a ball."""
    layer = np.zeros(canvas.picture.shape[:2], np.uint8)
    end = _somewhere(canvas, rng, 0.5)
    angle = rng.uniform(0, 2 * np.pi)
    away = end + 2 * canvas.size * np.array([np.cos(angle), np.sin(angle)])
    if rng.random() < 0.5:
        end = 2 * end - away
    thick = max(2, round(canvas.size * rng.uniform(0.015, 0.16)))
    cv2.line(layer, _pixel(end), _pixel(away), 255, thick, cv2.LINE_AA)
    if rng.random() < 0.3:
        cv2.circle(layer, _pixel(end), round(thick * rng.uniform(0.8, 1.8)), 255, -1, cv2.LINE_AA)
    _paste(canvas, layer, _texture(canvas, rng), rng)


def _oval(canvas: Canvas, rng: Rng) -> None:
    layer = np.zeros(canvas.picture.shape[:2], np.uint8)
    axes = canvas.size * rng.uniform(0.04, 0.22, 2)
    where = _somewhere(canvas, rng, 0.7)
    _ellipse(layer, where, (round(axes[0]), round(axes[1])), rng.uniform(0, 180))
    _paste(canvas, layer, _texture(canvas, rng), rng)


def _sunglasses(canvas: Canvas, rng: Rng) -> None:
    layer = np.zeros(canvas.picture.shape[:2], np.uint8)
    _frames(canvas, layer, rng, filled=True)
    size = canvas.size
    tone = np.asarray(rng.integers(0, 70, 3), np.float32)
    gleam = np.clip(cv2.resize(_noise(rng, 4, 4), (size, size)), 0, 1)[..., None]
    _paste(canvas, layer, tone + gleam * rng.uniform(0, 90), rng, plain=True)


def _face_mask(canvas: Canvas, rng: Rng) -> None:
    """A surgical mask or a scarf: from the nose down, over the chin."""
    left, right, top, bottom = _box(canvas.planes[..., 0])
    height, width = bottom - top, right - left
    nose = top + height * rng.uniform(0.5, 0.72)
    side = top + height * rng.uniform(0.5, 0.7)
    low = bottom + height * rng.uniform(-0.02, 0.15)
    peak = left + width * rng.uniform(0.35, 0.65)
    outline = [
        (left - 2, side),
        ((left + peak) / 2, (side + nose) / 2),
        (peak, nose),
        ((right + peak) / 2, (side + nose) / 2),
        (right + 2, side),
        (right - width * 0.05, (side + low) / 2),
        (peak + width * 0.25, low),
        (peak - width * 0.25, low),
        (left + width * 0.05, (side + low) / 2),
    ]
    layer = np.zeros(canvas.picture.shape[:2], np.uint8)
    _fill(layer, _smooth(np.array(outline), rng, 0.7))
    _paste(canvas, layer, _texture(canvas, rng), rng)


_KINDS: tuple[Callable[[Canvas, Rng], None], ...] = (
    _hand, _blob, _box_shape, _bar, _oval, _sunglasses, _face_mask,
)  # fmt: skip
_ODDS = (0.32, 0.17, 0.11, 0.16, 0.1, 0.07, 0.07)


def _frames(canvas: Canvas, layer: Bytes, rng: Rng, *, filled: bool) -> None:
    """Glasses where the eyes are seen; nothing where they are not."""
    count, _, _, centres = cv2.connectedComponentsWithStats(
        (canvas.planes[..., 4] > 128).astype(np.uint8)
    )
    left, right, _, _ = _box(canvas.planes[..., 0])
    width = right - left
    if count < 2 or width < 8:
        return
    eyes = sorted(centres[1:3].tolist())
    if len(eyes) < 2 or eyes[1][0] - eyes[0][0] < 0.15 * width:
        return
    points = np.array(eyes)
    gap = points[1] - points[0]
    span = float(np.hypot(*gap))
    angle = float(np.degrees(np.arctan2(gap[1], gap[0])))
    axes = span * rng.uniform(0.3, 0.45), span * rng.uniform(0.2, 0.38)
    thick = -1 if filled else max(1, round(span * rng.uniform(0.02, 0.09)))
    for eye in points:
        if rng.random() < 0.5:
            _ellipse(layer, eye, (round(axes[0]), round(axes[1])), angle, thick)
        else:
            box = ((float(eye[0]), float(eye[1])), (2 * axes[0], 2 * axes[1]))
            corners = [cv2.boxPoints((*box, angle)).astype(np.int32)]
            if filled:
                cv2.fillPoly(layer, corners, 255)
            else:
                cv2.polylines(layer, corners, True, 255, thick, cv2.LINE_AA)
    line = max(1, abs(thick))
    unit = gap / span
    inner = points[0] + unit * axes[0], points[1] - unit * axes[0]
    cv2.line(layer, _pixel(inner[0]), _pixel(inner[1]), 255, line, cv2.LINE_AA)
    ends = (left, points[0][1]), (right, points[1][1])
    for eye, end, sign in zip(points, ends, (-1, 1), strict=True):
        cv2.line(layer, _pixel(eye + sign * unit * axes[0]), _pixel(np.array(end)), 255, line)


def _paste(canvas: Canvas, layer: Bytes, texture: Floats, rng: Rng, *, plain: bool = False) -> None:
    """Put *texture* where *layer* is, with a soft edge and perhaps a shadow, over all labels."""
    edge = rng.uniform(0.4, 1.6)
    alpha = cv2.GaussianBlur(layer, (0, 0), edge).astype(np.float32) / 255
    if not plain and rng.random() < 0.5:
        shift = np.array([[1, 0, rng.normal(0, 4)], [0, 1, rng.normal(2, 4)]])
        shadow = cv2.warpAffine(alpha, shift, layer.shape[::-1])
        shadow = cv2.GaussianBlur(shadow, (0, 0), rng.uniform(1, 5)) * rng.uniform(0.1, 0.6)
        _blend(canvas.picture, np.zeros(3, np.float32), shadow)
    _blend(canvas.picture, np.clip(texture, 0, 255), alpha)
    _cover(canvas, alpha)


def _cover(canvas: Canvas, alpha: NDArray[Any]) -> None:
    seen = 1 - alpha[..., None]
    canvas.planes[:] = (canvas.planes * seen).astype(np.uint8)


def _blend(picture: Bytes, over: NDArray[Any], alpha: NDArray[Any]) -> None:
    share = alpha[..., None]
    picture[:] = np.clip(picture + share * (over - picture) + 0.5, 0, 255).astype(np.uint8)


def _skin(canvas: Canvas, rng: Rng) -> Floats:
    """A colour: of this face (the hard case), of another person, or any tone."""
    if rng.random() < 0.55:
        spots = np.flatnonzero(canvas.planes[..., 0] > 128)
        if len(spots) > 50:
            mean = canvas.picture.reshape(-1, 3)[spots].mean(0) * rng.uniform(0.8, 1.2)
            return np.asarray(mean, np.float32)
    fair, dark = np.array([150, 175, 220]), np.array([40, 58, 92])
    share = rng.random()
    tone = (fair * share + dark * (1 - share)) * rng.uniform(0.6, 1.2)
    return np.asarray(tone, np.float32)


def _texture(canvas: Canvas, rng: Rng) -> Floats:
    size = canvas.size
    kind = rng.random()
    if kind < 0.25:
        matrix = np.asarray(
            cv2.getRotationMatrix2D((size / 2, size / 2), rng.uniform(0, 360), rng.uniform(0.7, 3))
        )
        moved = cv2.warpAffine(canvas.other, matrix, (size, size), borderMode=cv2.BORDER_REFLECT)
        return np.asarray(moved, np.float32)
    base = _skin(canvas, rng) if kind < 0.5 else rng.uniform(0, 255, 3).astype(np.float32)
    coarse = int(rng.integers(2, 9))
    texture = (
        base
        * (1 + rng.uniform(0, 0.4) * cv2.resize(_noise(rng, coarse, coarse), (size, size)))[
            ..., None
        ]
    )
    if kind > 0.75:
        second = rng.uniform(0, 255, 3).astype(np.float32)
        fine = cv2.resize(_noise(rng, *rng.integers(3, 60, 2)), (size, size))
        texture = np.where((fine > 0)[..., None], texture, second)
    return np.asarray(
        texture + rng.uniform(0, 8) * rng.standard_normal((size, size, 1)), np.float32
    )


def _noise(rng: Rng, rows: int, columns: int) -> Floats:
    return rng.standard_normal((int(rows), int(columns)), np.float32)


def _somewhere(canvas: Canvas, rng: Rng, spread: float) -> NDArray[np.float64]:
    """A point at or around the face."""
    left, right, top, bottom = _box(canvas.planes[..., 0])
    middle = np.array([left + right, top + bottom]) / 2
    half = np.array([right - left, bottom - top]) / 2
    return np.asarray(middle + half * rng.uniform(-1, 1, 2) * (0.5 + spread), np.float64)


def _box(plane: Bytes) -> tuple[float, float, float, float]:
    """left, right, top, bottom of a plane; the middle third where it is empty."""
    rows, columns = np.flatnonzero((plane > 128).any(1)), np.flatnonzero((plane > 128).any(0))
    if not len(rows):
        size = plane.shape[0]
        return size / 3, 2 * size / 3, size / 3, 2 * size / 3
    return float(columns[0]), float(columns[-1]), float(rows[0]), float(rows[-1])


def _smooth(points: NDArray[np.floating], rng: Rng, roundness: float) -> NDArray[np.float64]:
    """Corners cut twice (Chaikin 1974) where *roundness* says so."""
    smooth = np.asarray(points, np.float64)
    if rng.random() < roundness:
        for _ in range(2):
            ahead = np.roll(smooth, -1, 0)
            pair = np.stack([0.75 * smooth + 0.25 * ahead, 0.25 * smooth + 0.75 * ahead], 1)
            smooth = pair.reshape(-1, 2)
    return smooth


def _fill(layer: Bytes, points: NDArray[Any]) -> None:
    cv2.fillPoly(layer, [np.round(points * 8).astype(np.int32)], 255, cv2.LINE_AA, 3)


def _ellipse(
    layer: Bytes, centre: NDArray[np.floating], axes: tuple[int, int], angle: float, thick: int = -1
) -> None:
    cv2.ellipse(layer, _pixel(centre), axes, float(angle), 0, 360, 255, thick, cv2.LINE_AA)


def _pixel(point: NDArray[np.floating]) -> tuple[int, int]:
    return int(np.clip(round(float(point[0])), -2000, 2000)), int(
        np.clip(round(float(point[1])), -2000, 2000)
    )

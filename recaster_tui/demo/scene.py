"""What a frame shows besides the person: pose, expression, gaze, light, background.

A clip is a sequence of shots. A shot has its own light, background and framing; within it the
head moves smoothly, so the frames make a plausible film while the shots spread the poses.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Triple = tuple[float, float, float]

SHOT_FRAMES = 30
_FPS = 15.0  # the tempo of the movements, whatever the clip's real rate


@dataclass(frozen=True)
class Light:
    """A key light that casts shadows, a fill without, and the sky. Colours are linear BGR."""

    key: Triple = (0.5, 0.5, 0.9)  # towards the light, any length
    key_colour: Triple = (1.28, 1.38, 1.45)
    fill: Triple = (-0.8, 0.1, 0.6)
    fill_colour: Triple = (0.45, 0.32, 0.27)
    ambient: Triple = (0.46, 0.42, 0.40)


@dataclass(frozen=True)
class Scene:
    """One frame's parameters. Angles in degrees, gaze -1..1 (subject's left, up)."""

    angles: Triple = (0.0, 0.0, 0.0)  # yaw (to the subject's left), pitch (down), roll
    expression: Mapping[str, float] = field(default_factory=dict)
    gaze: tuple[float, float] = (0.0, 0.0)
    light: Light = Light()
    shift: Triple = (0.0, 0.0, 0.0)
    zoom: float = 1.0
    backdrop: int = 0  # seed of the background


def scene_at(seed: int, frame: int) -> Scene:
    """The scene of *frame* (from 0) in the endless clip that *seed* names."""
    shot, inside = divmod(frame, SHOT_FRAMES)
    rng = np.random.default_rng((seed, shot))
    light = _light(rng)
    zoom = float(rng.uniform(0.9, 1.1))
    t = inside / _FPS
    # Golden-ratio steps spread the shots' directions evenly, however many there are.
    spread = ((seed * 0.37 + shot * 0.618034) % 1) * 2 - 1
    yaw = 38 * spread + _wave(rng, t, 0.22, 16)
    pitch = float(rng.uniform(-9, 11)) + _wave(rng, t, 0.25, 8)
    roll = float(rng.uniform(-6, 6)) + _wave(rng, t, 0.2, 5)
    expression = _expression(rng, t)
    open_eyes = 1 - expression["eyeBlinkLeft"]
    return Scene(
        angles=(float(np.clip(yaw, -58, 58)), pitch, roll),
        expression=expression,
        gaze=(
            open_eyes * float(np.clip(_wave(rng, t, 0.3, 0.6), -1, 1)),
            open_eyes * float(np.clip(_wave(rng, t, 0.25, 0.4), -1, 1)),
        ),
        light=light,
        shift=(_wave(rng, t, 0.1, 0.18), _wave(rng, t, 0.12, 0.08), 0.0),
        zoom=zoom,
        backdrop=int(rng.integers(2**31)),
    )


def _wave(rng: np.random.Generator, t: float, hertz: float, amplitude: float) -> float:
    """A smooth irregular oscillation: three sines with random phase."""
    total = 0.0
    for k in range(1, 4):
        pace, phase = 0.7 + 0.6 * rng.random(), rng.uniform(0, 2 * np.pi)
        total += np.sin(2 * np.pi * hertz * k * pace * t + phase) / k**0.7
    return float(amplitude * total / 1.8)


def _expression(rng: np.random.Generator, t: float) -> dict[str, float]:
    talk = max(0.0, _wave(rng, t, 1.4, 0.45) + 0.12) * (rng.random() < 0.75)
    vowel = _wave(rng, t, 1.0, 0.5)
    smile = float(np.clip(_wave(rng, t, 0.2, 0.7) + rng.uniform(-0.5, 0.5), 0, 1))
    brow = float(np.clip(_wave(rng, t, 0.25, 0.7), 0, 1))
    frown = float(np.clip(_wave(rng, t, 0.2, 0.6) - 0.2, 0, 1)) * (1 - brow)
    squint = float(np.clip(rng.uniform(-0.6, 0.5), 0, 1))
    blink_at = rng.uniform(0, SHOT_FRAMES / _FPS)
    blink = max(0.0, 1 - abs(t - blink_at) / 0.16)
    talk = float(min(talk, 1.0))
    both = {
        "mouthStretch": 0.5 * max(-vowel, 0) * talk,
        "mouthUpperUp": 0.3 * talk,
        "mouthLowerDown": 0.4 * talk,
        "mouthSmile": 0.8 * smile,
        "cheekSquint": 0.5 * smile,
        "browOuterUp": 0.5 * brow,
        "browDown": 0.7 * frown,
        "eyeSquint": squint * (1 - blink),
        "eyeBlink": blink,
    }
    weights = {f"{name}{side}": value for name, value in both.items() for side in ("Left", "Right")}
    weights |= {
        "jawOpen": 0.75 * talk,
        "mouthFunnel": 0.6 * max(vowel, 0) * talk,
        "mouthPucker": 0.5 * max(vowel, 0) * (rng.random() < 0.3),
        "browInnerUp": 0.7 * brow,
    }
    return weights


def _light(rng: np.random.Generator) -> Light:
    around, height = rng.uniform(-1.25, 1.25), rng.uniform(0.0, 0.9)
    warmth, strength = rng.uniform(-0.1, 0.14), rng.uniform(0.75, 1.75)
    fill = rng.uniform(0.15, 0.6)
    sky = np.array([0.46, 0.43, 0.42]) * rng.uniform(0.6, 1.15)
    b, g, r = (float(c) for c in sky)
    return Light(
        key=(float(np.sin(around)), float(height), float(np.cos(around))),
        key_colour=(strength * (0.92 - warmth), strength * 0.97, strength * (1 + warmth)),
        fill=(-float(np.sin(around)), 0.1, 0.6),
        fill_colour=(fill, fill * 0.75, fill * 0.65),
        ambient=(b, g, r),
    )


@lru_cache(maxsize=4)
def backdrop(seed: int, width: int, height: int) -> NDArray[np.uint8]:
    """A defocused room: soft vertical gradient, a few large shapes and lights. (H, W, 3) BGR."""
    rng = np.random.default_rng(seed)
    h, w = 90, 120
    hue = rng.uniform(0, 180)
    tones = np.zeros((2, 1, 3), np.float32)
    for row, value in enumerate((rng.uniform(0.35, 0.75), rng.uniform(0.15, 0.45))):
        tones[row, 0] = (2 * ((hue + rng.uniform(-20, 20)) % 180), rng.uniform(0.05, 0.28), value)
    ends = cv2.cvtColor(tones, cv2.COLOR_HSV2BGR)
    image = cv2.resize(ends, (w, h), interpolation=cv2.INTER_LINEAR)
    for _ in range(rng.integers(3, 7)):
        box = rng.uniform(0, 1, 2) * (w, h)
        size = rng.uniform(8, 45, 2)
        low, high = (box - size / 2).astype(int), (box + size / 2).astype(int)
        colour = image.mean((0, 1)) * rng.uniform(0.5, 1.5) + rng.uniform(-0.05, 0.05, 3)
        corners = (int(low[0]), int(low[1])), (int(high[0]), int(high[1]))
        cv2.rectangle(image, *corners, tuple(float(c) for c in colour), -1)
    image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(3, 7)))
    for _ in range(rng.integers(0, 5)):
        at = int(rng.uniform(0, w)), int(rng.uniform(0, h * 0.7))
        glow = np.zeros_like(image)
        cv2.circle(glow, at, int(rng.integers(3, 7)), (0.16, 0.22, 0.28), -1, cv2.LINE_AA)
        image = cv2.add(image, cv2.GaussianBlur(glow, (0, 0), 1.2))
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 0.006, (height, width, 1)).astype(np.float32)
    return np.asarray(np.clip((image + noise) * 255 + 0.5, 0, 255), np.uint8)

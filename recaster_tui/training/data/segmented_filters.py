"""Picture filters of XSeg's samples (spec/dfl-models.md 7.7), drawn and applied one by one.

Pictures are (H, W, 3) float32 BGR 0..1. A filter is blended in through *circle* where one is given;
one whose chance (in percent) does not hit gives the picture back. The order of draws is the one
that reproduces the original's own pictures: what comes after a missed chance is not drawn, except
that motion blur draws size and angle first.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from recaster_tui.training.reference.sampling import warp_affine

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Circle:
    """1 within *inner* pixels of (row, column), 0 from *inner* + *outer* on.

    The fade is divided by the outer radius, not by the width of the ring (Quirk 28).
    """

    inner: int
    outer: int
    row: int
    column: int

    def weights(self, height: int, width: int) -> Image:
        """(height, width, 1)."""
        dy = np.arange(height, dtype=np.float32)[:, None] - self.row
        dx = np.arange(width, dtype=np.float32) - self.column
        faded = 1 - (np.sqrt(dy * dy + dx * dx) - self.inner) / self.outer
        return np.asarray(np.clip(faded, 0, 1)[..., None], np.float32)


def draw_circle(side: int, rnd: np.random.RandomState) -> Circle:
    """A circle of any size up to *side* about any pixel of it."""
    inner = rnd.randint(side)
    outer = max(1, inner + rnd.randint(side - inner))
    return Circle(inner, outer, rnd.randint(side), rnd.randint(side))


def hsv_shift(image: Image, rnd: np.random.RandomState, circle: Circle | None = None) -> Image:
    """Any hue; saturation and value by up to ±0.5."""
    hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
    shifted = (
        (hue + rnd.randint(360)) % 360,
        np.clip(saturation + (rnd.random_sample() - 0.5), 0, 1),
        np.clip(value + (rnd.random_sample() - 0.5), 0, 1),
    )
    merged = cv2.merge([np.asarray(channel, np.float32) for channel in shifted])
    return _blend(image, np.clip(cv2.cvtColor(merged, cv2.COLOR_HSV2BGR), 0, 1), circle)


def rgb_levels(image: Image, rnd: np.random.RandomState, circle: Circle | None = None) -> Image:
    """Input black and white points, gamma and output points of each channel."""
    in_black = (0.25 * rnd.random_sample(3)).astype(np.float32)
    in_white = (1 - 0.25 * rnd.random_sample(3)).astype(np.float32)
    gamma = (0.5 + rnd.random_sample(3)).astype(np.float32)
    out_black = (0.25 * rnd.random_sample(3)).astype(np.float32)
    out_white = (1 - 0.25 * rnd.random_sample(3)).astype(np.float32)
    level = np.clip((image - in_black) / (in_white - in_black), 0, 1)
    level = level ** (1 / gamma) * (out_white - out_black) + out_black
    return _blend(image, np.clip(level, 0, 1), circle)


def sharpen(
    image: Image, chance: int, limit: int, rnd: np.random.RandomState, circle: Circle | None = None
) -> Image:
    """Unsharp masking with a box or a Gaussian of 1..*limit* pixels (made odd upwards)."""
    size = rnd.randint(limit) + 1
    size += size % 2 == 0
    if rnd.randint(100) >= chance:
        return image
    if rnd.randint(2) == 0:
        amount = rnd.randint(10)
        kernel = np.zeros((size, size), np.float32)
        kernel[size // 2, size // 2] = 1
        kernel += (kernel - np.float32(1 / size**2)) * amount
        return _blend(image, cv2.filter2D(image, -1, kernel), circle)
    amount = rnd.randint(50)
    blurred = cv2.GaussianBlur(image, (size, size), 0)
    return _blend(
        image, cv2.addWeighted(image, 1 + 0.5 * amount, blurred, -0.5 * amount, 0), circle
    )


def motion_blur(
    image: Image, chance: int, limit: int, rnd: np.random.RandomState, circle: Circle | None = None
) -> Image:
    """Along a line of 1..*limit* pixels at any angle."""
    size = rnd.randint(limit) + 1
    angle = rnd.randint(360)
    if rnd.randint(100) >= chance:
        return image
    return _blend(image, cv2.filter2D(image, -1, line_kernel(size, angle)), circle)


def line_kernel(size: int, angle: float) -> NDArray[np.float32]:
    """(size, size): a line through the middle, *angle* degrees counter-clockwise, sum 1."""
    kernel = np.zeros((size, size, 1), np.float32)
    kernel[(size - 1) // 2] = 1
    centre = (size / 2 - 0.5, size / 2 - 0.5)
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, angle, 1.0), np.float64)
    # OpenCV 5 would give other kernels than the original's, by up to 0.1 in a weight.
    turned = warp_affine(kernel, matrix, size, cubic=False, replicate=False)[..., 0]
    return np.asarray(turned / turned.sum(), np.float32)


def gaussian_blur(
    image: Image, chance: int, limit: int, rnd: np.random.RandomState, circle: Circle | None = None
) -> Image:
    """With a kernel of 1, 3, … 2 · *limit* - 1 pixels."""
    if rnd.randint(100) >= chance:
        return image
    size = 2 * rnd.randint(limit) + 1
    return _blend(image, cv2.GaussianBlur(image, (size, size), 0), circle)


def resize(
    image: Image,
    chance: int,
    percent: int,
    method: int,
    rnd: np.random.RandomState,
    circle: Circle | None = None,
) -> Image:
    """Down by up to *percent* and up again, with OpenCV's interpolation *method* both times."""
    if rnd.randint(100) >= chance:
        return image
    share = rnd.random_sample()
    height, width = image.shape[:2]
    small_height, small_width = (
        side - int(share * int(side * percent / 100)) for side in (height, width)
    )
    down = cv2.resize(image, (small_width, small_height), interpolation=method)
    return _blend(image, cv2.resize(down, (width, height), interpolation=method), circle)


def jpeg(
    image: Image, chance: int, rnd: np.random.RandomState, circle: Circle | None = None
) -> Image:
    """Compressed as JPEG of quality 10..100; the picture must be within 0..1."""
    if rnd.randint(100) >= chance:
        return image
    parameters = [cv2.IMWRITE_JPEG_QUALITY, rnd.randint(10, 101)]
    picture = np.clip(image * 255, 0, 255).astype(np.uint8)
    decoded = cv2.imdecode(cv2.imencode(".jpg", picture, parameters)[1], cv2.IMREAD_COLOR)
    return _blend(image, np.asarray(decoded, np.float32) / np.float32(255), circle)


def _blend(image: Image, filtered: ArrayLike, circle: Circle | None) -> Image:
    result = np.asarray(filtered, np.float32)
    if circle is None:
        return result
    share = circle.weights(*image.shape[:2])
    return image * (1 - share) + result * share

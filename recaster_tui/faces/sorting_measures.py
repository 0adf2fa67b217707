"""What DFL's sorts measure on one face (dfl-data.md 6.2)."""

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.face import Face
from recaster_tui.faces.masks import hull_mask
from recaster_tui.faces.pose import pitch_yaw_roll
from recaster_tui.faces.sharpness import cpbd, masked_gray

Image = NDArray[np.uint8]
Histograms = NDArray[np.float32]

THUMBNAIL = 64
"""Side of the pictures that ``absdiff`` compares."""


def sharpness(image: Image, face: Face) -> float:
    """CPBD of the face inside its hull, 0..1; see :mod:`recaster_tui.faces.sharpness`."""
    return cpbd(masked_gray(image, face))


def motion_sharpness(image: Image, face: Face) -> float:
    """Variance of the Laplacian (aperture 11) of all three channels inside the hull."""
    hull = hull_mask(image.shape, face.landmarks, face.eyebrows_expand).astype(np.uint8)
    edges = cv2.Laplacian(image * hull[..., None], cv2.CV_64F, ksize=11)
    return float(edges.var())


def yaw(face: Face) -> float:
    """Radians; see :func:`~recaster_tui.faces.pose.pitch_yaw_roll`."""
    return pitch_yaw_roll(face.landmarks, face.shape[1])[1]


def pitch(face: Face) -> float:
    """Radians; see :func:`~recaster_tui.faces.pose.pitch_yaw_roll`."""
    return pitch_yaw_roll(face.landmarks, face.shape[1])[0]


def rect_area(face: Face) -> float:
    """Area in the frame, px², whichever way round its corners are; NaN where unknown."""
    if face.source_rect is None:
        return float("nan")
    left, top, right, bottom = (float(v) for v in face.source_rect)
    return abs((right - left) * (bottom - top))


def brightness(image: Image) -> float:
    """Mean of V (the brightest channel) over the whole picture, 0..255."""
    return float(cv2.mean(cv2.max(cv2.max(image[..., 0], image[..., 1]), image[..., 2]))[0])


def hue(image: Image) -> float:
    """Mean of H over the whole picture, 0..179."""
    return float(cv2.mean(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))[0])


def black_values(image: Image) -> float:
    """How many values of the three channels are 0."""
    return float(image.size - np.count_nonzero(image))


def colour_histograms(image: Image) -> Histograms:
    """(3, 256) float32: square roots of the shares of each level in B, G and R."""
    return np.stack([_histogram(image, channel) for channel in range(3)])


def gray_histogram(image: Image, face: Face | None) -> Histograms:
    """(256,) float32: as :func:`colour_histograms`, of the gray picture inside the face's hull
    (of all of it where *face* is None)."""
    return _histogram(masked_gray(image, face), 0)


def thumbnail(image: Image) -> NDArray[np.uint8]:
    """(64·64·3,) uint8: the picture to compare by differences."""
    side = (THUMBNAIL, THUMBNAIL)
    if image.shape[:2] != side:
        smaller = min(image.shape[:2]) >= THUMBNAIL
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, side, interpolation=how), np.uint8)
    return image.reshape(-1)


def _histogram(image: Image, channel: int) -> Histograms:
    counts = cv2.calcHist([image], [channel], None, [256], [0, 256]).reshape(-1)
    # The square root of each share: what the Bhattacharyya coefficient multiplies.
    return np.asarray(np.sqrt(counts / counts.sum()), np.float32)

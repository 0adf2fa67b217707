"""Where a face looks, from its landmarks alone (dfl-data.md 4.8)."""

import math

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from recaster_tui.faces.tables import MEAN_FACE_3D, POSE_POINTS

_POSE_INDEX = np.array(POSE_POINTS)
_POSE_3D = MEAN_FACE_3D[_POSE_INDEX].astype(np.float64)


def averaged_yaw(landmarks: ArrayLike) -> float:
    """How far the nose lies off the middle of the jaw, in the landmarks' own units.

    Zero for a frontal face, positive when the nose is displaced towards the picture's left.
    """
    x = np.asarray(landmarks)[:, 0]
    left = ((x[27] - x[0]) + (x[28] - x[1]) + (x[29] - x[2])) / 3.0
    right = ((x[16] - x[27]) + (x[15] - x[28]) + (x[14] - x[29])) / 3.0
    return float(right - left)


def pitch_yaw_roll(landmarks: ArrayLike, size: int) -> tuple[float, float, float]:
    """Head pose of an aligned face.

    A perspective camera (focal length = *size*, centred) is solved for 33 points of the mean 3-D
    face. The solver often lands on the mirrored solution: roll is then -pi/2 and means nothing,
    pitch and yaw stay useful. Yaw from 2-D landmarks reaches about ±1.2.

    Args:
        landmarks: (68, 2) pixels of the aligned face.
        size: its side in pixels.

    Returns:
        (pitch, yaw, roll) in radians, each within ±pi/2; zeros where no pose can be solved.
    """
    points = np.asarray(landmarks, np.float64)[_POSE_INDEX]
    camera = np.array([(size, 0, size / 2), (0, size, size / 2), (0, 0, 1)], np.float64)
    try:
        solved, rotation, _ = cv2.solvePnP(_POSE_3D, points, camera, np.zeros((4, 1)))
    except cv2.error:
        solved = False
    if not solved or not np.isfinite(rotation).all():
        return 0.0, 0.0, 0.0
    pitch, yaw, roll = euler_angles(np.asarray(cv2.Rodrigues(rotation)[0], np.float64))
    limit = math.pi / 2
    return (
        max(-limit, min(limit, -pitch)),
        max(-limit, min(limit, yaw)),
        max(-limit, min(limit, roll)),
    )


def euler_angles(rotation: NDArray[np.float64]) -> tuple[float, float, float]:
    """(x, y, z) Euler angles in radians of a (3, 3) rotation matrix Rz·Ry·Rx."""
    r = rotation
    sy = math.hypot(r[0, 0], r[1, 0])
    if sy < 1e-6:
        return math.atan2(-r[1, 2], r[1, 1]), math.atan2(-r[2, 0], sy), 0.0
    return (
        math.atan2(r[2, 1], r[2, 2]),
        math.atan2(-r[2, 0], sy),
        math.atan2(r[1, 0], r[0, 0]),
    )

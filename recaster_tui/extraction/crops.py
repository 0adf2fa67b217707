"""The square around a face that the mesh network looks at, and the way back to the frame."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from recaster_tui.extraction.finder import Frame, Points

MARGIN = 1.5  # side of the square, in sides of the face's box (MediaPipe's face landmarker)
EYES = (33, 263)  # outer corners in the mesh: subject's right, left


@dataclass(frozen=True)
class Square:
    """A turned square in frame pixels."""

    x: float  # of the centre
    y: float
    side: float
    angle: float  # radians, of its upper edge, y down

    @classmethod
    def around_box(cls, box: Points, angle: float) -> "Square":
        """For a detected box (4,) and the angle of the eyes."""
        left, top, right, bottom = (float(value) for value in box)
        side = max(right - left, bottom - top) * MARGIN
        return cls((left + right) / 2, (top + bottom) / 2, side, angle)

    @classmethod
    def around_mesh(cls, mesh: Points) -> "Square":
        """For points (478, 2 or 3) found before: upright to the eyes, their box in the middle."""
        points = mesh[:, :2].astype(np.float64)
        line = points[EYES[1]] - points[EYES[0]]
        angle = math.atan2(line[1], line[0])
        cos, sin = math.cos(angle), math.sin(angle)
        upright = points @ np.array([[cos, -sin], [sin, cos]])
        low, high = upright.min(0), upright.max(0)
        middle = np.array([[cos, -sin], [sin, cos]]) @ ((low + high) / 2)
        return cls(float(middle[0]), float(middle[1]), float((high - low).max()) * MARGIN, angle)

    def matrix(self, pixels: int) -> np.ndarray:
        """(2, 3) float64: picture coordinates of the crop, *pixels* wide, to frame pixels; both
        counted from pixel centres.
        """
        scale = self.side / pixels
        cos, sin = math.cos(self.angle) * scale, math.sin(self.angle) * scale
        half = (pixels - 1) / 2
        return np.array(
            [
                [cos, -sin, self.x - half * (cos - sin)],
                [sin, cos, self.y - half * (sin + cos)],
            ]
        )

    def cut(self, frame: Frame, pixels: int) -> Frame:
        """The crop (pixels, pixels, 3); beyond the frame its edge goes on."""
        matrix = self.matrix(pixels)
        shrink = int(self.side / pixels)
        if shrink >= 2:  # bilinear sampling alone would skip pixels
            frame, moved = self._shrunk(frame, shrink)
            matrix = moved @ np.vstack([matrix, [0, 0, 1]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        crop = cv2.warpAffine(
            frame, matrix, (pixels, pixels), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(crop, np.uint8)

    def _shrunk(self, frame: Frame, factor: int) -> tuple[Frame, np.ndarray]:
        """The part of the frame around the square, smaller, and the (2, 3) matrix to it."""
        reach = self.side * (abs(math.cos(self.angle)) + abs(math.sin(self.angle))) / 2 + 2
        height, width = frame.shape[:2]
        left, top = (
            int(np.clip(c - reach, 0, n - 1)) for c, n in ((self.x, width), (self.y, height))
        )
        right, bottom = (
            int(np.clip(c + reach, start + 1, n))
            for c, start, n in ((self.x, left, width), (self.y, top, height))
        )
        part = frame[top:bottom, left:right]
        size = (max(1, part.shape[1] // factor), max(1, part.shape[0] // factor))
        x, y = size[0] / part.shape[1], size[1] / part.shape[0]
        small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        # A pixel's centre lies half a pixel inside its edge, in both pictures.
        moved = np.array([[x, 0, (0.5 - left) * x - 0.5], [0, y, (0.5 - top) * y - 0.5]])
        return np.asarray(small, np.uint8), moved

"""Drawing round the face: rays from its middle, and where the face's edge crosses each of them.

Three proposals: the stored XSeg mask's edge; the landmarks' outline; the edge seen in the picture.
The last one compares colours with the face's own inside and looks for the closed line that
crosses from face to not-face best on all rays together (dynamic programming over the rays, as in
A. Amini, T. Weymouth, R. Jain, "Using dynamic programming for solving variational problems in
vision", PAMI 12(9), 1990), near to where the landmarks expect it.
"""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from recaster_tui.faces.masks import hull_mask

Floats = NDArray[np.float64]

RAYS = 24
_FOREHEAD = 0.62  # of the distance brows to nose base that the forehead reaches above the brows
_STEPS = 72  # radii looked at on each ray
_INWARD, _OUTWARD = 0.35, 0.45  # how far from the expected radius, of the median radius
_SMOOTH = 2.0  # cost of a change of that between neighbours
_PRIOR = 0.3  # cost of its square
_WIDTH = 0.07  # of the median radius: what is compared on both sides of the edge
_PIN = 1e6


def face_outline(landmarks: ArrayLike) -> Floats:
    """(n, 2) the outline that 68 landmarks let expect: jaw, and a forehead above the brows.

    The thirds of a face (hairline to brows, brows to nose, nose to chin) are about equal; the
    hairline is assumed a little lower, so that hair is rather left out.
    """
    points = np.asarray(landmarks, np.float64)
    brows = points[17:27]
    up = brows.mean(0) - points[33]
    # Highest in the middle of the brows, lower where the temples begin.
    arch = np.sin(np.linspace(0.18, 0.82, 10) * np.pi)[:, None]
    forehead = brows + up * _FOREHEAD * arch
    outline = np.concatenate([points[:17], forehead[::-1]])
    hull = cv2.convexHull(outline.astype(np.float32))
    return np.asarray(hull[:, 0], np.float64)


class RayFan:
    """Rays round one face.

    Attributes:
        centre: (2,) x, y where they begin.
        directions: (n, 2) unit vectors, clockwise from straight up.
        expected: (n,) radius of the landmarks' outline.
        edge: (n,) radius of the edge seen in the picture.
        mask: (n,) radius of the stored mask's edge; None without one.
    """

    def __init__(
        self,
        image: NDArray[np.uint8],
        landmarks: ArrayLike,
        mask: NDArray[np.float32] | None = None,
        rays: int = RAYS,
    ) -> None:
        """Args:
        image: (H, W, 3) uint8 BGR.
        landmarks: (68, 2) pixels of it.
        mask: (H, W) of 0 to 1, or None.
        rays: how many, 3 to 256.
        """
        outline = face_outline(landmarks)
        height, width = image.shape[:2]
        self.limit = (width - 1.0, height - 1.0)
        self.centre: Floats = np.clip(_centroid(outline), 1, np.array(self.limit) - 1)
        angles = np.arange(rays) * 2 * np.pi / rays
        self.directions: Floats = np.stack([np.sin(angles), -np.cos(angles)], 1)
        self.farthest = self._to_border()
        self.expected: Floats = np.minimum(self._outline_radii(outline), self.farthest)
        self._gain, self._radii = self._gains(image, landmarks, outline)
        self.mask = None if mask is None else self._mask_radii(mask)
        self.edge = self.solve({})

    def __len__(self) -> int:
        return len(self.directions)

    def points(self, radii: ArrayLike) -> NDArray[np.float32]:
        """(n, 2) pixels of a radius on each ray, inside the picture."""
        points = self.centre + self.directions * np.asarray(radii, np.float64)[:, None]
        return np.clip(points, 0, self.limit).astype(np.float32)

    def solve(self, pinned: Mapping[int, float]) -> Floats:
        """(n,) radii of the best closed line that goes through *pinned* (ray: radius).

        Corrections move their neighbours, too: what was wrong here is likely wrong beside.
        """
        count, steps = self._gain.shape
        cost = -self._gain.copy()
        away = np.linspace(-_INWARD, _OUTWARD, steps)
        cost += _PRIOR * np.square(away)
        for ray, radius in pinned.items():
            nearest = int(np.abs(self._radii[ray] - radius).argmin())
            cost[ray] += _PIN
            cost[ray, nearest] -= 2 * _PIN
        jump = _SMOOTH * np.abs(away[:, None] - away[None, :])
        # Closed: begin at the ray that is surest, twice round, and take the second lap.
        start = next(iter(pinned), int((np.sort(cost, 1)[:, 1] - cost.min(1)).argmax()))
        order = [(start + i) % count for i in range(count)] * 2
        total = cost[order[0]]
        back = np.zeros((len(order), steps), np.int64)
        for i, ray in enumerate(order[1:], 1):
            through = total[:, None] + jump
            back[i] = through.argmin(0)
            total = through.min(0) + cost[ray]
        best = int(total.argmin())
        chosen = np.zeros(count, np.int64)
        for i in range(len(order) - 1, -1, -1):
            if i >= count // 2 and i < count // 2 + count:
                chosen[order[i]] = best
            best = int(back[i][best])
        radii = self._radii[np.arange(count), chosen]
        for ray, radius in pinned.items():
            radii[ray] = radius
        return np.asarray(np.minimum(radii, self.farthest), np.float64)

    def _to_border(self) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            forward = (np.array(self.limit) - self.centre) / self.directions
            backward = -self.centre / self.directions
        reach = np.where(self.directions > 1e-9, forward, np.inf)
        reach = np.where(self.directions < -1e-9, backward, reach)
        return np.asarray(reach.min(1), np.float64)

    def _outline_radii(self, outline: Floats) -> Floats:
        """Where each ray leaves a convex outline."""
        start, end = outline, np.roll(outline, -1, 0)
        edge = end - start
        radii = np.zeros(len(self.directions))
        for i, direction in enumerate(self.directions):
            cross = direction[0] * edge[:, 1] - direction[1] * edge[:, 0]
            offset = start - self.centre
            with np.errstate(divide="ignore", invalid="ignore"):
                along = (offset[:, 0] * edge[:, 1] - offset[:, 1] * edge[:, 0]) / cross
                part = (offset[:, 0] * direction[1] - offset[:, 1] * direction[0]) / cross
            hit = (along > 0) & (part >= -1e-9) & (part <= 1 + 1e-9)
            radii[i] = along[hit].max() if hit.any() else 1.0
        return radii

    def _mask_radii(self, mask: NDArray[np.float32]) -> Floats:
        """The outermost change from mask to no mask on each ray; expected where there is none."""
        radii = self.expected.copy()
        for i, direction in enumerate(self.directions):
            reach = np.arange(0, self.farthest[i], 0.5)
            x, y = np.round(self.centre[:, None] + direction[:, None] * reach).astype(int)
            inside = np.flatnonzero(mask[y, x] >= 0.5)
            if len(inside):
                radii[i] = reach[inside[-1]]
        return radii

    def _gains(
        self, image: NDArray[np.uint8], landmarks: ArrayLike, outline: Floats
    ) -> tuple[Floats, Floats]:
        """How much each radius looks like the face's edge, (n, steps) each: gain and radius."""
        likeness = _likeness(image, landmarks, outline)
        usual = float(np.median(self.expected))
        away = np.linspace(-_INWARD, _OUTWARD, _STEPS)
        radii = np.maximum(self.expected[:, None] + usual * away, 1.0)
        width = max(2.0, _WIDTH * usual)
        offsets = np.linspace(0.12, 1.0, 8) * width
        inside = self._sample(likeness, radii[:, :, None] - offsets)
        outside = self._sample(likeness, radii[:, :, None] + offsets)
        gain = inside.mean(2) - outside.mean(2)
        gain[radii > self.farthest[:, None]] = -1.0
        return np.asarray(gain, np.float64), np.asarray(radii, np.float64)

    def _sample(self, picture: NDArray[np.float32], radii: Floats) -> NDArray[np.float32]:
        shape = radii.shape
        flat = radii.reshape(len(self.directions), -1)
        x = (self.centre[0] + self.directions[:, :1] * flat).astype(np.float32)
        y = (self.centre[1] + self.directions[:, 1:] * flat).astype(np.float32)
        found = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(found, np.float32).reshape(shape)


def _centroid(outline: Floats) -> Floats:
    x, y = outline.T
    cross = x * np.roll(y, -1) - y * np.roll(x, -1)
    area = cross.sum() / 2
    if abs(area) < 1e-6:
        return np.asarray(outline.mean(0), np.float64)
    cx = ((x + np.roll(x, -1)) * cross).sum() / (6 * area)
    cy = ((y + np.roll(y, -1)) * cross).sum() / (6 * area)
    return np.array([cx, cy])


def _likeness(
    image: NDArray[np.uint8], landmarks: ArrayLike, outline: Floats
) -> NDArray[np.float32]:
    """(H, W) 0 to 1: how much a pixel's colour is the face's own, locally lit.

    Light falls off round a face, so that the colours of its inside are carried outwards: each
    pixel is compared with the nearby part of the inside.
    """
    points = np.asarray(landmarks, np.float64)
    lab = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), image.shape[0] / 256), cv2.COLOR_BGR2LAB)
    lab32 = lab.astype(np.float32)
    shape = image.shape[:2]
    inside = hull_mask(shape, points)
    area = max(1.0, float(np.ptp(outline[:, 0]) * np.ptp(outline[:, 1])))
    scale = np.sqrt(area)
    kernel = np.ones((max(1, int(scale * 0.05)),) * 2, np.uint8)
    inside = np.asarray(cv2.erode(inside, kernel), np.float32)
    for part in (range(36, 42), range(42, 48), range(48, 60), range(17, 22), range(22, 27)):
        cv2.fillConvexPoly(inside, cv2.convexHull(points[list(part)].astype(np.int32)), 0.0)
    chosen = inside > 0
    if chosen.sum() < 16:
        return np.ones(shape, np.float32)
    sigma = scale * 0.18
    weight = cv2.GaussianBlur(inside, (0, 0), sigma) + np.float32(1e-4)
    usual = lab32[chosen].mean(0)
    spread = np.zeros(shape, np.float32)
    for channel, least in enumerate((14.0, 4.0, 4.0)):
        plane = np.ascontiguousarray(lab32[..., channel])
        around = cv2.GaussianBlur(plane * inside, (0, 0), sigma) + usual[channel] * 1e-4
        deviation = float(np.std(plane[chosen] - (around / weight)[chosen]))
        spread += np.square((plane - around / weight) / max(least, 1.5 * deviation))
    return np.asarray(np.exp(-0.5 * spread), np.float32)

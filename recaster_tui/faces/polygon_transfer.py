"""Outlines carried from face to face by the landmarks, and made between two labelled ones."""

import math
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from recaster_tui.errors import BadInputError
from recaster_tui.faces.face import Polygon
from recaster_tui.faces.geometry import umeyama
from recaster_tui.faces.masks import hull_mask, polygon_mask
from recaster_tui.faces.outlines import outlines
from recaster_tui.faces.polygon_edit import FEWEST, frozen
from recaster_tui.faces.ray_edges import face_outline

Floats = NDArray[np.float64]
Method = Literal["similarity", "affine", "local"]

_SHAPES = 512  # pixels of the picture in which shapes are blended
_MATCHING = 128  # pixels of the picture in which polygons of two faces are matched


def transfer_points(
    points: ArrayLike, source: ArrayLike, target: ArrayLike, method: Method = "local"
) -> NDArray[np.float32]:
    """Where *points* of one face lie on another.

    Args:
        points: (n, 2) pixels of the first picture.
        source: (68, 2) landmarks of the first picture.
        target: (68, 2) landmarks of the second picture.
        method: ``similarity`` or ``affine`` moves the face as a whole; ``local`` follows each
            part's own landmarks by moving least squares (S. Schaefer, T. McPhail, J. Warren,
            "Image deformation using moving least squares", SIGGRAPH 2006, eq. 5).

    Raises:
        BadInputError: the landmarks are not (68, 2), or lie on one line.
    """
    given = np.asarray(points, np.float64).reshape(-1, 2)
    p, q = (np.asarray(v, np.float64) for v in (source, target))
    if p.shape != (68, 2) or q.shape != (68, 2):
        raise BadInputError("outlines are carried over by 68 landmarks of both faces")
    if np.array_equal(p, q) or not len(given):
        return given.astype(np.float32)
    if method == "similarity":
        matrix = umeyama(p, q)[:2]
        moved = given @ matrix[:, :2].T + matrix[:, 2]
    else:
        scale = float(np.mean(np.ptp(p, axis=0)))
        # Weights fall off slowly: one landmark's noise must not dent an outline.
        softness = (0.08 * scale) ** 2
        distance = np.square(given[:, None] - p[None]).sum(2)
        weights = 1 / (distance + softness) if method == "local" else np.ones((len(given), 68))
        moved = _moving_affine(given, p, q, weights)
    if not np.isfinite(moved).all():
        raise BadInputError("these landmarks do not describe a face: nothing can be carried over")
    return np.asarray(moved, np.float32)


def transfer(
    polygons: Sequence[Polygon], source: ArrayLike, target: ArrayLike, method: Method = "local"
) -> list[Polygon]:
    """*polygons* of one face on another; see :func:`transfer_points`."""
    return [frozen(p.include, transfer_points(p.points, source, target, method)) for p in polygons]


def interpolate(
    before: Sequence[Polygon],
    after: Sequence[Polygon],
    landmarks: tuple[ArrayLike, ArrayLike, ArrayLike],
    part: float,
) -> list[Polygon]:
    """Outlines of a face between two labelled ones.

    Both faces' outlines are carried over to the face between by the landmarks, so that only what
    the landmarks do not explain is left to blend.

    Args:
        before: outlines of the earlier face.
        after: outlines of the later face.
        landmarks: (68, 2) each of the earlier face, the later face and the one between.
        part: 0 at the earlier face, 1 at the later.

    Returns:
        pairs of outlines blended; one without a partner is there while its face is the nearer.
    """
    first, second, between = landmarks
    one = transfer(before, first, between)
    two = transfer(after, second, between)
    made: list[Polygon] = []
    pairs, lonely_one, lonely_two = _matched(one, two)
    for a, b in pairs:
        points = _blend(one[a].points, two[b].points, part)
        made.append(frozen(one[a].include, points))
    made += [one[i] for i in lonely_one if part < 0.5]
    made += [two[i] for i in lonely_two if part >= 0.5]
    return sorted(made, key=lambda p: not p.include)


def hull_polygon(landmarks: ArrayLike, shape: Sequence[int], forehead: bool = False) -> Polygon:
    """The landmarks' hull as an outline (dfl-data.md 4.5), or the outline with a forehead.

    Raises:
        BadInputError: the face lies outside of the picture.
    """
    if forehead:
        limit = np.array([shape[1] - 1, shape[0] - 1])
        return frozen(True, np.clip(face_outline(landmarks), 0, limit))
    found = [p for p in outlines(hull_mask(shape, landmarks)) if p.include]
    if not found:
        raise BadInputError("the landmarks' hull lies outside of the picture")
    return max(found, key=lambda p: cv2.contourArea(p.points))


def mask_polygons(mask: NDArray[np.float32], shape: Sequence[int]) -> list[Polygon]:
    """Outlines of a mask (h, w) of any size, in pixels of a picture of *shape*."""
    height, width = int(shape[0]), int(shape[1])
    if mask.shape != (height, width):
        mask = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR))
    return outlines(mask)


def _moving_affine(points: Floats, p: Floats, q: Floats, weights: Floats) -> Floats:
    """An affine least-squares fit p to q for each of *points*, with its own *weights* (n, 68)."""
    total = weights.sum(1, keepdims=True)
    centre_p, centre_q = weights @ p / total, weights @ q / total
    dp, dq = p[None] - centre_p[:, None], q[None] - centre_q[:, None]
    spread = np.einsum("nk,nki,nkj->nij", weights, dp, dp)
    mixed = np.einsum("nk,nki,nkj->nij", weights, dp, dq)
    try:
        matrix = np.linalg.solve(spread, mixed)
    except np.linalg.LinAlgError:
        return np.full_like(points, np.nan)
    return np.asarray(np.einsum("ni,nij->nj", points - centre_p, matrix) + centre_q)


def _matched(
    one: Sequence[Polygon], two: Sequence[Polygon]
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Pairs of the same kind that overlap most, and those left alone."""
    every = [p.points for p in (*one, *two) if len(p.points)]
    if not one or not two or not every:
        return [], list(range(len(one))), list(range(len(two)))
    low = np.min([p.min(0) for p in every], 0)
    size = max(1.0, float((np.max([p.max(0) for p in every], 0) - low).max()))
    shape = (_MATCHING, _MATCHING)

    def filled(polygon: Polygon) -> NDArray[np.float32]:
        points = ((polygon.points - low) * ((_MATCHING - 1) / size)).astype(np.float32)
        return polygon_mask(shape, [Polygon(True, points)])

    a_masks, b_masks = [filled(p) for p in one], [filled(p) for p in two]
    overlap = np.full((len(one), len(two)), -1.0)
    for i, a in enumerate(one):
        for j, b in enumerate(two):
            if a.include == b.include and min(len(a.points), len(b.points)) >= FEWEST:
                union = float(np.maximum(a_masks[i], b_masks[j]).sum())
                overlap[i, j] = float((a_masks[i] * b_masks[j]).sum()) / max(union, 1.0)
    pairs: list[tuple[int, int]] = []
    while overlap.size and overlap.max() > 0.1:
        i, j = (int(v) for v in np.unravel_index(int(overlap.argmax()), overlap.shape))
        pairs.append((i, j))
        overlap[i, :] = overlap[:, j] = -1.0
    used_one, used_two = {i for i, _ in pairs}, {j for _, j in pairs}
    return (
        sorted(pairs),
        [i for i in range(len(one)) if i not in used_one],
        [j for j in range(len(two)) if j not in used_two],
    )


def _blend(one: NDArray[np.float32], two: NDArray[np.float32], part: float) -> NDArray[np.float32]:
    """Between two closed outlines: point by point where both have as many, else by shape."""
    if len(one) != len(two):
        return _blend_shapes(one, two, part)
    a = one - one.mean(0)
    best, partner = np.inf, two
    for way in (two, two[::-1]):
        b = way - way.mean(0)
        for shift in range(len(b)):
            distance = float(np.square(a - np.roll(b, -shift, 0)).sum())
            if distance < best:
                best, partner = distance, np.roll(way, -shift, 0)
    return ((1 - part) * one + part * partner).astype(np.float32)


def _blend_shapes(
    one: NDArray[np.float32], two: NDArray[np.float32], part: float
) -> NDArray[np.float32]:
    """Where the blended distance to both edges is zero (S. Raya, J. Udupa, "Shape-based
    interpolation of multidimensional objects", IEEE TMI 9(1), 1990).
    """
    low = np.minimum(one.min(0), two.min(0))
    size = max(1.0, float((np.maximum(one.max(0), two.max(0)) - low).max()))
    scale = min(4.0, _SHAPES / size)
    margin = 4
    side = math.ceil(size * scale) + 2 * margin + 1

    def distance(points: NDArray[np.float32]) -> NDArray[np.float32]:
        inside = np.zeros((side, side), np.uint8)
        spots = np.round((points - low) * scale + margin).astype(np.int32)
        cv2.fillPoly(inside, [spots], 1)
        return np.asarray(
            cv2.distanceTransform(inside, cv2.DIST_L2, 5)
            - cv2.distanceTransform(np.uint8(1) - inside, cv2.DIST_L2, 5),
            np.float32,
        )

    between = ((1 - part) * distance(one) + part * distance(two) > 0).astype(np.uint8)
    found, _ = cv2.findContours(between, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not found:
        return one if part < 0.5 else two
    outline = cv2.approxPolyDP(max(found, key=cv2.contourArea), 0.75, True)[:, 0]
    if len(outline) < FEWEST:
        return one if part < 0.5 else two
    return np.asarray((outline - margin) / scale + low, np.float32)

"""Where in a frame faces may be: BlazeFace on views of it, decoded and merged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from recaster_tui.extraction.finder import Frame, Points
from recaster_tui.nets.blazeface import BlazeFaceFull, BlazeFaceShort

RIGHT_EYE, LEFT_EYE = 0, 1  # of a candidate's six key points; the subject's right is picture left
LONGEST = 8  # sides of a frame, in sides of the squares it is cut into
OVERLAP = 0.3  # boxes that share more of their union are one face


@dataclass(frozen=True)
class View:
    """A rectangle of the frame, in pixels from its corner, and how far it is to be turned."""

    x: int
    y: int
    width: int
    height: int
    turns: int = 0  # quarter turns counter-clockwise


@dataclass(frozen=True)
class Candidates:
    """Possible faces, in pixels of the frame ((0, 0) is the first pixel's centre)."""

    boxes: Points  # (n, 4) left, top, right, bottom: brows to chin
    keypoints: Points  # (n, 6, 2) see nets.blazeface
    scores: Points  # (n,)

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: Sequence[int]) -> "Candidates":
        """Those at *index*."""
        rows = np.asarray(index, np.intp)
        return Candidates(self.boxes[rows], self.keypoints[rows], self.scores[rows])

    def by_size(self) -> "Candidates":
        """The same, largest first."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return self.take(np.argsort(-sides.prod(1), kind="stable").tolist())


def detect(
    net: BlazeFaceFull | BlazeFaceShort, frame: Frame, views: Sequence[View], threshold: float
) -> Candidates:
    """Run a detector on *views* of a frame (H, W, 3) BGR; each face is given once.

    Args:
        net: in inference mode.
        frame: the whole frame.
        views: parts of it.
        threshold: least score, 0..1.
    """
    found = []
    for view in views:
        picture, offset, scale = _fitted(frame, view, net.side)
        seen = _decoded(net, picture, threshold)
        corners = _placed(seen.boxes.reshape(-1, 2, 2), view, offset, scale)
        boxes = np.concatenate([corners.min(1), corners.max(1)], 1)
        found.append(Candidates(boxes, _placed(seen.keypoints, view, offset, scale), seen.scores))
    return merge(joined(found))


def joined(some: Sequence[Candidates]) -> Candidates:
    """All of them, at least one, in their order."""
    return Candidates(
        np.concatenate([c.boxes for c in some]),
        np.concatenate([c.keypoints for c in some]),
        np.concatenate([c.scores for c in some]),
    )


def merge(found: Candidates) -> Candidates:
    """Overlapping candidates become one, their mean weighted by score (BlazeFace's blending)."""
    order = np.argsort(-found.scores, kind="stable")
    boxes, keypoints, scores = [], [], []
    while len(order):
        first = order[0]
        same = overlaps(found.boxes[first], found.boxes[order]) > OVERLAP
        same[0] = True
        group = order[same]
        share = found.scores[group] / found.scores[group].sum()
        boxes.append(share @ found.boxes[group])
        keypoints.append(np.tensordot(share, found.keypoints[group], 1))
        scores.append(found.scores[first])
        order = order[~same]
    return Candidates(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(keypoints, np.float32).reshape(-1, 6, 2),
        np.array(scores, np.float32),
    )


def overlaps(box: Points, boxes: Points) -> Points:
    """Intersection over union of *box* (4,) with each of *boxes* (n, 4)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = (high - low).clip(0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    area = (box[2:] - box[:2]).prod()
    return np.asarray(shared / np.maximum(area + areas - shared, 1e-9), np.float32)


def squares(width: int, height: int, side: int, overlap: float) -> list[View]:
    """Squares of *side* that cover a frame, neighbours sharing at least *overlap* of it.

    A frame narrower than that gives rectangles. Of very long frames the squares are larger, at
    least an eighth of the length.
    """
    side = max(side, -(-max(width, height) // LONGEST))

    def starts(length: int) -> list[int]:
        steps = math.ceil((length - side) / (side * (1 - overlap))) if length > side else 0
        return [round(k * (length - side) / max(steps, 1)) for k in range(steps + 1)]

    return [
        View(x, y, min(side, width), min(side, height))
        for y in starts(height)
        for x in starts(width)
    ]


def _fitted(frame: Frame, view: View, side: int) -> tuple[Frame, tuple[int, int], float]:
    """The view in the middle of a black square of *side*; where it lies there, and its scale."""
    part = frame[view.y : view.y + view.height, view.x : view.x + view.width]
    scale = side / max(view.width, view.height)
    width, height = (max(1, round(n * scale)) for n in (view.width, view.height))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = np.rot90(cv2.resize(part, (width, height), interpolation=method), view.turns)
    height, width = small.shape[:2]
    x, y = (side - width) // 2, (side - height) // 2
    picture = np.zeros((side, side, 3), np.uint8)
    picture[y : y + height, x : x + width] = small
    return picture, (x, y), scale


def _placed(points: Points, view: View, offset: tuple[int, int], scale: float) -> Points:
    """Points (..., 2) of the square, counted from pixel edges, in the frame, from centres."""
    x, y = np.moveaxis((points - np.array(offset, np.float32)) / np.float32(scale), -1, 0)
    match view.turns % 4:
        case 1:
            x, y = view.width - y, x
        case 2:
            x, y = view.width - x, view.height - y
        case 3:
            x, y = y, view.height - x
    corner = np.array([view.x - 0.5, view.y - 0.5], np.float32)
    return np.asarray(np.stack([x, y], -1) + corner, np.float32)


def _decoded(net: BlazeFaceFull | BlazeFaceShort, picture: Frame, threshold: float) -> Candidates:
    """Candidates in pixels of the network's input, counted from pixel edges."""
    with torch.inference_mode():
        # The copy turns BGR to RGB; seen as NCHW its memory is channels-last.
        rgb = torch.from_numpy(np.ascontiguousarray(picture[..., ::-1]))
        x = rgb.permute(2, 0, 1)[None].float().mul_(1 / 127.5).sub_(1)
        raw, logits = net(x)
        scores = torch.sigmoid(logits[0])
        kept = torch.nonzero(scores > threshold).squeeze(1)
        values = raw[0, kept].numpy()
        anchors = net.anchors()[kept].numpy() * np.float32(net.side)
    centre, reach = values[:, :2] + anchors, values[:, 2:4] / 2
    return Candidates(
        np.concatenate([centre - reach, centre + reach], 1),
        values[:, 4:].reshape(-1, 6, 2) + anchors[:, None],
        scores[kept].numpy(),
    )


def eye_angle(keypoints: Points) -> float:
    """Angle of the line from the subject's right to left eye, radians, y down."""
    line = keypoints[LEFT_EYE] - keypoints[RIGHT_EYE]
    return float(np.arctan2(line[1], line[0]))

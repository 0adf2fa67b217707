"""The detector that ships: BlazeFace finds faces, the face mesh its points (libraries.md 1.2-1.4).

The whole frame goes through the full-range detector. Where it finds nothing the short-range one
looks at squares of the frame, which finds strong profiles, then the full-range one at smaller
squares, which finds small faces. Each candidate gets its mesh twice: from the detected box, then
from the square around the first mesh, which halves the jitter; where both disagree, a third time.

Beyond about 60 degrees of yaw the mesh's own measure of presence falls to nothing although its
points stay usable. A confident detection then counts as a face as long as its eyes, nose and mouth
are where the mesh has them; such a face is marked as doubtful.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from recaster_tui.errors import BadInputError
from recaster_tui.extraction.candidates import (
    Candidates,
    View,
    detect,
    eye_angle,
    joined,
    merge,
    overlaps,
    squares,
)
from recaster_tui.extraction.crops import Square
from recaster_tui.extraction.finder import FoundFace, Frame, Points
from recaster_tui.extraction.weights import fill, read_weights
from recaster_tui.faces.mesh_points import landmarks68
from recaster_tui.nets.blazeface import BlazeFaceFull, BlazeFaceShort
from recaster_tui.nets.face_mesh import FaceMesh

DETECTED = 0.5  # least score of a candidate
PRESENT = 0.5  # presence from which its mesh is a face
SURE = 0.9  # presence below which it is doubtful
CONFIDENT = 0.65  # score of a candidate that needs no presence, if it and the mesh agree:
NEAR = (
    0.15  # distance of mesh and detector, and of two passes, in sides of the face, that allows it
)
APART = 0.25  # the same, from which the mesh sits on something else
DISAGREE = 0.04  # distance of two passes that calls for a third
TURNED = 65.0  # degrees of yaw beyond which the hidden half is guessed
OUTSIDE = 4  # landmarks outside of the frame that make the face doubtful
SAME_FACE = 0.4  # overlap of two meshes' boxes
CHEEKS = (234, 454)  # of the mesh: subject's right, left
# Mesh points of BlazeFace's first four key points: right eye, left eye, nose tip, mouth.
KEYPOINTS = np.array([(33, 133), (362, 263), (1, 1), (13, 14)])
LARGEST_SQUARE = 720  # pixels; a face of a fifteenth of the square is found
SMALLEST = 32  # pixels of a frame's shorter side below which there is nothing to find


@dataclass(frozen=True)
class _Mesh:
    points: Points  # (478, 3) frame pixels
    presence: float
    moved: float  # mean distance of the 68 points to the pass before, in sides of the face
    apart: float = 0.0  # mean distance of eyes, nose and mouth to the detector's, likewise
    score: float = 1.0  # of the detector


class MediaPipeFinder:
    """A :class:`recaster_tui.extraction.finder.FaceFinder`.

    Args:
        threads: that torch and OpenCV may use, in the whole process.
        weights: another file of the same weights.
        small_faces: look for small faces also where a large one was found.
        rotations: where nothing was found upright, look at the frame turned by 90, 180 and 270
            degrees. Without it faces on their side are mostly found, upside-down ones are not, or
            wrongly.
    """

    name = "mediapipe"

    def __init__(
        self,
        *,
        threads: int = 1,
        weights: Path | None = None,
        small_faces: bool = False,
        rotations: bool = False,
    ) -> None:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        tensors = read_weights(weights)
        self._full = fill(BlazeFaceFull(), tensors, "full", weights)
        self._short = fill(BlazeFaceShort(), tensors, "short", weights)
        self._mesh = fill(FaceMesh(), tensors, "mesh", weights)
        if small_faces and rotations:
            self.name = "mediapipe-thorough"
        self._small_faces = small_faces
        self._rotations = rotations

    def find(self, frame_bgr: Frame, *, max_faces: int = 0) -> list[FoundFace]:
        """See :meth:`FaceFinder.find`.

        Raises:
            BadInputError: the frame is no (H, W, 3) array of bytes.
        """
        if frame_bgr.ndim != 3 or frame_bgr.shape[2] != 3 or frame_bgr.dtype != np.uint8:
            raise BadInputError(
                f"a frame is (height, width, 3) bytes, not {frame_bgr.shape} {frame_bgr.dtype}"
            )
        if min(frame_bgr.shape[:2]) < SMALLEST:
            return []
        for candidates in self._searches(frame_bgr):
            if faces := self._faces(frame_bgr, candidates, max_faces):
                return faces
        return []

    def _searches(self, frame: Frame) -> Iterator[Candidates]:
        """Candidates by ever costlier means, until one of them is a face."""
        height, width = frame.shape[:2]
        whole = View(0, 0, width, height)
        shorter = min(width, height)
        small = squares(width, height, round(min(shorter / 1.5, LARGEST_SQUARE)), 0.3)
        found = detect(self._full, frame, [whole], DETECTED)
        if self._small_faces:
            found = merge(joined([found, detect(self._full, frame, small, DETECTED)]))
        yield found
        if self._rotations:
            # All of them: the networks see faces, worse ones, upside down, too.
            views = [replace(whole, turns=turns) for turns in (1, 2, 3)]
            turned = [detect(self._full, frame, [view], DETECTED) for view in views]
            yield max(turned, key=lambda some: some.scores.max(initial=0))
        yield detect(self._short, frame, squares(width, height, shorter, 0.4), DETECTED)
        if not self._small_faces:
            yield detect(self._full, frame, small, DETECTED)

    def _faces(self, frame: Frame, candidates: Candidates, max_faces: int) -> list[FoundFace]:
        candidates = candidates.by_size()
        found: list[FoundFace] = []
        step = max_faces or len(candidates)
        for start in range(0, len(candidates), max(step, 1)):
            few = candidates.take(range(start, min(start + step, len(candidates))))
            for mesh in self._meshes(frame, few):
                face = _face(mesh, frame.shape[1], frame.shape[0])
                twin = found and overlaps(face.rect, np.stack([f.rect for f in found])).max()
                if _is_face(mesh) and not (twin and twin > SAME_FACE):
                    found.append(face)
            if max_faces and len(found) >= max_faces:
                break
        found.sort(key=lambda face: -_area(face.rect))
        return found[: max_faces or None]

    def _meshes(self, frame: Frame, candidates: Candidates) -> list[_Mesh]:
        meshes = self._passed(
            frame,
            [
                Square.around_box(box, eye_angle(keypoints))
                for box, keypoints in zip(candidates.boxes, candidates.keypoints, strict=True)
            ],
        )
        meshes = self._refined(frame, meshes, range(len(meshes)))
        again = [k for k, mesh in enumerate(meshes) if mesh.moved > DISAGREE]
        meshes = self._refined(frame, meshes, again)
        return [
            replace(mesh, apart=_apart(mesh, candidates, k), score=float(candidates.scores[k]))
            for k, mesh in enumerate(meshes)
        ]

    def _refined(self, frame: Frame, meshes: list[_Mesh], which: Sequence[int]) -> list[_Mesh]:
        new = self._passed(frame, [Square.around_mesh(meshes[k].points) for k in which])
        result = list(meshes)
        for k, mesh in zip(which, new, strict=True):
            change = landmarks68(mesh.points[:, :2]) - landmarks68(meshes[k].points[:, :2])
            side = math.sqrt(max(_area(_rect(mesh.points)), 1.0))
            moved = float(np.hypot(*change.T).mean()) / side
            result[k] = _Mesh(mesh.points, mesh.presence, moved)
        return result

    def _passed(self, frame: Frame, squares: list[Square]) -> list[_Mesh]:
        """The mesh network once on each square."""
        if not squares:
            return []
        side = self._mesh.side
        crops = np.stack([square.cut(frame, side)[..., ::-1] for square in squares])
        with torch.inference_mode():
            x = torch.from_numpy(crops).permute(0, 3, 1, 2).float().mul_(1 / 255)
            points, logits = self._mesh(x)
            presences = torch.sigmoid(logits).tolist()
        meshes = []
        for square, found, presence in zip(squares, points.numpy(), presences, strict=True):
            matrix = square.matrix(side)
            # The network counts from pixel edges.
            plane = (found[:, :2] - 0.5) @ matrix[:, :2].T + matrix[:, 2]
            depth = found[:, 2:] * (square.side / side)
            meshes.append(_Mesh(np.hstack([plane, depth]).astype(np.float32), presence, 0.0))
        return meshes


def _apart(mesh: _Mesh, candidates: Candidates, k: int) -> float:
    box = candidates.boxes[k]
    seen = mesh.points[KEYPOINTS, :2].mean(1) - candidates.keypoints[k, : len(KEYPOINTS)]
    return float(np.hypot(*seen.T).mean() / (box[2:] - box[:2]).mean())


def _is_face(mesh: _Mesh) -> bool:
    if mesh.presence >= PRESENT:
        return mesh.apart <= APART
    return mesh.score >= CONFIDENT and mesh.apart <= NEAR and mesh.moved <= NEAR


def _rect(mesh: Points) -> Points:
    return np.concatenate([mesh[:, :2].min(0), mesh[:, :2].max(0)])


def _area(rect: Points) -> float:
    return float((rect[2] - rect[0]) * (rect[3] - rect[1]))


def _face(mesh: _Mesh, width: int, height: int) -> FoundFace:
    landmarks = landmarks68(mesh.points[:, :2])
    doubt = _doubt(mesh, landmarks, width, height)
    return FoundFace(_rect(mesh.points), landmarks, mesh.points, mesh.score, doubt)


def mesh_yaw(mesh: Points) -> float:
    """Degrees that the head of a mesh (478, 3) is turned, positive towards the subject's left."""
    x, y, z = (mesh[CHEEKS[1]] - mesh[CHEEKS[0]]).tolist()
    return math.degrees(math.atan2(z, math.hypot(x, y)))


def _doubt(mesh: _Mesh, landmarks: Points, width: int, height: int) -> str | None:
    """What speaks against the landmarks, in words."""
    reasons = []
    if mesh.presence < SURE:
        reasons.append(f"the face mesh is unsure of it (presence {mesh.presence:.2f})")
    if mesh.moved > DISAGREE:
        reasons.append(f"two passes disagree by {mesh.moved:.0%} of the face")
    yaw = mesh_yaw(mesh.points)
    if abs(yaw) > TURNED:
        side = "left" if yaw > 0 else "right"
        reasons.append(f"turned {abs(yaw):.0f}° to the subject's {side}: the far half is guessed")
    low, high = np.array([-0.5, -0.5]), np.array([width - 0.5, height - 0.5])
    outside = int(((landmarks < low) | (landmarks > high)).any(1).sum())
    if outside >= OUTSIDE:
        reasons.append(f"{outside} of 68 landmarks lie outside of the frame")
    return "; ".join(reasons) or None

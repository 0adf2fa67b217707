"""DeepFaceLab's own detector and landmarks, for those who have its weight files (5.3, 5.4, 5.8).

The files are not ours to ship: ``S3FD.npy`` and ``2DFAN.npy`` or ``3DFAN.npy`` lie in every
DeepFaceLab installation under ``facelib``.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from recaster_tui.errors import BadInputError
from recaster_tui.extraction import fan_points, s3fd_boxes
from recaster_tui.extraction.dfl_weights import load_dfl_net
from recaster_tui.extraction.finder import FoundFace, Frame, Points
from recaster_tui.extraction.s3fd_boxes import Box
from recaster_tui.faces.geometry import alignment_matrix, transform_points
from recaster_tui.faces.types import FaceType
from recaster_tui.nets.fan import FAN
from recaster_tui.nets.s3fd import S3FD
from recaster_tui.paths import data_dir

LEAST_FRAME = 128  # pixels of the shorter side
TURNS = (0, 90, 270, 180)
SECOND_LOOK = 256  # side of the aligned crop of the second pass
CENTRES = ((0, 0), (-1, -1), (1, -1), (1, 1), (-1, 1))  # of the second pass, averaged
OUTSIDE = 4  # landmarks outside of the frame that make a face doubtful
NAMES_2D, NAMES_3D = "2DFAN.npy", "3DFAN.npy"


@dataclass(frozen=True)
class _Look:
    """A frame as it is looked at, turned or not."""

    frame: Frame  # RGB
    turn: int
    boxes: list[tuple[Box, float]]


class S3fdFanFinder:
    """A :class:`recaster_tui.extraction.finder.FaceFinder` that follows DFL step by step.

    Args:
        threads: that torch and OpenCV may use, in the whole process.
        weights: the folder with the files, or one of the two FAN files in it. A folder with both
            gives 2DFAN, which DFL uses for all face types below head (3DFAN from head on).
            Without it ``detectors/`` in the user's data folder is looked into.
        second_pass: look again at the aligned face, as DFL does by default.
        device: of the networks; a GPU where there is one.

    Raises:
        BadInputError: the files are not there.
        DamagedError: a file is not what it should be.
    """

    name = "s3fd-fan"

    def __init__(
        self,
        *,
        threads: int = 1,
        weights: Path | None = None,
        second_pass: bool = True,
        device: str | None = None,
    ) -> None:
        detector, landmarks = _files(weights or data_dir() / "detectors")
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        with torch.device("meta"):
            nets = S3FD(), FAN()
        self._s3fd: nn.Module = load_dfl_net(nets[0], detector).to(self._device)
        self._fan: nn.Module = load_dfl_net(nets[1], landmarks).to(self._device)
        self._second_pass = second_pass

    def find(self, frame_bgr: Frame, *, max_faces: int = 0) -> list[FoundFace]:
        """See :meth:`FaceFinder.find`. The score is the detector's.

        Raises:
            BadInputError: the frame is no (H, W, 3) array of bytes.
        """
        if frame_bgr.ndim != 3 or frame_bgr.shape[2] != 3 or frame_bgr.dtype != np.uint8:
            raise BadInputError(
                f"a frame is (height, width, 3) bytes, not {frame_bgr.shape} {frame_bgr.dtype}"
            )
        height, width = frame_bgr.shape[:2]
        if min(height, width) < LEAST_FRAME:
            return []
        frame = np.ascontiguousarray(frame_bgr[..., ::-1])
        look = self._first_look(frame)
        faces = []
        for box, score in look.boxes[: max_faces or None]:
            landmarks = self._landmarks(look.frame, [fan_points.place(box)])
            better = self._again(look.frame, landmarks) if self._second_pass else landmarks
            doubt = "" if better is not None else "a second look at the face did not see one"
            points = turned_back(
                better if better is not None else landmarks, look.turn, (width, height)
            )
            rect = turned_back(np.array(box, np.float32).reshape(2, 2), look.turn, (width, height))
            rect = np.concatenate([rect.min(0), rect.max(0)])
            doubts = [text for text in (doubt, _outside(points, width, height)) if text]
            faces.append(FoundFace(rect, points, None, score, "; ".join(doubts) or None))
        return faces

    def _first_look(self, frame: Frame) -> _Look:
        look = _Look(frame, 0, [])
        for turn in TURNS:
            look = _Look(turned(frame, turn), turn, [])
            look.boxes.extend(self._boxes(look.frame))
            if look.boxes:
                break
        return look

    def _boxes(self, frame: Frame) -> list[tuple[Box, float]]:
        small, ratio = s3fd_boxes.shrunk(frame)
        with torch.inference_mode():
            x = torch.from_numpy(small).to(self._device).permute(2, 0, 1)[None].float()
            levels = [(s[0].cpu().numpy(), o[0].cpu().numpy()) for s, o in self._s3fd(x)]
        return s3fd_boxes.boxes(levels, ratio)

    def _landmarks(self, frame: Frame, places: list[tuple[fan_points.Centre, float]]) -> Points:
        """The mean of the points (68, 2) found from each of *places*."""
        crops = np.stack([fan_points.cut(frame, centre, scale) for centre, scale in places])
        with torch.inference_mode():
            x: Tensor = torch.from_numpy(crops).to(self._device).permute(0, 3, 1, 2).float() / 255
            maps = self._fan(x).cpu().numpy()
        found = [
            fan_points.points(one, centre, scale)
            for one, (centre, scale) in zip(maps, places, strict=True)
        ]
        return np.asarray(np.mean(found, 0), np.float32)

    def _again(self, frame: Frame, landmarks: Points) -> Points | None:
        """Points found on the aligned face; None unless just one face is seen there."""
        try:
            matrix = alignment_matrix(landmarks, SECOND_LOOK, FaceType.FULL)
        except BadInputError:
            return None
        crop = cv2.warpAffine(
            frame, matrix, (SECOND_LOOK, SECOND_LOOK), flags=cv2.INTER_LINEAR
        ).astype(np.uint8, copy=False)
        seen = self._boxes(crop)
        if len(seen) != 1:
            return None
        (x, y), scale = fan_points.place(seen[0][0])
        places = [((x + dx, y + dy), scale) for dx, dy in CENTRES]
        found = transform_points(self._landmarks(crop, places), matrix, invert=True)
        return np.asarray(found, np.float32)


def turned(frame: Frame, turn: int) -> Frame:
    """The frame turned clockwise by 0, 90, 180 or 270 degrees."""
    return np.ascontiguousarray(np.rot90(frame, -turn // 90))


def turned_back(points: Points, turn: int, size: tuple[int, int]) -> Points:
    """Points (n, 2) of the turned frame in the frame of *size* (width, height) (5.4)."""
    width, height = size
    x, y = points.T
    match turn:
        case 90:
            x, y = y, height - x
        case 180:
            x, y = width - x, height - y
        case 270:
            x, y = width - y, x
    return np.asarray(np.stack([x, y], 1), np.float32)


def _outside(points: Points, width: int, height: int) -> str:
    beyond = (points < -0.5) | (points > np.array([width - 0.5, height - 0.5]))
    count = int(beyond.any(1).sum())
    return f"{count} of 68 landmarks lie outside of the frame" if count >= OUTSIDE else ""


def _files(where: Path) -> tuple[Path, Path]:
    """The detector's file and the landmarks'."""
    if where.is_file():
        folder, choices = where.parent, [where]
    else:
        folder = where
        choices = [path for n in (NAMES_2D, NAMES_3D) if (path := where / n).is_file()]
    detector = folder / "S3FD.npy"
    if not choices or not detector.is_file():
        missing = "S3FD.npy" if choices else f"{NAMES_2D} or {NAMES_3D}"
        raise BadInputError(
            f"the detector s3fd-fan needs DeepFaceLab's {missing}",
            where=folder,
            hint="give the folder facelib of your DeepFaceLab, or use --detector mediapipe",
        )
    return detector, choices[0]

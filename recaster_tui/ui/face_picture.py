"""One face as a picture: what is drawn over it, and the frame it was cut from. For threads."""

import logging
import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recaster_tui.errors import BadInputError, DamagedError, RecasterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recaster_tui.faces.face import Face
    from recaster_tui.workspace import Workspace

log = logging.getLogger(__name__)

FRAME_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_LARGEST = 1600  # pixels a side of what is kept of a frame
_BLUE, _YELLOW, _GREEN, _RED, _WHITE = (
    (255, 150, 70), (70, 205, 255), (110, 220, 90), (80, 80, 245), (255, 255, 255),
)  # fmt: skip


class Overlay(StrEnum):
    """What can be drawn over a face."""

    LANDMARKS = "landmarks"
    HULL = "hull"
    MASK = "mask"
    POLYGONS = "polygons"


@dataclass(frozen=True)
class Source:
    """The frame a face was cut from.

    Attributes:
        pixels: (h, w, 3) uint8 BGR, scaled down to at most 1600 pixels a side.
        scale: of *pixels* against the frame.
        where: file and, for a video, the time, in words.
    """

    pixels: "NDArray[np.uint8]"
    scale: float
    where: str


def draw_face(
    pixels: "NDArray[np.uint8]", face: "Face", overlays: Collection[Overlay], side: int
) -> "NDArray[np.uint8]":
    """The face with its landmarks and outlines.

    Args:
        pixels: (h, w, 3) uint8 BGR, the aligned picture.
        face: its metadata.
        overlays: what to draw.
        side: pixels a side of the result; lines are one pixel of it wide, so that they stay
            visible in a small picture.

    Returns:
        (side, side, 3) uint8 RGB.
    """
    import cv2

    how = cv2.INTER_AREA if pixels.shape[0] > side else cv2.INTER_CUBIC
    out = np.ascontiguousarray(cv2.resize(pixels, (side, side), interpolation=how))
    scale = np.array((side / face.shape[1], side / face.shape[0]), np.float32)
    thick = max(1, round(side / 320))
    if Overlay.HULL in overlays:
        _outline(out, _hull(face), _WHITE, thick)
    if Overlay.MASK in overlays and face.xseg_mask is not None:
        _outline(out, _stored(face), _YELLOW, thick)
    if Overlay.POLYGONS in overlays:
        for polygon in face.polygons:
            points = _pixels(polygon.points * scale)
            colour = _GREEN if polygon.include else _RED
            smooth = cv2.LINE_AA if side >= 320 else cv2.LINE_8
            cv2.polylines(out, [points], True, colour, thick, smooth)
    if Overlay.LANDMARKS in overlays:
        radius = max(0, round(side / 160))
        for x, y in _pixels(face.landmarks * scale):
            if 0 <= x < side and 0 <= y < side:
                cv2.circle(out, (int(x), int(y)), radius, _BLUE, -1)
    return np.ascontiguousarray(out[..., ::-1]).astype(np.uint8, copy=False)


def draw_source(
    source: Source, face: "Face", width: int, height: int, *, landmarks: bool
) -> "NDArray[np.uint8]":
    """The frame, as large as fits into *width* × *height* pixels, the face's rectangle on it.

    Returns:
        (h, w, 3) uint8 RGB, not larger than asked for.
    """
    import cv2

    tall, wide = source.pixels.shape[:2]
    scale = min(width / wide, height / tall)
    size = (max(1, int(wide * scale)), max(1, int(tall * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    out = np.ascontiguousarray(cv2.resize(source.pixels, size, interpolation=how))
    scale *= source.scale
    thick = max(1, round(max(size) / 320))
    if landmarks and face.source_landmarks is not None:
        for x, y in _pixels(face.source_landmarks * np.float32(scale)):
            cv2.circle(out, (int(x), int(y)), max(0, round(max(size) / 320)), _BLUE, -1)
    square = _square(face)
    if square is not None:
        smooth = cv2.LINE_AA if max(size) >= 320 else cv2.LINE_8
        cv2.polylines(out, [_pixels(square * np.float32(scale))], True, _GREEN, thick, smooth)
    if face.source_rect is not None:
        left, top, right, bottom = (round(float(v) * scale) for v in face.source_rect)
        cv2.rectangle(out, (left, top), (right, bottom), _YELLOW, thick)
    return np.ascontiguousarray(out[..., ::-1]).astype(np.uint8, copy=False)


def find_source(workspace: "Workspace", side: str, face: "Face") -> Source:
    """The frame that *face* was cut from: a picture beside the faces, else out of the video.

    Raises:
        RecasterError: it does not say which, or the frame is not there, or damaged.
    """
    name = face.source_filename
    if not name:
        raise BadInputError("the face does not say which frame it is from")
    if Path(name).name != name:
        raise BadInputError("the name of its frame is a path; such files are not opened")
    faces = workspace.src_faces if side == "src" else workspace.dst_faces
    folders = [faces.parent, workspace.root / f"data_{side}", workspace.root / side]
    for folder in dict.fromkeys(folders):
        for path in (folder / name, *(folder / (Path(name).stem + s) for s in FRAME_SUFFIXES)):
            if path.is_file():
                return _picture(path, workspace)
    video, number = workspace.video(side), re.search(r"(\d+)$", Path(name).stem)
    if video is None or number is None:
        where = workspace.relative(faces.parent)
        raise BadInputError(f"the frame {name} is not in {where}, and there is no video")
    return _video_frame(video, int(number.group(1)))


def _picture(path: Path, workspace: "Workspace") -> Source:
    import cv2

    from recaster_tui.faces.picture_header import check_header

    check_header(path)
    try:
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error) as error:
        raise DamagedError(f"the frame cannot be read: {error}", where=path) from error
    if pixels is None:
        raise DamagedError("the frame is no picture", where=path)
    return _source(np.asarray(pixels, np.uint8), workspace.relative(path))


def _video_frame(path: Path, number: int) -> Source:
    """Frame *number* of a video, counted from 1 as extraction does.

    Raises:
        RecasterError: the video ends before, or cannot be read.
    """
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = stream.average_rate or stream.guessed_rate
            if rate and stream.time_base and number > 50:  # decode no more than one group
                seconds = (number - 1) / float(rate)
                begin = stream.start_time or 0
                container.seek(begin + int(max(0.0, seconds - 0.001) / stream.time_base),
                               stream=stream)  # fmt: skip
                wanted = begin + seconds / float(stream.time_base)
                half = 0.5 / float(rate) / float(stream.time_base)
                for frame in container.decode(stream):
                    if frame.pts is not None and frame.pts >= wanted - half:
                        return _from_video(frame, path)
            else:
                for at, frame in enumerate(container.decode(stream), 1):
                    if at == number:
                        return _from_video(frame, path)
    except (OSError, ValueError, IndexError) as error:  # PyAV's own errors are of these kinds
        raise DamagedError(f"the video cannot be read: {error}", where=path) from error
    raise BadInputError(f"the video ends before frame {number:,}", where=path)


def _from_video(frame: Any, path: Path) -> Source:
    import cv2

    pixels = frame.to_ndarray(format="bgr24")
    turns = round((getattr(frame, "rotation", 0) or 0) / 90) % 4
    if turns:  # counter-clockwise, as FFmpeg's display matrix says
        codes = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
        pixels = cv2.rotate(pixels, codes[turns - 1])
    seconds = float(frame.time) if frame.time is not None else 0.0
    minutes, rest = divmod(seconds, 60)
    return _source(pixels, f"{path.name} at {int(minutes)}:{rest:05.2f}")


def _source(pixels: "NDArray[np.uint8]", where: str) -> Source:
    import cv2

    longest = max(pixels.shape[:2])
    if longest <= _LARGEST:
        return Source(pixels, 1.0, where)
    scale = _LARGEST / longest
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return Source(np.asarray(small, np.uint8), scale, where)


def _square(face: "Face") -> "NDArray[np.float32] | None":
    """(4, 2) corners of the aligned picture in the frame."""
    if face.image_to_face_mat is None:
        return None
    from recaster_tui.faces.geometry import transform_points

    height, width = face.shape[:2]
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    try:
        return np.asarray(transform_points(corners, face.image_to_face_mat, invert=True))
    except (ValueError, RecasterError):
        return None


def _hull(face: "Face") -> "NDArray[np.float32]":
    from recaster_tui.faces.masks import hull_mask

    return hull_mask(face.shape, face.landmarks, face.eyebrows_expand)


def _stored(face: "Face") -> "NDArray[np.float32]":
    from recaster_tui.faces.masks import face_mask

    return face_mask(face)


def _outline(
    out: "NDArray[Any]", mask: "NDArray[np.float32]", colour: tuple[int, int, int], thick: int
) -> None:
    import cv2

    side = out.shape[0]
    scaled = cv2.resize(mask, (side, side), interpolation=cv2.INTER_LINEAR)
    inside = (scaled >= 0.5).astype(np.uint8)
    found, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(out, found, -1, colour, thick)


def _pixels(points: "NDArray[Any]") -> "NDArray[np.int32]":
    finite = np.nan_to_num(np.asarray(points, np.float64), nan=-1e4, posinf=1e4, neginf=-1e4)
    return np.clip(finite.round(), -30_000, 30_000).astype(np.int32)

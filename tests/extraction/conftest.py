import struct
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from recaster_tui.workspace import Workspace, open_workspace
from tests.extraction.fake_finder import RED

SIZE = (160, 120)


def drawn(*boxes: tuple[int, int, int, int], corner=None, size=SIZE) -> np.ndarray:
    """A grey frame with red rectangles (left, top, width, height)."""
    picture = np.full((size[1], size[0], 3), 90, np.uint8)
    for left, top, width, height in boxes:
        picture[top : top + height, left : left + width] = RED
    if corner is not None:
        picture[:16, :16] = corner
    return picture


def save(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)
    return path


def save_video(path: Path, pictures, *, codec="libx264", pix_fmt="yuv420p", times=None, **options):
    """Encode *pictures*; *times* in 1/1000 s for a variable rate."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25, options={"crf": "12", **options})
        height, width = pictures[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if times is not None:
            from fractions import Fraction

            stream.codec_context.time_base = Fraction(1, 1000)
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            if times is not None:
                frame.pts, frame.time_base = times[index], stream.codec_context.time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def with_display_matrix(data: bytes, a: int, b: int, c: int, d: int) -> bytes:
    """An MP4 whose track header says: x' = a x + c y, y' = b x + d y."""
    raw = bytearray(data)
    at = raw.find(b"tkhd") + 4
    at += 4 + (20 if raw[at] == 0 else 32) + 16
    one = 1 << 16
    raw[at : at + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    return bytes(raw)


class Recorder:
    """A reporter that keeps everything; asks to stop after *stop_after* finished frames."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.progresses: list[tuple[int, int, dict[str, int]]] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.stop_after = stop_after

    def progress(self, current, total, text="", **counts):
        self.progresses.append((current, total, counts))

    def note(self, text):
        self.notes.append(text)

    def warning(self, text, hint=None):
        self.warnings.append(text)

    def stop_requested(self):
        current = self.progresses[-1][0] if self.progresses else 0
        return self.stop_after is not None and current >= self.stop_after


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "data_src").mkdir()
    (tmp_path / "data_dst").mkdir()
    return open_workspace(tmp_path)

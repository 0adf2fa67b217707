"""Reading a video frame by frame, upright, whatever the container (libraries.md 4).

Frames are numbered from 1 in the order of showing, every one that decodes, so that a number
means the same picture whatever is selected. Pixels come as the player shows them: the display
matrix is applied (rotation and mirroring), more than 8 bits are rounded to 8.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from recaster_tui.errors import BadInputError, DamagedError

Picture = NDArray[np.uint8]

MAX_PIXELS = 1 << 27
_THREADS_FROM = 1920 * 1088  # libraries.md 4: threads help nothing below 4K
_FIXED = 1 << 16
_ENOUGH = 0.98
# Damage is told once, not once a packet: libav would write to stderr by itself.
av.logging.set_level(av.logging.PANIC)


@dataclass(frozen=True)
class VideoInfo:
    """What a video says about itself. *width*, *height*: upright; *frames*: 0 = unknown."""

    width: int
    height: int
    frames: int
    rate: float
    seconds: float
    codec: str
    pixel_format: str


@dataclass(frozen=True)
class VideoPicture:
    """One frame.

    Attributes:
        number: from 1.
        seconds: when it is shown; NaN where the file does not say.
        picture: (H, W, 3) uint8 BGR, upright.
        damaged: the decoder had to guess parts of it.
    """

    number: int
    seconds: float
    picture: Picture
    damaged: bool


class Selection:
    """Which frames are wanted: every Nth, or so many a second by the clock of the video."""

    def __init__(self, every: int = 1, fps: float | None = None) -> None:
        self._every, self._fps = every, fps
        self._start: float | None = None
        self._taken = 0

    def wanted(self, number: int, seconds: float) -> bool:
        """Whether frame *number* is one; asked once for each frame, in order.

        By fps the k-th is the first frame at or after k / fps seconds, so a video with fewer
        frames a second gives all of them, none twice.
        """
        if self._fps is None:
            return (number - 1) % self._every == 0
        if seconds != seconds:  # no times in the file
            return True
        if self._start is None:
            self._start = seconds
        # A time stamp is rounded to the file's clock; a frame that is due must not miss.
        due = int((seconds - self._start) * self._fps + 1e-3)
        if due < self._taken:
            return False
        self._taken = due + 1
        return True

    def count(self, info: VideoInfo) -> int:
        """About how many of a video's frames are wanted; 0 = unknown."""
        if self._fps is not None and info.rate > self._fps:
            return round(info.frames * self._fps / info.rate)
        return -(-info.frames // self._every)


class VideoReader:
    """A video open for reading; a context manager.

    Attributes:
        info: what it says about itself.
        problems: what was wrong with it so far, in words.

    Raises:
        BadInputError: no such file, or nothing that holds a video.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        self._bad_packets = 0
        try:
            # Times and counts of damaged files are wrong; they are only estimates to us.
            self._container = av.open(str(path), metadata_errors="replace")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise BadInputError(
                f"this is no video that can be read: {_words(error)}", where=path, hint=_hint(path)
            ) from error
        try:
            self._open()
        except BaseException:
            self._container.close()
            raise

    def _open(self) -> None:
        # A cover picture of a song is a video stream too.
        streams = [s for s in self._container.streams.video if not _is_cover(s)]
        if not streams:
            raise BadInputError("there is no video in this file", where=self.path)
        self._stream = stream = streams[0]
        context = stream.codec_context
        if context is None:
            raise BadInputError("this video's coding is unknown", where=self.path)
        width, height = int(context.width), int(context.height)
        if not 0 < width * height <= MAX_PIXELS:
            raise BadInputError(
                f"the video's frames of {width}×{height} pixels cannot be read", where=self.path
            )
        if width * height > _THREADS_FROM:
            stream.thread_type = "AUTO"
        self._iterator = self._decode()
        self._first = next(self._iterator, None)
        if self._first is None:
            raise DamagedError(
                "not a single frame of this video can be decoded",
                where=self.path,
                hint="; ".join(self.problems) or "is the file whole?",
            )
        upright = _upright_size(self._first)
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        seconds = float((self._container.duration or 0) / av.time_base)
        self.info = VideoInfo(
            width=upright[0],
            height=upright[1],
            frames=int(stream.frames) or round(seconds * rate),
            rate=rate,
            seconds=seconds,
            codec=str(context.name),
            pixel_format=str(self._first.format.name),
        )

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def pictures(self, wanted: Callable[[int, float], bool]) -> Iterator[VideoPicture]:
        """The frames for which *wanted* (number, seconds) holds, in order. Can be read once.

        A damaged video ends where nothing more can be decoded; :attr:`problems` says so.
        """
        number, last = 0, float("nan")
        frame = self._first
        self._first = None
        while frame is not None:
            number += 1
            seconds = frame.time if frame.time is not None else float("nan")
            last = seconds if seconds == seconds else last
            if wanted(number, seconds):
                try:
                    picture = _upright(frame)
                except (av.error.FFmpegError, ValueError, MemoryError) as error:
                    self.problems.append(f"frame {number} cannot be converted: {_words(error)}")
                else:
                    yield VideoPicture(number, seconds, picture, bool(frame.is_corrupt))
            frame = next(self._iterator, None)
        self._judge_end(number, last)

    def _decode(self) -> Iterator[Any]:
        """Frames as they decode; damaged packets are left out and counted."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                self.problems.append(f"the file breaks off: {_words(error)}")
                return
            if packet is None:
                return
            try:
                yield from packet.decode()
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, ValueError, MemoryError):
                self._bad_packets += 1

    def _judge_end(self, frames: int, last: float) -> None:
        if self._bad_packets:
            self.problems.append(f"{self._bad_packets} pieces are damaged and were left out")
        info = self.info
        start = float((self._container.start_time or 0) / av.time_base)
        step = 1 / info.rate if info.rate else 0.0
        shown = last + step - start
        short = info.seconds - shown
        if info.seconds and last == last and shown < _ENOUGH * info.seconds and short > 2 * step:
            self.problems.append(
                f"it breaks off after {shown:.1f} s of {info.seconds:.1f} s ({frames} frames)"
            )


def _is_cover(stream: Any) -> bool:
    disposition = getattr(stream, "disposition", None)
    return "attached_pic" in str(disposition)


def _display_matrix(frame: Any) -> tuple[int, int, int, int] | None:
    """a, b, c, d of x' = a x + c y, y' = b x + d y, each -1, 0 or 1; None = upright."""
    side = frame.side_data.get("DISPLAYMATRIX")
    if side is None:
        return None
    raw = bytes(side)
    if len(raw) < 36:
        return None
    a, b, _, c, d, *_ = struct.unpack("=9i", raw[:36])
    turned = max(abs(b), abs(c)) > max(abs(a), abs(d))
    a, d = (0, 0) if turned else (_sign(a), _sign(d))
    b, c = (_sign(b), _sign(c)) if turned else (0, 0)
    return (a, b, c, d)


def _sign(value: int) -> int:
    return -1 if value < 0 else 1


def _upright_size(frame: Any) -> tuple[int, int]:
    matrix = _display_matrix(frame)
    turned = matrix is not None and matrix[1] != 0
    return (frame.height, frame.width) if turned else (frame.width, frame.height)


def _upright(frame: Any) -> Picture:
    """(H, W, 3) uint8 BGR as the player shows it."""
    if frame.width * frame.height > MAX_PIXELS:
        raise ValueError(f"{frame.width}×{frame.height} pixels are too many")
    picture: Picture = frame.to_ndarray(format="bgr24")
    matrix = _display_matrix(frame)
    if matrix is None:
        return picture
    a, b, c, d = matrix
    if b:
        picture = picture.transpose(1, 0, 2)
        a, d = c, b
    if a < 0:
        picture = picture[:, ::-1]
    if d < 0:
        picture = picture[::-1]
    return np.ascontiguousarray(picture)


def _words(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]


def _hint(path: Path) -> str | None:
    try:
        if path.stat().st_size == 0:
            return "the file is empty"
    except OSError:
        return None
    return "is the file whole? Play it, or copy it again"

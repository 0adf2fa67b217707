"""Frames in order, from a folder or from a video that another process decodes."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from recaster_tui.errors import DamagedError
from recaster_tui.extraction.children import Child
from recaster_tui.extraction.messages import (
    Alive,
    Decoded,
    Ended,
    Fatal,
    Frame,
    ReaderSetup,
    Room,
    SharedMemory,
)
from recaster_tui.extraction.place import context
from recaster_tui.extraction.settings import ExtractSettings
from recaster_tui.extraction.smoothing import HALF
from recaster_tui.extraction.video import Selection, VideoInfo

_OPEN_SECONDS = 60.0
_FALLBACK_RATE = 240.0


@dataclass(frozen=True)
class Item:
    """A frame to work on.

    Attributes:
        order: its place among all selected frames; neighbours differ by one.
        context: done before, needed only to smooth its neighbours.
    """

    frame: Frame
    order: int
    context: bool


class Source(Protocol):
    """Where frames come from.

    Attributes:
        total: frames selected in all, as far as known; 0 = unknown.
        skipped: of these, those left out so far because they are done.
        problems: what was wrong, in words.
    """

    total: int
    skipped: int
    problems: list[str]

    @property
    def connection(self) -> Connection | None:
        """To wait on for more frames."""

    @property
    def exhausted(self) -> bool:
        """Whether no more frames will come."""

    @property
    def waiting(self) -> bool:
        """Whether a frame is ready."""

    def take(self) -> Item | None:
        """The next frame; None where none is ready."""

    def receive(self) -> None:
        """Something is on the connection."""

    def give_back(self, frame: Frame) -> None:
        """The frame's pixels are not needed any more."""

    def watch(self) -> None:
        """Called now and then."""

    def close(self) -> None:
        """End."""


class PictureSource:
    """The pictures of a folder; workers read them themselves."""

    def __init__(self, pictures: tuple[Path, ...], done: set[str], settings: ExtractSettings):
        chosen = pictures[:: settings.every]
        ready = [order for order, path in enumerate(chosen) if path.stem in done]
        needed = context(ready, 1, HALF) if settings.smooth else set()
        self.total = len(chosen)
        self.problems: list[str] = []
        self.skipped = len(ready)
        if len(ready) == len(chosen):
            needed = set()
        ready_set = set(ready)
        self._items: Iterator[Item] = (
            Item(Frame(path.stem, path.name, path), order, order in ready_set)
            for order, path in enumerate(chosen)
            if order not in ready_set or order in needed
        )
        self._next = next(self._items, None)

    @property
    def connection(self) -> Connection | None:
        """None: nothing to wait for."""
        return None

    @property
    def exhausted(self) -> bool:
        """See :class:`Source`."""
        return self._next is None

    @property
    def waiting(self) -> bool:
        """See :class:`Source`."""
        return self._next is not None

    def take(self) -> Item | None:
        """See :class:`Source`."""
        item, self._next = self._next, next(self._items, None)
        return item

    def receive(self) -> None:
        """Nothing comes."""

    def give_back(self, frame: Frame) -> None:
        """Nothing to give back."""

    def watch(self) -> None:
        """Nothing to watch."""

    def close(self) -> None:
        """Nothing to end."""


class VideoSource:
    """A video: a :class:`Child` decodes it into slots of shared memory.

    Args:
        numbers: of the frames that are done.
        slots: frames held at a time.

    Raises:
        RecasterError: it cannot be read at all; with the exit code that fits.
    """

    def __init__(
        self,
        path: Path,
        numbers: set[int],
        settings: ExtractSettings,
        memory: SharedMemory,
        slots: int,
    ) -> None:
        self._path, self._settings = path, settings
        self._done = numbers
        self.problems: list[str] = []
        self.skipped = 0
        self._seen = 0
        self._taken = 0
        self._ready: deque[Item] = deque()
        self._over = False
        suffix = "png" if settings.frames == "png" else "jpg"
        self._filename = f"{{}}.{suffix}"
        setup = ReaderSetup(path, settings.every, settings.fps, frozenset(self._not_needed()))
        self._child = Child("recaster_tui.extraction.reader", setup, memory=memory.descriptor)
        try:
            self.info = self._open()
        except BaseException:
            self._child.end()
            raise
        self._stride = self.info.width * self.info.height * 3
        self.total = Selection(settings.every, settings.fps).count(self.info)
        memory.resize(self._stride * slots)
        self._lent = 0
        for number in range(slots):
            self._lend(Room(number * self._stride, self._stride))

    @property
    def connection(self) -> Connection | None:
        """See :class:`Source`."""
        return None if self._over else self._child.connection

    @property
    def exhausted(self) -> bool:
        """See :class:`Source`."""
        return self._over and not self._ready

    @property
    def waiting(self) -> bool:
        """See :class:`Source`."""
        return bool(self._ready)

    def take(self) -> Item | None:
        """See :class:`Source`."""
        return self._ready.popleft() if self._ready else None

    def receive(self) -> None:
        """See :class:`Source`."""
        try:
            message = self._child.receive()
        except EOFError:
            self._end(f"its decoder ended at frame {self._seen + 1}: {self._child.last_words()}")
            return
        match message:
            case Decoded():
                self._lent -= 1
                context_only = message.number in self._done
                self._seen = message.number
                self._taken += not context_only
                self.skipped = message.selected - self._taken
                stem = frame_stem(message.number, self._settings.prefix)
                frame = Frame(
                    stem,
                    self._filename.format(stem),
                    slot=message.slot,
                    pixels=message.pixels,
                    damaged=message.damaged,
                )
                self._ready.append(Item(frame, message.selected, context_only))
                if message.slot is None:  # its room was not used
                    self._lend(message.room)
            case Alive():
                self.skipped = message.selected - self._taken
            case Ended():
                self.skipped = message.selected - self._taken
                self.total = message.selected
                self._end(*message.problems)
            case Fatal():
                self._end(message.message)

    def give_back(self, frame: Frame) -> None:
        """See :class:`Source`."""
        if frame.slot is not None and not self._over:
            self._lend(Room(frame.slot.offset, self._stride))

    def watch(self) -> None:
        """A decoder that hangs is ended; what it gave stays."""
        if not self._over and self._lent and self._child.silent_seconds > self._settings.timeout:
            self._end(f"its decoder said nothing for {self._settings.timeout:.0f} s")

    def close(self) -> None:
        """See :class:`Source`."""
        if not self._over:
            self._over = True
            self._child.end()

    def _open(self) -> VideoInfo:
        name = self._path.name
        if not self._child.connection.poll(max(_OPEN_SECONDS, self._settings.timeout)):
            raise DamagedError(f"the decoder hangs on {name}", where=self._path)
        try:
            first = self._child.receive()
        except EOFError:
            raise DamagedError(
                f"the decoder fails on this video: {self._child.last_words()}", where=self._path
            ) from None
        if isinstance(first, Fatal):
            raise first.error()
        assert isinstance(first, VideoInfo)
        return first

    def _lend(self, room: Room) -> None:
        self._child.send(room)
        self._lent += 1

    def _end(self, *problems: str) -> None:
        self.problems += problems
        self._over = True
        self._child.end()

    def _not_needed(self) -> set[int]:
        if not self._settings.smooth:
            return self._done
        settings = self._settings
        stride = settings.every
        if settings.fps is not None:  # frames between two are not known before it is open
            stride = math.ceil(_FALLBACK_RATE / settings.fps)
        return self._done - context(sorted(self._done), stride, HALF)


def frame_stem(number: int, prefix: str) -> str:
    """``00001``, as DFL names a video's frames; with a prefix ``b-00001``."""
    return f"{prefix}-{number:05d}" if prefix else f"{number:05d}"


def frame_numbers(stems: set[str], prefix: str) -> set[int]:
    """The inverse of :func:`frame_stem`; names of another form are left out."""
    start = f"{prefix}-" if prefix else ""
    numbers = (stem.removeprefix(start) for stem in stems if stem.startswith(start))
    return {int(text) for text in numbers if text.isascii() and text.isdigit()}

"""Following ``journal.jsonl`` by byte offset, quickly and without missing anything."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from recaster_tui.protocol import Event, decode_event
from recaster_tui.supervisor.launcher import Launcher

CHUNK = 1 << 20
_LONGEST_LINE = 1 << 24

# The head of a line as encode_event writes it; a line that looks different is parsed whole.
_HEAD = re.compile(rb'\{"v":1,"seq":(\d{1,15}),"t":[0-9.e+]+,"type":"iterations",.*\}', re.DOTALL)

# Where a line starts that is anything else. One search over a chunk is five times as fast as
# looking at each of its lines from Python.
_OTHER = re.compile(
    rb'^(?!\{"v":1,"seq":\d{1,15},"t":[0-9.e+]+,"type":"iterations",.*\}$)', re.MULTILINE
)


@dataclass
class JournalChunk:
    """What one read brought.

    Of ``iterations`` lines with nothing between them but figures, previews and saves, only the
    first and the last are decoded, and of the figures of the machine among them only the last:
    the losses come from losses.bin, and a long journal consists of almost nothing else.
    """

    events: list[Event] = field(default_factory=list)
    restarted: bool = False  # the file is shorter than what was read: it is another one
    more: bool = False  # the chunk was full, more can be read at once
    gaps: list[tuple[int, int]] = field(default_factory=list)  # first and last seq missed
    damaged: int = 0  # whole lines that are no events


# What is said beside training, without changing what it does.
_BESIDE = re.compile(
    rb'\{"v":1,"seq":\d{1,15},"t":[0-9.e+]+,"type":"(?:metrics|preview|saved|alive)",.*\}',
    re.DOTALL,
)


# Figures of the machine, which the next ones replace. Those on held-out faces all count.
_FIGURES = re.compile(
    rb'\{"v":1,"seq":(\d{1,15}),"t":[0-9.e+]+,"type":"metrics",(?!.*"held_out).*\}', re.DOTALL
)


class JournalReader:
    """Reads a journal in chunks. A torn last line waits in the file until it is whole."""

    def __init__(self, launcher: Launcher, path: Path) -> None:
        self._launcher = launcher
        self._path = path
        self._limit = CHUNK
        self.offset = 0
        self.seq = 0
        self._after_damage = False

    async def read(self) -> JournalChunk:
        """The next chunk. Raises ``OSError`` (FileNotFoundError: not written yet)."""
        # One byte before: it must be the newline we stopped at, else the file is another one.
        back = 1 if self.offset else 0
        raw = await self._launcher.read(self._path, self.offset - back, self._limit + back)
        if back and raw[:1] != b"\n":
            self.offset, self.seq, self._limit = 0, 0, CHUNK
            return JournalChunk(restarted=True, more=True)
        raw = raw[back:]
        full = len(raw) >= self._limit
        end = raw.rfind(b"\n") + 1
        chunk = JournalChunk(more=full)
        if full and not end:
            if self._limit < _LONGEST_LINE:
                self._limit *= 2
            else:
                self.offset += len(raw)
                chunk.damaged = 1
                self._after_damage = True
            return chunk
        self._limit = CHUNK
        self.offset += end
        self._parse(raw[:end], chunk)
        return chunk

    def _parse(self, raw: bytes, chunk: JournalChunk) -> None:
        at, first, waiting, figures = 0, True, b"", b""
        while at < len(raw):
            other = _OTHER.search(raw, at)
            start = other.start() if other is not None else len(raw)
            if start > at:
                waiting = self._iterations(raw, at, start, chunk)
                if first:  # it may be what ends the loading
                    self._decode(waiting, chunk)
                    first, waiting = False, b""
            if start >= len(raw):
                break
            at = raw.index(b"\n", start) + 1
            line = raw[start : at - 1]
            if head := _FIGURES.fullmatch(line):
                self._count(int(head[1]), chunk)
                figures = line
                continue
            if not _BESIDE.match(line):
                for held in filter(None, (figures, waiting)):
                    self._decode(held, chunk)
                first, waiting, figures = True, b"", b""
            if line and (event := self._decode(line, chunk)):
                self._count(event.seq, chunk)
        for held in filter(None, (figures, waiting)):
            self._decode(held, chunk)

    def _iterations(self, raw: bytes, start: int, end: int, chunk: JournalChunk) -> bytes:
        """Whole lines of losses, one after the other: of their events only the last matters."""
        last_line = raw[raw.rfind(b"\n", start, end - 1) + 1 or start : end - 1]
        first, last = _HEAD.match(raw, start, raw.index(b"\n", start)), _HEAD.fullmatch(last_line)
        assert first is not None and last is not None, "they were looked at"
        self._count(int(first[1]), chunk)
        if int(last[1]) - int(first[1]) + 1 == raw.count(b"\n", start, end):
            self.seq = int(last[1])
        else:  # numbers jump among them: where?
            for line in raw[start:end].split(b"\n")[1:-1]:
                if head := _HEAD.fullmatch(line):
                    self._count(int(head[1]), chunk)
        return last_line

    def _decode(self, line: bytes, chunk: JournalChunk) -> Event | None:
        try:
            event = decode_event(line.decode())
        except ValueError:
            chunk.damaged += 1
            self._after_damage = True
            return None
        chunk.events.append(event)
        return event

    def _count(self, seq: int, chunk: JournalChunk) -> None:
        # A damaged line may or may not have used up a number: both continuations are whole.
        missed = seq - self.seq - 1
        if missed > (1 if self._after_damage else 0):
            chunk.gaps.append((self.seq + 1, seq - 1))
        self._after_damage = False
        self.seq = seq

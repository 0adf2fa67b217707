"""Following ``journal.jsonl`` by byte offset, quickly and without missing anything."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from recaster_tui.protocol import Event, decode_event
from recaster_tui.supervisor.launcher import Launcher

CHUNK = 1 << 20
_LONGEST_LINE = 1 << 24

# The head of a line as encode_event writes it; a line that looks different is parsed whole.
_HEAD = re.compile(rb'\{"v":1,"seq":(\d+),"t":[0-9.e+]+,"type":"iterations",.*\}', re.DOTALL)


@dataclass
class JournalChunk:
    """What one read brought.

    Of neighbouring ``iterations`` lines only the last is decoded: the losses come from
    losses.bin, and a long journal consists of almost nothing else.
    """

    events: list[Event] = field(default_factory=list)
    restarted: bool = False  # the file is shorter than what was read: it is another one
    more: bool = False  # the chunk was full, more can be read at once
    gaps: list[tuple[int, int]] = field(default_factory=list)  # first and last seq missed
    damaged: int = 0  # whole lines that are no events


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
        waiting: bytes | None = None
        for line in raw.split(b"\n")[:-1]:
            if head := _HEAD.fullmatch(line):
                self._count(int(head[1]), chunk)
                waiting = line
                continue
            if waiting is not None:
                self._decode(waiting, chunk)
                waiting = None
            if line and (event := self._decode(line, chunk)):
                self._count(event.seq, chunk)
        if waiting is not None:
            self._decode(waiting, chunk)

    def _decode(self, line: bytes, chunk: JournalChunk) -> Event | None:
        try:
            event = decode_event(line)
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

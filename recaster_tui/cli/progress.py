"""How long work on faces shows itself on a terminal: one line with an ETA, or lines for a log.

Everything goes to stderr, so that stdout carries nothing but the command's answer.
"""

import json
import shutil
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, TextIO

from recaster_tui.cli.words import duration

_LINE_SECONDS = 0.1
_PLAIN_SECONDS = 5.0
_JSON_SECONDS = 0.25
_QUIET_SECONDS = 1.0  # work that is done sooner shows no progress to people
_BAR = 20
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def terminal_reporter(as_json: bool = False, stream: TextIO | None = None) -> "TerminalReporter":
    """The :class:`~recaster_tui.jobs.Reporter` of a command that runs in a terminal.

    On a terminal one line is rewritten in place; elsewhere a line appears every few seconds;
    neither tells of work that takes no second. With *as_json* each event is one JSON object a
    line (``{"t": unix, "type": "progress" | "note" | "warning", …}``, as in a job's
    ``events.jsonl``).

    The first ctrl-c (SIGINT) or SIGTERM makes ``stop_requested`` true, the next one interrupts
    at once. ``close()`` gives the terminal and the signals back; ``jobs.reporting`` calls it.
    """
    out = sys.stderr if stream is None else stream
    if as_json:
        return JsonReporter(out)
    return LineReporter(out) if out.isatty() else TerminalReporter(out)


class TerminalReporter:
    """Plain lines, for a log or a pipe; the base of the other two."""

    every = _PLAIN_SECONDS
    quiet = _QUIET_SECONDS

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told = float("-inf")
        self._begun: float | None = None
        self._first = 0
        self._last = 0
        self._said: tuple[Any, ...] = ()
        self._stopping = False
        self._old: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.signal(number, self._interrupted) for number in _SIGNALS}

    def progress(self, current: int, total: int, text: str = "", **counts: int) -> None:
        """See :class:`~recaster_tui.jobs.Reporter`."""
        now = time.monotonic()
        if self._begun is None or current < self._last:  # the next stage of the work
            self._begun, self._first = now, current  # work found done counts for no speed
        self._last = current
        if now - self._begun < self.quiet:
            return
        whole = bool(total) and current >= total
        if now - self._told < self.every and not whole:
            return
        self._told = now
        said = (current, total, text, tuple(counts.items()))
        if whole and said == self._said:
            return
        self._said = said
        done, seconds = current - self._first, now - self._begun
        rate = done / seconds if done > 0 and seconds > 0 else 0.0
        eta = (total - current) / rate if rate and total > current else None
        self._show(current, total, text, counts, rate, eta)

    def note(self, text: str) -> None:
        """See :class:`~recaster_tui.jobs.Reporter`."""
        self._say(_printable(text))

    def warning(self, text: str, hint: str | None = None) -> None:
        """See :class:`~recaster_tui.jobs.Reporter`."""
        self._say("warning: " + _printable(f"{text} ({hint})" if hint else text))

    def stop_requested(self) -> bool:
        """Whether SIGINT or SIGTERM came."""
        return self._stopping

    def close(self) -> None:
        """Give the terminal and the signals back. May be called twice."""
        old, self._old = self._old, {}
        for number, handler in old.items():
            signal.signal(number, handler)

    def _show(
        self,
        current: int,
        total: int,
        text: str,
        counts: dict[str, int],
        rate: float,
        eta: float | None,
    ) -> None:
        self._say(_words(current, total, text, counts, rate, eta))

    def _say(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def _interrupted(self, number: int, _frame: FrameType | None) -> None:
        if self._stopping:
            raise KeyboardInterrupt
        # Nothing is written here: the handler may run in the middle of a write.
        self._stopping = True


class LineReporter(TerminalReporter):
    """One line of a terminal, rewritten in place."""

    every = _LINE_SECONDS

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._line = ""

    def close(self) -> None:
        """Leave the last line standing."""
        super().close()
        if self._line:
            self._line = ""
            self._stream.write("\n")
            self._stream.flush()

    def _show(
        self,
        current: int,
        total: int,
        text: str,
        counts: dict[str, int],
        rate: float,
        eta: float | None,
    ) -> None:
        words = _words(current, total, text, counts, rate, eta)
        if total:
            full = round(_BAR * min(1.0, current / total))
            words = "━" * full + "─" * (_BAR - full) + "  " + words
        if self._stopping:
            words = "stopping  " + words
        self._line = words[: max(20, shutil.get_terminal_size().columns - 1)]
        self._stream.write(f"\r\x1b[K{self._line}")
        self._stream.flush()

    def _say(self, text: str) -> None:
        self._stream.write(f"\r\x1b[K{text}\n{self._line}")
        self._stream.flush()


class JsonReporter(TerminalReporter):
    """One JSON object a line."""

    every = _JSON_SECONDS
    quiet = 0.0

    def note(self, text: str) -> None:
        """See :class:`~recaster_tui.jobs.Reporter`."""
        self._event("note", text=text)

    def warning(self, text: str, hint: str | None = None) -> None:
        """See :class:`~recaster_tui.jobs.Reporter`."""
        self._event("warning", text=text, hint=hint)

    def _show(
        self,
        current: int,
        total: int,
        text: str,
        counts: dict[str, int],
        rate: float,
        eta: float | None,
    ) -> None:
        event: dict[str, Any] = {"current": current, "total": total, "text": text, "counts": counts}
        if eta is not None:
            event["eta"] = round(eta, 1)
        self._event("progress", **event)

    def _event(self, kind: str, **values: Any) -> None:
        self._say(json.dumps({"t": round(time.time(), 3), "type": kind, **values}))


def _words(
    current: int,
    total: int,
    text: str,
    counts: dict[str, int],
    rate: float,
    eta: float | None,
) -> str:
    """The figures as one line: ``120/300  12.3/s  eta 45s  faces 118  extracting``."""
    parts = [f"{current:,}/{total:,}" if total else f"{current:,}"]
    if rate:
        parts.append(f"{rate:.1f}/s")
    if eta is not None:
        parts.append(f"eta {duration(eta)}")
    parts += [f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items()]
    if text:
        parts.append(_printable(text))
    return "  ".join(parts)


def _printable(text: str) -> str:
    """*text* without control characters: a file's name must not speak to the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)

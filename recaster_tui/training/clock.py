"""The clock of training: seconds in which this process could run.

A trainer that is stopped (SIGSTOP, a debugger, a suspended virtual machine) trains nothing, and
wakes up without being told. Its heartbeat looks at the clock twice a second; where that look is
late by seconds, every thread stood still, and the time is not counted. A long iteration is not
mistaken for it: the heartbeat goes on beside it.
"""

import threading
import time
from collections.abc import Callable

GAP_SECONDS = 5.0
"""Shorter gaps are a busy machine."""


class RunningClock:
    """Monotonic seconds, less the time in which the process was stopped. For any thread."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._mutex = threading.Lock()
        self._stopped = 0.0
        self._looked: float | None = None

    def __call__(self) -> float:
        """Seconds from an arbitrary beginning."""
        with self._mutex:
            now = self._clock()
            if self._looked is not None:
                if now - self._looked > GAP_SECONDS:
                    self._stopped += now - self._looked
                self._looked = now
            return now - self._stopped

    def watch(self, on: bool) -> None:
        """From now on somebody looks at the clock all the time, so that gaps mean something."""
        with self._mutex:
            self._looked = self._clock() if on else None


running = RunningClock()
"""The one of this process; its heartbeat looks at it."""

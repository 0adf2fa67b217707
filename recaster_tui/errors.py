"""Errors a user can act on: what happened, where, and what to do next.

Every message that reaches a user is a :class:`RecasterError`; anything else is a bug and keeps
its traceback (in the log file, never over the screen). Exit codes: DESIGN section 9.
"""

from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """What the process tells its caller."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    ENVIRONMENT = 3
    DAMAGED = 4
    INTERRUPTED = 130


class RecasterError(Exception):
    """An expected failure. ``str(error)`` is one paragraph: message, place, hint."""

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(
        self, message: str, *, where: Path | str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = str(where) if where is not None else None
        self.hint = hint

    def __str__(self) -> str:
        text = self.message
        if self.where and self.where not in text:
            text += f"\n  in: {self.where}"
        if self.hint:
            text += f"\n  hint: {self.hint}"
        return text


class BadInputError(RecasterError):
    """The user gave something that cannot be used: an option, a path, a file."""

    exit_code = ExitCode.BAD_INPUT


class EnvironmentProblem(RecasterError):  # noqa: N818 - it is the machine, not an error of ours
    """The machine lacks something: a GPU, disk space, a terminal."""

    exit_code = ExitCode.ENVIRONMENT


class DamagedError(RecasterError):
    """A model, run or data file does not hold what it should."""

    exit_code = ExitCode.DAMAGED

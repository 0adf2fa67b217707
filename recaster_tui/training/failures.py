"""What can end a run, each with the code that its ``error`` event carries (DESIGN 4 and 9).

The codes are a contract with the supervisor and the screen: ``oom``, ``too-few-faces``,
``model-locked``, ``disk-full``, ``bad-options``, ``non-finite``, ``save-failed``, ``bad-input``,
``environment``, ``damaged``, ``failed``, ``internal``.
"""

import errno
from dataclasses import dataclass
from pathlib import Path

from recaster_tui.errors import (
    BadInputError,
    DamagedError,
    EnvironmentProblem,
    ExitCode,
    RecasterError,
)

_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    # oneDNN, on the CPU
    "could not create a primitive",
    "could not create a memory",
    "could not execute a primitive",
    # cuBLAS and cuDNN: their handles and workspaces
    "STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
)
DISK_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY_ERRNOS = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_BROKEN_DISK_ERRNOS = frozenset(
    {errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.EMFILE, errno.ENFILE, errno.ENOTCONN}
)


class TooFewFacesError(BadInputError):
    """A faceset holds too few usable faces to train on."""

    code = "too-few-faces"


class BadOptionsError(BadInputError):
    """The options cannot be used with this model."""

    code = "bad-options"


class DiskFullError(EnvironmentProblem):
    """No room for the final save, or for the journal."""

    code = "disk-full"


class OutOfMemoryError(EnvironmentProblem):
    """The device has too little memory for these options."""

    code = "oom"


class NonFiniteError(RecasterError):
    """The loss became NaN or infinite (or exploded), again, after a rollback."""

    code = "non-finite"


class SaveFailedError(RecasterError):
    """The final save could not be written, for another reason than space."""

    code = "save-failed"


class TornUpdateError(Exception):
    """Memory ran out while the weights were being changed: some are new, some old."""


class StopRequested(Exception):  # noqa: N818 - a wish, not an error
    """The user asked for a stop before training had begun. Carries the reason."""


@dataclass(frozen=True)
class Failure:
    """An exception as the journal tells it."""

    code: str
    message: str
    hint: str | None
    exit_code: ExitCode


def describe(error: BaseException) -> Failure:
    """Turn any exception into a code, a message, a hint and an exit code."""
    if isinstance(error, RecasterError):
        message = error.message
        if error.where and error.where not in message:
            message += f" (in {error.where})"
        return Failure(_code(error), message, error.hint, error.exit_code)
    if isinstance(error, TornUpdateError) or is_out_of_memory(error):
        return Failure(
            "oom",
            f"out of memory: {_first_line(error)}",
            "lower batch_size, the resolution or the dims, or end other programs on this device",
            ExitCode.ENVIRONMENT,
        )
    if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS:
        return Failure(
            "disk-full",
            f"the disk is full: {_os_words(error)}",
            "free some space and resume the run; the last save is whole",
            ExitCode.ENVIRONMENT,
        )
    if isinstance(error, OSError) and error.errno in _READ_ONLY_ERRNOS:
        what = "the file system is read-only" if error.errno == errno.EROFS else "not allowed"
        return Failure(
            "environment",
            f"{what}: {_os_words(error)}",
            "the workspace must be writable for this user",
            ExitCode.ENVIRONMENT,
        )
    if isinstance(error, OSError) and error.errno in _BROKEN_DISK_ERRNOS:
        return Failure(
            "environment",
            f"the disk cannot be read or written: {_os_words(error)}",
            "look at the disk and the connection to it; the last save is whole",
            ExitCode.ENVIRONMENT,
        )
    return Failure(
        "internal",
        f"{type(error).__name__}: {_first_line(error)}",
        "this is a bug; the traceback stands in trainer.log",
        ExitCode.FAILED,
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether *error* is host or device memory running out.

    torch raises ``OutOfMemoryError`` for CUDA and a plain ``RuntimeError`` on the CPU and MPS, and
    the libraries below it have words of their own.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(words in text for words in _OUT_OF_MEMORY)


def _os_words(error: OSError) -> str:
    text = error.strerror or str(error)
    # The path is long, and half of it a temporary name: the file will do.
    return f"{text} ({Path(str(error.filename)).name})" if error.filename else text


def _code(error: RecasterError) -> str:
    code = getattr(error, "code", None)
    if isinstance(code, str):
        return code
    # The options room must not know our codes, so its error is known by its name.
    if type(error).__name__ == "OptionsError":
        return "bad-options"
    if isinstance(error, BadInputError):
        return "bad-input"
    if isinstance(error, EnvironmentProblem):
        return "environment"
    if isinstance(error, DamagedError):
        return "damaged"
    return "failed"


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__

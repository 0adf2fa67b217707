"""Helper processes of ours: how many, how they are started, how they end.

Not ``multiprocessing``: no re-import of the caller's main module, and a helper whose parent is gone
sees the end of its input and leaves.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import recaster_tui
from recaster_tui.errors import EnvironmentProblem

_MOST_WORKERS = 8
_SINGLE_THREADED = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def usable_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def default_workers() -> int:
    """One per core that this process may use, at most eight."""
    return min(usable_cores(), _MOST_WORKERS)


def start_helper(
    module: str,
    *arguments: str | Path,
    stdin: int = subprocess.PIPE,
    stdout: int = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    hint: str = "try again with --workers 1",
) -> subprocess.Popen[bytes]:
    """Run ``python -m MODULE ARGUMENTS``, with one thread per computation.

    In a session of its own: ctrl-c is for us, and we end our helpers.

    Raises:
        EnvironmentProblem: it cannot be started.
    """
    environment = dict(os.environ) | dict.fromkeys(_SINGLE_THREADED, "1")
    here = str(Path(recaster_tui.__file__).parent.parent)
    paths = [here, environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(p for p in paths if p)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    except OSError as error:
        raise EnvironmentProblem(f"cannot start a helper process ({error})", hint=hint) from error


def end_helper(process: subprocess.Popen[bytes]) -> None:
    """End a helper now, and close its pipes."""
    process.terminate()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # unsent input of a helper that is gone
                pipe.close()

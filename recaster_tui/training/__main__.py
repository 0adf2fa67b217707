"""``python -m recaster_tui.training RUN_FOLDER``: the trainer process.

Standard output and error are the run's ``trainer.log`` (the launcher wires them); nothing is
ever asked there and nothing of value is only said there. Exit codes: DESIGN section 9.
"""

import contextlib
import faulthandler
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from recaster_tui.errors import ExitCode
from recaster_tui.training.start import start

NICENESS = 5
"""Training takes days and the machine has a user."""

SPINS_BEFORE_SLEEP = "1000"
"""OpenMP's threads wait for each other thousands of times an iteration, and by default they do
so busily. Where anything else wants a core, the one that was put aside is waited for by the
others at full speed: measured on 2 cores with two other busy processes, an iteration took 2 to
15 s instead of 0.6 s; alone it costs 0.33 s instead of 0.28 s."""

USAGE = "usage: python -m recaster_tui.training RUN_FOLDER\n"


def main(argv: Sequence[str] | None = None, begin: Callable[[Path], ExitCode] = start) -> int:
    """Train what the run folder asks for; returns the exit code.

    Args:
        begin: what is done with the run folder (a trainer with faults does more than start).
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write(USAGE)
        return ExitCode.OK if arguments in (["-h"], ["--help"]) else ExitCode.BAD_INPUT
    configure_log()
    # Read when torch loads its OpenMP library, which is after this.
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS_BEFORE_SLEEP)
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    return begin(Path(arguments[0]))


def configure_log() -> None:
    """Log and crash dumps to standard error; warnings join the log."""
    faulthandler.enable()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.captureWarnings(True)


if __name__ == "__main__":
    sys.exit(main())

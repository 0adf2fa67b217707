"""``python -P -m recaster_tui.bench.faults.trainer RUN_FOLDER``: the real trainer, with faults.

Everything is the trainer's own (:mod:`recaster_tui.training.__main__`), except for what the
environment variable ``RECASTER_FAULTS`` asks for: see :mod:`recaster_tui.bench.faults.inject`.
The app and the command line use this trainer with
``RECASTER_TRAINER=recaster_tui.bench.faults.trainer``; a test gives it to
``Supervisor(command=...)``.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recaster_tui.bench.faults.inject import from_environment
from recaster_tui.errors import ExitCode, RecasterError
from recaster_tui.training.__main__ import main as train
from recaster_tui.training.start import start


def main(argv: Sequence[str] | None = None) -> int:
    """Train what the run folder asks for, with faults; returns the exit code."""
    try:
        faults = from_environment()
    except RecasterError as error:
        sys.stderr.write(f"{error.message}\n{error.hint or ''}\n")
        return ExitCode.BAD_INPUT

    def build(*args: Any, **more: Any) -> Any:
        from recaster_tui.training.models import build_model

        faults.attach()
        return build_model(*args, **more)

    def begin(root: Path) -> ExitCode:
        return start(root, build_model=build)

    return train(argv, begin)


if __name__ == "__main__":
    sys.exit(main())

"""Parsing, and turning whatever goes wrong into a message and an exit code (DESIGN 9)."""

import os
import sys
from collections.abc import Sequence

from recaster_tui.errors import ExitCode, RecasterError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    from cyclopts import CycloptsError

    from recaster_tui.cli.app import app

    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = app(tokens, print_error=False, exit_on_error=False, result_action="return_value")
        sys.stdout.flush()
        return result if isinstance(result, int) else ExitCode.OK
    except RecasterError as error:
        _complain(str(error))
        return error.exit_code
    except CycloptsError as error:
        _complain(f"{_one_line(error)}\n  hint: recaster {_command(tokens)}--help")
        return ExitCode.BAD_INPUT
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader (head, a pager) has gone; Python must not complain about it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        _complain(_report(error, tokens))
        return ExitCode.FAILED


def _complain(text: str) -> None:
    sys.stderr.write(f"error: {text}\n")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _command(tokens: list[str]) -> str:
    """The command of *tokens*, with a space behind: ``faces mask``."""
    from recaster_tui.cli.app import COMMANDS, app

    if not tokens or tokens[0] not in COMMANDS:
        return ""
    below = tokens[1] if len(tokens) > 1 and tokens[1] in tuple(app[tokens[0]]) else ""
    return f"{tokens[0]} {below} " if below else f"{tokens[0]} "


def _report(error: Exception, tokens: list[str]) -> str:
    import traceback
    from datetime import datetime

    from recaster_tui import __version__
    from recaster_tui.paths import log_dir

    what = f"unexpected {type(error).__name__}: {_one_line(error) or 'no message'}"
    path = log_dir() / "recaster.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            stamp = datetime.now().isoformat(timespec="seconds")
            file.write(f"--- {stamp} recaster {__version__} {' '.join(tokens)}\n")
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return what + "".join(traceback.format_exception(error))
    return f"{what}\n  in: {path}\n  hint: this is a bug; the log file says where it happened"

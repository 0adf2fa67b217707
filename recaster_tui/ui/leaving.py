"""Ending for certain, when the terminal that would have to be given back is gone."""

import logging
import os
import threading

log = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
_WRITER = "textual-output"


def end_soon(code: int, grace: float = GRACE_SECONDS) -> None:
    """End the process with *code* after *grace* seconds, if it has not ended by itself.

    Textual writes through a thread and, leaving, waits for it; with the terminal gone that can
    take for ever (tests/ui/test_session.py closes the terminal). Nothing is lost: no run belongs to
    this process, and its records are repaired from the journals at the next start.
    """
    timer = threading.Timer(grace, _end, (code,))
    timer.daemon = True
    timer.start()


def watch_terminal(code: int = 129) -> None:
    """Leave when Textual's writer dies of a terminal that is gone, before a signal says so."""
    before = threading.excepthook

    def died(args: threading.ExceptHookArgs) -> None:
        if args.thread is not None and args.thread.name == _WRITER:
            log.warning("the terminal is gone: %s", args.exc_value)
            end_soon(code)
        else:
            before(args)

    threading.excepthook = died


def _end(code: int) -> None:
    log.warning("leaving the hard way, with code %d", code)
    logging.shutdown()
    os._exit(code)

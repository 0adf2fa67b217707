"""What went wrong in a worker, logged and told: Textual itself swallows it without a word."""

import logging
from typing import TYPE_CHECKING

from textual.worker import Worker, WorkerState

from recaster_tui import paths
from recaster_tui.errors import RecasterError

if TYPE_CHECKING:
    from recaster_tui.ui.app import RecasterApp

log = logging.getLogger(__name__)


def tell_of_worker(app: "RecasterApp", event: Worker.StateChanged) -> None:
    """For ``on_worker_state_changed`` of whatever runs workers that must not end the app."""
    error = event.worker.error
    if event.state is not WorkerState.ERROR or error is None or event.worker.exit_on_error:
        return
    log.error("in the worker %s", event.worker.name or event.worker.group, exc_info=error)
    if isinstance(error, RecasterError):
        text = str(error)
    elif isinstance(error, OSError):
        text = f"{error.strerror or error}" + (f"\n{error.filename}" if error.filename else "")
    else:
        text = f"{type(error).__name__}: {error}\nmore in {paths.log_dir() / 'app.log'}"
    app.notify(text, title="That did not work", severity="error", timeout=15)

"""The save at the end of a run: where the disk is full, it waits a while for room."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from recaster_tui.training.commands import Desk
from recaster_tui.training.failures import describe

ROOM_SECONDS = 60.0
"""How long room is waited for."""
_LOOK_SECONDS = 0.25
_MORE = 1 << 20  # bytes that must have become free since the last attempt


def save_last(
    attempt: Callable[[], Exception | None],
    folder: Path,
    desk: Desk,
    say: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Exception | None:
    """Save, and on a full disk again when there is more room, and once more at the end.

    Args:
        attempt: saves, and returns why it could not.
        folder: of the model.
        desk: where a stop without saving ends the wait.
        say: tells what is waited for.

    Returns:
        Why it could not be saved; None when it was, or when nobody wants it any more.
    """
    error = attempt()
    give_up = clock() + ROOM_SECONDS
    while error is not None and describe(error).code == "disk-full" and clock() < give_up:
        say(
            f"the disk is full: waiting {give_up - clock():.0f} s for room to save; "
            "a stop without saving ends that"
        )
        free = _free(folder)
        while clock() < give_up and _free(folder) < free + _MORE:
            if _forsaken(desk):
                return None
            sleep(_LOOK_SECONDS)
        error = attempt()
    return error


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _forsaken(desk: Desk) -> bool:
    """Whether the user wants no save any more."""
    desk.poll()
    while (request := desk.take_stop()) is not None:
        save = request.command is None or bool(request.command.args.get("save", True))
        desk.answer(request, True, "waiting for room to save" if save else "ending without a save")
        if not save:
            return True
    return False

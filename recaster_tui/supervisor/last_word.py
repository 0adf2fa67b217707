"""A word in a journal whose trainer is not there to say it: it was killed, or put back.

Only for journals of this machine, and only while no trainer writes them: the journal's own lock
says so, and a line that the dead one left torn is mended first.
"""

import logging
from typing import Any

from recaster_tui.errors import RecasterError
from recaster_tui.protocol import EventType, RunFolder

log = logging.getLogger(__name__)


def say_for_trainer(folder: RunFolder, kind: EventType, **data: Any) -> bool:
    """Append one event to the journal of a run without a trainer; whether that worked.

    It is for the eyes only: nothing depends on it, so a full disk is no error here.
    """
    from recaster_tui.training.journal import JournalWriter

    if not folder.journal.is_file():
        return False
    try:
        journal = JournalWriter(folder.journal)
    except (RecasterError, OSError) as error:
        log.warning("cannot write the end of %s down: %s", folder.run_id, error)
        return False
    try:
        journal.emit(kind, **data)
    except (RecasterError, OSError) as error:
        log.warning("cannot write the end of %s down: %s", folder.run_id, error)
        return False
    finally:
        journal.close()
    return True

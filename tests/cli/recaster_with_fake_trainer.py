"""``recaster`` as it is, except that the trainer it starts has no model."""

import sys
from pathlib import Path

import recaster_tui.supervisor.queue as queue
import recaster_tui.supervisor.supervisor as supervisor
from recaster_tui.cli import main

FAKE = Path(__file__).parent.parent / "supervisor" / "fake_trainer.py"
supervisor.TRAINER_COMMAND = (sys.executable, str(FAKE))
queue.KEEPER_COMMAND = (sys.executable, __file__, "queue", "keep")

if __name__ == "__main__":
    sys.exit(main())

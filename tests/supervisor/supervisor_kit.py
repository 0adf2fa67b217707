"""What the tests of this room share."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from recaster_tui.options import ModelClass
from recaster_tui.supervisor import Run, RunRequest

FAKE = (sys.executable, str(Path(__file__).with_name("fake_trainer.py")))
QUICK = RunRequest(ModelClass.QUICK96, model_name="first")


async def until(run: Run, condition: Callable[[Run], object], seconds: float = 30.0) -> None:
    """Wait for the run's own change signal until *condition* holds."""
    async with asyncio.timeout(seconds):
        while not condition(run):
            await run.wait_change(run.version)

"""What the tests of the command line share."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

FAKE = [sys.executable, str(Path(__file__).with_name("recaster_with_fake_trainer.py"))]
"""``recaster``, except that its trainers have no model."""

Recaster = Callable[..., subprocess.CompletedProcess[str]]
"""``recaster("runs", "--json", FAKE_DEAF="1")``: arguments, and variables of the environment."""

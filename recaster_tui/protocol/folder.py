"""File names inside ``runs/<run-id>/``."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run. ``root`` is ``<workspace>/runs/<run-id>``."""

    root: Path

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.root.name

    @property
    def spec(self) -> Path:
        """What was asked for; written once by the supervisor."""
        return self.root / "run.toml"

    @property
    def process(self) -> Path:
        """Whom the supervisor started last: pid, start time, host."""
        return self.root / "process.toml"

    @property
    def journal(self) -> Path:
        """What happened, one JSON object a line; only the trainer writes it."""
        return self.root / "journal.jsonl"

    @property
    def control(self) -> Path:
        """What to do; anyone appends whole lines, the trainer reads by offset."""
        return self.root / "control.jsonl"

    @property
    def losses(self) -> Path:
        """Every iteration's loss of the model so far, as ``LOSS_DTYPE`` rows."""
        return self.root / "losses.bin"

    @property
    def previews(self) -> Path:
        """``<iteration>/<view>.jpg``."""
        return self.root / "previews"

    @property
    def log(self) -> Path:
        """The trainer's stdout, stderr and tracebacks."""
        return self.root / "trainer.log"

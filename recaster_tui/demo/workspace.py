"""Writing the demo workspace: frames, aligned faces with metadata, clips, project file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recaster_tui.workspace import Workspace


@dataclass(frozen=True)
class DemoProgress:
    """How far :func:`make_demo` is."""

    stage: str  # "faces", "videos" or "done"
    current: int
    total: int
    text: str


def is_demo(folder: Path) -> bool:
    """Whether *folder* holds a demo workspace made by :func:`make_demo`, complete or not."""
    raise NotImplementedError


def make_demo(
    folder: Path,
    *,
    seed: int = 1,
    faces: int = 300,
    video_seconds: float = 20.0,
    size: int = 256,
    workers: int | None = None,
    progress: Callable[[DemoProgress], None] | None = None,
) -> Workspace:
    """Make a DeepFaceLab workspace of two synthetic people in *folder*."""
    raise NotImplementedError

"""The main areas of the app; screens plug in here and nowhere else."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from textual.screen import Screen


@dataclass(frozen=True)
class Mode:
    """One main area: its key, its title, where its screen class is."""

    name: str
    key: str
    title: str
    module: str
    screen: str

    def make(self) -> Screen[Any]:
        """Import and build the screen: the first visit pays for it."""
        made: Screen[Any] = getattr(import_module(self.module), self.screen)()
        return made


_SCREENS = "recaster_tui.ui.screens"
ALL_MODES = (
    Mode("project", "1", "Project", f"{_SCREENS}.project", "ProjectScreen"),
    Mode("faces", "2", "Faces", f"{_SCREENS}.faces", "FacesScreen"),
    Mode("train", "3", "Train", f"{_SCREENS}.train", "TrainScreen"),
    Mode("runs", "4", "Runs", f"{_SCREENS}.runs", "RunsScreen"),
)
"""Rigs (5) and Merge (6) join when they do something."""

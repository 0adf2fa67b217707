"""What reading or converting a model found that its owner should know."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    NOTE = "note"
    """Nothing is lost."""
    WARNING = "warning"
    """Something is lost or begins anew; the model as such is whole."""
    ERROR = "error"
    """The model is not whole, and is not used."""


@dataclass(frozen=True)
class Remark:
    """One finding: in which file or part, and what."""

    level: Level
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.text}"


class Remarks(list[Remark]):
    """Findings in the order in which they were made."""

    def note(self, where: str, text: str) -> None:
        """Add a note."""
        self.append(Remark(Level.NOTE, where, text))

    def warn(self, where: str, text: str) -> None:
        """Add a warning."""
        self.append(Remark(Level.WARNING, where, text))

    def error(self, where: str, text: str) -> None:
        """Add an error."""
        self.append(Remark(Level.ERROR, where, text))

    @property
    def errors(self) -> list[Remark]:
        """Only those that forbid using the model."""
        return [remark for remark in self if remark.level is Level.ERROR]


def some(names: Sequence[str], limit: int = 4) -> str:
    """``a, b, c and 7 more``, safe to print: the names may come from a stranger's file."""
    shown = ", ".join(printable(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def printable(text: object) -> str:
    """Text of a file on one line, cut to 120 characters, nothing a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in str(text)[:120])

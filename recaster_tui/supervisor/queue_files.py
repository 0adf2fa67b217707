"""The files of the queue: read at each question, replaced whole, set aside where damaged."""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from recaster_tui import paths
from recaster_tui.errors import EnvironmentProblem
from recaster_tui.files import read_toml, write_toml
from recaster_tui.supervisor.queue_entry import QueueEntry, QueueState

log = logging.getLogger(__name__)

MOST_SLOTS = 16
_SETTINGS = "settings.toml"


@dataclass(frozen=True)
class QueueSettings:
    """``slots`` by device name, 1 where nothing is said; ``paused`` stops new starts."""

    paused: bool = False
    slots: dict[str, int] = field(default_factory=dict)

    def slots_of(self, device: str) -> int:
        """How many runs *device* takes at once."""
        return self.slots.get(device, 1)


class QueueFiles:
    """Entries and settings under ``<data>/queue/``; ``Queue`` says what may be done to them."""

    def __init__(self, data_dir: Path | None = None) -> None:
        self.data_dir = data_dir or paths.data_dir()
        self.folder = self.data_dir / "queue"
        self._read: dict[str, tuple[tuple[int, int, int], QueueEntry]] = {}
        self._unreadable: dict[str, str] = {}

    def entries(self) -> list[QueueEntry]:
        """What runs, then what waits in order, then what is over, the last ended first."""
        found = [e for path in self._files() if (e := self._entry(path)) is not None]
        active = sorted((e for e in found if e.state.active), key=lambda e: (e.started, e.rank))
        waiting = sorted((e for e in found if e.state is QueueState.WAITING), key=lambda e: e.rank)
        over = sorted((e for e in found if e.state.over), key=lambda e: (e.ended, e.rank))
        return [*active, *waiting, *reversed(over)]

    def waiting(self) -> list[QueueEntry]:
        """Who waits, the next one first."""
        return [e for e in self.entries() if e.state is QueueState.WAITING]

    def get(self, id: str) -> QueueEntry | None:  # noqa: A002
        """The entry of exactly this id, as its file says now."""
        return self._entry(self.path(id))

    def settings(self) -> QueueSettings:
        """Slots and pause."""
        path = self.folder / _SETTINGS
        try:
            table = read_toml(path)
            slots = {str(k): int(v) for k, v in dict(table.get("slots") or {}).items()}
            within = {k: max(1, min(v, MOST_SLOTS)) for k, v in slots.items()}
            return QueueSettings(bool(table.get("paused", False)), within)
        except FileNotFoundError:
            return QueueSettings()
        except OSError as error:
            self._unreadable[path.name] = str(error)
        except (ValueError, TypeError) as error:
            self._set_aside(path, error)
        return QueueSettings()

    def slots(self) -> dict[str, int]:
        """Slots of every device that is set or that an entry wants."""
        settings = self.settings()
        names = {*settings.slots, *(e.slot for e in self.entries() if not e.state.over)}
        return {name: settings.slots_of(name) for name in sorted(names)}

    @property
    def paused(self) -> bool:
        """Whether nothing new is started."""
        return self.settings().paused

    def problems(self) -> list[str]:
        """Files that could not be used, in words; empty is usual."""
        aside = self.folder / "damaged"
        try:
            names = sorted(os.listdir(aside))  # noqa: PTH208 - asked twice a second
        except OSError:  # there is none, as usual
            names = []
        found = [f"{name} is damaged and was set aside in {aside}" for name in names]
        return found + [
            f"{name} cannot be read: {why}" for name, why in [*self._unreadable.items()]
        ]

    def path(self, id: str) -> Path:  # noqa: A002
        """The file of an entry."""
        return self.folder / f"{id}.toml"

    def _files(self) -> list[Path]:
        try:
            names = os.listdir(self.folder)  # noqa: PTH208 - hidden temporary files are no entries
        except FileNotFoundError:
            return []
        except OSError as error:
            self._unreadable["queue"] = str(error)
            return []
        chosen = [n for n in names if n.endswith(".toml") and n[0] != "." and n != _SETTINGS]
        for gone in self._read.keys() - set(chosen):
            self._read.pop(gone, None)  # threads of the app look, too
        return [self.folder / name for name in chosen]

    def _entry(self, path: Path) -> QueueEntry | None:
        try:
            about = path.stat()
            seen = (about.st_mtime_ns, about.st_size, about.st_ino)
            known = self._read.get(path.name)
            if known is not None and known[0] == seen:
                return known[1]
            entry = QueueEntry.model_validate(read_toml(path))
            if entry.id != path.stem:
                raise ValueError(f"it says that it is {entry.id}")
        except FileNotFoundError:
            return None
        except OSError as error:
            self._unreadable[path.name] = error.strerror or str(error)
            return None
        except (ValueError, ValidationError) as error:
            self._set_aside(path, error)
            return None
        self._unreadable.pop(path.name, None)
        self._read[path.name] = (seen, entry)
        return entry

    def _set_aside(self, path: Path, error: Exception) -> None:
        log.error("the queue file %s is damaged: %s", path, error)
        try:
            aside = self.folder / "damaged"
            aside.mkdir(exist_ok=True)
            target, number = aside / path.name, 1
            while target.exists():
                number += 1
                target = aside / f"{path.stem}-{number}.toml"
            path.rename(target)
        except FileNotFoundError:
            return  # another program was quicker
        except OSError as problem:
            self._unreadable[path.name] = f"it is damaged ({problem.strerror or problem})"

    def write(self, entry: QueueEntry) -> QueueEntry:
        """Replace its file. Raises EnvironmentProblem."""
        table = entry.model_dump(mode="json", exclude_none=True)
        # TOML knows no None, and an option may be one.
        table["options"] = {k: v for k, v in entry.options.items() if v is not None}
        try:
            write_toml(self.path(entry.id), table)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        return entry

    def write_settings(self, settings: QueueSettings) -> None:
        """Likewise."""
        try:
            write_toml(
                self.folder / _SETTINGS, {"paused": settings.paused, "slots": settings.slots}
            )
        except OSError as error:
            raise cannot_write(self.folder, error) from error

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock of everybody who writes, for a moment."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.folder / "write.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        try:
            with contextlib.suppress(OSError):  # a disk without locks: each file is whole anyway
                fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def cannot_write(folder: Path, error: OSError) -> EnvironmentProblem:
    """What the user is told when the disk refuses."""
    return EnvironmentProblem(
        f"the queue cannot be written: {error.strerror or error}",
        where=folder,
        hint="free some space, or check the rights of the folder",
    )

"""Living runs that are not the queue's own: they take slots and hold models, too."""

from dataclasses import dataclass
from pathlib import Path

from recaster_tui.errors import RecasterError
from recaster_tui.protocol import read_run_spec
from recaster_tui.supervisor.history import History, RunRecord
from recaster_tui.supervisor.launcher import Launcher
from recaster_tui.supervisor.queue_device import device_of
from recaster_tui.supervisor.run import parse_process


@dataclass(frozen=True)
class Neighbour:
    """A living run, of the queue or not."""

    run_id: str
    device: str
    model_folder: Path
    name: str


class Neighbours:
    """The living runs of this machine, by the history: each program that starts one records it."""

    def __init__(self, data_dir: Path, launcher: Launcher) -> None:
        self._history = History(data_dir)
        self._launcher = launcher
        self._changed = -1
        self._known: dict[str, tuple[int, RunRecord | None]] = {}
        self._devices: dict[str, str] = {}

    async def living(self) -> list[Neighbour]:
        """Every run whose trainer is there. Only records that changed are read."""
        self._read_news()
        found = []
        for record in [r for _, r in self._known.values() if r is not None]:
            if not await self._lives(record):
                continue
            folder = Path(record.workspace) / "model"
            found.append(
                Neighbour(
                    record.run_id,
                    self._device(record),
                    folder / f"{record.model_name}.{record.model_class}",
                    record.model_name,
                )
            )
        return found

    def _read_news(self) -> None:
        """Records are replaced by renames, which the folder's own time tells of."""
        try:
            changed = self._history.folder.stat().st_mtime_ns
            if changed == self._changed:
                return
            times = {p.stem: p.stat().st_mtime_ns for p in self._history.folder.glob("*.toml")}
        except OSError:
            return  # one was removed just now: at the next look
        self._changed = changed
        for gone in self._known.keys() - times.keys():
            del self._known[gone]
        for run_id, written in times.items():
            if run_id not in self._known or self._known[run_id][0] != written:
                record = self._history.get(run_id)
                live = record if record is not None and record.state.live else None
                self._known[run_id] = (written, live)

    async def _lives(self, record: RunRecord) -> bool:
        try:
            process, _ = parse_process(record.folder.process.read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return bool(await self._launcher.alive(process, record.run_id))

    def _device(self, record: RunRecord) -> str:
        if record.device.get("kind") == "cpu":  # whatever was asked for, that is what it took
            return "cpu"
        if record.run_id not in self._devices:
            try:
                wanted = read_run_spec(record.folder.spec).device
            except RecasterError:
                wanted = "auto"
            self._devices[record.run_id] = device_of(wanted)
        return self._devices[record.run_id]

"""A trainer that is a script: writes a run folder, answers commands, is no process."""

import asyncio
import shutil
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from recaster_tui.options import ModelClass, defaults
from recaster_tui.protocol import (
    LOSS_DTYPE,
    Event,
    EventType,
    RunFolder,
    RunSpec,
    append_losses,
    decode_command,
    encode_event,
    write_run_spec,
)
from recaster_tui.supervisor import ProcessId
from recaster_tui.workspace import Workspace, open_workspace

NOW = 1_795_000_000.0


def make_workspace(root: Path) -> Workspace:
    for side in ("src", "dst"):
        (root / f"data_{side}" / "aligned").mkdir(parents=True)
    return open_workspace(root)


class ScriptedTrainer:
    """One run folder, written event by event."""

    def __init__(
        self,
        workspace: Workspace,
        run_id: str = "20261122T153000-saehd-3f2a",
        model: ModelClass = ModelClass.SAEHD,
        options: dict[str, Any] | None = None,
        name: str = "anna-to-bert",
        target: int = 100_000,
        created: float = NOW - 4000,
    ) -> None:
        self.folder = RunFolder(workspace.runs / run_id)
        self.folder.root.mkdir(parents=True)
        values = defaults(model).model_dump() | {"target_iterations": target} | (options or {})
        self.spec = RunSpec(
            run_id=run_id,
            created=created,
            model_name=name,
            model_class=model,
            options=values,
            target_iterations=target,
        )
        write_run_spec(self.folder.spec, self.spec)
        self.seq = 0
        self.iteration = 0
        self.alive = True
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.deaf = False

    def say(self, kind: EventType, t: float = NOW, **data: Any) -> None:
        self.seq += 1
        with self.folder.journal.open("ab") as file:
            file.write(encode_event(Event(self.seq, t, str(kind), data)))

    def hello(self, iteration: int = 0, **more: Any) -> None:
        self.iteration = iteration
        device = {"kind": "cpu", "name": "CPU (2 cores)"}
        self.say(
            EventType.HELLO,
            t=NOW - 3900,
            pid=4242,
            started=NOW - 4000,
            host=socket.gethostname(),
            device=device,
            iteration=iteration,
            resumed=iteration > 0,
            **more,
        )

    def train(self, count: int, *, seed: int = 0, single: bool = False) -> None:
        """*count* iterations at once with curves that fall."""
        rng = np.random.default_rng(seed)
        rows = np.zeros(count, LOSS_DTYPE)
        rows["iteration"] = np.arange(self.iteration + 1, self.iteration + count + 1)
        x = rows["iteration"].astype(float)
        for key, level, top in (("src", 0.24, 1.7), ("dst", 0.33, 1.9)):
            curve = level + top / (1 + x / 900) ** 0.8
            rows[key] = curve * (1 + 0.09 * rng.standard_normal(count))
        if single:
            rows["dst"] = np.nan
        rows["ms"] = 81.4
        append_losses(self.folder.losses, rows)
        self.say(EventType.PHASE, phase="training", text="", t=NOW - 3800)
        last = [float(rows["src"][-1])] if single else [float(rows[k][-1]) for k in ("src", "dst")]
        self.iteration += count
        self.say(
            EventType.ITERATIONS,
            first=self.iteration,
            rows=[last],
            ms=81.4,
            its=12.3,
            data_share=0.04,
        )
        self.say(
            EventType.METRICS, cpu=87.0, ram=3.2 * 2**30, ram_total=16 * 2**30, learning_rate=5e-5
        )

    def preview(self, iteration: int | None = None, *, tile: int = 128, rows: int = 4) -> None:
        at = self.iteration if iteration is None else iteration
        views = []
        columns = ("src", "src-src", "dst", "dst-dst", "swap")
        for index, view in enumerate(("plain", "warped", "masked")):
            path = self.folder.previews / f"{at:07d}" / f"{view}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            sheet = Image.new("RGB", (tile * len(columns), tile * rows))
            for row in range(rows):
                for column in range(len(columns)):
                    face = _face(tile, row, column, index)
                    sheet.paste(face, (column * tile, row * tile))
            sheet.save(path, quality=92)
            file = path.relative_to(self.folder.root).as_posix()
            views.append({"view": view, "file": file, "columns": columns, "rows": rows})
        self.say(EventType.PREVIEW, iteration=at, views=views, t=NOW - 12)

    def answer(self, line: bytes) -> None:
        """Obey at once, as the real one does within a tenth of a second."""
        command = decode_command(line)
        self.commands.append((command.cmd, command.args))
        if self.deaf:
            return
        match command.cmd:
            case "pause":
                self.say(EventType.PHASE, phase="paused", text="paused")
            case "resume":
                self.say(EventType.PHASE, phase="training", text="")
            case "save":
                self.say(EventType.SAVED, iteration=self.iteration, generation="g", bytes=1000)
            case "set":
                self.say(EventType.OPTION, iteration=self.iteration, **command.args)
            case "stop":
                self.say(EventType.ACK, id=command.id, ok=True)
                self.done("stopped")
                return
        self.say(EventType.ACK, id=command.id, ok=True)

    def done(self, outcome: str, message: str = "") -> None:
        self.say(
            EventType.DONE,
            outcome=outcome,
            iteration=self.iteration,
            saved=self.iteration,
            message=message,
        )
        self.alive = False


def _face(tile: int, row: int, column: int, view: int) -> Image.Image:
    source = column < 2
    skin = (224, 172, 140) if source else (150, 104, 78)
    ground = (52, 74, 96) if source else (88, 66, 54)
    if view == 2 and column % 2:
        ground = (0, 0, 0)
    image = Image.new("RGB", (tile, tile), ground)
    pen = ImageDraw.Draw(image)
    t = tile / 128
    dx = (row - 1.5) * 5 * t + (4 * t if view == 1 else 0)

    def oval(x: float, y: float, rx: float, ry: float, fill: tuple[int, int, int]) -> None:
        x, y, rx, ry = x * t + dx, y * t, rx * t, ry * t
        pen.ellipse((x - rx, y - ry, x + rx, y + ry), fill=fill)

    oval(64, 58, 52, 58, (60, 40, 26) if source else (24, 20, 20))
    oval(64, 70, 42, 54, skin)
    for x in (46, 82):
        oval(x, 58, 9, 5, (240, 240, 238))
        oval(x, 58, 4, 4, (46, 84, 120) if source else (40, 24, 16))
    oval(64, 78, 6, 9, tuple(max(0, c - 26) for c in skin))  # type: ignore[arg-type]
    oval(64, 100, 17, 5 + row, (170, 70, 74))
    return image


class ScriptedLauncher:
    """Answers the supervisor's five questions from scripts instead of processes."""

    def __init__(self, *trainers: ScriptedTrainer) -> None:
        self.trainers = {t.folder.root: t for t in trainers}
        self.started: list[Path] = []
        self.signals: list[int] = []

    async def start(self, command: Sequence[str], *, log: Path, cwd: Path) -> ProcessId:
        self.started.append(Path(command[-1]))
        return ProcessId(4242, NOW - 4000, socket.gethostname())

    async def read(self, path: Path, offset: int, limit: int) -> bytes:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size + offset) if offset < 0 else offset)
            return file.read(limit)

    async def append(self, path: Path, line: bytes) -> None:
        with path.open("ab") as file:
            file.write(line)
        if path.parent in self.trainers:
            self.trainers[path.parent].answer(line)
        await asyncio.sleep(0)

    async def copy(self, source: Path, target: Path) -> None:
        shutil.copyfile(source, target)

    async def alive(self, process: ProcessId, marker: str = "") -> bool | None:
        alive = [t.alive for root, t in self.trainers.items() if root.name == marker]
        return alive[0] if alive else any(t.alive for t in self.trainers.values())

    async def room(self, path: Path) -> int | None:
        return None

    async def signal(self, process: ProcessId, number: int) -> bool:
        self.signals.append(number)
        living = [t for t in self.trainers.values() if t.alive]
        if number == signal.SIGKILL:
            for trainer in living:
                trainer.alive = False
        return bool(living)

    def exit_note(self, process: ProcessId) -> str:
        return ""

"""A process that speaks the run protocol at a steady rate without training anything.

``bench ui`` needs a run that streams 20 iterations a second over a long history on any machine;
a real trainer would fight the screen for the cores that are being measured. It writes what a
trainer writes, nothing of it claims to be a result: the run is named ``bench``.
"""

import argparse
import math
import os
import platform
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import psutil

from recaster_tui.protocol import (
    LOSS_DTYPE,
    Event,
    EventType,
    Outcome,
    Phase,
    RunFolder,
    append_losses,
    decode_command,
    encode_event,
    write_losses,
)
from recaster_tui.protocol.losses import loss_rows

_VIEWS = ("src-src", "dst-dst", "swap")


def synthetic_losses(count: int, first: int = 1) -> np.ndarray:
    """*count* rows that fall like a training curve does, with noise and a few spikes."""
    iteration = np.arange(first, first + count, dtype=np.float64)
    rng = np.random.default_rng(first)
    rows = np.zeros(count, LOSS_DTYPE)
    rows["iteration"] = iteration
    for name, top in (("src", 3.0), ("dst", 2.4)):
        curve = 0.25 + top / (1 + iteration / 800) ** 0.6
        rows[name] = curve * (1 + 0.08 * rng.standard_normal(count))
    rows["ms"] = 50.0
    return rows


def main() -> None:
    """Write a journal until told to stop (``stop`` command, SIGTERM) or *--seconds* have passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--history", type=int, default=500_000)
    parser.add_argument("--rate", type=float, default=20.0, help="iterations a second")
    parser.add_argument("--seconds", type=float, default=600.0)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(0)))
    _Stream(RunFolder(args.folder)).run(args.history, args.rate, args.seconds)


class _Stream:
    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.seq = 0
        self.control_offset = 0
        self.paused = False
        self.stopping = False

    def say(self, kind: EventType, **data: object) -> None:
        self.seq += 1
        line = encode_event(Event(self.seq, time.time(), kind.value, data))
        fd = os.open(self.folder.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.write(fd, line)
        os.close(fd)

    def run(self, history: int, rate: float, seconds: float) -> None:
        process = psutil.Process()
        write_losses(self.folder.losses, synthetic_losses(history))
        self.say(
            EventType.HELLO,
            protocol=1,
            pid=process.pid,
            started=process.create_time(),
            device={"kind": "cpu", "name": "none (bench stream)"},
            host=platform.node(),
            python=platform.python_version(),
            model="bench",
            iteration=history,
            resumed=True,
        )
        self.say(EventType.PHASE, phase=Phase.TRAINING.value, text="streaming")
        iteration, began, last_preview = history, time.monotonic(), 0.0
        batch = max(1, round(rate / 4))
        while time.monotonic() - began < seconds and not self.stopping:
            time.sleep(batch / rate)
            self.obey()
            if self.paused:
                continue
            losses = [
                [0.3 + 0.02 * math.sin((iteration + i) / 9), 0.28 + 0.02 * math.cos(iteration + i)]
                for i in range(batch)
            ]
            append_losses(self.folder.losses, loss_rows(iteration + 1, losses, 1000 / rate))
            self.say(
                EventType.ITERATIONS,
                first=iteration + 1,
                rows=losses,
                ms=1000 / rate,
                its=rate,
                data_share=0.04,
            )
            iteration += batch
            if time.monotonic() - last_preview > 30:
                last_preview = time.monotonic()
                self.preview(iteration)
        self.say(
            EventType.DONE, outcome=Outcome.STOPPED.value, iteration=iteration, saved=iteration
        )

    def obey(self) -> None:
        try:
            with self.folder.control.open("rb") as file:
                file.seek(self.control_offset)
                lines = file.read()
        except FileNotFoundError:
            return
        self.control_offset += len(lines)
        for line in lines.splitlines():
            command = decode_command(line)
            if command.cmd in ("pause", "resume"):
                self.paused = command.cmd == "pause"
                phase = Phase.PAUSED if self.paused else Phase.TRAINING
                self.say(EventType.PHASE, phase=phase.value)
            self.stopping = self.stopping or command.cmd == "stop"
            self.say(EventType.ACK, id=command.id, ok=True)

    def preview(self, iteration: int) -> None:
        folder = self.folder.previews / f"{iteration:07d}"
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(iteration)
        views = []
        for name in _VIEWS:
            small = rng.integers(0, 255, (16, 8, 3), np.uint8)
            cv2.imwrite(str(folder / f"{name}.jpg"), cv2.resize(small, (192, 384)))
            file = (folder / f"{name}.jpg").relative_to(self.folder.root).as_posix()
            views.append({"view": name, "file": file, "columns": ["input", "output"], "rows": 4})
        self.say(EventType.PREVIEW, iteration=iteration, views=views)


if __name__ == "__main__":
    main()

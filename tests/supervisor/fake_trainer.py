"""A trainer without a model: speaks the protocol as the real one does, learns nothing.

Behaviour by environment: FAKE_STEP (seconds an iteration), FAKE_CRASH (text of an exception
before the first iteration), FAKE_FATAL (message of a fatal error event), FAKE_DEAF=1 (commands
are never read; FAKE_DEAF=save: from the first save on), FAKE_STUBBORN=1 (SIGTERM means nothing),
FAKE_LINGER (seconds its process stays after its last word), FAKE_SLOW_START (seconds before the
first word).
"""

import os
import signal
import socket
import sys
import time
from pathlib import Path

import numpy as np
import psutil

from recaster_tui.protocol import (
    Event,
    RunFolder,
    append_losses,
    decode_command,
    decode_event,
    encode_event,
    read_losses,
    read_run_spec,
    write_losses,
)
from recaster_tui.protocol.losses import loss_rows


class Fake:
    def __init__(self, root: Path) -> None:
        self.folder = RunFolder(root)
        self.spec = read_run_spec(self.folder.spec)
        self.seq = 0
        if self.folder.journal.exists():
            lines = self.folder.journal.read_bytes().splitlines()
            self.seq = decode_event(lines[-1]).seq if lines else 0
        self.control = self.folder.control.stat().st_size if self.folder.control.exists() else 0
        self.iteration = self.saves = 0
        self.stop = False
        self.paused = False
        stubborn = os.environ.get("FAKE_STUBBORN")
        signal.signal(signal.SIGTERM, lambda *_: None if stubborn else setattr(self, "stop", True))

    def say(self, kind: str, **data: object) -> None:
        self.seq += 1
        fd = os.open(self.folder.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.write(fd, encode_event(Event(self.seq, time.time(), kind, dict(data))))
        os.close(fd)

    def obey(self) -> None:
        deaf = os.environ.get("FAKE_DEAF")
        if (deaf and (deaf != "save" or self.saves)) or not self.folder.control.exists():
            return
        raw = self.folder.control.read_bytes()[self.control :]
        whole = raw[: raw.rfind(b"\n") + 1]
        self.control += len(whole)
        for line in whole.splitlines():
            command = decode_command(line)
            ok, message = True, ""
            match command.cmd:
                case "pause":
                    self.paused = True
                    self.say("phase", phase="paused", text="paused")
                case "resume":
                    self.paused = False
                    self.say("phase", phase="training", text="")
                case "save":
                    self.save()
                case "backup":
                    note = command.args.get("note")
                    self.say("backup", iteration=self.iteration, note=note, generation="g")
                case "set":
                    key, value = command.args["key"], command.args["value"]
                    self.say("option", key=key, value=value, iteration=self.iteration)
                case "stop":
                    self.stop = True
                case _:
                    ok, message = False, "unknown command"
            self.say("ack", id=command.id, ok=ok, message=message)

    def save(self) -> None:
        self.saves += 1
        self.say("phase", phase="saving", text="saving")
        self.say("saved", iteration=self.iteration, generation=str(self.iteration), bytes=1000,
                 seconds=0.0, sha256="0" * 64)  # fmt: skip

    def run(self) -> None:
        time.sleep(float(os.environ.get("FAKE_SLOW_START", "0")))
        before = read_losses(self.folder.losses)
        write_losses(self.folder.losses, before)
        self.iteration = int(before["iteration"][-1]) if len(before) else 0
        self.say(
            "hello", protocol=1, pid=os.getpid(), started=psutil.Process().create_time(),
            host=socket.gethostname(), device={"kind": "cpu", "name": "fake"},
            iteration=self.iteration, resumed=self.iteration > 0, recaster="0", torch="none",
        )  # fmt: skip
        if text := os.environ.get("FAKE_CRASH"):
            raise RuntimeError(text)
        if text := os.environ.get("FAKE_FATAL"):
            self.say("error", code=os.environ.get("FAKE_CODE", "x"), message=text, fatal=True)
            self.say("done", outcome="failed", iteration=0, saved=0, message="")
            return
        self.say("progress", what="faces src", current=3, total=3, unit="faces", text="loading")
        self.say("phase", phase="training", text="")
        target = self.spec.target_iterations
        step = float(os.environ.get("FAKE_STEP", "0.005"))
        while not self.stop and not (target and self.iteration >= target):
            self.obey()
            if self.paused:
                time.sleep(0.01)
                continue
            time.sleep(step)
            self.iteration += 1
            loss = 4.0 * np.exp(-self.iteration / 500)
            append_losses(
                self.folder.losses, loss_rows(self.iteration, [[loss, loss / 2]], 1000 * step)
            )
            self.say("iterations", first=self.iteration, rows=[[loss, loss / 2]], ms=1000 * step,
                     its=1 / step, data_share=0.1)  # fmt: skip
        self.say("phase", phase="stopping", text="")
        self.save()
        outcome = "stopped" if self.stop else "finished"
        self.say("done", outcome=outcome, iteration=self.iteration, saved=self.iteration,
                 message="")  # fmt: skip
        time.sleep(float(os.environ.get("FAKE_LINGER", "0")))


if __name__ == "__main__":
    Fake(Path(sys.argv[1])).run()

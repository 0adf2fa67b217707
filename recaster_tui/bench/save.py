"""``recaster bench save``: what a save costs the training that goes on meanwhile.

The real trainer (loop, saver, data path) on a small demo workspace and a SAEHD model whose
weights and optimizer are 100 MB together. Only the moments at which iterations begin are noted;
a save is asked for every few of them, by the control file, as a user would.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from recaster_tui.bench.report import Row, median_row, percentile
from recaster_tui.demo import make_demo
from recaster_tui.options import ModelClass, defaults
from recaster_tui.protocol import (
    Command,
    CommandName,
    Event,
    RunFolder,
    RunSpec,
    decode_event,
    encode_command,
    write_run_spec,
)
from recaster_tui.training.models import build_model
from recaster_tui.training.models.base import Batch, StepResult, TrainableModel
from recaster_tui.training.start import start

SAVES = 20
CALM = 5
"""Iterations between the end of a save and the next one: they say what an iteration takes."""
AUTOSAVE = 30.0
_WARM_UP = 5
_FACES = 24
_OPTIONS = {
    "resolution": 96,
    "autoencoder_dims": 56,
    "encoder_dims": 28,
    "decoder_dims": 28,
    "mask_decoder_dims": 16,
    "batch_size": 4,
    "autosave_seconds": 3600,
    "backup_hours": 0.0,
    "preview_seconds": 0,
    "held_out_percent": 0.0,
    "seed": 7,
}


def measure(rounds: int = SAVES, device: str = "auto") -> list[Row]:
    """All rows; takes a minute or two. *rounds* is the number of saves."""
    with tempfile.TemporaryDirectory(prefix="recaster-bench-") as name:
        workspace = Path(name)
        sys.stderr.write("making faces to train on ...\n")
        make_demo(workspace, faces=_FACES, video_seconds=2)
        folder = _make_run(workspace, device)
        clock = _Timed(folder, rounds)
        sys.stderr.write(f"training, with {rounds} saves ...\n")
        code = start(folder.root, build_model=clock.build)
        events = [decode_event(line) for line in folder.journal.read_bytes().splitlines()]
        if code or len(clock.asked) < rounds:
            raise RuntimeError(f"the trainer ended with {code}: {events[-1].data}")
        return _rows(clock, events)


def _make_run(workspace: Path, device: str) -> RunFolder:
    known = defaults(ModelClass.SAEHD).model_dump()
    options = known | {key: value for key, value in _OPTIONS.items() if key in known}
    folder = RunFolder(workspace / "runs" / "bench")
    folder.root.mkdir(parents=True)
    spec = RunSpec(
        run_id="bench",
        created=time.time(),
        model_name="bench",
        model_class=ModelClass.SAEHD,
        options=options,
        device=device,
    )
    write_run_spec(folder.spec, spec)
    return folder


class _Timed:
    """Notes when iterations begin, and asks for saves.

    Attributes:
        begun: ``time.perf_counter`` of the first moment of each step.
        asked: for each save, the position in *begun* of the step before which it is copied.
    """

    def __init__(self, folder: RunFolder, rounds: int) -> None:
        self.begun: list[float] = []
        self.asked: list[int] = []
        self.bytes = 0
        self._folder, self._rounds = folder, rounds
        self._saved, self._read, self._calm = 0, 0, -_WARM_UP

    def build(self, *args: Any, **kwargs: Any) -> TrainableModel:
        """The real model, looked over the shoulder."""
        model = build_model(*args, **kwargs)
        step = model.train_step

        def train_step(batch: Batch) -> StepResult:
            if torch.cuda.is_available():
                torch.cuda.synchronize()  # a queue of work would hide where the time goes
            self.begun.append(time.perf_counter())
            self._ask()
            return step(batch)

        model.train_step = train_step  # type: ignore[method-assign]
        return model

    def _ask(self) -> None:
        """Ask for the next save some iterations after the last has been written."""
        with self._folder.journal.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        self._read += len(new)
        self._saved += new.count(b'"type":"saved"')
        # The trainer saves the first iteration by itself.
        if self._saved <= len(self.asked):
            self._calm = min(self._calm, 0)
            return
        self._calm += 1
        if self._calm <= CALM:
            return
        self._calm = 0
        last = len(self.asked) == self._rounds
        name, where = (CommandName.STOP, {"save": False}) if last else (CommandName.SAVE, {})
        if not last:
            self.asked.append(len(self.begun))  # the next step comes after the copying
        with self._folder.control.open("ab") as file:
            file.write(encode_command(Command(f"c{len(self.begun)}", name, dict(where))))


def _saves(events: list[Event]) -> Iterator[Event]:
    saved = [event for event in events if event.type == "saved"]
    yield from saved[1:]


def _rows(clock: _Timed, events: list[Event]) -> list[Row]:
    gaps = [b - a for a, b in zip(clock.begun, clock.begun[1:], strict=False)]
    seconds = [float(event.data["seconds"]) for event in _saves(events)]
    megabytes = [int(event.data["bytes"]) / 1e6 for event in _saves(events)]
    stalls, losses, calm = [], [], []
    ends = [
        next((i for i, t in enumerate(clock.begun) if t > clock.begun[at] + took), len(gaps))
        for at, took in zip(clock.asked, seconds, strict=False)
    ]
    busy = {i for at, end in zip(clock.asked, ends, strict=False) for i in range(at - 1, end + 1)}
    calm = [gap for i, gap in enumerate(gaps) if i > _WARM_UP and i not in busy]
    usual = statistics.median(calm)
    for at, end in zip(clock.asked, ends, strict=False):
        # The copy is made between the steps at - 1 and at; the writing goes on until end.
        stalls.append(gaps[at - 1] - usual)
        losses.append(sum(gaps[i] - usual for i in range(at - 1, min(end, len(gaps)))))
    iteration = 1000.0 * usual
    spread = f"{iteration:,.0f} ms, 10-90 %: {1000 * percentile(calm, 0.1):,.0f} to "
    spread += f"{1000 * percentile(calm, 0.9):,.0f}"
    whole = [1000.0 * value for value in losses]
    return [
        Row("an iteration, no save going on", iteration, "ms", None, len(calm), spread),
        Row("size of a save", statistics.median(megabytes), "MB", None, len(megabytes)),
        median_row("from copy to verified on disk", seconds, "s"),
        median_row(
            "stall: the iteration with the copy is longer by",
            [1000.0 * value for value in stalls],
            "ms",
            iteration,
            "budget: one iteration",
        ),
        Row("the same, 95 %", 1000.0 * percentile(stalls, 0.95), "ms", None, len(stalls)),
        median_row(
            "all time lost until it is written",
            whole,
            "ms",
            iteration,
            "budget: one iteration",
        ),
        Row("the same, 95 %", percentile(whole, 0.95), "ms", None, len(whole)),
        Row(
            "share of the time at an autosave every 30 s",
            100.0 * statistics.median(losses) / AUTOSAVE,
            "%",
        ),
    ]


def main() -> None:
    """For a machine without the command line: ``python -m recaster_tui.bench.save [DEVICE]``."""
    from recaster_tui.bench.report import print_report

    rows = measure(device=sys.argv[1] if len(sys.argv) > 1 else "auto")
    sys.exit(print_report("Saving while training goes on", rows, as_json=False))


if __name__ == "__main__":
    main()

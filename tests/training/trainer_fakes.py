"""A tiny model and data source that keep the trainer's contract, for tests of the process.

The "network" is a vector that Adam pulls to a target, without randomness: the loss of an
iteration depends on weights and optimizer state only, so a resumed run must give exactly the
losses of an uninterrupted one.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recaster_tui.errors import DamagedError
from recaster_tui.options import ModelClass, defaults
from recaster_tui.protocol import (
    Command,
    Event,
    RunFolder,
    RunSpec,
    decode_event,
    encode_command,
    write_run_spec,
)
from recaster_tui.training.failures import TornUpdateError
from recaster_tui.training.models.base import Batch, DataNeeds, PreviewView, SideBatch, StepResult

SIZE = 8


def _steps(name: str) -> set[int]:
    return {int(v) for v in os.environ.get(name, "").split(",") if v}


def _set_clock(seconds: int) -> None:
    """All this process sees of the time of day is another one from now on."""
    real, local = time.time, time.localtime
    time.time = lambda: real() + seconds
    time.localtime = lambda at=None: local(time.time() if at is None else at)


class FakeModel:
    """Options of SAEHD; ``FAKE_NAN`` = "12,13" makes these steps fail, the first time each.

    At the steps ``FAKE_OOM`` memory runs out in the forward pass, at ``FAKE_TORN`` in the update.
    ``FAKE_CLOCK`` = "40,-3600" sets the time of day back by an hour at step 40.
    """

    model_class = ModelClass.SAEHD
    loss_names = ("src", "dst")

    def __init__(self, *_: Any, **__: Any) -> None:
        torch.set_num_threads(1)
        self.network = nn.Linear(16, 4)
        with torch.no_grad():
            for p in self.network.parameters():
                p.zero_()
        self.networks: Mapping[str, nn.Module] = {"line": self.network}
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.01)
        self.needs = DataNeeds(SIZE, "full", 2)
        self.steps = 0
        self.pieces = 1
        self.nan_at = _steps("FAKE_NAN")
        self.oom_at, self.torn_at = _steps("FAKE_OOM"), _steps("FAKE_TORN")
        self.seconds = float(os.environ.get("FAKE_STEP", "0"))
        self.clock_at = [int(v) for v in os.environ.get("FAKE_CLOCK", "0,0").split(",")]

    def wants_batch(self) -> bool:
        return True

    def train_step(self, batch: Batch) -> StepResult:
        self.steps += 1
        if self.seconds:
            time.sleep(self.seconds)
        if self.steps == self.clock_at[0]:
            _set_clock(self.clock_at[1])
        if self.steps in self.oom_at:
            self.pieces *= 2
        if self.steps in self.torn_at:
            with torch.no_grad():
                self.network.weight.fill_(7.0)
            raise TornUpdateError("out of memory")
        if self.steps in self.nan_at:
            nan = torch.full((2,), float("nan"))
            return StepResult(nan, nan.expand(2, 2), torch.tensor(False))
        loss = ((self.network(torch.ones(2, 16)) - 1.0) ** 2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        both = torch.stack([loss.detach(), loss.detach() * 2])
        return StepResult(both, both.expand(2, 2), torch.tensor(True))

    def preview(self, batch: Batch, samples: int) -> list[PreviewView]:
        image = np.full((samples * SIZE, 5 * SIZE, 3), 90, np.uint8)
        return [PreviewView("swap", ("a", "b", "c", "d", "e"), image, samples)]

    def state(self) -> dict[str, dict[str, Tensor]]:
        optimizer = {}
        for i, slots in self.optimizer.state_dict()["state"].items():
            optimizer |= {f"{i}/{k}": v for k, v in slots.items()}
        weights = {f"line/{k}": v for k, v in self.network.state_dict().items()}
        return {"weights": weights, "optimizer": optimizer}

    def load_state(self, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor]) -> None:
        if set(weights) != {"line/weight", "line/bias"}:
            raise DamagedError("a weight is missing")
        self.network.load_state_dict({k.removeprefix("line/"): v for k, v in weights.items()})
        table = self.optimizer.state_dict()
        table["state"] = {}
        for key, value in optimizer.items():
            index, slot = key.split("/")
            table["state"].setdefault(int(index), {})[slot] = value.clone()
        self.optimizer.load_state_dict(table)

    def set_option(self, key: str, value: Any) -> None:
        if key == "random_src_flip":
            self.needs = DataNeeds(SIZE, "full", 2, uniform_yaw=bool(value))


class FakeData:
    """Zeros; counts what is asked of it."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.needs: list[DataNeeds] = []
        self.skipped: dict[str, list[Any]] = {"src": [], "dst": []}
        self.taken = 0

    def next_batch(self) -> Batch:
        self.taken += 1
        return self.preview_batch(2)

    def preview_batch(self, n: int) -> Batch:
        image, mask = torch.zeros(n, 3, SIZE, SIZE), torch.zeros(n, 1, SIZE, SIZE)
        side = SideBatch(image, image, mask, mask, mask, torch.arange(n))
        return Batch(side, side)

    def set_needs(self, needs: DataNeeds) -> None:
        self.needs.append(needs)

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self.taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.taken = state["taken"]

    def close(self) -> None: ...


def make_run(workspace: Path, run_id: str = "run-1", **more: Any) -> RunFolder:
    """A run folder that asks for a SAEHD model; *more* goes into the spec."""
    options = defaults(ModelClass.SAEHD).model_dump() | {"seed": 7, "preview_samples": 2}
    options |= more.pop("options", {})
    folder = RunFolder(workspace / "runs" / run_id)
    folder.root.mkdir(parents=True)
    spec = RunSpec(
        run_id=run_id,
        created=1.0,
        model_name="test",
        model_class=ModelClass.SAEHD,
        options=options,
        device="cpu",
        **more,
    )
    write_run_spec(folder.spec, spec)
    return folder


def events(folder: RunFolder) -> list[Event]:
    """The whole journal, which must be whole: every line an event, ``seq`` without a gap."""
    raw = folder.journal.read_bytes()
    assert raw.endswith(b"\n")
    found = [decode_event(line) for line in raw.splitlines()]
    assert [e.seq for e in found] == list(range(1, len(found) + 1))
    return found


def of(found: list[Event], kind: str) -> list[dict[str, Any]]:
    """Payloads of one type."""
    return [e.data for e in found if e.type == kind]


def losses_told(found: list[Event]) -> Iterator[tuple[int, float | None]]:
    """Iteration and source loss from the ``iterations`` events, in order."""
    for data in of(found, "iterations"):
        for i, row in enumerate(data["rows"]):
            yield data["first"] + i, row[0]


def tell(folder: RunFolder, name: str, id_: str, **args: Any) -> None:
    """Append a command."""
    with folder.control.open("ab") as file:
        file.write(encode_command(Command(id_, name, args)))


def model_folder(folder: RunFolder) -> Path:
    """Where :func:`make_run`'s model lies."""
    return folder.root.parent.parent / "model" / "test.saehd"


def manifest_files(generation: Path) -> dict[str, Any]:
    """The files of a generation as its manifest names them."""
    files: dict[str, Any] = json.loads((generation / "manifest.json").read_bytes())["files"]
    return files

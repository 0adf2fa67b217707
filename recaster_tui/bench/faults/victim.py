"""What runs in a process that is going to be killed: the real trainer, or a supervisor.

Nothing of the program is replaced but the time between two autosaves and the width of the network.
What is added: a
:class:`~.fileops.Tap` on the files, and a small mapped file outside the workspace in which the
process leaves what nobody else could know of it afterwards (:class:`Flight`).
"""

import asyncio
import contextlib
import mmap
import os
import struct
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from recaster_tui.bench.faults.fileops import FileOp, Tap

_FLIGHT = struct.Struct("<12d")

SMALL = {"encoder_dims": 4, "autoencoder_dims": 8, "decoder_dims": 4, "mask_decoder_dims": 4}
"""Widths of the trainer's SAEHD, smaller than the form offers: what is tested is not learning."""


@dataclass(frozen=True)
class Orders:
    """How a process is to die, and what is different in it.

    Attributes:
        flight: file of its :class:`Flight`.
        root: folder whose files are watched: the workspace, or the history.
        autosave: seconds between saves instead of the options'.
        place: kind of operation that is counted, see :func:`place_of`; empty = never stop.
        count: die before this one (counting from 1); writes that follow one another into one
            file count as one.
        torn: where that is a write: so many of them are let through, the next is cut in half;
            -1 = die before the first.
        after: count only from when these words were written to a journal, or from the step that
            gives NaN: ``@nan``.
        nan_at: the step of this process, from 1, that gives NaN; 0 = none.
        log: file for all operations, for a power cut.
    """

    flight: str
    root: str
    autosave: float = 0.3
    place: str = ""
    count: int = 0
    torn: int = -1
    after: str = ""
    nan_at: int = 0
    log: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def of(cls, table: dict[str, Any]) -> "Orders":
        """From JSON."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in table.items() if k in known})


@dataclass(frozen=True)
class FlightData:
    """What a process left behind.

    Attributes:
        trained: the last iteration whose step was done; 0 = none.
        begun: iteration of the save that was started last, ``before`` of the one before it, both
            in this process; 0 = none.
        stops: operations of the kind counted.
        nan: iteration that was made NaN; 0 = none.
        late: the longest time in seconds for which an autosave was due and not begun.
        slowest: the longest time between two iterations, in seconds.
        interval: seconds between autosaves at the end, stretched by the write budget.
    """

    trained: int
    begun: int
    before: int
    stops: int
    nan: int
    late: float
    slowest: float
    interval: float


class Flight:
    """Numbers in a mapped file: they stay when the process is killed."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(_FLIGHT.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _FLIGHT.size)
        self.values = [0.0] * 12

    def write(self, **values: float) -> None:
        """Set some of the numbers of :class:`FlightData`."""
        for name, value in values.items():
            self.values[_PLACES[name]] = value
        _FLIGHT.pack_into(self._map, 0, *self.values)


_COUNTS = {"trained": 0, "begun": 1, "before": 2, "stops": 3, "nan": 4}
_SECONDS = {"late": 8, "interval": 9, "slowest": 10}
_PLACES = _COUNTS | _SECONDS


def read_flight(path: Path) -> FlightData:
    """What a process left; zeros where it left nothing."""
    try:
        values = _FLIGHT.unpack(path.read_bytes())
    except (OSError, struct.error):
        values = (0.0,) * 12
    counts = {name: int(values[place]) for name, place in _COUNTS.items()}
    return FlightData(**counts, **{name: values[place] for name, place in _SECONDS.items()})


def place_of(op: FileOp, root: str) -> set[str]:
    """What an operation belongs to: ``save``, ``rollback``, ``backup``, ``snapshot`` … and
    always ``any``."""
    parts = Path(op.path).relative_to(root).parts
    found = {"any"}
    if parts[:1] == ("model",) and len(parts) > 2:
        head = parts[2].removeprefix(".")
        if head.startswith(("CURRENT", "GOOD")):
            found.add("save" if op.thread == "saver" else "rollback")
        elif head == "generations" and op.thread == "saver":
            found.add("save")
        elif head in ("backups", "snapshots"):
            found.add(head.removesuffix("s"))
    elif parts[:1] == ("runs",) and len(parts) > 2:
        name = parts[2].lstrip(".")
        for word in ("journal", "losses", "previews"):
            if name.startswith(word):
                found.add(word)
    return found


class _Executioner:
    """Counts operations and says when it is time to die."""

    def __init__(self, orders: Orders, flight: Flight) -> None:
        self._orders = orders
        self._flight = flight
        self._root = os.path.realpath(orders.root)
        self._armed = not orders.after
        self._training = False
        self._count = 0
        self._writing = ""  # file that the last counted operation wrote to
        self._left = -1  # whole writes until the torn one

    def __call__(self, op: FileOp) -> bool | int:
        """See :data:`.fileops.Stop`."""
        orders = self._orders
        if not orders.place:
            return False
        places = place_of(op, self._root)
        if not self._training:
            places.add("start")
        self._armed = self._armed or (orders.after == "@nan" and self._flight.values[4] > 0)
        hit = self._armed and orders.place in places
        if op.kind == "write" and "journal" in places:
            self._armed = self._armed or orders.after.encode() in op.data
            self._training = self._training or b'"phase":"training"' in op.data
        return hit and self._reached(op)

    def _reached(self, op: FileOp) -> bool | int:
        more = op.kind == "write" and op.path == self._writing
        self._writing = op.path if op.kind == "write" else ""
        if self._left >= 0 and not more:
            return True  # there are not so many writes
        if not more:
            self._count += 1
            self._flight.write(stops=self._count)
            if self._count != self._orders.count:
                return False
            if op.kind != "write" or self._orders.torn < 0:
                return True
            self._left = self._orders.torn
        if self._left < 0:
            return False
        self._left -= 1
        return len(op.data) // 2 if self._left < 0 else False


def tapped(orders: Orders) -> Flight:
    """Install the tap; from now on the process may die."""
    flight = Flight(Path(orders.flight))
    stop = _Executioner(orders, flight)
    Tap(Path(orders.root), stop, Path(orders.log) if orders.log else None).install()
    return flight


def train(run_folder: Path, orders: Orders) -> int:
    """The real trainer in *run_folder*, under *orders*; its exit code."""
    from recaster_tui.training.__main__ import configure_log
    from recaster_tui.training.meter import Meter
    from recaster_tui.training.saver import Saver
    from recaster_tui.training.start import start

    configure_log()
    flight = tapped(orders)
    _watch_steps(Meter, flight)
    _watch_saves(Saver, flight, orders.autosave)
    return start(run_folder, build_model=_poisoned(orders.nan_at, flight))


def _watch_steps(meter: Any, flight: Flight) -> None:
    add, last = meter.add, 0.0

    def watched(self: Any, iteration: int, *rest: Any, **more: Any) -> None:
        nonlocal last
        now = time.monotonic()
        slowest = max(flight.values[_PLACES["slowest"]], now - last if last else 0.0)
        flight.write(trained=iteration, slowest=slowest)
        last = now
        add(self, iteration, *rest, **more)

    meter.add = watched


def _watch_saves(saver: Any, flight: Flight, autosave: float) -> None:
    due, start = saver.due, saver.start
    last: dict[str, float] = {}

    def soon(self: Any, seconds: float) -> bool:
        result: bool = due(self, min(seconds, autosave))
        now = time.monotonic()
        if self.busy:
            last["free"] = now
        # What the saver itself says of its interval, and how long after it this answer came.
        interval = max(min(seconds, autosave), float(getattr(self, "_interval_floor", 0.0)))
        ready = max(float(getattr(self, "_last_start", now)) + interval, last.get("free", 0.0))
        late = max(flight.values[_PLACES["late"]], now - ready if result else 0.0)
        flight.write(interval=interval, late=late)
        return result

    def started(self: Any, snapshot: Any, *rest: Any, **more: Any) -> None:
        start(self, snapshot, *rest, **more)
        flight.write(before=flight.values[_PLACES["begun"]], begun=snapshot.iteration)

    saver.due, saver.start = soon, started


def _poisoned(step: int, flight: Flight) -> Callable[..., Any]:
    def build(*arguments: Any, **more: Any) -> Any:
        from dataclasses import replace

        import torch

        from recaster_tui.training.models import build_model

        model_class, options, *rest = arguments
        options = options.model_copy(update=SMALL)
        model: Any = build_model(model_class, options, *rest, **more)
        train_step, count = model.train_step, 0

        def counted(batch: Any) -> Any:
            nonlocal count
            result, count = train_step(batch), count + 1
            if count != step:
                return result
            flight.write(nan=flight.values[_PLACES["trained"]] + 1)
            nan = torch.full_like(result.losses, float("nan"))
            return replace(
                result,
                losses=nan,
                per_sample=nan.expand_as(result.per_sample),
                finite=torch.tensor(False),
            )

        if step:
            model.train_step = counted
        return model

    return build


def watch(data_dir: Path, workspace: Path, orders: Orders) -> int:
    """An app without a screen: repairs the history and follows every run, until it is killed."""
    from recaster_tui.supervisor import Supervisor
    from recaster_tui.workspace import open_workspace

    tapped(orders)

    async def live() -> None:
        async with Supervisor(data_dir) as supervisor:
            supervisor.start_background(open_workspace(workspace))
            await supervisor.ready.wait()
            while True:
                await asyncio.sleep(0.05)
                for run in supervisor.runs():  # an app saves at each new state; we save often
                    record = supervisor._recorders.get(run.run_id)
                    if record is not None:
                        with contextlib.suppress(OSError):
                            await asyncio.to_thread(record.save)

    asyncio.run(live())
    return 0


def begin(data_dir: Path, workspace: Path, name: str, orders: Orders) -> int:
    """An app that starts a run by the real command line, until it is killed."""
    from recaster_tui.bench.faults.line import OPTIONS
    from recaster_tui.options import ModelClass
    from recaster_tui.supervisor import RunRequest, Supervisor
    from recaster_tui.workspace import open_workspace

    async def live() -> None:
        async with Supervisor(data_dir) as supervisor:
            request = RunRequest(ModelClass.SAEHD, OPTIONS, model_name=name, device="cpu")
            tapped(orders)
            await supervisor.start(open_workspace(workspace), request)

    asyncio.run(live())
    return 0

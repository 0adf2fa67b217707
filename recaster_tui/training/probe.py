"""``batch_size = "auto"``: a batch size found by real training steps at their worst.

A second model, thrown away afterwards, is trained on real batches with everything switched on
that can be switched on while training. The batch grows until memory fails or would exceed a safe
share, or until more faces an iteration bring no more faces a second. The model itself, its
optimizer and generators and the order of the faces are untouched by it.
"""

import gc
import hashlib
import json
import logging
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch

from recaster_tui.options import (
    AUTO,
    AutoencoderOptions,
    SaehdOptions,
    TrainingOptions,
    class_of,
    live_problem,
    spec_map,
    with_number,
)
from recaster_tui.protocol import EventType, Phase
from recaster_tui.training.failures import TornUpdateError, is_out_of_memory
from recaster_tui.training.journal import JournalWriter
from recaster_tui.training.memory import Memory, memory_of
from recaster_tui.training.models.base import TrainableModel
from recaster_tui.training.session import DataSource, Session, describe_device

log = logging.getLogger(__name__)

MOST_ON_GPU, MOST_ELSEWHERE = 32, 8

STEADY = 4
"""Up to here only memory decides: with fewer faces learning becomes unsteady, however quick."""

GAIN = 1.05
"""More faces must bring at least this much more speed."""

REPEATS, ENOUGH_SECONDS = 5, 2.0
"""Iterations measured for a size, fewer (but two) where they take so long together."""

MOST_SECONDS = 60.0
"""After so long, no size above :data:`STEADY` is begun."""

STATE_KEY = "auto_batch"
"""Of ``state.toml``: ``{"number": n, "for": conditions}``."""

_LIVE_MATTERS = (
    *("masked_training", "eyes_priority", "mouth_priority", "blur_out_mask"),
    *("color_transfer", "retrain_worst"),
)
_IRRELEVANT = ("seed", "pretrain_faces", "batch_size")

Build = Callable[[TrainingOptions], TrainableModel]


@dataclass(frozen=True)
class Found:
    """What probing found.

    Attributes:
        number: the batch size.
        why: what kept it from being larger: ``memory``, ``speed``, ``time`` or ``limit``.
    """

    number: int
    why: str


def found_number(state: Mapping[str, Any]) -> int | None:
    """What the trainer found for a model with this ``state.toml``, or None."""
    table = state.get(STATE_KEY)
    number = table.get("number") if isinstance(table, dict) else None
    return number if isinstance(number, int) and number > 0 else None


def sizes_for(options: TrainingOptions, device: torch.device) -> list[int]:
    """The batch sizes to try, ascending: 1, 2, 4, 8, 12, 16, … within the option's range."""
    spec = spec_map(class_of(options))["batch_size"]
    most = MOST_ON_GPU if device.type != "cpu" else MOST_ELSEWHERE
    low, high = spec.minimum or 1, min(most, spec.maximum or most)
    return [n for n in (1, 2, 4, *range(8, most + 1, 4)) if low <= n <= high]


def worst_case(options: TrainingOptions) -> TrainingOptions:
    """*options* with all that takes memory and may be switched on while training."""
    on: dict[str, Any] = {}
    if isinstance(options, AutoencoderOptions):
        on = {"loss_function": "ms-ssim+l1", "random_warp": True, "clip_gradients": True}
        on |= {"background_power": options.background_power or 0.1, "learning_rate_dropout": "on"}
        if live_problem(options, "gan_power", 0.1) is None:  # else its patch size does not fit
            on["gan_power"] = options.gan_power or 0.1
    if isinstance(options, SaehdOptions):
        on |= {
            "face_style_power": options.face_style_power or 0.001,
            "background_style_power": options.background_style_power or 0.001,
        }
        if options.parsed_architecture.kind == "df":
            on["true_face_power"] = options.true_face_power or 0.001
    # Unchecked: imported models may have values that a new one could not have.
    return options.model_copy(update=on)


def conditions(run_id: str, device: torch.device, options: TrainingOptions) -> str:
    """A digest of all that a found number depends on: run, device, options that take memory."""
    specs = spec_map(class_of(options))
    values = worst_case(options).model_dump(mode="json")
    relevant = {
        key: value
        for key, value in values.items()
        if key not in _IRRELEVANT and (not specs[key].live or key in _LIVE_MATTERS)
    }
    machine = describe_device(device) | {"ram": psutil.virtual_memory().total}
    text = json.dumps([run_id, machine, relevant], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class AutoBatch:
    """The automatic batch size of one run: finds it, remembers it.

    Attributes:
        wanted: the loop must call :meth:`find` before the next iteration.
    """

    def __init__(
        self,
        session: Session,
        device: torch.device,
        journal: JournalWriter,
        build: Build,
        state: Mapping[str, Any],
    ) -> None:
        self.wanted = False
        self._run_id, self._device = session.spec.run_id, device
        self._journal, self._build = journal, build
        table = state.get(STATE_KEY) if found_number(state) is not None else None
        self._table: dict[str, Any] = dict(table) if isinstance(table, dict) else {}

    def remembered(self, options: TrainingOptions) -> int | None:
        """What was found before in this run, on this device, for these *options*."""
        if self._table.get("for") != conditions(self._run_id, self._device, options):
            return None
        return found_number({STATE_KEY: self._table})

    def state(self) -> dict[str, Any]:
        """For ``state.toml``."""
        return {STATE_KEY: dict(self._table)} if self._table else {}

    def change(self, options: TrainingOptions) -> int | None:
        """The number that *options* mean from now on; None while it must be found first."""
        if options.batch_size != AUTO:
            self.wanted = False
            return options.batch_size
        number = self.remembered(options)
        self.wanted = number is None
        return number

    def find(
        self,
        model: TrainableModel,
        data: DataSource,
        options: TrainingOptions,
        *,
        check: Callable[[], None],
        iteration: int,
    ) -> int:
        """Find the number, remember it, and give it to *model* and *data*.

        Args:
            model: which is to train with it; untouched, but away from the device meanwhile.
            data: of which batches are taken; goes on afterwards as if none had been.
            options: of the run.
            check: called before every step; what it raises ends the probing.
            iteration: for the event.
        """
        self.wanted = False
        self._journal.emit(
            EventType.PHASE, phase=Phase.PROBING_BATCH.value, text="finding the batch size"
        )
        sizes = sizes_for(options, self._device)

        def tell(size: int, place: int) -> None:
            text = f"batch size: trying {size}"
            self._journal.emit(
                EventType.PROGRESS,
                what="batch size",
                current=place,
                total=len(sizes),
                unit="sizes",
                text=text,
            )

        place = data.state_dict()
        try:
            with _untouched_random(), model.away():
                found = self._probe(data, options, sizes, tell, check)
        finally:
            data.set_needs(model.needs)
            data.load_state_dict(place)
        log.info("batch size %d, limited by %s", found.number, found.why)
        self._table = {
            "number": found.number,
            "for": conditions(self._run_id, self._device, options),
        }
        self.use(found.number, model, data, iteration, why=found.why)
        model.pieces = 1  # it fits whole
        return found.number

    def use(
        self, number: int, model: TrainableModel, data: DataSource, iteration: int, *, why: str
    ) -> None:
        """Train with *number* from now on, and say so."""
        needs = model.needs
        model.set_option("batch_size", number)
        if model.needs != needs:
            data.set_needs(model.needs)
        self._journal.emit(
            EventType.OPTION,
            key="batch_size",
            value=number,
            iteration=iteration,
            auto=True,
            why=why,
        )

    def _probe(
        self,
        data: DataSource,
        options: TrainingOptions,
        sizes: Sequence[int],
        tell: Callable[[int, int], None],
        check: Callable[[], None],
    ) -> Found:
        memory = memory_of(self._device)
        trial: TrainableModel | None = None
        try:
            try:
                trial = self._build(with_number(worst_case(options), sizes[0]))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                return Found(sizes[0], "memory")  # what is not switched on yet takes less
            return find_batch_size(trial, data, sizes, memory, tell=tell, check=check)
        finally:
            del trial
            gc.collect()
            if self._device.type == "cuda":
                torch.cuda.empty_cache()


def find_batch_size(
    model: TrainableModel,
    data: DataSource,
    sizes: Sequence[int],
    memory: Memory,
    *,
    tell: Callable[[int, int], None],
    check: Callable[[], None],
    clock: Callable[[], float] = time.perf_counter,
) -> Found:
    """Train *model* (to be thrown away) with growing batches of *data*.

    Args:
        model: with everything on that takes memory.
        data: of which real batches are taken.
        sizes: to try, ascending.
        memory: of the device.
        tell: called with each size and its place in *sizes*.
        check: called before every step; may raise.
        clock: seconds.
    """
    begun, best, best_rate = clock(), sizes[0], 0.0
    peaks: list[tuple[int, int]] = [(0, memory.restart())]
    for place, size in enumerate(sizes):
        if memory.deadly and len(peaks) > 1 and _expected(peaks, size) > memory.limit:
            return Found(best, "memory")
        if size > STEADY and clock() - begun > MOST_SECONDS:
            return Found(best, "time")
        tell(size, place)
        memory.restart()
        seconds = _seconds(model, data, size, check, clock)
        peak = memory.peak()
        log.info("batch size %d: %s s, %d MiB", size, seconds, peak >> 20)
        if seconds is None or peak > memory.limit:
            return Found(best, "memory")
        peaks.append((size, peak))
        rate = size / max(seconds, 1e-9)
        if size > STEADY and rate < GAIN * best_rate:
            return Found(best, "speed")
        best, best_rate = size, rate
    return Found(best, "limit")


def _seconds(
    model: TrainableModel,
    data: DataSource,
    size: int,
    check: Callable[[], None],
    clock: Callable[[], float],
) -> float | None:
    """Median seconds of an iteration of *size* faces; None where memory runs out."""
    measured: list[float] = []
    batch = None
    try:
        model.set_option("batch_size", size)
        data.set_needs(model.needs)
        # The first is warm-up: buffers, choice of algorithms, batches made ahead.
        # Below STEADY only memory counts.
        for _ in range(1 + (REPEATS if size >= STEADY else 1)):
            check()
            begun = clock()
            if batch is None or model.wants_batch():
                batch = data.next_batch()
            result = model.train_step(batch)
            result.losses.tolist()  # waits for the device
            measured.append(clock() - begun)
            if model.pieces > 1:
                return None  # it went on in pieces: whole, it does not fit
            if len(measured) > 2 and sum(measured[1:]) >= ENOUGH_SECONDS:
                break
    except Exception as error:
        if not isinstance(error, TornUpdateError) and not is_out_of_memory(error):
            raise
        return None
    return statistics.median(measured[1:])


def _expected(peaks: Sequence[tuple[int, int]], size: int) -> float:
    """The peak of *size* faces, by the line through the last two peaks."""
    (few, low), (many, high) = peaks[-2:]
    return high + max(0, high - low) / (many - few) * (size - many)


@contextmanager
def _untouched_random() -> Iterator[None]:
    """The generators that everybody shares are afterwards as before."""
    python, arrays, host = random.getstate(), np.random.get_state(), torch.get_rng_state()
    gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        torch.set_rng_state(host)
        if gpu:
            torch.cuda.set_rng_state_all(gpu)

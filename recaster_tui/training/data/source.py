"""Batches for the trainer, made ahead by a thread (DESIGN section 6)."""

import logging
import queue
import secrets
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch

from recaster_tui.faces.faceset import Faceset, Skipped
from recaster_tui.faces.types import FaceType
from recaster_tui.training.data.augment import FaceStore, SideMaker
from recaster_tui.training.data.cache import FaceCache, Kind, Progress, require_faces
from recaster_tui.training.data.color import TRANSFERS
from recaster_tui.training.data.select import BatchSampler, Indices, ShuffledQueue, YawQueue
from recaster_tui.training.models.base import Batch, DataNeeds, SideAugment, SideBatch

log = logging.getLogger(__name__)

Side = Literal["src", "dst"]
MINIMUM_FACES = 2

_SIDES: tuple[Side, Side] = ("src", "dst")
_TITLE = {"src": "source", "dst": "destination"}
_AHEAD = 3
_WINDOW = 64
_PREVIEW_SEED = 20_040_229
# Names of random streams: what a generator is for, so that none shares numbers with another.
_FACES, _REFERENCES, _PARAMETERS = 1, 2, 3


@dataclass(frozen=True)
class _Made:
    """A finished batch and the state from which the one after it is made."""

    batch: Batch
    state: dict[str, Any]
    ready: torch.cuda.Event | None


class DataSource:
    """Random batches of two facesets.

    Every batch follows from the seed, the needs and its number alone: the same seed gives the
    same batches, :meth:`state_dict` lets another process go on with the next one. (Between a CPU
    and a GPU the numbers drawn are the same, the interpolation differs in the last digits, and
    pixel noise has each device's own generator.)

    Use from one thread. :meth:`close` when done.
    """

    def __init__(
        self,
        facesets: dict[Side, Faceset],
        needs: DataNeeds,
        *,
        device: torch.device,
        seed: int,
        cache_dir: Path,
        progress: Progress | None = None,
    ) -> None:
        self._facesets = facesets
        self._device = device
        self._cache_dir = cache_dir
        self._progress = progress
        self.seed = seed or secrets.randbelow(2**62) + 1
        self._number = 0
        self._stores: dict[tuple[Side, Kind], FaceStore] = {}
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = ThreadPoolExecutor(4, "jpeg")
        self._waits: deque[tuple[float, float]] = deque(maxlen=_WINDOW)
        self._queue: queue.Queue[_Made | BaseException] = queue.Queue(_AHEAD)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._needs = needs
        self._prepare(needs)
        self._consumed = self._state()

    # -- what the trainer uses ----------------------------------------------------------------

    def next_batch(self) -> Batch:
        """The next batch, waiting for it if need be.

        Raises:
            Exception: whatever went wrong while it was made.
        """
        begun = time.monotonic()
        if self._thread is None:
            self._start()
        made = self._queue.get()
        now = time.monotonic()
        self._waits.append((begun, now - begun))
        if isinstance(made, BaseException):
            self._halt()
            raise made
        self._consumed = made.state
        return self._hand_over(made.batch, made.ready)

    def preview_batch(self, n: int) -> Batch:
        """*n* fixed faces of each side, spread evenly over the yaw range.

        ``target`` and masks are as cached, unmoved and with their own colours; ``warped`` is the
        same face warped, always the same way.
        """
        with self._on_stream():
            src, dst = (
                self._makers[side].plain(self._spread(side, n), _PREVIEW_SEED) for side in _SIDES
            )
            batch, ready = Batch(src, dst), self._mark()
        return self._hand_over(batch, ready)

    def set_needs(self, needs: DataNeeds) -> None:
        """Go on with other needs from the very next batch; none of the faces in between is lost.

        Raises:
            EnvironmentProblem: masks or references are needed that cannot be cached.
        """
        if needs == self._needs:
            return
        state = self._consumed
        self._halt()
        self._prepare(needs)
        self._load(state)
        self._consumed = self._state()

    @property
    def needs(self) -> DataNeeds:
        """What batches are made for now."""
        return self._needs

    @property
    def wait_share(self) -> float:
        """0..1: part of the last 64 iterations' time spent waiting in :meth:`next_batch`."""
        if not self._waits:
            return 0.0
        span = self._waits[-1][0] + self._waits[-1][1] - self._waits[0][0]
        return min(1.0, sum(wait for _, wait in self._waits) / span) if span > 0 else 0.0

    @property
    def counts(self) -> dict[Side, int]:
        """Usable faces of each side."""
        return {side: len(self._faces(side).cache) for side in _SIDES}

    @property
    def skipped(self) -> dict[Side, list[Skipped]]:
        """Faces found damaged while they were fitted (the faceset's own list not included)."""
        return {side: list(self._faces(side).cache.skipped) for side in _SIDES}

    @property
    def resident(self) -> bool:
        """Whether both sides lie in device memory."""
        return all(self._faces(side).resident for side in _SIDES)

    def state_dict(self) -> dict[str, Any]:
        """JSON-able: seed and place after the last batch taken."""
        return dict(self._consumed)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the batch at which *state* was taken."""
        self._halt()
        self.seed = int(state["seed"])
        self._samplers = self._make_samplers(self._needs)
        self._load(state)
        self._consumed = self._state()

    def close(self) -> None:
        """Stop the thread and forget the faces. Harmless when repeated."""
        self._halt()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._stores.clear()

    # -- making -------------------------------------------------------------------------------

    def _prepare(self, needs: DataNeeds) -> None:
        old = self._needs
        if (old.resolution, old.face_type) != (needs.resolution, needs.face_type):
            self._stores.clear()
        kind: Kind = "face+parts" if needs.eyes or needs.mouth else "face"
        for side in _SIDES:
            self._open(side, needs, kind)
            cache = self._stores[side, kind].cache
            require_faces(cache, _TITLE[side], self._facesets[side].folder, MINIMUM_FACES)
        self._kind: Kind = kind
        self._makers = {
            side: SideMaker(
                self._stores[side, kind],
                self._references(side, needs),
                getattr(needs, side),
                parts=kind == "face+parts",
                device=self._device,
                pool=self._pool,
            )
            for side in _SIDES
        }
        self._samplers = self._make_samplers(needs)
        self._needs = needs

    def _open(self, side: Side, needs: DataNeeds, kind: Kind) -> None:
        if (side, kind) in self._stores:
            return
        if kind != "picture":
            # Only one set of faces is needed at a time: do not hold device memory for two.
            self._stores.pop((side, "face"), None)
            self._stores.pop((side, "face+parts"), None)
        noun = "pictures for colour transfer" if kind == "picture" else "faces"
        cache = FaceCache.open(
            self._facesets[side],
            needs.resolution,
            FaceType(needs.face_type),
            self._cache_dir,
            kind=kind,
            progress=self._progress,
            what=f"{_TITLE[side]} {noun}",
        )
        self._stores[side, kind] = FaceStore(cache, self._device)

    def _references(self, side: Side, needs: DataNeeds) -> FaceStore | None:
        augment: SideAugment = getattr(needs, side)
        if augment.color_transfer not in TRANSFERS:
            return None
        other: Side = "dst" if side == "src" else "src"
        self._open(other, needs, "picture")
        return self._stores[other, "picture"]

    def _make_samplers(self, needs: DataNeeds) -> dict[str, BatchSampler]:
        samplers: dict[str, BatchSampler] = {}
        for number, side in enumerate(_SIDES):
            cache = self._faces(side).cache
            samplers[side] = (
                YawQueue(cache.yaw, self.seed, number, _FACES)
                if needs.uniform_yaw
                else ShuffledQueue(len(cache), self.seed, number, _FACES)
            )
            other: Side = "dst" if side == "src" else "src"
            if (pictures := self._stores.get((other, "picture"))) is not None:
                count = len(pictures.cache)
                samplers[f"{side}-references"] = ShuffledQueue(
                    count, self.seed, number, _REFERENCES
                )
        return samplers

    def _faces(self, side: Side) -> FaceStore:
        return self._stores[side, self._kind]

    def _make(self) -> Batch:
        src, dst = (self._make_side(number, side) for number, side in enumerate(_SIDES))
        self._number += 1
        return Batch(src, dst)

    def _make_side(self, number: int, side: Side) -> SideBatch:
        count = self._needs.batch_size
        index = self._samplers[side].take(count)
        references: Indices | None = None
        if getattr(self._needs, side).color_transfer in TRANSFERS:
            references = self._samplers[f"{side}-references"].take(count)
        rng = np.random.default_rng((self.seed, number, _PARAMETERS, self._number))
        return self._makers[side].make(index, references, rng)

    def _spread(self, side: Side, n: int) -> Indices:
        order = np.argsort(self._faces(side).cache.yaw, kind="stable")
        places = (np.arange(n) + 0.5) / n * len(order)
        return np.asarray(order[places.astype(np.int64)], np.int64)

    def _state(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "number": self._number,
            "samplers": {name: s.state_dict() for name, s in self._samplers.items()},
            "uniform_yaw": self._needs.uniform_yaw,
        }

    def _load(self, state: dict[str, Any]) -> None:
        self._number = int(state["number"])
        for name, sampler in self._samplers.items():
            saved = state["samplers"].get(name)
            # Plain and uniform-yaw queues do not understand each other's state.
            switched = state["uniform_yaw"] != self._needs.uniform_yaw and name in _SIDES
            if saved is not None and not switched:
                sampler.load_state_dict(saved)

    # -- the thread ---------------------------------------------------------------------------

    def _start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    def _halt(self) -> None:
        """Stop the thread and drop what it has made."""
        self._stop.set()
        while self._thread is not None and self._thread.is_alive():
            self._drain()
            self._thread.join(0.05)
        self._thread = None
        self._drain()
        self._load(self._consumed)

    def _drain(self) -> None:
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                return

    def _run(self) -> None:
        try:
            if self._device.type == "cpu":
                # This thread's share only (OpenMP keeps it per thread): the step has the cores.
                torch.set_num_threads(1)
            with self._on_stream():
                while not self._stop.is_set():
                    batch = self._make()
                    self._put(_Made(batch, self._state(), self._mark()))
        except BaseException as error:  # handed to the trainer, whatever it is
            self._put(error)

    def _put(self, item: _Made | BaseException) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def _mark(self) -> torch.cuda.Event | None:
        """On a GPU: an event that passes when all that was asked of the stream is done."""
        if self._stream is None:
            return None
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(self._stream)
        return event

    def _hand_over(self, batch: Batch, ready: torch.cuda.Event | None) -> Batch:
        if ready is not None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(ready)
            # The memory belongs to the making stream: tell the allocator who else reads it.
            for side in (batch.src, batch.dst):
                for tensor in vars(side).values():
                    tensor.record_stream(stream)
        return batch

    def _on_stream(self) -> Any:
        return torch.cuda.stream(self._stream) if self._stream is not None else nullcontext()


def open_data(
    src: Faceset,
    dst: Faceset,
    needs: DataNeeds,
    *,
    device: torch.device,
    seed: int,
    cache_dir: Path,
    progress: Progress | None = None,
) -> DataSource:
    """Fit both facesets (or map their caches) and get ready to make batches.

    Args:
        src: source faceset.
        dst: destination faceset.
        needs: of the model.
        device: where batches shall lie.
        seed: 0 draws one.
        cache_dir: for the face caches, ``<workspace>/runs/.cache``.
        progress: called with (done, total, what); an exception in it ends the work.

    Raises:
        BadInputError: a side has too few usable faces.
        EnvironmentProblem: the caches cannot be written.
    """
    # The fitting threads and the batch thread are our parallelism; OpenCV's own would fight them.
    cv2.setNumThreads(1)
    return DataSource(
        {"src": src, "dst": dst},
        needs,
        device=device,
        seed=seed,
        cache_dir=cache_dir,
        progress=progress,
    )

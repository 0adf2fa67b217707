"""Making batches ahead in a thread: what every source of batches shares (DESIGN section 6)."""

import queue
import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch

from recaster_tui.faces.face import Face
from recaster_tui.faces.faceset import Skipped
from recaster_tui.training.data.select import Indices
from recaster_tui.training.held_out import NOTHING, HeldOut
from recaster_tui.training.models.base import Batch, DataNeeds

Side = Literal["src", "dst"]
SIDES: tuple[Side, Side] = ("src", "dst")
SIDE_TITLES = {"src": "source", "dst": "destination"}

_AHEAD = 3
_WINDOW = 64


@dataclass(frozen=True)
class _Made:
    """A finished batch and the state from which the one after it is made."""

    batch: Batch
    state: dict[str, Any]
    ready: torch.cuda.Event | None


class BatchSource(ABC):
    """Batches in an order that follows from the seed, the needs and each batch's number alone.

    Use from one thread. :meth:`close` when done.

    Attributes:
        seed: the one given, or one drawn where 0 was given.
        held_out: faces that are in no batch but those of :meth:`plain_batch` and the previews.
    """

    def __init__(
        self,
        needs: DataNeeds,
        *,
        device: torch.device,
        seed: int,
        held_out: HeldOut = NOTHING,
    ) -> None:
        self.seed = seed or secrets.randbelow(2**62) + 1
        self.held_out = held_out
        self._device = device
        self._needs = needs
        self._number = 0
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._waits: deque[tuple[float, float]] = deque(maxlen=_WINDOW)
        self._queue: queue.Queue[_Made | BaseException] = queue.Queue(_AHEAD)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._prepare(needs)
        self._consumed = self._state()

    # -- to be filled in ----------------------------------------------------------------------

    @abstractmethod
    def _prepare(self, needs: DataNeeds) -> None:
        """Get ready to make batches for *needs*, from the first one on; sets ``_needs``."""

    @abstractmethod
    def _make(self) -> Batch:
        """The next batch; called in the thread."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """JSON-able: seed, number and place in every order of faces."""

    @abstractmethod
    def _load(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`_state` was taken."""

    @abstractmethod
    def _preview(self, n: int) -> Batch:
        """See :meth:`preview_batch`."""

    @abstractmethod
    def _plain(self, index: Mapping[Side, Indices]) -> Batch:
        """See :meth:`plain_batch`."""

    @abstractmethod
    def faces(self, side: Side) -> Sequence[Face]:
        """The usable faces of one side, held-out ones included."""

    @abstractmethod
    def positions(self, side: Side, faces: Sequence[Face]) -> Indices:
        """Where *faces* of one side lie, for :meth:`plain_batch`; unusable ones are left out."""

    @property
    @abstractmethod
    def counts(self) -> dict[Side, int]:
        """Usable faces of each side."""

    @property
    @abstractmethod
    def skipped(self) -> dict[Side, list[Skipped]]:
        """Faces found damaged while they were fitted (the faceset's own list not included)."""

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

        A larger *n* adds to those of a smaller one; :meth:`load_state_dict` brings back those of
        the state, so that all runs of a model show the same.
        """
        with self._on_stream():
            batch, ready = self._preview(n), self._mark()
        return self._hand_over(batch, ready)

    def plain_batch(self, index: Mapping[Side, Indices]) -> Batch:
        """The faces at these :meth:`positions`, neither moved nor recoloured nor spoilt.

        ``warped`` is ``target``. Both sides need as many.
        """
        with self._on_stream():
            batch, ready = self._plain(index), self._mark()
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

    def state_dict(self) -> dict[str, Any]:
        """JSON-able: seed and place after the last batch taken."""
        return dict(self._consumed)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the batch at which *state* was taken."""
        self._halt()
        self.seed = int(state["seed"])
        self._prepare(self._needs)
        self._load(state)
        self._consumed = self._state()

    def close(self) -> None:
        """Stop the thread and forget the faces. Harmless when repeated."""
        self._halt()

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

    def _on_stream(self) -> AbstractContextManager[Any]:
        return torch.cuda.stream(self._stream) if self._stream is not None else nullcontext()

"""What a journal tells, event by event: the values that screens and records show."""

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recaster_tui.protocol import Event, EventType
from recaster_tui.supervisor.measures import Measure, parse_measure
from recaster_tui.supervisor.state import RunState

_KEEP_NOTICES = 200
_SAVE_CODES = ("disk-full", "save-failed")  # said of a whole save that was given up
_TOO_LARGE = 1e18  # NaN and the infinite are not below it, either
CLOCK_STATES = frozenset({RunState.TRAINING, RunState.SAVING})
"""While in these the time of training runs; saving goes on beside it."""


@dataclass(frozen=True)
class Marker:
    """A point on the chart. ``kind`` is the event type: saved, backup, snapshot, option,
    rolled-back, restored, or ``resumed``."""

    kind: str
    iteration: int
    t: float
    text: str


@dataclass(frozen=True)
class PreviewImage:
    """One view of a preview: a JPEG sheet of ``rows`` rows with the named ``columns``."""

    view: str
    path: Path
    columns: tuple[str, ...] = ()
    rows: int = 0


@dataclass(frozen=True)
class Preview:
    """All views of one moment. Old files may have been thinned out: check before opening."""

    iteration: int
    t: float
    views: tuple[PreviewImage, ...]


@dataclass(frozen=True)
class Notice:
    """A warning or an error of the trainer (``level``), or of us about its journal."""

    level: str
    code: str
    message: str
    t: float
    hint: str = ""
    count: int = 0
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Progress:
    """A long step on the way: loading faces, finding the batch size."""

    what: str
    current: int
    total: int
    unit: str = ""
    text: str = ""


@dataclass(frozen=True)
class Ack:
    """The trainer's answer to a command."""

    id: str
    ok: bool
    message: str = ""


@dataclass
class Facts:
    """What the journal said so far; thrown away and rebuilt where it must be read again.

    ``*_iteration`` count from 1; ``data_share`` is 0..1; times are unix seconds. ``told_seconds``
    is how long the trainer says that it has trained since its start (None: it does not say),
    ``told_before`` the same of earlier starts, ``told_at`` when it said so.
    """

    iteration: int = 0
    start_iteration: int = 0
    saved_iteration: int = 0
    saved_bytes: int = 0
    saved_at: float = 0.0
    its: float = 0.0
    ms: float = 0.0
    data_share: float = 0.0
    device: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    measures: list[Measure] = field(default_factory=list)
    held_out_faces: dict[str, int] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    batch_found: int = 0  # for an automatic batch size; 0 = not yet
    markers: list[Marker] = field(default_factory=list)
    previews: list[Preview] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    notice_count: int = 0
    progress: Progress | None = None
    acks: dict[str, Ack] = field(default_factory=dict)
    hellos: int = 0
    trained_seconds: float = 0.0
    clock_since: float | None = None
    save_problem: str = ""
    told_seconds: float | None = None
    told_before: float = 0.0
    told_at: float = 0.0
    last_t: float = 0.0

    def apply(self, event: Event, root: Path) -> None:
        """Take in one event. *root* is the run folder, for the paths of previews.

        Raises ``TypeError``, ``ValueError`` or ``AttributeError`` for a payload that is none.
        """
        data = event.data
        match event.type:
            case EventType.HELLO:
                self._hello(event)
            case EventType.PROGRESS:
                self.progress = Progress(
                    str(data.get("what", "")),
                    as_int(data.get("current")),
                    as_int(data.get("total")),
                    str(data.get("unit") or ""),
                    str(data.get("text") or ""),
                )
            case EventType.ITERATIONS:
                self.iteration = as_int(data.get("first")) + len(data.get("rows") or ()) - 1
                self.its = as_float(data.get("its"))
                self.ms = as_float(data.get("ms"))
                self.data_share = as_float(data.get("data_share"))
                if "trained" in data:
                    self.told_seconds, self.told_at = as_float(data["trained"]), event.t
                self.progress = None
            case EventType.METRICS:
                self._metrics(event)
            case EventType.PREVIEW:
                self._preview(event, root)
            case EventType.SAVED | EventType.BACKUP | EventType.SNAPSHOT:
                self._saved(event)
            case EventType.WARNING | EventType.ERROR:
                if data.get("code") in _SAVE_CODES:
                    self.save_problem = str(data.get("message") or "")
                self.note(
                    str(event.type),
                    str(data.get("code") or ""),
                    str(data.get("message") or ""),
                    t=event.t,
                    hint=str(data.get("hint") or ""),
                    count=as_int(data.get("count")),
                    files=tuple(map(str, data.get("files") or ())),
                )
            case EventType.ROLLED_BACK:
                self._rolled_back(event)
            case EventType.RESTORED:
                self._restored(event)
            case EventType.OPTION:
                key, value = str(data.get("key")), data.get("value")
                text = f"{key} = {value}"
                if data.get("auto"):
                    # The option stays automatic; this is what it means now.
                    self.batch_found, text = as_int(value), f"{key} = auto ({value})"
                else:
                    self.options = {**self.options, key: value}
                at = as_int(data.get("iteration"), self.iteration)
                self.markers.append(Marker("option", at, event.t, text))
            case EventType.ACK:
                ack = Ack(str(data.get("id")), bool(data.get("ok")), str(data.get("message") or ""))
                self.acks[ack.id] = ack
            case EventType.DONE:
                self.iteration = as_int(data.get("iteration"), self.iteration)
                self.saved_iteration = as_int(data.get("saved"), self.saved_iteration)
        if event.type in (EventType.HELLO, EventType.ROLLED_BACK, EventType.RESTORED):
            # The trainer went back: what was measured later is of a model that is no more.
            self.measures = [m for m in self.measures if m.iteration <= self.iteration]

    def _hello(self, event: Event) -> None:
        data = event.data
        self.device = dict(data.get("device") or {})
        self.versions = {k: data[k] for k in ("recaster", "torch", "python") if k in data}
        self.progress = None
        self.save_problem = ""
        self.its = self.ms = self.data_share = 0.0
        iteration = as_int(data.get("iteration"))
        if self.hellos == 0:
            self.start_iteration = iteration
        if data.get("resumed"):
            self.markers.append(Marker("resumed", iteration, event.t, "resumed"))
        self.hellos += 1
        if self.told_seconds is not None:
            self.told_before, self.told_seconds = self.told_before + self.told_seconds, 0.0
        self._back_to(iteration)

    def _back_to(self, iteration: int) -> None:
        """It stands here now. A later save is no more; when this one was made is not said."""
        self.iteration = iteration
        if self.saved_iteration > iteration:
            self.saved_iteration, self.saved_at = iteration, 0.0

    def _rolled_back(self, event: Event) -> None:
        data = event.data
        self._back_to(as_int(data.get("to_iteration")))
        left = as_int(data.get("from_iteration"))
        what = str(data.get("message") or data.get("why") or "")
        self.markers.append(
            Marker("rolled-back", self.iteration, event.t, f"back from {left:,}: {what}")
        )
        rate = data.get("learning_rate")
        slower = f", with learning rate {rate:g}" if isinstance(rate, int | float) else ""
        self.note(
            "warning",
            "rolled-back",
            f"{what}: back from iteration {left:,} to {self.iteration:,}{slower}",
            t=event.t,
        )

    def _restored(self, event: Event) -> None:
        data = event.data
        self.iteration = self.saved_iteration = at = as_int(data.get("to_iteration"))
        self.saved_at = event.t
        options = data.get("options")
        if isinstance(options, dict):
            self.options = {**self.options, **options}
        # What came after it belongs to another past of the model.
        self.markers = [m for m in self.markers if m.iteration <= at]
        self.previews = [p for p in self.previews if p.iteration <= at]
        text = f"from {as_int(data.get('from_iteration')):,}: {data.get('name', '')}"
        self.markers.append(Marker("restored", at, event.t, text))

    def _metrics(self, event: Event) -> None:
        data = dict(event.data)
        if "held_out_faces" in data:
            faces = dict(data.pop("held_out_faces") or {})
            self.held_out_faces = {str(side): as_int(count) for side, count in faces.items()}
        if "held_out_history" in data:  # of the model's earlier runs, and as far as it still holds
            self.measures = [parse_measure(one) for one in data.pop("held_out_history") or ()]
        if "held_out" in data:
            self.measures.append(parse_measure(data.pop("held_out"), event.t))
        self.metrics = {**self.metrics, **data}

    def _preview(self, event: Event, root: Path) -> None:
        views = []
        for view in event.data.get("views") or ():
            file = str(view.get("file", ""))
            # A journal from elsewhere must not make us open any file it likes. (By its words:
            # to ask the disk about each of a long run's previews takes seconds.)
            if not file.startswith("previews/") or _ELSEWHERE.search(file):
                continue
            path = root / file
            columns = tuple(map(str, view.get("columns") or ()))
            views.append(
                PreviewImage(str(view.get("view", "")), path, columns, as_int(view.get("rows")))
            )
        self.previews.append(Preview(as_int(event.data.get("iteration")), event.t, tuple(views)))

    def _saved(self, event: Event) -> None:
        data = event.data
        iteration = as_int(data.get("iteration"))
        if event.type == EventType.SAVED:
            self.saved_iteration = iteration
            self.saved_bytes = as_int(data.get("bytes"))
            self.save_problem = ""
            self.saved_at = event.t
        text = str(data.get("note") or data.get("generation") or "")
        self.markers.append(Marker(str(event.type), iteration, event.t, text))

    def note(
        self,
        level: str,
        code: str,
        message: str,
        *,
        t: float | None = None,
        hint: str = "",
        count: int = 0,
        files: tuple[str, ...] = (),
    ) -> None:
        """Remember a warning or an error; the oldest are forgotten."""
        when = time.time() if t is None else t
        self.notice_count += 1
        self.notices.append(Notice(level, code, message, when, hint, count, files))
        del self.notices[:-_KEEP_NOTICES]

    def silent(self) -> None:
        """Nothing was said for so long that nobody can have been training: it stopped then."""
        if self.clock_since is not None:
            self.trained_seconds += max(0.0, self.last_t - self.clock_since)
            self.clock_since = None

    def clock(self, state: RunState, t: float) -> None:
        """Count the time of training: the trainer is in *state* since *t*."""
        if state is RunState.STARTING:
            # Another process: the one before may have been killed, its clock stopped at its last
            # word, however much later this one begins.
            t = self.last_t
        if state in CLOCK_STATES:
            if self.clock_since is None:
                self.clock_since = t
        elif self.clock_since is not None and state is not RunState.STALLED:
            self.trained_seconds += max(0.0, t - self.clock_since)
            self.clock_since = None


_ELSEWHERE = re.compile(r"(^|/)\.\.(/|$)|\\|\0")


def as_int(value: Any, default: int = 0) -> int:
    """A number from a journal, where anything may stand."""
    ok = isinstance(value, int | float) and abs(value) < _TOO_LARGE
    return int(value) if ok else default


def as_float(value: Any) -> float:
    """Likewise."""
    ok = isinstance(value, int | float) and abs(value) < _TOO_LARGE
    return float(value) if ok else 0.0

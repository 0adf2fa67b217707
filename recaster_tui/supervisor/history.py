"""What is remembered of every run: one TOML file each under ``<data>/history/``.

An index beside them (:mod:`~recaster_tui.supervisor.history_index`) spares parsing them all.
A record is a digest of the run folder, good enough to list and compare runs whose workspace has
moved or vanished. The run folder stays the truth: records are rebuilt from it at any time.
"""

import contextlib
import json
import logging
import re
import threading
import time
import tomllib
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from recaster_tui.errors import BadInputError
from recaster_tui.files import read_toml, sweep, write_atomic, write_toml
from recaster_tui.protocol import LOSS_DTYPE, RunFolder
from recaster_tui.supervisor.history_index import (
    Table,
    read_index,
    scan,
    stamp_of,
    write_index,
)
from recaster_tui.supervisor.losses import LossArray, decimate
from recaster_tui.supervisor.run import Run
from recaster_tui.supervisor.state import RunState

log = logging.getLogger(__name__)

SAVE_SECONDS = 30.0
SAVE_ITERATIONS = 1_000
LOSS_ROWS = 2_000
_LOSSES_TABLE = "\n[losses]\n"
_HEAD_BYTES = 8_192
_MOST_STALE = 50  # records that may be read one by one at a start before the index is renewed


@dataclass(frozen=True)
class RunRecord:
    """One run as history knows it.

    ``workspace`` is an absolute path; ``duration`` seconds of training; ``created``, ``updated``
    and ``ended`` unix seconds (``ended`` 0 = not yet); ``loss_src``/``loss_dst`` smoothed last
    losses, NaN where there are none; ``journal_bytes`` how much of the journal it digests;
    ``outcome`` finished, stopped, failed (it said why) or killed (it said nothing more), empty
    while it is not over; ``cost`` of rented time, in US dollars; ``verdict`` in a word and
    ``verdict_text`` in a sentence: how the training did
    (:func:`recaster_tui.supervisor.verdict.verdict`).
    """

    run_id: str
    model_name: str
    model_class: str
    workspace: str
    state: RunState
    created: float
    updated: float = 0.0
    ended: float = 0.0
    duration: float = 0.0
    iteration: int = 0
    start_iteration: int = 0
    saved_iteration: int = 0
    target_iterations: int = 0
    target_seconds: float = 0.0
    loss_src: float = float("nan")
    loss_dst: float = float("nan")
    message: str = ""
    outcome: str = ""
    cost: float = 0.0
    verdict: str = ""
    verdict_text: str = ""
    host: str = ""
    journal_bytes: int = 0
    src: str = ""
    dst: str = ""
    device: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> RunFolder:
        """Where the run lies."""
        return RunFolder(Path(self.workspace) / "runs" / self.run_id)

    @property
    def missing(self) -> bool:
        """Whether the run folder is gone (the workspace moved or was removed)."""
        return not self.folder.spec.is_file()

    @property
    def device_name(self) -> str:
        """The device as shown in tables."""
        return str(self.device.get("name") or self.device.get("kind") or "")


class History:
    """The folder of records. Two programs may write at once: each file is replaced whole.

    Every method may be called from any thread.
    """

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / "history"
        self._lock = threading.RLock()
        self._table: Table = {}
        self._records: dict[str, RunRecord] = {}
        self._unreadable: dict[str, object] = {}
        self._loaded = False

    def path(self, run_id: str) -> Path:
        """The file of one run."""
        return self.folder / f"{run_id}.toml"

    @property
    def index_path(self) -> Path:
        """The file that spares parsing every record."""
        return self.folder.parent / "history.index"

    def records(self) -> list[RunRecord]:
        """Every readable record, newest first. Losses are not read: see :meth:`losses`."""
        with self._lock:
            self.refresh()
            found = list(self._records.values())
        return sorted(found, key=lambda record: (record.created, record.run_id), reverse=True)

    def refresh(self) -> tuple[dict[str, RunRecord], set[str]]:
        """Read what has changed on disk since the last time, by whomever.

        Returns:
            New and changed records by run id, and the ids of those that are gone.
        """
        with self._lock:
            first = not self._loaded
            if first:
                for folder in (self.folder, self.folder.parent):
                    sweep(folder)
            known = read_index(self.index_path) if first else self._table
            self._loaded = True
            stamps = scan(self.folder)
            changed: dict[str, RunRecord] = {}
            table: Table = {}
            read = 0
            for run_id, stamp in stamps.items():
                entry = known.get(run_id)
                if entry is not None and entry[0] == stamp:
                    table[run_id] = entry
                    if first and (record := _from_values(entry[1])) is not None:
                        self._records[run_id] = changed[run_id] = record
                        continue
                    if not first:
                        continue
                if self._unreadable.get(run_id) == stamp:
                    continue
                try:
                    values = _read_head(self.path(run_id))
                    record = _record(values)
                except OSError as error:  # not what it says: it may be read the next time
                    log.warning("cannot read %s: %s", self.path(run_id), error)
                    if run_id in self._table:
                        table[run_id] = self._table[run_id]
                    continue
                except (ValueError, TypeError, KeyError) as error:
                    log.warning("history record %s is unreadable: %s", self.path(run_id), error)
                    self._unreadable[run_id] = stamp
                    continue
                read += 1
                # The stamp is older than the content at worst: then it is read once more.
                table[run_id] = (stamp, values)
                self._records[run_id] = changed[run_id] = record
            gone = {run_id for run_id in self._records if run_id not in table}
            for run_id in gone:
                del self._records[run_id]
            self._table = table
            if first and (read > _MOST_STALE or len(known) - len(table) > _MOST_STALE):
                self._save_index()
            return changed, gone

    def _save_index(self) -> None:
        try:
            write_index(self.index_path, self._table)
        except (OSError, TypeError, ValueError) as error:
            log.warning("cannot write the index of the history: %s", error)

    def get(self, run_id: str) -> RunRecord | None:
        """The record of exactly this run."""
        try:
            return _record(_read_head(self.path(run_id)))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def losses(self, run_id: str) -> LossArray:
        """The remembered losses, at most 2,000 rows of ``LOSS_DTYPE``."""
        try:
            table = _loss_columns(self.path(run_id))
            rows = np.empty(len(table["iteration"]), LOSS_DTYPE)
            for name in ("iteration", "src", "dst", "ms"):
                rows[name] = table[name]
        except (OSError, ValueError, TypeError, KeyError):
            return np.empty(0, LOSS_DTYPE)
        return rows

    def save(self, record: RunRecord, losses: LossArray) -> None:
        """Write one record, atomically.

        A finite digest of the losses goes last, so that a list of runs need not read it.
        """
        head: dict[str, Any] = _writable(asdict(record))
        head["state"] = record.state.value
        rows = decimate(losses, LOSS_ROWS)
        columns = {
            "iteration": rows["iteration"].tolist(),
            **{n: [float(f"{v:.6g}") for v in rows[n].tolist()] for n in ("src", "dst", "ms")},
        }
        text = tomli_w.dumps(head) + _LOSSES_TABLE
        text += "".join(f"{name} = {_array(values)}\n" for name, values in columns.items())
        path = self.path(record.run_id)
        with self._lock:
            write_atomic(path, text)
            with contextlib.suppress(OSError):
                # Where another program has replaced it already, the stamp is its, the values are
                # ours, and the next change of either sets it right.
                self._table[record.run_id] = (stamp_of(path.stat()), head)
                self._records[record.run_id] = record

    def relocate(self, record: RunRecord, workspace: Path) -> RunRecord:
        """Note that the run's workspace lies elsewhere now. Its losses stay as they are.

        Raises:
            OSError: the history cannot be written.
        """
        moved = replace(record, workspace=str(workspace))
        if moved.state is RunState.LOST:  # it was judged by its absence
            moved = replace(moved, journal_bytes=-1)
        self.save(moved, self.losses(record.run_id))
        return moved

    def remove(self, run_id: str) -> None:
        """Forget a run; its folder stays."""
        with self._lock:
            self._table.pop(run_id, None)
            self._records.pop(run_id, None)
            with contextlib.suppress(FileNotFoundError):
                self.path(run_id).unlink()

    def forgotten(self) -> dict[str, float]:
        """Runs that were forgotten while their folder stayed: id and how new its files were."""
        try:
            table = read_toml(self._forgotten)
        except (OSError, ValueError):
            return {}
        return {k: float(v) for k, v in table.items() if isinstance(v, int | float)}

    def forget(self, run_id: str, seen: float) -> None:
        """Remove a record, and do not take its run in again unless its folder has news.

        Args:
            run_id: the run.
            seen: newest change of its files (unix seconds, by their own clock).
        """
        write_toml(self._forgotten, {**self.forgotten(), run_id: seen})
        self.remove(run_id)

    @property
    def _forgotten(self) -> Path:
        return self.folder.parent / "forgotten.toml"

    def find(self, text: str) -> RunRecord:
        """The run meant by an id, a unique prefix (or ending), or ``last``.

        Raises:
            BadInputError: none or several fit.
        """
        records = self.records()
        return find_run(text, records)


def find_run(text: str, records: list[RunRecord]) -> RunRecord:
    """See :meth:`History.find`; *records* newest first."""
    if text == "last" and records:
        return records[0]
    exact = [r for r in records if r.run_id == text]
    fitting = exact or [
        r for r in records if r.run_id.startswith(text) or r.run_id.endswith("-" + text)
    ]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        known = ", ".join(r.run_id for r in records[:3])
        raise BadInputError(
            f"there is no run '{text}'",
            hint=f"the newest are {known}" if known else "start one with: recaster train",
        )
    names = ", ".join(r.run_id for r in fitting[:4])
    raise BadInputError(
        f"'{text}' fits {len(fitting)} runs: {names}", hint="type more of the id, or: last"
    )


def record_of(run: Run) -> RunRecord:
    """The digest of *run* as it stands."""
    spec, facts = run.spec, run.facts
    trend = run.trend
    last = run.loss or (float("nan"), float("nan"))
    return RunRecord(
        run_id=spec.run_id,
        model_name=spec.model_name,
        model_class=spec.model_class.value,
        workspace=str(run.workspace_root),
        state=run.state,
        created=spec.created,
        updated=time.time(),
        ended=(facts.last_t or run.status.since) if run.state.over else 0.0,
        duration=round(run.elapsed_seconds, 1),
        iteration=run.iteration,
        start_iteration=facts.start_iteration,
        saved_iteration=facts.saved_iteration,
        target_iterations=run.target_iterations,
        target_seconds=spec.target_seconds,
        loss_src=trend.src if trend.src == trend.src else last[0],
        loss_dst=trend.dst if trend.dst == trend.dst else last[1],
        message=run.message,
        outcome=_outcome(run),
        verdict=run.verdict.kind.value,
        verdict_text=run.verdict.text,
        host=run.process.host if run.process else "",
        journal_bytes=run.journal_bytes,
        src=spec.src,
        dst=spec.dst,
        device=dict(run.device),
        options=dict(run.options),
    )


class Recorder:
    """Decides when a followed run is written down: 30 s, 1,000 iterations, each new state."""

    def __init__(self, history: History, run: Run) -> None:
        self._history = history
        self._run = run
        self._time = 0.0
        self._iteration = -SAVE_ITERATIONS
        self._state: RunState | None = None
        self._lock = threading.Lock()
        self._retired = False

    def retire(self) -> None:
        """Write nothing any more: the run is forgotten, or has moved. Waits for a save."""
        with self._lock:
            self._retired = True

    @property
    def told(self) -> bool:
        """Whether the state that the run is in was written down."""
        return self._run.state is self._state

    def due(self) -> bool:
        """Whether the record is to be saved now."""
        run = self._run
        return (
            run.state is not self._state
            or abs(run.iteration - self._iteration) >= SAVE_ITERATIONS
            or time.monotonic() - self._time >= SAVE_SECONDS
        )

    def save(self) -> RunRecord:
        """Save it. Trouble with our own disk must not disturb watching."""
        record = record_of(self._run)
        try:
            with self._lock:
                if not self._retired:
                    self._history.save(record, self._run.losses)
        except (OSError, ValueError, TypeError) as error:
            log.error("cannot save the history of %s: %s", record.run_id, error)
        self._time = time.monotonic()
        self._iteration = self._run.iteration
        self._state = self._run.state
        return record


def _writable(value: Any) -> Any:
    """As TOML and UTF-8 can hold it: a journal's JSON knows null, and halves of characters."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_writable(k): _writable(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_writable(v) for v in value if v is not None]
    return value


def _outcome(run: Run) -> str:
    if not run.state.over:
        return ""
    return run.state.value if run.status.said.over or run.status.error else "killed"


def _read_head(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        raw = file.read(_HEAD_BYTES)
        while _LOSSES_TABLE.encode() not in raw and (more := file.read(_HEAD_BYTES)):
            raw += more
    text = raw.decode("utf-8", "ignore").partition(_LOSSES_TABLE)[0]
    try:
        table = _as_written(text) or tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    for name, kind in _KINDS.items():
        if name in table and not isinstance(table[name], kind):
            raise ValueError(f"{name} is no {kind}")
    return {k: v for k, v in table.items() if k in _FIELDS}


def _record(values: dict[str, Any]) -> RunRecord:
    """As ``RunRecord(**values)``, which takes three times as long: a start makes thousands."""
    if missing := _REQUIRED - values.keys():
        raise KeyError(f"it lacks {', '.join(sorted(missing))}")
    state = RunState(values["state"])
    outcome = values.get("outcome") or (state.value if state.over else "")
    record = object.__new__(RunRecord)
    record.__dict__.update(_DEFAULTS)
    record.__dict__.update(values, state=state, outcome=outcome)
    return record


def _from_values(values: dict[str, Any]) -> RunRecord | None:
    try:
        return _record(values)
    except (ValueError, TypeError, KeyError):
        return None


_FIELDS = frozenset(f.name for f in fields(RunRecord))
_DEFAULTS = {f.name: f.default for f in fields(RunRecord) if f.default is not MISSING}
_REQUIRED = _FIELDS - _DEFAULTS.keys() - {"device", "options"}
_DEFAULTS |= {"device": {}, "options": {}}
_STORED_AS: dict[Any, Any] = {int: int, float: (int, float), str: str, RunState: str}
_KINDS = {f.name: _STORED_AS.get(f.type, dict) for f in fields(RunRecord)}
_LINE = re.compile(r"([A-Za-z0-9_-]+) = (.+)")
_SECTION = re.compile(r"\[([A-Za-z0-9_-]+)\]")
_NO_JSON = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _as_written(text: str) -> dict[str, Any] | None:
    """TOML as tomli_w writes it for us, read as JSON line by line; None where it is anything else.

    tomllib takes 2 ms for a record, this 0.1 ms, and an index made anew reads thousands.
    """
    root: list[str] = []
    sections: list[str] = []
    pairs = root
    for line in text.splitlines():
        if found := _LINE.fullmatch(line):
            pairs.append(f'"{found[1]}":{_NO_JSON.get(found[2], found[2])}')
        elif name := _SECTION.fullmatch(line):
            _close(sections, pairs if pairs is not root else None)
            sections.append(name[1])
            pairs = []
        elif line:
            return None
    _close(sections, pairs if pairs is not root else None)
    try:
        table = json.loads("{" + ",".join([*root, *sections]) + "}")
    except ValueError:
        return None
    return table if isinstance(table, dict) else None


def _close(sections: list[str], pairs: list[str] | None) -> None:
    if pairs is not None:
        sections[-1] = f'"{sections[-1]}":{{{",".join(pairs)}}}'


def _loss_columns(path: Path) -> dict[str, list[float]]:
    """The table ``losses`` of a record, read as JSON where it is as we write it.

    tomllib takes 20 ms for 2,000 rows, json 1 ms, and a table of runs shows many of them.
    """
    text = path.read_text("utf-8")
    columns: dict[str, list[float]] = {}
    try:
        for line in text.partition(_LOSSES_TABLE)[2].splitlines():
            name, _, array = line.partition(" = ")
            columns[name] = json.loads(array.replace("nan", "NaN").replace("inf", "Infinity"))
    except ValueError:
        columns = {}
    if not columns:
        columns = tomllib.loads(text)["losses"]
    return columns


def _array(values: list[float]) -> str:
    return "[" + ", ".join(map(_number, values)) + "]"


def _number(value: float) -> str:
    return repr(value) if value - value == 0 else ("nan" if value != value else "inf")

"""What is remembered of every run: one TOML file each under ``<data>/history/``.

A record is a digest of the run folder, good enough to list and compare runs whose workspace has
moved or vanished. The run folder stays the truth: records are rebuilt from it at any time.
"""

import contextlib
import json
import logging
import time
import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from recaster_tui.errors import BadInputError
from recaster_tui.files import read_toml, write_atomic, write_toml
from recaster_tui.protocol import LOSS_DTYPE, RunFolder
from recaster_tui.supervisor.losses import LossArray, decimate
from recaster_tui.supervisor.run import Run
from recaster_tui.supervisor.state import RunState

log = logging.getLogger(__name__)

SAVE_SECONDS = 30.0
SAVE_ITERATIONS = 1_000
LOSS_ROWS = 2_000
_LOSSES_TABLE = "\n[losses]\n"
_HEAD_BYTES = 65_536


@dataclass(frozen=True)
class RunRecord:
    """One run as history knows it.

    ``workspace`` is an absolute path; ``duration`` seconds of training; ``created``, ``updated``
    and ``ended`` unix seconds (``ended`` 0 = not yet); ``loss_src``/``loss_dst`` smoothed last
    losses, NaN where there are none; ``journal_bytes`` how much of the journal it digests.
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
    """The folder of records. Two programs may write at once: each file is replaced whole."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / "history"

    def path(self, run_id: str) -> Path:
        """The file of one run."""
        return self.folder / f"{run_id}.toml"

    def records(self) -> list[RunRecord]:
        """Every readable record, newest first. Losses are not read: see :meth:`losses`."""
        if not self.folder.is_dir():
            return []
        found = []
        for path in self.folder.glob("*.toml"):
            try:
                found.append(_read_head(path))
            except (OSError, ValueError, TypeError, KeyError) as error:
                log.warning("history record %s is unreadable: %s", path, error)
        return sorted(found, key=lambda record: (record.created, record.run_id), reverse=True)

    def get(self, run_id: str) -> RunRecord | None:
        """The record of exactly this run."""
        try:
            return _read_head(self.path(run_id))
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
        head = asdict(record)
        head["state"] = record.state.value
        # TOML knows no None, and an option may be one.
        head["options"] = {k: v for k, v in record.options.items() if v is not None}
        rows = decimate(losses, LOSS_ROWS)
        columns = {
            "iteration": rows["iteration"].tolist(),
            **{n: [float(f"{v:.6g}") for v in rows[n].tolist()] for n in ("src", "dst", "ms")},
        }
        text = tomli_w.dumps(head) + _LOSSES_TABLE
        text += "".join(f"{name} = {_array(values)}\n" for name, values in columns.items())
        write_atomic(self.path(record.run_id), text)

    def remove(self, run_id: str) -> None:
        """Forget a run; its folder stays."""
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
            self._history.save(record, self._run.losses)
        except OSError as error:
            log.error("cannot save the history of %s: %s", record.run_id, error)
        self._time = time.monotonic()
        self._iteration = self._run.iteration
        self._state = self._run.state
        return record


def _read_head(path: Path) -> RunRecord:
    with path.open("rb") as file:
        raw = file.read(_HEAD_BYTES)
        if _LOSSES_TABLE.encode() not in raw:
            raw += file.read()
    table = tomllib.loads(raw.decode("utf-8", "ignore").partition(_LOSSES_TABLE)[0])
    known = {f.name for f in fields(RunRecord)}
    record = RunRecord(**{k: v for k, v in table.items() if k in known})
    return replace(record, state=RunState(record.state))


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

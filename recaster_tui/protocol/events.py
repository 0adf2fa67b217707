"""Events of ``journal.jsonl``: what the trainer says (DESIGN section 4, protocol 1).

Payload of each type (keys of :attr:`Event.data`; a reader ignores keys it does not know):

``hello``       protocol, recaster, torch, python: version texts; pid; started: process start
                time as psutil reports it, unix s; device: {"kind", "name", "memory"?};
                host; model: name; iteration: where training begins; resumed: bool; seed
``phase``       phase: one of :class:`Phase`; text: a sentence for the status line
``progress``    what: "faces src" …; current, total: ints; unit; text
``iterations``  first: iteration number of the first row (iterations count from 1);
                rows: [[loss, …], …] one row an iteration, none left out;
                ms: mean milliseconds an iteration; its: iterations a second;
                data_share: 0..1, part of the step spent waiting for data;
                trained: seconds this start has trained, by a clock that nobody sets and that
                stands while the process is stopped
``metrics``     cpu (% of all cores), ram, ram_total (bytes), gpu (%), vram, vram_total,
                learning_rate, …: all optional; held_out: one measurement on faces that were
                never trained on {"iteration", "t": unix s, "since": iteration from which on they
                were not, "faces": {side: how many}, "src", "dst": {"held_out", "trained": loss},
                "mask": {"held_out", "trained": overlap 0..1}, "sharpness": of the swap,
                1 = as the real face, "seconds": it took, "share": 0..1 of the run's time that
                all of them took};
                at the start held_out_faces: {side: faces kept aside}, held_out_since,
                held_out_history: [measurements of earlier starts that still hold]
``preview``     iteration; views: [{"view": name, "file": path relative to the run folder,
                "columns": [names], "rows": n}]
``saved``       iteration, generation: folder name, bytes, seconds, sha256 (of the manifest)
``backup``/``snapshot``   like saved, with note and folder
``warning``     code, message, hint?, count?, files? (first names concerned)
``error``       code, message, hint?, fatal: bool
``rolled-back`` from_iteration, to_iteration, why: nan | spike | output (pictures black or even,
                masks empty or full) | oom; onset: the first iteration that the trouble may be
                in; message: what happened, as a phrase; learning_rate: the new one, or null;
                save: folder that was loaded, relative to the model's; the rows after
                to_iteration are void and come again
``restored``    written by whoever restored the model between two starts of the trainer, who held
                the locks of model and journal: from_iteration, to_iteration, name: of the
                snapshot; kept: name of the snapshot of what was before, or ""; options: what
                the next start begins with. losses.bin is that of the restored state
``ack``         id: of the control line; ok: bool; message: why not, or what it led to;
                offset: where the line starts in control.jsonl
``option``      key, value, iteration: an option was changed while training; with auto: true the
                option stays ``auto`` and value is the number found for it, why: what kept it from
                being larger (memory, speed, time, limit) or ``remembered``
``alive``       iteration
``done``        outcome: one of :class:`Outcome`; iteration: the last one trained; saved: the
                last one saved; message. Written by whoever killed a trainer that did not react
                in its place, then with killed: true
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

_TOO_LARGE = 1e15  # of a line's number, and of a time in unix seconds


class EventType(StrEnum):
    """The types of protocol 1."""

    HELLO = "hello"
    PHASE = "phase"
    PROGRESS = "progress"
    ITERATIONS = "iterations"
    METRICS = "metrics"
    PREVIEW = "preview"
    SAVED = "saved"
    BACKUP = "backup"
    SNAPSHOT = "snapshot"
    WARNING = "warning"
    ERROR = "error"
    ROLLED_BACK = "rolled-back"
    RESTORED = "restored"
    ACK = "ack"
    OPTION = "option"
    ALIVE = "alive"
    DONE = "done"


class Phase(StrEnum):
    """What the trainer is doing."""

    LOADING_DATA = "loading-data"
    BUILDING = "building"
    COMPILING = "compiling"
    PROBING_BATCH = "probing-batch"
    TRAINING = "training"
    PAUSED = "paused"
    SAVING = "saving"
    STOPPING = "stopping"


class Outcome(StrEnum):
    """How a trainer ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Event:
    """One journal line. ``seq`` starts at 1 and never jumps; ``t`` is unix seconds."""

    seq: int
    t: float
    type: str
    data: dict[str, Any] = field(default_factory=dict)


def encode_event(event: Event) -> bytes:
    """One line with its newline, ready for a single ``write(2)``.

    Losses may be NaN: JSON has no such number, so they are written as null.
    """
    record = {"v": 1, "seq": event.seq, "t": round(event.t, 3), "type": event.type, **event.data}
    text = json.dumps(_finite(record), separators=(",", ":"), ensure_ascii=False) + "\n"
    # Names of files that are no UTF-8 come as lone surrogates, which cannot be encoded.
    return text.encode("utf-8", "replace")


def decode_event(line: bytes | str) -> Event:
    """Parse one line. Raises ``ValueError`` when it is not an event (a torn line, say)."""
    try:
        record = json.loads(line)
    except RecursionError as error:
        raise ValueError("a journal line is nested too deeply") from error
    if not isinstance(record, dict):
        raise ValueError("a journal line must be an object")
    try:
        seq, t, kind = int(record.pop("seq")), float(record.pop("t")), str(record.pop("type"))
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"a journal line lacks {error}") from error
    if not (0 < seq < _TOO_LARGE and 0 <= t < _TOO_LARGE):
        raise ValueError("a journal line has a number or a time that cannot be")
    record.pop("v", None)
    return Event(seq, t, kind, record)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value

"""Commands of ``control.jsonl``: what a watcher asks the trainer to do (DESIGN section 4)."""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class CommandName(StrEnum):
    """What a trainer understands. Anything else is acknowledged as unknown."""

    PAUSE = "pause"
    RESUME = "resume"
    SAVE = "save"
    BACKUP = "backup"  # note: text
    SNAPSHOT = "snapshot"  # snapshot (its name), note: text
    PREVIEW = "preview"
    SET = "set"  # key, value: an option marked ``live`` in the schema
    STOP = "stop"  # save: bool, default true


@dataclass(frozen=True)
class Command:
    """One control line. ``id`` is unique within the run; the ``ack`` event repeats it."""

    id: str
    cmd: str
    args: dict[str, Any] = field(default_factory=dict)


def encode_command(command: Command) -> bytes:
    """One line with its newline, to be appended by a single ``write(2)`` with O_APPEND."""
    record = {"id": command.id, "cmd": str(command.cmd), **command.args}
    return (json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n").encode()


def decode_command(line: bytes | str) -> Command:
    """Parse one line. Raises ``ValueError`` when it is not a command."""
    record = json.loads(line)
    if not isinstance(record, dict) or "cmd" not in record:
        raise ValueError("a control line must be an object with a cmd")
    return Command(str(record.pop("id", "")), str(record.pop("cmd")), record)

"""The run folder: the whole conversation between a trainer and whoever watches it (DESIGN 4).

This room holds the words both sides share: file names, event and command types, the loss rows.
It has no opinion on processes, screens or tensors, so trainer, supervisor and tests import it.
"""

from recaster_tui.protocol.commands import Command, CommandName, decode_command, encode_command
from recaster_tui.protocol.events import (
    Event,
    EventType,
    Outcome,
    Phase,
    decode_event,
    encode_event,
)
from recaster_tui.protocol.folder import RunFolder
from recaster_tui.protocol.losses import LOSS_DTYPE, append_losses, read_losses, write_losses
from recaster_tui.protocol.spec import RunSpec, new_run_id, read_run_spec, write_run_spec

PROTOCOL_VERSION = 1

__all__ = [
    "LOSS_DTYPE",
    "PROTOCOL_VERSION",
    "Command",
    "CommandName",
    "Event",
    "EventType",
    "Outcome",
    "Phase",
    "RunFolder",
    "RunSpec",
    "append_losses",
    "decode_command",
    "decode_event",
    "encode_command",
    "encode_event",
    "new_run_id",
    "read_losses",
    "read_run_spec",
    "write_losses",
    "write_run_spec",
]

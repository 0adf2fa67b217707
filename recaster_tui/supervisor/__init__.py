"""Starting, following and remembering runs. No torch, no Textual: tests and CLI use it alone."""

from recaster_tui.supervisor.facts import Ack, Marker, Notice, Preview, PreviewImage, Progress
from recaster_tui.supervisor.history import History, RunRecord
from recaster_tui.supervisor.launcher import Launcher, ProcessId
from recaster_tui.supervisor.local import LocalLauncher
from recaster_tui.supervisor.losses import LossArray, Trend, decimate
from recaster_tui.supervisor.request import (
    ModelBusyError,
    RunRequest,
    default_model_name,
    make_spec,
)
from recaster_tui.supervisor.run import NoAnswerError, Run
from recaster_tui.supervisor.state import RunState, Status, advance, launched
from recaster_tui.supervisor.supervisor import Supervisor

__all__ = [
    "Ack",
    "History",
    "Launcher",
    "LocalLauncher",
    "LossArray",
    "Marker",
    "ModelBusyError",
    "NoAnswerError",
    "Notice",
    "Preview",
    "PreviewImage",
    "ProcessId",
    "Progress",
    "Run",
    "RunRecord",
    "RunRequest",
    "RunState",
    "Status",
    "Supervisor",
    "Trend",
    "advance",
    "decimate",
    "default_model_name",
    "launched",
    "make_spec",
]

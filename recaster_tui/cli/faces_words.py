"""How the commands of ``recaster faces`` answer."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recaster_tui.errors import ExitCode
from recaster_tui.faces.catalog import shown_name
from recaster_tui.faces.edits import EditInfo
from recaster_tui.faces.faceset import Skipped
from recaster_tui.faces.tools import ToolResult
from recaster_tui.workspace import open_workspace

_SHOWN = 10


def faces_folder(workspace: Path, side: str) -> Path:
    """Where the faces of *side* are.

    Raises:
        BadInputError: there is no such workspace.
    """
    opened = open_workspace(workspace)
    return opened.src_faces if side == "src" else opened.dst_faces


def say(text: str) -> None:
    """One line of the answer; what a terminal would obey is replaced."""
    shown = shown_name(text)
    sys.stdout.write("".join(c if c.isprintable() else "?" for c in shown) + "\n")


def say_json(value: Any) -> None:
    """The answer as JSON; what is no number becomes null."""
    sys.stdout.write(json.dumps(plain(value), indent=2) + "\n")


def plain(value: Any) -> Any:
    """*value* in JSON's types."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {shown_name(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return shown_name(value)
    return str(value) if isinstance(value, Path) else value


def faces_word(count: int) -> str:
    """``1 face``, ``1,200 faces``."""
    return "1 face" if count == 1 else f"{count:,} faces"


def skipped_json(skipped: Sequence[Skipped]) -> list[dict[str, str]]:
    """For ``--json``."""
    return [{"name": s.name, "code": s.code, "message": s.message} for s in skipped]


def say_skipped(skipped: Sequence[Skipped]) -> None:
    """On stderr, so that the answer stays clean: the first few files and why."""
    for item in skipped[:_SHOWN]:
        line = "".join(c if c.isprintable() else "?" for c in f"{item.name}: {item.message}")
        sys.stderr.write(f"skipped: {line}\n")
    if len(skipped) > _SHOWN:
        sys.stderr.write(f"skipped: and {len(skipped) - _SHOWN} more\n")


def say_result(result: ToolResult, what: str, *, as_json: bool) -> int:
    """Answer what a tool did; returns the exit code."""
    if as_json:
        say_json(
            {
                "done": result.done,
                "made": result.made,
                "kept": result.kept,
                "complete": result.complete,
                "skipped": skipped_json(result.skipped),
            }
        )
    else:
        say_skipped(result.skipped)
        where = f" in {result.made}" if result.made is not None else ""
        say(f"{what} {faces_word(result.done)}{where}")
        if result.kept is not None:
            say(f"what was there before is in {result.kept}")
        if not result.complete:
            say("stopped before the end")
    return ExitCode.OK if result.complete else ExitCode.INTERRUPTED


def edit_json(edit: EditInfo) -> dict[str, Any]:
    """For ``--json``."""
    return {
        "number": edit.number,
        "time": edit.time,
        "words": edit.words,
        "count": edit.count,
        "undone": edit.undone,
    }

"""The bodies of ``recaster faces check`` and ``recaster faces prune``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recaster_tui.cli.faces_words import faces_folder, faces_word, say, say_json
from recaster_tui.cli.progress import terminal_reporter
from recaster_tui.errors import ExitCode
from recaster_tui.faces.quality import (
    Check,
    Proposal,
    apply_prune,
    as_table,
    check_faceset,
    current_check,
    only,
)
from recaster_tui.jobs import reporting


def check_faces(
    workspace: Path, side: str, *, workers: int, worst: int, as_json: bool, job: Path | None
) -> int:
    """Check a side; see the command's help.

    Raises:
        RecasterError: as ``check_faceset``.
    """
    folder = faces_folder(workspace, side)
    with reporting(job, "check", side, lambda: terminal_reporter(as_json)) as report:
        result = check_faceset(folder, workers=max(0, workers), report=report)
        if result.complete and job is not None:
            report.note(summary(result))
    if as_json:
        say_json(as_table(result))
    elif result.complete:
        say(summary(result))
        _list(result.proposals, worst)
        if result.proposals:
            say(f"to move them to the trash: recaster faces prune {workspace} {side} --apply")
    if not result.complete:
        sys.stderr.write("stopped; the same command goes on there\n")
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def prune_faces(
    workspace: Path, side: str, *, apply: bool, codes: Sequence[str], as_json: bool
) -> int:
    """List or trash what the check proposes; see the command's help.

    Raises:
        RecasterError: as ``check_faceset`` and ``FaceEdits.trash``; an unknown code.
    """
    folder = faces_folder(workspace, side)
    only([], codes)  # a wrong code is said before the work
    result = current_check(folder)
    if result is None:
        with reporting(None, "check", side, lambda: terminal_reporter(as_json)) as report:
            result = check_faceset(folder, report=report)
        if not result.complete:
            sys.stderr.write("stopped; nothing was pruned\n")
            return ExitCode.INTERRUPTED
    chosen = only(result.proposals, codes)
    done = apply_prune(folder, chosen) if apply and chosen else None
    if as_json:
        answer: dict[str, Any] = {
            "folder": str(folder),
            "applied": done is not None,
            "faces": len(result.scores) + len(result.damaged),
            "proposals": [
                {"name": p.name, "reason": p.reason, "codes": list(p.codes)} for p in chosen
            ],
        }
        say_json(answer)
        return ExitCode.OK
    if not chosen:
        say("nothing to prune")
        return ExitCode.OK
    if done is None:
        _list(chosen, len(chosen))
        say(f"{faces_word(len(chosen))} proposed; add --apply to move them to the trash")
    else:
        say(f"{faces_word(len(chosen))} moved to {folder.name}_trash")
        say(f"to bring them back: recaster faces undo {workspace} {side}")
    return ExitCode.OK


def summary(result: Check) -> str:
    """What came out, in one line."""
    total = len(result.scores) + len(result.damaged)
    counts = ", ".join(f"{count} {code}" for code, count in result.counts().items())
    text = f"{faces_word(total)} checked, {len(result.proposals):,} proposed to prune"
    return f"{text} ({counts})" if counts else text


def _list(some: Sequence[Proposal], most: int) -> None:
    for proposal in some[:most]:
        say(f"  {proposal.name}  {proposal.reason}")
    if len(some) > most:
        say(f"  … and {len(some) - most:,} more")

"""The body of ``recaster extract``."""

import json
import sys
from pathlib import Path

from recaster_tui.cli.progress import terminal_reporter
from recaster_tui.cli.words import duration
from recaster_tui.errors import DamagedError, ExitCode
from recaster_tui.extraction.pipeline import check_readable, extract
from recaster_tui.extraction.report import ExtractReport
from recaster_tui.extraction.settings import ExtractSettings
from recaster_tui.jobs import reporting
from recaster_tui.workspace import open_workspace


def run_extract(
    folder: Path, side: str, settings: ExtractSettings, *, as_json: bool, job: Path | None
) -> int:
    """Extract a side; see the command's help.

    Raises:
        RecasterError: as ``extract``; :class:`DamagedError` also where the video is damaged, after
            everything that could be decoded was done.
    """
    workspace = open_workspace(folder, must_look_right=settings.input is None)
    with reporting(job, "extract", side, lambda: terminal_reporter(as_json)) as report:
        result = extract(workspace, side, settings, report)
        stopped = report.stop_requested() and not result.complete
        if not stopped:
            report.note(summary(result))
        if as_json:
            sys.stdout.write(json.dumps(result.table(), indent=2) + "\n")
        check_readable(result)
        if result.problems and not stopped:
            raise DamagedError(
                f"the video is damaged: {'; '.join(result.problems)}",
                where=workspace.absolute(result.input),
                hint=f"{result.faces:,} faces of {result.frames:,} frames are kept; "
                "a whole copy of the video goes on there",
            )
    if stopped:
        sys.stderr.write("stopped; the same command goes on there\n")
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def summary(result: ExtractReport) -> str:
    """What came out, in one line."""
    if not result.new_frames:
        return (
            f"nothing to do: all {result.frames:,} frames are done, {result.faces:,} faces "
            "(--fresh begins anew)"
        )
    parts = [
        f"faces: {result.faces:,}, of frames: {result.frames:,}, in {duration(result.seconds)}"
    ]
    for count, text in (
        (len(result.none), "without a face"),
        (len(result.several), "with several"),
        (len(result.doubtful), "doubtful"),
        (len(result.unreadable), "unreadable"),
    ):
        if count:
            parts.append(f"{count:,} {text}")
    return "; ".join(parts)

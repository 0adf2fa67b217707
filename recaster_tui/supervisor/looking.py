"""Looking for runs on the disk: which folders tell more than the history knows.

Everything here may take a while where there are thousands of runs: it is for threads.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from recaster_tui.protocol import RunFolder
from recaster_tui.supervisor.history import History, RunRecord
from recaster_tui.supervisor.run_filter import haystack
from recaster_tui.workspace import Workspace

_GOODBYE_SECONDS = 60.0


def searchable(history: History) -> list[RunRecord]:
    """The records, ready to be searched."""
    records = history.records()
    for record in records:
        haystack(record)  # now, and not at the first letter that somebody types
    return records


def run_folders(workspace: Workspace) -> Iterator[RunFolder]:
    """Newest first: their names begin with the time."""
    try:
        names = sorted(os.listdir(workspace.runs), reverse=True)  # noqa: PTH208 - names, quickly
    except OSError:
        return
    for name in names:
        folder = RunFolder(workspace.runs / name)
        if folder.spec.is_file():
            yield folder


def with_news(
    workspaces: Sequence[Workspace], table: Mapping[str, RunRecord], held: frozenset[str]
) -> list[RunFolder]:
    """Run folders that may tell more than the history knows, newest first."""
    found = []
    for workspace in workspaces:
        root = str(workspace.root)
        for folder in run_folders(workspace):
            record = table.get(folder.run_id)
            known = record is not None and record.workspace == root and record.state.over
            if folder.run_id in held or not (known and record and not has_news(folder, record)):
                found.append(folder)
    return found


def perhaps_alive(workspace: Workspace, table: Mapping[str, RunRecord]) -> list[RunFolder]:
    """Run folders whose trainer is not known to be gone for long."""
    found = []
    for folder in run_folders(workspace):
        record = table.get(folder.run_id)
        over = record is not None and record.state.over and not has_news(folder, record)
        if not over or (record and time.time() - record.ended < _GOODBYE_SECONDS):
            found.append(folder)
    return found


def gone_runs(records: Sequence[RunRecord]) -> frozenset[str]:
    """Ids of runs whose folder is not there; asks each workspace once."""
    there: dict[str, set[str]] = {}
    gone = []
    for record in records:
        if record.workspace not in there:
            place = Path(record.workspace) / "runs"
            try:
                there[record.workspace] = set(os.listdir(place))  # noqa: PTH208 - as above
            except OSError:
                there[record.workspace] = set()
        if record.run_id not in there[record.workspace]:
            gone.append(record.run_id)
    return frozenset(gone)


def told_more(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Those whose journal goes on after what the record digests, or that may live."""
    return [r for r in records if r.state.live or has_news(r.folder, r)]


def newest_change(folder: RunFolder) -> float:
    """When the trainer or whoever started it last wrote; 0 where nothing is there."""
    newest = 0.0
    for path in (folder.journal, folder.process):
        with contextlib.suppress(OSError):
            newest = max(newest, path.stat().st_mtime)
    return newest


def has_news(folder: RunFolder, record: RunRecord) -> bool:
    """Whether the folder tells more than *record* does."""
    try:
        # Shorter after a power cut, which may take the last lines along.
        if folder.journal.stat().st_size != record.journal_bytes:
            return True
        return folder.process.stat().st_mtime > record.updated
    except OSError:
        return False

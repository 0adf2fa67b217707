"""``recaster faces`` trash, restore, undo, redo, history and recover-names."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from recaster_tui.cli.faces_words import (
    edit_json,
    faces_folder,
    faces_word,
    say,
    say_json,
    say_skipped,
    skipped_json,
)
from recaster_tui.cli.progress import terminal_reporter
from recaster_tui.errors import BadInputError, ExitCode
from recaster_tui.faces.catalog import Catalog, parse_filter
from recaster_tui.faces.edits import EditInfo, FaceEdits
from recaster_tui.faces.tools_metadata import original_names, recover_names
from recaster_tui.jobs import reporting

_SHOWN = 20


def trash_faces(
    workspace: Path, side: str, names: Sequence[str], terms: str, *, apply: bool, as_json: bool
) -> int:
    """Move faces to the trash; see the command's help.

    Raises:
        BadInputError: neither names nor a filter, or both; a name that is not there.
    """
    folder = faces_folder(workspace, side)
    if bool(names) == bool(terms):
        raise BadInputError(
            "say which faces: their names, or --filter",
            hint="for example: recaster faces trash . src 00012_0.jpg",
        )
    catalog = Catalog.open(folder)
    if terms:
        wanted = parse_filter(terms, catalog.columns)
        with reporting(None, "faces", side, lambda: terminal_reporter(as_json)) as report:
            for known in catalog.refresh(report.stop_requested):
                report.progress(known, len(catalog), "measuring faces")
            if report.stop_requested():
                return ExitCode.INTERRUPTED
        names = [catalog.names[i] for i in catalog.matching(wanted).nonzero()[0]]
    else:
        missing = [name for name in names if catalog.index(name) is None]
        if missing:
            raise BadInputError(f"there is no face {missing[0]!r}", where=folder)
        apply = True
    edit = FaceEdits(folder).trash(names, terms) if apply and names else None
    if as_json:
        say_json({"names": names, "applied": apply, "edit": edit and edit_json(edit)})
    elif not names:
        say("no face matches")
    elif edit is None:
        _list(names)
        say(f"{faces_word(len(names))}; nothing was moved, --apply moves them to the trash")
    else:
        say(edit.words)
    return ExitCode.OK


def restore_faces(
    workspace: Path, side: str, names: Sequence[str], *, everything: bool, as_json: bool
) -> int:
    """Move faces back from the trash; see the command's help.

    Raises:
        BadInputError: a name that is not in the trash.
    """
    edits = FaceEdits(faces_folder(workspace, side))
    trashed = edits.trashed()
    if everything and names:
        raise BadInputError("either name faces or say --all, not both")
    chosen = trashed if everything else list(names)
    missing = [name for name in chosen if name not in trashed]
    if missing:
        raise BadInputError(f"{missing[0]!r} is not in the trash", where=edits.trash_folder)
    edit = edits.restore(chosen) if chosen else None
    if as_json:
        say_json({"trashed": edits.trashed(), "edit": edit and edit_json(edit)})
    elif edit is not None:
        say(edit.words)
    elif not trashed:
        say("the trash is empty")
    else:
        _list(trashed)
        say(f"{faces_word(len(trashed))} in {edits.trash_folder}; name some, or say --all")
    return ExitCode.OK


def undo_edit(workspace: Path, side: str, *, as_json: bool) -> int:
    """Undo; see the command's help."""
    said = FaceEdits(faces_folder(workspace, side)).undo()
    return _said(said, "nothing to undo", as_json=as_json)


def redo_edit(workspace: Path, side: str, *, as_json: bool) -> int:
    """Redo; see the command's help."""
    said = FaceEdits(faces_folder(workspace, side)).redo()
    return _said(said, "nothing to do again", as_json=as_json)


def show_history(workspace: Path, side: str, *, as_json: bool) -> int:
    """List edits; see the command's help."""
    found = FaceEdits(faces_folder(workspace, side)).history()
    if as_json:
        say_json([edit_json(edit) for edit in found])
        return ExitCode.OK
    if not found:
        say("no edits yet")
    for edit in found:
        say(_line(edit))
    return ExitCode.OK


def recover_frame_names(workspace: Path, side: str, *, apply: bool, as_json: bool) -> int:
    """Give faces the names of their frames; see the command's help."""
    folder = faces_folder(workspace, side)
    with reporting(None, "faces", side, lambda: terminal_reporter(as_json)) as report:
        pairs, result = original_names(Catalog.open(folder), report)
    if not result.complete:
        return ExitCode.INTERRUPTED
    edit = recover_names(FaceEdits(folder), pairs) if apply else None
    if as_json:
        found = {"renamed": pairs, "applied": apply, "skipped": skipped_json(result.skipped)}
        say_json(found)
        return ExitCode.OK
    say_skipped(result.skipped)
    if edit is not None:
        say(edit.words)
    elif not pairs:
        say("every name is right already")
    else:
        _pairs(pairs)
        say(f"{faces_word(len(pairs))}; nothing was renamed, --apply renames them")
    return ExitCode.OK


def _said(said: str | None, nothing: str, *, as_json: bool) -> int:
    if as_json:
        say_json({"did": said})
    else:
        say(said or nothing)
    return ExitCode.OK


def _line(edit: EditInfo) -> str:
    when = datetime.fromtimestamp(edit.time).strftime("%Y-%m-%d %H:%M:%S")
    return f"{edit.number:>4}  {when}  {edit.words}{'  (undone)' if edit.undone else ''}"


def _list(names: Sequence[str]) -> None:
    for name in names[:_SHOWN]:
        say(name)
    if len(names) > _SHOWN:
        say(f"… and {len(names) - _SHOWN:,} more")


def _pairs(pairs: Mapping[str, str]) -> None:
    for old, new in list(pairs.items())[:_SHOWN]:
        say(f"{old} → {new}")
    if len(pairs) > _SHOWN:
        say(f"… and {len(pairs) - _SHOWN:,} more")

"""Edits of a folder of .jpg files: see :mod:`recaster_tui.faces.edits`."""

import glob
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recaster_tui.errors import BadInputError, RecasterError
from recaster_tui.faces.codec import compose_face, jpeg_bytes
from recaster_tui.faces.edit_journal import OLD, Journal, Operation
from recaster_tui.faces.edit_moves import Phase, free, run_back, run_forward
from recaster_tui.faces.edit_records import Record, append_record, make_record, read_records
from recaster_tui.faces.face import Face, FaceFileError
from recaster_tui.faces.jpeg import read_header
from recaster_tui.files import write_atomic

log = logging.getLogger(__name__)

_MOST_BYTES = 240


def faces_text(count: int) -> str:
    """``1 face``, ``2 faces``."""
    return "1 face" if count == 1 else f"{count} faces"


def check_new_name(name: str, where: Path) -> None:
    """Refuse what cannot be the name of a face.

    Raises:
        BadInputError: it has a folder in it, is hidden, too long, or does not end in ``.jpg``.
    """
    raw = name.encode("utf-8", "surrogateescape")
    if (
        "/" in name
        or "\0" in name
        or name.startswith(".")
        or not name.endswith(".jpg")
        or len(raw) > _MOST_BYTES
    ):
        raise BadInputError(
            f"a face cannot be called {name!r}",
            where=where,
            hint="names end in .jpg, do not begin with a dot and have no folder in them",
        )


def check_jpeg(data: bytes, where: Path) -> None:
    """Refuse what is no whole JPEG.

    Raises:
        FaceFileError: see ``jpeg.read_header``.
    """
    try:
        read_header(lambda offset, count: data[offset : offset + count], len(data))
    except FaceFileError as error:
        raise FaceFileError(error.message, code=error.code, where=where) from error


class FolderEdits:
    """Edits of loose files. Called with the journal locked."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.folder = folder
        self.journal = journal
        self.trash_folder = journal.trash

    # --- moves ------------------------------------------------------------------------------

    def trash(self, names: Sequence[str], reason: str) -> Operation | None:
        """See ``FaceEdits.trash``."""
        there = [name for name in names if self._is_file(self.folder, name)]
        moves, origins = [], {}
        taken: set[Path] = set()
        for name in there:
            target = free(self.trash_folder / name, lambda p: p in taken or os.path.lexists(p))
            taken.add(target)
            moves.append((f"f/{name}", f"t/{target.name}"))
            origins[target.name] = name
        words = f"moved {faces_text(len(moves))} to the trash" + (f": {reason}" if reason else "")
        return self._move(words, [("to", moves)], len(moves), origins=origins)

    def restore(self, names: Sequence[str], origins: Mapping[str, str]) -> Operation | None:
        """See ``FaceEdits.restore``."""
        moves = []
        taken: set[Path] = set()
        for name in names:
            if not self._is_file(self.trash_folder, name):
                raise BadInputError(f"{name!r} is not in the trash", where=self.trash_folder)
            wanted = origins.get(name, name).rsplit("/", 1)[-1]
            target = free(self.folder / wanted, lambda p: p in taken or os.path.lexists(p))
            taken.add(target)
            moves.append((f"t/{name}", f"f/{target.name}"))
        words = f"restored {faces_text(len(moves))} from the trash"
        return self._move(words, [("to", moves)], len(moves))

    def rename(self, pairs: Sequence[tuple[str, str]], words: str) -> Operation | None:
        """See ``FaceEdits.rename``."""
        changed = [(old, new) for old, new in pairs if old != new]
        check_renames(pairs, self.folder)
        going = {old for old, _ in changed}
        for old, new in pairs:
            if not self._is_file(self.folder, old):
                raise BadInputError(f"there is no face {old!r}", where=self.folder)
            if new not in going and new != old and os.path.lexists(self.folder / new):
                raise BadInputError(
                    f"{new!r} exists already", where=self.folder, hint="nothing was renamed"
                )
        number = self.journal.next_number
        between = [f"f/.recaster-{number}-{i}.jpg" for i in range(len(changed))]
        phases = [
            (
                "to",
                [(f"f/{old}", middle) for (old, _), middle in zip(changed, between, strict=True)],
            ),
            (
                "from",
                [(middle, f"f/{new}") for (_, new), middle in zip(changed, between, strict=True)],
            ),
        ]
        return self._move(words or f"renamed {faces_text(len(changed))}", phases, len(changed))

    def _move(
        self,
        words: str,
        phases: list[tuple[str, list[tuple[str, str]]]],
        count: int,
        **data: Any,
    ) -> Operation | None:
        if not count:
            return None
        operation = self.journal.begin("moves", words, count, {"phases": phases, **data})
        self._forward(operation, first=True)
        return operation

    def _forward(self, operation: Operation, *, first: bool) -> None:
        try:
            for number, phase in enumerate(self._phases(operation)):
                if number or not first:
                    self._mark(operation, number, "do", complete=False)
                run_forward(phase)
            self._end(operation, "done")
        except OSError as error:
            self._back(operation, complete=False)
            raise self.journal.problem(error) from error
        except RecasterError:
            self._back(operation, complete=False)
            raise

    def _back(self, operation: Operation, *, complete: bool) -> list[tuple[Path, Path]]:
        phases = self._phases(operation)
        last = len(phases) - 1 if complete else operation.phase
        wrong: list[tuple[Path, Path]] = []
        for number in range(last, -1, -1):
            self._mark(operation, number, "back", complete=complete)
            wrong += run_back(phases[number], complete=complete)
        if complete:
            self._end(operation, "undone", exact=not wrong)
        else:
            self._end(operation, "undone", dropped=not operation.data.get("again", False))
        return wrong

    def _phases(self, operation: Operation) -> list[Phase]:
        return [
            Phase([(self._place(a), self._place(b)) for a, b in moves], fresh)
            for fresh, moves in operation.data["phases"]
        ]

    def _place(self, text: str) -> Path:
        # The journal may come from a stranger: it cannot lead out of the two folders.
        kind, _, name = text.partition("/")
        if not name or "/" in name or name in (".", "..") or kind not in ("f", "t"):
            raise self.journal.damaged()
        return (self.folder if kind == "f" else self.trash_folder) / name

    # --- rewriting --------------------------------------------------------------------------

    def batch(self, words: str) -> "FolderBatch":
        """See ``FaceEdits.batch``."""
        return FolderBatch(self, words)

    def records(self, operation: Operation) -> Path:
        """Where old and new contents of an operation lie."""
        return self.trash_folder / OLD / f"{operation.number}.bin"

    def _rewrite(self, operation: Operation, *, old: bool) -> int:
        """Put the old or new content of every record in place; how many were something else."""
        failed = 0
        records = list(read_records(self.records(operation)))
        for record in reversed(records) if old else records:
            path = self._place(f"f/{record.name}")
            try:
                present = jpeg_bytes(path)
            except FaceFileError as error:
                log.warning("not %s: %s", "undone" if old else "done again", error)
                failed += 1
                continue
            content = record.content(present, old=old)
            if content is None:
                failed += 1
            elif content != present:
                write_atomic(path, content)
        return failed

    # --- undo, redo, recovery ---------------------------------------------------------------

    def undo(self, operation: Operation) -> str:
        """Take a done operation back; says what was not as it should be."""
        try:
            if operation.kind == "records":
                self._mark(operation, 0, "back", complete=True)
                return self._end_rewriting(operation, "undone", self._rewrite(operation, old=True))
            return _wrong(self._back(operation, complete=True))
        except OSError as error:
            raise self.journal.problem(error) from error

    def redo(self, operation: Operation) -> str:
        """Do an undone operation again."""
        try:
            if operation.kind == "records":
                self._mark(operation, 0, "do", complete=False)
                return self._end_rewriting(operation, "done", self._rewrite(operation, old=False))
            self._check_redo(operation)
            self._forward(operation, first=False)
        except OSError as error:
            raise self.journal.problem(error) from error
        return ""

    def recover(self, operation: Operation) -> str:
        """End an operation that a crash interrupted; says how."""
        try:
            if operation.kind == "records":
                self._sweep(operation)
                if operation.way == "back":
                    failed = self._rewrite(operation, old=True)
                    return "it was taken back" + self._end_rewriting(operation, "undone", failed)
                return self._keep(operation)
            complete = bool(operation.data.get("complete", False))
            if complete:
                phases = self._phases(operation)
                wrong: list[tuple[Path, Path]] = []
                for number in range(min(operation.phase, len(phases) - 1), -1, -1):
                    self._mark(operation, number, "back", complete=True)
                    wrong += run_back(phases[number], complete=True)
                # A file may have found its place before the crash; that cannot be told any more.
                self._end(operation, "undone", exact=not wrong)
            else:
                self._back(operation, complete=False)
        except OSError as error:
            raise self.journal.problem(error) from error
        return "it was taken back"

    def _sweep(self, operation: Operation) -> None:
        """Remove the half-written file that a crash may have left beside a face."""
        for record in read_records(self.records(operation)):
            self._place(f"f/{record.name}")  # refuses names that lead elsewhere
            remove_torn(self.folder, record.name)

    def _keep(self, operation: Operation) -> str:
        """A batch stays as far as it came: every face in it is whole."""
        done = 0
        for record in read_records(self.records(operation)):
            try:
                done += record.is_new(jpeg_bytes(self._place(f"f/{record.name}")))
            except FaceFileError:
                continue
        if done:
            self._end(operation, "done", count=done)
            return f"what was done until then stays ({faces_text(done)})"
        self._end(operation, "undone", dropped=not operation.data.get("again", False))
        return "nothing had been changed"

    def _check_redo(self, operation: Operation) -> None:
        gone = set()
        for _, moves in operation.data["phases"]:
            for source, target in moves:
                if not target.startswith("f/.recaster-") and not source.startswith("f/.recaster-"):
                    self._check_free(source, target)
                elif source.startswith("f/.recaster-"):
                    if target not in gone and os.path.lexists(self._place(target)):
                        raise _changed(self.folder)
                else:
                    gone.add(source)
                    if not os.path.lexists(self._place(source)):
                        raise _changed(self.folder)

    def _check_free(self, source: str, target: str) -> None:
        if not os.path.lexists(self._place(source)) or os.path.lexists(self._place(target)):
            raise _changed(self.folder)

    def _end_rewriting(self, operation: Operation, ended: str, failed: int) -> str:
        self._end(operation, ended)
        return f" ({faces_text(failed)} had changed since: left alone)" if failed else ""

    def _mark(self, operation: Operation, phase: int, way: str, *, complete: bool) -> None:
        self.journal.mark(operation, phase, way, complete=complete)

    def _end(self, operation: Operation, ended: str, **more: Any) -> None:
        self.journal.append({"id": operation.number, "end": ended, **more})

    def _is_file(self, folder: Path, name: str) -> bool:
        if not name or "/" in name or "\0" in name or name in (".", ".."):
            raise BadInputError(f"{name!r} is not the name of a face", where=folder)
        return os.path.isfile(folder / name)  # noqa: PTH113 - False for names that are too long


class FolderBatch:
    """Rewrites single faces; each is whole at every instant."""

    def __init__(self, edits: FolderEdits, words: str) -> None:
        self._edits = edits
        self._words = words
        self._operation: Operation | None = None
        self._changed: Counter[str] = Counter()

    def replace_metadata(self, name: str, face: Face) -> None:
        """See ``FaceEdits.replace_metadata``."""
        path = self._path(name)
        present = jpeg_bytes(path)
        self._write(path, present, compose_face(present, face, where=path))

    def replace_file(self, name: str, data: bytes) -> None:
        """See ``FaceEdits.replace_file``."""
        path = self._path(name)
        check_jpeg(data, path)
        self._write(path, jpeg_bytes(path), data)

    def finish(self) -> Operation | None:
        """Write the end into the journal; None where nothing was changed."""
        if self._operation is not None:
            self._edits._end(self._operation, "done", count=len(self._changed))
        return self._operation

    def _path(self, name: str) -> Path:
        if not self._edits._is_file(self._edits.folder, name):
            raise BadInputError(f"there is no face {name!r}", where=self._edits.folder)
        return self._edits.folder / name

    def _write(self, path: Path, old: bytes, new: bytes) -> None:
        if old == new:
            return
        journal = self._edits.journal
        if self._operation is None:
            self._operation = journal.begin("records", self._words, 0, {})
        record: Record = make_record(path.name, old, new)
        try:
            append_record(self._edits.records(self._operation), record)
            write_atomic(path, new)
        except OSError as error:
            raise journal.problem(error) from error
        self._changed[path.name] += 1


def remove_torn(folder: Path, name: str) -> None:
    """Remove what an interrupted ``write_atomic`` of a file leaves beside it."""
    for path in folder.glob(f".{glob.escape(name)}.*.tmp"):
        path.unlink(missing_ok=True)


def check_renames(pairs: Sequence[tuple[str, str]], where: Path) -> None:
    """Refuse pairs with a name that comes twice or cannot be one.

    Raises:
        BadInputError: see above.
    """
    for names in ([old for old, _ in pairs], [new for _, new in pairs]):
        twice = [name for name, number in Counter(names).items() if number > 1]
        if twice:
            raise BadInputError(f"{twice[0]!r} comes twice", where=where)
    for old, new in pairs:
        if old != new:
            check_new_name(new, where)


def _changed(folder: Path) -> BadInputError:
    return BadInputError(
        "this cannot be done again: files have come or gone since",
        where=folder,
    )


def _wrong(wrong: list[tuple[Path, Path]]) -> str:
    gone = sum(a == b for a, b in wrong)
    parts = []
    if gone:
        parts.append(f"{faces_text(gone)} had gone")
    if len(wrong) > gone:
        other = next(b for a, b in wrong if a != b)
        parts.append(f"{faces_text(len(wrong) - gone)} got another name, such as {other.name}")
    return f" ({', '.join(parts)})" if parts else ""

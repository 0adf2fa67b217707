"""Editing a faceset so that everything can be undone, also tomorrow and after a crash.

Nothing is ever deleted or overwritten without its old content being kept: faces that are taken out
go to the sibling folder ``<folder>_trash``, and what undoing needs besides lies in its ``old/``.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from recaster_tui.errors import BadInputError, RecasterError
from recaster_tui.faces.edit_folder import FolderEdits
from recaster_tui.faces.edit_journal import Journal, Operation
from recaster_tui.faces.edit_pack import PackEdits
from recaster_tui.faces.face import Face
from recaster_tui.faces.pack import PACK_NAME

__all__ = ["Batch", "EditInfo", "FaceEdits"]


@dataclass(frozen=True)
class EditInfo:
    """One edit of the history.

    Attributes:
        number: counts up.
        time: Unix seconds.
        words: what it did, e.g. ``moved 3 faces to the trash: blurred``.
        count: how many faces.
        undone: it was undone, and can be done again.
    """

    number: int
    time: float
    words: str
    count: int
    undone: bool = False


class Batch(Protocol):
    """Changes of single faces that are undone together."""

    def replace_metadata(self, name: str, face: Face) -> None:
        """See :meth:`FaceEdits.replace_metadata`."""
        ...

    def replace_file(self, name: str, data: bytes) -> None:
        """See :meth:`FaceEdits.replace_file`."""
        ...


class FaceEdits:
    """Undoable edits of the faces in a folder, or in its ``faceset.pak``.

    Opening takes an edit that a crash interrupted back to where it began (a batch of metadata
    stays as far as it came): :attr:`recovered` says so in words. Every method may raise
    ``BadInputError`` (no such face, another process is editing) and ``EnvironmentProblem`` (the
    disk); then nothing has changed.

    Args:
        folder: of the faces (or a .pak file in it); names are those of ``Catalog.names``.
    """

    def __init__(self, folder: Path) -> None:
        folder = Path(folder)
        if folder.suffix == ".pak" and not folder.is_dir():
            folder = folder.parent
        self.folder = folder.resolve()
        self.trash_folder = self.folder.with_name(f"{self.folder.name}_trash")
        self._journal = Journal(self.trash_folder)
        self._files = FolderEdits(self.folder, self._journal)
        self._packed = PackEdits(self.folder / PACK_NAME, self._journal)
        self._changed: Operation | None = None
        self.recovered: str | None = None
        # If it cannot be read, the first edit says why. If another process is in the middle of
        # an edit, that will end it, or we will later.
        with contextlib.suppress(RecasterError):
            self._journal.read()
            if any(op.ended is None for op in self._journal.operations):
                with self._locked():
                    pass

    @property
    def pack(self) -> bool:
        """Whether the faces are those of a ``faceset.pak``."""
        return self._packed.path.is_file()

    # --- edits ------------------------------------------------------------------------------

    def trash(self, names: Iterable[str], reason: str = "") -> EditInfo | None:
        """Move faces to the trash folder. Names that are gone already are left out.

        Returns:
            what was done; None if none of *names* was there.
        """
        with self._locked():
            return _info(self._backend.trash(_unique(names), reason))

    def restore(self, names: Iterable[str]) -> EditInfo | None:
        """Move faces from the trash folder back, to their old names where those are free.

        Args:
            names: file names in the trash folder (:meth:`trashed`).
        """
        with self._locked():
            chosen = _unique(names)
            return _info(self._backend.restore(chosen, self._origins()))

    def rename(
        self, pairs: Mapping[str, str] | Iterable[tuple[str, str]], words: str = ""
    ) -> EditInfo | None:
        """Rename faces, all or none; names may be swapped.

        Args:
            pairs: old name, new name.
            words: what this is, for the history; default ``renamed N faces``.
        """
        listed = list(pairs.items() if isinstance(pairs, Mapping) else pairs)
        with self._locked():
            return _info(self._backend.rename(listed, words))

    def replace_metadata(self, name: str, face: Face, words: str = "") -> EditInfo | None:
        """Write changed metadata into a face's file, in one step; its pixels stay byte for byte.

        Returns:
            None where nothing was different.

        Raises:
            FaceFileError: the file is damaged, or DFL could not read the result.
        """
        with self.batch(words or f"changed {name}") as batch:
            batch.replace_metadata(name, face)
        return self._last()

    def replace_file(self, name: str, data: bytes, words: str = "") -> EditInfo | None:
        """Replace the whole file of a face, in one step.

        Raises:
            FaceFileError: *data* is no JPEG.
        """
        with self.batch(words or f"replaced {name}") as batch:
            batch.replace_file(name, data)
        return self._last()

    @contextlib.contextmanager
    def batch(self, words: str) -> Iterator[Batch]:
        """Change many faces in one edit. Other edits wait until it is over; if it ends by an
        error, what was changed until then stays (and can be undone).

        Args:
            words: for the history, e.g. ``applied the mask to 120 faces``.
        """
        with self._locked(translate=False):
            self._changed = None
            batch = self._backend.batch(words)
            try:
                yield batch
            finally:
                self._changed = batch.finish()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep everybody from editing these faces, while they are packed for example."""
        with self._locked(translate=False):
            yield

    # --- history ----------------------------------------------------------------------------

    def undo(self) -> str | None:
        """Take the last edit back. Says in words what it did; None if there is nothing."""
        if not self._journal.path.exists():
            return None
        with self._locked():
            operation = self._journal_last("done")
            if operation is None:
                return None
            with self._journal.understood():
                return f"undone: {operation.words}{self._backend_of(operation).undo(operation)}"

    def redo(self) -> str | None:
        """Do again what was undone last. Says in words what it did; None if there is nothing."""
        if not self._journal.path.exists():
            return None
        with self._locked():
            operation = self._journal_first_undone()
            if operation is None:
                return None
            with self._journal.understood():
                return f"done again: {operation.words}{self._backend_of(operation).redo(operation)}"

    def history(self) -> list[EditInfo]:
        """Every edit that can be undone or done again, the oldest first."""
        self._journal.read()
        return [
            EditInfo(op.number, op.time, op.words, op.count, op.ended == "undone")
            for op in self._journal.operations
            if op.ended == "done" or (op.ended == "undone" and op.exact and not op.dropped)
        ]

    def trashed(self) -> list[str]:
        """Names of the faces in the trash folder, sorted."""
        try:
            with os.scandir(self.trash_folder) as entries:
                return sorted(
                    entry.name
                    for entry in entries
                    if entry.name.endswith(".jpg")
                    and not entry.name.startswith(".")
                    and entry.is_file()
                )
        except OSError:
            return []

    # --- inside -----------------------------------------------------------------------------

    @property
    def _backend(self) -> "FolderEdits | PackEdits":
        return self._packed if self.pack else self._files

    def _backend_of(self, operation: Operation) -> "FolderEdits | PackEdits":
        packed = operation.kind == "pack"
        if packed != self.pack:
            raise BadInputError(
                "this edit cannot be undone: the faces were "
                + ("unpacked" if packed else "packed")
                + " since",
                where=self.folder,
            )
        return self._packed if packed else self._files

    @contextlib.contextmanager
    def _locked(self, *, translate: bool = True) -> Iterator[None]:
        if not self.folder.is_dir():
            raise BadInputError("there is no such folder of faces", where=self.folder)
        with self._journal.locked():
            self._recover()
            try:
                yield
            except OSError as error:
                if not translate:  # it may be the caller's own
                    raise
                raise self._journal.problem(error) from error

    def _recover(self) -> None:
        for operation in reversed(self._journal.operations):
            if operation.ended is None:
                backend = self._packed if operation.kind == "pack" else self._files
                with self._journal.understood():
                    said = backend.recover(operation)
                self.recovered = f"an edit was interrupted: {operation.words}; {said}"

    def _journal_last(self, ended: str) -> Operation | None:
        found = (op for op in reversed(self._journal.operations) if op.ended == ended)
        return next(found, None)

    def _journal_first_undone(self) -> Operation | None:
        """What was undone last: the oldest of those that can be done again."""
        usable = [op for op in self._journal.operations if op.ended == "undone" and not op.dropped]
        return usable[0] if usable and usable[0].exact else None

    def _origins(self) -> dict[str, str]:
        """Name in the trash -> name of the face before."""
        found: dict[str, str] = {}
        for op in self._journal.operations:
            origins = op.data.get("origins")
            if op.ended == "done" and isinstance(origins, dict):
                found |= {k: v for k, v in origins.items() if isinstance(v, str)}
        return found

    def _last(self) -> EditInfo | None:
        return _info(self._changed)


def _info(operation: Operation | None) -> EditInfo | None:
    if operation is None or operation.count == 0:
        return None
    return EditInfo(operation.number, operation.time, operation.words, operation.count)


def _unique(names: Iterable[str]) -> Sequence[str]:
    return list(dict.fromkeys([names] if isinstance(names, str) else names))

"""Work on whole facesets: what the tools (``tools_*.py``) share.

No tool deletes anything. What it replaces or no longer needs goes to a dated folder inside
``<folder>_trash``, from where it can be moved back by hand; edits of single faces go through
:class:`~recaster_tui.faces.edits.FaceEdits` and are undone by it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from recaster_tui.errors import BadInputError, EnvironmentProblem
from recaster_tui.faces.catalog import Catalog, shown_name
from recaster_tui.faces.face import FaceFileError
from recaster_tui.faces.faceset import Skipped
from recaster_tui.faces.pack import PACK_NAME
from recaster_tui.jobs import Reporter


@dataclass
class ToolResult:
    """What a tool did.

    Attributes:
        done: faces it worked on.
        skipped: faces it could not use, with the reason.
        made: the file or folder it wrote; None where it edited the faces themselves.
        kept: where it moved what it replaced; None where it moved nothing.
        complete: False when it was stopped before the end.
    """

    done: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    made: Path | None = None
    kept: Path | None = None
    complete: bool = True

    def skip(self, name: str, error: FaceFileError | BadInputError) -> None:
        """Note that *name* could not be used."""
        code = error.code if isinstance(error, FaceFileError) else "unsupported"
        self.skipped.append(Skipped(shown_name(name), code, error.message))


def each(catalog: Catalog, result: ToolResult, report: Reporter, text: str) -> Iterator[int]:
    """Every index of *catalog*, telling the progress; ends early when asked to stop."""
    for index in range(len(catalog)):
        if report.stop_requested():
            result.complete = False
            return
        yield index
        report.progress(index + 1, len(catalog), text, faces=result.done)


def trash_folder(folder: Path) -> Path:
    """Sibling of a faces folder where nothing is lost, as ``FaceEdits`` names it."""
    whole = folder.resolve()
    return whole.with_name(f"{whole.name}_trash")


def set_aside(folder: Path, paths: Iterable[Path], why: str) -> Path | None:
    """Move files below *folder* into ``<folder>_trash/<why>-<date>/``, subfolders kept.

    Returns:
        that folder; None where *paths* is empty.

    Raises:
        EnvironmentProblem: the disk; what was moved until then stays moved.
    """
    chosen = list(paths)
    if not chosen:
        return None
    stamp = f"{why}-{datetime.now():%Y%m%d-%H%M%S}"
    root, number = trash_folder(folder) / stamp, 1
    while root.exists():
        number += 1
        root = trash_folder(folder) / f"{stamp}-{number}"
    try:
        for path in chosen:
            target = root / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot move {error.filename} aside: {error.strerror or error}", where=root
        ) from error
    return root


def require_loose(folder: Path) -> None:
    """Refuse a packed faceset.

    Raises:
        BadInputError: *folder* holds a pack, or does not exist.
    """
    if not folder.is_dir():
        raise BadInputError(
            "there is no such folder of faces", where=folder, hint="extract faces first"
        )
    if (folder / PACK_NAME).is_file():
        raise BadInputError(
            "this faceset is packed",
            where=folder / PACK_NAME,
            hint="unpack it first: recaster faces unpack",
        )


def new_folder(path: Path) -> Path:
    """Make a folder for results.

    Raises:
        BadInputError: there is something in it already.
        EnvironmentProblem: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        taken = any(path.iterdir())
    except OSError as error:
        raise EnvironmentProblem(
            f"the folder cannot be made: {error.strerror or error}", where=path
        ) from error
    if taken:
        raise BadInputError(
            "this folder has something in it already",
            where=path,
            hint="move it away, or name another one with --to",
        )
    return path

"""Copies of the labelled faces, to train XSeg on elsewhere (dfl-data.md 7.4)."""

from dataclasses import dataclass, field
from pathlib import Path

from recaster_tui.errors import EnvironmentProblem
from recaster_tui.faces.catalog import Catalog, shown_name
from recaster_tui.faces.edits import FaceEdits
from recaster_tui.faces.face import FaceFileError
from recaster_tui.faces.faceset import Skipped
from recaster_tui.files import write_atomic
from recaster_tui.jobs import Reporter


@dataclass
class Fetched:
    """What :func:`fetch_labelled` did.

    Attributes:
        target: the folder of the copies.
        copied: files written, or there already with the same content.
        trashed: originals moved to the trash.
        different: names of files there with another content: left as they are.
    """

    target: Path
    copied: int = 0
    trashed: int = 0
    different: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    stopped: bool = False


def fetch_labelled(folder: Path, report: Reporter, *, move: bool = False) -> Fetched:
    """Copy every face with polygons to ``<folder>_xseg``, byte for byte.

    Args:
        folder: of the faces, or a pack.
        report: told of the progress; asked whether to stop.
        move: afterwards move the originals to the trash (from where they can be restored).

    Raises:
        BadInputError: there is no such folder.
        FaceFileError: the pack cannot be used.
        EnvironmentProblem: the copies cannot be written.
    """
    catalog = Catalog.open(folder)
    base = folder.parent if folder.suffix == ".pak" else folder
    result = Fetched(base.with_name(f"{base.name}_xseg"))
    done: list[str] = []
    for index, name in enumerate(catalog.names):
        report.progress(index, len(catalog), "fetching labelled faces", copied=result.copied)
        if report.stop_requested():
            result.stopped = True
            return result
        try:
            if not catalog.face(index).polygons:
                continue
            data = catalog.jpeg(index)
        except FaceFileError as error:
            result.skipped.append(Skipped(shown_name(name), error.code, error.message))
            report.warning(f"{shown_name(name)}: {error.message}", error.hint)
            continue
        # A face of a person pack is called person/name.
        if _copy(data, result.target / name.replace("/", "_")):
            done.append(name)
            result.copied += 1
        else:
            result.different.append(name)
            report.warning(f"{shown_name(name)} is in {result.target.name} with another content")
    if move and done:
        FaceEdits(folder).trash(done, reason=f"copied to {result.target.name}")
        result.trashed = len(done)
    report.progress(len(catalog), len(catalog), "fetching labelled faces", copied=result.copied)
    return result


def _copy(data: bytes, path: Path) -> bool:
    """Whether *path* holds *data* now; a file with another content is never overwritten."""
    try:
        if path.exists():
            return path.read_bytes() == data
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
        return True
    except OSError as error:
        raise EnvironmentProblem(
            f"the copy cannot be written: {error.strerror or error}", where=path
        ) from error

"""A set of faces: a folder of .jpg files, or DFL's ``faceset.pak``."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from recaster_tui.errors import BadInputError
from recaster_tui.faces.codec import read_face
from recaster_tui.faces.face import Face, FaceFileError
from recaster_tui.faces.pack import PACK_NAME, PackReader

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
_Item = TypeVar("_Item")

_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
_CHUNK = 64


@dataclass(frozen=True)
class Skipped:
    """A file that cannot be used as a face.

    Attributes:
        name: its file name.
        code: see :class:`~recaster_tui.faces.face.FaceFileError`; ``not-jpg`` for a picture of
            another suffix, which DFL never looks into.
        message: why, for people.
    """

    name: str
    code: str
    message: str


@dataclass
class Faceset:
    """Faces in the order of their names (in a pack: as packed), and what was left out."""

    folder: Path
    faces: list[Face]
    skipped: list[Skipped] = field(default_factory=list)
    pack: Path | None = None

    def __len__(self) -> int:
        return len(self.faces)

    def summary(self) -> str:
        """One line: how many faces, how many files were left out and why."""
        text = f"{len(self.faces)} faces"
        if self.skipped:
            counts = Counter(item.code for item in self.skipped).most_common()
            reasons = ", ".join(f"{number} {code}" for code, number in counts)
            text += f", {len(self.skipped)} files skipped ({reasons})"
        return text


def open_faceset(folder: Path, progress: Progress | None = None) -> Faceset:
    """Read the metadata of every face in *folder*, or in its ``faceset.pak`` where there is one.

    No pixel is decoded. Files that cannot be used are collected, never raised.

    Args:
        folder: the folder, or a .pak file itself.
        progress: called now and then with (done, total), from this thread.

    Raises:
        BadInputError: there is no such folder, or it cannot be listed.
        FaceFileError: the pack as a whole cannot be read (code ``bad-pack``).
    """
    folder = Path(folder)
    pack = folder if folder.suffix == ".pak" else folder / PACK_NAME
    if pack.is_file():
        return _open_pack(pack, progress)
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError as error:
        raise BadInputError(
            f"the faces folder cannot be read: {error.strerror or error}",
            where=folder,
            hint="extract faces first, or name the folder that holds the aligned faces",
        ) from error
    result = Faceset(folder, [])
    files = []
    for name in names:
        if name.startswith("."):
            continue  # temporary files, and what some file managers leave behind
        suffix = Path(name).suffix
        if suffix == ".jpg":
            files.append(folder / name)
        elif suffix.lower() in _PICTURES:
            message = "only files named .jpg, in lower case, can hold face metadata"
            result.skipped.append(Skipped(name, "not-jpg", message))
    _collect(result, files, _read, len(files), progress)
    result.skipped.sort(key=lambda item: item.name)
    return result


def _open_pack(path: Path, progress: Progress | None) -> Faceset:
    result = Faceset(path.parent, [], pack=path)
    with PackReader(path) as reader:

        def read(index: int) -> Face | Skipped:
            try:
                return reader.face(index)
            except FaceFileError as error:
                return Skipped(reader.name(index), error.code, error.message)

        _collect(result, range(len(reader)), read, len(reader), progress)
    return result


def _read(path: Path) -> Face | Skipped:
    try:
        return read_face(path)
    except FaceFileError as error:
        # A name that is no valid text cannot be shown or logged as it is.
        name = path.name.encode("utf-8", "replace").decode()
        return Skipped(name, error.code, error.message)


def _collect(
    result: Faceset,
    items: Sequence[_Item],
    read: Callable[[_Item], Face | Skipped],
    total: int,
    progress: Progress | None,
) -> None:
    def read_some(some: Iterable[_Item]) -> list[Face | Skipped]:
        return [read(item) for item in some]

    chunks = [items[start : start + _CHUNK] for start in range(0, total, _CHUNK)]
    done = 0
    # Threads hide the latency of the disk (or of the network behind it).
    with ThreadPoolExecutor(4, "faces") as pool:
        for outcome in pool.map(read_some, chunks):
            for item in outcome:
                if isinstance(item, Skipped):
                    result.skipped.append(item)
                    log.info("skipped %s: %s", item.name, item.message)
                else:
                    result.faces.append(item)
            done += len(outcome)
            if progress is not None:
                progress(done, total)

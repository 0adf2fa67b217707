"""Packing a folder of faces into ``faceset.pak`` and back (dfl-data.md 2.3)."""

import os
from pathlib import Path

from recaster_tui.errors import BadInputError, EnvironmentProblem
from recaster_tui.faces.catalog_source import pack_names
from recaster_tui.faces.edits import FaceEdits
from recaster_tui.faces.face import Face, FaceFileError
from recaster_tui.faces.faceset import Faceset, open_faceset
from recaster_tui.faces.pack import PACK_NAME, PackReader, write_pack
from recaster_tui.faces.tools import ToolResult, require_loose, set_aside
from recaster_tui.files import write_atomic
from recaster_tui.jobs import Reporter


def person_folders(folder: Path) -> list[Path]:
    """Sub-folders that hold .jpg files: one for each person, sorted."""
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.is_dir() and not path.name.startswith(".") and any(path.glob("*.jpg"))
        )
    except OSError as error:
        raise BadInputError(
            f"the faces folder cannot be read: {error.strerror or error}", where=folder
        ) from error


def pack_faceset(
    folder: Path,
    report: Reporter,
    *,
    persons: bool | None = None,
    move_originals: bool = False,
) -> ToolResult:
    """Write every face of *folder* into its ``faceset.pak``.

    From then on both DFL and we use the pack only. Pictures that are no faces are left out and
    stay where they are (the original deletes them).

    Args:
        folder: the faces; each person's in a sub-folder for a pack of persons.
        report: told of progress.
        persons: pack the sub-folders; by default where there are faces in them only.
        move_originals: move the packed files to the trash.

    Raises:
        BadInputError: there is a pack already, or no face, or faces lie in both places.
        FaceFileError: a face changed meanwhile; there is no pack then.
    """
    if (folder / PACK_NAME).exists():
        raise BadInputError(
            "there is a pack already", where=folder / PACK_NAME, hint="unpack it first"
        )
    require_loose(folder)
    with FaceEdits(folder).held():  # an edit meanwhile would be missing in the pack
        return _pack(folder, report, persons, move_originals=move_originals)


def _pack(
    folder: Path, report: Reporter, persons: bool | None, *, move_originals: bool
) -> ToolResult:
    people = person_folders(folder)
    loose = open_faceset(folder)
    if persons is None:
        if people and loose.faces:
            raise BadInputError(
                f"there are faces here and in {len(people)} sub-folders",
                where=folder,
                hint="say which to pack: --persons or --no-persons",
            )
        persons = bool(people)
    sets = [(path.name, open_faceset(path)) for path in people] if persons else [(None, loose)]
    result, faces = ToolResult(made=folder / PACK_NAME), list[Face]()
    for person, faceset in sets:
        _take(faceset, person, faces, result)
    if not faces:
        raise BadInputError("there are no faces to pack", where=folder)
    try:
        write_pack(
            folder / PACK_NAME, faces, lambda done, total: report.progress(done, total, "packing")
        )
    except OSError as error:
        raise EnvironmentProblem(
            f"the pack cannot be written: {error.strerror or error}", where=folder
        ) from error
    result.done = len(faces)
    if move_originals:
        result.kept = set_aside(folder, [face.path for face in faces], "packed")
    return result


def _take(faceset: Faceset, person: str | None, faces: list[Face], result: ToolResult) -> None:
    result.skipped += faceset.skipped
    for face in faceset.faces:
        face.person = person
        faces.append(face)


def unpack_faceset(folder: Path, report: Reporter) -> ToolResult:
    """Write every file of the pack beside it, byte for byte, and move the pack to the trash.

    A file that is there already with the same content is fine. Two faces of one name in the
    pack get `` (2)`` and so on.

    Raises:
        BadInputError: there is no pack, or a file of another content is in the way; nothing has
            been written then.
        FaceFileError: the pack is damaged.
    """
    pack = folder / PACK_NAME
    if not pack.is_file():
        raise BadInputError("there is no pack here", where=folder)
    with FaceEdits(folder).held():  # an edit meanwhile would be lost with the pack
        return _unpack(folder, pack, report)


def _unpack(folder: Path, pack: Path, report: Reporter) -> ToolResult:
    result = ToolResult(made=folder)
    with PackReader(pack) as reader:
        todo: list[tuple[int, Path]] = []
        for index, name in enumerate(pack_names(reader)):
            target = folder / name
            if target == pack:
                raise FaceFileError("a face is called like the pack", code="bad-pack", where=pack)
            if not target.exists() and not target.is_symlink():
                todo.append((index, target))
            elif not target.is_file() or target.read_bytes() != reader.jpeg(index):
                raise BadInputError(
                    "unpacking would overwrite another file",
                    where=target,
                    hint="move it away first; nothing was unpacked",
                )
        try:
            for number, (index, target) in enumerate(todo, 1):
                if report.stop_requested():
                    result.complete = False
                    return result
                write_atomic(target, reader.jpeg(index), durable=False)
                report.progress(number, len(todo), "unpacking")
            os.sync()  # before the pack goes: its content must be on the disk
        except OSError as error:
            raise EnvironmentProblem(
                f"cannot unpack: {error.strerror or error}", where=folder
            ) from error
        result.done = len(reader)
    result.kept = set_aside(folder, [pack], "unpacked")
    return result

"""``meta.dat``: metadata that survive an external upscaler (dfl-data.md 3.1), and frame names."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from recaster_tui.errors import BadInputError, EnvironmentProblem
from recaster_tui.faces.catalog import Catalog
from recaster_tui.faces.codec import decode_pixels, encode_jpeg, jpeg_bytes, read_metadata
from recaster_tui.faces.edits import Batch, EditInfo, FaceEdits
from recaster_tui.faces.face import FaceFileError
from recaster_tui.faces.faceset import Skipped
from recaster_tui.faces.jpeg import read_header, replace_metadata
from recaster_tui.faces.metadata import face_from_metadata
from recaster_tui.faces.pickling import dumps
from recaster_tui.faces.tools import ToolResult, each, require_loose, set_aside
from recaster_tui.faces.unpickle import (
    FACE_RULES,
    PickleRules,
    RefusedPickleError,
    restricted_loads,
)
from recaster_tui.files import write_atomic
from recaster_tui.jobs import Reporter

META_NAME = "meta.dat"
META_RULES = PickleRules("saved metadata", 1 << 31, FACE_RULES.globals)

_MAX_SIDE = 16_384
_MAX_PIXELS = 1 << 26
_ODD = re.compile(r'[\\/:*?"<>|\x00-\x1f]')
_MOST_BYTES = 200


@dataclass(frozen=True)
class SavedFace:
    """An entry of ``meta.dat``: shape of the picture, (height, width, 3), and all metadata."""

    shape: tuple[int, int, int]
    metadata: Mapping[str, Any]


def save_metadata_file(folder: Path, report: Reporter) -> ToolResult:
    """Write the metadata of every loose face into ``meta.dat``, as DFL does.

    An older ``meta.dat`` is moved to the trash.

    Raises:
        BadInputError: the faceset is packed, or there are no faces.
        EnvironmentProblem: the disk.
    """
    require_loose(folder)
    catalog = Catalog.open(folder)
    result, saved = ToolResult(made=folder / META_NAME), dict[str, Any]()
    for index in each(catalog, result, report, "reading metadata"):
        name = catalog.names[index]
        try:
            metadata = read_metadata(folder / name)
            shape = catalog.face(index).shape
        except FaceFileError as error:
            result.skip(name, error)
            continue
        saved[name] = (tuple(shape), metadata)
        result.done += 1
    if not result.complete:
        return result
    if not saved:
        raise BadInputError("there are no faces whose metadata could be saved", where=folder)
    data = dumps(saved)
    if (folder / META_NAME).exists():
        result.kept = set_aside(folder, [folder / META_NAME], "metadata")
    try:
        write_atomic(folder / META_NAME, data)
    except OSError as error:
        raise EnvironmentProblem(
            f"the metadata cannot be saved: {error.strerror or error}", where=folder / META_NAME
        ) from error
    return result


def read_metadata_file(path: Path) -> dict[str, SavedFace]:
    """What a ``meta.dat`` holds, by the face's file name.

    Raises:
        BadInputError: there is none, or it cannot be read.
        FaceFileError: it is damaged or no plain data (``refused-pickle``); nothing was executed.
    """
    hint = "save the metadata again before the faces are changed"
    try:
        size = path.stat().st_size
        if size > META_RULES.max_bytes:
            raise FaceFileError(
                "this is too large for saved metadata", code="too-large", where=path
            )
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError(
            f"the saved metadata cannot be read: {error.strerror or error}",
            where=path,
            hint="save them first: recaster faces save-metadata",
        ) from error
    try:
        value = restricted_loads(data, META_RULES)
    except RefusedPickleError as error:
        raise FaceFileError(
            f"the saved metadata cannot be used: {error.message}",
            code=error.code,
            where=path,
            hint=error.hint or hint,
        ) from error
    bad = FaceFileError("the saved metadata are damaged", code="damaged", where=path, hint=hint)
    if not isinstance(value, dict):
        raise bad
    found: dict[str, SavedFace] = {}
    for name, entry in value.items():
        shape, metadata = entry if isinstance(entry, tuple | list) and len(entry) == 2 else (0, 0)
        sides = shape if isinstance(shape, tuple | list) and 2 <= len(shape) <= 3 else ()
        if not sides or not isinstance(metadata, dict):
            raise bad
        if not all(type(v) is int and 0 < v <= _MAX_SIDE for v in sides):
            raise bad
        if sides[0] * sides[1] > _MAX_PIXELS:
            raise bad
        found[name] = SavedFace((sides[0], sides[1], 3), metadata)
    return found


def restore_metadata_file(folder: Path, report: Reporter) -> ToolResult:
    """Put the metadata of ``meta.dat`` back into the faces, as one undoable edit.

    A picture of another size than it had is resized to that (Lanczos) and encoded at quality
    100; other pictures stay byte for byte. At the end ``meta.dat`` is moved to the trash.

    Raises:
        BadInputError: the faceset is packed, or there is no ``meta.dat``.
        FaceFileError: ``meta.dat`` is damaged or hostile; nothing is changed.
    """
    require_loose(folder)
    saved = read_metadata_file(folder / META_NAME)
    catalog = Catalog.open(folder)
    result = ToolResult()
    with FaceEdits(folder).batch("restored metadata") as batch:
        for index in each(catalog, result, report, "restoring metadata"):
            name = catalog.names[index]
            entry = saved.get(name)
            if entry is None:
                message = "meta.dat says nothing of it"
                result.skipped.append(Skipped(name, "no-metadata", message))
                continue
            try:
                _restore(batch, folder / name, entry)
            except (FaceFileError, BadInputError) as error:
                result.skip(name, error)
                continue
            result.done += 1
    if result.complete and result.done:
        result.kept = set_aside(folder, [folder / META_NAME], "metadata")
    return result


def _restore(batch: Batch, path: Path, entry: SavedFace) -> None:
    metadata = {key: value for key, value in entry.metadata.items() if value is not None}
    face_from_metadata(metadata, entry.shape, path, path.name)  # refuse what is no face
    data = jpeg_bytes(path)
    shape = read_header(lambda offset, size: data[offset : offset + size], len(data)).shape
    if shape[:2] != entry.shape[:2]:
        height, width = entry.shape[:2]
        image = cv2.resize(decode_pixels(path), (width, height), interpolation=cv2.INTER_LANCZOS4)
        data = encode_jpeg(np.asarray(image, np.uint8), 100)
    batch.replace_file(path.name, replace_metadata(data, dumps(metadata)))


# --- names ----------------------------------------------------------------------------------


def original_names(catalog: Catalog, report: Reporter) -> tuple[dict[str, str], ToolResult]:
    """New names ``<frame>_<k>.jpg`` for faces that know their frame (dfl-data.md 6.4).

    k counts the faces of a frame in the order of their present names. Names that are right
    already are left out.
    """
    result = ToolResult()
    wanted: list[tuple[str, str, str]] = []
    kept: set[str] = set()
    for index in each(catalog, result, report, "reading frame names"):
        name = catalog.names[index]
        person, slash, _ = name.rpartition("/")
        try:
            source = catalog.face(index).source_filename
        except FaceFileError as error:
            result.skip(name, error)
            kept.add(name)
            continue
        stem = _ODD.sub("_", Path(source).stem).strip(" .") if source else ""
        if not stem or len(stem.encode("utf-8", "replace")) > _MOST_BYTES:
            message = "it does not say which frame it is from"
            result.skipped.append(Skipped(name, "no-source", message))
            kept.add(name)
            continue
        wanted.append((name, person + slash, stem))
    counts: Counter[tuple[str, str]] = Counter()
    renamed: dict[str, str] = {}
    for name, person, stem in wanted:
        while True:
            new = f"{person}{stem}_{counts[person, stem]}.jpg"
            counts[person, stem] += 1
            if new not in kept:
                break
        result.done += new != name
        if new != name:
            renamed[name] = new
    return renamed, result


def recover_names(edits: FaceEdits, pairs: Mapping[str, str]) -> EditInfo | None:
    """Rename faces to the names of :func:`original_names`, undoable."""
    return edits.rename(pairs, "gave faces the names of their frames") if pairs else None

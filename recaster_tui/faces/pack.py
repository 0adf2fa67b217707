"""DFL's ``faceset.pak``: many faces in one file (dfl-data.md 2)."""

import os
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from recaster_tui.errors import BadInputError
from recaster_tui.faces.codec import jpeg_bytes, read_jpeg_face
from recaster_tui.faces.face import Face, FaceFileError, PackEntry
from recaster_tui.faces.jpeg import read_header
from recaster_tui.faces.masks import encode_xseg_mask
from recaster_tui.faces.metadata import (
    face_from_metadata,
    metadata_from_face,
    polygons_value,
)
from recaster_tui.faces.pickling import dumps
from recaster_tui.faces.types import FaceType
from recaster_tui.faces.unpickle import PACK_RULES, DflEnum, RefusedPickleError, restricted_loads
from recaster_tui.files import fsync_dir, write_atomic

PACK_NAME = "faceset.pak"

_VERSION = 1
_SAMPLE_TYPE_FACE = 1
_FORBIDDEN = frozenset('/\\:*?"<>|')


class PackReader:
    """An open pack. Metadata come from its index, completed from each JPEG's own.

    Raises:
        FaceFileError: the file is no pack, or its index is damaged (``bad-pack``), is no plain
            data (``refused-pickle``) or cannot be read (``unreadable``).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
            self._size = os.fstat(self._descriptor).st_size
            self._index, self._entries = self._read_index()
        except OSError as error:
            self.close()
            raise FaceFileError(
                f"the pack cannot be read: {error.strerror or error}", code="unreadable", where=path
            ) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._entries)

    def close(self) -> None:
        """Close the file; faces that were read keep working."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def name(self, index: int) -> str:
        """File name of a face, without any folder."""
        return safe_name(self._index[index].get("filename"), f"face_{index:05}.jpg")

    def person(self, index: int) -> str | None:
        """Name of the person in a pack of several; None otherwise."""
        person = self._index[index].get("person_name")
        return None if person is None else safe_name(person, "person")

    def jpeg(self, index: int) -> bytes:
        """The original file of a face, untouched.

        Raises:
            FaceFileError: the pack has become shorter.
        """
        entry = self._entries[index]
        data = self._pread(entry.size, entry.offset)
        if len(data) < entry.size:
            raise FaceFileError("the pack is cut off", code="truncated", where=self.path)
        return data

    def place(self, index: int) -> PackEntry:
        """Where a face's JPEG lies in the file."""
        return self._entries[index]

    def config(self, index: int) -> dict[str, Any]:
        """What the index says of a face, ready to be written into another one."""
        config = dict(self._index[index])
        if index in self._compacted:
            config["landmarks"] = config["landmarks"].tolist()
        return config

    def read(self, index: int, count: int, start: int = 0) -> bytes:
        """Up to *count* bytes of a face's JPEG, from *start*."""
        entry = self._entries[index]
        return self._pread(max(0, min(count, entry.size - start)), entry.offset + start)

    def face(self, index: int) -> Face:
        """Metadata of a face.

        Landmarks, outlines and mask are the index's (what DFL trains with); the face type and
        everything else come from the JPEG, whose word DFL takes too.

        Raises:
            FaceFileError: it cannot be used.
        """
        entry, name = self._entries[index], self.name(index)
        config = self._index[index]

        def read(offset: int, count: int) -> bytes:
            return self._pread(max(0, min(count, entry.size - offset)), entry.offset + offset)

        try:
            own, _ = read_jpeg_face(read, entry.size, self.path, name)
        except OSError as error:
            raise FaceFileError(
                f"the pack cannot be read: {error.strerror or error}", code="unreadable"
            ) from error
        except FaceFileError as error:
            # The index is enough for training, as long as there is a picture.
            if error.code not in ("no-metadata", "no-landmarks"):
                raise
            shape = read_header(read, entry.size).shape
            own = face_from_metadata(_metadata_from_config(config), shape, self.path, name)
        else:
            metadata = {**metadata_from_face(own), **_metadata_from_config(config)}
            metadata["face_type"] = own.face_type.dfl_name
            merged = face_from_metadata(metadata, own.shape, self.path, name)
            own = replace(merged, extra=own.extra)
        return replace(own, person=self.person(index), packed=entry)

    def _pread(self, count: int, offset: int) -> bytes:
        return os.pread(self._descriptor, count, offset)

    def _read_index(self) -> tuple[list[Mapping[str, Any]], list[PackEntry]]:
        head = self._pread(16, 0)
        if len(head) < 16:
            raise self._bad("the file is too short for a pack")
        version, config_size = struct.unpack("<QQ", head)
        if version != _VERSION:
            raise self._bad("this is no faceset pack, or one of an unknown version")
        if config_size > self._size - 16:
            raise self._bad("the pack is cut off inside its index")
        try:
            index = restricted_loads(self._pread(config_size, 16), PACK_RULES)
        except RefusedPickleError as error:
            code = "bad-pack" if error.code == "damaged" else error.code
            raise FaceFileError(
                f"the pack's index cannot be used: {error.message}",
                code=code,
                where=self.path,
                hint=error.hint,
            ) from error
        if not isinstance(index, list) or not all(isinstance(item, dict) for item in index):
            raise self._bad("the pack's index is not a list of faces")
        table_size = 8 * (len(index) + 1)
        table = self._pread(table_size, 16 + config_size)
        if len(table) < table_size:
            raise self._bad("the pack is cut off inside its table of offsets")
        offsets = struct.unpack(f"<{len(index) + 1}Q", table)
        start = 16 + config_size + table_size
        # DFL writes the last offset from the start of the file; all others count from the data.
        ends = [*offsets[1:-1], self._size - start]
        entries = []
        for begin, end in zip(offsets[:-1], ends, strict=False):
            if not begin <= end <= self._size - start:
                raise self._bad("the pack's offsets point outside of it")
            entries.append(PackEntry(start + begin, end - begin))
        self._compacted = {i for i, config in enumerate(index) if _compact(config)}
        return index, entries

    def _bad(self, message: str) -> FaceFileError:
        return FaceFileError(
            message, code="bad-pack", where=self.path, hint="pack or copy the faces again"
        )


def write_pack(
    path: Path, faces: Sequence[Face], progress: Callable[[int, int], None] | None = None
) -> None:
    """Pack *faces* (loose or packed) so that DFL reads them; their JPEGs go in untouched.

    The originals stay where they are. *path* is replaced in one step, or not at all.

    Raises:
        BadInputError: no faces, or one without a DFL face type.
        FaceFileError: a face can no longer be read.
        OSError: the disk.
    """
    if not faces:
        raise BadInputError("there are no faces to pack", where=path)
    sizes = [face.packed.size if face.packed else _file_size(face.path) for face in faces]
    configs = (pack_config(face, jpeg_bytes(face)) for face in faces)
    index = join_configs(config_bytes(config) for config in configs)

    def blobs() -> Iterator[bytes]:
        for number, (face, size) in enumerate(zip(faces, sizes, strict=True), 1):
            data = jpeg_bytes(face)
            if len(data) != size:
                raise FaceFileError(
                    "the file changed while it was being packed",
                    code="unreadable",
                    where=face.path,
                )
            yield data
            if progress is not None:
                progress(number, len(faces))

    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            write_pack_file(file, index, sizes, blobs())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)


def config_bytes(config: Mapping[str, Any]) -> bytes:
    """What the index of a pack holds of one face; :func:`join_configs` makes the index."""
    return dumps(config, protocol=4)[2:-1]


def join_configs(configs: Iterable[bytes]) -> bytes:
    """The index of a pack from the :func:`config_bytes` of its faces."""
    return b"\x80\x04](" + b"".join(configs) + b"e."


def write_pack_file(
    file: IO[bytes], index: bytes, sizes: Sequence[int], blobs: Iterable[bytes]
) -> None:
    """Write a pack into an open file, and through to the disk.

    Args:
        file: where.
        index: see :func:`join_configs`.
        sizes: bytes of every face's JPEG.
        blobs: the JPEGs, one after another, in pieces of any length.
    """
    offsets = [0]
    for size in sizes:
        offsets.append(offsets[-1] + size)
    # The last one from the start of the file, as DFL does, see _read_index.
    offsets[-1] += 16 + len(index) + 8 * len(offsets)
    file.write(struct.pack("<QQ", _VERSION, len(index)))
    file.write(index)
    file.write(struct.pack(f"<{len(offsets)}Q", *offsets))
    for blob in blobs:
        file.write(blob)
    file.flush()
    os.fsync(file.fileno())


def unpack(
    path: Path, folder: Path, progress: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Write every JPEG of a pack into *folder*, a person's into a folder of that name.

    Names cannot lead out of *folder*. Nothing is overwritten, and the pack stays.

    Returns:
        the files written, in pack order.

    Raises:
        BadInputError: a file of that name exists, or two faces would get the same one; nothing
            has been written then.
        FaceFileError: the pack is damaged.
    """
    with PackReader(path) as reader:
        targets = [folder / (reader.person(i) or "") / reader.name(i) for i in range(len(reader))]
        taken: set[Path] = set()
        for target in targets:
            if target in taken or target.exists():
                raise BadInputError(
                    "unpacking would overwrite a face",
                    where=target,
                    hint="unpack into an empty folder",
                )
            taken.add(target)
        for number, target in enumerate(targets):
            write_atomic(target, reader.jpeg(number), durable=False)
            if progress is not None:
                progress(number + 1, len(targets))
    return targets


def _compact(config: dict[str, Any]) -> bool:
    # 136 Python floats take ten times the memory of an array, in each of perhaps 20,000 faces.
    stored = config.get("landmarks")
    if type(stored) is list and len(stored) == 68:
        pairs = all(
            type(p) is list and len(p) == 2 and type(p[0]) is float and type(p[1]) is float
            for p in stored
        )
        if pairs:
            config["landmarks"] = np.array(stored, np.float64)
            return True
    return False


def pack_config(face: Face, data: bytes) -> dict[str, Any]:
    """What a pack's index says of *face*, whose complete JPEG is *data*.

    Raises:
        BadInputError: the face type ``custom``, which DFL does not know.
        FaceFileError: *data* is damaged.
    """
    if face.face_type is FaceType.CUSTOM:
        raise BadInputError("faces of type 'custom' cannot be packed", where=face.path)
    landmarks, polygons, mask = _trained_with(face, data)
    return {
        "sample_type": DflEnum("SampleType", _SAMPLE_TYPE_FACE),
        "filename": face.name,
        "face_type": DflEnum("FaceType", face.face_type.dfl_number),
        "shape": tuple(face.shape),
        "landmarks": landmarks,
        "seg_ie_polys": polygons,
        "xseg_mask": None,
        "xseg_mask_compressed": mask,
        "eyebrows_expand_mod": float(face.eyebrows_expand),
        "source_filename": face.source_filename,
        "person_name": face.person,
    }


def _trained_with(face: Face, data: bytes) -> tuple[Any, Any, Any]:
    """Landmarks to the last bit where the JPEG has them, outlines, mask."""
    raw: dict[str, Any] | None = None
    try:
        _, raw = read_jpeg_face(lambda o, n: data[o : o + n], len(data), face.path, face.name)
    except FaceFileError as error:
        if error.code not in ("no-metadata", "no-landmarks"):
            raise
    metadata = metadata_from_face(face, raw)
    landmarks = metadata["landmarks"]
    return (
        landmarks.tolist() if isinstance(landmarks, np.ndarray) else landmarks,
        polygons_value(face.polygons),
        metadata.get("xseg_mask"),
    )


def _metadata_from_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a pack's index says of a face, in the words of a face file."""
    found = {
        key: config.get(key)
        for key in ("landmarks", "seg_ie_polys", "eyebrows_expand_mod", "source_filename")
    }
    found["xseg_mask"] = config.get("xseg_mask_compressed")
    raw = config.get("xseg_mask")
    if isinstance(raw, np.ndarray) and found["xseg_mask"] is None:
        if raw.ndim not in (2, 3) or not raw.size or raw.dtype.kind != "f":
            raise FaceFileError("the stored mask is damaged", code="bad-metadata")
        try:
            found["xseg_mask"] = np.frombuffer(encode_xseg_mask(raw), np.uint8)
        except BadInputError as error:
            raise FaceFileError(error.message, code="bad-metadata") from None
    number = config.get("face_type")
    if isinstance(number, DflEnum):
        try:
            found["face_type"] = FaceType.from_dfl(number.value).dfl_name
        except BadInputError:
            raise FaceFileError("the face's type is unknown", code="bad-metadata") from None
    return {key: value for key, value in found.items() if value is not None}


def safe_name(name: object, fallback: str) -> str:
    """*name* without folders and characters that mean something to a file system."""
    if not isinstance(name, str):
        return fallback
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    clean = "".join("_" if c in _FORBIDDEN or ord(c) < 32 else c for c in last).strip(" .")
    try:
        fits = 0 < len(clean.encode()) <= 200
    except UnicodeEncodeError:
        fits = False
    return clean if fits else fallback


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise FaceFileError(
            f"the file cannot be read: {error.strerror or error}", code="unreadable", where=path
        ) from error

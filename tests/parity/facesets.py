"""Face files and packs that the original wrote: faceset/, faceset_pak/."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from recaster_tui.faces.codec import decode_pixels, jpeg_bytes, read_face, read_metadata, write_face
from recaster_tui.faces.face import Face
from recaster_tui.faces.faceset import open_faceset
from recaster_tui.faces.jpeg import picture_end, read_header
from recaster_tui.faces.masks import decode_xseg_mask
from recaster_tui.faces.pack import write_pack
from recaster_tui.faces.pose import pitch_yaw_roll
from tests.faces.faces_kit import same
from tests.parity.goldens import PIXELS, Case, Deviation, absolute, root

GROUPS = ("faceset", "faceset_pak")

Values = Mapping[str, Any]


def discover() -> Iterator[Case]:
    for told in sorted((root() / "faceset").rglob("expected.json")):
        for name in json.loads(told.read_text()):
            path = told.parent / name
            yield Case("faceset", str(path.relative_to(root() / "faceset")), path, name)
    for told in sorted((root() / "faceset_pak").rglob("expected.json")):
        yield Case("faceset_pak", told.parent.name, told.parent)


def unjudged() -> Iterator[tuple[str, str]]:
    judged = {case.path for case in discover() if case.group == "faceset"}
    for path in sorted((root() / "faceset").rglob("*.jpg")):
        if path not in judged:
            yield f"faceset/{path.relative_to(root() / 'faceset')}", "expected.json is silent on it"
    for path in sorted((root() / "faceset_pak").rglob("*.pak")):
        if not (path.parent / "expected.json").exists():
            yield f"faceset_pak/{path.parent.name}", "there is no expected.json beside it"


def judge(case: Case) -> list[Deviation]:
    return _pack(case.path) if case.group == "faceset_pak" else _file(case)


def _equal(what: str, got: object, want: object) -> Deviation:
    """0 where equal to the last bit and of one type, else 1."""
    return Deviation(what, 0.0 if same(got, want) else 1.0, 0.0)


def _file(case: Case) -> list[Deviation]:
    told = next(p for p in case.path.parents if (p / "expected.json").exists()) / "expected.json"
    expected = _expected(told)[case.tag]
    face, metadata = read_face(case.path), read_metadata(case.path)
    got = _values(face) | {
        "keys": {key: type(value).__name__ for key, value in metadata.items()},
        "landmarks": metadata["landmarks"],
        "source_landmarks": metadata["source_landmarks"],
        "chunks": _chunks(case.path.read_bytes()),
        "app15_pickle_protocol_bytes": [_protocol(case.path)],
    }
    result = [_equal(key, _as_told(key, got, metadata), want) for key, want in expected.items()]
    for key in ("landmarks", "source_landmarks"):
        ours = np.asarray(getattr(face, key), np.float64)
        want = np.asarray(expected[key], np.float32).astype(np.float64)
        result.append(absolute(f"{key} as float32", ours, want, 0.0))
    again = _written_again(face)
    shape = np.abs(np.subtract(decode_pixels(face).shape, expected["shape"])).max()
    return [
        *result,
        _equal("metadata written again", again, metadata),
        Deviation("picture's shape", shape, 0.0),
    ]


def _as_told(key: str, got: Values, metadata: Values) -> object:
    """Our value for a key of expected.json, in JSON's types."""
    value = got[key] if key in got else metadata[key]
    value = value.tolist() if isinstance(value, np.ndarray) else value
    return list(value) if isinstance(value, tuple) else value


def _values(face: Face) -> dict[str, Any]:
    """What expected.json tells of loose and of packed faces, under its names."""
    mask = None if face.xseg_mask is None else decode_xseg_mask(face.xseg_mask)
    return {
        "shape": list(face.shape),
        "face_type": face.face_type.dfl_name,
        "source_filename": face.source_filename,
        "source_rect": face.source_rect,
        "image_to_face_mat": face.image_to_face_mat,
        "eyebrows_expand_mod": face.eyebrows_expand,
        "n_polys": len(face.polygons),
        "has_xseg_mask": mask is not None,
        "has_xseg": mask is not None,
        "xseg_mean": None if mask is None else float(mask.mean()),
    }


_MARKERS = {0xE0: "APP0", 0xEF: "APP15", 0xDB: "DQT", 0xC0: "SOF0", 0xC4: "DHT"}


def _chunks(data: bytes) -> list[str]:
    header = read_header(lambda offset, size: data[offset : offset + size], len(data))
    end = ["EOI"] if picture_end(data, header.scan) == len(data) else []
    names = [_MARKERS.get(marker, f"{marker:#x}") for marker, _ in header.segments]
    return ["SOI", *names, "SOS", *end]


def _protocol(path: Path) -> str:
    data = path.read_bytes()
    header = read_header(lambda offset, size: data[offset : offset + size], len(data))
    return (header.metadata or b"")[:2].hex()


def _written_again(face: Face) -> dict[str, Any]:
    """Metadata of the face as we write it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "face.jpg"
        write_face(path, jpeg_bytes(face), face, durable=False)
        return read_metadata(path)


@cache
def _expected(path: Path) -> Any:
    return json.loads(path.read_text())


def _pack(folder: Path) -> list[Deviation]:
    expected = _expected(folder / "expected.json")
    faceset = open_faceset(folder)
    result = [
        Deviation("faces skipped", len(faceset.skipped), 0.0),
        Deviation("faces missing", abs(len(faceset.faces) - len(expected)), 0.0),
    ]
    for i, (face, values) in enumerate(zip(faceset.faces, expected, strict=False)):
        first = faceset.faces[0].packed.offset if faceset.faces[0].packed else 0
        result += [d for key, want in values.items() for d in _packed(i, face, key, want, first)]
    with tempfile.TemporaryDirectory() as temporary:
        write_pack(Path(temporary) / "faceset.pak", faceset.faces)
        again = open_faceset(Path(temporary)).faces
        for name, tell in _WRITTEN.items():
            ours, theirs = [tell(f) for f in again], [tell(f) for f in faceset.faces]
            result.append(_equal(f"{name}, packed again", ours, theirs))
    return result


_WRITTEN: dict[str, Callable[[Face], object]] = {
    "names": lambda face: (face.person, face.name),
    "files": jpeg_bytes,
    "landmarks": lambda face: face.landmarks,
    "values": _values,
}


def _packed(i: int, face: Face, key: str, want: Any, first: int) -> list[Deviation]:
    """One value of a packed face; *first* is where the pack's first JPEG begins."""
    whole = face.path.stat().st_size
    what = f"face {i} {key}"
    if key == "pitch_yaw_roll":
        got = np.array(pitch_yaw_roll(face.landmarks, face.shape[0]))
        return [absolute(what, got, np.array(want), PIXELS)]
    if key == "xseg_mean" and want is not None:
        return [absolute(what, np.array(_values(face)[key]), np.array(want), 1e-6)]
    if key == "offset_size" and face.packed and face.packed.offset + want[1] > whole:
        # The original takes the last face's end from the file's start, its offset from the data's.
        want = [want[0], want[1] - first]
    if key == "landmarks0":
        return [_equal(what, face.landmarks[0], np.float32(want))]
    ours = _values(face) | {
        "filename": face.name,
        "person_name": face.person,
        "face_type": face.face_type.dfl_number,
        "sample_type": 1,  # faces; the only kind that opens as one
        "offset_size": None if face.packed is None else [face.packed.offset, face.packed.size],
        "jpg_sha256": hashlib.sha256(jpeg_bytes(face)).hexdigest(),
    }
    return [_equal(what, ours[key], want)]

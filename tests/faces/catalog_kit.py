"""Small facesets for the tests of the catalog and of editing."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np

from recaster_tui.faces.catalog_source import pack_names
from recaster_tui.faces.codec import read_face, write_face
from recaster_tui.faces.face import Face, Polygon
from recaster_tui.faces.jpeg import read_header
from recaster_tui.faces.pack import PackReader, write_pack
from recaster_tui.faces.tables import MEAN_FACE_2D
from recaster_tui.faces.types import FaceType


def make_face(path: Path, number: int, size: int = 48) -> Face:
    """Write a face that no other number has."""
    points = np.concatenate([np.tile(MEAN_FACE_2D[:1], (17, 1)), MEAN_FACE_2D])[:68]
    points = points + np.random.default_rng(number).normal(0, 0.01, (68, 2))
    picture = np.random.default_rng(number).integers(0, 255, (size, size, 3), np.uint8)
    face = Face(
        path=path,
        name=path.name,
        face_type=FaceType.WHOLE,
        landmarks=(points * size * 0.6 + size * 0.2).astype(np.float32),
        shape=(size, size, 3),
        source_filename=f"frame{number:04}.png",
        source_rect=np.array([10, 20, 110 + number, 140]),
    )
    write_face(path, picture, face, durable=False)
    return face


def make_folder(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for i in range(count):
        make_face(folder / f"{i:05}_0.jpg", i)
    return folder


def make_pack(folder: Path, count: int, persons: bool = False) -> Path:
    """A folder with nothing but a pack in it."""
    loose = make_folder(folder.with_name("loose"), count)
    faces = [read_face(path) for path in sorted(loose.iterdir())]
    if persons:
        for i, face in enumerate(faces):
            face.person = "alice" if i < count // 2 else "bob"
    folder.mkdir()
    write_pack(folder / "faceset.pak", faces)
    for path in loose.iterdir():
        path.unlink()
    loose.rmdir()
    return folder


def outlined(face: Face, x: float) -> Face:
    face.polygons = [Polygon(True, np.array([[x, 1], [20, 2], [3, 30]], np.float32))]
    return face


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def picture(data: bytes) -> str:
    """Names the picture of a JPEG, whatever its metadata."""
    scan = read_header(lambda o, n: data[o : o + n], len(data)).scan
    return digest(data[scan:])


def contents(folder: Path) -> list[tuple[str, str]]:
    """(name, digest) of every face, those of a pack in its order and with its index' word."""
    pack = folder / "faceset.pak"
    if not pack.exists():
        return [(p.name, digest(p.read_bytes())) for p in sorted(folder.glob("[!.]*.jpg"))]
    with PackReader(pack) as reader:
        return [
            (name, digest(reader.jpeg(i)) + repr(reader.config(i)))
            for i, name in enumerate(pack_names(reader))
        ]


def state(folder: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What lies in the folder and in its trash."""
    trash = folder.with_name(folder.name + "_trash")
    return contents(folder), contents(trash)


def pictures(folder: Path) -> Counter[str]:
    """Every picture there is, in the folder and in its trash."""
    found = Counter[str]()
    for place in (folder, folder.with_name(folder.name + "_trash")):
        for path in place.glob("[!.]*.jpg"):
            found[picture(path.read_bytes())] += 1
        if (place / "faceset.pak").exists():
            with PackReader(place / "faceset.pak") as reader:
                found.update(picture(reader.jpeg(i)) for i in range(len(reader)))
    return found


def litter(folder: Path) -> list[str]:
    """Temporary files that were left behind."""
    places = (folder, folder.with_name(folder.name + "_trash"))
    there = [path.name for place in places if place.exists() for path in place.iterdir()]
    return [name for name in there if name.startswith(".") and name != ".lock"]

"""Tools for whole facesets: what they write opens in DFL, and nothing is ever lost."""

import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from faces_kit import assert_dfl_reads, same
from hypothesis import given, settings
from hypothesis import strategies as st

from recaster_tui.errors import BadInputError
from recaster_tui.faces import edit_journal
from recaster_tui.faces.catalog import Catalog
from recaster_tui.faces.codec import compose_face, decode_pixels, read_face, read_metadata
from recaster_tui.faces.edits import FaceEdits
from recaster_tui.faces.face import MESH_KEY, FaceFileError
from recaster_tui.faces.faceset import open_faceset
from recaster_tui.faces.geometry import alignment_matrix, transform_points
from recaster_tui.faces.masks import decode_xseg_mask, face_mask, polygon_mask
from recaster_tui.faces.pickling import dumps
from recaster_tui.faces.tools import trash_folder
from recaster_tui.faces.tools_draw import draw_landmarks, write_debug_images, write_masks
from recaster_tui.faces.tools_metadata import (
    META_NAME,
    original_names,
    read_metadata_file,
    recover_names,
    restore_metadata_file,
    save_metadata_file,
)
from recaster_tui.faces.tools_pack import pack_faceset, unpack_faceset
from recaster_tui.faces.tools_resize import resize_face, resize_faceset
from recaster_tui.faces.types import FaceType
from recaster_tui.jobs import Silent

QUIET = Silent()


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("RECASTER_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def shared() -> Path:
    root = Path(os.environ.get("RECASTER_SHARED", Path(__file__).parents[3] / "shared"))
    if not (root / "fixtures").is_dir():
        pytest.skip(f"no fixtures in {root} (set RECASTER_SHARED)")
    return root


@pytest.fixture
def folder(tmp_path, data) -> Path:
    """The program's own four faces and a picture that is none."""
    folder = tmp_path / "aligned"
    folder.mkdir()
    for i in (1, 2, 3, 4):
        shutil.copyfile(data / f"aligned_0000{i}_0.jpg", folder / f"0000{i}_0.jpg")
    (folder / "view.jpg").write_bytes(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1])
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- meta.dat -------------------------------------------------------------------------------


def test_the_program_s_meta_dat(shared, folder):
    """Read with equal values; and what we save is the same dictionary for Python's pickle."""
    found = read_metadata_file(shared / "fixtures" / "meta.dat")
    assert sorted(found) == [f"0000{i}_0.jpg" for i in (1, 2, 3, 4)]
    for name, entry in found.items():
        assert same(dict(entry.metadata), read_metadata(folder / name))
        assert entry.shape == read_face(folder / name).shape
    result = save_metadata_file(folder, QUIET)
    assert (result.done, [s.name for s in result.skipped]) == (4, ["view.jpg"])
    ours = pickle.loads((folder / META_NAME).read_bytes())
    theirs = pickle.loads((shared / "fixtures" / "meta.dat").read_bytes())
    assert same(ours, theirs)


def test_metadata_survive_an_upscaler(folder):
    before = {p.name: read_metadata(p) for p in sorted(folder.glob("0*.jpg"))}
    save_metadata_file(folder, QUIET)
    for i, name in enumerate(before):
        picture = decode_pixels(folder / name)
        side = 256 if i < 2 else 128
        picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)
        (folder / name).write_bytes(cv2.imencode(".jpg", picture)[1])
    changed = content(folder)
    result = restore_metadata_file(folder, QUIET)
    assert (result.done, [s.name for s in result.skipped]) == (4, ["view.jpg"])
    for i, (name, metadata) in enumerate(before.items()):
        written = (folder / name).read_bytes()
        assert same(assert_dfl_reads(written), metadata)
        assert read_face(folder / name).shape == (128, 128, 3)
        if i >= 2:  # its size was right: the picture stays byte for byte
            scan = changed[name].index(b"\xff\xdb")
            assert written.endswith(changed[name][scan:])
    assert not (folder / META_NAME).exists()
    assert (result.kept / META_NAME).read_bytes() == changed[META_NAME]
    assert FaceEdits(folder).undo()
    restored = content(folder)
    assert restored == {k: v for k, v in changed.items() if k != META_NAME}


def hostile(marker: Path) -> dict[str, bytes]:
    ok = {"a.jpg": ((8, 8, 3), {"face_type": "head"})}
    bomb = f"touch {marker}".encode()
    return {
        "empty": b"",
        "cut": dumps(ok)[:-20],
        "text": b"hello" * 9,
        "command": b"\x80\x03cposix\nsystem\nX"
        + len(bomb).to_bytes(4, "little")
        + bomb
        + b"\x85R.",
        "a list": dumps([1]),
        "no pair": dumps({"a.jpg": (1,)}),
        "no shape": dumps({"a.jpg": ("x", {})}),
        "huge shape": dumps({"a.jpg": ((10**6, 10**6, 3), {})}),
        "large shape": dumps({"a.jpg": ((16_000, 16_000, 3), {})}),
        "no dictionary": dumps({"a.jpg": ((8, 8, 3), [])}),
        "number": dumps({"a.jpg": 5}),
    }


@pytest.mark.parametrize("name", list(hostile(Path("m"))))
def test_hostile_meta_dat(name, tmp_path, folder):
    marker = tmp_path / "executed"
    (folder / META_NAME).write_bytes(hostile(marker)[name])
    before = content(folder)
    with pytest.raises(FaceFileError) as caught:
        restore_metadata_file(folder, QUIET)
    assert META_NAME in str(caught.value)
    assert content(folder) == before
    assert not marker.exists()


def test_entries_that_make_no_face_are_skipped(folder):
    """One bad entry, a name that leads out, and one entry too many: the rest is restored."""
    good = read_metadata(folder / "00003_0.jpg")
    entries = {
        "00001_0.jpg": ((128, 128, 3), {"landmarks": [[1.0, 2.0]] * 5}),
        "../evil.jpg": ((128, 128, 3), good),
        "00003_0.jpg": ((128, 128, 3), good),
    }
    (folder / META_NAME).write_bytes(dumps(entries))
    result = restore_metadata_file(folder, QUIET)
    assert result.done == 1
    assert {s.name: s.code for s in result.skipped} == {
        "00001_0.jpg": "bad-landmarks",
        "00002_0.jpg": "no-metadata",
        "00004_0.jpg": "no-metadata",
        "view.jpg": "no-metadata",
    }
    assert not (folder.parent / "evil.jpg").exists()


# --- packs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("move", [False, True])
def test_packed_and_unpacked(folder, move):
    before = content(folder)
    result = pack_faceset(folder, QUIET, move_originals=move)
    assert (result.done, [s.name for s in result.skipped]) == (4, ["view.jpg"])
    assert (folder / "view.jpg").exists()  # the original would delete it
    assert (folder / "00001_0.jpg").exists() == (not move)
    if move:
        assert content(result.kept) == {k: v for k, v in before.items() if k != "view.jpg"}
    assert len(open_faceset(folder)) == 4
    with pytest.raises(BadInputError, match="already"):
        pack_faceset(folder, QUIET)
    with pytest.raises(BadInputError, match="packed"):
        save_metadata_file(folder, QUIET)
    back = unpack_faceset(folder, QUIET)
    assert back.done == 4
    assert (back.kept / "faceset.pak").exists()
    assert content(folder) == before


def test_persons(folder):
    for person, names in {"anna": ("00001_0.jpg", "00002_0.jpg"), "bo": ("00003_0.jpg",)}.items():
        (folder / person).mkdir()
        for name in names:
            (folder / name).rename(folder / person / name)
    with pytest.raises(BadInputError, match="--persons"):
        pack_faceset(folder, QUIET)
    (folder / "00004_0.jpg").rename(folder / "bo" / "00001_0.jpg")
    before = content(folder)
    result = pack_faceset(folder, QUIET, move_originals=True)
    assert result.done == 4
    faces = open_faceset(folder).faces
    assert [(f.person, f.name) for f in faces] == [
        ("anna", "00001_0.jpg"),
        ("anna", "00002_0.jpg"),
        ("bo", "00001_0.jpg"),
        ("bo", "00003_0.jpg"),
    ]
    unpack_faceset(folder, QUIET)
    assert content(folder) == before


@pytest.mark.parametrize("packed", [False, True])
def test_nobody_edits_while_faces_are_packed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    if packed:
        pack_faceset(folder, QUIET, move_originals=True)
    monkeypatch.setattr(edit_journal, "_WAIT_SECONDS", 0.0)
    told: list[str] = []

    class Editing(Silent):
        def progress(self, current: int, total: int, text: str = "", **counts: int) -> None:
            with pytest.raises(BadInputError, match="another process"):
                FaceEdits(folder).trash([Catalog.open(folder).names[0]])
            told.append(text)

    (unpack_faceset if packed else pack_faceset)(folder, Editing())
    assert told and open_faceset(folder).faces


def test_unpacking_overwrites_nothing(folder):
    pack_faceset(folder, QUIET)
    (folder / "00003_0.jpg").write_bytes(b"something of mine")
    before = content(folder)
    with pytest.raises(BadInputError, match="00003_0"):
        unpack_faceset(folder, QUIET)
    assert content(folder) == before
    (folder / "faceset.pak").write_bytes((folder / "faceset.pak").read_bytes()[:90])
    with pytest.raises(FaceFileError, match=r"faceset\.pak"):
        unpack_faceset(folder, QUIET)


def test_every_pack_of_the_original_unpacks(shared, tmp_path):
    packs = sorted(shared.glob("fixtures/*.pak")) + sorted(shared.glob("goldens/*/*/faceset.pak"))
    assert len(packs) >= 4
    for number, pack in enumerate(packs):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copyfile(pack, folder / "faceset.pak")
        count = len(open_faceset(folder))
        assert unpack_faceset(folder, QUIET).done == count
        again = pack_faceset(folder, QUIET)
        assert again.done == count
        for face in open_faceset(folder).faces:
            loose = read_face(folder / (face.person or "") / face.name)
            assert np.array_equal(loose.landmarks, face.landmarks)
            assert loose.xseg_mask == face.xseg_mask


# --- resize ---------------------------------------------------------------------------------


def test_the_same_type_at_another_size(folder):
    path = folder / "00001_0.jpg"
    face = replace(read_face(path), extra={MESH_KEY: np.ones((478, 2), np.float32), "note": "x"})
    picture, new = resize_face(decode_pixels(path), face, 64)
    stored = assert_dfl_reads(compose_face(picture, new, 100))
    assert np.array_equal(
        picture, cv2.resize(decode_pixels(path), (64, 64), interpolation=cv2.INTER_LANCZOS4)
    )
    assert np.allclose(stored["landmarks"], face.landmarks / 2, atol=1e-4)
    for old, polygon in zip(face.polygons, stored["seg_ie_polys"]["polys"], strict=True):
        assert np.allclose(polygon["pts"], old.points / 2, atol=1e-4)
    assert stored["xseg_mask"].tobytes() == face.xseg_mask
    assert stored["face_type"] == "whole_face"
    assert np.array_equal(stored[MESH_KEY], np.full((478, 2), 0.5, np.float32))
    assert stored["note"] == "x"
    expected = alignment_matrix(face.source_landmarks, 64, FaceType.WHOLE)
    assert np.allclose(stored["image_to_face_mat"], expected)


@pytest.mark.parametrize("kind", [FaceType.HALF, FaceType.FULL, FaceType.HEAD])
@pytest.mark.parametrize("name", ["00001_0.jpg", "00002_0.jpg", "00003_0.jpg"])
def test_another_type(folder, name, kind):
    path = folder / name
    face = read_face(path)
    picture, new = resize_face(decode_pixels(path), face, 160, kind)
    assert picture.shape == new.shape == (160, 160, 3)
    assert new.face_type is kind
    assert_dfl_reads(compose_face(picture, new, 100))
    # Aligning an aligned face again changes nothing (dfl-data.md 4.4).
    again = alignment_matrix(new.landmarks, 160, kind)
    assert np.allclose(again, np.eye(3)[:2], atol=0.02)
    through = transform_points(face.source_landmarks, new.image_to_face_mat)
    assert np.allclose(through, new.landmarks, atol=0.1)
    if face.xseg_mask is not None:
        assert decode_xseg_mask(new.xseg_mask).shape == (256, 256)
        matrix = alignment_matrix(face.landmarks, 160, kind)
        moved = cv2.warpAffine(face_mask(face), matrix, (160, 160)) >= 0.5
        ours = face_mask(new) >= 0.5
        assert (moved & ours).sum() / (moved | ours).sum() > 0.9
    if face.polygons:
        matrix = alignment_matrix(face.landmarks, 160, kind)
        assert np.allclose(
            new.polygons[0].points, transform_points(face.polygons[0].points, matrix), atol=1e-3
        )


def test_resize_a_faceset(folder):
    before = content(folder)
    result = resize_faceset(folder, QUIET, size=96)
    assert (result.done, [s.name for s in result.skipped]) == (4, ["view.jpg"])
    assert result.made == folder.parent / "aligned_resized"
    assert content(folder) == before
    assert {f.shape for f in open_faceset(result.made).faces} == {(96, 96, 3)}
    with pytest.raises(BadInputError, match="already"):
        resize_faceset(folder, QUIET, size=96)
    for wrong in (
        {"size": 5},
        {"size": 96, "quality": 0},
        {"size": 96, "face_type": FaceType.CUSTOM},
    ):
        with pytest.raises(BadInputError):
            resize_faceset(folder, QUIET, **wrong)
    assert resize_faceset(folder, QUIET, size=96, in_place=True).done == 4
    assert {f.shape for f in open_faceset(folder).faces} == {(96, 96, 3)}
    assert FaceEdits(folder).undo()
    assert content(folder) == before


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(64, 300),
    kind=st.sampled_from([None, *(t for t in FaceType if t.padding is not None)]),
    name=st.sampled_from([f"aligned_0000{i}_0.jpg" for i in (1, 2, 3, 4)]),
    quality=st.integers(1, 100),
)
def test_whatever_is_written_opens_in_the_original(data, size, kind, name, quality):
    picture, face = resize_face(decode_pixels(data / name), read_face(data / name), size, kind)
    assert_dfl_reads(compose_face(picture, face, quality))


# --- names, pictures ------------------------------------------------------------------------


def test_frame_names(folder):
    edits = FaceEdits(folder)
    sources = {p.name: read_face(p).source_filename for p in folder.glob("0*.jpg")}
    edits.rename({f"0000{i}_0.jpg": f"{9 - i:05}.jpg" for i in (1, 2, 3, 4)})
    renamed = content(folder)
    pairs, result = original_names(Catalog.open(folder), QUIET)
    assert [s.name for s in result.skipped] == ["view.jpg"]
    expected: dict[str, str] = {}
    counts: dict[str, int] = {}
    for old, new in sorted((f"{9 - i:05}.jpg", f"0000{i}_0.jpg") for i in (1, 2, 3, 4)):
        stem = Path(sources[new]).stem
        expected[old] = f"{stem}_{counts.get(stem, 0)}.jpg"
        counts[stem] = counts.get(stem, 0) + 1
    assert pairs == expected
    recover_names(edits, pairs)
    assert content(folder) == {pairs.get(name, name): value for name, value in renamed.items()}
    assert original_names(Catalog.open(folder), QUIET)[0] == {}
    edits.undo()
    assert content(folder) == renamed


def test_hostile_frame_names(folder):
    edits = FaceEdits(folder)
    evil = ["../../evil.png", "/etc/passwd", "..", "x" * 400 + ".png"]
    for i, source in enumerate(evil, 1):
        name = f"0000{i}_0.jpg"
        edits.replace_metadata(name, replace(read_face(folder / name), source_filename=source))
    pairs, result = original_names(Catalog.open(folder), QUIET)
    assert pairs == {"00001_0.jpg": "evil_0.jpg", "00002_0.jpg": "passwd_0.jpg"}
    assert {s.name for s in result.skipped} == {"00003_0.jpg", "00004_0.jpg", "view.jpg"}


def test_pictures_for_people(folder):
    before = content(folder)
    made = write_debug_images(folder, QUIET).made
    assert sorted(p.name for p in made.iterdir()) == [f"0000{i}_0_debug.jpg" for i in (1, 2, 3, 4)]
    result = write_masks(folder, QUIET)
    assert {s.name for s in result.skipped} == {"00003_0.jpg", "view.jpg"}
    for i in (1, 2, 4):
        face = read_face(folder / f"0000{i}_0.jpg")
        picture = cv2.imread(str(result.made / f"0000{i}_0_mask.jpg"), cv2.IMREAD_GRAYSCALE)
        mask = decode_xseg_mask(face.xseg_mask) >= 0.5
        assert np.array_equal(picture >= 128, mask)
    assert content(folder) == before
    face = replace(read_face(folder / "00001_0.jpg"), xseg_mask=None)
    drawn = draw_landmarks(decode_pixels(face), face)
    for x, y in np.rint(face.landmarks[17:]).astype(int):
        if 1 < x < 126 and 1 < y < 126:
            near = drawn[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).astype(int)
            assert (near[:, 1] - near[:, [0, 2]].max(1)).max() > 100
    assert polygon_mask(face.shape, face.polygons).max() == 1.0


def test_nothing_is_named_twice_in_the_trash(folder):
    root = trash_folder(folder)
    for _ in range(2):
        save_metadata_file(folder, QUIET)
        save_metadata_file(folder, QUIET)
    assert len(list(root.glob("metadata-*/meta.dat"))) == 3

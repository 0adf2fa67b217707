"""Folders and packs: what is taken, what is skipped and why, DFL's packs value by value."""

import os
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recaster_tui.errors import BadInputError
from recaster_tui.faces.codec import decode_pixels, jpeg_bytes, read_face, read_metadata
from recaster_tui.faces.face import FaceFileError
from recaster_tui.faces.faceset import open_faceset
from recaster_tui.faces.masks import decode_xseg_mask
from recaster_tui.faces.pack import PackReader, unpack, write_pack
from recaster_tui.faces.pickling import dumps
from recaster_tui.faces.types import FaceType
from recaster_tui.faces.unpickle import PACK_RULES, DflEnum, restricted_loads


def fill(folder: Path, data: Path) -> None:
    good = data / "aligned_00003_0.jpg"
    for i in range(3):
        (folder / f"0000{i}_0.jpg").write_bytes(good.read_bytes())
    (folder / "cut.jpg").write_bytes(good.read_bytes()[:-100])
    (folder / "nothing.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("hello")
    (folder / "plain.JPG").write_bytes(good.read_bytes())
    (folder / "frame.png").write_bytes(b"\x89PNG")
    (folder / "notes.txt").write_text("not our business")
    (folder / ".00000_0.jpg.tmp").write_bytes(b"")
    (folder / "sub.jpg").mkdir()
    (folder / "gone.jpg").symlink_to(folder / "missing")


def test_a_folder_with_everything_in_it(tmp_path, data):
    fill(tmp_path, data)
    before = sorted(tmp_path.iterdir())
    seen: list[tuple[int, int]] = []
    faceset = open_faceset(tmp_path, lambda done, total: seen.append((done, total)))
    assert [face.name for face in faceset.faces] == ["00000_0.jpg", "00001_0.jpg", "00002_0.jpg"]
    assert {(s.name, s.code) for s in faceset.skipped} == {
        ("cut.jpg", "truncated"),
        ("nothing.jpg", "empty"),
        ("text.jpg", "not-jpeg"),
        ("plain.JPG", "not-jpg"),
        ("frame.png", "not-jpg"),
    }
    assert all(s.message for s in faceset.skipped)
    assert faceset.summary().startswith("3 faces, 5 files skipped (2 not-jpg")
    assert seen[-1] == (6, 6)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(sys.platform != "linux", reason="file systems elsewhere refuse such names")
def test_a_name_that_is_no_text(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).write_bytes(b"")
    (skipped,) = open_faceset(tmp_path).skipped
    assert (skipped.name, skipped.code) == ("?.jpg", "empty")


def test_many_chunks_keep_their_order(tmp_path, data):
    for i in range(150):
        os.link(data / "aligned_00003_0.jpg", tmp_path / f"{i:05}_0.jpg")
    done: list[int] = []
    faceset = open_faceset(tmp_path, lambda count, _: done.append(count))
    assert [face.name for face in faceset.faces] == [f"{i:05}_0.jpg" for i in range(150)]
    assert done == [64, 128, 150]


def test_no_folder(tmp_path):
    with pytest.raises(BadInputError, match="hint"):
        open_faceset(tmp_path / "missing")
    assert len(open_faceset(tmp_path)) == 0


# --- packs that DFL wrote -------------------------------------------------------------------


def test_the_person_pack_of_the_fixtures(data):
    faceset = open_faceset(data / "faceset_person.pak")
    assert {face.person for face in faceset.faces} == {"alice", "bob"}


# --- writing and reading back ---------------------------------------------------------------


def test_pack_and_unpack_keep_every_byte(tmp_path, data):
    sources = sorted(data.glob("*_0.jpg"))
    faces = [read_face(path) for path in sources]
    faces[0].person = "anna"
    pack = tmp_path / "faceset.pak"
    steps: list[tuple[int, int]] = []
    write_pack(pack, faces, lambda done, total: steps.append((done, total)))
    assert steps[-1] == (len(faces), len(faces))

    raw = pack.read_bytes()
    version, size = struct.unpack_from("<QQ", raw)
    index = restricted_loads(raw[16 : 16 + size], PACK_RULES)
    assert version == 1
    assert raw[16:18] == b"\x80\x04"
    assert index[0]["person_name"] == "anna"
    assert index[0]["face_type"] == DflEnum("FaceType", faces[0].face_type.dfl_number)
    assert index[0]["landmarks"] == read_metadata(sources[0])["landmarks"]
    offsets = struct.unpack_from(f"<{len(faces) + 1}Q", raw, 16 + size)
    assert offsets[0] == 0
    assert offsets[-1] == len(raw)

    faceset = open_faceset(tmp_path)
    assert not faceset.skipped
    for face, source, original in zip(faceset.faces, sources, faces, strict=True):
        assert jpeg_bytes(face) == source.read_bytes()
        assert np.array_equal(face.landmarks, original.landmarks)
        assert np.array_equal(face.source_landmarks, original.source_landmarks)
        assert (face.face_type, face.shape) == (original.face_type, original.shape)
        assert face.xseg_mask == original.xseg_mask
        assert len(face.polygons) == len(original.polygons)
        assert np.array_equal(decode_pixels(face), decode_pixels(source))
    again = tmp_path / "again.pak"
    write_pack(again, faceset.faces)
    assert again.read_bytes() == raw

    written = unpack(pack, tmp_path / "out")
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in sources]
    assert written[0].parent.name == "anna"
    with pytest.raises(BadInputError, match="overwrite"):
        unpack(pack, tmp_path / "out")


def raw_pack(index: object, blobs: list[bytes], *, offsets: list[int] | None = None) -> bytes:
    config = index if isinstance(index, bytes) else dumps(index, protocol=4)
    if offsets is None:
        offsets = [0]
        for blob in blobs:
            offsets.append(offsets[-1] + len(blob))
    table = struct.pack(f"<{len(offsets)}Q", *offsets)
    return struct.pack("<QQ", 1, len(config)) + config + table + b"".join(blobs)


def test_names_cannot_lead_out(tmp_path, data):
    blob = (data / "aligned_00003_0.jpg").read_bytes()
    names = ["../../evil.jpg", "/etc/evil2.jpg", "..\\evil3.jpg", "..", "", "a\0b.jpg", 7]
    index = [
        {"filename": n, "person_name": "../.." if i == 0 else None} for i, n in enumerate(names)
    ]
    pack = tmp_path / "in" / "deep" / "faceset.pak"
    pack.parent.mkdir(parents=True)
    pack.write_bytes(raw_pack(index, [blob] * len(names)))
    out = tmp_path / "in" / "deep" / "out"
    written = unpack(pack, out)
    assert len(written) == len(names)
    for path in written:
        assert path.resolve().is_relative_to(out.resolve())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]
    assert [f.face_type for f in open_faceset(pack).faces] == [FaceType.WHOLE] * len(names)


def test_older_packs(tmp_path, data):
    """Float masks (2020), faces whose JPEG says nothing, the last offset counted either way."""
    blob = (data / "aligned_00003_0.jpg").read_bytes()
    start = blob.index(b"\xff\xef")
    bare = blob[:start] + blob[start + 2 + int.from_bytes(blob[start + 2 : start + 4], "big") :]
    landmarks = read_metadata(data / "aligned_00003_0.jpg")["landmarks"]
    mask = np.zeros((128, 128, 1), np.float32)
    mask[30:90] = 1
    index = [
        {"filename": "a.jpg", "landmarks": landmarks, "xseg_mask": mask, "face_type": None},
        {"filename": "b.jpg", "landmarks": landmarks, "face_type": DflEnum("FaceType", 2)},
        {"filename": "c.jpg"},
    ]
    pack = tmp_path / "faceset.pak"
    for last in (0, 16):
        content = raw_pack(index, [blob, bare, bare])
        offsets = [0, len(blob), len(blob) + len(bare), len(blob) + 2 * len(bare) + last * 99]
        pack.write_bytes(raw_pack(index, [blob, bare, bare], offsets=offsets))
        assert len(content) == len(pack.read_bytes())
        faceset = open_faceset(tmp_path)
        assert [f.name for f in faceset.faces] == ["a.jpg", "b.jpg"]
        assert [(s.name, s.code) for s in faceset.skipped] == [("c.jpg", "no-metadata")]
        assert np.array_equal(decode_xseg_mask(faceset.faces[0].xseg_mask), mask[..., 0])
        assert faceset.faces[1].face_type is FaceType.FULL


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "bad-pack"),
        (b"\x02" + bytes(40), "bad-pack"),
        (struct.pack("<QQ", 1, 1 << 62) + b"\x80\x04]." * 9, "bad-pack"),
        (struct.pack("<QQ", 1, 4) + b"\x80\x04].", "bad-pack"),
        (raw_pack([{}], [b"abc"], offsets=[0]), "bad-pack"),
        (raw_pack([{}, {}], [b"abc"], offsets=[0, 99, 3]), "bad-pack"),
        (raw_pack([{}, {}, {}], [b"abc"], offsets=[0, 3, 1, 3]), "bad-pack"),
        (raw_pack({"a": 1}, [], offsets=[0]), "bad-pack"),
        (raw_pack([1], [], offsets=[0, 0]), "bad-pack"),
        (raw_pack(pickle.dumps([Path("x")], 4), [], offsets=[0]), "refused-pickle"),
        (raw_pack(b"\x80\x04](cposix\nsystem\nX\x02\x00\x00\x00ls\x85Re.", []), "refused-pickle"),
        (raw_pack(dumps([{}], protocol=4)[:-4], [], offsets=[0, 0]), "bad-pack"),
    ],
)
def test_damaged_packs(tmp_path, content, code):
    pack = tmp_path / "faceset.pak"
    pack.write_bytes(content)
    with pytest.raises(FaceFileError) as caught:
        open_faceset(tmp_path)
    assert caught.value.code == code
    assert pack.read_bytes() == content


def test_bad_faces_in_a_good_pack(tmp_path, data):
    blob = (data / "aligned_00003_0.jpg").read_bytes()
    index = [{"filename": f"{i}.jpg"} for i in range(4)]
    index[3]["landmarks"] = [[float("nan"), 0.0]] * 68
    pack = tmp_path / "faceset.pak"
    pack.write_bytes(raw_pack(index, [blob, b"", b"no picture", blob]))
    faceset = open_faceset(tmp_path)
    assert [f.name for f in faceset.faces] == ["0.jpg"]
    codes = {s.name: s.code for s in faceset.skipped}
    assert codes == {"1.jpg": "empty", "2.jpg": "not-jpeg", "3.jpg": "bad-landmarks"}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(choices=st.data())
def test_mutated_packs(choices, data, tmp_path):
    content = bytearray((data / "faceset_person.pak").read_bytes())
    index_end = 16 + struct.unpack_from("<Q", content, 8)[0] + 24
    for _ in range(choices.draw(st.integers(1, 3))):
        content[choices.draw(st.integers(0, index_end))] = choices.draw(st.integers(0, 255))
    pack = tmp_path / "x.pak"
    pack.write_bytes(content)
    try:
        with PackReader(pack) as reader:
            for i in range(len(reader)):
                reader.name(i), reader.person(i)
                try:
                    reader.face(i)
                except FaceFileError:
                    continue
    except FaceFileError:
        return

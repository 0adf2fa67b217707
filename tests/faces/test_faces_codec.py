"""The face file: DFL's own files value by value, byte-exact edits, damaged and hostile ones."""

import hashlib
import json
import pickle
import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from faces_kit import same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recaster_tui.errors import BadInputError
from recaster_tui.faces.codec import (
    decode_pixels,
    encode_jpeg,
    read_face,
    read_metadata,
    save_metadata,
    write_face,
)
from recaster_tui.faces.face import Face, FaceFileError, Polygon
from recaster_tui.faces.masks import decode_xseg_mask, encode_xseg_mask, face_mask, hull_mask
from recaster_tui.faces.tables import MEAN_FACE_3D
from recaster_tui.faces.types import FaceType

LANDMARKS = (MEAN_FACE_3D[:, :2] + (128, 150)).astype(np.float32)


def new_face(**changes) -> Face:
    face = Face(Path("x.jpg"), "x.jpg", FaceType.WHOLE, LANDMARKS, (64, 64, 3))
    return replace(face, **changes)


def segments(data: bytes) -> list[tuple[int, bytes]]:
    """An independent, naive reading of a JPEG written without oddities."""
    found, position = [], 2
    while data[position + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, position + 2)
        found.append((data[position + 1], data[position + 4 : position + 2 + length]))
        position += 2 + length
    return [*found, (0xDA, data[position:])]


def picture(data: bytes) -> list[tuple[int, bytes]]:
    return [s for s in segments(data) if s[0] != 0xEF]


def app15(payload: bytes) -> bytes:
    return b"\xff\xef" + struct.pack(">H", len(payload) + 2) + payload


def bare_jpeg(size: int = 64) -> bytes:
    ramp = np.linspace(0, 255, size, dtype=np.uint8)
    return encode_jpeg(np.repeat(np.repeat(ramp[None, :, None], size, 0), 3, 2))


def with_payload(payload: bytes) -> bytes:
    data = bare_jpeg()
    return data[:20] + app15(payload) + data[20:]


# --- files that DFL wrote -------------------------------------------------------------------


def check_expected(path: Path, expected: dict) -> None:
    metadata, face = read_metadata(path), read_face(path)
    assert {k: type(v).__name__ for k, v in metadata.items()} == expected["keys"]
    assert list(face.shape) == expected["shape"]
    assert metadata["face_type"] == face.face_type.dfl_name == expected["face_type"]
    assert metadata["landmarks"] == expected["landmarks"]
    assert metadata["source_landmarks"] == expected["source_landmarks"]
    assert np.array_equal(face.landmarks, np.float32(expected["landmarks"]))
    assert np.array_equal(face.source_landmarks, np.float32(expected["source_landmarks"]))
    assert face.source_rect.tolist() == expected["source_rect"]
    assert face.source_filename == expected["source_filename"]
    assert face.image_to_face_mat.tolist() == expected["image_to_face_mat"]
    assert len(face.polygons) == expected["n_polys"]
    assert (face.xseg_mask is not None) == expected["has_xseg_mask"]
    names = {0xE0: "APP0", 0xEF: "APP15", 0xDB: "DQT", 0xC0: "SOF0", 0xC4: "DHT", 0xDA: "SOS"}
    chunks = [names[marker] for marker, _ in segments(path.read_bytes())]
    assert ["SOI", *chunks, "EOI"] == expected["chunks"]


def test_a_golden_face(data):
    for name, expected in json.loads((data / "expected.json").read_text()).items():
        check_expected(data / name, expected)


def test_the_program_s_own_variants(data):
    """Polygons and mask, mask only, neither, both with face type head (dfl-data.md)."""
    faces = [read_face(data / f"aligned_0000{i}_0.jpg") for i in (1, 2, 3, 4)]
    assert [len(f.polygons) for f in faces] == [2, 0, 0, 2]
    assert [f.xseg_mask is not None for f in faces] == [True, True, False, True]
    assert [f.face_type for f in faces] == [FaceType.WHOLE] * 3 + [FaceType.HEAD]
    assert [p.include for p in faces[0].polygons] == [True, False]
    assert all(f.shape == (128, 128, 3) and f.source_rect.dtype.kind == "i" for f in faces)
    assert set(np.unique(decode_xseg_mask(faces[0].xseg_mask))) <= {0.0, 1.0}
    for face in faces:
        mask = face_mask(face)
        assert mask.shape == (128, 128)
        assert mask.dtype == np.float32
        assert 0 <= mask.min() < mask.max() <= 1
    hull = hull_mask(faces[2].shape, faces[2].landmarks)
    assert np.array_equal(face_mask(faces[2]), hull)


# --- editing --------------------------------------------------------------------------------


def test_saving_unchanged_keeps_every_bit_of_meaning(data, tmp_path):
    for source in sorted(data.glob("*.jpg")):
        path = tmp_path / source.name
        path.write_bytes(source.read_bytes())
        before = read_metadata(path)
        save_metadata(read_face(path))
        assert same(read_metadata(path), before)
        once = path.read_bytes()
        assert picture(once) == picture(source.read_bytes())
        save_metadata(read_face(path))
        assert path.read_bytes() == once


def test_an_edit_changes_only_what_it_says(data, tmp_path):
    source = data / "aligned_00001_0.jpg"
    path = tmp_path / "a.jpg"
    path.write_bytes(source.read_bytes())
    face = read_face(path)
    triangle = Polygon(False, np.array([(1.5, 2.25), (30, 4), (9, 40)], np.float32))
    face.polygons = [*face.polygons, triangle]
    face.xseg_mask = None
    face.extra["our_note"] = {"score": 0.5, "tags": ["a", "ü"], "grid": np.eye(2)}
    save_metadata(face)

    old, new = read_metadata(source), read_metadata(path)
    assert "xseg_mask" not in new
    for key in ("face_type", "landmarks", "source_landmarks", "source_filename"):
        assert new[key] == old[key]
    assert new["source_rect"].dtype == old["source_rect"].dtype
    assert [p["type"] for p in new["seg_ie_polys"]["polys"]] == [1, 0, 0]
    assert np.array_equal(new["seg_ie_polys"]["polys"][2]["pts"], triangle.points)
    assert new["our_note"]["tags"] == ["a", "ü"]
    assert picture(path.read_bytes()) == picture(source.read_bytes())
    again = read_face(path)
    again.extra.pop("our_note")
    save_metadata(again)
    assert "our_note" not in read_metadata(path)


def test_a_new_face_is_what_dfl_expects(tmp_path):
    """Appendix C of dfl-data.md, point by point."""
    mask = np.zeros((256, 256), np.float32)
    mask[64:192, 64:192] = 1
    face = new_face(
        source_filename="00007.png",
        source_rect=np.array([10, 20, 300, 400]),
        source_landmarks=LANDMARKS * 2 + 7,
        image_to_face_mat=np.array([[0.5, 0, -1], [0, 0.5, -2.0]]),
        polygons=[Polygon(True, np.array([(1, 2), (3, 4), (5, 9)], np.float32))],
        xseg_mask=encode_xseg_mask(mask),
        eyebrows_expand=1.5,
    )
    path = tmp_path / "00007_0.jpg"
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    image = np.stack([*np.meshgrid(ramp, ramp), np.full((64, 64), 40, np.uint8)], axis=2)
    write_face(path, image, face)
    content = path.read_bytes()
    assert content.endswith(b"\xff\xd9")
    assert content.index(b"\xff\xef") == 20
    markers = [marker for marker, _ in segments(content)]
    assert markers[:2] == [0xE0, 0xEF]
    assert 0xDD not in markers
    assert not any(bytes((0xFF, 0xD0 + i)) in segments(content)[-1][1] for i in range(8))

    payload = dict(segments(content))[0xEF]
    assert payload[:2] == b"\x80\x03"
    assert b"numpy.core.multiarray" in payload
    assert b"numpy._core" not in payload
    stored = pickle.loads(payload)
    assert stored["face_type"] == "whole_face"
    assert isinstance(stored["landmarks"], list)
    assert all(type(v) is float for pair in stored["landmarks"] for v in pair)
    assert (stored["source_rect"].dtype, stored["source_rect"].shape) == (np.int64, (4,))
    assert (stored["image_to_face_mat"].dtype, stored["image_to_face_mat"].shape) == (
        np.float64,
        (2, 3),
    )
    assert stored["xseg_mask"].dtype == np.uint8
    assert stored["xseg_mask"].shape[1:] == (1,)
    assert stored["seg_ie_polys"]["polys"][0]["pts"].dtype == np.float32
    assert not any(value is None for value in stored.values())

    read = read_face(path)
    assert np.array_equal(read.landmarks, face.landmarks)
    assert np.array_equal(read.source_landmarks, face.source_landmarks)
    assert np.array_equal(read.image_to_face_mat, face.image_to_face_mat)
    assert read.xseg_mask == face.xseg_mask
    assert read.eyebrows_expand == 1.5
    assert np.array_equal(decode_xseg_mask(read.xseg_mask), mask)
    difference = np.abs(decode_pixels(read).astype(int) - image)
    assert difference.mean() < 3


coordinates = st.floats(-300, 600, width=32)


@settings(max_examples=40, deadline=None)
@given(
    points=st.lists(st.tuples(coordinates, coordinates), min_size=68, max_size=68),
    note=st.dictionaries(
        st.text(max_size=10), st.integers() | st.text() | st.floats(allow_nan=False), max_size=3
    ),
)
def test_landmarks_survive_to_the_bit(tmp_path_factory, points, note):
    landmarks = np.array(points, np.float32)
    landmarks[[20, 30]] = ((0, 0), (50, 50))  # never all in one place
    extra = {f"x{key}": value for key, value in note.items() if abs(hash(value)) < 2**200}
    extra = {k: v for k, v in extra.items() if not isinstance(v, int) or abs(v) < 2**200}
    path = tmp_path_factory.mktemp("faces") / "a.jpg"
    write_face(path, bare_jpeg(), new_face(landmarks=landmarks, extra=extra))
    face = read_face(path)
    assert face.landmarks.tobytes() == landmarks.tobytes()
    assert face.extra == extra


def test_foreign_segments_are_kept_and_traps_removed(tmp_path):
    exif = b"\xff\xe1\x00\x0aExif\x00\x00ab"
    comment = b"\xff\xfe\x00\x07hello"
    empty, fill, jfxx = b"\xff\xfe\x00\x02", b"\xff\xff", b"\xff\xe0\x00\x09JFXX\x00ab"
    data = bare_jpeg()
    stale = app15(pickle.dumps({"face_type": "head"}, 3))
    odd = data[:20] + jfxx + exif + stale + fill + comment + empty + stale + data[20:] + b"tail"
    path = tmp_path / "a.jpg"
    write_face(path, odd, new_face())
    written = path.read_bytes()
    assert [m for m, _ in segments(written)][:4] == [0xE0, 0xE1, 0xEF, 0xFE]
    assert written.endswith(b"\xff\xd9")
    assert picture(written)[-1] == picture(data)[-1]
    assert exif in written
    assert comment in written
    assert b"JFXX" not in written
    assert np.array_equal(decode_pixels(path), cv2.imdecode(np.frombuffer(data, np.uint8), 1))


def test_last_of_several_wins_and_strangers_are_ignored(tmp_path):
    def payload(name: str) -> bytes:
        return pickle.dumps(
            {"landmarks": LANDMARKS.tolist(), "source_filename": name, "face_type": "Full_Face"}, 4
        )

    data = bare_jpeg()
    path = tmp_path / "a.jpg"
    inner = app15(payload("old")) + app15(payload("new")) + app15(b"something else")
    path.write_bytes(data[:20] + inner + data[20:])
    face = read_face(path)
    assert face.source_filename == "new"
    assert face.face_type is FaceType.FULL


def test_older_forms_are_read(tmp_path):
    metadata = {
        "landmarks": LANDMARKS.astype(np.float64),
        "image_to_face_mat": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
        "seg_ie_polys": [(0, [[1, 2], [3, 4], [5, 6]]), (1, [[1, 1], [9, 9], [1, 9]])],
        "eyebrows_expand_mod": np.float64(2.0),
        "source_filename": "a\ud800.png",
        "relighted": True,
        "pitch_yaw_roll": (0.1, 0.2, 0.3),
    }
    path = tmp_path / "a.jpg"
    for protocol in (2, 3, 4, 5):
        path.write_bytes(with_payload(pickle.dumps(metadata, protocol)))
        face = read_face(path)
        assert face.face_type is FaceType.FULL
        assert [p.include for p in face.polygons] == [True, False]
        assert face.eyebrows_expand == 2.0
        assert face.source_filename == "a?.png"
        assert face.image_to_face_mat.dtype == np.float64
        assert face.extra == {"relighted": True, "pitch_yaw_roll": (0.1, 0.2, 0.3)}


def test_progressive_and_grayscale(tmp_path):
    image = np.random.default_rng(2).integers(0, 255, (48, 48, 3), np.uint8)
    progressive = bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1])
    gray = bytes(cv2.imencode(".jpg", image[:, :, 0])[1])
    for data in (progressive, gray):
        path = tmp_path / "a.jpg"
        write_face(path, data, new_face())
        assert read_face(path).shape == (48, 48, 3)
        assert np.array_equal(decode_pixels(path), cv2.imdecode(np.frombuffer(data, np.uint8), 1))
        assert picture(path.read_bytes()) == picture(data)


# --- refusals -------------------------------------------------------------------------------


def broken_files(marker: Path) -> dict[str, tuple[bytes, str]]:
    """Content and expected code by name."""
    good = with_payload(pickle.dumps({"landmarks": LANDMARKS.tolist()}, 3))
    bomb = f"cos\nsystem\nX{{}}touch {marker}\x85R.".encode()
    bomb = bomb.replace(b"{}", struct.pack("<I", len(f"touch {marker}")))
    nan, far = LANDMARKS.tolist(), LANDMARKS.tolist()
    nan[40] = [float("nan"), 3.0]
    far[3] = [1e300, 0.0]

    def stored(**metadata: object) -> bytes:
        return with_payload(pickle.dumps(metadata, 3))

    ok = LANDMARKS.tolist()
    return {
        "zero bytes": (b"", "empty"),
        "text": (b"this is not a picture\n" * 99, "not-jpeg"),
        "png": (bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1]), "not-jpeg"),
        "only the start": (good[:2], "truncated"),
        "cut in the header": (good[:300], "truncated"),
        "cut in the picture": (good[:-40], "truncated"),
        "zeros at the end": (good[:-400] + bytes(400), "truncated"),
        "no metadata": (bare_jpeg(), "no-metadata"),
        "empty metadata": (with_payload(pickle.dumps({}, 3)), "no-metadata"),
        "no landmarks": (stored(face_type="head"), "no-landmarks"),
        "67 landmarks": (stored(landmarks=ok[:67]), "bad-landmarks"),
        "NaN landmark": (stored(landmarks=nan), "bad-landmarks"),
        "landmark far out": (stored(landmarks=far), "bad-landmarks"),
        "all in one place": (stored(landmarks=[[5.0, 5.0]] * 68), "bad-landmarks"),
        "text landmarks": (stored(landmarks="abc"), "bad-landmarks"),
        "ragged landmarks": (stored(landmarks=[[1.0], [2.0, 3.0]]), "bad-landmarks"),
        "metadata is a list": (with_payload(pickle.dumps([1], 3)), "bad-metadata"),
        "unknown type": (stored(landmarks=ok, face_type="profile"), "bad-metadata"),
        "type is a number": (stored(landmarks=ok, face_type=4), "bad-metadata"),
        "wrong matrix": (stored(landmarks=ok, image_to_face_mat=np.eye(2)), "bad-metadata"),
        "NaN rect": (stored(landmarks=ok, source_rect=np.full(4, np.nan)), "bad-metadata"),
        "mask of floats": (stored(landmarks=ok, xseg_mask=np.zeros(9)), "bad-metadata"),
        "brow factor": (stored(landmarks=ok, eyebrows_expand_mod=float("inf")), "bad-metadata"),
        "huge brow factor": (stored(landmarks=ok, eyebrows_expand_mod=2**5000), "bad-metadata"),
        "polygon type": (stored(landmarks=ok, seg_ie_polys=[(7, [[1, 2]])]), "bad-metadata"),
        "polygons wrong": (stored(landmarks=ok, seg_ie_polys={"polys": [3]}), "bad-metadata"),
        "would run a command": (with_payload(b"\x80\x03" + bomb), "refused-pickle"),
        "half a pickle": (with_payload(pickle.dumps({"a": "b" * 99}, 3)[:50]), "damaged"),
        "object array": (stored(landmarks=np.array([{}] * 68)), "refused-pickle"),
        "no frame header": (good.replace(b"\xff\xc0\x00\x11", b"\xff\xfe\x00\x11"), "damaged"),
        "zero height": (good.replace(b"\xff\xc0\x00\x11\x08\x00\x40", b"\xff\xc0\x00\x11\x08\0\0"),
                        "damaged"),
        "garbage between segments": (good[:20] + b"garbage!" + good[20:], "damaged"),
    }  # fmt: skip


NAMES = list(broken_files(Path("m")))


@pytest.mark.parametrize("name", NAMES)
def test_broken_files(name, tmp_path):
    marker = tmp_path / "executed"
    content, code = broken_files(marker)[name]
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    if name == "huge brow factor":
        code = "refused-pickle"  # stopped earlier: no number is that large
    with pytest.raises(FaceFileError) as caught:
        read_face(path)
    assert caught.value.code == code
    assert str(path) in str(caught.value)
    assert not marker.exists()
    assert path.read_bytes() == content


def test_unreadable(tmp_path):
    with pytest.raises(FaceFileError) as caught:
        read_face(tmp_path / "missing.jpg")
    assert caught.value.code == "unreadable"
    folder = tmp_path / "folder.jpg"
    folder.mkdir()
    with pytest.raises(FaceFileError) as caught:
        decode_pixels(folder)
    assert caught.value.code == "unreadable"


def test_pixels_that_cannot_be_decoded(tmp_path, data):
    content = (data / "aligned_00003_0.jpg").read_bytes()
    path = tmp_path / "a.jpg"
    path.write_bytes(content.replace(b"\xff\xdb", b"\xff\xfe"))
    assert read_face(path).shape == (128, 128, 3)  # the header alone looks fine
    with pytest.raises(FaceFileError) as caught:
        decode_pixels(path)
    assert caught.value.code == "damaged"
    huge = content.replace(
        b"\xff\xc0\x00\x11\x08\x00\x80\x00\x80", b"\xff\xc0\x00\x11\x08" + b"\xff" * 4
    )
    path.write_bytes(huge)
    with pytest.raises(FaceFileError) as caught:
        decode_pixels(path)
    assert caught.value.code == "too-large"


def test_a_failed_write_leaves_the_old_file(tmp_path, data):
    path = tmp_path / "a.jpg"
    path.write_bytes((data / "aligned_00003_0.jpg").read_bytes())
    before = hashlib.sha256(path.read_bytes()).digest()
    face = read_face(path)
    face.extra["large"] = "x" * 65_000
    with pytest.raises(FaceFileError, match="do not fit") as caught:
        save_metadata(face)
    assert caught.value.code == "unsupported"
    face.extra["large"] = object()
    with pytest.raises(BadInputError):
        save_metadata(face)
    restart = bytes(
        cv2.imencode(".jpg", decode_pixels(path), [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1]
    )
    with pytest.raises(FaceFileError, match="restart"):
        write_face(path, restart, new_face())
    with pytest.raises(FaceFileError):
        write_face(path, b"\xff\xd8\xff", new_face())
    with pytest.raises(BadInputError):
        write_face(path, np.zeros((4, 4, 3), np.float32), new_face())
    with pytest.raises(BadInputError):
        write_face(path, bare_jpeg(), new_face(face_type=FaceType.CUSTOM))
    with pytest.raises(BadInputError):
        write_face(tmp_path / "a.jpeg", bare_jpeg(), new_face())
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.jpg"]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(noise=st.binary(max_size=300), keep=st.sampled_from([0, 2, 20, 600]))
def test_random_files(noise, keep, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(bare_jpeg()[:keep] + noise)
    for function in (read_face, decode_pixels):
        try:
            function(path)
        except FaceFileError:
            continue


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(choices=st.data(), name=st.sampled_from(["aligned_00001_0.jpg", "golden_00002_0.jpg"]))
def test_mutated_files(choices, name, data, tmp_path):
    """Nothing but FaceFileError comes out, and what is accepted can be used."""
    content = bytearray((data / name).read_bytes())
    end_of_header = content.index(b"\xff\xda") + 20
    for _ in range(choices.draw(st.integers(1, 3))):
        place = choices.draw(st.integers(0, end_of_header))
        if choices.draw(st.booleans()):
            content[place] = choices.draw(st.integers(0, 255))
        else:
            del content[place : place + choices.draw(st.integers(1, 40))]
    if choices.draw(st.integers(0, 9)) == 0:
        del content[choices.draw(st.integers(0, len(content))) :]
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    try:
        face = read_face(path)
        if max(face.shape) <= 4096:
            mask = face_mask(face)
            assert np.isfinite(mask).all()
        save_metadata(face)
        assert np.array_equal(read_face(path).landmarks, face.landmarks)
    except FaceFileError:
        pass
    except BadInputError as error:
        # Text or numbers turned into something that cannot be stored again.
        assert "cannot be stored" in str(error) or "must be text" in str(error)

import json
import os
import random
import shutil
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from catalog_kit import make_face, make_folder, make_pack, outlined
from hypothesis import given, settings
from hypothesis import strategies as st

from recaster_tui.errors import BadInputError
from recaster_tui.faces import thumbnail_cache
from recaster_tui.faces.catalog import (
    COLUMNS,
    Catalog,
    Filter,
    cache_folder,
    parse_filter,
    shown_name,
)
from recaster_tui.faces.catalog_rows import sharpness
from recaster_tui.faces.catalog_source import pack_names
from recaster_tui.faces.catalog_values import StoredValues
from recaster_tui.faces.codec import decode_pixels, read_face, save_metadata
from recaster_tui.faces.edits import FaceEdits
from recaster_tui.faces.face import FaceFileError
from recaster_tui.faces.pack import PackReader
from recaster_tui.faces.pack_names import quick_names
from recaster_tui.faces.pose import pitch_yaw_roll
from recaster_tui.faces.thumbnails import Thumbnails

ABOVE_20 = float(np.nextafter(np.float32(20), np.float32(np.inf)))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECASTER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "aligned", 5)


def measured(folder: Path) -> Catalog:
    catalog = Catalog.open(folder)
    assert list(catalog.refresh())[-1] == len(catalog)
    return catalog


def unmeasurable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring a face again is a failure from here on."""

    def measure(*_: object) -> None:
        raise AssertionError("this was known")

    monkeypatch.setattr(Catalog, "_measure", measure)


# --- opening --------------------------------------------------------------------------------


def test_columns_are_the_faces_own(folder: Path) -> None:
    save_metadata(outlined(read_face(folder / "00001_0.jpg"), 3.0))
    catalog = measured(folder)
    for i, name in enumerate(catalog.names):
        face = read_face(folder / name)
        pitch, yaw, _ = np.degrees(pitch_yaw_roll(face.landmarks, 48))
        row = {key: catalog.column(key)[i] for key in COLUMNS}
        assert row["pitch"] == pytest.approx(pitch, abs=1e-4)
        assert row["yaw"] == pytest.approx(-yaw, abs=1e-4)
        assert row["rect_area"] == (100 + i) * 120
        assert row["size"] == 48
        assert row["jpeg_bytes"] == (folder / name).stat().st_size
        assert row["has_polygons"] == (i == 1)
        assert row["has_xseg"] == row["doubt"] == 0
        assert 0 <= row["sharpness"] <= 1
        assert catalog.source_filename(i) == f"frame{i:04}.png"
        assert catalog.problem(i) is None
        assert np.array_equal(catalog.pixels(i), decode_pixels(folder / name))


@pytest.mark.parametrize("kind", ["folder", "pack", "persons"])
def test_a_second_opening_knows_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    place = tmp_path / "faces" / "aligned"
    place.parent.mkdir()
    make = make_folder(place, 5) if kind == "folder" else make_pack(place, 5, kind == "persons")
    before = measured(make)
    unmeasurable(monkeypatch)
    after = Catalog.open(make)
    assert after.known == len(after) == 5
    assert after.names == before.names
    for key in COLUMNS:
        assert np.array_equal(after.column(key), before.column(key), equal_nan=True)
    assert [after.source_filename(i) for i in range(5)] == [f"frame{i:04}.png" for i in range(5)]
    assert [after.face(i).name for i in range(5)] == [f"{i:05}_0.jpg" for i in range(5)]
    assert list(after.refresh()) == [5]


@pytest.mark.parametrize("kind", ["folder", "pack"])
def test_only_what_changed_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    place = tmp_path / "faces" / "aligned"
    place.parent.mkdir()
    make_folder(place, 5) if kind == "folder" else make_pack(place, 5)
    catalog = measured(place)
    edits = FaceEdits(place)
    edits.trash(["00000_0.jpg"])
    edits.replace_metadata("00002_0.jpg", outlined(catalog.reopened().face(1), 4.0))
    asked: list[str] = []
    real = Catalog._measure

    def measure(self: Catalog, index: int) -> None:
        asked.append(self.names[index])
        real(self, index)

    monkeypatch.setattr(Catalog, "_measure", measure)
    after = measured(place)
    assert after.names == [f"{i:05}_0.jpg" for i in range(1, 5)]
    assert asked == ["00002_0.jpg"]
    assert after.column("has_polygons").tolist() == [0, 1, 0, 0]


def test_renamed_files_are_recognised(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = measured(folder)
    keys = {name: before.key(i) for i, name in enumerate(before.names)}
    areas = dict(zip(before.names, before.column("rect_area").tolist(), strict=True))
    a, b, *_ = before.names
    FaceEdits(folder).rename({a: "90000_0.jpg", b: a})
    unmeasurable(monkeypatch)
    after = Catalog.open(folder)
    # Of two that have swapped a name and look alike from outside, the time of change tells.
    assert after.known == 5
    index = after.index("90000_0.jpg")
    assert index is not None and after.key(index) == keys[a]
    assert after.column("rect_area")[index] == areas[a]
    assert after.column("rect_area")[0] == areas[b]


def test_odd_and_broken_files(folder: Path) -> None:
    odd = os.fsdecode(b"\xff\xfe.jpg")
    (folder / "00000_0.jpg").rename(folder / odd)
    (folder / "a-broken.jpg").write_bytes((folder / "00001_0.jpg").read_bytes()[:-40])
    (folder / "b-empty.jpg").write_bytes(b"")
    (folder / "c-text.jpg").write_text("hello")
    cv2.imwrite(str(folder / "d-plain.jpg"), np.zeros((16, 16, 3), np.uint8))
    (folder / "e-picture.png").write_bytes(b"x")
    (folder / ".hidden.jpg").write_bytes(b"x")
    (folder / "f-folder.jpg").mkdir()
    (folder / "g-gone.jpg").symlink_to(folder / "nowhere")
    catalog = measured(folder)
    problems = {name: catalog.problem(i) for i, name in enumerate(catalog.names)}
    assert {name: code for name, code in problems.items() if code} == {
        "a-broken.jpg": "truncated",
        "b-empty.jpg": "empty",
        "c-text.jpg": "not-jpeg",
        "d-plain.jpg": "no-metadata",
    }
    assert len(catalog) == 9
    assert problems[odd] is None
    again = Catalog.open(folder)
    assert again.known == 9 and odd in again.names
    shown_name(odd).encode()
    damaged = again.matching(parse_filter("damaged"))
    assert [n for n, d in zip(again.names, damaged, strict=True) if d] == [
        n for n, code in problems.items() if code
    ]


def test_files_that_vanish_meanwhile(folder: Path) -> None:
    catalog = Catalog.open(folder)
    (folder / "00002_0.jpg").unlink()
    assert list(catalog.refresh())[-1] == 5
    assert catalog.problem(2) == "unreadable"
    with pytest.raises(FaceFileError):
        catalog.face(2)
    assert catalog.reopened().names == [f"{i:05}_0.jpg" for i in (0, 1, 3, 4)]
    shutil.rmtree(folder)
    with pytest.raises(BadInputError):
        catalog.reopened()


def test_a_pack_that_changes_under_the_catalog(tmp_path: Path) -> None:
    place = make_pack(tmp_path / "aligned", 4)
    catalog = measured(place)
    FaceEdits(place).trash(["00000_0.jpg"])
    with pytest.raises(FaceFileError, match="changed"):
        catalog.pixels(1)
    assert catalog.reopened().pixels(0).shape == (48, 48, 3)


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 400), garbage=st.binary(max_size=40), at=st.integers(0, 2000))
def test_any_damage_to_the_cache_is_survived(
    tmp_path_factory: pytest.TempPathFactory, cut: int, garbage: bytes, at: int
) -> None:
    base = tmp_path_factory.getbasetemp() / "damage"
    patch = pytest.MonkeyPatch()
    patch.setenv("RECASTER_HOME", str(base / "home"))
    folder = base / "aligned"
    try:
        if not folder.exists():
            make_folder(folder, 3)
        catalog = measured(folder)
        catalog.store_values({catalog.names[0]: {"score": 5.0}})
        catalog.mark([1])
        with Thumbnails(catalog, workers=1) as thumbnails:
            _wait(thumbnails, 3)
        for name in ("index.bin", "values.json", "marks.json", "thumbs.idx", "thumbs.bin"):
            path = cache_folder(folder) / name
            data = path.read_bytes()
            place = min(at, len(data))
            path.write_bytes(data[:place] + garbage + data[place + len(garbage) :][: -cut or None])
        again = measured(folder)
        expected = [read_face(folder / n).source_filename for n in again.names]
        assert [again.source_filename(i) for i in range(3)] == expected
        assert len(again.marked) == 3
        for key in again.columns:
            again.column(key)
        with Thumbnails(again, workers=1) as thumbnails:
            _wait(thumbnails, 3)
            for i in range(3):
                picture = _fetched(thumbnails, i)
                assert np.abs(picture.astype(int) - _expected(again, i)).mean() < 8
    finally:
        patch.undo()
        shutil.rmtree(base / "home", ignore_errors=True)


def test_without_a_cache(folder: Path, home: Path) -> None:
    home.write_text("a file where the folder should be")
    catalog = measured(folder)
    assert catalog.known == 5
    assert not catalog.save()
    catalog.mark([2])
    catalog.store_values({catalog.names[0]: {"score": 1.0}})
    assert catalog.column("score")[0] == 1.0
    assert catalog.reopened().known == 5
    ready = threading.Event()
    with Thumbnails(catalog, lambda _: ready.set(), workers=1) as thumbnails:
        assert thumbnails.get(3) is None
        assert ready.wait(20)
        assert thumbnails.get(3) is not None


def test_no_folder_and_no_faces(tmp_path: Path) -> None:
    with pytest.raises(BadInputError):
        Catalog.open(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    catalog = measured(tmp_path / "empty")
    assert len(catalog) == 0
    assert catalog.column("yaw").shape == catalog.sorted_by("yaw").shape == (0,)
    with Thumbnails(catalog):
        pass
    (tmp_path / "empty" / "faceset.pak").write_bytes(b"no pack")
    with pytest.raises(FaceFileError):
        Catalog.open(tmp_path / "empty")


def test_two_refreshes_can_be_stopped(folder: Path) -> None:
    catalog = Catalog.open(folder)
    assert list(catalog.refresh(lambda: True))[-1] == 0
    assert measured(folder).known == 5


# --- the names of packs ---------------------------------------------------------------------


def test_names_of_packs_without_their_index(goldens: Path, tmp_path: Path) -> None:
    ours = make_pack(tmp_path / "aligned", 7) / "faceset.pak"
    for path in (ours, goldens / "faceset_pak" / "plain" / "faceset.pak"):
        quick = quick_names(path)
        with PackReader(path) as reader:
            assert quick is not None
            assert quick[0] == pack_names(reader)
            assert quick[1] == [reader.place(i) for i in range(len(reader))]
    assert quick_names(goldens / "faceset_pak" / "person" / "faceset.pak") is None


def test_damaged_packs_have_no_quick_names_that_are_wrong(goldens: Path, tmp_path: Path) -> None:
    data = (goldens / "faceset_pak" / "plain" / "faceset.pak").read_bytes()
    with PackReader(goldens / "faceset_pak" / "plain" / "faceset.pak") as reader:
        names = pack_names(reader)
    source = random.Random(5)
    path = tmp_path / "faceset.pak"
    for _ in range(300):
        raw = bytearray(data)
        for _ in range(source.randrange(1, 6)):
            raw[source.randrange(min(len(raw), 60_000))] = source.randrange(256)
        path.write_bytes(raw[: source.choice([len(raw), source.randrange(len(raw))])])
        quick = quick_names(path)
        # A changed letter of a name cannot be told; what cannot be is another count or order.
        if quick is not None:
            assert len(quick[0]) == len(names)
            assert sum(a != b for a, b in zip(quick[0], names, strict=True)) <= 5


# --- sorting, filtering, values -------------------------------------------------------------


def test_sorting(folder: Path) -> None:
    (folder / "a.jpg").write_bytes(b"")
    catalog = measured(folder)
    assert catalog.sorted_by("rect_area").tolist() == [0, 1, 2, 3, 4, 5]
    assert catalog.sorted_by("rect_area", descending=True).tolist() == [4, 3, 2, 1, 0, 5]
    assert catalog.sorted_by("source", descending=True).tolist() == [4, 3, 2, 1, 0, 5]
    assert catalog.sorted_by("name").tolist() == [0, 1, 2, 3, 4, 5]
    assert catalog.sorted_by("size", descending=True).tolist() == [0, 1, 2, 3, 4, 5]  # stable
    with pytest.raises(KeyError):
        catalog.sorted_by("nonsense")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yaw>20", Filter(ranges={"yaw": (ABOVE_20, None)})),
        ("size=256..512", Filter(ranges={"size": (256.0, 512.0)})),
        ("size:256..", Filter(ranges={"size": (256.0, None)})),
        ("yaw>=-10 yaw<=1e1", Filter(ranges={"yaw": (-10.0, 10.0)})),
        ("bright<=80", Filter(ranges={"brightness": (None, 80.0)})),
        ("name:0012 name:*_1.jpg", Filter(names=("0012", "*_1.jpg"))),
        ("frame:07", Filter(frames=("07",))),
        ("pose:left", Filter(ranges={"yaw": (None, -15.0)})),
        ("labelled -marked", Filter(labelled=True, marked=False)),
        ("is:masked not:damaged", Filter(masked=True, damaged=False)),
        ("finding:blurred -finding:dark", Filter(findings=("blurred",), without=("dark",))),
        ("some text 0012", Filter(text="some text 0012")),
        ("", Filter()),
    ],
)  # fmt: skip
def test_what_filters_mean(text: str, expected: Filter) -> None:
    assert parse_filter(text) == expected
    assert parse_filter(text).empty == (text == "")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("yav>20", "'yaw'"),
        ("yaw>abc", "for example"),
        ("yaw>", "for example"),
        ("yaw=nan", "for example"),
        ("pose:lefft", "'left'"),
        ("is:labeld", "'labelled'"),
        ("-markd", "'marked'"),
        ("nane:3", "'name'"),
        ("name:", "for example"),
        ("-name:3", "for example"),
    ],
)
def test_filters_that_mean_nothing(text: str, hint: str) -> None:
    with pytest.raises(BadInputError) as error:
        parse_filter(text)
    assert hint in (error.value.hint or "")


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_filter_or_bad_input(text: str) -> None:
    try:
        parse_filter(text)
    except BadInputError as error:
        assert error.hint


def test_matching(folder: Path) -> None:
    save_metadata(outlined(read_face(folder / "00003_0.jpg"), 3.0))
    (folder / "z.jpg").write_bytes(b"")
    catalog = measured(folder)
    catalog.mark([1, 3])
    catalog.store_values(
        {"00000_0.jpg": {"finding.blurred": 0.5, "score": 20.0}, "00001_0.jpg": {"score": 90.0}}
    )

    def found(text: str) -> list[int]:
        wanted = parse_filter(text, catalog.columns)
        return np.flatnonzero(catalog.matching(wanted)).tolist()

    assert found("") == [0, 1, 2, 3, 4, 5]
    assert found("area>=12240 area<12360") == [2]
    assert found("area:12240..") == [2, 3, 4]
    assert found("labelled") == [3]
    assert found("-labelled") == [0, 1, 2, 4]
    assert found("marked") == [1, 3]
    assert found("marked -labelled") == [1]
    assert found("score<50") == [0]
    assert found("finding:blur") == found("finding:any") == [0]
    assert found("-finding:blurred") == [1, 2, 3, 4, 5]
    assert found("0003") == [3]
    assert found("FRAME0002") == [2]
    assert found("frame:frame000?.png name:4_0") == [4]
    assert Catalog.open(folder).marked.tolist() == [False, True, False, True, False, False]


def test_marks_stay_with_their_faces(folder: Path) -> None:
    catalog = measured(folder)
    catalog.mark([0, 3])
    catalog.mark([3], marked=False)
    edits = FaceEdits(folder)
    edits.rename({"00000_0.jpg": "00001_0.jpg", "00001_0.jpg": "00000_0.jpg"})
    assert Catalog.open(folder).marked.tolist() == [False, True, False, False, False]
    catalog = catalog.reopened()
    edits.replace_metadata("00001_0.jpg", outlined(read_face(folder / "00001_0.jpg"), 1.0))
    for after in (Catalog.open(folder), catalog.reopened(), Catalog.open(folder)):
        assert after.marked.tolist() == [False, True, False, False, False]


def test_values_belong_to_the_picture(folder: Path) -> None:
    catalog = measured(folder)
    catalog.store_values({"00000_0.jpg": {"score": 10.0}, "00001_0.jpg": {"score": 20.0}})
    catalog.store_values({"00000_0.jpg": {"mask": 0.5}}, of_metadata=True)
    edits = FaceEdits(folder)
    edits.rename({"00000_0.jpg": "90000_0.jpg"})
    edits.replace_metadata("90000_0.jpg", outlined(read_face(folder / "90000_0.jpg"), 2.0))
    make_face(folder / "00001_0.jpg", 99)
    after = measured(folder)
    assert after.names[-1] == "90000_0.jpg"
    score, mask = after.column("score"), after.column("mask")
    assert score[-1] == 10.0  # renamed, outlined: the same picture
    assert np.isnan(score[0])  # another picture under an old name
    assert np.isnan(mask).all()  # about metadata that are no longer so
    after.store_values({"90000_0.jpg": {"score": 11.0}}, replace=True)
    assert np.nansum(Catalog.open(folder).column("score")) == 11.0


def test_sharpness_falls_with_blur() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (96, 96), np.uint8)
    values = [
        sharpness(picture),
        *(sharpness(cv2.GaussianBlur(picture, (0, 0), s)) for s in (1, 2, 4)),
    ]
    assert all(a > b for a, b in pairwise(values))
    assert values[0] <= 1.0 and values[-1] >= 0.0
    assert np.isnan(sharpness(np.zeros((50, 50), np.uint8)))


# --- thumbnails -----------------------------------------------------------------------------


def _wait(thumbnails: Thumbnails, count: int) -> None:
    done = threading.Event()
    for _ in range(2000):
        if thumbnails.made >= count:
            return
        done.wait(0.01)
    raise AssertionError("thumbnails are not made")


def _fetched(thumbnails: Thumbnails, index: int) -> Any:
    pause = threading.Event()
    for _ in range(2000):
        picture = thumbnails.get(index, 128)
        if picture is not None:
            return picture
        pause.wait(0.01)
    raise AssertionError("the thumbnail is not made")


def _expected(catalog: Catalog, index: int) -> Any:
    picture = cv2.resize(catalog.pixels(index), (128, 128), interpolation=cv2.INTER_LINEAR)
    return picture[..., ::-1].astype(int)


def test_thumbnails_are_the_pictures_and_remembered(folder: Path) -> None:
    catalog = Catalog.open(folder)
    ready: list[int] = []
    done = threading.Event()

    def on_ready(index: int) -> None:
        ready.append(index)
        done.set()

    with Thumbnails(catalog, on_ready, background=False) as thumbnails:
        assert thumbnails.get(2) is None
        assert done.wait(20)
        assert ready == [2]
        small, large = thumbnails.get(2, 64), thumbnails.get(2, 128)
        assert small is not None and small.shape == (64, 64, 3) and small.dtype == np.uint8
        assert large is not None and large.shape == (128, 128, 3)
        assert np.abs(large.astype(int) - _expected(catalog, 2)).mean() < 8
        with pytest.raises(ValueError, match="64, 128"):
            thumbnails.get(2, 65)
    with Thumbnails(catalog, workers=0, background=False) as thumbnails:
        assert thumbnails.get(2) is not None  # from the disk, at once
        assert thumbnails.get(3) is None
    files = sorted(p.name for p in cache_folder(folder).iterdir())
    assert files == ["thumbs.bin", "thumbs.idx", "thumbs.lock"]


def test_the_background_makes_all_and_tells_of_failures(folder: Path) -> None:
    (folder / "00002_0.jpg").write_bytes(b"no picture")
    catalog = Catalog.open(folder)
    with Thumbnails(catalog) as thumbnails:
        _wait(thumbnails, 5)
        assert thumbnails.failed(2) and not thumbnails.failed(1)
        assert thumbnails.get(2) is None


def test_a_changed_picture_gets_a_new_thumbnail(folder: Path) -> None:
    catalog = Catalog.open(folder)
    with Thumbnails(catalog) as thumbnails:
        _wait(thumbnails, 5)
    make_face(folder / "00001_0.jpg", 70)
    with Thumbnails(catalog.reopened()) as thumbnails:
        _wait(thumbnails, 5)
        large = thumbnails.get(1, 128)
        assert large is not None
        assert np.abs(large.astype(int) - _expected(catalog, 1)).mean() < 8


def test_two_readers_one_writer(folder: Path) -> None:
    catalog = Catalog.open(folder)
    with Thumbnails(catalog) as first:
        _wait(first, 5)
        with Thumbnails(catalog) as second:
            assert second.get(4) is not None
            assert not second._cache.writable


def test_dead_thumbnails_make_room(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnail_cache, "_SLACK", 0)
    place = tmp_path / "home" / "x"
    cache = thumbnail_cache.ThumbnailCache(place)
    for key in range(1, 21):
        cache.put(key, bytes([key]) * 500)
    cache.close()
    cache = thumbnail_cache.ThumbnailCache(place, live=[3, 7])
    assert len(cache) == 2
    assert cache.get(7) == bytes([7]) * 500
    cache.put(30, b"new")
    cache.close()
    assert (place / "thumbs.bin").stat().st_size == 1003
    cache = thumbnail_cache.ThumbnailCache(place, live=[3, 7, 30])
    assert (cache.get(3), cache.get(30)) == (bytes([3]) * 500, b"new")
    cache.close()
    # All folders together stay below the limit.
    monkeypatch.setattr(thumbnail_cache, "MAX_BYTES", 1500)
    other = thumbnail_cache.ThumbnailCache(tmp_path / "home" / "y")
    other.put(1, b"x" * 1400)
    other.put(2, b"x" * 1400)
    assert len(other) == 1
    other.close()
    thumbnail_cache.ThumbnailCache(tmp_path / "home" / "y", live=[1]).close()
    assert not (place / "thumbs.bin").exists()


def test_pictures_that_are_not_square_and_too_large(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    picture = np.full((60, 120, 3), 200, np.uint8)
    cv2.imwrite(str(folder / "wide.jpg"), picture)
    data = bytearray((folder / "wide.jpg").read_bytes())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff\xff\xff\xff"  # says 65535 × 65535
    (folder / "bomb.jpg").write_bytes(data)
    catalog = Catalog.open(folder)
    with Thumbnails(catalog) as thumbnails:
        _wait(thumbnails, 2)
        assert thumbnails.failed(0)
        wide = thumbnails.get(1, 128)
        assert wide is not None
        assert wide[64].mean() > 190 and wide[5].mean() < 10 and wide[122].mean() < 10


def test_values_stored_at_once_are_all_kept(tmp_path: Path) -> None:
    def store(who: str) -> None:
        for i in range(12):
            face = f"{who}{i}.jpg"
            # Opened anew each time, as by another program.
            values = StoredValues(tmp_path / "cache" / "values.json")
            values.store({face: {who: 1.0}}, {face: (hash(face), 1, 1)}, {}, False, False)

    threads = [threading.Thread(target=store, args=(who,)) for who in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = json.loads((tmp_path / "cache" / "values.json").read_bytes())
    assert len(stored["faces"]) == 36 and set(stored["columns"]) == set("abc")

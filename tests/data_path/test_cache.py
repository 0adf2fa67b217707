"""The face cache: what it holds, when it is reused, what damage does."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from recaster_tui.errors import BadInputError, EnvironmentProblem
from recaster_tui.faces.codec import decode_pixels
from recaster_tui.faces.faceset import open_faceset
from recaster_tui.faces.types import FaceType
from recaster_tui.training.data import FaceCache
from recaster_tui.training.data.cache import require_faces
from recaster_tui.training.reference import ReferenceOptions, face_image, face_mask

STILL = ReferenceOptions(flip=False, rotation=0, scale=(0, 0), shift=0)


@pytest.fixture
def folder(goldens: Path, tmp_path: Path) -> Path:
    target = tmp_path / "aligned"
    shutil.copytree(goldens / "faceset/src/aligned", target)
    for path in target.iterdir():
        path.chmod(0o644)
    target.chmod(0o755)
    return target


@pytest.mark.parametrize("face_type", [FaceType.WHOLE, FaceType.FULL])
def test_holds_what_the_reference_makes(folder: Path, tmp_path: Path, face_type: FaceType) -> None:
    """Uint8 rounding, and for another face type OpenCV's exact against 1/32-pixel coordinates."""
    faceset = open_faceset(folder)
    cache = FaceCache.open(faceset, 64, face_type, tmp_path / "c", kind="face+parts")
    assert len(cache) == 6 and not cache.skipped
    for i, face in enumerate(cache.faces):
        common = {"seed": 0, "resolution": 64, "face_type": face_type, "options": STILL}
        image = face_image(face, decode_pixels(face), warp=False, **common)
        mask = face_mask(face, **common)[..., 0]
        assert np.abs(cache.image(i) / 255.0 - image).mean() < 2e-3
        assert np.abs(cache.plane(i, 0) / 255.0 - mask).mean() < 1e-3
        union = (cache.plane(i, 1) + cache.plane(i, 2).astype(float)) / 255
        parts = face_mask(face, kind="eyes-mouth", **common)[..., 0]
        assert np.abs(union / union.max() - parts).mean() < 1e-3


def test_second_start_decodes_nothing_and_an_edit_only_itself(folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []

    def reopen() -> FaceCache:
        seen.clear()
        return FaceCache.open(
            open_faceset(folder),
            64,
            FaceType.WHOLE,
            tmp_path / "c",
            progress=lambda *report: seen.append(report),
            what="faces",
        )

    first = reopen()
    assert first.reused == 0 and seen[-1] == (6, 6, "faces")
    before = first.records.copy()
    second = reopen()
    assert second.reused == 6 and not seen
    np.testing.assert_array_equal(second.records, before)

    edited = folder / "00002_0.jpg"
    shutil.copy(folder / "00004_0.jpg", edited)
    (folder / "00000_0.jpg").unlink()
    third = reopen()
    assert len(third) == 5 and third.reused == 4
    np.testing.assert_array_equal(third.image(0), first.image(1))
    np.testing.assert_array_equal(third.image(1), third.image(3))  # the copy
    assert [p.suffix for p in (tmp_path / "c").iterdir()] == [".faces"]  # no leftovers

    os.utime(edited, ns=(1, 1))
    assert reopen().reused == 4


def test_torn_cache_is_rebuilt(folder: Path, tmp_path: Path) -> None:
    faceset = open_faceset(folder)
    cache = FaceCache.open(faceset, 64, FaceType.WHOLE, tmp_path / "c")
    good = cache.records.copy()
    data = cache.path.read_bytes()
    for torn in (data[:-1], data[: len(data) // 2], b"", data[4096:], data[:-20] + b"x" * 20):
        cache.path.write_bytes(torn)
        again = FaceCache.open(faceset, 64, FaceType.WHOLE, tmp_path / "c")
        assert again.reused == 0
        np.testing.assert_array_equal(again.records, good)


def test_damaged_pixels_are_skipped_and_said(folder: Path, tmp_path: Path) -> None:
    faceset = open_faceset(folder)
    victim = folder / "00003_0.jpg"
    victim.write_bytes(victim.read_bytes()[:6000])  # after its metadata had been read
    cache = FaceCache.open(faceset, 64, FaceType.WHOLE, tmp_path / "c")
    assert len(cache) == 5 and len(cache.yaw) == 5
    assert [s.name for s in cache.skipped] == ["00003_0.jpg"] and cache.skipped[0].message
    assert "00003_0.jpg" not in [face.name for face in cache.faces]
    np.testing.assert_array_equal(
        cache.image(3), cache.records[4, : 64 * 64 * 3].reshape(64, 64, 3)
    )
    with pytest.raises(BadInputError, match="5 usable faces, 1 could not be used"):
        require_faces(cache, "source", folder, 6)


def test_stopping_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FaceCache.open(open_faceset(folder), 64, FaceType.WHOLE, tmp_path / "c", progress=stop)
    assert not list((tmp_path / "c").iterdir())


def test_no_room(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(EnvironmentProblem, match="face cache"):
        FaceCache.open(open_faceset(folder), 64, FaceType.WHOLE, tmp_path / "c")
    assert not list((tmp_path / "c").iterdir())


def test_packed_faceset(goldens: Path, tmp_path: Path) -> None:
    faceset = open_faceset(goldens / "faceset_pak/plain")
    cache = FaceCache.open(faceset, 64, FaceType.WHOLE, tmp_path, kind="picture")
    assert len(cache) == len(faceset.faces) == 6
    assert np.ptp(cache.image(0)) > 50

"""What is added to the golden folder is judged without new code, and wrong numbers are seen."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.parity.goldens import root
from tests.parity.judges import discover, judge, unjudged


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A golden folder of one's own: files are links, folders can be added to."""
    there = root()
    if not there.is_dir():
        pytest.skip(f"no goldens at {there} (RECASTER_GOLDENS)")
    for group in ("geometry", "color", "warp", "samples", "faceset", "faceset_pak"):
        for path in (there / group).rglob("*"):
            if path.is_file():
                link = tmp_path / path.relative_to(there)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path)
    monkeypatch.setenv("RECASTER_GOLDENS", str(tmp_path))
    return tmp_path


def change_json(path: Path, **more: object) -> None:
    told = json.loads(path.read_text()) | more
    path.unlink()
    path.write_text(json.dumps(told))


def outcome(name: str) -> bool:
    (case,) = [case for case in discover() if case.id == name]
    return all(deviation.ok for deviation in judge(case))


def test_more_of_a_kind_is_judged(folder: Path) -> None:
    known = {case.id for case in discover()}
    geometry = dict(np.load(folder / "geometry/geometry.npz"))
    fewer = {"face_types": geometry["face_types"]} | {
        key: geometry[key][3:8] for key in ("landmarks", "transform_mat_512", "rect_from_landmarks")
    }
    np.savez(folder / "geometry/more.npz", **fewer, of_no_known_kind=np.zeros(3))

    told = json.loads((folder / "samples/meta.json").read_text())
    change_json(folder / "samples/meta.json", wf64_again=told["wf64"])
    with np.load(folder / "samples/sample_processor.npz") as arrays:
        sample = {f"wf64_again_{n}": arrays[f"wf64_{n}"] for n in ("warped", "em")}
    np.savez(folder / "samples/more.npz", **sample)

    told = json.loads((folder / "faceset/expected.json").read_text())
    first = next(iter(told))
    change_json(folder / "faceset/expected.json", **{"src/other/a.jpg": told[first]})
    (folder / "faceset/src/other").mkdir()
    shutil.copy(folder / "faceset" / first, folder / "faceset/src/other/a.jpg")
    shutil.copytree(folder / "faceset_pak/plain", folder / "faceset_pak/again")

    new = {case.id for case in discover()} - known
    assert new == {
        "geometry/more transform_mat_512",
        "geometry/more rect_from_landmarks",
        "samples/more wf64_again",
        "faceset/src/other/a.jpg",
        "faceset_pak/again",
    }
    assert all(outcome(name) for name in new)
    assert "geometry/more of_no_known_kind" in dict(unjudged())


def test_wrong_numbers_are_seen(folder: Path) -> None:
    for file, key in (
        ("geometry/geometry.npz", "transform_mat_256"),
        ("geometry/masks.npz", "polys_mask_256"),
        ("color/color_transfer.npz", "lct"),
        ("warp/warp.npz", "w64_s1_mapx"),
        ("warp/filters.npz", "jpeg_seed501"),
        ("samples/sample_processor.npz", "ff96_mask"),
        ("samples/xseg_generator.npz", "seed700_mask"),
    ):
        arrays = dict(np.load(folder / file))
        array = arrays[key]
        array.flat[array.size // 2] += 1 if array.dtype == np.uint8 else 0.004
        (folder / file).unlink()
        np.savez(folder / file, **arrays)
    told = json.loads((folder / "faceset/expected.json").read_text())
    name = next(iter(told))
    told[name]["source_rect"][2] += 1e-9
    change_json(folder / "faceset/expected.json", **told)
    packed = folder / "faceset_pak/plain/expected.json"
    told = json.loads(packed.read_text())
    told[1]["jpg_sha256"] = "0" * 64
    packed.unlink()
    packed.write_text(json.dumps(told))

    for wrong in (
        "geometry/geometry transform_mat_256",
        "geometry/masks polys_mask_256",
        "color/color_transfer lct",
        "warp/warp w64_s1",
        "warp/filters jpeg_seed501",
        "samples/sample_processor ff96",
        "samples/xseg_generator seed700",
        f"faceset/{name}",
        "faceset_pak/plain",
    ):
        assert not outcome(wrong), wrong
    assert outcome("geometry/geometry transform_mat_512")


def test_everything_shared_is_judged_or_known() -> None:
    if not root().is_dir():
        pytest.skip(f"no goldens at {root()} (RECASTER_GOLDENS)")
    assert not [name for name, why in unjudged() if "not known here" in why]

"""Whole facesets: masks and labels in, out, beside; every file's pixels as they were."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masking_kit import (
    BARE,
    HEAD,
    LABELLED,
    MASKED,
    HalfMasker,
    Listening,
    faces_folder,
    iou,
    pixels_of,
)

from recaster_tui.errors import BadInputError
from recaster_tui.faces.catalog import Catalog
from recaster_tui.faces.codec import read_face, read_metadata
from recaster_tui.faces.edits import FaceEdits
from recaster_tui.faces.masks import decode_xseg_mask, face_mask, polygon_mask
from recaster_tui.faces.tools_pack import pack_faceset
from recaster_tui.masking.apply import MAX_POINTS, Target, apply_masks, remove, to_polygons
from recaster_tui.masking.fetch import fetch_labelled
from recaster_tui.masking.judge import COLUMN, disagreement, worst_first


def test_mask_is_stored_as_the_original_stores_it(tmp_path: Path) -> None:
    folder = faces_folder(tmp_path / "aligned")
    before = {p.name: (pixels_of(p), read_metadata(p)) for p in folder.iterdir()}
    result = apply_masks(folder, HalfMasker(), Listening())
    assert (result.changed, result.replaced, result.skipped) == (4, 3, [])
    for path in folder.iterdir():
        pixels, old = before[path.name]
        new = read_metadata(path)
        assert pixels_of(path) == pixels
        assert new.keys() - {"xseg_mask"} == old.keys() - {"xseg_mask"}
        stored = new["xseg_mask"]
        # As OpenCV 4.1.2 wrote it: an encoded picture in a uint8 column (dfl-data.md 1.7).
        assert stored.dtype == np.uint8 and stored.shape[1:] == (1,)
        mask = decode_xseg_mask(stored.tobytes())
        assert mask.shape == (256, 256) and set(np.unique(mask)) == {0.0, 1.0}
        assert mask[:, :128].all() and not mask[:, 128:].any()
        assert face_mask(read_face(path)).shape == read_face(path).shape[:2]


def test_undo_brings_every_file_back(tmp_path: Path) -> None:
    folder = faces_folder(tmp_path / "aligned")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    apply_masks(folder, HalfMasker(), Listening(), target=Target.POLYGONS)
    remove(folder, Target.MASK, Listening())
    assert not any(read_face(p).xseg_mask for p in folder.iterdir())
    edits = FaceEdits(folder)
    assert edits.undo() and edits.undo()
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


@pytest.mark.parametrize("packed", [False, True])
def test_masks_follow_faces_that_are_renamed_while_they_are_drawn(
    tmp_path: Path, packed: bool
) -> None:
    folder = faces_folder(tmp_path / "aligned")
    if packed:
        pack_faceset(folder, Listening(), move_originals=True)

    class Renaming(HalfMasker):
        """Masks as many rows as a face's name says; then swaps two names and drops a face."""

        batch = 4

        def masks(self, faces):
            if not self.seen:
                edits = FaceEdits(folder)
                edits.rename({LABELLED: BARE, BARE: LABELLED})
                edits.trash([HEAD])
            self.seen += len(faces)
            rows = [int(face.name[12]) * 40 for face, _ in faces]
            return [(np.arange(256) < n)[:, None] * np.ones(256, np.float32) for n in rows]

    result = apply_masks(folder, Renaming(), Listening())
    assert result.changed == 3 and [s.name for s in result.skipped] == [HEAD]
    catalog = Catalog.open(folder)
    stored = {}
    for i, name in enumerate(catalog.names):
        stored[name] = decode_xseg_mask(catalog.face(i).xseg_mask or b"")[:, 0].sum()
    assert stored == {LABELLED: 3 * 40, MASKED: 2 * 40, BARE: 1 * 40}


def test_labels_are_kept_where_asked(tmp_path: Path) -> None:
    folder = faces_folder(tmp_path / "aligned")
    kept = (folder / LABELLED).read_bytes()
    result = apply_masks(
        folder, HalfMasker(), Listening(), target=Target.POLYGONS, only_unlabelled=True
    )
    assert (result.changed, result.unchanged) == (2, 2)
    assert (folder / LABELLED).read_bytes() == kept
    found = read_face(folder / BARE)
    assert [p.include for p in found.polygons] == [True]
    filled = polygon_mask(found.shape, found.polygons) > 0
    half = np.zeros(found.shape[:2], bool)
    half[:, : found.shape[1] // 2] = True
    assert iou(filled, half) > 0.97


def test_bad_files_and_faces_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = faces_folder(tmp_path / "aligned")
    (folder / "00000_broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    (folder / "00000_empty.jpg").write_bytes(b"")
    listening = Listening()
    result = apply_masks(folder, HalfMasker(refuse=MASKED), listening)
    assert result.changed == 3
    assert {s.name for s in result.skipped} == {"00000_broken.jpg", "00000_empty.jpg", MASKED}
    assert len(listening.warnings) == 3
    assert (folder / "00000_empty.jpg").read_bytes() == b""
    with pytest.raises(BadInputError):
        apply_masks(tmp_path / "nothing", HalfMasker(), listening)


def test_stopping_keeps_what_was_drawn(tmp_path: Path) -> None:
    folder = faces_folder(tmp_path / "aligned")
    result = apply_masks(folder, HalfMasker(), Listening(stop_after=2))
    assert result.stopped and result.changed == 2
    assert len(FaceEdits(folder).history()) == 1


def test_fetch_copies_byte_for_byte_and_overwrites_nothing(tmp_path: Path) -> None:
    folder = faces_folder(tmp_path / "aligned")
    copies = tmp_path / "aligned_xseg"
    originals = {name: (folder / name).read_bytes() for name in (LABELLED, HEAD)}
    result = fetch_labelled(folder, Listening())
    assert (result.target, result.copied) == (copies, 2)
    assert {p.name: p.read_bytes() for p in copies.iterdir()} == originals
    assert (folder / LABELLED).is_file()

    (copies / HEAD).write_bytes(b"corrected")
    result = fetch_labelled(folder, Listening(), move=True)
    assert (result.copied, result.different, result.trashed) == (1, [HEAD], 1)
    assert (copies / HEAD).read_bytes() == b"corrected"
    assert not (folder / LABELLED).exists() and (folder / HEAD).exists()
    assert FaceEdits(folder).undo()
    assert (folder / LABELLED).read_bytes() == originals[LABELLED]


def test_worst_first_orders_and_is_remembered(tmp_path: Path) -> None:
    folder = faces_folder(tmp_path / "aligned")
    apply_masks(folder, HalfMasker(), Listening(), target=Target.POLYGONS)
    remove(folder, Target.MASK, Listening())
    path = folder / MASKED
    face = read_face(path)
    # Its label now says the other half.
    face.polygons = to_polygons(_half(right=True), face.shape[1], face.shape[0])
    FaceEdits(folder).replace_metadata(MASKED, face)
    masker = HalfMasker()
    judged = worst_first(folder, Listening(), None, lambda: masker)
    assert masker.seen == 4  # no face has a stored mask
    assert judged.faces[0].name == MASKED and judged.faces[0].value > 0.95
    assert all(f.value < 0.05 and f.against == "label" for f in judged.faces[1:])
    column = Catalog.open(folder).column(COLUMN)
    assert np.nanargmax(column) == Catalog.open(folder).index(MASKED)

    FaceEdits(folder).replace_metadata(MASKED, read_face(folder / BARE))
    assert np.isnan(Catalog.open(folder).column(COLUMN)[Catalog.open(folder).index(MASKED) or 0])


def test_without_a_label_the_hull_below_the_brows_judges(tmp_path: Path) -> None:
    folder = faces_folder(tmp_path / "aligned", BARE)
    face = read_face(folder / BARE)
    from recaster_tui.faces.masks import hull_mask

    hull = hull_mask(face.shape, face.landmarks, 0.0)
    brows = int(face.landmarks[17:27, 1].min())
    higher = hull.copy()
    left, right = np.flatnonzero(hull[brows + 8])[[0, -1]]
    higher[: brows + 2, left:right] = 1  # up over the forehead, as masks go
    assert disagreement(face, hull) == (pytest.approx(0, abs=0.02), "hull")
    assert disagreement(face, higher)[0] < 0.06
    assert disagreement(face, np.roll(hull, 30, 1))[0] > 0.3


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(64, 400))
def test_polygons_fill_to_the_mask_with_few_points(seed: int, side: int) -> None:
    import cv2

    rng = np.random.default_rng(seed)
    rough = cv2.GaussianBlur(rng.standard_normal((256, 256)).astype(np.float32), (0, 0), 9)
    y, x = np.mgrid[:256, :256]
    disc = 1 - np.hypot(x - 128, (y - 128) * 0.8) / 80
    mask = np.clip(0.5 + disc + rough * 4, 0, 1).astype(np.float32)
    polygons = to_polygons(mask, side, side)
    assert all(3 <= len(p.points) <= MAX_POINTS for p in polygons)
    includes = [p.include for p in polygons]
    assert includes == sorted(includes, reverse=True)
    exact = cv2.resize(mask, (side, side)) >= 0.5
    assert iou(polygon_mask((side, side, 3), polygons) > 0, exact) > 0.85


def test_an_empty_mask_gives_no_polygons() -> None:
    assert to_polygons(np.zeros((256, 256)), 128, 128) == []


def _half(*, right: bool) -> np.ndarray:
    mask = np.zeros((256, 256), np.float32)
    mask[:, 128 if right else 0 : 256 if right else 128] = 1
    return mask


def test_job_result_is_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from recaster_tui.cli.entry import main

    faces_folder(tmp_path / "data_src" / "aligned")
    faces_folder(tmp_path / "data_dst" / "aligned")
    job = tmp_path / "jobs" / "mask-src"
    code = main(
        ["faces", "mask", str(tmp_path), "src", "--device", "cpu", "--json", "--job", str(job)]
    )
    said = json.loads(capsys.readouterr().out)
    assert code == 0 and said["changed"] == 4 and said["with"] == "auto"
    events = [json.loads(line) for line in (job / "events.jsonl").read_text().splitlines()]
    assert events[-1]["type"] == "end" and events[-1]["outcome"] == "done"
    for wrong in (
        ["src", "--remove", "mask", "--fetch"],
        ["src", "--with", "nobody"],
        ["src", "--move"],
        ["src", "--worst", "-1"],
        [],
    ):
        assert main(["faces", "mask", str(tmp_path), *wrong]) == 2, wrong
        assert "error:" in capsys.readouterr().err

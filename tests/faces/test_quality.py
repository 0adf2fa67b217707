import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from recaster_tui.bench.planted import Planted, judge_planted, plant, plates
from recaster_tui.demo.people import demo_target, random_identity
from recaster_tui.errors import BadInputError
from recaster_tui.faces.catalog import Catalog
from recaster_tui.faces.codec import decode_pixels, encode_jpeg, read_face, write_face
from recaster_tui.faces.edits import FaceEdits
from recaster_tui.faces.quality import (
    apply_prune,
    check_faceset,
    current_check,
    follow,
    load_check,
    only,
)
from recaster_tui.faces.quality.blur import edge_blur
from recaster_tui.faces.quality.parallel import measure_all
from recaster_tui.jobs import Silent

SIZE = 128


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECASTER_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def faceset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted]:
    folder = tmp_path_factory.mktemp("set") / "aligned"
    own = plates(demo_target(), 3, range(120), SIZE)
    others = [p for k in (901, 902) for p in plates(random_identity(k), k, (0, 40, 80), SIZE)]
    return folder, plant(folder, own, others, seed=5, size=SIZE)


def test_planted_faults_are_found_with_the_right_reason(faceset: tuple[Path, Planted]) -> None:
    folder, planted = faceset
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    check = check_faceset(folder, workers=1)
    found, missed, accused = judge_planted(check, planted)
    assert found >= 18, missed
    assert len(accused) <= 0.02 * len(planted.good), accused
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    # The faulty ones are at the bottom of the scores.
    score = {s.name: s.score for s in check.scores}
    assert min(score[name] for name in planted.good if name not in dict(accused)) > 60
    # What the check said is remembered, and the columns can be sorted by.
    again = load_check(folder)
    assert again is not None and again.proposals == check.proposals
    assert [s.score for s in again.scores] == [s.score for s in check.scores]


def test_only_what_is_new_or_changed_is_measured_again(
    faceset: tuple[Path, Planted], tmp_path: Path
) -> None:
    folder, planted = faceset
    few = tmp_path / "aligned"
    few.mkdir()
    for name in planted.good[:30]:
        (few / name).write_bytes((folder / name).read_bytes())
    assert check_faceset(few, workers=1).computed == 30
    assert check_faceset(few, workers=1).computed == 0
    assert current_check(few) is not None
    changed = few / planted.good[3]
    face = read_face(changed)
    write_face(changed, encode_jpeg(decode_pixels(face) // 8), face)
    (few / planted.good[7]).unlink()
    assert current_check(few) is None
    check = check_faceset(few, workers=1)
    assert check.computed == 1 and len(check.scores) == 29
    assert [p.codes for p in check.proposals if p.name == changed.name] == [("dark",)]


def test_helper_processes_measure_the_same(faceset: tuple[Path, Planted]) -> None:
    folder, _ = faceset
    names = sorted(path.name for path in folder.iterdir())

    def measured(workers: int) -> dict[str, bytes | str]:
        found: dict[str, bytes | str] = {}
        for good, known, damage in measure_all(folder, names, workers):
            found |= {n: known.values[i].tobytes() for i, n in enumerate(good)}
            found |= {n: code for n, (code, _) in damage.items()}
        return found

    alone = measured(1)
    assert len(alone) == len(names) >= 96 and measured(2) == alone


class _Stops(Silent):
    def stop_requested(self) -> bool:
        return True


def test_stopped_checks_go_on_and_judge_nothing_before(
    faceset: tuple[Path, Planted], tmp_path: Path
) -> None:
    folder, planted = faceset
    few = tmp_path / "aligned"
    few.mkdir()
    for name in planted.good[:40]:
        (few / name).write_bytes((folder / name).read_bytes())
    stopped = check_faceset(few, workers=1, report=_Stops())
    assert not stopped.complete and 0 < stopped.computed < 40 and load_check(few) is None
    assert check_faceset(few, workers=1).computed == 40 - stopped.computed


def test_prune_is_undone(faceset: tuple[Path, Planted], tmp_path: Path) -> None:
    folder, planted = faceset
    copy = tmp_path / "aligned"
    copy.mkdir()
    before = {n: (folder / n).read_bytes() for n in [*planted.good[:20], *planted.faults]}
    for name, data in before.items():
        (copy / name).write_bytes(data)
    check = check_faceset(copy, workers=1)
    dark = only(check.proposals, ["dark", "damaged"])
    assert 3 <= len(dark) < len(check.proposals)
    with pytest.raises(BadInputError, match="unknown finding"):
        only(check.proposals, ["ugly"])
    apply_prune(copy, dark)
    assert not any((copy / p.name).exists() for p in dark)
    FaceEdits(copy).undo()
    assert {p.name: p.read_bytes() for p in copy.iterdir()} == before


def test_findings_stay_with_faces_that_are_renamed(
    faceset: tuple[Path, Planted], tmp_path: Path
) -> None:
    folder = tmp_path / "aligned"
    shutil.copytree(faceset[0], folder)
    check = check_faceset(folder, workers=1)
    bad = next(p.name for p in check.proposals if "damaged" not in p.codes)
    good = next(s.name for s in check.scores if not s.findings)
    edited = next(s.name for s in check.scores if not s.findings and s.name != good)
    edits = FaceEdits(folder)
    edits.rename({good: bad, bad: good})
    catalog = Catalog.open(folder)
    assert load_check(folder) is not None
    found = follow(load_check(folder) or check, catalog)
    proposed = {p.name for p in found.proposals}
    assert good in proposed and bad not in proposed
    scores = {s.name: s.score for s in found.scores}
    before = {s.name: s.score for s in check.scores}
    assert (scores[good], scores[bad]) == (before[bad], before[good])
    # Another picture under a name loses what was said of the old one; other metadata do not.
    edits.replace_file(bad, (folder / edited).read_bytes())
    edits.replace_metadata(edited, replace(read_face(folder / edited), polygons=[]), "none")
    catalog = catalog.reopened()
    list(catalog.refresh())
    scores = {s.name: s.score for s in follow(check, catalog).scores}
    assert bad not in scores and scores[edited] == before[edited]


def test_faces_renamed_during_a_check_are_not_judged(
    faceset: tuple[Path, Planted], tmp_path: Path
) -> None:
    folder = tmp_path / "aligned"
    shutil.copytree(faceset[0], folder)
    first, *_, last = sorted(p.name for p in folder.iterdir())

    class Renaming(Silent):
        def __init__(self) -> None:
            self.warned: list[str] = []

        def stop_requested(self) -> bool:
            if not FaceEdits(folder).history():
                FaceEdits(folder).rename({first: last, last: first})
            return False

        def warning(self, text: str, hint: str | None = None) -> None:
            self.warned.append(text)

    report = Renaming()
    check = check_faceset(folder, workers=1, report=report)
    judged = {s.name for s in check.scores} | {d.name for d in check.damaged}
    assert not judged & {first, last} and len(judged) > 40
    assert report.warned == ["2 faces were edited or renamed while the set was checked"]
    again = check_faceset(folder, workers=1)
    assert again.computed == 2


def test_commands(faceset: tuple[Path, Planted], tmp_path: Path) -> None:
    folder, planted = faceset
    aligned = tmp_path / "data_src" / "aligned"
    aligned.mkdir(parents=True)
    for name in [*planted.good[:20], *planted.faults]:
        (aligned / name).write_bytes((folder / name).read_bytes())

    def run(*arguments: str) -> tuple[int, dict[str, object]]:
        command = [sys.executable, "-m", "recaster_tui", "faces", *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout) if done.stdout else {}

    code, answer = run("check", str(tmp_path), "src")
    assert code == 0 and answer["counts"]["damaged"] == 2  # type: ignore[index]
    code, answer = run("prune", str(tmp_path), "src", "--only", "damaged", "--apply")
    assert code == 0 and answer["applied"]
    assert len(list(aligned.iterdir())) == 20 + len(planted.faults) - 2
    assert run("prune", str(tmp_path), "src", "--only", "ugly")[0] == 2


def test_goldens_are_not_accused(goldens: Path) -> None:
    for side in ("src", "dst"):
        check = check_faceset(goldens / "faceset" / side / "aligned", workers=1)
        assert len(check.scores) == 6 and not check.damaged


def test_blur_is_told_in_pixels_whatever_the_size() -> None:
    rng = np.random.default_rng(1)
    shapes = np.zeros((512, 512), np.uint8)
    for _ in range(40):
        x, y = rng.integers(40, 470, 2).tolist()
        cv2.circle(shapes, (x, y), int(rng.integers(10, 40)), int(rng.integers(20, 255)), -1)
    inside = np.ones_like(shapes)
    for sigma in (1.5, 3.0):
        large = cv2.GaussianBlur(shapes, (0, 0), 2 * sigma)
        small = cv2.resize(large, (256, 256), interpolation=cv2.INTER_AREA)
        for picture, unit in ((large, 240.0), (small, 120.0)):
            blur = edge_blur(picture, inside[: len(picture), : len(picture)], unit)
            assert blur.all == pytest.approx(sigma, rel=0.25)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no faces"):
        check_faceset(tmp_path)

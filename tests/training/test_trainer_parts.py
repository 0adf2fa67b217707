"""The trainer's smaller judgements: preview thinning, retraining, faces left out."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from trainer_fakes import SIZE, events, make_run, of

from recaster_tui.training.failures import TooFewFacesError
from recaster_tui.training.journal import JournalWriter
from recaster_tui.training.models.base import Batch, SideBatch, StepResult
from recaster_tui.training.previews import KEEP_NEW, KEEP_OLD, surplus
from recaster_tui.training.retrain import EVERY, WorstFaces
from recaster_tui.training.session import load_faces, open_session


@given(st.lists(st.integers(1, 50), min_size=1, max_size=400))
def test_thinned_previews_keep_the_newest_and_span_the_whole_run(steps: list[int]) -> None:
    kept: list[int] = []
    for iteration in np.cumsum(steps):
        kept.append(int(iteration))
        gone = surplus(kept)
        kept = [i for i in kept if i not in gone]
        assert len(kept) <= KEEP_NEW + KEEP_OLD
    every = [int(i) for i in np.cumsum(steps)]
    assert kept[-KEEP_NEW:] == every[-KEEP_NEW:]
    assert kept[0] == every[0]
    # No hole wider than two buckets, and buckets are no finer than needed.
    holes = np.diff(kept)
    assert holes.max(initial=0) <= max(100, 4 * (every[-1] // KEEP_OLD + 1))


def test_the_worst_faces_of_sixteen_batches_come_again() -> None:
    worst = WorstFaces()
    rng = np.random.default_rng(2)
    seen: list[tuple[float, float, int]] = []
    for step in range(EVERY):
        assert worst.take() is None
        index = torch.arange(3) + 3 * step
        picture = index.float().reshape(3, 1, 1, 1).expand(3, 3, SIZE, SIZE)
        mask = picture[:, :1]
        side = SideBatch(picture, picture, mask, mask, mask, index)
        losses = torch.from_numpy(rng.uniform(0, 1, (3, 2))).float()
        if step == 4:
            losses[0] = float("nan")
        worst.add(Batch(side, side), StepResult(losses.mean(0), losses, torch.tensor(True)))
        seen += [(*pair, int(i)) for pair, i in zip(losses.tolist(), index, strict=True)]
    batch = worst.take()
    assert batch is not None
    for column, side in enumerate((batch.src, batch.dst)):
        finite = [row for row in seen if row[column] == row[column]]
        expected = sorted(finite, key=lambda row: -row[column])[:3]
        assert sorted(side.index.tolist()) == sorted(row[2] for row in expected)
        assert torch.equal(side.warped[:, 0, 0, 0], side.index.float())
    assert worst.take() is None


def test_files_that_are_no_faces_are_told_listed_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path)
    for side in ("src", "dst"):
        aligned = tmp_path / f"data_{side}" / "aligned"
        aligned.mkdir(parents=True)
        for i in range(7):
            (aligned / f"note{i}.jpg").write_text("not a picture")
        (aligned / "empty.jpg").touch()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.jpg")}
    journal = JournalWriter(folder.journal)
    with pytest.raises(TooFewFacesError, match="only 0 usable source faces, 8 files skipped"):
        load_faces(open_session(folder.root), journal, lambda *_: None)
    journal.close()
    warnings = of(events(folder), "warning")
    assert [(w["code"], w["count"]) for w in warnings] == [
        ("face-empty", 1),
        ("face-not-jpeg", 7),
    ] * 2
    assert warnings[1]["files"] == [f"note{i}.jpg" for i in range(5)]
    listed = (folder.root / "skipped.txt").read_text().splitlines()
    assert len(listed) == 16
    assert listed[0].startswith("src\tempty.jpg\tempty\t")
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*.jpg")}


def test_the_trainer_speaks_before_it_imports_torch() -> None:
    code = (
        "import sys, recaster_tui.training.__main__;"
        "sys.exit(bool({'torch','cv2','textual','safetensors'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_folder_that_is_no_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recaster_tui.training", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, list(tmp_path.iterdir())) == (4, [])
    assert "no run.toml" in done.stderr

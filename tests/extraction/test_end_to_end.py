"""From a video alone to faces that train, with the detector that ships."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recaster_tui.demo import make_demo
from recaster_tui.faces.codec import decode_pixels
from recaster_tui.faces.faceset import open_faceset
from recaster_tui.faces.pose import pitch_yaw_roll

FACES = 10


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "demo"
    make_demo(folder, faces=FACES, video_seconds=1.0, workers=1)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("smooth", [False, True])
def test_from_the_video_alone(demo: Path, tmp_path: Path, smooth: bool):
    truth = {f.name: f for f in open_faceset(demo / "data_src" / "aligned").faces}
    shutil.copy(demo / "data_src.mp4", tmp_path)
    command = [sys.executable, "-m", "recaster_tui", "extract", str(tmp_path), "src"]
    command += ["--size", "256", *(["--smooth"] if smooth else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    faceset = open_faceset(tmp_path / "data_src" / "aligned")
    assert [f.name for f in faceset.faces] == [f"{i:05d}_0.jpg" for i in range(1, FACES + 1)]
    assert not faceset.skipped
    errors = []
    for face in faceset.faces:
        assert face.source_filename == face.name.replace("_0", "")
        assert (tmp_path / "data_src" / face.source_filename).is_file()
        assert np.array(face.extra["mesh_landmarks_478"]).shape == (478, 2)
        assert decode_pixels(face).shape == (256, 256, 3)
        assert np.isfinite(pitch_yaw_roll(face.landmarks, 256)).all()
        exact = truth[face.name].source_landmarks
        between = np.linalg.norm(exact[36] - exact[45])
        errors.append(np.linalg.norm(face.source_landmarks - exact, axis=1).mean() / between)
    assert np.mean(errors) < 0.06

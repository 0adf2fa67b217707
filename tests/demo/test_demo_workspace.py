"""make_demo: a true, complete, repeatable workspace; never a half one, never someone else's."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import psutil
import pytest

from recaster_tui.demo import DemoProgress, is_demo, make_demo
from recaster_tui.demo.frames import demo_person, demo_scene, exact_face
from recaster_tui.demo.plan import VERSION, read_marker
from recaster_tui.errors import BadInputError, DamagedError, ExitCode, RecasterError
from recaster_tui.faces.codec import decode_pixels, read_face
from recaster_tui.faces.geometry import alignment_matrix, transform_points
from recaster_tui.faces.masks import hull_mask, polygon_mask
from recaster_tui.faces.types import FaceType
from recaster_tui.files import read_toml
from recaster_tui.workspace import Workspace, open_workspace

FACES, SIZE = 4, 96
SMALL = {"faces": FACES, "video_seconds": 1.0, "size": SIZE}


def digest(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(cv2.PSNR(one, other))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_demo(tmp_path_factory.mktemp("demo") / "new" / "demo", workers=2, **SMALL)


def test_layout(demo: Workspace) -> None:
    assert demo == open_workspace(demo.root)
    names = set(digest(demo.root))
    for side in ("src", "dst"):
        for k in range(1, FACES + 1):
            names -= {f"data_{side}/{k:05d}.jpg", f"data_{side}/aligned/{k:05d}_0.jpg"}
        names.remove(f"data_{side}.mp4")
    assert names == {"recaster.toml", "demo.toml"}
    assert demo.models.is_dir()
    assert is_demo(demo.root)
    project = read_toml(demo.root / "recaster.toml")
    assert project["face_type"] == "whole" and "ynthetic" in project["consent"]


@pytest.mark.parametrize("side", ["src", "dst"])
def test_metadata_are_complete_and_true(demo: Workspace, side: str) -> None:
    folder = demo.src_faces if side == "src" else demo.dst_faces
    for path in sorted(folder.iterdir()):
        face = read_face(path)
        assert face.face_type is FaceType.WHOLE and face.shape == (SIZE, SIZE, 3)
        assert face.source_landmarks is not None and face.image_to_face_mat is not None
        assert face.source_filename is not None and isinstance(face.source_rect, np.ndarray)
        expected = alignment_matrix(face.source_landmarks, SIZE, FaceType.WHOLE)
        np.testing.assert_allclose(face.image_to_face_mat, expected, atol=1e-3)
        moved = transform_points(face.source_landmarks, face.image_to_face_mat)
        np.testing.assert_allclose(face.landmarks, moved, atol=1e-3)
        frame = cv2.imread(str(folder.parent / face.source_filename))
        height, width = frame.shape[:2]
        centre = face.source_landmarks[17:].mean(0)
        left, top, right, bottom = face.source_rect
        assert left < centre[0] < right and top < centre[1] < bottom
        assert ((face.source_landmarks >= 0) & (face.source_landmarks < (width, height))).all()
        cut = cv2.warpAffine(frame, expected, (SIZE, SIZE), flags=cv2.INTER_CUBIC)
        assert psnr(cut, decode_pixels(face)) > 33


@pytest.mark.parametrize("side", ["src", "dst"])
def test_polygons_outline_the_exact_face(demo: Workspace, side: str) -> None:
    folder = demo.src_faces if side == "src" else demo.dst_faces
    for index, path in enumerate(sorted(folder.iterdir())):
        face = read_face(path)
        assert face.polygons and face.xseg_mask is None
        drawn = polygon_mask(face.shape, face.polygons)
        picture, exact = exact_face(demo_person(side), demo_scene(1, side, index), SIZE)
        assert np.array_equal(picture, decode_pixels(face))
        assert (drawn * exact).sum() / np.maximum(drawn, exact).sum() > 0.95
        # Brows, nose, eyes and mouth are face; the hull that SAEHD trains with is much the same.
        x, y = np.round(face.landmarks[17:]).astype(int).T
        assert exact[y, x].mean() > 0.85
        hull = hull_mask(face.shape, face.landmarks)
        assert (hull * exact).sum() > 0.85 * hull.sum()


@pytest.mark.parametrize("side", ["src", "dst"])
def test_clip_holds_the_frames(demo: Workspace, side: str) -> None:
    video = demo.video(side)
    assert video is not None
    with av.open(video) as clip:
        stream = clip.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.average_rate == FACES
        pictures = [frame.to_ndarray(format="bgr24") for frame in clip.decode(stream)]
    assert len(pictures) == FACES
    for number, picture in enumerate(pictures, 1):
        frame = cv2.imread(str(demo.root / f"data_{side}" / f"{number:05d}.jpg"))
        assert picture.shape == frame.shape and psnr(picture, frame) > 30


def test_same_seed_same_bytes_whatever_the_workers(demo: Workspace, tmp_path: Path) -> None:
    events: list[DemoProgress] = []
    again = make_demo(tmp_path / "again", workers=1, progress=events.append, **SMALL)
    assert digest(again.root) == digest(demo.root)
    assert [e.current for e in events if e.stage == "faces"] == list(range(2 * FACES + 1))
    assert events[-1].stage == "done"
    other = make_demo(tmp_path / "other", seed=2, workers=1, **{**SMALL, "faces": 1})
    first = "data_src/aligned/00001_0.jpg"
    assert digest(other.root)[first] != digest(demo.root)[first]


def test_complete_demo_is_returned_untouched(demo: Workspace) -> None:
    before = digest(demo.root)
    stamp = {path: path.stat().st_mtime_ns for path in demo.root.rglob("*")}
    events: list[DemoProgress] = []
    assert make_demo(demo.root, progress=events.append, **SMALL) == demo
    assert [event.stage for event in events] == ["done"]
    assert digest(demo.root) == before
    assert stamp == {path: path.stat().st_mtime_ns for path in demo.root.rglob("*")}


def test_complete_demo_of_an_older_version_is_taken_as_it_is(
    demo: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "old"
    shutil.copytree(demo.root, folder)
    marker = folder / "demo.toml"
    marker.write_text(marker.read_text().replace(f"version = {VERSION}", "version = 1"))
    before = digest(folder)
    assert make_demo(folder, **SMALL).root == folder
    assert digest(folder) == before
    marker.write_text(marker.read_text().replace("complete = true", "complete = false"))
    with pytest.raises(BadInputError, match=f"version 1, not {VERSION}"):
        make_demo(folder, **SMALL)


class StopHereError(Exception):
    pass


def test_stopped_demo_goes_on(demo: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "half"

    def stop(event: DemoProgress) -> None:
        if event.current == 3:
            raise StopHereError

    with pytest.raises(StopHereError):
        make_demo(folder, workers=2, progress=stop, **SMALL)
    assert not psutil.Process().children()
    marker = read_marker(folder)
    assert marker is not None and not marker[1]
    written = digest(folder)
    assert not any(name.endswith(".mp4") for name in written)
    # A crash can leave a temporary file; it must not stay for ever.
    (folder / "data_src" / ".00001.jpg.x.tmp").write_bytes(b"torn")
    events: list[DemoProgress] = []
    make_demo(folder, workers=1, progress=events.append, **SMALL)
    assert 3 <= events[0].current < 2 * FACES
    assert digest(folder) == digest(demo.root)


def test_interrupt_of_a_real_process(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    code = (
        "import sys; from pathlib import Path; from recaster_tui.demo import make_demo;"
        "make_demo(Path(sys.argv[1]), faces=300, size=64, workers=2,"
        " progress=lambda e: print(e.current, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 2:
                break
        workers = psutil.Process(process.pid).children()
        assert len(workers) == 2
        os.kill(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in stderr
    assert not any(worker.is_running() for worker in workers)
    marker = read_marker(folder)
    assert marker is not None and not marker[1]
    for path in (folder / "data_src" / "aligned").glob("*.jpg"):
        assert read_face(path).shape == (64, 64, 3)


def test_only_what_is_missing_is_made(demo: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    make_demo(folder, workers=1, **SMALL)
    before = digest(folder)
    (folder / "data_dst/aligned/00002_0.jpg").unlink()
    (folder / "data_src.mp4").unlink()
    marker = folder / "demo.toml"
    marker.write_text(marker.read_text().replace("complete = true", "complete = false"))
    kept = (folder / "data_dst/aligned/00001_0.jpg").stat().st_mtime_ns
    make_demo(folder, workers=1, **SMALL)
    assert digest(folder) == before
    assert (folder / "data_dst/aligned/00001_0.jpg").stat().st_mtime_ns == kept


def test_trouble_in_a_worker_reaches_the_caller(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    make_demo(folder, workers=1, **SMALL)
    for name in ("data_src.mp4", "data_dst.mp4"):
        (folder / name).unlink()
    for side in ("src", "dst"):
        (folder / f"data_{side}/00003.jpg").write_bytes(b"no picture")
    marker = folder / "demo.toml"
    marker.write_text(marker.read_text().replace("complete = true", "complete = false"))
    with pytest.raises(RecasterError, match="damaged") as caught:
        make_demo(folder, workers=2, **SMALL)
    assert caught.value.exit_code is ExitCode.DAMAGED
    assert caught.value.hint and "00003.jpg" in str(caught.value)
    assert not list(folder.glob("*.mp4")) and not list(folder.glob(".*.tmp"))


def test_foreign_folders_are_left_alone(demo: Workspace, tmp_path: Path) -> None:
    foreign = tmp_path / "holiday"
    (foreign / "data_src").mkdir(parents=True)
    (foreign / "data_src" / "mine.jpg").write_bytes(b"precious")
    before = digest(foreign)
    with pytest.raises(BadInputError, match="not empty") as caught:
        make_demo(foreign, **SMALL)
    assert caught.value.hint
    assert digest(foreign) == before and not is_demo(foreign)

    with pytest.raises(BadInputError, match="this is a file"):
        make_demo(foreign / "data_src" / "mine.jpg", **SMALL)
    before = digest(demo.root)
    with pytest.raises(BadInputError, match="faces 4, not 5"):
        make_demo(demo.root, **{**SMALL, "faces": 5})
    assert digest(demo.root) == before

    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "demo.toml").write_text("[demo]\nseed = 'one'\n")
    with pytest.raises(DamagedError, match="marker"):
        make_demo(broken, **SMALL)
    assert [path.name for path in broken.iterdir()] == ["demo.toml"]


@pytest.mark.parametrize(
    "bad", [{"faces": 0}, {"size": 20}, {"seed": -1}, {"video_seconds": 0.0}, {"faces": 600}]
)
def test_bad_settings_are_named(tmp_path: Path, bad: dict[str, float]) -> None:
    with pytest.raises(BadInputError):
        make_demo(tmp_path / "demo", **{**SMALL, **bad})
    assert not (tmp_path / "demo").exists()


def test_needs_neither_torch_nor_textual() -> None:
    code = "import sys, json, recaster_tui.demo; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))
    assert not {"torch", "textual", "asyncssh"} & set(loaded)

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from recaster_tui import jobs
from recaster_tui.errors import BadInputError, EnvironmentProblem
from recaster_tui.extraction.journal import NAME as JOURNAL
from recaster_tui.extraction.pipeline import extract
from recaster_tui.extraction.settings import ExtractSettings
from recaster_tui.faces.codec import decode_pixels, read_face, read_metadata
from recaster_tui.faces.edits import FaceEdits
from recaster_tui.faces.faceset import open_faceset
from recaster_tui.faces.geometry import alignment_matrix, transform_points
from recaster_tui.faces.types import FaceType
from recaster_tui.files import read_toml
from tests.extraction.conftest import Recorder, drawn, save, save_video
from tests.extraction.fake_finder import BLUE, GREEN, NAME, RED, mean_face

FAKE = ExtractSettings(detector=NAME, size=256, workers=2)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.jpg"))


def box(index: int) -> tuple[int, int, int, int]:
    return (20 + 2 * index, 30, 50, 60)


def test_folder_of_frames(workspace):
    source = workspace.root / "data_src"
    save(source / "a.png", drawn((30, 20, 60, 70)))
    save(source / "b.png", drawn((30, 20, 60, 70), (110, 20, 30, 40)))
    save(source / "c.png", drawn())
    save(source / "c.bmp", drawn((30, 20, 60, 70)))  # sorts first, so c.png is the one left out
    (source / "d.png").write_text("no picture")
    save(source / "e.png", drawn((0, 20, 60, 70)))
    told = Recorder()
    result = extract(workspace, "src", replace(FAKE, debug=True), told)
    aligned = source / "aligned"
    assert names(aligned) == ["a_0.jpg", "b_0.jpg", "b_1.jpg", "c_0.jpg", "e_0.jpg"]
    assert (result.frames, result.faces, result.none) == (4, 5, [])
    assert result.several == ["b.png"]
    assert result.doubtful == [("e.png", 0, "at the edge")]
    assert [name for name, _ in result.unreadable] == ["d.png"]
    assert any("c.png is left out" in text for text in told.warnings)
    assert any("d.png" in text for text in told.warnings)
    assert told.progresses[-1] == (5, 5, {"faces": 5, "without": 0, "doubtful": 1})
    assert names(source / "aligned_debug") == ["a.jpg", "b.jpg", "c.jpg", "e.jpg"]
    report = read_toml(source / "extraction.toml")
    assert report["extraction"]["input"] == "data_src" and report["extraction"]["complete"]
    assert report["counts"]["faces"] == 5 and report["frames"]["several"] == ["b.png"]


def test_a_face_is_complete_and_exact(workspace):
    frame = drawn((30, 20, 60, 70))
    cv2.circle(frame, (60, 55), 12, (255, 255, 255), 2)
    save(workspace.root / "data_src" / "a.png", frame)
    extract(workspace, "src", FAKE, Recorder())
    path = workspace.root / "data_src" / "aligned" / "a_0.jpg"
    stored = read_metadata(path)
    assert set(stored) == {
        *("face_type", "landmarks", "source_filename", "source_rect", "source_landmarks"),
        *("image_to_face_mat", "mesh_landmarks_478"),
    }
    assert isinstance(stored["landmarks"], list) and isinstance(stored["landmarks"][0][0], float)
    assert stored["source_rect"].dtype.kind == "i" and stored["source_rect"].shape == (4,)
    assert stored["image_to_face_mat"].dtype == np.float64
    face = read_face(path)
    truth = mean_face(30, 20, 60, 70)
    matrix = alignment_matrix(truth, 256, FaceType.WHOLE)
    assert (face.face_type, face.source_filename) == (FaceType.WHOLE, "a.png")
    np.testing.assert_allclose(face.source_landmarks, truth, atol=1e-3)
    np.testing.assert_allclose(face.image_to_face_mat, matrix, atol=1e-9)
    np.testing.assert_allclose(face.landmarks, transform_points(truth, matrix), atol=1e-3)
    mesh = np.array(face.extra["mesh_landmarks_478"])
    corner = transform_points(np.array([(30.0, 20.0)]), matrix)
    assert mesh.shape == (478, 2) and mesh.dtype == np.float32
    np.testing.assert_allclose(mesh, np.repeat(corner, 478, 0), atol=1e-2)
    wanted = cv2.warpAffine(frame, matrix, (256, 256), flags=cv2.INTER_LINEAR)
    error = np.abs(decode_pixels(face).astype(int) - wanted)
    assert error.mean() < 4  # JPEG, 4:2:0, pure red


@pytest.mark.parametrize("smooth", [False, True])
def test_stopped_video_goes_on(workspace, smooth):
    pictures = [drawn(box(i), size=(200, 120)) for i in range(40)]
    save_video(workspace.root / "data_src.mkv", pictures)
    settings = replace(FAKE, smooth=smooth)
    first = Recorder(stop_after=12)
    stopped = extract(workspace, "src", settings, first)
    aligned = workspace.root / "data_src" / "aligned"
    there = {name: (aligned / name).stat().st_mtime_ns for name in names(aligned)}
    assert not stopped.complete and 12 <= stopped.frames < 40
    assert len(there) == stopped.faces
    result = extract(workspace, "src", settings, Recorder())
    assert result.complete and (result.frames, result.faces) == (40, 40)
    assert result.new_frames == 40 - stopped.frames
    assert names(aligned) == [f"{i:05d}_0.jpg" for i in range(1, 41)]
    for name, when in there.items():
        assert (aligned / name).stat().st_mtime_ns == when
    assert names(workspace.root / "data_src") == [f"{i:05d}.jpg" for i in range(1, 41)]
    again = extract(workspace, "src", settings, Recorder())
    assert again.new_frames == 0 and again.frames == 40
    # Uniform movement: smoothing must leave it where it is, at the seam of the two runs too.
    for i in range(40):
        face = read_face(aligned / f"{i + 1:05d}_0.jpg")
        np.testing.assert_allclose(face.source_landmarks, mean_face(*box(i)), atol=1.5)


def test_smoothing_ends_at_a_cut_of_the_film(workspace):
    # The face stands still in each shot, five pixels apart: nearer than a face moves in a frame.
    shots = [np.full((120, 160, 3), tone, np.uint8) for tone in (90, 200)]
    pictures = []
    for index, shot in enumerate(shots):
        shot[30:100, 40 + 5 * index : 100 + 5 * index] = RED
        pictures += [shot] * 6
    save_video(workspace.root / "data_src.mkv", pictures)
    extract(workspace, "src", replace(FAKE, smooth=True, frames="none"), Recorder())
    for index in range(12):
        face = read_face(workspace.root / "data_src" / "aligned" / f"{index + 1:05d}_0.jpg")
        left = float(face.source_landmarks[:, 0].min())
        assert abs(left - (40 if index < 6 else 45)) < 0.6, index


def test_every_nth_keeps_numbers_and_fills_up(workspace):
    pictures = [drawn(box(i)) for i in range(10)]
    save_video(workspace.root / "data_src.mp4", pictures)
    aligned = workspace.root / "data_src" / "aligned"
    extract(workspace, "src", replace(FAKE, every=4, frames="none"), Recorder())
    assert names(aligned) == ["00001_0.jpg", "00005_0.jpg", "00009_0.jpg"]
    assert names(workspace.root / "data_src") == []
    result = extract(workspace, "src", replace(FAKE, frames="none"), Recorder())
    assert result.new_frames == 7 and len(names(aligned)) == 10


def test_workers_that_die_or_hang_cost_one_frame_each(workspace):
    source = workspace.root / "data_src"
    for index in range(6):
        corner = {2: GREEN, 4: BLUE}.get(index)
        save(source / f"{index}.png", drawn((60, 30, 60, 70), corner=corner))
    told = Recorder()
    result = extract(workspace, "src", replace(FAKE, timeout=4.0), told)
    assert names(source / "aligned") == ["0_0.jpg", "1_0.jpg", "3_0.jpg", "5_0.jpg"]
    assert sorted(name for name, _ in result.unreadable) == ["2.png", "4.png"]
    assert any("2.png" in text and "exit code 9" in text for text in told.warnings)
    assert any("4.png" in text and "4 s" in text for text in told.warnings)


def test_a_detector_that_always_dies_is_an_error(workspace):
    for index in range(8):
        save(workspace.root / "data_src" / f"{index}.png", drawn(corner=GREEN))
    with pytest.raises(EnvironmentProblem, match="again and again"):
        extract(workspace, "src", FAKE, Recorder())


def test_other_settings_and_inputs_are_refused_not_mixed(workspace):
    root = workspace.root
    save_video(root / "data_src.mp4", [drawn(box(0))] * 3)
    save_video(root / "more.mp4", [drawn(box(5))] * 2)
    settings = replace(FAKE, frames="none")
    extract(workspace, "src", settings, Recorder())
    aligned = root / "data_src" / "aligned"
    before = {name: (aligned / name).read_bytes() for name in names(aligned)}
    with pytest.raises(BadInputError, match="whole of 256"):
        extract(workspace, "src", replace(settings, size=320), Recorder())
    with pytest.raises(BadInputError, match="same names"):
        extract(workspace, "src", replace(settings, input=root / "more.mp4"), Recorder())
    extract(workspace, "src", replace(settings, input=root / "more.mp4", prefix="b"), Recorder())
    assert names(aligned) == [*before, "b-00001_0.jpg", "b-00002_0.jpg"]
    assert all((aligned / name).read_bytes() == data for name, data in before.items())
    extract(workspace, "src", replace(settings, size=320, fresh=True), Recorder())
    # The last input is the one that goes on.
    assert [read_face(aligned / name).shape[0] for name in names(aligned)] == [320, 320]
    trash = root / "data_src" / "aligned_trash"
    assert {name: (trash / name).read_bytes() for name in before} == before
    edits = FaceEdits(aligned)
    edits.trash(names(aligned))
    assert edits.undo() and edits.undo()  # the second one is that of --fresh
    assert set(before) <= set(names(aligned))


def test_packed_faces_are_not_passed_by(workspace):
    source = workspace.root / "data_src"
    save(source / "a.png", drawn((60, 30, 60, 70)))
    (source / "aligned").mkdir()
    (source / "aligned" / "faceset.pak").write_bytes(b"packed")
    with pytest.raises(BadInputError, match="packed"):
        extract(workspace, "src", FAKE, Recorder())
    extract(workspace, "src", replace(FAKE, fresh=True), Recorder())
    assert names(source / "aligned") == ["a_0.jpg"]
    (kept,) = (source / "aligned_trash").glob("*.pak")
    assert kept.read_bytes() == b"packed"


def test_faces_of_another_program_are_kept_and_their_frames_done(workspace):
    source = workspace.root / "data_src"
    for stem in ("a", "b"):
        save(source / f"{stem}.png", drawn((60, 30, 60, 70)))
    extract(workspace, "src", FAKE, Recorder())
    aligned = source / "aligned"
    (aligned / JOURNAL).unlink()
    (aligned / "a_0.jpg").rename(aligned / "00000.jpg")  # as after sorting
    (aligned / "b_0.jpg").unlink()
    result = extract(workspace, "src", FAKE, Recorder())
    assert names(aligned) == ["00000.jpg", "b_0.jpg"] and result.new_frames == 1


def test_emptied_folder_begins_again(workspace):
    save(workspace.root / "data_src" / "a.png", drawn((60, 30, 60, 70)))
    extract(workspace, "src", FAKE, Recorder())
    aligned = workspace.root / "data_src" / "aligned"
    (aligned / "a_0.jpg").unlink()
    extract(workspace, "src", FAKE, Recorder())
    assert names(aligned) == ["a_0.jpg"]


def test_trashed_faces_stay_trashed(workspace):
    source = workspace.root / "data_src"
    for stem in ("a", "b"):
        save(source / f"{stem}.png", drawn((60, 30, 60, 70)))
    extract(workspace, "src", FAKE, Recorder())
    (source / "aligned" / "a_0.jpg").rename(workspace.root / "elsewhere.jpg")
    assert extract(workspace, "src", FAKE, Recorder()).new_frames == 0
    assert names(source / "aligned") == ["b_0.jpg"]


def test_folder_of_faces_is_no_input(workspace):
    save(workspace.root / "data_src" / "a.png", drawn((60, 30, 60, 70)))
    extract(workspace, "src", FAKE, Recorder())
    aligned = workspace.root / "data_src" / "aligned"
    (aligned / "a_0.jpg").rename(workspace.root / "data_dst" / "a_0.jpg")
    with pytest.raises(BadInputError, match="aligned faces, not frames"):
        extract(workspace, "dst", FAKE, Recorder())


def test_two_extractions_of_a_side_at_once_are_refused(workspace):
    from recaster_tui.extraction.journal import Journal

    save(workspace.root / "data_src" / "a.png", drawn())
    aligned = workspace.root / "data_src" / "aligned"
    aligned.mkdir()
    written_now = aligned / ".b_0.jpg.k3x_.tmp"
    written_now.touch()
    with Journal(aligned), pytest.raises(BadInputError, match="another extraction"):
        extract(workspace, "src", FAKE, Recorder())
    assert written_now.exists()  # the other one's
    edited_now = aligned / ".a_0.jpg.y7z_.tmp"
    edited_now.touch()
    (aligned / "a_0.jpg").touch()
    extract(workspace, "src", FAKE, Recorder())
    assert edited_now.exists() and not written_now.exists()


def recaster(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "recaster_tui", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def test_command_line(workspace):
    root = workspace.root
    save_video(root / "data_src.mp4", [drawn(box(i)) for i in range(5)])
    options = ["--detector", NAME, "--size", "256", "--workers", "1"]
    done = recaster("extract", root, "src", *options, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["faces"] == 5
    assert all(json.loads(line)["type"] for line in done.stderr.splitlines())
    assert len(open_faceset(root / "data_src" / "aligned")) == 5

    (root / "data_dst.mp4").write_text("This is no video.")
    refused = recaster("extract", root, "dst", *options)
    assert refused.returncode == 2 and "data_dst.mp4" in refused.stderr
    assert "Traceback" not in refused.stderr
    for wrong in (["--size", "100"], ["--every", "2", "--fps", "3"], ["--detector", "nobody"]):
        refused = recaster("extract", root, "src", *options, "--fresh", *wrong)
        assert refused.returncode == 2 and "error: " in refused.stderr, wrong
        assert "Traceback" not in refused.stderr


def test_broken_off_video_keeps_what_decoded(workspace):
    root = workspace.root
    pictures = [drawn(box(i % 20)) for i in range(60)]
    data = save_video(root / "whole.mkv", pictures, g="10").read_bytes()
    (root / "data_src.mkv").write_bytes(data[: len(data) // 2])
    options = ["--detector", NAME, "--size", "256", "--workers", "1"]
    done = recaster("extract", root, "src", *options)
    assert done.returncode == 4 and "data_src.mkv" in done.stderr and "breaks off" in done.stderr
    faces = names(root / "data_src" / "aligned")
    assert 5 < len(faces) < 60
    report = read_toml(root / "data_src" / "extraction.toml")
    assert not report["extraction"]["complete"] and report["extraction"]["problems"]
    (root / "data_src.mkv").write_bytes(data)
    assert recaster("extract", root, "src", *options).returncode == 0
    assert len(names(root / "data_src" / "aligned")) == 60


def test_ctrl_c_stops_and_says_so(workspace):
    root = workspace.root
    save_video(root / "data_src.mkv", [drawn(box(i % 30)) for i in range(600)])
    command = [sys.executable, "-m", "recaster_tui", "extract", str(root), "src"]
    command += ["--detector", NAME, "--size", "512", "--workers", "1", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line).get("counts", {}).get("faces", 0) > 3:
            break
    os.kill(process.pid, signal.SIGINT)
    answer, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    counts = json.loads(answer)["counts"]
    assert 3 < counts["faces"] < 600
    assert counts["faces"] == len(names(root / "data_src" / "aligned"))


def test_killed_it_leaves_nobody_behind_and_goes_on(workspace):
    root = workspace.root
    save_video(root / "data_src.mkv", [drawn(box(i % 30)) for i in range(120)])
    command = [sys.executable, "-m", "recaster_tui", "extract", str(root), "src", "--json"]
    command += ["--detector", NAME, "--size", "512", "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line).get("counts", {}).get("faces", 0) > 3:
            break
    helpers = psutil.Process(process.pid).children(recursive=True)
    assert len(helpers) >= 2
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(helpers, timeout=30)
    assert not alive
    result = extract(workspace, "src", replace(FAKE, size=512), Recorder())
    assert result.faces == 120 and len(names(root / "data_src" / "aligned")) == 120
    assert not list((root / "data_src" / "aligned").glob("*.tmp"))


def test_as_a_job_it_is_stopped_by_the_screen(workspace):
    root = workspace.root
    save_video(root / "data_src.mkv", [drawn(box(i % 30)) for i in range(400)])
    arguments = ["extract", str(root), "src", "--detector", NAME, "--size", "512"]
    jobs.start_job(root, "extract", "src", arguments)

    def state(wanted):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = jobs.read_job(root, "extract", "src")
            if found is not None and wanted(found):
                return found
            time.sleep(0.05)
        raise AssertionError(jobs.read_job(root, "extract", "src"))

    state(lambda s: s.counts.get("faces", 0) > 3)
    jobs.stop_job(root, "extract", "src")
    ended = state(lambda s: s.status is not jobs.JobStatus.RUNNING)
    assert ended.status is jobs.JobStatus.STOPPED and 3 < ended.counts["faces"] < 400


def test_frames_of_another_video_are_not_taken_for_this_ones(workspace):
    root = workspace.root
    save_video(root / "data_src.mp4", [drawn(box(0))] * 3)
    save_video(root / "other.mp4", [drawn(box(9))] * 3)
    extract(workspace, "src", FAKE, Recorder())
    before = {name: (root / "data_src" / name).read_bytes() for name in names(root / "data_src")}
    told = Recorder()
    other = replace(FAKE, input=root / "other.mp4")
    extract(workspace, "src", replace(other, fresh=True), told)
    assert any("not written" in note for note in told.notes)
    extract(workspace, "src", replace(other, prefix="b"), Recorder())
    assert names(root / "data_src") == [*before, *(f"b-0000{i}.jpg" for i in (1, 2, 3))]
    assert all((root / "data_src" / name).read_bytes() == data for name, data in before.items())


def test_a_full_disk_is_said_and_goes_on_later(workspace):
    import resource

    root = workspace.root
    for index in range(4):
        save(root / "data_src" / f"{index}.png", drawn(box(index)))
    options = ["--detector", NAME, "--size", "1024", "--workers", "1"]

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    refused = recaster("extract", root, "src", *options, preexec_fn=small_files)
    assert refused.returncode == 3 and "cannot write" in refused.stderr, refused.stderr
    assert "Traceback" not in refused.stderr
    assert recaster("extract", root, "src", *options).returncode == 0
    assert len(open_faceset(root / "data_src" / "aligned")) == 4

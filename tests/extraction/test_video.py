import numpy as np
import pytest

from recaster_tui.errors import BadInputError, RecasterError
from recaster_tui.extraction.video import Selection, VideoReader
from tests.extraction.conftest import save_video, with_display_matrix

QUARTERS = {"tl": (200, 30, 30), "tr": (30, 200, 30), "bl": (30, 30, 200), "br": (220, 220, 220)}


def quarters(width=128, height=96) -> np.ndarray:
    picture = np.empty((height, width, 3), np.uint8)
    y, x = height // 2, width // 2
    picture[:y, :x], picture[:y, x:] = QUARTERS["tl"], QUARTERS["tr"]
    picture[y:, :x], picture[y:, x:] = QUARTERS["bl"], QUARTERS["br"]
    return picture


def corners(picture: np.ndarray) -> list[str]:
    """Which quarter each corner shows: top left, top right, bottom left, bottom right."""
    found = []
    for y, x in ((8, 8), (8, -8), (-8, 8), (-8, -8)):
        apart = {k: np.abs(picture[y, x].astype(int) - v).max() for k, v in QUARTERS.items()}
        name = min(apart, key=apart.__getitem__)
        assert apart[name] < 12
        found.append(name)
    return found


def all_of(path) -> list[np.ndarray]:
    with VideoReader(path) as video:
        return [frame.picture for frame in video.pictures(lambda *_: True)]


@pytest.mark.parametrize(
    ("matrix", "shown", "shape"),
    [
        ((1, 0, 0, 1), ["tl", "tr", "bl", "br"], (96, 128)),
        ((0, 1, -1, 0), ["bl", "tl", "br", "tr"], (128, 96)),  # a quarter clockwise
        ((-1, 0, 0, -1), ["br", "bl", "tr", "tl"], (96, 128)),
        ((0, -1, 1, 0), ["tr", "br", "tl", "bl"], (128, 96)),
        ((-1, 0, 0, 1), ["tr", "tl", "br", "bl"], (96, 128)),  # mirrored
        ((1, 0, 0, -1), ["bl", "br", "tl", "tr"], (96, 128)),
        ((0, 1, 1, 0), ["tl", "bl", "tr", "br"], (128, 96)),
    ],
)
def test_display_matrix_is_applied(tmp_path, matrix, shown, shape):
    data = save_video(tmp_path / "a.mp4", [quarters()] * 2).read_bytes()
    path = tmp_path / "turned.mp4"
    path.write_bytes(with_display_matrix(data, *matrix))
    with VideoReader(path) as video:
        assert (video.info.height, video.info.width) == shape
        (first, _) = video.pictures(lambda *_: True)
    assert first.picture.shape == (*shape, 3)
    assert corners(first.picture) == shown


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mkv", "libx264", "yuv444p"),
        ("a.mov", "libx264", "yuv420p10le"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
    ],
)
def test_containers_and_ten_bits(tmp_path, name, codec, pix_fmt):
    path = save_video(tmp_path / name, [quarters()] * 3, codec=codec, pix_fmt=pix_fmt)
    pictures = all_of(path)
    assert len(pictures) == 3
    assert corners(pictures[0]) == ["tl", "tr", "bl", "br"]


def test_variable_rate_is_selected_by_its_clock(tmp_path):
    # 25 a second for one second, then two frames a second apart, then 25 a second again
    times = [40 * i for i in range(25)] + [2000, 3000] + [3040 + 40 * i for i in range(24)]
    pictures = [np.full((96, 128, 3), 20 + 4 * i, np.uint8) for i in range(len(times))]
    path = save_video(tmp_path / "a.mkv", pictures, pix_fmt="yuv444p", times=times)
    selection = Selection(fps=5)
    with VideoReader(path) as video:
        frames = list(video.pictures(selection.wanted))
    assert [round(f.seconds * 1000) for f in frames] == [
        *(0, 200, 400, 600, 800, 2000, 3000, 3200, 3400, 3600, 3800)
    ]
    for frame in frames:
        assert round((frame.picture.mean() - 20) / 4) == frame.number - 1


def test_fps_above_the_videos_takes_every_frame_once():
    selection = Selection(fps=120)
    assert [n for n in range(1, 30) if selection.wanted(n, n / 24)] == list(range(1, 30))


def test_what_is_no_video_is_refused_by_name(tmp_path):
    whole = save_video(tmp_path / "whole.mp4", [quarters()] * 20).read_bytes()
    bad = {
        "text.mp4": b"hello\n" * 100,
        "empty.mp4": b"",
        "cut.mp4": whole[: len(whole) // 2],  # its index is at the end
        "noise.mp4": np.random.default_rng(1).bytes(4000),
        "head.mp4": whole[:40],
    }
    for name, data in bad.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(RecasterError) as error:
            VideoReader(path)
        assert error.value.exit_code in (2, 4) and name in str(error.value)
    with pytest.raises(BadInputError):
        VideoReader(tmp_path / "missing.mp4")


def test_damage_in_the_middle_leaves_the_rest(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 96, 128, 3), np.uint8)
    data = bytearray(save_video(tmp_path / "a.mp4", list(noise), g="10").read_bytes())
    at = data.find(b"mdat")
    for start in range(at + 60_000, at + 100_000, 500):
        data[start : start + 300] = bytes(300)
    path = tmp_path / "b.mp4"
    path.write_bytes(data)
    with VideoReader(path) as video:
        frames = list(video.pictures(lambda *_: True))
        assert 30 < len(frames) <= 60
        assert video.problems or any(frame.damaged for frame in frames)

"""DFL's S3FD and FAN. Their weights are not here: names, shapes and wiring are judged with made-up
weights against a second, functional reading of the specification (dfl-data.md 5.8), geometry and
decoding with networks that find coloured marks.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recaster_tui.errors import BadInputError, DamagedError
from recaster_tui.extraction import fan_points, s3fd_boxes
from recaster_tui.extraction.dfl_weights import dfl_key, load_dfl_net
from recaster_tui.extraction.finder import make_finder
from recaster_tui.extraction.s3fd_fan import S3fdFanFinder
from recaster_tui.faces.pickling import dumps
from recaster_tui.faces.tables import MEAN_FACE_2D
from recaster_tui.nets.fan import FAN
from recaster_tui.nets.s3fd import S3FD, STRIDES

Weights = dict[str, np.ndarray]


def made_up(make: type[torch.nn.Module]) -> Weights:
    """Random weights under DFL's names, in its layout, half precision, scaled to stay finite."""
    rng = np.random.default_rng(7)
    arrays: Weights = {}
    with torch.device("meta"):
        state = make().state_dict()
    for name, tensor in state.items():
        kind = name.rpartition(".")[2]
        if kind == "num_batches_tracked":
            continue
        shape = tuple(tensor.shape)
        if len(shape) == 4:
            shape = (shape[2], shape[3], shape[1], shape[0])
            values = rng.standard_normal(shape, np.float32) * np.sqrt(1.6 / np.prod(shape[:3]))
        elif name.endswith("_norm.weight"):
            values = 10 + rng.standard_normal((1, 1, 1, *shape), np.float32)
        elif kind in ("weight", "running_var"):
            values = 1 + np.abs(0.2 * rng.standard_normal(shape, np.float32))
        else:
            values = 0.1 * rng.standard_normal(shape, np.float32)
        arrays[dfl_key(name)] = values.astype(np.float16)
    return arrays


@pytest.fixture(scope="module")
def s3fd_weights() -> Weights:
    return made_up(S3FD)


@pytest.fixture(scope="module")
def fan_weights() -> Weights:
    return made_up(FAN)


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, s3fd_weights: Weights, fan_weights: Weights
) -> Path:
    path = tmp_path_factory.mktemp("facelib")
    (path / "S3FD.npy").write_bytes(dumps({**s3fd_weights, "surplus:0": np.zeros(3)}))
    (path / "3DFAN.npy").write_bytes(dumps(fan_weights, protocol=4))
    return path


def test_the_files_hold_what_the_specification_counts(
    s3fd_weights: Weights, fan_weights: Weights
) -> None:
    assert len(s3fd_weights) == 65 and sum(a.size for a in s3fd_weights.values()) == 22_459_110
    assert len(fan_weights) == 945 and sum(a.size for a in fan_weights.values()) == 23_874_320
    for key in (
        "conv1/weight:0", "bn1/running_var:0", "conv2/down_conv1/weight:0",
        "m_0/b2_plus/b2_plus/b2_plus/b2_plus/conv1/weight:0", "m_0/b2_plus/b3/bn1/bias:0",
        "top_m_3/conv3/weight:0", "conv_last_0/bias:0", "bn_end_0/weight:0", "l_0/weight:0",
        "bl_2/bias:0", "al_2/weight:0",
    ):  # fmt: skip
        assert key in fan_weights
    assert {"conv1_1/weight:0", "conv3_3_norm/weight:0", "fc7_mbox_loc/bias:0"} <= set(s3fd_weights)


class Named:
    """Layers by DFL's names, straight from a file's arrays."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = {k: torch.from_numpy(v.astype(np.float32)) for k, v in arrays.items()}

    def conv(self, x: Tensor, name: str, stride: int = 1, pad: int | None = None) -> Tensor:
        weight = self.arrays[f"{name}/weight:0"].permute(3, 2, 0, 1)
        around = weight.shape[2] // 2 if pad is None else pad
        return F.conv2d(x, weight, self.arrays.get(f"{name}/bias:0"), stride, around)

    def norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias, mean, var = (
            self.arrays[f"{name}/{part}:0"][:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def s3fd(net: Named, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    x = x - torch.tensor([104.0, 117.0, 123.0])[:, None, None]
    taps = {}
    for block, count in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3)):
        for k in range(1, count + 1):
            x = net.conv(x, f"conv{block}_{k}").relu()
        if block >= 3:
            name = f"conv{block}_3_norm"
            length = (x * x).sum(1, keepdim=True).sqrt() + 1e-10
            taps[name] = x / length * net.arrays[f"{name}/weight:0"].reshape(-1, 1, 1)
        x = F.max_pool2d(x, 2, 2)
    x = taps["fc7"] = net.conv(net.conv(x, "fc6", pad=3).relu(), "fc7").relu()
    x = taps["conv6_2"] = net.conv(net.conv(x, "conv6_1").relu(), "conv6_2", 2).relu()
    taps["conv7_2"] = net.conv(net.conv(x, "conv7_1").relu(), "conv7_2", 2).relu()
    answers = []
    for name, tap in taps.items():
        classes = net.conv(tap, f"{name}_mbox_conf")
        if classes.shape[1] == 4:
            classes = torch.cat((classes[:, :3].max(1, keepdim=True)[0], classes[:, 3:]), 1)
        answers.append((classes.softmax(1)[:, 1], net.conv(tap, f"{name}_mbox_loc")))
    return answers


def fan(net: Named, x: Tensor) -> Tensor:
    def block(x: Tensor, name: str) -> Tensor:
        parts = [x]
        for k in (1, 2, 3):
            parts.append(net.conv(net.norm(parts[-1], f"{name}/bn{k}").relu(), f"{name}/conv{k}"))
        y = torch.cat(parts[1:], 1)
        if f"{name}/down_conv1/weight:0" in net.arrays:
            x = net.conv(net.norm(x, f"{name}/down_bn1").relu(), f"{name}/down_conv1")
        return x + y

    def hourglass(x: Tensor, name: str, depth: int) -> Tensor:
        low = block(F.avg_pool2d(x, 2), f"{name}/b2")
        inner = f"{name}/b2_plus"
        low = block(low, inner) if depth == 1 else hourglass(low, inner, depth - 1)
        low = block(low, f"{name}/b3").repeat_interleave(2, 2).repeat_interleave(2, 3)
        return block(x, f"{name}/b1") + low

    x = net.norm(net.conv(x, "conv1", 2), "bn1").relu()
    x = F.avg_pool2d(block(x, "conv2"), 2)
    x = block(block(x, "conv3"), "conv4")
    for k in range(4):
        h = block(hourglass(x, f"m_{k}", 4), f"top_m_{k}")
        h = net.norm(net.conv(h, f"conv_last_{k}"), f"bn_end_{k}").relu()
        heat = net.conv(h, f"l_{k}")
        if k < 3:
            x = x + net.conv(h, f"bl_{k}") + net.conv(heat, f"al_{k}")
    return heat


@torch.inference_mode()
def test_s3fd_computes_what_the_specification_says(folder: Path, s3fd_weights: Weights) -> None:
    net = load_dfl_net(S3FD(), folder / "S3FD.npy")
    x = torch.rand(1, 3, 72, 104, generator=torch.manual_seed(1)) * 255
    answers, wanted = net(x), s3fd(Named(s3fd_weights), x)
    assert [tuple(a[0].shape[1:]) for a in answers[:3]] == [(18, 26), (9, 13), (4, 6)]
    for ours, theirs in zip(answers, wanted, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@torch.inference_mode()
def test_fan_computes_what_the_specification_says(folder: Path, fan_weights: Weights) -> None:
    with torch.device("meta"):
        net = FAN()
    net = load_dfl_net(net, folder / "3DFAN.npy")
    x = torch.rand(1, 3, 256, 256, generator=torch.manual_seed(2))
    ours, theirs = net(x), fan(Named(fan_weights), x)
    assert ours.shape == (1, 68, 64, 64)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


def test_wrong_files_are_named_and_nothing_in_them_runs(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "S3FD.npy"
    with pytest.raises(DamagedError, match="cannot be read"):
        load_dfl_net(S3FD(), path)
    path.write_bytes(b"\x80\x04cos\nsystem\n(S'touch /tmp/pwned'\ntR.")
    with pytest.raises(DamagedError) as refused:
        load_dfl_net(S3FD(), path)
    assert refused.value.where == str(path)
    path.write_bytes(dumps({"conv1_1/weight:0": np.zeros((3, 3, 3, 64), np.float32)}))
    with pytest.raises(DamagedError, match="conv1_1/bias:0 is missing"):
        load_dfl_net(S3FD(), path)
    path.write_bytes(dumps({"conv1_1/weight:0": np.zeros((3, 3), np.float32)}))
    with pytest.raises(DamagedError, match="conv1_1/weight:0 is float32"):
        load_dfl_net(S3FD(), path)
    with pytest.raises(BadInputError, match=r"2DFAN\.npy or 3DFAN\.npy"):
        make_finder("s3fd-fan", weights=tmp_path)
    only_fan = tmp_path / "fan" / "2DFAN.npy"
    only_fan.parent.mkdir()
    only_fan.touch()
    with pytest.raises(BadInputError, match=r"S3FD\.npy"):
        make_finder("s3fd-fan", weights=only_fan)


# The coloured stage: blue marks the face, red and green tell each of its pixels where it is.
FACE = (180, 90, 300, 230)  # left, top, right, bottom
# In it 68 targets: a plausible jaw, and the mean face.
_JAW = np.linspace(np.pi, 0, 17)
TARGETS = np.concatenate(
    [
        0.5 + np.stack([0.4 * np.cos(_JAW), 0.4 * np.sin(_JAW)], 1),
        0.2 + 0.6 * MEAN_FACE_2D.astype(float),
    ]
)


def stage(width: int = 560, height: int = 400) -> np.ndarray:
    frame = np.zeros((height, width, 3), np.uint8)
    left, top, right, bottom = FACE
    y, x = np.mgrid[top:bottom, left:right]
    frame[top:bottom, left:right, 0] = 255  # BGR
    frame[top:bottom, left:right, 2] = 25 + 200 * (x - left) / (right - left)
    frame[top:bottom, left:right, 1] = 25 + 200 * (y - top) / (bottom - top)
    return frame


def where_targets_are() -> np.ndarray:
    left, top, right, bottom = FACE
    return np.array([left, top]) + TARGETS * np.array([right - left, bottom - top])


class BlueDetector(torch.nn.Module):
    """Answers as S3FD would that sees the blue rectangle, if it stands upright."""

    @staticmethod
    def upright(red: Tensor) -> bool:
        return bool(red[:, -1].mean() > red[:, 0].mean() + 50)  # it grows to the right

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        height, width = x.shape[2:]
        levels = [
            (torch.zeros(1, -(-height // s), -(-width // s)),
             torch.zeros(1, 4, -(-height // s), -(-width // s)))
            for s in STRIDES
        ]  # fmt: skip
        mask = x[0, 2] > 128
        rows, columns = torch.nonzero(mask.any(1)).squeeze(1), torch.nonzero(mask.any(0)).squeeze(1)
        if not len(rows):
            return levels
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        left, right = int(columns[0]), int(columns[-1]) + 1
        red = x[0, 0, top:bottom, left:right]
        if not self.upright(red):
            return levels
        level = 1
        stride = STRIDES[level]
        i, j = int((top + bottom) / 2 / stride), int((left + right) / 2 / stride)
        size = 4.0 * stride
        scores, offsets = levels[level]
        scores[0, i, j], scores[0, i, j + 1] = 0.98, 0.6  # the neighbour is suppressed
        for k in (0, 1):
            offsets[0, 0, i, j + k] = ((left + right) / 2 - (j + k + 0.5) * stride) / (0.1 * size)
            offsets[0, 1, i, j + k] = ((top + bottom) / 2 - (i + 0.5) * stride) / (0.1 * size)
            offsets[0, 2, i, j + k] = np.log((right - left) / size) / 0.2
            offsets[0, 3, i, j + k] = np.log((bottom - top) / size) / 0.2
        return levels


class ColourMaps(torch.nn.Module):
    """Heat maps that peak where red and green say the target is."""

    def forward(self, x: Tensor) -> Tensor:
        small = F.avg_pool2d(x, 4) * 255
        wanted = torch.from_numpy(25 + 200 * TARGETS).float()
        red = small[:, None, 0] - wanted[None, :, 0, None, None]
        green = small[:, None, 1] - wanted[None, :, 1, None, None]
        return -(red**2) - green**2 - 1e4 * (small[:, None, 2] < 250)


@pytest.fixture
def marks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> S3fdFanFinder:
    monkeypatch.setattr(
        "recaster_tui.extraction.s3fd_fan.load_dfl_net",
        lambda net, path: ColourMaps() if isinstance(net, FAN) else BlueDetector(),
    )
    return S3fdFanFinder(weights=folder, second_pass=False, device="cpu")


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_boxes_and_points_come_back_to_the_frame(marks: S3fdFanFinder, turns: int) -> None:
    frame = np.ascontiguousarray(np.rot90(stage(), turns))
    (face,) = marks.find(frame)
    assert face.score == pytest.approx(0.98) and face.mesh is None and face.doubt is None
    points, corners = where_targets_are(), np.array(FACE, float).reshape(2, 2)
    for k in range(turns):  # np.rot90 turns counter-clockwise: (x, y) -> (y, width - x)
        width = 560 if k % 2 == 0 else 400
        points = np.stack([points[:, 1], width - points[:, 0]], 1)
        corners = np.stack([corners[:, 1], width - corners[:, 0]], 1)
    # A heat map's cell is about 2 pixels of this frame; a box is truncated, and 10 % taller.
    assert np.abs(face.landmarks - points).max() < 2.5
    wanted = np.concatenate([corners.min(0), corners.max(0)])
    chin = {0: 3, 1: 2, 2: 1, 3: 0}[turns]
    grown = np.zeros(4)
    grown[chin] = 14 if chin >= 2 else -14
    np.testing.assert_allclose(face.rect, wanted + grown, atol=5)


def test_the_second_pass_sharpens_or_says_that_it_could_not(
    marks: S3fdFanFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = marks.find(stage())
    marks._second_pass = True
    seen: list[int] = []
    landmarks = marks._landmarks

    def counted(frame: np.ndarray, places: list) -> np.ndarray:
        seen.append(len(places))
        return landmarks(frame, places)

    monkeypatch.setattr(marks, "_landmarks", counted)
    (second,) = marks.find(stage())
    assert seen == [1, 5] and second.doubt is None
    before, after = (
        float(np.abs(face.landmarks - where_targets_are()).mean()) for face in (first, second)
    )
    assert after < before
    monkeypatch.setattr(BlueDetector, "upright", staticmethod(lambda red: len(red) < 80))
    (alone,) = marks.find(stage())
    np.testing.assert_array_equal(alone.landmarks, first.landmarks)
    assert alone.doubt == "a second look at the face did not see one"


def test_what_is_too_small_or_no_face(marks: S3fdFanFinder) -> None:
    assert marks.find(np.zeros((127, 400, 3), np.uint8)) == []
    assert marks.find(np.zeros((400, 400, 3), np.uint8)) == []
    with pytest.raises(BadInputError):
        marks.find(np.zeros((400, 400), np.uint8))


def test_boxes_follow_the_rounding_of_dfl() -> None:
    levels = [
        (np.zeros((512 // s, 512 // s), np.float32), np.zeros((4, 512 // s, 512 // s), np.float32))
        for s in STRIDES
    ]
    scores, offsets = levels[4]  # stride 64: boxes of 256
    scores[1, 1], scores[1, 2] = 0.9, 0.7  # overlap 0.6: one face
    scores[5, 5] = 0.3  # too weak
    offsets[:, 1, 1] = (0.5, -0.25, 0.1, -0.2)
    ((box, score),) = s3fd_boxes.boxes(levels, 2.5)
    width, height = 256 * np.exp(0.02), 256 * np.exp(-0.04)
    x, y = 96 + 0.5 * 25.6, 96 - 0.25 * 25.6
    left, top, right, bottom = (
        int(v) * 2.5 for v in (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    )
    assert box == (int(left), int(top), int(right), int(bottom + 0.1 * (bottom - top)))
    assert score == pytest.approx(0.9)
    scores[:] = 0
    levels[0][0][50, 50] = 0.99  # 16 pixels of the input, 40 of the frame: just kept
    assert len(s3fd_boxes.boxes(levels, 2.5)) == 1
    assert s3fd_boxes.boxes(levels, 2.4) == []


def test_input_sizes() -> None:
    for (width, height), size, ratio in (
        ((1280, 720), (640, 360), 2.0), ((1920, 1080), (640, 360), 3.0),
        ((600, 400), (300, 200), 2.0), ((100, 90), (64, 57), 100 / 64),
    ):  # fmt: skip
        small, scale = s3fd_boxes.shrunk(np.zeros((height, width, 3), np.uint8))
        assert small.shape[1::-1] == size and scale == pytest.approx(ratio)


def test_heat_map_peaks() -> None:
    maps = np.zeros((68, 64, 64), np.float32)
    maps[:, 20, 30] = 1
    maps[1, 20, 31] = 0.5  # right of the peak
    maps[2, 19, 30] = 0.5  # above
    maps[3] = 0
    maps[3, 0, 63] = 1  # in a corner: not moved
    centre, scale = (100.0, 80.0), 0.64  # a crop 128 pixels wide: 2 a cell
    found = fan_points.points(maps, centre, scale)
    np.testing.assert_allclose(found[0], (100 - 64 + 30.5 * 2, 80 - 64 + 20.5 * 2))
    np.testing.assert_allclose(found[1] - found[0], (0.5, 0))
    np.testing.assert_allclose(found[2] - found[0], (0, -0.5))
    np.testing.assert_allclose(found[3], (36 + 63.5 * 2, 16 + 0.5 * 2))


def test_crops_reach_beyond_the_frame_as_black() -> None:
    frame = np.full((100, 100, 3), 200, np.uint8)
    crop = fan_points.cut(frame, (0.0, 0.0), 0.5)  # a square of 100 around the corner
    assert crop.shape == (256, 256, 3)
    assert not crop[:120, :].any() and not crop[:, :120].any() and (crop[140:, 140:] == 200).all()
    assert not fan_points.cut(frame, (900.0, 0.0), 0.5).any()

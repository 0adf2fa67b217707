"""Sorts against slow, plain versions of their rules (dfl-data.md 6.2, 6.3), and applied."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recaster_tui.errors import BadInputError
from recaster_tui.faces.catalog import Catalog
from recaster_tui.faces.codec import decode_pixels, read_face, write_face
from recaster_tui.faces.edits import FaceEdits
from recaster_tui.faces.face import Face
from recaster_tui.faces.masks import hull_mask
from recaster_tui.faces.pose import pitch_yaw_roll
from recaster_tui.faces.sharpness import cpbd
from recaster_tui.faces.sorting import SORTS, apply_sort, remember, sort_order
from recaster_tui.faces.sorting_best import best_faces
from recaster_tui.faces.sorting_chains import difference_chain, dissimilarity, histogram_chain
from recaster_tui.faces.tables import MEAN_FACE_3D
from recaster_tui.faces.types import FaceType
from recaster_tui.jobs import Silent

COUNT = 9


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("RECASTER_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Nine different faces of 64×64 pixels; the one called 00004_1 shares its frame."""
    rng = np.random.default_rng(5)
    folder = tmp_path / "aligned"
    folder.mkdir()
    base = MEAN_FACE_3D[:, :2].astype(np.float64)
    base = (base - base.min(0)) / np.ptp(base, axis=0).max() * 48 + 8
    names = [f"{i:05}_0.jpg" for i in range(COUNT - 1)] + ["00004_1.jpg"]
    for i, name in enumerate(sorted(names)):
        picture = rng.integers(0, 256, (16, 16, 3)).astype(np.float32) * rng.uniform(0.3, 1)
        picture = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_CUBIC)
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.2, 3))
        picture[: i * 2] = 0
        angle = rng.uniform(-0.4, 0.4)
        turn = np.array([(math.cos(angle), 0), (0.1 * rng.uniform(-1, 1), 1)])
        landmarks = ((base - 32) @ turn + 32).astype(np.float32)
        face = Face(
            folder / name,
            name,
            FaceType.WHOLE,
            landmarks,
            (64, 64, 3),
            source_filename=f"{int(rng.integers(0, 99)):05}.png",
            source_rect=np.array([10, 20, *rng.integers(30, 400, 2)]),
        )
        write_face(folder / name, np.clip(picture, 0, 255).astype(np.uint8), face)
    return folder


def loaded(folder: Path) -> list[tuple[str, np.ndarray, Face]]:
    return [(p.name, decode_pixels(p), read_face(p)) for p in sorted(folder.glob("*.jpg"))]


def test_sharpness_is_the_original_s(goldens):
    """The stored pictures of the twelve that the original measured, to the last bit."""
    expected = np.load(goldens / "warp" / "filters.npz")["sharpness"]
    colors = np.load(goldens / "color" / "color_transfer.npz")
    pictures = {
        0: colors["a_u8"][0],
        1: colors["a_u8"][1],
        2: np.load(goldens / "warp" / "warp.npz")["img64_u8"],
        6: colors["b_u8"][0],
    }
    for index, picture in pictures.items():
        assert cpbd(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)) == expected[index]


def test_sharpness_of_simple_pictures():
    """dfl-data.md B.3, and what has no edge."""
    lines = np.zeros((128, 128), np.uint8)
    lines[:, ::16] = 255
    step = np.zeros((128, 128), np.float32)
    step[:, 64:] = 255
    assert cpbd(lines) == 1.0
    assert cpbd(cv2.blur(step, (7, 7)).astype(np.uint8)) == 0.0
    for shape in ((128, 128), (1, 1), (2, 200), (70, 64)):
        assert cpbd(np.full(shape, 7, np.uint8)) == 0.0


@settings(max_examples=60)
@given(shape=st.tuples(st.integers(1, 140), st.integers(1, 140)), seed=st.integers(0, 99))
def test_sharpness_is_a_share(shape, seed):
    noise = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    assert 0.0 <= cpbd(noise) <= 1.0


@pytest.mark.parametrize("gap", [12, 16, 24])
@pytest.mark.parametrize("blur", [2.1, 2.5, 3.0])
def test_blur_lowers_sharpness(gap, blur):
    """Of lines: in noise there is no edge whose width could be told."""
    lines = np.zeros((128, 128), np.uint8)
    lines[:, ::gap] = 255
    assert cpbd(cv2.GaussianBlur(lines, (0, 0), blur)) < 0.5 < cpbd(lines) == 1.0


def naive_values(method: str, picture: np.ndarray, face: Face) -> float:
    masked = picture * hull_mask(picture.shape, face.landmarks).astype(np.uint8)[..., None]
    hsv = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)
    left, top, right, bottom = face.source_rect.tolist()
    pitch, yaw, _ = pitch_yaw_roll(face.landmarks, 64)
    return {
        "blur": lambda: cpbd(cv2.cvtColor(masked, cv2.COLOR_BGR2GRAY)),
        "motion-blur": lambda: cv2.Laplacian(masked, cv2.CV_64F, ksize=11).var(),
        "face-yaw": lambda: yaw,
        "face-pitch": lambda: pitch,
        "face-source-rect-size": lambda: abs((right - left) * (bottom - top)),
        "brightness": lambda: hsv[..., 2].mean(),
        "hue": lambda: hsv[..., 0].mean(),
        "black": lambda: -(picture == 0).sum(),
    }[method]()


@pytest.mark.parametrize(
    "method",
    ["blur", "motion-blur", "face-yaw", "face-pitch", "face-source-rect-size", "brightness",
     "hue", "black"],
)  # fmt: skip
def test_a_figure_of_each_face(folder, method):
    faces = loaded(folder)
    figures = {name: float(naive_values(method, picture, face)) for name, picture, face in faces}
    zero = {name for name, value in figures.items() if value == 0 and "blur" in method}
    expected = sorted((n for n in figures if n not in zero), key=lambda n: -figures[n])
    result = sort_order(folder, method)
    assert result.order == expected
    assert set(result.trash) == zero
    back = sort_order(folder, method, reverse=True)
    assert back.order == expected[::-1]


def histogram(picture: np.ndarray, channel: int) -> np.ndarray:
    return cv2.calcHist([picture], [channel], None, [256], [0, 256])


def test_chains_and_differences(folder):
    faces = loaded(folder)
    names = [name for name, _, _ in faces]

    def colour(i: int, j: int) -> float:
        return sum(
            cv2.compareHist(
                histogram(faces[i][1], c), histogram(faces[j][1], c), cv2.HISTCMP_BHATTACHARYYA
            )
            for c in range(3)
        )

    def absolute(i: int, j: int) -> float:
        return float(np.abs(faces[i][1].astype(int) - faces[j][1]).sum())

    for method, distance, choose in (
        ("hist", colour, min),
        ("absdiff", absolute, min),
        ("absdiff-dissim", absolute, max),
    ):
        chain, left = [0], set(range(1, COUNT))
        while left:
            chain.append(choose(left, key=lambda j: distance(chain[-1], j)))
            left.remove(chain[-1])
        assert sort_order(folder, method).order == [names[i] for i in chain]

    grays = [
        cv2.cvtColor(
            p * hull_mask(p.shape, f.landmarks).astype(np.uint8)[..., None], cv2.COLOR_BGR2GRAY
        )
        for _, p, f in faces
    ]
    sums = [
        sum(
            cv2.compareHist(histogram(a, 0), histogram(b, 0), cv2.HISTCMP_BHATTACHARYYA)
            for b in grays
        )
        for a in grays
    ]
    result = sort_order(folder, "hist-dissim")
    assert result.order == [names[i] for i in np.argsort(-np.array(sums), kind="stable")]
    assert [result.values[n] for n in names] == pytest.approx(sums, abs=1e-3)


def naive_best(quality, yaw, pitch, histograms, target):
    """dfl-data.md 6.3, word by word; for targets of at least 128."""
    edges = np.linspace(-1.2, 1.2, 128)

    def place(value, edges):
        for g in range(len(edges)):
            upper = edges[g + 1] if g + 1 < len(edges) else None
            if (g == 0 or value >= edges[g]) and (upper is None or value < upper):
                return g
        raise AssertionError

    share = round(target / 128)
    bins = [[i for i in range(len(yaw)) if place(-yaw[i], edges) == g] for g in range(128)]
    share += sum(max(0, share - len(b)) for b in bins) // 128
    chosen = []
    for some in bins:
        some = sorted(some, key=lambda i: -quality[i])[: 10 * share]
        pitches = np.linspace(-math.pi / 2, math.pi / 2, share)
        groups = [[i for i in some if place(pitch[i], pitches) == g] for g in range(share)]
        queues = []
        for group in groups:
            total = dissimilarity(histograms[group]) if group else []
            order = sorted(range(len(group)), key=lambda k: -total[k])
            queues.append([group[k] for k in order])
        taken = 0
        while any(queues) and taken < share:
            for queue in queues:
                if queue and taken < share:
                    chosen.append(queue.pop(0))
                    taken += 1
    return chosen


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 700), target=st.integers(128, 900))
def test_best_faces(seed, count, target):
    rng = np.random.default_rng(seed)
    quality, yaw = rng.random(count), rng.normal(0, 0.7, count)
    pitch = rng.normal(0, 0.4, count)
    histograms = np.sqrt(rng.dirichlet(np.ones(8), count)).astype(np.float32)
    chosen = best_faces(quality, yaw, pitch, histograms, target)
    assert chosen == naive_best(quality, yaw, pitch, histograms, target)
    assert len(set(chosen)) == len(chosen)


@given(target=st.integers(1, 127), count=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_small_targets_choose_something(target, count):
    rng = np.random.default_rng(count)
    histograms = np.sqrt(rng.dirichlet(np.ones(8), count)).astype(np.float32)
    yaw, pitch = rng.normal(0, 0.5, (2, count))
    chosen = best_faces(rng.random(count), yaw, pitch, histograms, target)
    assert 1 <= len(chosen) <= min(target, count)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 200), seed=st.integers(0, 99))
def test_every_chain_takes_each_face_once(count, seed):
    rng = np.random.default_rng(seed)
    histograms = np.sqrt(rng.dirichlet(np.ones(256), (count, 3))).astype(np.float32)
    histograms = histograms.reshape(count, 3, 256)
    pictures = rng.integers(0, 3, (count, 12), np.uint8)  # many equal ones
    for order in (
        histogram_chain(histograms, lambda _: True),
        difference_chain(pictures, lambda _: True, farthest=False),
        difference_chain(pictures, lambda _: True, farthest=True),
    ):
        assert sorted(order) == list(range(count))
        assert order[:1] == [0][:count]
    assert len(histogram_chain(histograms, lambda _: False)) <= 64


def test_selections_and_names(folder):
    frames = {name: face.source_filename for name, _, face in loaded(folder)}
    assert sort_order(folder, "origname").order == sorted(frames, key=lambda n: (frames[n], n))
    result = sort_order(folder, "oneface")
    assert set(result.trash) == {"00004_0.jpg", "00004_1.jpg"}
    assert result.order == [n for n in sorted(frames) if n not in result.trash]
    chosen = sort_order(folder, "final", target=4)
    assert 1 <= len(chosen.order) <= 4
    assert sorted([*chosen.order, *chosen.trash]) == sorted(frames)
    with pytest.raises(BadInputError, match="hist-dissim"):
        sort_order(folder, "beauty")
    with pytest.raises(BadInputError):
        sort_order(folder, "final", target=0)


def test_files_that_are_no_faces(folder, data):
    """Without metadata only sorts of pixels take them; what is broken is dropped, with a reason."""
    good = (folder / "00000_0.jpg").read_bytes()
    start = good.index(b"\xff\xef")
    bare = good[:start] + good[start + 2 + int.from_bytes(good[start + 2 : start + 4], "big") :]
    (folder / "bare.jpg").write_bytes(bare)
    (folder / "cut.jpg").write_bytes(good[:-60])
    (folder / "text.jpg").write_text("hello")
    for method in SORTS:
        result = sort_order(folder, method)
        expected = {"cut.jpg", "text.jpg"} | (
            {"bare.jpg"} if "metadata" in SORTS[method].needs else set()
        )
        if method == "oneface":
            expected = {"00004_0.jpg", "00004_1.jpg"}
        elif method.startswith("face-") or method == "origname":
            expected = {"bare.jpg", "text.jpg", "cut.jpg"}
        assert expected <= set(result.trash), method
        assert sorted([*result.order, *result.trash]) == sorted(p.name for p in folder.iterdir())
        assert all(result.reasons[name] for name in result.trash)


@pytest.mark.parametrize("method", ["hist", "final", "yaw", "oneface"])
def test_applied_and_undone(folder, method):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    result = sort_order(folder, method, target=5)
    edits = FaceEdits(folder)
    done = apply_sort(edits, result)
    kept = sorted(p.name for p in folder.glob("*.jpg"))
    if method == "oneface":
        assert kept == result.order
    else:
        assert kept == [f"{i:05}.jpg" for i in range(len(result.order))]
        after = [(folder / name).read_bytes() for name in kept]
        assert after == [before[name] for name in result.order]
    assert sorted(edits.trashed()) == sorted(result.trash)
    for _ in done:
        assert edits.undo()
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_remembered_as_a_column(folder):
    catalog = Catalog.open(folder)
    for method, key in (("brightness", "sort_brightness"), ("hist", "sort_hist")):
        result = sort_order(catalog, method)
        remember(catalog, result)
        again = Catalog.open(folder)
        assert key in again.columns
        order = again.sorted_by(key, descending=method == "brightness")
        assert [again.names[i] for i in order] == result.order


def test_stopped(folder):
    class Stop(Silent):
        def stop_requested(self) -> bool:
            return True

    for method in [*SORTS, "yaw"]:
        result = sort_order(folder, method, Stop())
        assert (result.complete, result.order) == (False, [])
    with pytest.raises(BadInputError):
        apply_sort(FaceEdits(folder), result)

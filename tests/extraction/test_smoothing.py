import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recaster_tui.extraction.finder import FoundFace
from recaster_tui.extraction.place import context
from recaster_tui.extraction.smoothing import HALF, TrackSmoother
from tests.extraction.fake_finder import mean_face


def face(x: float, y: float = 50.0, size: float = 100.0, noise=None) -> FoundFace:
    points = mean_face(x, y, size, size)
    if noise is not None:
        points = points + noise.normal(0, 1.0, points.shape).astype(np.float32)
    rect = np.array([x, y, x + size, y + size], np.float32)
    return FoundFace(rect, points, points[:, [0, 1, 1]], 1.0, None)


def smoothed(frames: list[list[FoundFace]], cuts: frozenset[int] = frozenset()):
    smoother = TrackSmoother()
    out = [f for i, faces in enumerate(frames) for f in smoother.push(faces, cut=i in cuts)]
    out += list(smoother.flush())
    assert [len(f) for f in out] == [len(f) for f in frames]
    return out


@settings(max_examples=25, deadline=None)
@given(st.floats(-8, 8), st.floats(-0.8, 0.8), st.integers(1, 30))
def test_uniform_and_accelerated_movement_is_left_alone(speed, acceleration, count):
    frames = [[face(300 + speed * t)] for t in range(count)]
    for before, after in zip(frames, smoothed(frames), strict=True):
        np.testing.assert_allclose(after[0].landmarks, before[0].landmarks, atol=0.01)
        np.testing.assert_allclose(after[0].mesh, before[0].mesh, atol=0.01)
    frames = [[face(300 + acceleration * (t - 10) ** 2 / 2)] for t in range(20)]
    inner = slice(HALF, -HALF)
    for before, after in zip(frames[inner], smoothed(frames)[inner], strict=True):
        np.testing.assert_allclose(after[0].landmarks, before[0].landmarks, atol=0.01)


def test_noise_is_reduced_without_lag():
    noise = np.random.default_rng(0)
    truth = [face(300 + 40 * np.sin(t / 12)) for t in range(200)]
    noisy = [[face(300 + 40 * np.sin(t / 12), noise=noise)] for t in range(200)]
    after = smoothed(noisy)

    def error(frames):
        return np.std([f[0].landmarks - t.landmarks for f, t in zip(frames, truth, strict=True)])

    assert error(after) < 0.7 * error(noisy)


def test_nothing_is_smoothed_across_a_cut_a_jump_or_a_loss():
    still, moved = face(100), face(112)
    for frames, cuts in (
        ([[still]] * 5 + [[moved]] * 5, frozenset({5})),
        ([[still]] * 5 + [[face(400)]] * 5, frozenset()),
        ([[still]] * 5 + [[]] + [[moved]] * 5, frozenset()),
    ):
        for before, after in zip(frames, smoothed(frames, cuts), strict=True):
            for one, other in zip(before, after, strict=True):
                np.testing.assert_allclose(other.landmarks, one.landmarks, atol=0.01)


def test_two_faces_that_swap_their_order_keep_to_themselves():
    frames = []
    for t in range(12):
        pair = [face(100 + 2 * t), face(400 - 2 * t)]
        frames.append(pair if t % 2 else pair[::-1])
    for before, after in zip(frames, smoothed(frames), strict=True):
        for one, other in zip(before, after, strict=True):
            np.testing.assert_allclose(other.landmarks, one.landmarks, atol=0.01)


@given(st.sets(st.integers(0, 60)))
def test_context_is_what_an_unfinished_frame_looks_at(done):
    needed = context(sorted(done), 1, HALF)
    assert needed <= done
    for frame in set(range(-HALF, 70)) - done:
        reached = {frame + k for k in range(-HALF, HALF + 1)}
        near = {
            f
            for f in reached & done
            if all(k in done for k in range(min(f, frame + 1), max(f, frame - 1) + 1))
        }
        assert near <= needed

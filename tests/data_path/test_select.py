import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recaster_tui.training.data.select import ShuffledQueue, YawQueue


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.lists(st.integers(1, 17), min_size=1, max_size=12), st.integers(0, 9))
def test_each_face_once_a_pass(count: int, takes: list[int], seed: int) -> None:
    queue = ShuffledQueue(count, seed)
    drawn = np.concatenate([queue.take(n) for n in takes])
    assert len(drawn) == sum(takes)
    for start in range(0, len(drawn) - count + 1, count):
        assert sorted(drawn[start : start + count]) == list(range(count))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(0, 60), st.booleans())
def test_resuming_goes_on_with_the_same_faces(count: int, before: int, by_yaw: bool) -> None:
    yaw = np.random.default_rng(count).uniform(-1.4, 1.4, count).astype(np.float32)

    def make() -> ShuffledQueue | YawQueue:
        return YawQueue(yaw, 5) if by_yaw else ShuffledQueue(count, 5)

    queue = make()
    queue.take(before)
    state = json.loads(json.dumps(queue.state_dict()))
    expected = queue.take(37)
    resumed = make()
    resumed.load_state_dict(state)
    np.testing.assert_array_equal(resumed.take(37), expected)


def test_uniform_yaw_serves_every_bin_once_a_round() -> None:
    """90 frontal faces and 3 turned ones: each of the four bins comes equally often."""
    yaw = np.concatenate([np.zeros(90), [-5.0, 0.5, 1.2]]).astype(np.float32)
    drawn = YawQueue(yaw, 1).take(400)
    counts = np.bincount(drawn, minlength=93)
    assert (counts[90:] == 100).all()
    assert counts[:90].sum() == 100 and counts[:90].max() - counts[:90].min() <= 1


def test_another_seed_another_order() -> None:
    assert not np.array_equal(ShuffledQueue(50, 1).take(50), ShuffledQueue(50, 2).take(50))

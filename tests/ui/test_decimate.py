import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recaster_tui.protocol import LOSS_DTYPE
from recaster_tui.ui import decimate as d

values = hnp.arrays(
    np.float32,
    st.integers(1, 300),
    elements=st.one_of(
        st.floats(0, 100, width=32), st.sampled_from([math.nan, math.inf, -math.inf])
    ),
)
widths = st.sampled_from([1, 2, 4, 8, 64])


def rows_of(data: np.ndarray, first: int = 1) -> np.ndarray:
    rows = np.zeros(len(data), LOSS_DTYPE)
    rows["iteration"] = np.arange(first, first + len(data))
    rows["src"] = rows["dst"] = data
    return rows


def same(a: d.Buckets, b: d.Buckets) -> bool:
    pairs = ((a.x, b.x), (a.low, b.low), (a.high, b.high), (a.mean, b.mean))
    return all(np.array_equal(p, q, equal_nan=True) for p, q in pairs)


@given(values, widths, st.integers(0, 1000))
def test_extremes_survive_and_output_is_small(data: np.ndarray, width: int, first: int) -> None:
    rows = rows_of(data, first)
    buckets = d.decimate(rows["iteration"], rows["src"], width)
    finite = data[np.isfinite(data)]
    assert len(buckets.x) <= len(data) // width + 2
    assert (np.diff(buckets.x) > 0).all()
    if len(finite):
        assert np.nanmin(buckets.low) == finite.min()
        assert np.nanmax(buckets.high) == finite.max()
    else:
        assert np.isnan(buckets.mean).all()
    good = np.isfinite(buckets.mean)
    assert (buckets.low[good] <= buckets.mean[good]).all()
    assert (buckets.mean[good] <= buckets.high[good]).all()


@given(values, values, widths)
def test_appending_changes_only_the_last_bucket(a: np.ndarray, b: np.ndarray, width: int) -> None:
    rows = rows_of(np.concatenate((a, b)))
    before = d.decimate(rows["iteration"][: len(a)], rows["src"][: len(a)], width)
    after = d.decimate(rows["iteration"], rows["src"], width)
    count = len(before.x) - 1
    assert np.array_equal(before.high[:count], after.high[:count], equal_nan=True)
    assert np.array_equal(before.mean[:count], after.mean[:count], equal_nan=True)


@given(st.lists(values, min_size=1, max_size=5), widths, st.integers(0, 4))
def test_growing_equals_starting_over(parts: list[np.ndarray], width: int, cut: int) -> None:
    """Also when a rollback shortens and rewrites the history."""
    decimator = d.Decimator()
    store, count = np.zeros(2000, LOSS_DTYPE), 0
    for i, part in enumerate(parts):
        if i == cut:  # a rewritten history lies in new memory
            store, count = store.copy(), count // 2
        store[count : count + len(part)] = rows_of(part, first=count + 1)
        count += len(part)
        rows = store[:count]
        expected = d.decimate(rows["iteration"], rows["src"], width)
        assert same(decimator.update(rows, "src", width), expected)


def test_after_a_rollback_the_second_try_counts() -> None:
    rows = np.concatenate((rows_of(np.full(100, 1.0)), rows_of(np.full(5, 2.0), first=81)))
    history = d.as_history(rows)
    assert history["iteration"].tolist() == list(range(1, 86))
    assert history["src"][79] == 1.0
    assert (history["src"][80:] == 2.0).all()


@given(st.integers(0, 10**7), st.integers(1, 10**7), st.sampled_from([0, 1000, 10_000, 50_000]))
def test_x_axis_holds_the_newest_iteration(first: int, span: int, last: int) -> None:
    newest = first + span
    low, high = d.x_axis(first, newest, last)
    assert high >= newest
    assert low >= 0
    if last == 0:
        assert low == first
        assert high - low <= max(span, 16) * 9 / 8 + 16  # little room is given away


def test_x_axis_rarely_moves() -> None:
    ends = {d.x_axis(0, newest, 0)[1] for newest in range(10_000, 20_000)}
    assert len(ends) <= 10


@given(st.floats(1e-6, 1e4), st.floats(0, 1e4))
def test_axes_hold_their_range(low: float, extra: float) -> None:
    for axis in (d.y_axis, d.log_axis):
        bottom, top, ticks = axis(low, low + extra)
        assert bottom <= low * (1 + 1e-6)
        assert top >= (low + extra) * (1 - 1e-6)
        assert bottom < top
        assert 2 <= len(ticks) <= 8


def test_axes_of_nothing_are_usable() -> None:
    for axis in (d.y_axis, d.log_axis):
        bottom, top, _ = axis(math.nan, math.nan)
        assert bottom < top


def test_steep_beginning_is_clipped_as_in_deepfacelabs_graph() -> None:
    data = np.concatenate((np.full(10, 50.0), np.full(490, 1.0)))
    rows = rows_of(data)
    _, top = d.value_range([d.decimate(rows["iteration"], rows["src"], 1)])
    assert top == 2.0


def test_smoothing_has_no_start_bias_and_bridges_gaps() -> None:
    smoothed = d.smooth(np.array([3.0, math.nan, 3.0, 3.0]), 0.9)
    assert smoothed == pytest.approx([3.0, 3.0, 3.0, 3.0])

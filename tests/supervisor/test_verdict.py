"""The verdict on made-up curves of each kind, and what the journal says about held-out faces."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recaster_tui.protocol import LOSS_DTYPE, Event, EventType
from recaster_tui.supervisor.facts import Facts, Marker
from recaster_tui.supervisor.losses import LossArray
from recaster_tui.supervisor.measures import Measure, Pair, parse_measure
from recaster_tui.supervisor.trends import block_medians, theil_sen
from recaster_tui.supervisor.verdict import LEAST_ROWS, Kind, Target, held_out_words, verdict

SEEDS = st.integers(0, 10_000)
NOISE = st.sampled_from([0.03, 0.1, 0.2])


def rows_of(total: np.ndarray, noise: float = 0.1, seed: int = 0) -> LossArray:
    """Loss rows whose source and destination loss add up to *total*, with log-normal noise."""
    rows = np.zeros(len(total), LOSS_DTYPE)
    rows["iteration"] = np.arange(1, len(total) + 1)
    rows["ms"] = 80.0
    factor = np.exp(noise * np.random.default_rng(seed).standard_normal(len(total)))
    rows["src"], rows["dst"] = 0.45 * total * factor, 0.55 * total * factor
    return rows


def falling(count: int, floor: float = 0.05, power: float = 0.4) -> np.ndarray:
    """As real losses fall: a power of the iteration, down to a floor."""
    return floor + 2.0 / (1 + np.arange(1, count + 1) / 900) ** power


def series(
    count: int, held: float = 0.0, trained: float = 0.0, *, noise: float = 0.004, seed: int = 0
) -> list[Measure]:
    """Measurements whose source losses change by these factors (log) from first to last."""
    rng = np.random.default_rng(seed)
    share = np.linspace(0, 1, count)
    a = 0.5 * np.exp(held * share + noise * rng.standard_normal(count))
    b = 0.4 * np.exp(trained * share + noise * rng.standard_normal(count))
    return [
        Measure(1000 * (i + 1), losses={"src": Pair(a[i], b[i]), "dst": Pair(0.5, 0.4)})
        for i in range(count)
    ]


def option(key: str, iteration: int) -> Marker:
    return Marker("option", iteration, 0.0, f"{key} = 1")


# -- each kind --------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(3_000, 120_000), NOISE, SEEDS)
def test_a_loss_that_still_falls_is_healthy(count: int, noise: float, seed: int) -> None:
    found = verdict(rows_of(falling(count), noise, seed))
    assert found.kind is Kind.HEALTHY
    assert found.slope_low < found.slope < 0
    x = np.array([2 * count / 3, count])
    true = np.diff(np.log(falling(count)[x.astype(int) - 1]))[0] / (count / 3) * 1000
    if count <= 180_000:
        assert found.slope == pytest.approx(true, rel=0.35)
    assert "falls" in found.text and "95 %" in found.reasons[0]


@settings(max_examples=30)
@given(st.integers(40_000, 150_000), st.sampled_from([0.03, 0.1]), SEEDS)
def test_a_flat_loss_has_converged(count: int, noise: float, seed: int) -> None:
    found = verdict(rows_of(falling(count, 0.4, 2.0), noise, seed))
    assert found.kind is Kind.CONVERGED
    assert found.text == "25 % more training would gain less than 2 %"
    # Unless something on held-out faces is surely getting better still.
    better = verdict(rows_of(falling(count, 0.4, 2.0), noise, seed), series(30, held=-0.3))
    assert better.kind is Kind.HEALTHY and "held-out source faces" in better.text


@settings(max_examples=30)
@given(st.integers(3_000, 100_000), NOISE, st.floats(1.6, 4.0), st.integers(120, 400), SEEDS)
def test_a_sudden_jump_is_a_spike(
    count: int, noise: float, factor: float, length: int, seed: int
) -> None:
    total = falling(count)
    total[-length:] *= factor
    found = verdict(rows_of(total, noise, seed))
    assert found.kind is Kind.SPIKE
    near = int(found.text.split("iteration ")[1].split()[0].replace(",", ""))
    assert abs(near - (count - length)) <= max(150, count / 100)
    # Once it is down again all is well.
    total[-60:] /= factor
    mended = falling(count + 500)
    mended[-length - 500 : -500] *= factor
    assert verdict(rows_of(mended, noise, seed)).kind is not Kind.SPIKE


@settings(max_examples=30)
@given(st.integers(6_000, 100_000), NOISE, st.floats(0.5, 2.0), SEEDS)
def test_a_steady_rise_diverges(count: int, noise: float, power: float, seed: int) -> None:
    total = falling(count)
    rise = count // 4
    total[-rise:] *= np.exp(np.linspace(0, power, rise))
    found = verdict(rows_of(total, noise, seed))
    assert found.kind is Kind.DIVERGING
    assert "rises" in found.text


@settings(max_examples=30)
@given(st.integers(10, 60), st.floats(0.08, 0.5), st.floats(-0.5, 0.0), SEEDS)
def test_held_out_faces_that_get_worse_alone_are_over_fitting(
    count: int, held: float, trained: float, seed: int
) -> None:
    rows = rows_of(falling(1000 * count), seed=seed)
    found = verdict(rows, series(count, held, trained, seed=seed))
    assert found.kind is Kind.OVER_FITTING
    assert "held-out source faces got" in found.text
    assert any("trained source faces meanwhile" in reason for reason in found.reasons)
    # Measured while they were still trained on, or before an option made a step: no proof.
    early = [Measure(m.iteration, since=10**9, losses=m.losses) for m in series(count, held)]
    assert verdict(rows, early).kind is not Kind.OVER_FITTING


@settings(max_examples=40)
@given(st.integers(1, 80), st.floats(-0.4, 0.0), st.sampled_from([0.004, 0.02]), SEEDS)
def test_held_out_faces_that_do_not_get_worse_are_not(
    count: int, held: float, noise: float, seed: int
) -> None:
    rows = rows_of(falling(30_000), seed=seed)
    for trained in (held, -0.4):
        measures = series(count, held, trained, noise=noise, seed=seed)
        assert verdict(rows, measures).kind is not Kind.OVER_FITTING


@settings(max_examples=40)
@given(st.integers(0, 4_000), NOISE, SEEDS, st.booleans())
def test_single_outliers_and_holes_change_nothing(
    place: int, noise: float, seed: int, single: bool
) -> None:
    rows = rows_of(falling(5_000), noise, seed)
    plain = verdict(rows)
    rows["src"][place : place + 3] = 1e6
    rows["src"][place + 10 : place + 15] = np.nan
    if single:
        rows["dst"] = np.nan
    found = verdict(rows)
    assert found.kind is plain.kind is Kind.HEALTHY
    if not single:
        assert found.slope == pytest.approx(plain.slope, rel=0.1)


# -- what is looked at ------------------------------------------------------------------------


def test_too_early_and_nothing_at_all() -> None:
    assert verdict(np.empty(0, LOSS_DTYPE)).kind is Kind.TOO_EARLY
    found = verdict(rows_of(falling(320)), target=Target(iterations=1320))
    assert (found.kind, found.text) == (Kind.TOO_EARLY, "too early to say: 320 of 500 iterations")
    assert found.eta_seconds == pytest.approx(80.0) and math.isnan(found.slope)
    assert verdict(rows_of(falling(LEAST_ROWS))).kind is not Kind.TOO_EARLY


def test_losses_that_are_no_numbers_diverge() -> None:
    rows = rows_of(falling(3_000))
    rows["src"][-25:] = np.nan
    assert verdict(rows).kind is Kind.DIVERGING


def test_a_changed_option_cuts_the_curve() -> None:
    total = falling(12_000)
    total[10_000:] *= 3  # GAN power was switched on: a step that is no spike
    rows = rows_of(total)
    assert verdict(rows[:10_200]).kind is Kind.SPIKE
    cut = verdict(rows[:10_200], markers=[option("gan_power", 10_000)])
    assert cut.kind is Kind.TOO_EARLY
    assert cut.text == "too early to say: 200 of 500 iterations since gan_power was changed"
    assert verdict(rows, markers=[option("gan_power", 10_000)]).kind is Kind.HEALTHY
    # What does not change the loss cuts nothing, and a save is no option.
    harmless = [option("autosave_seconds", 10_000), option("guard_spikes", 10_000)]
    harmless.append(Marker("saved", 10_100, 0.0, "g"))
    assert verdict(rows[:10_200], markers=harmless).kind is Kind.SPIKE


def test_eta_to_iterations_and_to_a_loss() -> None:
    rows = rows_of(falling(20_000), 0.05)
    assert verdict(rows).eta_seconds is None
    assert verdict(rows, target=Target(iterations=30_000)).eta_seconds == pytest.approx(800.0)
    now = float(rows["src"][-200:].mean() + rows["dst"][-200:].mean())
    found = verdict(rows, target=Target(loss=now * 0.9))
    assert found.eta_seconds is not None
    expected = math.log(0.9) / (found.slope / 1000) * 0.08
    assert found.eta_seconds == pytest.approx(expected, rel=0.1)
    assert verdict(rows, target=Target(loss=now * 2)).eta_seconds == 0.0
    flat = rows_of(np.full(20_000, 0.5), 0.05)
    assert verdict(flat, target=Target(loss=0.1)).eta_seconds is None  # it will never come


def test_of_half_a_million_rows_only_the_newest_are_read() -> None:
    """What keeps it quick however long a run is: the rows before change nothing."""
    rows = rows_of(falling(500_000))
    found = verdict(rows, series(200))
    rows["src"][:300_000] = np.nan
    assert verdict(rows, series(200)) == found
    assert found.iteration == 500_000


# -- lines ------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.floats(-5, 5), st.floats(0.01, 2), SEEDS)
def test_the_interval_holds_the_true_slope_and_outliers_do_not_move_it(
    slope: float, noise: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0, 10, 60))
    y = 3 + slope * x + noise * rng.standard_normal(60)
    line = theil_sen(x, y, z=3.9)
    assert line.low <= slope <= line.high
    assert line.low <= line.value <= line.high
    assert line.noise == pytest.approx(noise, rel=0.6)
    y[rng.integers(0, 60, 6)] += 1000
    assert theil_sen(x, y).value == pytest.approx(slope, abs=0.5 * noise)


def test_residuals_that_hang_together_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    x = np.arange(60.0)
    steps = rng.standard_normal(60)
    wander = np.zeros(60)
    for i in range(1, 60):
        wander[i] = 0.9 * wander[i - 1] + steps[i]
    loose, wide = theil_sen(x, wander / wander.std()), theil_sen(x, steps / steps.std())
    assert loose.high - loose.low > 2 * (wide.high - wide.low)
    assert not np.isfinite(theil_sen([1, 2, 3], [1, 2, 3]).value)


def test_blocks_hold_the_newest_rows() -> None:
    x, y = block_medians(np.arange(103.0), np.arange(103.0), 10)
    assert len(x) == 10 and x[-1] == y[-1] == 97.5


# -- the journal ------------------------------------------------------------------------------

TOLD = {
    "iteration": 400,
    "since": 0,
    "faces": {"src": 5, "dst": 4},
    "src": {"held_out": 0.6, "trained": 0.5},
    "dst": {"held_out": 0.4, "trained": None},
    "mask": {"held_out": 0.9, "trained": 0.95},
    "sharpness": 0.7,
    "seconds": 1.5,
    "share": 0.006,
}


def said(facts: Facts, kind: EventType, **data: object) -> None:
    facts.apply(Event(1, 50.0, str(kind), data), Path("/run"))


def test_facts_keep_the_measurements_and_forget_what_was_rolled_back() -> None:
    facts = Facts()
    said(facts, EventType.METRICS, held_out_faces={"src": 7, "dst": 0}, held_out_history=[TOLD])
    assert facts.held_out_faces == {"src": 7, "dst": 0}
    said(facts, EventType.METRICS, cpu=3.0, held_out=TOLD | {"iteration": 900})
    assert [m.iteration for m in facts.measures] == [400, 900]
    assert facts.metrics == {"cpu": 3.0}
    newest = facts.measures[-1]
    assert newest.losses["src"].gap == pytest.approx(0.2) and newest.t == 50.0
    assert math.isnan(newest.losses["dst"].trained)
    assert (
        held_out_words(facts.measures)[0] == "source: held-out 0.6000, trained 0.5000 (gap +20 %)"
    )
    said(facts, EventType.ROLLED_BACK, from_iteration=950, to_iteration=500, why="nan")
    assert [m.iteration for m in facts.measures] == [400]
    said(facts, EventType.HELLO, iteration=300, pid=1)
    assert facts.measures == []


def test_a_measurement_that_is_none_is_refused() -> None:
    with pytest.raises((TypeError, ValueError)):
        parse_measure({"iteration": "many"})
    assert parse_measure({}).losses == {}

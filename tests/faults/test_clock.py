"""Backups and their thinning, whatever the clock does."""

import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recaster_tui.checkpoints import store

NOON = datetime(2026, 11, 22, 12, 0, 0)


def _backup(folder: Path, at: datetime, iteration: int, note: str = "") -> Path:
    path = folder / "backups" / f"{at:%Y%m%dT%H%M%S}-{iteration:09d}"
    path.mkdir(parents=True)
    (path / store.NOTE).write_text(f'note = "{note}"\n')
    return path


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "backups").iterdir())


@given(
    gaps=st.lists(st.integers(60, 5 * 3600), min_size=1, max_size=120),
    mine=st.sets(st.integers(0, 119)),
    keep=st.integers(1, 30),
    days=st.integers(1, 9),
)
def test_what_stays_are_the_last_ones_and_the_first_of_each_day(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[int], mine: set[int], keep: int, days: int
) -> None:
    folder = tmp_path_factory.mktemp("thin")
    at, made = NOON, []
    for number, gap in enumerate(gaps):
        at += timedelta(seconds=gap)
        path = _backup(folder, at, number, "kept by me" if number in mine else "")
        made.append((at, path.name, number in mine))
        store.thin_backups(folder, keep, days, now=at.timestamp())
    timed = [(when, name) for when, name, own in made if not own]
    firsts: dict[object, str] = {}
    for when, name in timed:
        firsts.setdefault(when.date(), name)
    wanted = {name for _, name, own in made if own} | {name for _, name in timed[-keep:]}
    wanted |= {name for _, name in list(firsts.items())[-days:]}
    assert _names(folder) == sorted(wanted)  # thinning each time is thinning once


def test_24_hourly_and_7_daily_of_a_month(tmp_path: Path) -> None:
    for hour in range(30 * 24):
        at = NOON + timedelta(hours=hour)
        _backup(tmp_path, at, hour)
        store.thin_backups(tmp_path, 24, now=at.timestamp())
    left = _names(tmp_path)
    assert len(left) == 24 + 6  # the last 24 hours hold midnight, the first of the seventh day
    midnights = {name[:8] for name in left if name[9:11] == "00"}
    assert len(midnights) == 7


def test_backups_of_a_clock_that_ran_ahead_do_not_push_out_those_made_since(
    tmp_path: Path,
) -> None:
    for hour in range(40):  # the clock stood in 2099, nobody noticed for two days
        at = datetime(2099, 1, 1) + timedelta(hours=hour)
        _backup(tmp_path, at, hour)
        store.thin_backups(tmp_path, 24, now=at.timestamp())
    for hour in range(30):
        at = NOON + timedelta(hours=hour)
        newest = _backup(tmp_path, at, 40 + hour)
        store.thin_backups(tmp_path, 24, now=at.timestamp())
        assert newest.is_dir()
    left = _names(tmp_path)
    assert sum(name.startswith("2026") for name in left) >= 24
    assert len(left) <= 24 + 7


def test_a_clock_set_back_makes_no_two_backups_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fault_kit import small_model

    from recaster_tui.training.generations import write_generation

    generation = write_generation(tmp_path, small_model(1))
    monkeypatch.setattr(store.time, "strftime", lambda *_: "20261122T120000")
    made = [store.write_backup(tmp_path, generation, "") for _ in range(3)]
    assert len({backup.path for backup in made}) == 3
    assert {store.iteration_of(backup.path) for backup in made} == {1}


def test_the_age_of_a_backup_from_the_future_is_nothing(tmp_path: Path) -> None:
    import os

    path = _backup(tmp_path, datetime(2099, 1, 1), 1)
    os.utime(path, (time.time() + 1e9, time.time() + 1e9))
    newest = store.newest_backup(tmp_path)
    assert newest is not None
    assert newest[1] == 0.0

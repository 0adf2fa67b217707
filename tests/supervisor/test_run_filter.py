"""The words that choose and order runs."""

import math
import time
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recaster_tui.errors import BadInputError
from recaster_tui.supervisor import RunRecord, RunState
from recaster_tui.supervisor.run_filter import HELP, KEYS, SORTS, order, parse

NOW = datetime(2026, 11, 22, 15, 30).timestamp()
DAY = 86_400


def record(name: str = "a", **more: object) -> RunRecord:
    usual: dict[str, object] = {
        "run_id": f"20261120T150000-saehd-{abs(hash(name)) % 65536:04x}",
        "model_name": name,
        "model_class": "saehd",
        "workspace": "/films/night shoot",
        "state": RunState.FINISHED,
        "outcome": "finished",
        "created": NOW - 3 * DAY,
        "iteration": 12_000,
        "duration": 3_600.0,
        "loss_src": 0.2,
        "loss_dst": 0.4,
        "device": {"name": "NVIDIA GeForce RTX 4090"},
        "options": {"batch_size": 8, "gan_power": 0.1, "random_warp": True, "archi": "liae-ud"},
    }
    return RunRecord(**(usual | more))  # type: ignore[arg-type]


RUNS = {
    "big": record("anna to bert", iteration=250_000, cost=4.5),
    "killed": record("second", state=RunState.FAILED, outcome="killed", created=NOW - 40 * DAY),
    "live": record("now", state=RunState.TRAINING, outcome="", created=NOW - 60, loss_dst=math.nan),
    "quick": record("tiny", model_class="quick96", duration=90.0, loss_src=math.nan,
                    loss_dst=math.nan, options={"batch_size": 4, "random_warp": False}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "fitting"),
    [
        ("", "big killed live quick"),
        ("ANNA", "big"),
        ("night 4090", "big killed live quick"),
        ("-anna -second", "live quick"),
        ('model:"anna to"', "big"),
        ("model=anna", ""),
        ("class:q", "quick"),
        ("class!=quick96", "big killed live"),
        ("state:fail", "killed"),
        ("state:live", "live"),
        ("state:over -outcome:killed", "big quick"),
        ("state:gone", "killed"),
        ("its>10k its<1m", "big killed live quick"),
        ("its>=12,001", "big"),
        ("loss<0.25", "live"),
        ("loss<0.5", "big killed live"),
        ("dst<0.5", "big killed"),
        ("dst!=0.4", ""),  # what has no such loss is not meant either
        ("trained>30m", "big killed live"),
        ("speed>3", "big killed live quick"),
        ("cost>1", "big"),
        ("after:2026-11-01", "big live quick"),
        ("after:today", "live"),
        ("before:30d", "killed"),
        ("after:2026-10 before:2026-11-01", "killed"),
        ("opt:batch_size=8", "big killed live"),
        ("opt:batch_size!=8", "quick"),
        ("opt:gan_power>0", "big killed live"),
        ("opt:random_warp=off", "quick"),
        ("opt:archi=LIAE-UD opt:gan_power:0.1", "big killed live"),
        ("opt:archi", "big killed live"),
        ("workspace:films id:saehd device:rtx", "big killed live quick"),
        ("-opt:archi", "quick"),
        ("unknown-word", ""),
        ("4e0x:", ""),  # no letters before the colon: a plain word
    ],
)
def test_words(words: str, fitting: str) -> None:
    wanted = parse(words, now=NOW, gone={RUNS["killed"].run_id})
    assert [name for name, run in RUNS.items() if wanted.fits(run)] == fitting.split()


@pytest.mark.parametrize(
    ("words", "why", "hint"),
    [
        ("its>", "a value is missing after 'its>'", "its>10k"),
        ("its>many", "'many' is no number", "its>10000"),
        ("state:asleep", "there is no state 'asleep'", "training"),
        ("class:dfm", "there is no class 'dfm'", "saehd"),
        ("state>failed", "'state' has no order", "state:failed"),
        ("colour:red", "'colour' is nothing that runs are filtered by", "model"),
        ("after:2026-13-01", "'2026-13-01' is no date", "after:2026-11-01"),
        ("after>2026-11-01", "'after' takes a colon", "after:2026-11-01"),
        ("trained>long", "'long' is no length of time", "trained>2h"),
        ("opt=8", "asks for no option", "opt:batch_size=8"),
        ("opt:batch_size>big", "'big' is no number", "opt:batch_size=8"),
        ("opt:batch_size=", "a value is missing", "opt:batch_size=8"),
        ('model:"two', "is open", 'model:"two words"'),
    ],
)
def test_what_cannot_be_meant_says_why_and_what_would_do(words: str, why: str, hint: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse("fine " + words)
    assert why in caught.value.message
    assert hint in str(caught.value.hint)


@given(st.text(max_size=30) | st.from_regex(r"-?[a-z]{1,8}(:|!=|<=|>=|=|<|>)[^ ]{0,8}"))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        wanted = parse(text, now=NOW)
    except BadInputError as error:
        assert error.hint
        return
    for run in RUNS.values():
        assert wanted.fits(run) in (True, False)


def test_examples_of_the_help_are_understood() -> None:
    for example, _ in HELP:
        for word in example.split("  "):
            parse(word)
    assert all(any(f"{key}{sign}" in text for text, _ in HELP for sign in ":<>=")
               for key in KEYS if key not in ("target", "saved"))  # fmt: skip


@pytest.mark.parametrize("column", SORTS)
def test_order_keeps_runs_without_a_value_last(column: str) -> None:
    value = SORTS[column][2]
    for descending in (False, True):
        ordered = order(list(RUNS.values()), column, descending=descending)
        assert sorted(r.run_id for r in ordered) == sorted(r.run_id for r in RUNS.values())
        known = [value(r) for r in ordered]
        present = [v for v in known if v == v]
        assert present == sorted(present, reverse=descending)
        assert known[: len(present)] == present


def test_a_gone_folder_is_looked_for_where_nobody_knows(tmp_path: Path) -> None:
    here = record("here", workspace=str(tmp_path))
    here.folder.root.mkdir(parents=True)
    here.folder.spec.touch()
    assert not parse("state:gone").fits(here)
    assert parse("state:gone").fits(record("there", workspace=str(tmp_path / "no")))
    assert parse("after:1d").fits(record(created=time.time()))

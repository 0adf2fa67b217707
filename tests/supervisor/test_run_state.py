"""The state machine, without processes: every state is reached and told apart."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recaster_tui.protocol import Event, EventType
from recaster_tui.supervisor import RunState, advance, launched
from recaster_tui.supervisor.state import FIRST_WORD_SECONDS, SILENCE_SECONDS

HELLO: tuple[str, dict[str, Any]] = ("hello", {"iteration": 0})
TRAINING: tuple[str, dict[str, Any]] = ("phase", {"phase": "training"})


def after(*events: tuple[str, dict[str, Any]], silence: float = 0.0, alive: bool | None = True):
    status, now = launched(1000.0), 1000.0
    for seq, (kind, data) in enumerate(events, 1):
        now += 1.0
        status = advance(status, Event(seq, now, kind, data), now)
    return advance(status, None, now + silence, alive)


@pytest.mark.parametrize(
    ("events", "silence", "alive", "state"),
    [
        ([], 60, True, "starting"),
        ([], FIRST_WORD_SECONDS + 1, True, "stalled"),
        ([], 0, False, "failed"),
        ([HELLO, ("phase", {"phase": "building"})], 0, True, "starting"),
        ([HELLO, ("iterations", {"first": 1, "rows": [[1.0]]})], 0, True, "training"),
        ([HELLO, TRAINING], 29, True, "training"),
        ([HELLO, TRAINING], SILENCE_SECONDS + 1, True, "stalled"),
        ([HELLO, TRAINING], SILENCE_SECONDS + 1, False, "failed"),
        ([HELLO, TRAINING], 0, None, "lost"),
        ([HELLO, TRAINING, ("phase", {"phase": "paused"})], 0, True, "paused"),
        ([HELLO, TRAINING, ("phase", {"phase": "saving"})], 0, True, "saving"),
        ([HELLO, TRAINING, ("phase", {"phase": "saving"}), ("saved", {})], 0, True, "training"),
        (
            [HELLO, ("phase", {"phase": "paused"}), ("phase", {"phase": "saving"}), ("saved", {})],
            0,
            True,
            "paused",
        ),
        ([HELLO, TRAINING, ("phase", {"phase": "stopping"})], 0, True, "stopping"),
        ([HELLO, TRAINING, ("done", {"outcome": "stopped"})], 99, False, "stopped"),
        ([HELLO, TRAINING, ("done", {"outcome": "finished"})], 99, None, "finished"),
        ([HELLO, TRAINING, ("done", {"outcome": "failed"})], 99, False, "failed"),
        ([HELLO, TRAINING, ("done", {"outcome": "stopped"}), HELLO], 0, True, "starting"),
    ],
)
def test_each_state_is_told_apart(events, silence, alive, state) -> None:
    assert after(*events, silence=silence, alive=alive).state == state


def test_a_stalled_and_a_lost_run_recover_when_the_trainer_speaks() -> None:
    for silence, alive in ((60.0, True), (0.0, None)):
        status = after(HELLO, TRAINING, silence=silence, alive=alive)
        assert status.state in (RunState.STALLED, RunState.LOST) and status.message
        status = advance(status, Event(9, 2000.0, "alive", {"iteration": 5}), 2000.0)
        assert status.state is RunState.TRAINING and not status.message


def test_a_failure_carries_the_fatal_errors_message() -> None:
    fatal = ("error", {"message": "out of memory", "fatal": True})
    assert after(HELLO, fatal, alive=False).message == "out of memory"
    assert after(HELLO, fatal, ("done", {"outcome": "failed"})).message == "out of memory"
    harmless = ("error", {"message": "disk full", "fatal": False})
    assert "gone without a last word" in after(HELLO, harmless, alive=False).message


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*EventType, "unheard-of"]),
            st.fixed_dictionaries(
                {},
                optional={
                    "phase": st.sampled_from(["training", "paused", "saving", "odd", 3, None]),
                    "outcome": st.sampled_from(["finished", "stopped", "odd", None]),
                    "fatal": st.booleans(),
                    "message": st.none() | st.text(max_size=5),
                },
            ),
        ),
        max_size=12,
    ),
    st.sampled_from([True, False, None]),
)
def test_no_history_of_events_breaks_it(events, alive) -> None:
    status = after(*events, alive=alive)
    if alive is False:
        assert status.state.over
    if status.state in (RunState.FAILED, RunState.LOST, RunState.STALLED):
        assert status.message

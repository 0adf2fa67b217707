"""The words trainer and watcher share: lines and loss rows survive the trip, torn ones are seen."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recaster_tui.errors import DamagedError
from recaster_tui.options import ModelClass
from recaster_tui.protocol import (
    Command,
    Event,
    RunSpec,
    append_losses,
    decode_command,
    decode_event,
    encode_command,
    encode_event,
    new_run_id,
    read_losses,
    read_run_spec,
    write_run_spec,
)
from recaster_tui.protocol.losses import loss_rows

_RESERVED = {"v", "seq", "t", "type", "id", "cmd"}
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)
_payload = st.dictionaries(st.text(min_size=1).filter(lambda k: k not in _RESERVED), _values)


@given(st.integers(1, 10**14), st.text(min_size=1), _payload)
def test_event_round_trip(seq: int, kind: str, data: dict) -> None:
    line = encode_event(Event(seq, 12.5, kind, data))
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert decode_event(line) == Event(seq, 12.5, kind, data)


@given(st.text(), st.text(min_size=1), _payload)
def test_command_round_trip(ident: str, cmd: str, args: dict) -> None:
    assert decode_command(encode_command(Command(ident, cmd, args))) == Command(ident, cmd, args)


def test_not_a_number_becomes_null_because_json_has_none() -> None:
    line = encode_event(Event(1, 0.0, "iterations", {"rows": [[math.nan, 1.0], [math.inf, 2.0]]}))
    assert decode_event(line).data["rows"] == [[None, 1.0], [None, 2.0]]


@given(st.integers(0, 60))
def test_a_torn_line_is_not_an_event(cut: int) -> None:
    line = encode_event(Event(7, 1.0, "phase", {"phase": "training", "text": "x" * 20}))
    with pytest.raises(ValueError):
        decode_event(line[: min(cut, len(line) - 2)])


def test_losses_append_and_ignore_a_torn_row(tmp_path) -> None:
    path = tmp_path / "losses.bin"
    append_losses(path, loss_rows(1, [[3.0, 2.0], [2.5, 1.5]], 40.0))
    append_losses(path, loss_rows(3, [[0.5]], 41.0))
    with path.open("ab") as file:
        file.write(b"torn")
    rows = read_losses(path)
    assert rows["iteration"].tolist() == [1, 2, 3]
    assert rows["src"].tolist() == [3.0, 2.5, 0.5]
    assert np.isnan(rows["dst"][2])
    assert read_losses(path, start_row=2)["iteration"].tolist() == [3]
    assert read_losses(tmp_path / "none").size == 0


def test_run_spec_round_trip_and_refusals(tmp_path) -> None:
    spec = RunSpec(
        run_id=new_run_id(ModelClass.SAEHD),
        created=1.0,
        model_name="anna to bob",
        model_class=ModelClass.SAEHD,
        options={"resolution": 128, "random_warp": True},
    )
    write_run_spec(tmp_path / "run.toml", spec)
    assert read_run_spec(tmp_path / "run.toml") == spec
    assert spec.model_folder == "model/anna to bob.saehd"
    with pytest.raises(DamagedError):
        read_run_spec(tmp_path / "absent.toml")
    (tmp_path / "run.toml").write_text("protocol = [")
    with pytest.raises(DamagedError):
        read_run_spec(tmp_path / "run.toml")
    with pytest.raises(ValueError):
        RunSpec(**{**spec.model_dump(), "model_name": "../escape"})

"""The pickle machine: reads what DFL writes, refuses and never runs anything else."""

import io
import pickle
import pickletools
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from faces_kit import same
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recaster_tui.errors import BadInputError
from recaster_tui.faces.pickling import dumps
from recaster_tui.faces.unpickle import (
    FACE_RULES,
    MODEL_RULES,
    PACK_RULES,
    DflEnum,
    RefusedPickleError,
    restricted_loads,
)

# --- what DFL writes ------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_payloads_written_by_dfl(data, protocol):
    payload = (data / f"app15_payload_proto{protocol}.bin").read_bytes()
    assert same(restricted_loads(payload), pickle.loads(payload))


def test_the_example_of_the_spec():
    import base64

    payload = base64.b64decode(
        "gAN9cQBYCwAAAHNvdXJjZV9yZWN0cQFjbnVtcHkuY29yZS5tdWx0aWFycmF5Cl9yZWNvbnN0cnVjdApxAmNudW1w"
        "eQpuZGFycmF5CnEDSwCFcQRDAWJxBYdxBlJxByhLAUsEhXEIY251bXB5CmR0eXBlCnEJWAIAAABpOHEKiYiHcQtS"
        "cQwoSwNYAQAAADxxDU5OTkr/////Sv////9LAHRxDmKJQyABAAAAAAAAAAIAAAAAAAAAAwAAAAAAAAAEAAAAAAAA"
        "AHEPdHEQYnMu"
    )
    value = restricted_loads(payload)
    assert same(value, {"source_rect": np.array([1, 2, 3, 4])})


def test_model_files_written_by_dfl(goldens):
    files = [*goldens.glob("models/*/*.dat"), *goldens.glob("models/*/*.npy")]
    assert len(files) > 8
    for path in files:
        content = path.read_bytes()
        assert same(restricted_loads(content, MODEL_RULES), pickle.loads(content)), path


# --- round trips ----------------------------------------------------------------------------

numbers = st.sampled_from(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])
arrays = numbers.flatmap(
    lambda code: hnp.arrays(code, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
scalars = numbers.flatmap(lambda code: hnp.arrays(code, (1,))).map(lambda a: a[0])
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=300),
    st.binary(max_size=300),
    arrays,
    scalars,
    st.lists(st.lists(st.floats(), min_size=2, max_size=2), max_size=70),
)
plain = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(st.text(max_size=20), inner, max_size=5),
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(value=plain)
def test_what_we_write_python_and_we_read_back(value):
    written = dumps(value)
    assert same(restricted_loads(written, MODEL_RULES), value)
    # Python needs the name that numpy 2 still answers to; DFL's numpy knows no other.
    assert b"numpy._core" not in written
    assert same(pickle.loads(written), value)


@settings(max_examples=100, deadline=None)
@given(value=plain, protocol=st.sampled_from([2, 3, 4, 5]))
def test_what_python_writes_we_read(value, protocol):
    written = pickle.dumps(value, protocol)
    if protocol == 2 and b"__builtin__\nbytes" in written:
        return  # empty bytes: no DFL file has any
    assert same(restricted_loads(written, MODEL_RULES), pickle.loads(written))


def test_fortran_order_and_big_endian():
    array = np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3))
    for protocol in (2, 3, 4, 5):
        read = restricted_loads(pickle.dumps(array, protocol))
        assert np.array_equal(read, array)
        assert read.dtype == np.float32
        assert read.flags.writeable


def test_pack_enums():
    value = [{"face_type": DflEnum("FaceType", 4), "sample_type": DflEnum("SampleType", 1)}]
    written = dumps(value, protocol=4)
    assert restricted_loads(written, PACK_RULES) == value
    with pytest.raises(RefusedPickleError, match=r"FaceType\.FaceType"):
        restricted_loads(written, FACE_RULES)


def test_the_writer_refuses_what_readers_would():
    nested: list = []
    for _ in range(50):
        nested = [nested]
    for value in (nested, {1: 2}, object(), np.array([object()]), np.array(["a"]), {"a": {1}}):
        with pytest.raises(BadInputError):
            dumps(value)


# --- hostile pickles ------------------------------------------------------------------------


class _Call:
    """Pickles as a call of *function* with *args*."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _array(shape: bytes, raw: bytes, code: str = "f4") -> bytes:
    dtype = _global("numpy", "dtype") + _text(code) + b"\x89\x88\x87R"
    dtype += b"(K\x03" + _text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    start = _global("numpy.core.multiarray", "_reconstruct") + _global("numpy", "ndarray")
    return start + b"K\x00\x85C\x01b\x87R(K\x01" + shape + dtype + b"\x89" + raw + b"tb"


def hostile(marker: Path) -> dict[str, bytes]:
    """Pickles that would create *marker*, exhaust memory or crash, by name."""
    import builtins
    import os
    import subprocess

    touch = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    wrapped = b"\x80\x03}" + _text("landmarks")
    shell = _global("os", "system") + _text(touch) + b"\x85R"
    nested_tuple = b"\x80\x03)" + b"\x85" * 60_000
    padding = b"\x80\x03B" + struct.pack("<I", 45_000) + b"x" * 45_000 + b"0"
    doubling = b"\x80\x03]q\x00" + b"".join(
        b"](h" + bytes((i,)) + b"h" + bytes((i,)) + b"eq" + bytes((i + 1,)) for i in range(100)
    )
    return {
        "os.system, protocol 4": pickle.dumps({"landmarks": _Call(os.system, touch)}, 4),
        "os.system, protocol 2": pickle.dumps(_Call(os.system, touch), 2),
        "posix.system as a key": b"\x80\x03}" + shell + b"NsX\x00\x00\x00\x00Ns.",
        "builtins.eval": pickle.dumps(_Call(builtins.eval, code)),
        "builtins.exec in a list": pickle.dumps([[_Call(builtins.exec, code)]]),
        "builtins.open": pickle.dumps(_Call(open, str(marker), "w")),
        "subprocess": pickle.dumps(_Call(subprocess.check_call, ["touch", str(marker)])),
        "nested reduce": pickle.dumps(_Call(getattr, _Call(__import__, "os"), "system")),
        "after a good start": wrapped + b"Ns" + shell + b".",
        "below the top": wrapped + shell + b"0Ns.",
        "old style INST": b"\x80\x03(" + _text(touch) + b"ios\nsystem\n.",
        "old style OBJ": b"\x80\x03(" + _global("os", "system") + _text(touch) + b"o.",
        "NEWOBJ": b"\x80\x03" + _global("subprocess", "Popen") + _text(touch) + b"\x85\x81.",
        "numpy's own eval": b"\x80\x03" + _global("numpy", "load") + _text(str(marker)) + b"\x85R.",
        "dotted name": b"\x80\x04" + _text("numpy") + _text("os.system") + b"\x93N\x85R.",
        "text protocol": b"cos\nsystem\n(S'" + touch.encode() + b"'\ntR.",
        "extension code": b"\x80\x03\x82\x01.",
        "persistent id": b"\x80\x03Phello\n.",
        "binary persistent id": b"\x80\x03NQ.",
        "calls an allowed name's result": b"\x80\x03" + _array(b"K\x00\x85", b"C\x00") + b")R.",
        "state on a dict": b"\x80\x03}" + _text("a") + b"Nsb.",
        "state on a global": b"\x80\x03" + _global("numpy", "dtype") + b"})b.",
        "state on a global, tuple": b"\x80\x03" + _global("numpy", "dtype") + b"N}\x86b.",
        "huge array": b"\x80\x03"
        + _array(b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", b"C\x00")
        + b".",
        "negative array": b"\x80\x03" + _array(b"J\xff\xff\xff\xff\x85", b"C\x00") + b".",
        "object array": pickle.dumps(np.array([_Call(os.system, touch)]), 3),
        "object dtype": b"\x80\x03" + _array(b"K\x01\x85", b"](Ne", "O8") + b".",
        "void dtype": pickle.dumps(np.zeros(2, [("a", "f4"), ("b", "f4")]), 3),
        "array of text": pickle.dumps(np.array(["abc"]), 3),
        "datetime array": pickle.dumps(np.zeros(2, "M8[s]"), 3),
        "memory map": b"\x80\x03" + _global("numpy", "memmap") + _text("/etc/passwd") + b"\x85R.",
        "ndarray called": b"\x80\x03"
        + _global("numpy", "ndarray")
        + b"J\xff\xff\xff\x7f\x85\x85R.",
        "8 GB of bytes": b"\x80\x04\x8e" + struct.pack("<Q", 8 << 30) + b"abc.",
        "8 GB bytearray": b"\x80\x05\x96" + struct.pack("<Q", 8 << 30) + b"abc.",
        "2^63 of text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 63) + b"abc.",
        "huge frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.",
        "memo index 2^32": b"\x80\x03]r\xff\xff\xff\xff" + b"r\xfe\xff\xff\xff" * 5 + b"1.",
        "memo bomb": b"\x80\x04N" + b"\x94" * 60_000 + b".",
        "mark bomb": b"\x80\x03" + b"(" * 60_000 + b".",
        "dict bomb": b"\x80\x03" + b"}" * 60_000 + b".",
        "huge integer": b"\x80\x03\x8b" + struct.pack("<I", 50_000) + b"\x7f" * 50_000 + b".",
        "deep tuple": nested_tuple + b".",
        "deep tuple as key": b"\x80\x03}" + nested_tuple[2:] + b"Ns.",
        "deep list": b"\x80\x03" + b"]" * 15_000 + b"a" * 14_999 + b".",
        # Padding buys a larger allowance of objects; the depth has its own limit.
        "deep list, padded": padding + b"]" * 10_000 + b"a" * 9_999 + b".",
        "deep tuple, padded": padding + b")" + b"\x85" * 10_000 + b".",
        "deep tuple as key, padded": padding + b"})" + b"\x85" * 10_000 + b"Ns.",
        "contains itself": b"\x80\x03]q\x00h\x00a.",
        "doubles a hundred times": doubling + b".",
        "set": pickle.dumps({1, 2}, 4),
        "complex": pickle.dumps(1j),
        "path": pickle.dumps(Path("x")),
        "number keys": pickle.dumps({1: 2}, 3),
        "unknown module": b"\x80\x03" + _global("nobody.knows", "this") + b")R.",
        "duplicate": b"\x80\x03N2\x86.",
        "only a mark": b"\x80\x03(.",
        "pops a mark": b"\x80\x03(0.",
        "get without put": b"\x80\x03h\x05.",
        "protocol 9": b"\x80\x09N.",
        "empty": b"",
        "one byte": b"\x80",
        "no stop": b"\x80\x03N",
        "not a pickle": b"Exif\x00\x00II*\x00",
        "left over global": b"\x80\x03" + _global("numpy", "ndarray") + b".",
        "unfinished array": b"\x80\x03"
        + _global("numpy.core.multiarray", "_reconstruct")
        + _global("numpy", "ndarray")
        + b"K\x00\x85C\x01b\x87R.",
    }


NAMES = list(hostile(Path("marker")))


@pytest.mark.parametrize("name", NAMES)
def test_hostile_pickles_are_refused(name, tmp_path):
    marker = tmp_path / "executed"
    payload = hostile(marker)[name]
    loaded = set(sys.modules)
    started = time.process_time()
    for rules in (FACE_RULES, PACK_RULES, MODEL_RULES):
        with pytest.raises(RefusedPickleError) as caught:
            restricted_loads(payload, rules)
        assert caught.value.code in ("refused-pickle", "damaged")
        assert len(str(caught.value)) < 400
    assert not marker.exists()
    assert set(sys.modules) == loaded, "a module was imported on a pickle's behalf"
    assert time.process_time() - started < 5, "an attack on time"


def test_the_hostile_pickles_do_run_elsewhere(tmp_path):
    """The attacks are real: Python's own unpickler falls for them."""
    marker = tmp_path / "executed"
    attacks = hostile(marker)
    for name in ("builtins.open", "builtins.exec in a list", "os.system, protocol 2"):
        marker.unlink(missing_ok=True)
        pickle.loads(attacks[name])
        assert marker.exists(), name


def test_a_payload_over_the_limit_is_not_looked_at():
    with pytest.raises(RefusedPickleError, match="too much"):
        restricted_loads(dumps({"a": b"x" * 65_533}), FACE_RULES)


@settings(max_examples=400, deadline=None)
@given(noise=st.binary(max_size=200))
def test_random_bytes(noise):
    for start in (b"", b"\x80\x03", b"\x80\x04}("):
        try:
            restricted_loads(start + noise, MODEL_RULES)
        except RefusedPickleError:
            continue


@settings(max_examples=400, deadline=None)
@given(choices=st.data(), protocol=st.sampled_from([2, 3, 4]))
def test_mutated_payloads(data, choices, protocol):
    payload = bytearray((data / f"app15_payload_proto{protocol}.bin").read_bytes())
    for _ in range(choices.draw(st.integers(1, 4))):
        place = choices.draw(st.integers(2, len(payload) - 1))
        what = choices.draw(st.sampled_from(["set", "delete", "insert", "copy"]))
        if what == "set":
            payload[place] = choices.draw(st.integers(0, 255))
        elif what == "delete":
            del payload[place : place + choices.draw(st.integers(1, 9))]
        elif what == "insert":
            payload[place:place] = choices.draw(st.binary(max_size=6))
        else:
            payload[place:place] = payload[: choices.draw(st.integers(0, 60))]
        if len(payload) < 4:
            return
    try:
        value = restricted_loads(bytes(payload))
    except RefusedPickleError:
        return
    # What is accepted is plain enough for our own writer.
    restricted_loads(dumps(value), MODEL_RULES)


def test_written_opcodes_are_known_to_protocol_3():
    value = {"a": [1, 2.0, "x", b"y", None, True], "m": np.zeros((2, 3)), "t": (1, 2, 3, 4)}
    names = {op.name: op.proto for op, _, _ in pickletools.genops(io.BytesIO(dumps(value)))}
    assert max(names.values()) <= 3

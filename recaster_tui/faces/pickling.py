"""Writing plain data as a pickle that every version of DFL reads (dfl-data.md 1.4, 1.9).

Protocol 3 with numpy 1 module names, whatever numpy runs here. There are no memo entries: what
is shared in memory is written twice, which our data never do.
"""

import struct
from typing import Any, Final

import numpy as np

from recaster_tui.errors import BadInputError
from recaster_tui.faces.unpickle import DflEnum

_ENUM_MODULES: Final = {"FaceType": "facelib.FaceType", "SampleType": "samplelib.Sample"}
_MAX_DEPTH: Final = 32
_RECONSTRUCT: Final = b"cnumpy.core.multiarray\n_reconstruct\n"
_SCALAR: Final = b"cnumpy.core.multiarray\nscalar\n"
_NDARRAY: Final = b"cnumpy\nndarray\n"
_DTYPE: Final = b"cnumpy\ndtype\n"


def dumps(value: Any, *, protocol: int = 3) -> bytes:
    """Pickle None, bool, int, float, str, bytes, list, tuple, dict, numeric arrays and scalars.

    Args:
        value: the data; dictionary keys are strings.
        protocol: 3, or 4 for a pack's index (the instructions are the same).

    Raises:
        BadInputError: another type, or nesting deeper than 32.
    """
    out = bytearray((0x80, protocol))
    _write(out, value, 0)
    out += b"."
    return bytes(out)


def _write(out: bytearray, value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise BadInputError("metadata nested this deeply cannot be stored")
    match value:
        case None:
            out += b"N"
        case bool():
            out += b"\x88" if value else b"\x89"
        case np.generic():
            out += _SCALAR
            _write_dtype(out, value.dtype)
            _write_bytes(out, value.astype(value.dtype.newbyteorder("<")).tobytes())
            out += b"\x86R"
        case int():
            _write_int(out, value)
        case float():
            out += b"G" + struct.pack(">d", value)
        case str():
            raw = value.encode("utf-8", "surrogatepass")
            out += b"X" + struct.pack("<I", len(raw)) + raw
        case bytes() | bytearray():
            _write_bytes(out, bytes(value))
        case np.ndarray():
            _write_array(out, value)
        case DflEnum():
            out += f"c{_ENUM_MODULES[value.class_name]}\n{value.class_name}\n".encode()
            _write_int(out, value.value)
            out += b"\x85R"
        case dict():
            out += b"}("
            for key, item in value.items():
                if not isinstance(key, str):
                    raise BadInputError(f"a metadata key must be text, not {type(key).__name__}")
                _write(out, key, depth + 1)
                _write(out, item, depth + 1)
            out += b"u"
        case list():
            out += b"]("
            for item in value:
                _write(out, item, depth + 1)
            out += b"e"
        case tuple():
            _write_tuple(out, value, depth)
        case _:
            raise BadInputError(f"a {type(value).__name__} cannot be stored as metadata")


def _write_tuple(out: bytearray, value: tuple[Any, ...], depth: int) -> None:
    short = {0: b")", 1: b"\x85", 2: b"\x86", 3: b"\x87"}.get(len(value))
    if short is None:
        out += b"("
    for item in value:
        _write(out, item, depth + 1)
    out += short or b"t"


def _write_int(out: bytearray, value: int) -> None:
    if 0 <= value < 256:
        out += b"K" + struct.pack("<B", value)
    elif 0 <= value < 65536:
        out += b"M" + struct.pack("<H", value)
    elif -(2**31) <= value < 2**31:
        out += b"J" + struct.pack("<i", value)
    else:
        raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        if len(raw) > 32:
            raise BadInputError("a number this large cannot be stored as metadata")
        out += b"\x8a" + struct.pack("<B", len(raw)) + raw


def _write_bytes(out: bytearray, raw: bytes) -> None:
    if len(raw) < 256:
        out += b"C" + struct.pack("<B", len(raw))
    elif len(raw) < 2**32:
        out += b"B" + struct.pack("<I", len(raw))
    else:
        raise BadInputError("an array this large cannot be stored as metadata")
    out += raw


def _write_dtype(out: bytearray, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise BadInputError(f"an array of {dtype} cannot be stored as metadata")
    code = f"{dtype.kind}{dtype.itemsize}".encode()
    order = b"|" if dtype.itemsize == 1 else b"<"
    out += _DTYPE + b"X" + struct.pack("<I", len(code)) + code + b"\x89\x88\x87R"
    out += b"(K\x03X\x01\x00\x00\x00" + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def _write_array(out: bytearray, array: np.ndarray) -> None:
    out += _RECONSTRUCT + _NDARRAY + b"K\x00\x85C\x01b\x87R(K\x01"
    _write_tuple(out, array.shape, 0)
    _write_dtype(out, array.dtype)
    out += b"\x89"
    _write_bytes(out, array.astype(array.dtype.newbyteorder("<")).tobytes())
    out += b"tb"

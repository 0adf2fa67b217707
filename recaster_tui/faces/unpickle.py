"""Reading pickles from strangers without running anything (dfl-data.md 1.9).

DeepFaceLab keeps metadata, packs and models as pickles, and a pickle is a program. Python's own
unpickler is not used here at all: a small machine of ours knows the opcodes that plain data and
numpy arrays need, and nothing else. A global is never imported or looked up; the few allowed
names stand for decoders in ``pickle_values``, so there is nothing on the stack that could be
called into. Sizes are checked against the bytes that are really there before anything is allocated,
dictionary keys are strings, nesting and sharing are bounded.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from recaster_tui.faces.pickle_machine import Buffer, Machine
from recaster_tui.faces.pickle_values import (
    Decoder,
    DflEnum,
    PickleRules,
    RefusedPickleError,
    broken,
    decode_array,
    decode_buffer_array,
    decode_bytes,
    decode_dtype,
    decode_enum,
    decode_scalar,
    refuse,
)

__all__ = [
    "FACE_RULES",
    "MODEL_RULES",
    "PACK_RULES",
    "DflEnum",
    "PickleRules",
    "RefusedPickleError",
    "restricted_loads",
]

_LEAF_TYPES: Final = frozenset(
    {float, int, str, bool, bytes, type(None), np.ndarray, DflEnum, bytearray}
)


_NUMPY_GLOBALS: Final[Mapping[tuple[str, str], Decoder | None]] = {
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): decode_dtype,
    ("numpy.core.multiarray", "_reconstruct"): decode_array,
    ("numpy._core.multiarray", "_reconstruct"): decode_array,
    ("numpy.core.multiarray", "scalar"): decode_scalar,
    ("numpy._core.multiarray", "scalar"): decode_scalar,
    ("numpy.core.numeric", "_frombuffer"): decode_buffer_array,
    ("numpy._core.numeric", "_frombuffer"): decode_buffer_array,
    ("_codecs", "encode"): decode_bytes,
}

FACE_RULES: Final = PickleRules("face metadata", 65_533, _NUMPY_GLOBALS)
"""The APP15 payload of a face, and entries of ``meta.dat``."""

PACK_RULES: Final = PickleRules(
    "pack index",
    1 << 31,
    {
        **_NUMPY_GLOBALS,
        ("facelib.FaceType", "FaceType"): decode_enum("FaceType"),
        ("samplelib.Sample", "SampleType"): decode_enum("SampleType"),
    },
)
"""The index of a ``faceset.pak``."""

MODEL_RULES: Final = PickleRules("model file", 1 << 36, _NUMPY_GLOBALS)
"""DFL's model ``.dat`` and ``.npy`` files."""


def restricted_loads(data: Buffer, allowed: PickleRules = FACE_RULES) -> Any:
    """Decode a pickle of plain data: None, bool, int, float, str, bytes, list, tuple, dict with
    string keys, numpy arrays and scalars of kinds b, i, u, f.

    Protocols 2 to 5 are read. Bytes after the end of the pickle are ignored, as Python does.

    Args:
        data: the pickle; a memory map is read piece by piece.
        allowed: which names may occur, and the limits.

    Raises:
        RefusedPickleError: anything else. Nothing has been executed or imported.
    """
    if len(data) > allowed.max_bytes:
        raise refuse(f"{len(data)} bytes are too much for {allowed.what}")
    if len(data) < 2 or data[0] != 0x80:
        raise broken(f"{allowed.what} does not start like a pickle of protocol 2 or later")
    machine = Machine(data, allowed)
    try:
        value = machine.run()
        _check_result(value, allowed.max_depth, 4 * machine.made + 100)
    except RefusedPickleError:
        raise
    except (IndexError, struct.error) as error:
        raise broken(f"{allowed.what} ends in the middle or contradicts itself") from error
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise broken(f"{allowed.what} contradicts itself") from error
    except MemoryError as error:
        raise refuse(f"{allowed.what} needs more memory than there is") from error
    return value


def _check_result(value: Any, max_depth: int, visits: int) -> None:
    """Refuse stand-ins left in the result, deep nesting, cycles, and lists within lists that
    share so much that walking them would take forever."""
    todo = [((value,), 0)]
    while todo:
        container, depth = todo.pop()
        visits -= 1
        if visits < 0 or depth > max_depth:
            raise refuse("its data are nested too deeply or contain themselves")
        for child in container.values() if isinstance(container, dict) else container:
            kind = type(child)
            if kind in _LEAF_TYPES:
                continue
            if kind in (list, tuple, dict):
                todo.append((child, depth + 1))
            elif not isinstance(child, np.generic):
                raise refuse("it holds something other than plain data")

"""Stand-ins and decoders for the few globals that plain pickles name (dfl-data.md 1.9)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from recaster_tui.errors import DamagedError

Decoder = Callable[[tuple[Any, ...]], Any]


class RefusedPickleError(DamagedError):
    """A pickle that is not plain data (:attr:`code` ``refused-pickle``) or broken (``damaged``)."""

    def __init__(self, message: str, *, code: str = "refused-pickle") -> None:
        hint = (
            "nothing in it was run; get the file again from a source you trust"
            if code == "refused-pickle"
            else None
        )
        super().__init__(message, hint=hint)
        self.code = code


@dataclass(frozen=True)
class DflEnum:
    """A member of one of DFL's two enum classes, by its number."""

    class_name: str
    value: int


@dataclass(frozen=True)
class PickleRules:
    """What one kind of file may contain.

    Attributes:
        what: the kind of file, for messages.
        max_bytes: longest pickle that is looked at.
        globals: decoder for each allowed (module, name); None for a name that may only be an
            argument.
        max_depth: deepest nesting of containers.
    """

    what: str
    max_bytes: int
    globals: Mapping[tuple[str, str], Decoder | None]
    max_depth: int = 32


@dataclass(slots=True)
class Global:
    """Stands on the stack for an allowed global. Does nothing by itself."""

    decoder: Decoder | None


@dataclass(slots=True)
class ArrayStub:
    """``_reconstruct`` was called, the array's state has yet to come."""

    memo_keys: list[int] = field(default_factory=list)


@dataclass(slots=True)
class DType:
    """A plain number type."""

    kind: str
    size: int
    order: str = "<"

    def numpy(self) -> np.dtype[Any]:
        """The same for numpy."""
        return np.dtype(f"{self.order}{self.kind}{self.size}")


NDARRAY: Final = Global(None)
_DTYPE_CODE: Final = re.compile(r"[<>=|]?(?:(b)(1)|([iu])([1248])|(f)([248]))")
_MAX_DIMENSIONS: Final = 16


def refuse(reason: str) -> RefusedPickleError:
    """The error for what plain data never hold."""
    return RefusedPickleError(reason)


def broken(reason: str) -> RefusedPickleError:
    """The error for a pickle that is cut off or contradicts itself."""
    return RefusedPickleError(reason, code="damaged")


# --- what the allowed globals do -----------------------------------------------------------


def decode_array(args: tuple[Any, ...]) -> ArrayStub:
    """``_reconstruct(ndarray, (0,), b"b")``: an empty array whose state follows."""
    if len(args) != 3 or args[0] is not NDARRAY or type(args[1]) is not tuple:
        raise refuse("it asks numpy for something other than a plain array")
    return ArrayStub()


def decode_dtype(args: tuple[Any, ...]) -> DType:
    """``dtype("f4", False, True)``."""
    code = args[0] if args else None
    match = _DTYPE_CODE.fullmatch(code) if isinstance(code, str) else None
    if match is None or not all(isinstance(a, bool | int) for a in args[1:]):
        raise refuse("it holds an array of something other than numbers")
    kind, size = (group for group in match.groups() if group)
    return DType(kind, int(size))


def decode_scalar(args: tuple[Any, ...]) -> np.generic:
    """``scalar(dtype, bytes)``: one number."""
    if len(args) != 2 or not isinstance(args[0], DType) or not isinstance(args[1], bytes):
        raise refuse("it holds a scalar of something other than a number")
    dtype, raw = args[0].numpy(), args[1]
    if len(raw) != dtype.itemsize:
        raise broken("a number has the wrong size")
    return cast(np.generic, np.frombuffer(raw, dtype)[0])


def decode_buffer_array(args: tuple[Any, ...]) -> NDArray[Any]:
    """``_frombuffer(bytes, dtype, shape, order)``: an array in protocol 5."""
    if len(args) != 4 or not isinstance(args[1], DType):
        raise refuse("it holds an array of something other than numbers")
    raw, dtype, shape, order = args
    return build_array(shape, dtype, order == "F", raw)


def decode_bytes(args: tuple[Any, ...]) -> bytes:
    """``encode(text, "latin1")``: how protocol 2 spells bytes."""
    if len(args) != 2 or not all(isinstance(a, str) for a in args):
        raise refuse("it encodes something other than text")
    if args[1] not in ("latin1", "latin-1"):
        raise refuse("it encodes text in an unexpected way")
    return bytes(args[0], "latin-1")


def build_array(shape: Any, dtype: DType, fortran: bool, raw: Any) -> NDArray[Any]:
    """A writable array in this machine's byte order; the bytes must fit the shape exactly."""
    if not isinstance(raw, bytes | bytearray):
        raise refuse("it holds an array of objects")
    if not isinstance(shape, tuple) or len(shape) > _MAX_DIMENSIONS:
        raise broken("an array has no valid shape")
    count = 1
    for side in shape:
        if type(side) is not int or side < 0:
            raise broken("an array has no valid shape")
        count *= side
    if count * dtype.size != len(raw):
        raise broken("an array's size does not fit its shape")
    array = np.frombuffer(raw, dtype.numpy()).reshape(shape, order="F" if fortran else "C")
    return array.astype(array.dtype.newbyteorder("="), order="K", copy=True)


def decode_enum(class_name: str) -> Decoder:
    """The decoder for members of one of DFL's enums."""

    def decode(args: tuple[Any, ...]) -> DflEnum:
        if len(args) != 1 or type(args[0]) is not int:
            raise refuse(f"it makes a {class_name} of something other than a number")
        return DflEnum(class_name, args[0])

    return decode

"""The machine behind :func:`recaster_tui.faces.unpickle.restricted_loads`."""

import mmap
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from recaster_tui.faces.pickle_values import (
    NDARRAY,
    ArrayStub,
    DType,
    Global,
    PickleRules,
    broken,
    build_array,
    refuse,
)

Buffer = bytes | bytearray | mmap.mmap

_MAX_INT_BYTES: Final = 32
# ``[x, y]``: six opcodes in one match. Landmarks and loss histories consist of little else.
_FLOAT_PAIR: Final = re.compile(rb"(?:q(.)|r(....)|(\x94))?\(G(.{8})G(.{8})e", re.DOTALL).match
_unpack_double: Final = struct.Struct(">d").unpack
_unpack_uint: Final = struct.Struct("<I").unpack


class Machine:
    """Runs one pickle. Stack and memo hold plain data and the stand-ins above, never callables."""

    def __init__(self, data: Buffer, rules: PickleRules) -> None:
        self.data = data
        self.rules = rules
        self.position = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.made = 0
        # A container or memo entry costs memory that a byte or two of pickle pay for; real
        # files use more than ten bytes for each.
        self.budget = len(data) // 4 + 256

    def run(self) -> Any:
        """Execute until STOP and return what is on top of the stack."""
        data, opcodes = self.data, _OPCODES
        while True:
            code = data[self.position]
            self.position += 1
            if code == 0x5D:  # EMPTY_LIST, by far the most frequent
                self._empty_list()
                continue
            if code == 0x2E:  # STOP
                return self.stack.pop()
            operation = opcodes.get(code)
            if operation is None:
                raise refuse(f"it uses the instruction {code:#04x}, which plain data never need")
            operation(self)

    # --- reading --------------------------------------------------------------------------

    def _take(self, count: int) -> bytes:
        start = self.position
        end = start + count
        if count < 0 or end > len(self.data):
            raise broken(f"{self.rules.what} ends in the middle")
        self.position = end
        return bytes(self.data[start:end])

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "little")

    def _line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + 256)
        if end < 0:
            raise broken("a name in it has no end")
        line = bytes(self.data[self.position : end])
        self.position = end + 1
        return line.decode("ascii")

    # --- stack ----------------------------------------------------------------------------

    def _push_made(self, value: Any) -> None:
        self.made += 1
        if self.made > self.budget:
            raise refuse("it would take far more memory than its size explains")
        self.stack.append(value)

    def _pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _mark(self) -> None:
        if len(self.marks) > 2 * self.rules.max_depth:
            raise refuse("its data are nested too deeply")
        self.marks.append(len(self.stack))

    def _pop(self) -> Any:
        if self.marks and self.marks[-1] >= len(self.stack):
            raise broken(f"{self.rules.what} contradicts itself")
        return self.stack.pop()

    def _drop(self) -> None:
        self._pop()

    def _drop_to_mark(self) -> None:
        self._pop_to_mark()

    def _empty_list(self) -> None:
        data, stack, memo = self.data, self.stack, self.memo
        position = self.position
        match = _FLOAT_PAIR(data, position)
        if match is None:
            self._push_made([])
            return
        # Pairs come in long runs. They pay for themselves, so the budget is not asked here.
        while match is not None:
            position = match.end()
            short, long, memoize, x, y = match.groups()
            pair = [_unpack_double(x)[0], _unpack_double(y)[0]]
            stack.append(pair)
            self.made += 1
            if memoize is not None:
                memo[len(memo)] = pair
            elif long is not None:
                memo[_unpack_uint(long)[0]] = pair
            elif short is not None:
                memo[short[0]] = pair
            match = _FLOAT_PAIR(data, position + 1) if data[position] == 0x5D else None
        self.position = position

    # --- memo -----------------------------------------------------------------------------

    def _remember(self, key: int) -> None:
        value = self.stack[-1]
        if type(value) is ArrayStub:
            value.memo_keys.append(key)
        self.memo[key] = value
        if len(self.memo) > self.budget:
            raise refuse("it would take far more memory than its size explains")

    def _memoize(self) -> None:
        self._remember(len(self.memo))

    def _put(self, size: int) -> None:
        self._remember(self._number(size))

    def _get(self, size: int) -> None:
        self.stack.append(self.memo[self._number(size)])

    # --- values ---------------------------------------------------------------------------

    def _protocol(self) -> None:
        if not 2 <= self._number(1) <= 5:
            raise broken("a pickle protocol that does not exist")

    def _frame(self) -> None:
        if self._number(8) > len(self.data) - self.position:
            raise broken(f"{self.rules.what} ends in the middle")

    def _int(self) -> None:
        self.stack.append(int.from_bytes(self._take(4), "little", signed=True))

    def _long(self, size: int) -> None:
        count = self._number(size)
        if count > _MAX_INT_BYTES:
            raise refuse("it holds an absurdly large number")
        self.stack.append(int.from_bytes(self._take(count), "little", signed=True))

    def _float(self) -> None:
        self.stack.append(_unpack_double(self._take(8))[0])

    def _text(self, size: int) -> None:
        raw = self._take(self._number(size))
        self.stack.append(raw.decode("utf-8", "surrogatepass"))

    def _bytes(self, size: int) -> None:
        self.stack.append(self._take(self._number(size)))

    def _bytearray(self) -> None:
        self.stack.append(bytearray(self._take(self._number(8))))

    def _tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._push_made(tuple(reversed(items)))

    def _marked_tuple(self) -> None:
        self._push_made(tuple(self._pop_to_mark()))

    def _list_at(self) -> list[Any]:
        target = self.stack[-1]
        if type(target) is not list:
            raise refuse("it appends to something other than a list")
        return target

    def _append(self) -> None:
        value = self._pop()
        self._list_at().append(value)

    def _extend(self) -> None:
        items = self._pop_to_mark()
        self._list_at().extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise refuse("it sets an item of something other than a dictionary")
        if len(items) % 2:
            raise broken("a dictionary key without a value")
        for key in items[::2]:
            # Other keys could collide on purpose or be hashed recursively.
            if type(key) is not str:
                raise refuse("a dictionary key is not text")
        target.update(zip(items[::2], items[1::2], strict=True))

    def _set_item(self) -> None:
        value = self._pop()
        key = self._pop()
        self._set_items([key, value])

    def _set_marked_items(self) -> None:
        self._set_items(self._pop_to_mark())

    # --- globals --------------------------------------------------------------------------

    def _push_global(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise refuse("it names a global in an unexpected way")
        if (module, name) == ("numpy", "ndarray"):
            self.stack.append(NDARRAY)
            return
        decoder = self.rules.globals.get((module, name))
        if decoder is None:
            shown = f"{module}.{name}"[:80]
            raise refuse(f"it wants to use {shown!r}, which no {self.rules.what} needs")
        self.stack.append(Global(decoder))

    def _global(self) -> None:
        module = self._line()
        self._push_global(module, self._line())

    def _stack_global(self) -> None:
        name = self._pop()
        self._push_global(self._pop(), name)

    def _reduce(self) -> None:
        args = self._pop()
        function = self._pop()
        if type(function) is not Global or function.decoder is None or type(args) is not tuple:
            raise refuse("it calls something")
        self._push_made(function.decoder(args))

    def _build(self) -> None:
        state = self._pop()
        target = self.stack[-1]
        if type(state) is not tuple:
            raise refuse("it sets the state of something other than an array")
        if type(target) is DType:
            self._build_dtype(target, state)
        elif type(target) is ArrayStub:
            if len(state) != 5 or type(state[2]) is not DType:
                raise refuse("it holds an array of something other than numbers")
            _, shape, dtype, fortran, raw = state
            array = build_array(shape, dtype, fortran is True or fortran == 1, raw)
            self.stack[-1] = array
            for key in target.memo_keys:
                self.memo[key] = array
        else:
            raise refuse("it sets the state of something other than an array")

    def _build_dtype(self, target: DType, state: tuple[Any, ...]) -> None:
        # (version, byte order, subarray, names, fields, item size, alignment, flags)
        if len(state) < 5 or any(part is not None for part in state[2:5]):
            raise refuse("it holds an array of something other than numbers")
        order = state[1]
        if not isinstance(order, str) or order not in ("<", ">", "=", "|"):
            raise broken("an array has no valid byte order")
        target.order = ">" if order == ">" else "<"


def _never(name: str) -> Callable[[Machine], None]:
    def operation(_machine: Machine) -> None:
        raise refuse(f"it uses the instruction {name}, which plain data never need")

    return operation


_OPCODES: Final[Mapping[int, Callable[[Machine], None]]] = {
    0x28: Machine._mark,
    0x30: Machine._drop,
    0x31: Machine._drop_to_mark,
    0x4A: Machine._int,
    0x4B: lambda m: m.stack.append(m._number(1)),
    0x4D: lambda m: m.stack.append(m._number(2)),
    0x4E: lambda m: m.stack.append(None),
    0x88: lambda m: m.stack.append(True),
    0x89: lambda m: m.stack.append(False),
    0x8A: lambda m: m._long(1),
    0x8B: lambda m: m._long(4),
    0x47: Machine._float,
    0x58: lambda m: m._text(4),
    0x8C: lambda m: m._text(1),
    0x8D: lambda m: m._text(8),
    0x42: lambda m: m._bytes(4),
    0x43: lambda m: m._bytes(1),
    0x8E: lambda m: m._bytes(8),
    0x96: Machine._bytearray,
    0x98: lambda m: None,  # READONLY_BUFFER: ours are copies anyway
    0x29: lambda m: m.stack.append(()),
    0x85: lambda m: m._tuple(1),
    0x86: lambda m: m._tuple(2),
    0x87: lambda m: m._tuple(3),
    0x74: Machine._marked_tuple,
    0x61: Machine._append,
    0x65: Machine._extend,
    0x7D: lambda m: m._push_made({}),
    0x73: Machine._set_item,
    0x75: Machine._set_marked_items,
    0x71: lambda m: m._put(1),
    0x72: lambda m: m._put(4),
    0x94: Machine._memoize,
    0x68: lambda m: m._get(1),
    0x6A: lambda m: m._get(4),
    0x63: Machine._global,
    0x93: Machine._stack_global,
    0x52: Machine._reduce,
    0x62: Machine._build,
    0x80: Machine._protocol,
    0x95: Machine._frame,
    # Named for the message only; any other opcode is refused by number.
    0x81: _never("NEWOBJ"),
    0x92: _never("NEWOBJ_EX"),
    0x82: _never("EXT1"),
    0x83: _never("EXT2"),
    0x84: _never("EXT4"),
    0x50: _never("PERSID"),
    0x51: _never("BINPERSID"),
    0x69: _never("INST"),
    0x6F: _never("OBJ"),
    0x97: _never("NEXT_BUFFER"),
}

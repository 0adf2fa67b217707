"""The names in a pack without decoding its whole index, which takes seconds for 20,000 faces.

The index is a pickle; in it the key ``filename`` and a name stand side by side. Finding those by
their bytes is a shortcut: what does not add up is left to :class:`PackReader`, and so are packs of
several persons.
"""

import itertools
import os
import re
import struct
from pathlib import Path

import numpy as np

from recaster_tui.faces.face import PackEntry
from recaster_tui.faces.pack import safe_name

_KEY = b"filename"
# The end of the last face: a reference to the key ``person_name``, None.
_LAST = re.compile(rb"(h.|j.{4})(?:\x95.{8})?Nu[ea]\.\Z", re.S)
_LEAST_INDEXED = 300  # bytes that an index needs for a face; its landmarks alone take more


def quick_names(path: Path) -> tuple[list[str], list[PackEntry]] | None:
    """Names and places of the faces in a pack of one person; None where that takes a closer look.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(16)
        if len(head) < 16:
            return None
        version, index_size = struct.unpack("<QQ", head)
        if version != 1 or index_size > min(size - 16, 1 << 31):
            return None
        index = file.read(index_size)
        raw = file.read(8 * (index_size // _LEAST_INDEXED + 2))
        table = np.frombuffer(raw, "<u8", len(raw) // 8).astype(np.int64)
    start = 16 + index_size + 8 * np.arange(1, len(table) + 1)
    ends = np.flatnonzero((table == size) | (table == size - start))
    if not len(ends) or ends[0] == 0 or table[0] != 0:
        return None
    count = int(ends[0])
    begin = int(start[count])
    offsets = [*table[:count].tolist(), size - begin]
    if (np.diff(offsets) < 0).any():
        return None
    names = _names(index)
    if names is None or len(names) != count or len(set(names)) != count:
        return None
    return names, [PackEntry(begin + a, b - a) for a, b in itertools.pairwise(offsets)]


def _names(index: bytes) -> list[str] | None:
    first = index.find(_KEY)
    if not 5 <= first <= 1000:
        return None
    if index[first - 5 : first] == b"X\x08\x00\x00\x00":
        # Ours: every key is written out.
        names = _texts(index, b"filenameX", 4)
        nobody = index.count(b"person_nameN")
    elif index[first - 2 : first] == b"\x8c\x08":
        # DFL's: after the first face, keys are references to the strings pickled before, and as
        # many were before this one as there are signs that one is to be remembered.
        key = index[:first].count(b"\x94")
        last = _LAST.search(index, len(index) - 20)
        if key > 255 or last is None or b"person_name\x94N" not in index:
            return None
        first_name = _texts(index, b"filename\x94\x8c", 1, most=1)
        reference = bytes((0x68, key))
        # Now and then a new frame of the pickle (and its length) comes between key and name.
        framed = _texts(index, reference + b"\x95", 1, skip=9)
        plain = _texts(index, reference + b"\x8c", 1)
        if first_name is None or framed is None or plain is None:
            return None
        names = first_name | framed | plain
        nobody = 1 + index.count(last[1] + b"N") + index.count(last[1] + b"\x95")
    else:
        return None
    # By chance there may be more that looks so, but not less.
    if names is None or nobody < len(names):
        return None
    return [names[at] for at in sorted(names)]


def _texts(
    index: bytes, before: bytes, width: int, *, skip: int = 0, most: int = 1 << 30
) -> dict[int, str] | None:
    """Place -> file name, of those that follow *before*, *skip* bytes and their own length, which
    takes *width* bytes; None where there is one that makes no sense."""
    names: dict[int, str] = {}
    at = index.find(before)
    while at >= 0 and len(names) < most:
        place, start = at, at + len(before) + skip + width
        length = int.from_bytes(index[start - width : start], "little")
        raw = index[start : start + length] if length < 256 else b""
        at = index.find(before, at + 1)
        if raw[-4:] != b".jpg":
            continue
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            return None
        if safe_name(name, "") != name:
            return None
        names[place] = name
    return names

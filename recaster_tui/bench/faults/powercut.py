"""What a disk may hold after a power cut, worked out from the operations of a process.

A model of a file system that promises no more than POSIX does (Pillai et al., "All File Systems
Are Not Created Equal", OSDI 2014): the content of a file is safe once that file was synced, a name
once its folder was; everything else may be there or not, cut short or full of zeros. Names of one
folder reach the disk in their order, of different folders in any.
"""

import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from recaster_tui.bench.faults.fileops import FileOp


@dataclass(eq=False)
class _File:
    durable: bytes = b""
    live: bytearray = field(default_factory=bytearray)


@dataclass(eq=False)
class _Folder:
    durable: dict[str, "_Node"] = field(default_factory=dict)
    live: dict[str, "_Node"] = field(default_factory=dict)
    pending: list["_Change"] = field(default_factory=list)


_Node: TypeAlias = _File | _Folder


@dataclass(eq=False)
class _Change:
    """Names that appear or vanish (None) in one step; after *needs*, where that is given."""

    names: dict[str, _Node | None]
    needs: "_Change | None" = None
    done: bool = False


@dataclass(frozen=True)
class Policy:
    """How bad the luck is.

    Attributes:
        names: which of the names that are not synced reach the disk: none, all or some.
        data: what becomes of data that is not synced: lost, zeros, all, or some of these.
    """

    names: str
    data: str


POLICIES = (
    Policy("none", "lost"),
    Policy("all", "lost"),
    Policy("all", "zeros"),
    Policy("none", "all"),
    Policy("some", "some"),
)


class Disk:
    """A folder on a disk with a cache that a power cut empties."""

    def __init__(self, root: Path, parts: Iterable[str]) -> None:
        """Take what is in the folders *parts* of *root* as safe on the disk."""
        self._prefix = os.path.realpath(root)
        self._root = _Folder()
        for part in parts:
            path = root / part
            if path.exists():
                self._root.live[part] = self._root.durable[part] = _scan(path)

    def apply(self, op: FileOp) -> None:
        """One operation that was carried out."""
        names = self._names(op.path)
        folder, name = self._folder(names[:-1]), names[-1] if names else ""
        if op.kind == "fsync":
            self._sync(self._node(names))
        elif folder is None:
            return
        elif op.kind == "create":
            if name not in folder.live:
                self._change(folder, {name: _File()})
        elif op.kind == "mkdir":
            self._change(folder, {name: _Folder()})
        elif op.kind in ("unlink", "rmdir"):
            self._change(folder, {name: None})
        elif op.kind == "rename":
            self._rename(folder, name, self._names(op.target))
        elif isinstance(node := folder.live.get(name), _File):
            if op.kind == "truncate":
                del node.live[op.offset :]
            elif op.kind == "write":
                end = op.offset + len(op.data)
                node.live.extend(bytes(max(0, end - len(node.live))))
                node.live[op.offset : end] = op.data

    def after_power_cut(self, policy: Policy, luck: random.Random) -> dict[str, bytes | None]:
        """What is left: content by path relative to the root; None for a folder."""
        self._decide(self._root, policy, luck)
        return dict(_walk(self._root, "", policy, luck))

    def _decide(self, folder: _Folder, policy: Policy, luck: random.Random) -> None:
        for each in _folders(folder):
            count = {"none": 0, "all": len(each.pending)}.get(policy.names, -1)
            if count < 0:
                count = luck.randint(0, len(each.pending))
            for number, change in enumerate(each.pending):
                change.done = number < count

    def _sync(self, node: _Node | None) -> None:
        if isinstance(node, _File):
            node.durable = bytes(node.live)
        elif isinstance(node, _Folder):
            node.durable = dict(node.live)
            for change in node.pending:
                change.done = True
            node.pending = []

    def _change(
        self, folder: _Folder, names: dict[str, _Node | None], needs: _Change | None = None
    ) -> _Change:
        change = _Change(names, needs)
        folder.pending.append(change)
        for name, node in names.items():
            if node is None:
                folder.live.pop(name, None)
            else:
                folder.live[name] = node
        return change

    def _rename(self, folder: _Folder, name: str, target: list[str]) -> None:
        node, end = folder.live.get(name), self._folder(target[:-1])
        if node is None or end is None:
            return
        if end is folder:
            self._change(folder, {name: None, target[-1]: node})
        else:  # a file system moves in one step: it never vanishes before it has appeared
            self._change(folder, {name: None}, self._change(end, {target[-1]: node}))

    def _names(self, path: str) -> list[str]:
        return list(Path(path).relative_to(self._prefix).parts)

    def _folder(self, names: list[str]) -> _Folder | None:
        node = self._node(names)
        return node if isinstance(node, _Folder) else None

    def _node(self, names: list[str]) -> _Node | None:
        node: _Node | None = self._root
        for name in names:
            node = node.live.get(name) if isinstance(node, _Folder) else None
        return node


def _scan(path: Path) -> _Node:
    if not path.is_dir():
        raw = path.read_bytes()
        return _File(raw, bytearray(raw))
    children = {entry.name: _scan(entry) for entry in path.iterdir() if entry.name != ".cache"}
    return _Folder(dict(children), dict(children))


def _folders(folder: _Folder) -> Iterator[_Folder]:
    """Every folder that may be on the disk, each once."""
    seen: set[int] = set()
    waiting = [folder]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        nodes = [*each.durable.values(), *each.live.values()]
        nodes += [n for change in each.pending for n in change.names.values() if n is not None]
        waiting += [n for n in nodes if isinstance(n, _Folder)]


def _walk(
    folder: _Folder, place: str, policy: Policy, luck: random.Random
) -> Iterator[tuple[str, bytes | None]]:
    names = dict(folder.durable)
    for change in folder.pending:
        if not change.done or (change.needs is not None and not change.needs.done):
            continue
        for name, node in change.names.items():
            if node is None:
                names.pop(name, None)
            else:
                names[name] = node
    for name, node in names.items():
        path = f"{place}/{name}" if place else name
        if isinstance(node, _Folder):
            yield path, None
            yield from _walk(node, path, policy, luck)
        else:
            yield path, _content(node, policy, luck)


def _content(file: _File, policy: Policy, luck: random.Random) -> bytes:
    live = bytes(file.live)
    if live == file.durable:
        return live
    data = policy.data
    if data == "some":
        data = luck.choice(("lost", "zeros", "all", "cut"))
    # What was safe at the start of the file and is still the same there stays.
    common = _common(live, file.durable)
    if data == "lost":
        return file.durable
    if data == "zeros":
        return live[:common] + bytes(len(live) - common)
    if data == "cut":
        return live[: luck.randint(common, len(live))]
    return live


def _common(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    if one.startswith(other):
        return len(other)
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


def write_tree(root: Path, tree: dict[str, bytes | None]) -> None:
    """Make *tree* real below the folder *root*; what is there stays."""
    for name, content in tree.items():
        path = root / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

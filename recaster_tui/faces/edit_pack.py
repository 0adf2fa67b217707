"""Edits of a ``faceset.pak``: see :mod:`recaster_tui.faces.edits`.

A pack has its index in front, so every edit writes a new one beside it and puts it in place in one
step. An operation is a pair of recipes, each of which says how to make one pack out of the other.
"""

import contextlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recaster_tui.errors import BadInputError, RecasterError
from recaster_tui.faces.catalog_source import pack_names
from recaster_tui.faces.codec import compose_face, read_jpeg_face
from recaster_tui.faces.edit_folder import check_jpeg, check_renames, faces_text, remove_torn
from recaster_tui.faces.edit_journal import OLD, Journal, Operation
from recaster_tui.faces.edit_moves import free
from recaster_tui.faces.edit_records import Record, make_record
from recaster_tui.faces.face import Face
from recaster_tui.faces.pack import (
    PackReader,
    config_bytes,
    join_configs,
    pack_config,
    write_pack_file,
)
from recaster_tui.faces.pickling import dumps
from recaster_tui.faces.unpickle import PACK_RULES, restricted_loads
from recaster_tui.files import fsync_dir, write_atomic

_PIECE = 4 << 20


@dataclass(frozen=True)
class _Entry:
    """A face of the new pack.

    Attributes:
        source: its number in the present pack, None for one that comes in.
        config: what the index says of it, None = as before.
        record: how its JPEG changes, None = not at all.
        file: name in the trash of one that comes in.
    """

    source: int | None
    config: Mapping[str, Any] | None = None
    record: Record | None = None
    file: str = ""


class PackEdits:
    """Edits of a pack. Called with the journal locked."""

    def __init__(self, path: Path, journal: Journal) -> None:
        self.path = path
        self.journal = journal
        self.trash_folder = journal.trash

    # --- edits ------------------------------------------------------------------------------

    def trash(self, names: Sequence[str], reason: str) -> Operation | None:
        """See ``FaceEdits.trash``."""
        with self._open() as reader:
            numbers = self._numbers(reader)
            chosen = {numbers[name]: name for name in names if name in numbers}
            if not chosen:
                return None
            if len(chosen) == len(reader):
                raise BadInputError(
                    "a pack cannot be empty", where=self.path, hint="leave one face in it"
                )
            out, origins, taken = {}, {}, set[Path]()
            for i, name in sorted(chosen.items()):
                wanted = self.trash_folder / name.replace("/", "-")
                target = free(wanted, lambda p: p in taken or os.path.lexists(p))
                taken.add(target)
                out[i], origins[target.name] = target.name, name
            entries = [_Entry(i) for i in range(len(reader)) if i not in chosen]
            words = f"moved {faces_text(len(out))} to the trash"
            words += f": {reason}" if reason else ""
            return self._apply(reader, entries, out, words, len(out), origins=origins)

    def restore(self, names: Sequence[str], origins: Mapping[str, str]) -> Operation | None:
        """See ``FaceEdits.restore``."""
        if not names:
            return None
        with self._open() as reader:
            taken = set(pack_names(reader))
            entries = [_Entry(i) for i in range(len(reader))]
            for name in names:
                path = self._in_trash(name)
                if not path.is_file():
                    raise BadInputError(f"{name!r} is not in the trash", where=self.trash_folder)
                wanted = origins.get(name, name)
                person, _, last = wanted.rpartition("/")
                final = free(Path(last), lambda p, at=person: _full(at, p.name) in taken)  # type: ignore[misc]
                taken.add(_full(person, final.name))
                data = path.read_bytes()
                config = self._old_config(name)
                if config is None:
                    face, _ = read_jpeg_face(_reader(data), len(data), path, final.name)
                    config = pack_config(face, data)
                config |= {"filename": final.name, "person_name": person or None}
                entries.append(_Entry(None, config, file=name))
            words = f"restored {faces_text(len(names))} from the trash"
            return self._apply(reader, entries, {}, words, len(names))

    def rename(self, pairs: Sequence[tuple[str, str]], words: str) -> Operation | None:
        """See ``FaceEdits.rename``. A pack in the order of its names stays in that order."""
        with self._open() as reader:
            names = pack_names(reader)
            numbers = {name: i for i, name in enumerate(names)}
            changed = {old: new for old, new in pairs if old != new}
            after = [changed.get(name, name) for name in names]
            for old, new in pairs:
                if old not in numbers:
                    raise BadInputError(f"there is no face {old!r}", where=self.path)
                if old.rpartition("/")[0] != new.rpartition("/")[0]:
                    raise BadInputError(f"{old!r} cannot become another person's", where=self.path)
                check_renames([(old.rpartition("/")[2], new.rpartition("/")[2])], self.path)
            if len(set(after)) != len(after):
                twice = next(name for name in after if after.count(name) > 1)
                raise BadInputError(
                    f"{twice!r} exists already", where=self.path, hint="nothing was renamed"
                )
            if len({old for old, _ in pairs}) != len(pairs):
                raise BadInputError("a name comes twice", where=self.path)
            order = list(range(len(names)))
            if names == sorted(names):
                order.sort(key=after.__getitem__)
            entries = []
            for i in order:
                config = None
                if after[i] != names[i]:
                    config = {**reader.config(i), "filename": after[i].rpartition("/")[2]}
                entries.append(_Entry(i, config))
            if not changed:
                return None
            text = words or f"renamed {faces_text(len(changed))}"
            return self._apply(reader, entries, {}, text, len(changed))

    def batch(self, words: str) -> "PackBatch":
        """See ``FaceEdits.batch``."""
        return PackBatch(self, words)

    def rewrite(self, changes: Mapping[str, bytes], words: str) -> Operation | None:
        """Replace the JPEGs of faces (name -> new one) and what the index says of them."""
        with self._open() as reader:
            numbers = self._numbers(reader)
            new: dict[int, _Entry] = {}
            for name, data in changes.items():
                i = numbers[name]
                old = reader.jpeg(i)
                if old == data:
                    continue
                face, _ = read_jpeg_face(_reader(data), len(data), self.path, reader.name(i))
                face = replace(face, person=reader.person(i))
                config = {**reader.config(i), **pack_config(face, data)}
                for key in ("filename", "person_name"):
                    config[key] = reader.config(i).get(key)
                new[i] = _Entry(i, config, make_record(name, old, data))
            if not new:
                return None
            entries = [new.get(i) or _Entry(i) for i in range(len(reader))]
            return self._apply(reader, entries, {}, words, len(new))

    # --- undo, redo, recovery ---------------------------------------------------------------

    def undo(self, operation: Operation) -> str:
        """Take a done operation back."""
        self._run(operation, "back", first=False)
        return ""

    def redo(self, operation: Operation) -> str:
        """Do an undone operation again."""
        self._run(operation, "do", first=False)
        return ""

    def recover(self, operation: Operation) -> str:
        """End an operation that a crash interrupted; says how."""
        forward = operation.way == "do"
        temporary = self._temporary(operation)
        try:
            if operation.phase >= 1 and not temporary.exists():
                self._finish(operation, operation.way)
                return "it was completed" if forward else "it was taken back"
            self._abandon(operation)
        except OSError as error:
            raise self.journal.problem(error) from error
        return "it was taken back" if forward else "it was not undone"

    def _run(self, operation: Operation, way: str, *, first: bool) -> None:
        expected = operation.data["before" if way == "do" else "after"]
        with self._open() as reader:
            if _fingerprint(reader) != expected:
                raise BadInputError("the pack has been changed by something else", where=self.path)
            self._check_trash(operation, way)
            if not first:
                self.journal.mark(operation, 0, way, complete=way == "back")
            try:
                self._copy_out(reader, operation, way)
                self._write(reader, operation, way)
                self.journal.mark(operation, 1, way, complete=way == "back")
                self._temporary(operation).replace(self.path)
                with contextlib.suppress(OSError):
                    fsync_dir(self.path.parent)
                self._finish(operation, way)
            except OSError as error:
                self.recover(operation)
                raise self.journal.problem(error) from error
            except RecasterError:
                self.recover(operation)
                raise

    def _check_trash(self, operation: Operation, way: str) -> None:
        come, go = ("in", "out") if way == "do" else ("out", "in")
        for _, name in operation.data[come]:
            if not self._in_trash(name).is_file():
                raise BadInputError(f"{name} is no longer in the trash", where=self.trash_folder)
        for _, name in operation.data[go]:
            if os.path.lexists(self._in_trash(name)):
                raise BadInputError(f"the trash has another {name} by now", where=self.trash_folder)

    def _copy_out(self, reader: PackReader, operation: Operation, way: str) -> None:
        for number, name in operation.data["out" if way == "do" else "in"]:
            write_atomic(self._in_trash(name), reader.jpeg(number))

    def _finish(self, operation: Operation, way: str) -> None:
        """The new pack is in place: what it took from the trash goes from there."""
        for _, name in operation.data["in" if way == "do" else "out"]:
            self._in_trash(name).unlink(missing_ok=True)
        ended = "done" if way == "do" else "undone"
        self.journal.append({"id": operation.number, "end": ended})

    def _abandon(self, operation: Operation) -> None:
        """The old pack is still in place: copies and the new one go."""
        self._temporary(operation).unlink(missing_ok=True)
        forward = operation.way == "do"
        if self.path.is_file():  # else somebody took the pack away; then the copies stay
            self._remove_copies(operation.data["out" if forward else "in"])
        line: dict[str, Any] = {"id": operation.number, "end": "undone" if forward else "done"}
        if forward:
            line["dropped"] = not operation.data.get("again", False)
        self.journal.append(line)

    def _remove_copies(self, copies: Sequence[tuple[int, str]]) -> None:
        with self._open() as reader:
            for number, name in copies:
                path = self._in_trash(name)
                remove_torn(self.trash_folder, name)
                if path.is_file() and path.read_bytes() == reader.jpeg(number):
                    path.unlink()

    # --- recipes ----------------------------------------------------------------------------

    def _apply(
        self,
        reader: PackReader,
        entries: Sequence[_Entry],
        out: Mapping[int, str],
        words: str,
        count: int,
        **data: Any,
    ) -> Operation:
        """Write down how to make the new pack of *entries*, and how to go back; then do it.

        Args:
            reader: the present pack.
            entries: of the new one.
            out: number in the present pack -> name in the trash, of those that leave it.
            words, count, data: for the journal.
        """
        blobs = bytearray()
        configs: list[Mapping[str, Any]] = []

        def config(value: Mapping[str, Any]) -> int:
            configs.append(value)
            return len(configs) - 1

        def head(raw: bytes) -> list[int]:
            blobs.extend(raw)
            return [len(blobs) - len(raw), len(raw)]

        forward: list[Any] = []
        place: dict[int, int] = {}
        for position, entry in enumerate(entries):
            if entry.source is None:
                forward.append({"c": config(entry.config or {}), "file": entry.file})
                continue
            place[entry.source] = position
            forward.append(_item(entry.source, entry, config, head, new=True, old_config=None))
        backward: list[Any] = []
        for i in range(len(reader)):
            if i in out:
                backward.append({"c": config(reader.config(i)), "file": out[i]})
                continue
            entry = entries[place[i]]
            old = reader.config(i) if entry.config is not None else None
            backward.append(_item(place[i], entry, config, head, new=False, old_config=old))
        number = self.journal.next_number
        folder = self.trash_folder / OLD
        try:
            write_atomic(folder / f"{number}.configs", dumps(configs, protocol=4))
            write_atomic(folder / f"{number}.bin", bytes(blobs))
        except OSError as error:
            raise self.journal.problem(error) from error
        sizes = self._sizes(reader, _joined(forward))
        names = [str((e.config or reader.config(e.source or 0)).get("filename")) for e in entries]
        recipe = {
            "do_recipe": _joined(forward),
            "back_recipe": _joined(backward),
            "out": [[i, name] for i, name in out.items()],
            "in": [[p, e.file] for p, e in enumerate(entries) if e.source is None],
            "before": _fingerprint(reader),
            "after": _print(names, sizes),
        }
        operation = self.journal.begin("pack", words, count, {**recipe, **data})
        self._run(operation, "do", first=True)
        return operation

    def _write(self, reader: PackReader, operation: Operation, way: str) -> None:
        items = operation.data[f"{way}_recipe"]
        stored = (self.trash_folder / OLD / f"{operation.number}.bin").read_bytes()
        configs = self._configs(operation)
        index = []
        for item in items:
            if isinstance(item, list):
                index += [config_bytes(reader.config(i)) for i in range(item[0], sum(item))]
            else:
                value = configs[item["c"]] if "c" in item else reader.config(item["from"])
                index.append(config_bytes(value))
        sizes = self._sizes(reader, items)
        with self._temporary(operation).open("wb") as file:
            os.fchmod(file.fileno(), self.path.stat().st_mode & 0o777)
            pieces = self._pieces(reader, items, stored)
            write_pack_file(file, join_configs(index), sizes, pieces)

    def _sizes(self, reader: PackReader, items: Sequence[Any]) -> list[int]:
        sizes = []
        for item in items:
            if isinstance(item, list):
                sizes += [reader.place(i).size for i in range(item[0], sum(item))]
            elif "file" in item:
                sizes.append(self._in_trash(item["file"]).stat().st_size)
            elif "head" in item:
                sizes.append(item["head"][1] + item["tail"])
            else:
                sizes.append(reader.place(item["from"]).size)
        return sizes

    def _pieces(self, reader: PackReader, items: Sequence[Any], stored: bytes) -> Iterator[bytes]:
        for item in items:
            if isinstance(item, list):
                for i in range(item[0], sum(item)):
                    yield from _blob(reader, i, 0)
            elif "file" in item:
                yield self._in_trash(item["file"]).read_bytes()
            elif "head" in item:
                offset, size = item["head"]
                yield stored[offset : offset + size]
                yield from _blob(
                    reader, item["from"], reader.place(item["from"]).size - item["tail"]
                )
            else:
                yield from _blob(reader, item["from"], 0)

    def _configs(self, operation: Operation) -> list[dict[str, Any]]:
        path = self.trash_folder / OLD / f"{operation.number}.configs"
        value = restricted_loads(path.read_bytes(), PACK_RULES)
        if not isinstance(value, list):
            raise BadInputError("what undoing needs is damaged", where=path)
        return value

    def _old_config(self, name: str) -> dict[str, Any] | None:
        """What the index said of a face that went to the trash."""
        for operation in reversed(self.journal.operations):
            if operation.kind != "pack" or operation.ended != "done":
                continue
            for item in operation.data["back_recipe"]:
                if isinstance(item, dict) and item.get("file") == name:
                    return dict(self._configs(operation)[item["c"]])
        return None

    def _open(self) -> PackReader:
        return PackReader(self.path)

    def _numbers(self, reader: PackReader) -> dict[str, int]:
        return {name: i for i, name in enumerate(pack_names(reader))}

    def _temporary(self, operation: Operation) -> Path:
        return self.path.with_name(f".{self.path.name}.recaster-{operation.number}.tmp")

    def _in_trash(self, name: str) -> Path:
        # The journal may come from a stranger: it cannot lead out of the trash folder.
        if not name or "/" in name or "\0" in name or name in (".", ".."):
            raise BadInputError(f"{name!r} is not the name of a face", where=self.trash_folder)
        return self.trash_folder / name


class PackBatch:
    """Collects changes; the pack is written once, when the batch ends."""

    def __init__(self, edits: PackEdits, words: str) -> None:
        self._edits = edits
        self._words = words
        self._reader = PackReader(edits.path)
        self._numbers = {name: i for i, name in enumerate(pack_names(self._reader))}
        self._changes: dict[str, bytes] = {}

    def replace_metadata(self, name: str, face: Face) -> None:
        """See ``FaceEdits.replace_metadata``."""
        number = self._number(name)
        present = self._changes.get(name) or self._reader.jpeg(number)
        self._changes[name] = compose_face(present, face, where=self._edits.path)

    def replace_file(self, name: str, data: bytes) -> None:
        """See ``FaceEdits.replace_file``."""
        self._number(name)
        check_jpeg(data, self._edits.path)
        read_jpeg_face(_reader(data), len(data), self._edits.path, name)
        self._changes[name] = data

    def finish(self) -> Operation | None:
        """Write the pack; None where nothing was changed."""
        self._reader.close()
        return self._edits.rewrite(self._changes, self._words) if self._changes else None

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            raise BadInputError(f"there is no face {name!r}", where=self._edits.path)
        return self._numbers[name]


def _item(
    source: int,
    entry: _Entry,
    config: Callable[[Mapping[str, Any]], int],
    head: Callable[[bytes], list[int]],
    *,
    new: bool,
    old_config: Mapping[str, Any] | None,
) -> Any:
    """A step of a recipe: the number of the face, or what changes about it."""
    wanted = entry.config if new else old_config
    if wanted is None and entry.record is None:
        return source
    item: dict[str, Any] = {"from": source}
    if wanted is not None:
        item["c"] = config(wanted)
    if entry.record is not None:
        item["head"] = head(entry.record.new if new else entry.record.old)
        item["tail"] = entry.record.tail_size
    return item


def _joined(items: Sequence[Any]) -> list[Any]:
    """Runs of unchanged faces as [first, how many]."""
    joined: list[Any] = []
    for item in items:
        if not isinstance(item, int):
            joined.append(item)
        elif joined and isinstance(joined[-1], list) and sum(joined[-1]) == item:
            joined[-1][1] += 1
        else:
            joined.append([item, 1])
    return joined


def _blob(reader: PackReader, number: int, start: int) -> Iterator[bytes]:
    size = reader.place(number).size
    for position in range(start, size, _PIECE):
        yield reader.read(number, _PIECE, position)


def _fingerprint(reader: PackReader) -> int:
    names = [str(reader.config(i).get("filename")) for i in range(len(reader))]
    return _print(names, [reader.place(i).size for i in range(len(reader))])


def _print(names: Sequence[str], sizes: Sequence[int]) -> int:
    lines = "\n".join(f"{name}\t{size}" for name, size in zip(names, sizes, strict=True))
    return zlib.crc32(lines.encode("utf-8", "surrogatepass"))


def _full(person: str, name: str) -> str:
    return f"{person}/{name}" if person else name


def _reader(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, count: data[offset : offset + count]

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from catalog_kit import (
    contents,
    litter,
    make_face,
    make_folder,
    make_pack,
    outlined,
    pictures,
    state,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from recaster_tui.errors import BadInputError, EnvironmentProblem, RecasterError
from recaster_tui.faces.catalog import Catalog
from recaster_tui.faces.codec import read_face
from recaster_tui.faces.edits import FaceEdits
from recaster_tui.faces.face import FaceFileError

KINDS = ("folder", "pack", "persons")


def make(tmp_path: Path, kind: str, count: int = 4) -> Path:
    folder = tmp_path / "data_src" / "aligned"
    folder.parent.mkdir(parents=True)
    if kind == "folder":
        return make_folder(folder, count)
    return make_pack(folder, count, persons=kind == "persons")


def names(folder: Path) -> list[str]:
    return [name for name, _ in contents(folder)]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECASTER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "fsync", lambda _: None)  # no power cuts here, and much faster


# --- everything can be undone ---------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_edit_can_be_undone_and_done_again_by_another_process(
    tmp_path: Path, kind: str
) -> None:
    folder = make(tmp_path, kind)
    states = [state(folder)]

    def face(number: int, x: float) -> Any:
        catalog = Catalog.open(folder)
        return outlined(catalog.face(number), x)

    a, _, c, _ = names(folder)
    person = a.rpartition("/")[0] + "/" if "/" in a else ""
    FaceEdits(folder).trash([a, c], "blurred")
    states.append(state(folder))
    FaceEdits(folder).replace_metadata(names(folder)[0], face(0, 7.0))
    states.append(state(folder))
    FaceEdits(folder).restore(FaceEdits(folder).trashed()[:1])
    states.append(state(folder))
    FaceEdits(folder).rename({a: f"{person}90000_0.jpg"})
    states.append(state(folder))
    other = make_face(tmp_path / "other.jpg", 77)
    FaceEdits(folder).replace_file(names(folder)[-1], other.path.read_bytes())
    states.append(state(folder))
    assert len({json.dumps(s) for s in states}) == len(states)

    for before in reversed(states[:-1]):
        said = FaceEdits(folder).undo()
        assert said is not None and said.startswith("undone: ")
        assert state(folder) == before
    assert FaceEdits(folder).undo() is None
    for after in states[1:]:
        assert FaceEdits(folder).redo()
        assert state(folder) == after
    assert FaceEdits(folder).redo() is None
    assert litter(folder) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_metadata_edit_keeps_the_picture_byte_for_byte(tmp_path: Path, kind: str) -> None:
    folder = make(tmp_path, kind)
    before = pictures(folder)
    catalog = Catalog.open(folder)
    edits = FaceEdits(folder)
    face = outlined(catalog.face(1), 5.5)
    info = edits.replace_metadata(catalog.names[1], face)
    assert info and info.count == 1
    assert pictures(folder) == before
    again = catalog.reopened()
    assert again.face(1).polygons[0].points.tolist()[0] == [5.5, 1.0]
    # The same once more is no edit.
    assert edits.replace_metadata(catalog.names[1], again.face(1)) is None
    assert len(edits.history()) == 1


def test_swapping_names(tmp_path: Path) -> None:
    folder = make(tmp_path, "folder")
    before = dict(contents(folder))
    a, b, c, d = before
    FaceEdits(folder).rename([(a, b), (b, c), (c, a)], "sorted by yaw")
    assert dict(contents(folder)) == {b: before[a], c: before[b], a: before[c], d: before[d]}
    assert FaceEdits(folder).undo() == "undone: sorted by yaw"
    assert dict(contents(folder)) == before


def test_a_batch_is_one_edit(tmp_path: Path) -> None:
    for kind in KINDS:
        folder = make(tmp_path / kind, kind)
        before = state(folder)
        catalog = Catalog.open(folder)
        edits = FaceEdits(folder)
        with edits.batch("applied a mask") as batch:
            for i, name in enumerate(catalog.names):
                batch.replace_metadata(name, outlined(catalog.face(i), i + 1.0))
        assert [(e.words, e.count) for e in edits.history()] == [("applied a mask", 4)]
        assert [len(catalog.reopened().face(i).polygons) for i in range(4)] == [1] * 4
        edits.undo()
        assert state(folder) == before


def test_clashes_in_trash_and_folder_get_another_name(tmp_path: Path) -> None:
    folder = make(tmp_path, "folder")
    first = names(folder)[0]
    edits = FaceEdits(folder)
    edits.trash([first])
    make_face(folder / first, 50)
    edits.trash([first])
    assert edits.trashed() == [f"{first[:-4]}-2.jpg", first]
    make_face(folder / first, 51)
    edits.restore(edits.trashed())
    assert f"{first[:-4]}-2.jpg" in names(folder)
    assert f"{first[:-4]}-3.jpg" in names(folder)
    # The place is taken when the edit is undone: nothing is overwritten, and it is said.
    edits.undo()
    edits.trash([first])
    make_face(folder / first, 52)
    everything = pictures(folder)
    said = edits.undo()
    assert said and "another name" in said
    assert pictures(folder) == everything
    assert edits.redo() is None


def test_what_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    folder = make(tmp_path, "folder")
    name = names(folder)[0]
    edits = FaceEdits(folder)
    edits.replace_metadata(name, outlined(read_face(folder / name), 3.0))
    make_face(folder / name, 60)
    mine = (folder / name).read_bytes()
    said = edits.undo()
    assert said and "changed since" in said
    assert (folder / name).read_bytes() == mine


def test_files_that_are_gone_are_left_out(tmp_path: Path) -> None:
    folder = make(tmp_path, "folder")
    a, b, *_ = names(folder)
    (folder / a).unlink()
    info = FaceEdits(folder).trash([a, b])
    assert info and info.count == 1
    assert FaceEdits(folder).trash([a, b]) is None


def test_names_that_are_no_text(tmp_path: Path) -> None:
    folder = make(tmp_path, "folder")
    odd = os.fsdecode(b"caf\xe9 \xff.jpg")
    (folder / names(folder)[0]).rename(folder / odd)
    before = state(folder)
    edits = FaceEdits(folder)
    edits.trash([odd])
    edits.undo()
    edits.rename({odd: "plain.jpg"})
    edits.undo()
    edits.replace_metadata(odd, outlined(read_face(folder / odd), 2.0))
    assert FaceEdits(folder).undo()
    assert state(folder) == before


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../x.jpg", "", "..", "a/b.jpg", "x\0.jpg", ".hidden.jpg", "x.png", "é" * 130 + ".jpg"],
    ids=["up", "none", "dots", "folder", "nul", "hidden", "png", "long"],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path, "folder")
    edits = FaceEdits(folder)
    before = state(folder)
    with pytest.raises(BadInputError):
        edits.rename({names(folder)[0]: name})
    with pytest.raises(BadInputError):
        edits.restore([name])
    if "/" in name or not name.strip("."):
        with pytest.raises(BadInputError):
            edits.trash([name])
    assert state(folder) == before
    assert edits.history() == []


@pytest.mark.parametrize("kind", KINDS)
def test_impossible_edits_change_nothing(tmp_path: Path, kind: str) -> None:
    folder = make(tmp_path, kind)
    a, b, *_ = names(folder)
    person = a.rpartition("/")[0] + "/" if "/" in a else ""
    edits = FaceEdits(folder)
    before = state(folder)
    for pairs in (
        [(a, b)],
        [(a, f"{person}x.jpg"), (b, f"{person}x.jpg")],
        [(a, f"{person}x.jpg"), (a, f"{person}y.jpg")],
        [(f"{person}none.jpg", f"{person}y.jpg")],
        [(a, "somebody/x.jpg")],
    ):
        with pytest.raises(BadInputError):
            edits.rename(pairs)
    for data in (b"", b"no picture", (make_face(tmp_path / "x.jpg", 1).path).read_bytes()[:-9]):
        with pytest.raises(FaceFileError):
            edits.replace_file(a, data)
    with pytest.raises(BadInputError):
        edits.replace_metadata("none.jpg", Catalog.open(folder).face(0))
    assert state(folder) == before
    assert edits.history() == []
    assert litter(folder) == []


@pytest.mark.parametrize(
    "lines",
    [
        [{"do": "moves"}],
        [{"do": "moves", "phases": 5}],
        [{"do": "moves", "phases": [["to", [["f/a"]]]]}, {"end": "done"}],
        [{"do": "moves", "phases": [["to", []]]}, {"phase": 99, "way": "do"}],
        [{"do": "pack"}],
        [{"do": "moves", "phases": [], "origins": {"x.jpg": 7}}, {"end": "done"}],
    ],
)
def test_a_journal_that_makes_no_sense_is_an_error_in_words(
    tmp_path: Path, lines: list[dict[str, Any]]
) -> None:
    folder, trash = tmp_path / "aligned", tmp_path / "aligned_trash"
    folder.mkdir()
    trash.mkdir()
    make_face(trash / "x.jpg", 1)
    lines[0] |= {"t": 1.0, "words": "w", "count": 1}
    texts = ["3", '["do"]', *(json.dumps({"id": 1, **line}) for line in lines)]
    (trash / "journal.jsonl").write_text("".join(text + "\n" for text in texts))
    edits = FaceEdits(folder)
    edits.history()
    for work in (edits.undo, edits.redo, lambda: edits.restore(["x.jpg"])):
        with contextlib.suppress(RecasterError):
            work()
    assert (trash / "x.jpg").is_file() != (folder / "x.jpg").is_file()


def test_a_hostile_journal_cannot_lead_out(tmp_path: Path) -> None:
    folder = make(tmp_path, "folder")
    victim = tmp_path / "data_src" / "precious.txt"
    victim.write_text("mine")
    trash = tmp_path / "data_src" / "aligned_trash"
    trash.mkdir()
    moves = [["f/../precious.txt", "t/x.jpg"], ["t/x.jpg", "f/../../../gone"]]
    lines = [
        {"id": 1, "t": 1, "do": "moves", "words": "w", "count": 1, "phases": [["to", moves]]},
        {"id": 1, "end": "done"},
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    (trash / "journal.jsonl").write_text(f"garbage\n[1]\n{text}\n")
    edits = FaceEdits(folder)
    with pytest.raises(RecasterError):
        edits.undo()
    assert victim.read_text() == "mine"
    assert len(names(folder)) == 4


def test_another_process_is_waited_for_then_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recaster_tui.faces import edit_journal

    monkeypatch.setattr(edit_journal, "_WAIT_SECONDS", 0.05)
    folder = make(tmp_path, "folder")
    with FaceEdits(folder).batch("mask"), pytest.raises(BadInputError, match="another process"):
        FaceEdits(folder).trash(names(folder)[:1])
    assert FaceEdits(folder).trash(names(folder)[:1])


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path, "folder")
    before = state(folder)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    edits = FaceEdits(folder)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(EnvironmentProblem, match="No space left"):
            edits.trash(names(folder)[:1])
    assert state(folder) == before
    assert edits.trash(names(folder)[:1])


# --- killed between any two system calls ----------------------------------------------------


class Killed(BaseException):
    """The process is dead: from now on nothing works."""


PATCHED = ("link", "unlink", "rename", "replace", "open", "write", "fsync", "mkdir")


class Reaper:
    """Lets *left* calls that may change a disk happen, then kills; a write then happens by half."""

    def __init__(self, patch: pytest.MonkeyPatch, left: int, error: OSError | None = None) -> None:
        self.left = left
        self.error = error
        self.calls = 0
        for name in PATCHED:
            patch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name: str, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if name == "open" and not args[1] & (os.O_WRONLY | os.O_RDWR):
                return real(*args, **kwargs)
            self.calls += 1
            self.left -= 1
            if self.left >= 0 or (self.error is not None and self.left < -1):
                return real(*args, **kwargs)
            if name == "write":
                real(args[0], bytes(args[1])[: len(args[1]) // 2])
            raise self.error or Killed

        return call


def trash_some(folder: Path) -> None:
    FaceEdits(folder).trash(names(folder)[:2])


def restore_some(folder: Path) -> None:
    FaceEdits(folder).restore(FaceEdits(folder).trashed())


def swap(folder: Path) -> None:
    a, b = names(folder)[:2]
    FaceEdits(folder).rename({a: b, b: a})


def outline_two(folder: Path) -> None:
    catalog = Catalog.open(folder)
    with FaceEdits(folder).batch("outlined two") as batch:
        for i in range(2):
            batch.replace_metadata(catalog.names[i], outlined(catalog.face(i), i + 2.0))


def undo(folder: Path) -> None:
    FaceEdits(folder).undo()


def redo(folder: Path) -> None:
    FaceEdits(folder).redo()


def between(folder: Path, before: Any, after: Any) -> bool:
    """Each face as before or as after; for a batch of metadata, which ends anywhere."""
    now, one, two = (dict(s) for s in (contents(folder), before[0], after[0]))
    return all(now[name] in (one[name], two[name]) for name in now) and now.keys() == one.keys()


SCENES = {
    "trash": ([], trash_some),
    "restore": ([trash_some], restore_some),
    "rename": ([], swap),
    "metadata": ([], outline_two),
    "undo trash": ([trash_some], undo),
    "undo restore": ([trash_some, restore_some], undo),
    "undo rename": ([swap], undo),
    "undo metadata": ([outline_two], undo),
    "redo trash": ([trash_some, undo], redo),
    "redo rename": ([swap, undo], redo),
    "redo metadata": ([outline_two, undo], redo),
}


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("scene", SCENES)
def test_killed_at_any_system_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scene: str, kind: str
) -> None:
    first, act = SCENES[scene]
    point = 0
    ended = False
    while not ended:
        folder = make(tmp_path / str(point), kind)
        beginning = state(folder)
        everything = pictures(folder)
        for step in first:
            step(folder)
        before = state(folder)
        with monkeypatch.context() as patch:
            Reaper(patch, point)
            try:
                act(folder)
                ended = True
            except Killed:
                pass
        with monkeypatch.context() as patch:
            Reaper(patch, point * 5 % 11)
            with contextlib.suppress(Killed):
                FaceEdits(folder)  # the next start, which may be killed as well
        FaceEdits(folder)
        now = state(folder)
        assert pictures(folder) == everything, point
        assert litter(folder) == [], point
        if now != before:
            after = _after(tmp_path, kind, first, act)
            if "metadata" in scene:
                assert between(folder, before, after), point
            else:
                assert now == after, point
        while FaceEdits(folder).undo():
            pass
        assert state(folder) == beginning, point
        point += 1
    assert point > 8


_known: dict[tuple[str, str], Any] = {}


def _after(tmp_path: Path, kind: str, first: list[Any], act: Any) -> Any:
    key = (str(tmp_path), kind)
    if key not in _known:
        folder = make(tmp_path / "whole", kind)
        for step in (*first, act):
            step(folder)
        _known[key] = state(folder)
    return _known[key]


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("scene", ["trash", "restore", "rename", "metadata", "undo rename"])
def test_a_failing_system_call_is_told_and_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scene: str, kind: str
) -> None:
    first, act = SCENES[scene]
    point = 0
    ended = False
    while not ended:
        folder = make(tmp_path / str(point), kind)
        beginning = state(folder)
        everything = pictures(folder)
        for step in first:
            step(folder)
        with monkeypatch.context() as patch:
            # Settling the folder itself may fail without harm: then the edit simply happens.
            reaper = Reaper(patch, point, OSError(5, "Input/output error"))
            try:
                act(folder)
                ended = reaper.calls <= point
            except RecasterError as error:
                assert "Input/output error" in str(error)
        FaceEdits(folder)
        assert pictures(folder) == everything, point
        while FaceEdits(folder).undo():
            pass
        assert state(folder) == beginning, point
        assert litter(folder) == [], point
        point += 1


# --- random edits ---------------------------------------------------------------------------


class Editing(RuleBasedStateMachine):
    """Whatever is done: no picture is lost or made, and undoing leads back step by step."""

    kind = "folder"

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(os, "fsync", lambda _: None)
        self.patch.setenv("RECASTER_HOME", os.devnull)
        self.temporary = tempfile.TemporaryDirectory()

    @initialize(count=st.integers(3, 5))
    def begin(self, count: int) -> None:
        self.folder = make(Path(self.temporary.name), self.kind, count)
        self.pictures = pictures(self.folder)
        self.states = [state(self.folder)]
        self.at = 0
        self.fresh = 100

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            while FaceEdits(self.folder).undo():
                self.at -= 1
                assert state(self.folder) == self.states[self.at]
            assert self.at == 0
        self.patch.undo()
        self.temporary.cleanup()

    def done(self, info: object) -> None:
        if info is None:
            assert state(self.folder) == self.states[self.at]
            return
        self.states[self.at + 1 :] = [state(self.folder)]
        self.at += 1

    def some(self, data: st.DataObject, of: list[str], most: int) -> list[str]:
        return data.draw(st.lists(st.sampled_from(of), min_size=1, max_size=most, unique=True))

    @rule(data=st.data())
    def trash(self, data: st.DataObject) -> None:
        there = names(self.folder)
        if len(there) > 1:
            self.done(FaceEdits(self.folder).trash(self.some(data, there, len(there) - 1), "why"))

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        trashed = FaceEdits(self.folder).trashed()
        if trashed:
            self.done(FaceEdits(self.folder).restore(self.some(data, trashed, 5)))

    @rule(data=st.data())
    def rename(self, data: st.DataObject) -> None:
        chosen = self.some(data, names(self.folder), 5)
        last = [name.rpartition("/") for name in chosen]
        new = data.draw(st.permutations([x[2] for x in last]))
        if data.draw(st.booleans()):
            self.fresh += 1
            new[0] = f"{self.fresh}.jpg"
        pairs = [
            (old, f"{person}{slash}{name}")
            for old, (person, slash, _), name in zip(chosen, last, new, strict=True)
        ]
        try:
            info = FaceEdits(self.folder).rename(pairs)
        except BadInputError:  # two persons' faces got one name
            assert self.kind == "persons"
            info = None
        self.done(info)

    @rule(data=st.data(), x=st.floats(0, 40, width=32))
    def outline(self, data: st.DataObject, x: float) -> None:
        catalog = Catalog.open(self.folder)
        with FaceEdits(self.folder).batch("outlined") as batch:
            before = contents(self.folder)
            for name in self.some(data, catalog.names, 3):
                index = catalog.index(name)
                assert index is not None
                batch.replace_metadata(name, outlined(catalog.face(index), x))
        changed = contents(self.folder) != before
        self.done(changed or None)

    @rule(data=st.data(), x=st.floats(0, 40, width=32))
    def replace(self, data: st.DataObject, x: float) -> None:
        catalog = Catalog.open(self.folder)
        name = data.draw(st.sampled_from(catalog.names))
        index = catalog.index(name)
        assert index is not None
        path = Path(self.temporary.name) / "new.jpg"
        path.write_bytes(catalog.jpeg(index))
        from recaster_tui.faces.codec import compose_face

        data_new = compose_face(path.read_bytes(), outlined(catalog.face(index), x))
        self.done(FaceEdits(self.folder).replace_file(name, data_new))

    @precondition(lambda self: self.at > 0)
    @rule()
    def undo(self) -> None:
        assert FaceEdits(self.folder).undo()
        self.at -= 1
        assert state(self.folder) == self.states[self.at]

    @precondition(lambda self: self.at + 1 < len(self.states))
    @rule()
    def redo(self) -> None:
        assert FaceEdits(self.folder).redo()
        self.at += 1
        assert state(self.folder) == self.states[self.at]

    @invariant()
    def nothing_lost(self) -> None:
        if hasattr(self, "folder"):
            assert pictures(self.folder) == self.pictures
            assert litter(self.folder) == []


class EditingPack(Editing):
    kind = "pack"


class EditingPersons(Editing):
    kind = "persons"


_SETTINGS = settings(
    max_examples=12,
    stateful_step_count=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestEditing = Editing.TestCase
TestEditing.settings = _SETTINGS
TestEditingPack = EditingPack.TestCase
TestEditingPack.settings = _SETTINGS
TestEditingPersons = EditingPersons.TestCase
TestEditingPersons.settings = _SETTINGS

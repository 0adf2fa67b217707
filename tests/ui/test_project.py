"""The Project screen over real face files and a DeepFaceLab model folder."""

import os
import shutil
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted import NOW
from textual.pilot import Pilot
from textual.widgets import Input

from recaster_tui.files import write_toml
from recaster_tui.supervisor import Supervisor
from recaster_tui.ui import face_facts, recent
from recaster_tui.ui.app import RecasterApp
from recaster_tui.ui.model_facts import find_models
from recaster_tui.ui.screens.open_workspace import OpenScreen, completions
from recaster_tui.ui.screens.project import ProjectScreen
from recaster_tui.ui.screens.skipped import SkippedScreen
from recaster_tui.ui.widgets.faceset_view import FacesetView, pose_map, thumbnails
from recaster_tui.ui.widgets.panel import Lines
from recaster_tui.ui.widgets.project_tables import (
    ModelTable,
    RecentTable,
    SkippedTable,
    printable,
    short_path,
)
from recaster_tui.ui.widgets.workspace_view import WorkspaceView
from recaster_tui.workspace import Workspace, open_workspace

FACES = Path(__file__).parent.parent / "data" / "faces"
pictures = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="one baseline Python for pictures"
)


def build(root: Path) -> Workspace:
    """Four faces and three broken files each side, two of our models, one of DeepFaceLab's."""
    for side in ("src", "dst"):
        folder = root / f"data_{side}" / "aligned"
        folder.mkdir(parents=True)
        for face in FACES.glob("aligned_*.jpg"):
            shutil.copy(face, folder)
    bad = root / "data_dst" / "aligned"
    (bad / "zero.jpg").touch()
    (bad / "text.jpg").write_text("no picture")
    (bad / "oth\ner\x1b[31m.png").write_bytes(b"png")
    for number, kind in ((4000, "saehd"), (120, "quick96")):
        model = root / "model" / f"anna.{kind}"
        generation = model / "generations" / f"{number:09d}"
        generation.mkdir(parents=True)
        write_toml(generation / "state.toml", {"iteration": number, "format": 1})
        (generation / "weights.safetensors").write_bytes(bytes(3 * 2**20))
        (model / "CURRENT").write_text(generation.name + "\n")
        (model / "backups" / "one").mkdir(parents=True)
        os.utime(model / "CURRENT", (NOW - number, NOW - number))
    (root / "model" / "old_SAEHD_data.dat").write_bytes(b"a pickle that nobody opens")
    (root / "model" / "old_SAEHD_encoder.npy").write_bytes(bytes(2**20))
    (root / "model" / "old_SAEHD_summary.txt").write_text("== Current iteration: 654321 ==")
    os.utime(root / "model" / "old_SAEHD_data.dat", (NOW - 90_000, NOW - 90_000))
    (root / "runs" / ".cache").mkdir(parents=True)
    return open_workspace(root)


@pytest.fixture
def project(tmp_path: Path, frozen: None, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("HOME", str(tmp_path))
    usage = shutil._ntuple_diskusage(500 * 2**30, 380 * 2**30, 120 * 2**30)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    face_facts._known.clear()
    return build(tmp_path / "film")


def make_app(tmp_path: Path, workspace: Workspace | None) -> RecasterApp:
    supervisor = Supervisor(tmp_path / "data")
    return RecasterApp(workspace, supervisor=supervisor, watch=False, mode="project")


async def settle(pilot: Pilot[Any]) -> None:
    for _ in range(2):
        await pilot.pause()
        await pilot.app.workers.wait_for_complete()
        for screen in pilot.app.screen_stack:
            if isinstance(screen, ProjectScreen):
                screen._tick()
        await pilot.pause()
        await pilot.app.workers.wait_for_complete()


@pytest.fixture
async def live(
    tmp_path: Path, project: Workspace
) -> AsyncIterator[tuple[ProjectScreen, Pilot[int]]]:
    app = make_app(tmp_path, project)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert isinstance(app.screen, ProjectScreen)
        yield app.screen, pilot


def text_of(widget: Lines) -> str:
    size = widget.content_size
    return "\n".join(strip.text for strip in widget.lines(size.width, size.height))


def rows_of(table: Any) -> list[str]:
    return [table.render_line(i + 1).text for i in range(len(table.keys))]


async def test_the_screen_tells_what_is_there(live: tuple[ProjectScreen, Pilot[int]]) -> None:
    screen, _ = live
    source = text_of(screen.query_one("#faces-src", FacesetView))
    assert "4 faces" in source
    assert "skipped" not in source
    assert "▀" in source  # thumbnails
    assert any(0x2800 < ord(c) < 0x2900 for c in source)  # the map
    destination = text_of(screen.query_one("#faces-dst", FacesetView))
    assert "3 files skipped" in destination
    assert "1 empty" in destination
    models = rows_of(screen.query_one(ModelTable))
    assert [row.split()[0] for row in models] == ["anna", "anna", "old"]
    assert "120" in models[0]
    assert "3.0M" in models[0]
    assert "DFL" in models[2]
    assert "654,321" in models[2]
    about = text_of(screen.query_one(WorkspaceView))
    assert "~/film" in about
    assert "DeepFaceLab" in about
    assert "120G free" in about
    assert "none yet" in about  # runs: the cache is none
    assert "film" in rows_of(screen.query_one(RecentTable))[0]


async def test_skipped_files_are_listed_and_cannot_steer_the_terminal(
    live: tuple[ProjectScreen, Pilot[int]],
) -> None:
    _, pilot = live
    before = sorted(p for p in Path(os.environ["HOME"], "film").rglob("*"))
    await pilot.press("s")
    await settle(pilot)
    assert isinstance(pilot.app.screen, SkippedScreen)
    rows = "\n".join(rows_of(pilot.app.screen.query_one(SkippedTable)))
    for name in ("zero.jpg", "text.jpg", "oth�er�[31m.png"):
        assert name in rows
    assert "\x1b" not in rows
    await pilot.press("escape")
    assert sorted(p for p in Path(os.environ["HOME"], "film").rglob("*")) == before


async def test_new_faces_are_noticed(live: tuple[ProjectScreen, Pilot[int]]) -> None:
    screen, pilot = live
    folder = Path(os.environ["HOME"], "film", "data_src", "aligned")
    shutil.copy(FACES / "golden_00002_0.jpg", folder)
    screen._rescan()
    await settle(pilot)
    assert "5 faces" in text_of(screen.query_one("#faces-src", FacesetView))


async def test_another_workspace_by_path(
    live: tuple[ProjectScreen, Pilot[int]], tmp_path: Path
) -> None:
    screen, pilot = live
    (tmp_path / "other" / "src").mkdir(parents=True)
    (tmp_path / "nothing").mkdir()
    await pilot.press("o")
    await pilot.pause()
    assert isinstance(pilot.app.screen, OpenScreen)
    field = pilot.app.screen.query_one(Input)
    field.value = str(tmp_path / "noth")
    await pilot.press("tab", "enter")
    await pilot.pause()
    assert isinstance(pilot.app.screen, OpenScreen)  # it is none, and says so
    field.value = str(tmp_path) + "/"
    field.cursor_position = len(field.value)
    await pilot.press(*"oth", "tab", "enter")
    await settle(pilot)
    assert screen.recaster.workspace is not None
    assert screen.recaster.workspace.name == "other"
    text = text_of(screen.query_one("#faces-src", FacesetView))
    assert "no source faces in" in text
    assert "recaster demo" in text
    assert [item.path.name for item in recent.recent_workspaces()] == ["other", "film"]
    screen.query_one(RecentTable).focus()
    await pilot.press("end", "enter")
    await settle(pilot)
    assert screen.recaster.workspace.name == "film"
    assert "4 faces" in text_of(screen.query_one("#faces-src", FacesetView))


async def test_without_a_workspace(tmp_path: Path, frozen: None) -> None:
    app = make_app(tmp_path, None)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert app.current_mode == "project"
        assert app.screen.focused is app.screen.query_one(RecentTable)
        await pilot.press("shift+tab", "shift+tab", "shift+tab")
        assert "No workspace is open" in text_of(app.screen.query_one(WorkspaceView))


@pictures
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=lambda s: f"{s[0]}x{s[1]}")
def test_picture(
    tmp_path: Path, project: Workspace, size: tuple[int, int], snap_compare: Any
) -> None:
    app = make_app(tmp_path, project)
    assert snap_compare(app, terminal_size=size, run_before=settle)


@pictures
@pytest.mark.parametrize(
    "keys", [["tab", "tab"], ["s"], ["tab"] * 3], ids=["faces", "skipped", "recent"]
)
def test_picture_when_narrow(
    tmp_path: Path, project: Workspace, keys: list[str], snap_compare: Any
) -> None:
    async def press(pilot: Pilot[int]) -> None:
        await settle(pilot)
        await pilot.press(*keys)
        await settle(pilot)

    app = make_app(tmp_path, project)
    assert snap_compare(app, terminal_size=(80, 24), run_before=press)


# -- parts --------------------------------------------------------------------------------------


def test_facts_are_remembered_until_files_change(project: Workspace) -> None:
    folder = project.src_faces
    assert face_facts.known_facts(folder) is None
    told: list[tuple[str, int, int]] = []
    facts = face_facts.read_facts(folder, lambda *a: told.append(a), threading.Event())
    assert facts.count == facts.posed == len(facts.samples) == 4
    assert {what for what, _, _ in told} == {"faces", "poses", "pictures"}
    assert face_facts.known_facts(folder) is facts
    (folder / "new.jpg").touch()
    os.utime(folder, (1, 1))
    assert face_facts.known_facts(folder) is None


def test_reading_can_be_given_up(project: Workspace) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(face_facts.CancelledError):
        face_facts.read_facts(project.src_faces, lambda *a: None, stop)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    facts = face_facts.read_facts(tmp_path / "no", lambda *a: None, threading.Event())
    assert facts.problem
    assert facts.count == 0


def test_uncovered_poses() -> None:
    mine = np.array([[0, 0], [40, 0]], np.float32)
    assert face_facts.uncovered(mine, np.array([[3, 4]], np.float32)) == 0.5
    assert face_facts.uncovered(mine, np.zeros((0, 2), np.float32)) == 1.0
    assert face_facts.uncovered(np.zeros((0, 2), np.float32), mine) == 0.0


def test_pose_map_puts_right_right_and_up_up(tmp_path: Path, frozen: None) -> None:
    from textual.color import Color

    from recaster_tui.ui.palette import Palette

    colours = Palette({"loss-src": "#0000ff"}, Color.parse("#000000"), Color.parse("#ffffff"))
    poses = np.array([[60, 40], [500, -500]], np.float32)  # beyond: at the edge
    text = [w.strip().text for w in pose_map(poses, 20, 10, colours, "loss-src")]
    places = [(x, y) for y, line in enumerate(text) for x, c in enumerate(line) if ord(c) > 0x2800]
    assert len(places) == 2
    assert places[0][0] > 15
    assert places[0][1] < 2
    assert places[1] == (19, 9)


@pytest.mark.parametrize("size", [(10, 6), (46, 24), (120, 50), (13, 40)])
def test_thumbnails_fit(size: tuple[int, int]) -> None:
    samples = tuple(np.full((96, 96, 3), i * 10, np.uint8) for i in range(24))
    strips = thumbnails(samples, *size, (0, 0, 0))
    assert 2 * len(strips) <= size[1] + 1
    assert all(strip.cell_length <= size[0] for strip in strips)


def test_models_that_are_odd(tmp_path: Path) -> None:
    (tmp_path / "new.amp").mkdir()
    broken = tmp_path / "b.saehd"
    broken.mkdir()
    (broken / "CURRENT").write_text("000000009")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "XSeg_data.dat").write_bytes(b"x")
    (tmp_path / "data.dat").write_bytes(b"x")
    found = {m.key: m for m in find_models(tmp_path)}
    assert set(found) == {"new.amp", "b.saehd", "XSeg_data.dat"}
    assert found["new.amp"].note == "not saved yet"
    assert found["b.saehd"].iteration is None
    assert "cannot be read" in found["b.saehd"].note
    assert found["XSeg_data.dat"].name == "XSeg"
    assert find_models(tmp_path / "none") == []


def test_recent_list_survives_damage(home: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "a"):
        (tmp_path / name).mkdir(exist_ok=True)
        recent.remember_workspace(tmp_path / name)
    assert [item.path.name for item in recent.recent_workspaces()] == ["a", "b"]
    (tmp_path / "b").rmdir()
    assert [item.path.name for item in recent.recent_workspaces()] == ["a"]
    path = home / "config" / "recent.toml"
    path.write_bytes(b"workspace = [1, {path = 3}]\n")
    assert recent.recent_workspaces() == []
    path.write_bytes(b"\xff\xfe")
    assert recent.recent_workspaces() == []
    recent.remember_workspace(tmp_path / "a")
    assert len(recent.recent_workspaces()) == 1


def test_usual_workspace(home: Path, tmp_path: Path) -> None:
    (tmp_path / "code" / "src").mkdir(parents=True)
    (tmp_path / "film" / "data_src").mkdir(parents=True)
    assert recent.usual_workspace(tmp_path / "code") is None
    recent.remember_workspace(tmp_path / "film")
    found = recent.usual_workspace(tmp_path / "code")
    assert found is not None
    assert found.root == tmp_path / "film"
    found = recent.usual_workspace(tmp_path / "film")
    assert found is not None


def test_completions(tmp_path: Path) -> None:
    for name in ("Film one", "film two", ".hidden", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "film.txt").touch()
    assert [p.name for p in completions(f"{tmp_path}/fi", tmp_path)] == ["Film one", "film two"]
    assert len(completions("", tmp_path)) == 3
    assert [p.name for p in completions("./.h", tmp_path)] == [".hidden"]
    assert completions("~nobody-of-this-name", tmp_path) == []
    assert completions("~nobody-of-this-name/", tmp_path) == []
    assert completions("/no/such/place/", tmp_path) == []


def test_names_from_elsewhere_are_made_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printable("a\x1b]0;x\x07\udcff") == "a�]0;x�?"
    monkeypatch.setenv("HOME", "/home/me")
    assert short_path(Path("/home/me/film")) == "~/film"
    assert short_path(Path("/home/me")) == "~"
    assert short_path(Path("/a/long/path/to/film"), 10) == "…h/to/film"

"""The Faces screen over real face files, with real edits; jobs are scripted."""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from recaster_tui import jobs
from recaster_tui.faces.quality.model import Check, FaceScore, Finding, Proposal
from recaster_tui.files import write_toml
from recaster_tui.jobs import JobState, JobStatus
from recaster_tui.supervisor import Supervisor
from recaster_tui.ui import face_facts, face_side
from recaster_tui.ui.app import RecasterApp
from recaster_tui.ui.coverage import Need, coverage
from recaster_tui.ui.screens.faces import FacesScreen
from recaster_tui.ui.screens.faces_compare import ComparedFaces
from recaster_tui.ui.screens.faces_extract import ExtractScreen, extract_arguments, extract_fields
from recaster_tui.ui.screens.faces_full import FaceScreen
from recaster_tui.ui.screens.faces_poses import PosesScreen
from recaster_tui.ui.screens.faces_prune import PruneScreen
from recaster_tui.ui.screens.faces_trash import TrashScreen
from recaster_tui.ui.screens.skipped import SkippedScreen
from recaster_tui.ui.sixel import sixels
from recaster_tui.ui.widgets.coverage_map import CoverageMap
from recaster_tui.ui.widgets.face_grid import FaceGrid
from recaster_tui.ui.widgets.field_form import FieldForm
from recaster_tui.ui.widgets.job_line import JobLines
from recaster_tui.ui.widgets.panel import Panel
from recaster_tui.workspace import Workspace, open_workspace

FACES = sorted((Path(__file__).parent.parent / "data" / "faces").glob("aligned_*.jpg"))
pictures = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="one baseline Python for pictures"
)
COUNT = 30


@pytest.fixture
def film(tmp_path: Path) -> Workspace:
    """Thirty source faces, ten of the destination and a broken one."""
    root = tmp_path / "film"
    for side, count in (("src", COUNT), ("dst", 10)):
        folder = root / f"data_{side}" / "aligned"
        folder.mkdir(parents=True)
        for i in range(count):
            path = folder / f"{i + 1:05d}_0.jpg"
            shutil.copy(FACES[i % len(FACES)], path)
            os.utime(path, (1_700_000_000 + i, 1_700_000_000 + i))
    (root / "data_dst" / "aligned" / "text.jpg").write_text("no picture")
    return open_workspace(root)


def make_app(tmp_path: Path, workspace: Workspace | None) -> RecasterApp:
    app = RecasterApp(
        workspace, supervisor=Supervisor(tmp_path / "data"), watch=False, mode="faces"
    )
    app.animation_level = "none"
    return app


async def until(pilot: Pilot[Any], condition: Callable[[], bool]) -> None:
    for _ in range(200):
        if condition():
            return
        await pilot.pause(0.05)
    assert condition(), "waited in vain"


async def settle(pilot: Pilot[Any]) -> None:
    app = pilot.app
    screen = next(s for s in app.screen_stack if isinstance(s, FacesScreen))
    await until(pilot, lambda: bool(screen.sides) and not screen._loading)
    await until(
        pilot,
        lambda: not screen._reading and all(not screen.grid_of(n).missing for n in screen.sides),
    )
    await pilot.app.workers.wait_for_complete()
    await pilot.pause(0.2)  # the face under the cursor is shown when the keys rest
    for detail in screen.details():
        await detail.settled()
    await pilot.pause()


@pytest.fixture
async def live(tmp_path: Path, film: Workspace) -> AsyncIterator[tuple[FacesScreen, Pilot[int]]]:
    app = make_app(tmp_path, film)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert isinstance(app.screen, FacesScreen)
        yield app.screen, pilot


def text_of(grid: FaceGrid) -> str:
    return "\n".join(grid.render_line(y).text for y in range(grid.size.height))


def subtitle(screen: FacesScreen, side: str = "src") -> str:
    return str(screen.query_one(f"#{side}-panel", Panel).border_subtitle)


def names_shown(screen: FacesScreen) -> list[str]:
    side = screen.side
    assert side is not None
    return side.names(side.shown.tolist())


# -- looking ------------------------------------------------------------------------------------


async def test_the_screen_shows_faces(live: tuple[FacesScreen, Pilot[int]]) -> None:
    screen, _ = live
    text = text_of(screen.grid)
    assert "▀" in text
    assert "00001_0" in text
    assert "30 faces · by name ↑" in subtitle(screen)
    detail = "\n".join(s.text for s in screen.detail.lines(40, 36))
    assert "00001_0.jpg" in detail
    assert "yaw" in detail
    assert "sharpness" in detail
    assert not screen.query(Input)  # see tests/ui/test_start.py
    assert "torch" not in sys.modules or "recaster_tui.training" in sys.modules


async def test_a_move_repaints_two_captions_and_no_picture(
    live: tuple[FacesScreen, Pilot[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, pilot = live
    grid, painted = screen.grid, []
    usual = grid.refresh
    monkeypatch.setattr(
        grid,
        "refresh",
        lambda *regions, **more: (painted.append(regions), usual(*regions, **more))[1],
    )
    await pilot.press("right")
    regions = [region for regions in painted for region in regions]
    assert regions == [
        Region(0, grid.tile // 2, grid.tile, 2),
        Region(grid.pitch, grid.tile // 2, grid.tile, 2),
    ]
    assert () not in painted  # a refresh without regions is one of everything
    assert grid.cursor == 1


async def test_moving_about(live: tuple[FacesScreen, Pilot[int]]) -> None:
    screen, pilot = live
    grid = screen.grid
    await pilot.press("j", "l")
    assert grid.cursor == grid.columns + 1
    await pilot.press("G")
    assert grid.face == COUNT - 1
    assert grid.scroll_offset.y % grid.row_height == 0  # a scrolled row is never cut at the top
    await pilot.press("pageup", "k")
    assert 0 < grid.cursor < COUNT - grid.columns
    await pilot.press("g")
    assert grid.cursor == grid.scroll_offset.y == 0
    wide = grid.tile
    await pilot.press("plus")
    assert grid.tile > wide
    await pilot.press("minus", "minus", "minus")
    assert grid.tile < wide
    assert grid.caption_lines == 1
    await pilot.press("tab")
    assert screen.at_side == "dst"
    assert screen.focused is screen.grid_of("dst")
    await pilot.press("b")
    assert screen.grid_of("src").region.width > 20 < screen.grid_of("dst").region.width


async def test_pictures_that_arrive_are_painted_alone(
    live: tuple[FacesScreen, Pilot[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, pilot = live
    grid = screen.grid
    there: set[int] = set()
    grid.picture = lambda face, pixels: (
        np.full((64, 64, 3), 99, np.uint8) if face in there else None
    )
    grid._strips.clear()
    grid.refresh()
    await pilot.pause()
    assert len(grid.missing) == len(grid.in_sight())
    painted: list[Region] = []
    usual = grid.refresh
    monkeypatch.setattr(
        grid,
        "refresh",
        lambda *regions, **more: (painted.extend(regions), usual(*regions, **more))[1],
    )
    there.add(2)
    await until(pilot, lambda: 2 not in grid.missing)
    assert painted == [Region(2 * grid.pitch, 0, grid.tile, grid.tile // 2)]


def read_sixels(text: str, height: int, width: int) -> np.ndarray:
    """What a terminal makes of sixel text: (h, w, 3) percent, by the format's own rules."""
    body = re.sub(r"^\x1bP[0-9;]*q\"[0-9;]*", "", text).removesuffix("\x1b\\")
    out = np.full((height + 6, width, 3), -1)
    table: dict[int, tuple[int, ...]] = {}
    x = y = now = 0
    pattern = r"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)([?-~])|([?-~])|(\$)|(-)"
    for found in re.finditer(pattern, body):
        number, red, green, blue, repeat, repeated, one, home, down = found.groups()
        if number:
            now = int(number)
            if red:
                table[now] = (int(red), int(green), int(blue))
        elif home or down:
            x, y = 0, y + (6 if down else 0)
        else:
            bits, wide = ord(repeated or one) - 63, int(repeat or 1)
            for row in range(6):
                if bits >> row & 1:
                    out[y + row, x : x + wide] = table[now]
            x += wide
    return out[:height]


def test_sixels_hold_the_picture() -> None:
    rng = np.random.default_rng(1)
    blocks = rng.integers(0, 256, (5, 4, 3), np.uint8).repeat(5, 0).repeat(9, 1)[:23]
    drawn = read_sixels(sixels(blocks), 23, 36)
    assert abs(drawn * 2.55 - blocks).max() < 3  # 20 colours fit; percents are coarse


async def test_sixels_are_sent_once_until_their_cells_are_painted(
    live: tuple[FacesScreen, Pilot[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, pilot = live
    grid, sent = screen.grid, []
    driver = pilot.app._driver
    assert driver is not None
    monkeypatch.setattr(driver, "write", lambda text: sent.append(text.count("\x1bP0;1")))
    grid.pixels.cell = (10, 20)
    grid.pixels.soon()
    whole = sum(len(faces) for _, faces in grid.picture_rows())
    await until(pilot, lambda: sum(sent) == whole)
    sent.clear()
    await pilot.press("l", "l")
    await pilot.pause(0.1)
    assert sum(sent) == 0  # a cursor move sends none
    grid.refresh(Region(0, 0, 3, 1))
    await until(pilot, lambda: sum(sent) == 1)  # the one whose cells were painted again
    sent.clear()
    await pilot.press("o")
    await pilot.pause(0.2)
    assert sum(sent) == 0  # none over a dialog
    await pilot.press("escape")
    await until(pilot, lambda: sum(sent) >= whole)
    await pilot.press("pagedown")
    assert not grid.pixels.sharp  # half-blocks while things move


async def test_large_face_and_overlays(live: tuple[FacesScreen, Pilot[int]]) -> None:
    screen, pilot = live
    await pilot.press("l", "enter")
    await settle(pilot)
    front = pilot.app.screen
    assert isinstance(front, FaceScreen)
    panel = front.query_one("#full-panel", Panel)
    assert "00002_0.jpg" in str(panel.border_title)
    assert panel.border_subtitle == "2 of 30"
    plain = front.detail._pixels
    await pilot.press("L")
    await settle(pilot)
    marked = front.detail._pixels
    assert plain is not None
    assert marked is not None
    assert (plain != marked).any(axis=2).sum() > 40
    await pilot.press("L", "M")
    await settle(pilot)
    assert (front.detail._pixels != marked).any()
    await pilot.press("M", "f")  # its frame is nowhere: said, no end
    await settle(pilot)
    text = "\n".join(s.text for s in front.detail.lines(*front.detail.content_size))
    assert "there is no video" in text
    await pilot.press("f", "right", "space", "escape")
    await settle(pilot)
    assert pilot.app.screen is screen
    assert screen.grid.cursor == 2
    assert screen.side is not None
    assert screen.side.marked.tolist() == [2]


async def test_the_frame_is_shown_with_the_face(
    live: tuple[FacesScreen, Pilot[int]], film: Workspace
) -> None:
    import cv2

    screen, pilot = live
    assert screen.side is not None
    assert screen.side.catalog is not None
    face = screen.side.catalog.face(0)
    frame = np.full((720, 1280, 3), 40, np.uint8)
    cv2.imwrite(str(film.root / "data_src" / str(face.source_filename)), frame)
    await pilot.press("f")
    await settle(pilot)
    drawn = screen.detail._pixels
    assert drawn is not None
    assert drawn.shape[1] > 1.5 * drawn.shape[0]
    assert (drawn != 40).any(axis=2).sum() > 30  # the rectangle


# -- order and filter ---------------------------------------------------------------------------


async def test_sorting(live: tuple[FacesScreen, Pilot[int]]) -> None:
    screen, pilot = live
    side = screen.side
    assert side is not None
    await pilot.press("o")
    menu = pilot.app.screen.query_one(OptionList)
    labels = [
        str(menu.get_option_at_index(i).prompt).split("\n")[0] for i in range(menu.option_count)
    ]
    assert {"name", "frame", "yaw", "sharpness"} <= set(labels)
    assert sum(label.startswith("DeepFaceLab") for label in labels) >= 15
    assert len(labels) == len(set(labels))
    assert menu.highlighted == labels.index("name")  # the present order
    menu.highlighted = labels.index("yaw")
    await pilot.press("enter")
    await settle(pilot)
    yaw = [side.value("yaw", face) for face in side.shown.tolist()]
    assert yaw == sorted(yaw)
    assert "by yaw ↑" in subtitle(screen)
    assert f"{yaw[0]:+.0f}°" in text_of(screen.grid)
    await pilot.press("O")
    await settle(pilot)
    assert [side.value("yaw", face) for face in side.shown.tolist()] == sorted(yaw, reverse=True)
    # One of DeepFaceLab's, which has to read the pictures; files keep their names.
    before = sorted(p.name for p in side.folder.iterdir())
    await pilot.press("o")
    pilot.app.screen.query_one(OptionList).highlighted = next(
        i for i, label in enumerate(labels) if "brightness" in label and "DeepFaceLab" in label
    )
    await pilot.press("enter")
    await until(pilot, lambda: side.order.key == "sort_brightness")
    await settle(pilot)
    values = [side.value("sort_brightness", face) for face in side.shown.tolist()]
    assert values == sorted(values, reverse=True)
    assert sorted(p.name for p in side.folder.iterdir()) == before


async def test_filtering(live: tuple[FacesScreen, Pilot[int]]) -> None:
    screen, pilot = live
    await pilot.press("slash", *"name:0001")
    await until(pilot, lambda: len(screen.grid) == 11)
    assert "11 of 30" in subtitle(screen)
    await pilot.press(*" yow>3")
    problem = screen.query_one("#faces-filter-problem", Static)
    await until(pilot, lambda: "did you mean 'yaw'" in str(problem.content))
    assert len(screen.grid) == 11  # what is wrong changes nothing
    await pilot.press("enter")
    assert screen.query("#faces-filter-input")  # nor does it close
    await pilot.press(*["backspace"] * 6, "enter")
    assert not screen.query("#faces-filter-input")
    assert screen.focused is screen.grid
    await pilot.press("a", "escape")  # marks all that are shown, then shows all
    assert len(screen.grid) == COUNT
    assert screen.side is not None
    assert len(screen.side.marked) == 11
    await pilot.press("slash", *"-marked", "enter")
    assert len(screen.grid) == 19
    await pilot.press("slash", *" zzz", "enter")
    assert "No face fits" in text_of(screen.grid)


async def test_marking(live: tuple[FacesScreen, Pilot[int]], tmp_path: Path) -> None:
    screen, pilot = live
    side = screen.side
    assert side is not None
    await pilot.press("space", "l", "l", "V", "l", "l")
    assert list(screen.grid.chosen()) == [2, 3, 4]
    await pilot.press("space")
    assert side.marked.tolist() == [0, 2, 3, 4]
    await pilot.press("V", "l", "escape")  # given up
    assert side.marked.tolist() == [0, 2, 3, 4]
    await pilot.press("i")
    assert len(side.marked) == COUNT - 4
    await pilot.press("n", "g", "space")
    assert side.marked.tolist() == [0]
    assert "1 marked" in subtitle(screen)
    screen.reload("src")
    await settle(pilot)
    assert side.marked.tolist() == [0]  # remembered


# -- edits --------------------------------------------------------------------------------------


async def test_trash_undo_redo_and_back(
    live: tuple[FacesScreen, Pilot[int]], film: Workspace
) -> None:
    screen, pilot = live
    everything = {p.name: p.read_bytes() for p in film.src_faces.iterdir()}
    face_facts.read_facts(film.src_faces, lambda *a: None, screen._stop)
    await pilot.press("l", "space", "l", "space", "l", "d")
    await until(pilot, lambda: len(screen.grid) == COUNT - 2)
    await settle(pilot)
    assert face_facts.known_facts(film.src_faces) is None  # Project counts anew
    assert not (film.src_faces / "00002_0.jpg").exists()
    assert names_shown(screen)[screen.grid.cursor] == "00004_0.jpg"  # the cursor stays on its face
    await pilot.press("n", "d")  # without marks: the one under the cursor
    await until(pilot, lambda: len(screen.grid) == COUNT - 3)
    assert names_shown(screen)[screen.grid.cursor] == "00005_0.jpg"
    await pilot.press("u")
    await until(pilot, lambda: len(screen.grid) == COUNT - 2)
    await pilot.press("u")
    await until(pilot, lambda: len(screen.grid) == COUNT)
    await pilot.press("ctrl+r")
    await until(pilot, lambda: len(screen.grid) == COUNT - 2)
    await settle(pilot)
    await pilot.press("T")
    await pilot.pause()
    trash = pilot.app.screen
    assert isinstance(trash, TrashScreen)
    assert trash.table.keys == ["00002_0.jpg", "00003_0.jpg"]
    await pilot.press("space", "enter")
    await until(pilot, lambda: len(screen.grid) == COUNT - 1)
    assert (film.src_faces / "00002_0.jpg").exists()
    await settle(pilot)
    await pilot.press("T", "enter")
    await until(pilot, lambda: len(screen.grid) == COUNT)
    assert {p.name: p.read_bytes() for p in film.src_faces.iterdir()} == everything


async def test_renaming_in_the_order_shown(
    live: tuple[FacesScreen, Pilot[int]], film: Workspace
) -> None:
    _, pilot = live
    last = (film.src_faces / f"{COUNT:05d}_0.jpg").read_bytes()
    await pilot.press("O", "R")
    await pilot.pause()
    await pilot.press("y")
    await until(pilot, lambda: (film.src_faces / "00000.jpg").exists())
    await settle(pilot)
    assert (film.src_faces / "00000.jpg").read_bytes() == last
    await pilot.press("u")
    await until(pilot, lambda: (film.src_faces / f"{COUNT:05d}_0.jpg").exists())


async def test_files_that_come_are_shown(
    live: tuple[FacesScreen, Pilot[int]], film: Workspace
) -> None:
    screen, pilot = live
    shutil.copy(FACES[0], film.src_faces / "new.jpg")
    screen._looked = 0.0
    screen._tick()
    await until(pilot, lambda: len(screen.grid) == COUNT + 1)


async def test_damaged_files_are_listed(live: tuple[FacesScreen, Pilot[int]]) -> None:
    screen, pilot = live
    assert "1 damaged" in str(screen.query_one("#dst-panel", Panel).border_title)
    await pilot.press("tab")
    assert "not-jpeg" in text_of(screen.grid)
    await pilot.press("exclamation_mark")
    await pilot.pause()
    assert isinstance(pilot.app.screen, SkippedScreen)
    assert pilot.app.screen._items[0][1].name == "text.jpg"
    assert "JPEG" in pilot.app.screen._items[0][1].message


async def test_compare(live: tuple[FacesScreen, Pilot[int]]) -> None:
    screen, pilot = live
    await pilot.press("C")
    assert pilot.app.screen is screen  # one face is no pair
    await pilot.press("space", "tab", "space", "C")
    await pilot.pause(0.3)
    front = pilot.app.screen
    assert isinstance(front, ComparedFaces)
    assert [(side.side, face) for side, face in front._faces] == [("src", 0), ("dst", 0)]


# -- check and prune ----------------------------------------------------------------------------


def a_check(folder: Path) -> Check:
    blurred = Finding("blurred", 0.8, 0.11, 0.3, "sharpness 0.11, the rest lies above 0.30")
    names = sorted(p.name for p in folder.glob("*.jpg"))
    scores = [
        FaceScore(name, 20.0 if i < 3 else 95.0, {}, (blurred,) if i < 3 else ())
        for i, name in enumerate(names)
    ]
    why = "blurred: sharpness 0.11"
    return Check(folder, scores, [Proposal(name, why, ("blurred",)) for name in names[:3]])


async def test_pruning(tmp_path: Path, film: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_side, "read_check", a_check)
    app = make_app(tmp_path, film)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        screen = app.screen
        assert isinstance(screen, FacesScreen)
        text = text_of(screen.grid)
        assert "blurred" in text
        assert "20" in text
        detail = " ".join(s.text for s in screen.detail.lines(*screen.detail.content_size))
        assert "the rest lies above 0.30" in " ".join(detail.split())
        await pilot.press("p")
        await pilot.pause(0.3)
        front = app.screen
        assert isinstance(front, PruneScreen)
        assert "3 of 30" in str(front.query_one(".dialog").border_title)
        await pilot.press("down", "space")  # the second one is kept
        assert "2 of 30" in str(front.query_one(".dialog").border_title)
        await pilot.press("y")
        await until(pilot, lambda: len(screen.grid) == COUNT - 2)
        assert (film.src_faces / "00002_0.jpg").exists()
        assert not (film.src_faces / "00003_0.jpg").exists()
        await settle(pilot)
        await pilot.press("u")
        await until(pilot, lambda: len(screen.grid) == COUNT)


# -- the map of poses ---------------------------------------------------------------------------


def test_coverage_names_the_gaps() -> None:
    src = np.array([[0, 0]] * 50 + [[20, 0]] * 2 + [[np.nan, 0]], np.float32)
    dst = np.array([[0, 0]] * 40 + [[20, 0]] * 30 + [[-80, -55]] * 9, np.float32)
    made = coverage(src, dst)
    assert (made.src, made.dst) == (52, 79)
    gaps = made.gaps
    assert [(gap.need, gap.yaw, gap.pitch, gap.src, gap.dst) for gap in gaps] == [
        (Need.MISSING, (-90, -75), (-60, -45), 0, 9),
        (Need.THIN, (15, 30), (0, 15), 2, 30),
    ]
    assert gaps[0].filter_text == "yaw<-75 pitch<-45"  # outermost cells reach further
    assert gaps[1].filter_text == "yaw>=15 yaw<30 pitch>=0 pitch<15"
    assert made.uncovered == pytest.approx(9 / 79)
    assert coverage(src[:0], dst[:0]).gaps == []


async def test_a_gap_leads_to_its_faces(live: tuple[FacesScreen, Pilot[int]]) -> None:
    screen, pilot = live
    src, dst = screen.sides["src"], screen.sides["dst"]
    wanted = dst.poses()[0]
    await pilot.press("P")
    await pilot.pause()
    front = pilot.app.screen
    assert isinstance(front, PosesScreen)
    chart = front.query_one(CoverageMap)
    cells = [c for row in chart.coverage.cells for c in row]
    cell = next(
        c for c in cells
        if c.yaw[0] <= wanted[0] < c.yaw[1] and c.pitch[0] <= wanted[1] < c.pitch[1]
    )  # fmt: skip
    chart.at = (cell.row, cell.column)
    await pilot.press("enter")
    await settle(pilot)
    assert pilot.app.screen is screen
    assert screen.at_side == "dst"
    assert len(screen.grid) == cell.dst
    assert src.filter_text == ""


# -- jobs ---------------------------------------------------------------------------------------


def say(workspace: Workspace, kind: str, side: str, *events: dict[str, Any]) -> None:
    """What a job that this process runs would have written."""
    import psutil

    folder = jobs.job_folder(workspace.root, kind, side)
    folder.mkdir(parents=True, exist_ok=True)
    me = psutil.Process()
    table = {"pid": me.pid, "process_started": me.create_time(), "started": time.time()}
    write_toml(folder / "job.toml", table, durable=False)
    with (folder / "events.jsonl").open("a") as file:
        for event in events:
            file.write(json.dumps({"t": time.time(), **event}) + "\n")


async def test_a_job_is_followed_and_stopped(
    live: tuple[FacesScreen, Pilot[int]], film: Workspace
) -> None:
    screen, pilot = live
    assert "stop" not in [b.binding.action for b in screen.active_bindings.values()]
    progress = {"type": "progress", "current": 120, "total": 480, "text": "", "eta": 75.0}
    say(film, "extract", "src", {**progress, "counts": {"faces": 99}})
    screen.look_at_jobs()
    await until(pilot, lambda: len(screen.query_one(JobLines).jobs) == 1)
    await pilot.pause()
    line = screen.query_one(JobLines).lines(118, 1)[0].text
    assert "extracting source" in line
    assert "25%" in line
    assert "120 of 480" in line
    assert "99 faces" in line
    assert "1m 15s left" in line
    await pilot.press("x")
    assert (jobs.job_folder(film.root, "extract", "src") / "stop").exists()
    shutil.copy(FACES[0], film.src_faces / "zzz.jpg")
    say(film, "extract", "src", {"type": "end", "outcome": "done", "text": "480 frames, 1 face"})
    screen.look_at_jobs()
    await until(pilot, lambda: len(screen.grid) == COUNT + 1)
    line = screen.query_one(JobLines).lines(118, 1)[0].text
    assert "extracting source: done" in line
    assert "480 frames, 1 face" in line
    await settle(pilot)
    await pilot.press("escape")
    assert not screen.query_one(JobLines).jobs


async def test_jobs_are_started_with_the_right_words(
    live: tuple[FacesScreen, Pilot[int]], film: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, pilot = live
    started: list[tuple[str, str, list[str]]] = []
    monkeypatch.setattr(
        jobs, "start_job", lambda root, kind, side, words: started.append((kind, side, words))
    )
    root = str(film.root)
    await pilot.press("c")
    await until(pilot, lambda: len(started) == 1)
    assert started.pop() == ("check", "src", ["faces", "check", root, "src"])
    await pilot.press("A", "enter")
    await until(pilot, lambda: len(started) == 1)
    assert started.pop() == ("mask", "src", ["faces", "mask", root, "src", "--to", "mask"])
    (film.root / "data_src.mp4").touch()
    await pilot.press("e")
    await pilot.pause()
    form = pilot.app.screen.query_one(FieldForm)
    assert isinstance(pilot.app.screen, ExtractScreen)
    assert form.values["input"] == "data_src.mp4"
    await pilot.press("down", "right")  # head
    await pilot.press("down", *"99", "enter")  # a size that is too small is not taken
    assert isinstance(pilot.app.screen, ExtractScreen)
    await pilot.press(*["backspace"] * 2, *"384", "enter")
    await until(pilot, lambda: len(started) == 1)
    kind, side, arguments = started.pop()
    assert (kind, side) == ("extract", "src")
    assert arguments[:3] == ["extract", root, "src"]
    assert "--input" not in arguments
    options = dict(zip(arguments[3::2], arguments[4::2], strict=True))
    assert options["--face-type"] == "head"
    assert options["--size"] == "384"


def test_extract_arguments(film: Workspace) -> None:
    (film.root / "data_dst.mp4").touch()
    fields = extract_fields(film, "dst", 11)
    values = {field.key: field.value for field in fields}
    usual = values["input"]
    made = extract_arguments("/w", "dst", values | {"fps": "2.5", "smooth": "yes"}, usual)
    assert "--every" not in made  # only one of the two
    assert made[-3:] == ["--fps", "2.5", "--smooth"]
    assert extract_arguments("/w", "dst", values | {"input": "/x.mp4"}, usual)[3:5] == [
        "--input",
        "/x.mp4",
    ]
    assert "11 faces" in fields[-1].help


# -- nothing there ------------------------------------------------------------------------------


@pytest.mark.parametrize("video", [True, False], ids=["video", "nothing"])
async def test_without_faces(tmp_path: Path, video: bool) -> None:
    root = tmp_path / "film"
    (root / "data_src").mkdir(parents=True)
    if video:
        (root / "data_src.mp4").touch()
    app = make_app(tmp_path, open_workspace(root))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert isinstance(app.screen, FacesScreen)
        text = " ".join(text_of(app.screen.grid).split())
        assert "No faces of the source yet." in text
        assert "Press e to extract them from data_src.mp4" in text if video else "press e" in text
        await pilot.press("d", "o", "V", "space", "enter", "c", "P")  # nothing to do it with
        await pilot.press("escape", "e")
        await pilot.pause()
        assert isinstance(app.screen, ExtractScreen)


async def test_without_a_workspace(tmp_path: Path) -> None:
    app = make_app(tmp_path, None)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        assert isinstance(app.screen, FacesScreen)
        assert "No workspace is open" in text_of(app.screen.grid)
        await pilot.press("d", "e", "b", "tab", "escape", "P", "u")


# -- pictures -----------------------------------------------------------------------------------


@pictures
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=lambda s: f"{s[0]}x{s[1]}")
def test_picture(
    tmp_path: Path,
    film: Workspace,
    size: tuple[int, int],
    snap_compare: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(face_side, "read_check", a_check)

    async def press(pilot: Pilot[int]) -> None:
        await settle(pilot)
        await pilot.press("b", "l", "space", "l")
        await settle(pilot)

    app = make_app(tmp_path, film)
    assert snap_compare(app, terminal_size=size, run_before=press)


@pictures
@pytest.mark.parametrize(
    "keys", [["enter", "L"], ["P"], ["p"], ["e"], ["o"]],
    ids=["face", "poses", "prune", "extract", "sort"],
)  # fmt: skip
def test_picture_of_dialogs(
    tmp_path: Path,
    film: Workspace,
    keys: list[str],
    snap_compare: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(face_side, "read_check", a_check)

    async def press(pilot: Pilot[int]) -> None:
        await settle(pilot)
        await pilot.press(*keys)
        await settle(pilot)
        await pilot.pause(0.4)

    app = make_app(tmp_path, film)
    assert snap_compare(app, terminal_size=(80, 24), run_before=press)


def test_a_job_line_in_every_state() -> None:
    from textual.color import Color

    from recaster_tui.ui.palette import Palette
    from recaster_tui.ui.widgets.job_line import job_line

    colours = Palette({}, Color.parse("#000000"), Color.parse("#ffffff"))
    failed = JobState("mask", "dst", JobStatus.FAILED, 0, 61, text="no model", hint="train one")
    text = job_line(failed, colours, 80).text
    assert "masking destination: failed after 1m 01s  no model – train one" in text
    unknown = JobState("check", "src", JobStatus.RUNNING, 0, 3, current=7)
    assert "checking source  7" in job_line(unknown, colours, 80).text

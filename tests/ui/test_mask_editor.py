"""The polygon editor by keyboard, on demo faces whose exact mask is known."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mask_kit import Desk, exact, iou, make_faces, without_outlines

from recaster_tui.faces.codec import decode_pixels, read_face
from recaster_tui.faces.faceset import open_faceset
from recaster_tui.faces.masks import encode_xseg_mask, polygon_mask
from recaster_tui.faces.pack import PACK_NAME, write_pack
from recaster_tui.faces.polygon_edit import same_polygons
from recaster_tui.ui.automask import AutoMask
from recaster_tui.ui.mask_picture import Base
from recaster_tui.ui.screens.mask_editor_keys import MASK_KEYS, EditMode

SIZE = (120, 40)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture
def faces(rendered: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(rendered, tmp_path / "aligned"))


async def test_a_face_drawn_and_copied_in_sixty_presses(faces: Path) -> None:
    before = without_outlines(faces)
    desk = Desk(faces)
    names = desk.catalog.names
    async with desk.app.run_test(size=SIZE) as pilot:
        keys = await desk.open(pilot)
        await keys.draw_round(exact(before[names[0]]))
        assert len(desk.editor.editor.polygons[0].points) == 24
        await keys.press("y")
        assert desk.editor.index == 1
        await keys.press("ctrl+s")
        await pilot.pause()
    assert keys.count <= 60
    drawn, copied = desk.face(0), desk.face(1)
    assert [len(f.polygons[0].points) for f in (drawn, copied)] == [24, 24]
    assert iou(exact(drawn), exact(before[names[0]])) >= 0.9
    assert iou(exact(copied), exact(before[names[1]])) >= 0.9


async def test_drawing_freely_moving_inserting_deleting(faces: Path) -> None:
    without_outlines(faces)
    desk = Desk(faces)
    async with desk.app.run_test(size=SIZE) as pilot:
        keys = await desk.open(pilot)
        await keys.press("space", "L", "L", "space", "J", "J", "space")
        assert desk.editor.mode is EditMode.DRAW
        await keys.press("space", "H", "H", "space", "enter")  # the same place twice counts once
        model = desk.editor.editor
        assert model.polygons[0].include and len(model.polygons[0].points) == 4
        step = 1 / desk.editor.canvas.scale
        corner = model.polygons[0].points.copy()
        assert corner[1] - corner[0] == pytest.approx((16 * step, 0), abs=0.01)

        await keys.press("tab", "tab", "space", "l", "l", "k", "space")  # move the second point
        assert model.polygons[0].points[1] - corner[1] == pytest.approx((2 * step, -step), abs=0.01)
        await keys.press("u")
        assert np.array_equal(model.polygons[0].points, corner)
        await keys.press("U", "escape", "p", "o")
        assert len(model.polygons[0].points) == 5
        await keys.press("x", "escape", "p", "t", "d")
        assert desk.editor.index == 1
    stored = desk.face(0)
    assert not stored.polygons[0].include and len(stored.polygons[0].points) == 4


async def test_undo_of_everything_restores_and_nothing_is_written(faces: Path) -> None:
    names = sorted(p.name for p in faces.glob("*.jpg"))
    bytes_before = (faces / names[0]).read_bytes()
    desk = Desk(faces)
    async with desk.app.run_test(size=SIZE) as pilot:
        keys = await desk.open(pilot)
        model = desk.editor.editor
        before = model.polygons
        await keys.press("p", "S", "tab", "x", "b", "t", "delete", "q", "space", "l", "space")
        assert model.changed
        while model.can_undo:
            await keys.press("u")
        assert not model.changed and same_polygons(model.polygons, before)
        await keys.press("d")
    assert (faces / names[0]).read_bytes() == bytes_before


async def test_a_save_keeps_the_pixels_and_what_others_wrote_meanwhile(faces: Path) -> None:
    from dataclasses import replace

    from recaster_tui.faces.codec import save_metadata

    before = without_outlines(faces)
    name = sorted(before)[0]
    pixels = decode_pixels(faces / name)
    desk = Desk(faces)
    async with desk.app.run_test(size=SIZE) as pilot:
        keys = await desk.open(pilot)
        await keys.press("b")
        mask = encode_xseg_mask(np.ones((64, 64), np.float32))
        save_metadata(replace(read_face(faces / name), xseg_mask=mask))  # a job applies its mask
        await keys.press("escape", "escape")
        await desk.until(pilot, lambda: desk.left == [0])
    stored = read_face(faces / name)
    assert stored.xseg_mask == mask and len(stored.polygons) == 1
    assert np.array_equal(decode_pixels(faces / name), pixels)
    assert np.array_equal(stored.landmarks, before[name].landmarks)
    assert desk.edits.undo()
    assert not read_face(faces / name).polygons


async def test_walking_through_the_faces(faces: Path) -> None:
    names = sorted(p.name for p in faces.glob("*.jpg"))
    without_outlines(faces, [names[2], names[5]])
    (faces / names[4]).write_bytes(b"no picture")
    desk = Desk(faces)
    async with desk.app.run_test(size=SIZE) as pilot:
        keys = await desk.open(pilot)
        panel = desk.editor.query_one("#mask-panel")
        assert names[0] in panel._drawn[0].text  # before any key
        await keys.press("n")
        assert desk.editor.position == 2
        await keys.press("n")
        assert desk.editor.position == 5
        await keys.press("N", "right_square_bracket")
        assert desk.editor.position == 3
        await keys.press("d")
        assert desk.editor.mode is EditMode.NOTHING  # damaged: said, and passed by
        assert "cannot be edited" in desk.editor.canvas.message
        await keys.press("a", "A")
        assert desk.editor.position == 0
        await keys.press("g", "4", "enter")
        await pilot.pause()
        assert desk.editor.position == 3
        assert "labelled 3 of 6" in desk.editor.query_one("#mask-status")._drawn[0].text


async def test_trash_and_back(faces: Path) -> None:
    desk = Desk(faces)
    name = desk.catalog.names[1]
    async with desk.app.run_test(size=SIZE) as pilot:
        keys = await desk.open(pilot)
        await keys.press("d", "X")
        assert not (faces / name).exists() and desk.editor.position == 2
        await keys.press("a")
        assert desk.editor.position == 0  # the face in the trash is passed by
        await keys.press("u")
        assert (faces / name).is_file() and desk.editor.position == 1


async def test_interpolating_a_track(faces: Path) -> None:
    names = sorted(p.name for p in faces.glob("*.jpg"))
    before = without_outlines(faces, names[1:5])
    desk = Desk(faces)
    async with desk.app.run_test(size=SIZE) as pilot:
        keys = await desk.open(pilot)
        await keys.press("d", "d", "i")
        await desk.until(pilot, lambda: desk.editor.editor.polygons and not desk.editor._busy)
        for i in range(1, 5):
            assert iou(exact(desk.face(i)), exact(before[names[i]])) >= 0.95
        await keys.press("u")
        await desk.until(pilot, lambda: not desk.face(2).polygons)
        assert not any(desk.face(i).polygons for i in range(1, 5))


async def test_views(faces: Path) -> None:
    from dataclasses import replace

    from recaster_tui.faces.codec import save_metadata

    first = sorted(faces.glob("*.jpg"))[0]
    mask = np.zeros((128, 128), np.float32)
    mask[32:96, 32:96] = 1
    save_metadata(replace(read_face(first), xseg_mask=encode_xseg_mask(mask)))
    desk = Desk(faces)
    async with desk.app.run_test(size=SIZE) as pilot:
        keys = await desk.open(pilot)
        canvas = desk.editor.canvas
        plain = canvas._pixels.copy()
        seen = {}
        for key in ("5", "4", "escape", "grave_accent", "v", "V"):
            await keys.press(key)
            seen[key] = canvas._pixels.copy()
        assert desk.editor.base is Base.PICTURE
        corner = (3, canvas._view().width // 2 - 30)
        assert seen["5"][corner].mean() < 60  # outside of the stored mask
        middle = tuple(s // 2 - 9 for s in canvas._pixels.shape[:2])
        assert seen["5"][middle].mean() > 180 and seen["4"][middle].mean() > 180
        assert np.array_equal(seen["escape"], plain)
        dimmed = seen["grave_accent"][corner].astype(float)
        assert dimmed.mean() == pytest.approx(plain[corner].mean() / 2, abs=3)
        assert (seen["v"] != seen["grave_accent"]).any() and (seen["V"] != seen["v"]).any()

        await keys.press("f")  # polygons of the stored mask
        truth = np.zeros((256, 256), np.float32)
        truth[64:192, 64:192] = 1
        assert iou(desk.editor.editor.baked(), truth) > 0.95
        await keys.press(*["plus"] * 9, "l")
        view = canvas._view()
        assert canvas.zoom == 16 and desk.editor.editor.cursor[0] == pytest.approx(
            view.to_picture(*view.to_view(np.array([desk.editor.editor.cursor]))[0])[0]
        )


async def test_cursor_moves_cost_little(faces: Path) -> None:
    """Only the cells under the crosshair are painted again."""
    desk = Desk(faces)
    async with desk.app.run_test(size=SIZE) as pilot:
        keys = await desk.open(pilot)
        cells: list[int] = []
        canvas = desk.editor.canvas
        inner = canvas.refresh

        def counted(*regions: Any, **options: Any) -> Any:
            cells.append(sum(r.area for r in regions) if regions else canvas.size.area)
            return inner(*regions, **options)

        canvas.refresh = counted  # type: ignore[method-assign]
        await keys.press("l", "k", "h", "j")
        assert cells and max(cells) <= 60


async def test_packed_faces_are_edited_in_their_pack(faces: Path, tmp_path: Path) -> None:
    without_outlines(faces)
    write_pack(faces / PACK_NAME, open_faceset(faces).faces)
    for path in faces.glob("*.jpg"):
        path.unlink()
    desk = Desk(faces)
    async with desk.app.run_test(size=SIZE) as pilot:
        keys = await desk.open(pilot)
        await keys.press("b", "d", "a")
        assert len(desk.editor.editor.polygons) == 1 and not desk.editor.editor.changed
    assert len(desk.catalog.reopened().face(0).polygons) == 1


async def test_what_cannot_be_saved_is_not_lost(
    faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_outlines(faces)
    desk = Desk(faces)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with desk.app.run_test(size=SIZE) as pilot:
        keys = await desk.open(pilot)
        monkeypatch.setattr(desk.edits, "replace_metadata", full)
        await keys.press("b", "d")
        assert desk.editor.position == 0 and desk.editor.editor.changed
        await keys.press("escape", "escape")
        await desk.until(pilot, lambda: desk.app.screen is not desk.editor)
        await keys.press("n")  # stay
        assert desk.app.screen is desk.editor
        monkeypatch.undo()
        await keys.press("d")
        assert desk.editor.position == 1
    assert desk.face(0).polygons


ANSWER = """
import json, sys
for line in sys.stdin:
    wish = json.loads(line)
    print(json.dumps({"id": wish["id"], "polygons":
          [{"include": True, "points": [[50, 50], [200, 50], [200, 200], [50, 200]]}]}), flush=True)
"""


async def test_automatic_mask(faces: Path) -> None:
    client = AutoMask([sys.executable, "-c", ANSWER])
    desk = Desk(faces, client)
    async with desk.app.run_test(size=SIZE) as pilot:
        keys = await desk.open(pilot)
        before = desk.editor.editor.polygons
        await keys.press("m", "l")  # the screen is not blocked
        await desk.until(pilot, lambda: desk.editor.editor.polygons is not before)
        square = polygon_mask((256, 256), desk.editor.editor.polygons)
        assert square.sum() == 151 * 151
        await keys.press("u")
        assert same_polygons(desk.editor.editor.polygons, before)
    await client.aclose()


async def test_missing_automatic_mask_is_told(faces: Path) -> None:
    desk = Desk(faces, AutoMask([sys.executable, "-c", "raise SystemExit('error: no weights')"]))
    told: list[str] = []
    async with desk.app.run_test(size=SIZE) as pilot:
        keys = await desk.open(pilot)
        desk.editor.notify = lambda text, **_: told.append(text)  # type: ignore[assignment]
        await keys.press("m")
        await desk.until(pilot, lambda: told)
        assert desk.editor.mode is EditMode.EDIT and not desk.editor._busy
    assert "no weights" in told[0] and "hint:" in told[0]


async def test_every_key_is_an_action_of_the_palette(faces: Path) -> None:
    desk = Desk(faces)
    shown: set[str] = set()
    async with desk.app.run_test(size=SIZE) as pilot:
        keys = await desk.open(pilot)
        for sequence in ((), ("space",), ("escape", "r"), ("escape", "tab", "space")):
            await keys.press(*sequence)
            shown |= {c.title for c in desk.app.get_system_commands(desk.editor)}
    missing = {b.description for b in MASK_KEYS} - shown  # type: ignore[union-attr]
    assert not missing


pictures = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="one baseline Python")


@pictures
@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("keys", [("p", "tab"), ("r", "space", "space")], ids=["edit", "rays"])
def test_pictures(
    faces: Path, size: tuple[int, int], keys: tuple[str, ...], snap_compare: Any
) -> None:
    desk = Desk(faces)

    async def press(pilot: Any) -> None:
        opened = await desk.open(pilot)
        await opened.press(*keys)
        await pilot.pause()

    assert snap_compare(desk.app, terminal_size=size, run_before=press)


async def test_a_sharp_picture_once_the_hands_rest(
    faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the terminal draws sixel or kitty: the same outlines, in more pixels, drawn once."""
    from textual.widgets import Static

    class Pixels(Static):
        """Stands for textual-image's widget: a picture is set and shown."""

        image: Any = None

    pixels = Pixels(id="pixels")
    pixels.display = False
    monkeypatch.setattr("recaster_tui.ui.screens.mask_editor_base.pixel_widget", lambda _: pixels)
    desk = Desk(faces)
    async with desk.app.run_test(size=SIZE) as pilot:
        keys = await desk.open(pilot)
        await desk.until(pilot, lambda: pixels.display)
        canvas = desk.editor.canvas
        sharp, coarse = np.asarray(pixels.image), canvas._pixels
        factor = sharp.shape[1] // coarse.shape[1]
        assert factor >= 4 and sharp.shape[:2] == tuple(factor * s for s in coarse.shape[:2])
        small = np.asarray(pixels.image.resize(coarse.shape[1::-1], 4), float)
        assert np.abs(small - coarse).mean() < 12
        await desk.until(pilot, lambda: pixels.region == canvas.region)
        drawn: list[object] = []
        make = canvas._make
        monkeypatch.setattr(canvas, "_make", lambda *a: drawn.append(a) or make(*a))
        await pilot.pause(0.8)
        assert not drawn and pixels.display  # showing it does not draw anew
        await keys.press("l")
        assert not pixels.display
        await desk.until(pilot, lambda: pixels.display)

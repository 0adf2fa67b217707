"""Demo faces for the polygon editor, and a user at the keyboard who sees where the face ends."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from textual.app import App
from textual.pilot import Pilot

from recaster_tui.demo.frames import write_frame
from recaster_tui.demo.plan import DemoPlan
from recaster_tui.faces.catalog import Catalog
from recaster_tui.faces.codec import read_face
from recaster_tui.faces.edits import FaceEdits
from recaster_tui.faces.face import Face
from recaster_tui.faces.masks import Mask, polygon_mask
from recaster_tui.ui.app import RecasterApp
from recaster_tui.ui.automask import AutoMask
from recaster_tui.ui.screens.mask_editor import MaskEditor

FACES = 6


def make_faces(folder: Path, side: str = "dst", count: int = FACES) -> Path:
    """*count* faces of consecutive demo frames with exact outlines; gives their folder."""
    plan = DemoPlan(seed=1, faces=300, video_seconds=20.0, size=256)
    aligned = folder / f"data_{side}" / "aligned"
    aligned.mkdir(parents=True)
    for index in range(count):
        write_frame(folder, plan, side, index)
    return aligned


def iou(one: Mask, other: Mask) -> float:
    return float(np.minimum(one, other).sum() / np.maximum(one, other).sum())


def exact(face: Face) -> Mask:
    """The mask that a demo face's own outlines fill to."""
    return polygon_mask(face.shape, face.polygons)


class Keys:
    """Presses keys and counts them."""

    def __init__(self, pilot: Pilot[object], editor: MaskEditor) -> None:
        self.pilot, self.editor, self.count = pilot, editor, 0

    async def press(self, *keys: str) -> None:
        for key in keys:
            self.count += 1
            await self.pilot.press(key)

    async def draw_round(self, truth: Mask) -> None:
        """r, then on each ray: in or out while that brings the point nearer, and space."""
        await self.press("r")
        while (rays := self.editor.rays) is not None:
            wanted = float(rays.fan._mask_radii(truth)[rays.at])
            step = 1 / self.editor.canvas.scale
            error = wanted - rays.radii[rays.at]
            while abs(error) > 1.6 * step:
                out, far = error > 0, abs(error) > 3 * step
                await self.press(("K" if far else "k") if out else ("J" if far else "j"))
                before, error = error, wanted - rays.radii[rays.at]
                if abs(error) >= abs(before):
                    break
            await self.press("space")


class Desk:
    """A folder of faces and the editor over it."""

    def __init__(self, folder: Path, automask: AutoMask | None = None) -> None:
        self.folder = folder
        self.catalog = Catalog.open(folder)
        for _ in self.catalog.refresh():
            pass
        self.edits = FaceEdits(folder)
        self.app: App[int] = RecasterApp(None, watch=False)
        self.app.animation_level = "none"
        self.editor = MaskEditor(
            self.catalog, range(len(self.catalog)), 0, self.edits, automask=automask
        )

    def face(self, position: int) -> Face:
        return read_face(self.folder / self.catalog.names[position])

    async def open(self, pilot: Pilot[object]) -> Keys:
        self.left: list[int | None] = []
        self.app.push_screen(self.editor, self.left.append)
        await self.until(pilot, lambda: self.editor.loaded is not None)
        await pilot.pause()
        return Keys(pilot, self.editor)

    async def until(self, pilot: Pilot[object], condition: object) -> None:
        for _ in range(400):
            if condition():  # type: ignore[operator]
                return
            await pilot.pause(0.02)
        raise AssertionError("waited in vain")


def without_outlines(folder: Path, names: Sequence[str] = ()) -> dict[str, Face]:
    """Take the outlines of all faces (or of *names*) away; gives the faces as they were."""
    from dataclasses import replace

    from recaster_tui.faces.codec import save_metadata

    before = {}
    for path in sorted(folder.glob("*.jpg")):
        before[path.name] = face = read_face(path)
        if not names or path.name in names:
            save_metadata(replace(face, polygons=[]))
    return before

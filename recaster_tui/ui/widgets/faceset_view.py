"""One side of a workspace: figures, a map of poses, a few faces."""

from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from textual.binding import BindingType
from textual.strip import Strip

from recaster_tui.ui import words
from recaster_tui.ui.face_facts import FaceFacts, Video
from recaster_tui.ui.palette import Palette
from recaster_tui.ui.widgets.panel import Lines, Words
from recaster_tui.ui.widgets.text_pane import paragraph

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

YAW, PITCH = 70.0, 45.0
"""Degrees from the middle of the map to its edges; faces beyond are drawn at the edge."""

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


class FacesetView(Lines, can_focus=True):
    """What was found in one folder of faces."""

    BINDING_GROUP_TITLE = "Faces"
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, side: str, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.side = side
        self.facts: FaceFacts | None = None
        self.video: Video | None = None
        self.pictures = True
        self._busy = ""
        self._folder = ""
        self._missing = 0.0
        self._mosaic: tuple[object, list[Strip]] | None = None

    @property
    def colour(self) -> str:
        """Source blue, destination yellow: as everywhere."""
        return "loss-src" if self.side == "src" else "loss-dst"

    def clear(self, folder: str, busy: str = "") -> None:
        """Another workspace."""
        self.facts, self.video, self._busy, self._folder = None, None, busy, folder
        self._missing = 0.0
        self.update_lines()

    def show_progress(self, what: str, done: int, total: int) -> None:
        """Still reading."""
        self._busy = f"reading {what} {done:,} of {total:,}" if total else f"reading {what}"
        self.update_lines()

    def show_facts(self, facts: FaceFacts) -> None:
        """Done."""
        self.facts, self._busy = facts, ""
        self.update_lines()

    def show_video(self, video: Video | None) -> None:
        """The film the faces are from."""
        self.video = video
        self.update_lines()

    def show_missing(self, share: float) -> None:
        """Share of this side's poses that the other side lacks."""
        self._missing = share
        self.update_lines()

    # -- drawing --------------------------------------------------------------------------------

    def lines(self, width: int, height: int) -> list[Strip]:
        """Figures above, map left below, faces right of it."""
        colours, facts = self.colours, self.facts
        if facts is None:
            return [Words().add(f" {self._busy}", colours.muted()).strip(width)]
        if facts.problem or not facts.count:
            return self._empty(facts, colours, width, height)
        text = self._figures(facts, colours, width)
        room = height - len(text)
        if room < 4:
            return [line.strip(width) for line in text][:height]
        if room > 6 and len(text) > 1:
            text.append(Words())
            room -= 1
        wide = max(16, min(2 * room + 8, width // 3, 44))
        chart = pose_map(facts.poses, wide, room - 1, colours, self.colour)
        faces = self._faces(facts, width - wide - 4, room - 1, colours)
        for i in range(room - 1):
            line = Words().add(" ").extend(chart[i])
            if i < len(faces):
                line.fill(wide + 3)
                for segment in faces[i]:
                    line.add(segment.text, segment.style)
            text.append(line)
        caption = Words().add(" ").add("yaw across, pitch up".center(wide), colours.muted())
        text.append(caption)
        return [line.strip(width) for line in text][:height]

    def _empty(self, facts: FaceFacts, colours: Palette, width: int, height: int) -> list[Strip]:
        name = "source" if self.side == "src" else "destination"
        if facts.problem and facts.folder.is_dir():
            what, hint = facts.problem, ""
        else:
            what = f"no {name} faces in {self._folder}"
            hint = (
                "Put aligned faces there: .jpg files from DeepFaceLab's extractor, or its "
                "faceset.pak.\nTo try things first: recaster demo"
            )
            if facts.skipped:
                hint = "None of the files there is a usable face; s lists why.\n" + hint
        lines = paragraph(what, colours.style("warning", bold=True), width - 2, 1)
        if hint:
            lines += paragraph(hint, colours.muted(), width - 2, 1)
        if self.video is not None:
            lines += [Words(), self._film(self.video, colours)]
        return [line.strip(width) for line in lines][:height]

    def _figures(self, facts: FaceFacts, colours: Palette, width: int) -> list[Words]:
        muted, text = colours.muted(), colours.style("text", bold=True)
        first = Words().add(f" {facts.count:,} ", colours.style(self.colour, bold=True))
        first.add("face" if facts.count == 1 else "faces", text)
        types = facts.types[:3]
        alone = len(facts.types) == 1
        first.add("  " + ", ".join(k if alone else f"{k} {n:,}" for k, n in types), text)
        first.add("  " + _sizes(facts), text)
        if facts.pack:
            first.add(f"  in {facts.pack}", muted)
        lines = [first]
        masks = [f"{facts.masks:,} XSeg masks" if facts.masks else "no XSeg masks"]
        masks.append(f"{facts.polygons:,} with polygons" if facts.polygons else "no polygons")
        second = Words().add(" " + " · ".join(masks), muted)
        if self.video is not None:
            film = self._film(self.video, colours)
            if second.length + film.length + 2 <= width:
                second.add(" ·").extend(film)
                lines.append(second)
            else:
                lines += [second, film]
        else:
            lines.append(second)
        if facts.skipped:
            reasons = ", ".join(f"{number} {code}" for code, number in facts.reasons[:4])
            some = f"{len(facts.skipped):,} file{'s' * (len(facts.skipped) != 1)} skipped"
            line = Words().add(f" ! {some}", colours.style("warning"))
            line.add(f"  {reasons}", muted).add("  s", colours.style("accent", bold=True))
            lines.append(line.add(" lists them", muted))
        if facts.posed:
            lines += self._reach(facts, colours, width)
        return lines

    def _reach(self, facts: FaceFacts, colours: Palette, width: int) -> list[Words]:
        import numpy as np

        assert facts.poses is not None
        low, high = np.percentile(facts.poses, (2, 98), axis=0).round().astype(int)
        line = Words().add(
            f" yaw {low[0]:+d}° to {high[0]:+d}° · pitch {low[1]:+d}° to {high[1]:+d}°",
            colours.muted(),
        )
        if facts.posed < facts.count:
            line.add(f" (of {facts.posed:,} faces)", colours.muted())
        if self._missing < 0.005:
            return [line]
        style = colours.style("warning" if self._missing >= 0.1 else "text")
        lack = Words().add(f" {self._missing:.0%} of these poses have no source near", style)
        if line.length + lack.length + 1 <= width:
            return [line.add(" ").extend(lack)]
        return [line, lack]

    def _film(self, video: Video, colours: Palette) -> Words:
        line = Words().add(f" {video.name}", colours.style("text"))
        if video.problem:
            return line.add(f" {video.problem}", colours.style("warning"))
        facts = [f"{video.width}×{video.height}"]
        facts += [f"{video.fps:.4g} fps"] if video.fps else []
        facts += [_length(video.seconds)] if video.seconds else []
        return line.add("  " + " · ".join(facts), colours.muted())

    def _faces(self, facts: FaceFacts, width: int, height: int, colours: Palette) -> list[Strip]:
        """Rows of thumbnails, as large as lets a fair number of them in."""
        if not self.pictures or not facts.samples or width < 10 or height < 3:
            return []
        key = (id(facts), width, height, colours.ground.rgb)
        if self._mosaic is not None and self._mosaic[0] == key:
            return self._mosaic[1]
        strips = thumbnails(facts.samples, width, 2 * height, colours.ground.rgb)
        self._mosaic = (key, strips)
        return strips


def thumbnails(
    samples: "tuple[NDArray[np.uint8], ...]",
    width: int,
    height: int,
    ground: tuple[int, int, int],
    least: int = 14,
) -> list[Strip]:
    """Square pictures in rows, spread evenly over *samples*, as half-blocks.

    Args:
        samples: (n, n, 3) uint8 RGB each.
        width: cells = pixels.
        height: pixels, two a cell.
        ground: RGB of the gaps.
        least: pixels a side below which a face is not recognised; fewer rows then.
    """
    import cv2
    import numpy as np

    from recaster_tui.ui.halfblock import strips

    side = _tile_side(width, height, len(samples), least)
    rows, columns = (height + 1) // (side + 1), (width + 1) // (side + 1)
    count = min(rows * columns, len(samples))
    picks = np.linspace(0, len(samples) - 1, count).round().astype(int)
    tall = rows * side + rows - 1
    canvas = np.empty((tall + tall % 2, columns * (side + 1) - 1, 3), np.uint8)
    canvas[:] = ground
    for n, pick in enumerate(picks):
        r, c = divmod(n, columns)
        tile = cv2.resize(samples[pick], (side, side), interpolation=cv2.INTER_AREA)
        canvas[r * (side + 1) :, c * (side + 1) :][:side, :side] = tile
    return strips(canvas)


def _tile_side(width: int, height: int, samples: int, least: int) -> int:
    """The largest side with which a fair number of faces fits, each still recognisable."""
    for wanted in (10, 8, 6, 4, 3, 2):
        for side in range(min(40, width, height), least - 1, -1):
            shown = ((height + 1) // (side + 1)) * ((width + 1) // (side + 1))
            if shown >= min(wanted, samples):
                return side
    return max(2, min(width, height, 40))


def pose_map(
    poses: "NDArray[np.float32] | None", width: int, height: int, colours: Palette, colour: str
) -> list[Words]:
    """Each face a dot: yaw across (right: nose to the right), pitch up, axes through the middle.

    Braille: 2 × 4 dots a cell. Cells with more faces are brighter.
    """
    import numpy as np

    dots = np.zeros((height * 4, width * 2), np.int64)
    if poses is not None and len(poses):
        across = ((poses[:, 0] / YAW + 1) / 2 * (width * 2 - 1)).round()
        down = ((1 - poses[:, 1] / PITCH) / 2 * (height * 4 - 1)).round()
        x = np.clip(across, 0, width * 2 - 1).astype(np.int64)
        y = np.clip(down, 0, height * 4 - 1).astype(np.int64)
        np.add.at(dots, (y, x), 1)
    cells = dots.reshape(height, 4, width, 2)
    total = cells.sum(axis=(1, 3))
    bits = sum((cells[:, r, :, c] > 0) * _DOTS[r][c] for r in range(4) for c in range(2))
    most = max(1, int(np.percentile(total[total > 0], 95)) if (total > 0).any() else 1)
    axis = colours.faint()
    shades = [colours.style(colour, dim=d) for d in (0.45, 0.25, 0.0)]
    lines = []
    for row in range(height):
        line = Words()
        run, style = "", axis
        for column in range(width):
            count = int(total[row, column])
            if count:
                char = chr(0x2800 + int(np.asarray(bits)[row, column]))
                now: Style = shades[min(2, int(3 * (count - 1) / most))]
            else:
                char, now = _axis(row, column, height, width), axis
            if now is not style and run:
                line.add(run, style)
                run = ""
            style = now
            run += char
        lines.append(line.add(run, style))
    return lines


def _axis(row: int, column: int, height: int, width: int) -> str:
    across, down = row == height // 2, column == width // 2
    if across and down:
        return "┼"
    return "─" if across else "│" if down else " "


def _sizes(facts: FaceFacts) -> str:
    if len(facts.sizes) == 1:
        height, width = facts.sizes[0][0]
        return f"{width}×{height}"
    sides = [max(size) for size, _ in facts.sizes]
    return f"{min(sides)} to {max(sides)} pixels"


def _length(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else words.duration(seconds)

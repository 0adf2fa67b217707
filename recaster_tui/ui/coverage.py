"""Where source and destination look: faces by yaw and pitch, and what the source lacks."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from recaster_tui.ui.face_facts import uncovered

if TYPE_CHECKING:
    from numpy.typing import NDArray

YAW_STEP, PITCH_STEP = 15, 15
YAW_EDGE, PITCH_EDGE = 90, 60
"""Degrees; faces beyond the edges count in the outermost cells."""
_COMPARED = 4_000
_LEAST_SHARE = 0.003  # of the destination: fewer faces than that ask for nothing
_THIN = 0.25  # source faces for each destination face below which a cell is thin


class Need(StrEnum):
    """What the destination needs of the source in one cell."""

    NOTHING = "nothing"  # neither has faces, or only the source
    FINE = "fine"
    THIN = "thin"  # less than a quarter of the destination's number
    MISSING = "missing"  # not one


@dataclass(frozen=True)
class Cell:
    """One field of the map.

    Attributes:
        yaw, pitch: (from, below) in degrees; the outermost reach further.
    """

    row: int
    column: int
    yaw: tuple[int, int]
    pitch: tuple[int, int]
    src: int
    dst: int
    need: Need

    @property
    def text(self) -> str:
        """``yaw +30° to +45°, pitch -15° to 0°``."""
        return (
            f"yaw {self.yaw[0]:+d}° to {self.yaw[1]:+d}°, "
            f"pitch {self.pitch[0]:+d}° to {self.pitch[1]:+d}°"
        )

    @property
    def filter_text(self) -> str:
        """What shows the faces of this cell, in the words of the filter line."""
        parts = []
        for key, (low, high), edge in (
            ("yaw", self.yaw, YAW_EDGE),
            ("pitch", self.pitch, PITCH_EDGE),
        ):
            if low > -edge:
                parts.append(f"{key}>={low}")
            if high < edge:
                parts.append(f"{key}<{high}")
        return " ".join(parts)


@dataclass(frozen=True)
class Coverage:
    """The whole map: rows from the highest pitch down, columns from the lowest yaw on.

    Attributes:
        uncovered: share of the destination's poses without a source face within 8 degrees, 0..1.
    """

    cells: tuple[tuple[Cell, ...], ...]
    src: int
    dst: int
    uncovered: float = 0.0

    @property
    def gaps(self) -> list[Cell]:
        """Cells that the source lacks, where the destination has most first."""
        found = [c for row in self.cells for c in row if c.need in (Need.MISSING, Need.THIN)]
        return sorted(found, key=lambda c: (c.need is not Need.MISSING, -c.dst))


def coverage(src: "NDArray[np.float32]", dst: "NDArray[np.float32]") -> Coverage:
    """Count both sets.

    Args:
        src: (n, 2) yaw and pitch in degrees; rows with NaN are left out.
        dst: the same of the destination.
    """
    counts = [_counted(poses) for poses in (src, dst)]
    total = [int(part.sum()) for part in counts]
    least = max(1.0, _LEAST_SHARE * total[1])
    rows = []
    for row in range(counts[0].shape[0]):
        cells = []
        for column in range(counts[0].shape[1]):
            mine, wanted = int(counts[0][row, column]), int(counts[1][row, column])
            if wanted < least:
                need = Need.FINE if wanted and mine else Need.NOTHING
            elif not mine:
                need = Need.MISSING
            else:
                need = Need.THIN if mine < _THIN * wanted else Need.FINE
            yaw = -YAW_EDGE + column * YAW_STEP
            pitch = PITCH_EDGE - (row + 1) * PITCH_STEP
            cells.append(Cell(row, column, (yaw, yaw + YAW_STEP), (pitch, pitch + PITCH_STEP),
                              mine, wanted, need))  # fmt: skip
        rows.append(tuple(cells))
    share = uncovered(_spread(dst), _spread(src))
    return Coverage(tuple(rows), total[0], total[1], share)


def _spread(poses: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Known ones, evenly spread ones where they are too many to compare all with all."""
    known = poses[np.isfinite(poses).all(1)] if len(poses) else poses
    if len(known) <= _COMPARED:
        return known
    return known[np.linspace(0, len(known) - 1, _COMPARED).round().astype(np.int64)]


def _counted(poses: "NDArray[np.float32]") -> "NDArray[np.int64]":
    rows, columns = 2 * PITCH_EDGE // PITCH_STEP, 2 * YAW_EDGE // YAW_STEP
    counts = np.zeros((rows, columns), np.int64)
    known = poses[np.isfinite(poses).all(1)] if len(poses) else poses
    if len(known):
        column = np.floor((known[:, 0] + YAW_EDGE) / YAW_STEP).astype(np.int64)
        up = np.floor((known[:, 1] + PITCH_EDGE) / PITCH_STEP).astype(np.int64)
        at = (rows - 1 - up.clip(0, rows - 1), column.clip(0, columns - 1))
        np.add.at(counts, at, 1)
    return counts

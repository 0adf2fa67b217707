"""Pictures as half-block strips: two pixels a cell, works in every terminal with colours.

The upper pixel is the foreground of ``▀``, the lower one the background. Rows are compared by
their bytes, so a preview that changed little repaints little.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

UPPER = "▀"


@dataclass(frozen=True)
class TileLayout:
    """Where the tiles of a preview go.

    Attributes:
        tile: pixels a side (a cell is 1 × 2 pixels); 0 when nothing fits.
        columns, rows: tiles shown.
        left: cells before the first tile.
        gap: pixels between tiles, both ways.
    """

    tile: int
    columns: int
    rows: int
    left: int
    gap: int

    @property
    def width(self) -> int:
        """Of the mosaic, in pixels (= cells)."""
        return self.columns * self.tile + (self.columns - 1) * self.gap

    @property
    def height(self) -> int:
        """Of the mosaic, in pixels, made even."""
        pixels = self.rows * self.tile + (self.rows - 1) * self.gap
        return pixels + pixels % 2

    def centre(self, column: int) -> int:
        """Cell in the middle of a column, for its caption."""
        return self.left + column * (self.tile + self.gap) + self.tile // 2


def tile_layout(
    width: int, height: int, columns: int, rows: int, largest: int, gap: int = 1, smallest: int = 0
) -> TileLayout:
    """Tiles as large as *columns* of them across *width* cells allow, then as many rows as fit.

    *height* in cells; *largest* is the picture's own resolution: enlarging shows nothing more
    than four times it. Where *smallest* is given, tiles shrink down to it for another row.
    """
    pixels = 2 * height
    widest = min((width - gap * (columns - 1)) // max(columns, 1), largest * 4)
    tile = min(widest, pixels)
    if tile < 2 or columns < 1 or rows < 1:
        return TileLayout(0, 0, 0, 0, gap)
    fit = max(1, min(rows, (pixels + gap) // (tile + gap)))
    if smallest:
        fit = max(fit, min(rows, (pixels + gap) // (min(smallest, widest) + gap)))
        tile = min(widest, (pixels + gap) // fit - gap)
    used = columns * tile + gap * (columns - 1)
    return TileLayout(tile, columns, fit, (width - used) // 2, gap)


def mosaic(
    image: np.ndarray,
    layout: TileLayout,
    columns: int,
    rows: int,
    first: tuple[int, int],
    background: tuple[int, int, int],
) -> np.ndarray:
    """Cut *columns* × *rows* tiles out of *image*, scale the shown ones, lay them on *background*.

    Args:
        image: (H, W, 3) uint8 RGB.
        layout: what is shown.
        columns: tiles across the image.
        rows: tiles down the image.
        first: row and column of the first tile shown.
        background: RGB of the gaps.

    Returns:
        (layout.height, layout.width, 3) uint8.
    """
    from PIL import Image

    height, width = image.shape[0] // rows, image.shape[1] // columns
    out = np.empty((layout.height, layout.width, 3), np.uint8)
    out[:] = background
    for r in range(layout.rows):
        for c in range(layout.columns):
            y, x = (first[0] + r) * height, (first[1] + c) * width
            tile = Image.fromarray(np.ascontiguousarray(image[y : y + height, x : x + width]))
            scaled = tile.resize((layout.tile, layout.tile), Image.Resampling.LANCZOS)
            top, left = r * (layout.tile + layout.gap), c * (layout.tile + layout.gap)
            out[top : top + layout.tile, left : left + layout.tile] = np.asarray(scaled)
    return out


@lru_cache(maxsize=16384)
def _segment_style(top: int, bottom: int) -> Style:
    background = Color.from_rgb(bottom >> 16, bottom >> 8 & 255, bottom & 255)
    if top == bottom:
        return Style(bgcolor=background)
    return Style(color=Color.from_rgb(top >> 16, top >> 8 & 255, top & 255), bgcolor=background)


def strips(pixels: np.ndarray) -> list[Strip]:
    """Turn (2h, w, 3) uint8 RGB into h strips of w cells, equal neighbours merged.

    Two bits a channel are dropped: nobody sees it, and runs get longer.
    """
    coarse = (pixels & 0xFC).astype(np.uint32)
    packed = coarse[..., 0] << 16 | coarse[..., 1] << 8 | coarse[..., 2]
    top, bottom = packed[0::2], packed[1::2]
    width = pixels.shape[1]
    result: list[Strip] = []
    for upper, lower in zip(top, bottom, strict=True):
        change = (np.diff(upper) != 0) | (np.diff(lower) != 0)
        starts = np.concatenate(([0], np.flatnonzero(change) + 1, [width]))
        up, low, edges = upper.tolist(), lower.tolist(), starts.tolist()
        segments = [
            Segment((UPPER if up[a] != low[a] else " ") * (b - a), _segment_style(up[a], low[a]))
            for a, b in pairwise(edges)
        ]
        result.append(Strip(segments, width))
    return result


def changed_rows(old: np.ndarray | None, new: np.ndarray) -> list[int]:
    """Cell rows of *new* that differ from *old*; all of them when the shapes differ."""
    height = new.shape[0] // 2
    if old is None or old.shape != new.shape:
        return list(range(height))
    differs = (old != new).any(axis=(1, 2)).reshape(height, 2).any(axis=1)
    return np.flatnonzero(differs).tolist()

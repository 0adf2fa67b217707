"""plotext's picture and half-blocks: what reaches the terminal."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recaster_tui.protocol.losses import loss_rows
from recaster_tui.ui import halfblock as h
from recaster_tui.ui import words
from recaster_tui.ui.loss_picture import LossPlotter, View
from recaster_tui.ui.plot import Axis, Line, draw

BLUE, YELLOW, GREY = (80, 140, 255), (240, 200, 60), (60, 60, 60)


def _axes() -> tuple[Axis, Axis]:
    return Axis(0, 100, (0, 50, 100), ("0", "50", "100")), Axis(0, 1, (0, 1), ("  0.0", "  1.0"))


def test_picture_has_labels_and_the_lines_colours() -> None:
    x = np.linspace(0, 100, 60)
    picture = draw(60, 12, [Line(x, x / 100, BLUE)], *_axes())
    text = ["".join(t for t, _ in row) for row in picture.rows]
    assert len(text) == 12
    assert {len(line) for line in text} == {60}
    assert "1.0" in text[picture.top]
    assert "50" in text[-1]
    colours = {c for row in picture.rows for _, c in row}
    assert BLUE in colours
    # It rises: the first dots are at the bottom left, the last ones top right.
    assert text[picture.bottom - 1][picture.left] > "⠀"
    assert text[picture.top][picture.right - 1] > "⠀"


def test_meeting_curves_are_both_seen_and_a_band_stays_behind() -> None:
    x = np.linspace(0, 100, 120)
    flat = np.full(120, 0.5)
    band = Line(x, flat, GREY, band=True)
    picture = draw(60, 12, [band, Line(x, flat, BLUE), Line(x, flat + 0.02, YELLOW)], *_axes())
    colours = {c for row in picture.rows for _, c in row}
    assert {BLUE, YELLOW} <= colours
    assert GREY not in colours


def test_no_lines_make_an_empty_frame() -> None:
    picture = draw(40, 8, [], *_axes())
    assert len(picture.rows) == 8
    assert all(c is None for row in picture.rows for _, c in row)


@given(
    hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 4).map(lambda n: 2 * n), st.integers(1, 9), st.just(3))
    )
)
def test_every_pixel_has_its_half_cell(pixels: np.ndarray) -> None:
    for y, strip in enumerate(h.strips(pixels)):
        assert strip.cell_length == pixels.shape[1]
        x = 0
        for segment in strip:
            for char in segment.text:
                bottom = segment.style.bgcolor.get_truecolor()
                top = segment.style.color.get_truecolor() if char == h.UPPER else bottom
                assert tuple(top) == tuple(int(v) & 0xFC for v in pixels[2 * y, x])
                assert tuple(bottom) == tuple(int(v) & 0xFC for v in pixels[2 * y + 1, x])
                x += 1


@given(
    st.integers(1, 300),
    st.integers(1, 80),
    st.integers(1, 9),
    st.integers(1, 8),
    st.integers(8, 512),
)
def test_tiles_fit(width: int, height: int, columns: int, rows: int, largest: int) -> None:
    layout = h.tile_layout(width, height, columns, rows, largest)
    if layout.tile:
        assert layout.left >= 0
        assert layout.left + layout.width <= width
        assert layout.height <= 2 * height + 1
        assert 1 <= layout.rows <= rows


def test_only_rows_that_differ_are_repainted() -> None:
    old = np.zeros((8, 5, 3), np.uint8)
    new = old.copy()
    new[3, 2] = 255
    assert h.changed_rows(old, new) == [1]
    assert h.changed_rows(None, new) == [0, 1, 2, 3]


def test_mosaic_shows_the_tiles_it_says() -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    image[32:, 64:] = (200, 100, 50)  # tile of row 1, column 2
    layout = h.tile_layout(20, 10, 1, 1, 32)
    shown = h.mosaic(image, layout, 3, 2, (1, 2), (0, 0, 0))
    assert shown[2, 2].tolist() == [200, 100, 50]


def test_words() -> None:
    assert words.duration(None) == "–"
    assert words.duration(45.9) == "45s"
    assert words.duration(3 * 3600 + 125) == "3h 02m"
    assert words.short_count(250_000) == "250k"
    assert words.speed(0.02) == "50.0 s/it"
    assert words.speed(float("nan")) == "– it/s"
    assert words.size(3.2 * 2**30) == "3.2G"
    assert words.loss(float("nan")) == "–"


def test_chart_draws_around_gaps_and_is_kept_while_no_dot_moves() -> None:
    losses = [[1.0 + 0.1 * (i % 3), 0.5] for i in range(4000)]
    losses[1000:1500] = [[float("nan"), float("nan")]] * 500
    rows = loss_rows(1, losses, 50.0)
    plotter, view = LossPlotter(), View(70, 14)
    colours = {"src": (BLUE, GREY), "dst": (YELLOW, (50, 50, 0))}
    first = plotter.draw(rows, view, colours)
    more = plotter.draw(np.concatenate([rows, loss_rows(4001, [[1.1, 0.5]], 50.0)]), view, colours)
    assert more.picture is first.picture
    log = plotter.draw(rows, View(70, 14, log=True), colours)
    assert log.picture is not first.picture
    assert np.isnan(first.series["src"].mean).any()
    assert {c for row in first.picture.rows for _, c in row} >= {BLUE, YELLOW, GREY}


def test_more_faces_where_there_is_height_for_them() -> None:
    # Two columns: beside the form at 200×60, at 120×40, and at 120×40 with five columns.
    assert h.tile_layout(154, 36, 2, 4, 128, smallest=34).rows == 2
    assert h.tile_layout(74, 19, 2, 4, 128, smallest=34).rows == 1
    small = h.tile_layout(74, 19, 5, 4, 128, smallest=34)
    assert small == h.tile_layout(74, 19, 5, 4, 128)

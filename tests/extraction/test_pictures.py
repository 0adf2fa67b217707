import struct
import zlib

import cv2
import numpy as np
import pytest

from recaster_tui.errors import DamagedError
from recaster_tui.extraction.pictures import even, list_pictures, read_picture

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)


def test_channels_and_depths_become_bgr(tmp_path):
    grey = PICTURE[..., 0]
    alpha = np.dstack([PICTURE, np.full((40, 60), 7, np.uint8)])
    deep = PICTURE.astype(np.uint16) * 257
    for name, stored, wanted in (
        ("a.png", PICTURE, PICTURE),
        ("grey.png", grey, np.dstack([grey] * 3)),
        ("alpha.png", alpha, PICTURE),
        ("deep.png", deep, PICTURE),
        ("deep.tif", deep, PICTURE),
        ("b.bmp", PICTURE, PICTURE),
    ):
        assert cv2.imwrite(str(tmp_path / name), stored)
        np.testing.assert_array_equal(read_picture(tmp_path / name), wanted, err_msg=name)


def test_odd_row_and_column_are_dropped():
    np.testing.assert_array_equal(even(PICTURE[:39, :59]), PICTURE[:38, :58])
    np.testing.assert_array_equal(even(PICTURE), PICTURE)


def test_second_of_a_stem_is_left_out(tmp_path):
    for name in ("b.png", "a.jpg", "a.png", "c.JPG", "note.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"x")
    taken, twice = list_pictures(tmp_path)
    assert [p.name for p in taken] == ["a.jpg", "b.png", "c.JPG"]
    assert [p.name for p in twice] == ["a.png"]


def claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header says otherwise."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


def test_damaged_and_hostile_pictures_are_refused_by_name(tmp_path):
    jpeg = cv2.imencode(".jpg", PICTURE)[1].tobytes()
    png = cv2.imencode(".png", PICTURE)[1].tobytes()
    for name, data in {
        "empty.png": b"",
        "text.jpg": b"hello",
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "cut.png": png[: len(png) // 2],
        "bomb.png": claims(60_000, 60_000),
        "bomb2.png": claims(15_000, 15_000),
        "thin.png": claims(1_000_000, 200),
        "zero.png": claims(0, 0),
        "head.png": png[:20],
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(DamagedError) as error:
            read_picture(path)
        assert name in str(error.value)
    with pytest.raises(DamagedError):
        read_picture(tmp_path / "missing.png")

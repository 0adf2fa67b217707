"""Shared by the tests of faces."""

import pickle
import struct

import numpy as np


def same(a: object, b: object) -> bool:
    """Equal values of equal types, NaN included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return struct.pack("<d", a) == struct.pack("<d", b)
    return a == b


def assert_dfl_reads(data: bytes) -> dict:
    """Judge a face file by DFL's own parser limits (dfl-data.md 1.2, 1.4, appendix C), read
    naively and unpickled by Python itself. Gives the metadata."""
    assert data[:2] == b"\xff\xd8"
    segments, position = [], 2
    while data[position + 1] != 0xDA:
        marker, length = (
            data[position + 1],
            int.from_bytes(data[position + 2 : position + 4], "big"),
        )
        assert data[position] == 0xFF
        assert marker not in (0xFF, 0xDD)  # no fill bytes, no restart intervals
        assert length > 2  # an empty segment loses its length in DFL
        segments.append((marker, data[position + 4 : position + 2 + length]))
        position += 2 + length
    assert data.index(b"\xff\xd9", position) == len(data) - 2  # nothing after EOI
    markers = [marker for marker, _ in segments]
    assert markers.count(0xEF) == 1
    assert max(i for i, m in enumerate(markers) if 0xE0 <= m <= 0xEF) == markers.index(0xEF)
    if 0xE0 in markers:
        assert markers[0] == 0xE0
        assert segments[0][1].startswith(b"JFIF")
    payload = dict(segments)[0xEF]
    assert len(payload) <= 65_533
    assert payload[0] == 0x80
    assert payload[1] in (3, 4)
    assert b"numpy._core" not in payload
    stored = pickle.loads(payload)
    assert not any(value is None for value in stored.values())
    for key in ("landmarks", "source_landmarks"):
        if key in stored:
            points = stored[key]
            assert np.asarray(points).shape == (68, 2)
            assert all(type(v) is float for pair in points for v in pair)
    if "source_rect" in stored:
        assert isinstance(stored["source_rect"], np.ndarray)
        assert stored["source_rect"].shape == (4,)
    if "image_to_face_mat" in stored:
        assert np.asarray(stored["image_to_face_mat"]).shape == (2, 3)
    if "xseg_mask" in stored:
        assert stored["xseg_mask"].dtype == np.uint8
        assert stored["xseg_mask"].size <= 50_000
    if "seg_ie_polys" in stored:
        polygons = stored["seg_ie_polys"]["polys"]
        assert polygons
        assert all(type(p["type"]) is int and p["type"] in (0, 1) for p in polygons)
    return stored

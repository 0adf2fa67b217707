"""Measurements as bytes, for the pipe from a helper process and for the cache; no pickles."""

import io
import json
from typing import Any

import numpy as np

from recaster_tui.faces.quality.canonical import CROP, TEXTURE
from recaster_tui.faces.quality.measure import VALUES, Measurements

_SHAPES: dict[str, tuple[type, tuple[int, ...]]] = {
    "values": (np.float32, (len(VALUES),)),
    "landmarks": (np.float32, (68, 2)),
    "placement": (np.float32, (4,)),
    "crop": (np.uint8, (CROP, CROP)),
    "texture": (np.uint8, (TEXTURE, TEXTURE, 3)),
    "digest": (np.uint32, ()),
}


def to_bytes(known: Measurements, more: dict[str, Any]) -> bytes:
    """*known*, and *more* that JSON can hold."""
    words = json.dumps({"frame": known.frame, "doubt": known.doubt, "more": more}).encode("ascii")
    arrays = {name: getattr(known, name) for name in _SHAPES}
    file = io.BytesIO()
    np.savez(file, words=np.frombuffer(words, np.uint8), **arrays)
    return file.getvalue()


def from_bytes(data: bytes) -> tuple[Measurements, dict[str, Any]]:
    """The inverse of :func:`to_bytes`.

    Raises:
        ValueError: these bytes are not from there, or damaged.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            words = json.loads(bytes(file["words"]))
            arrays = {name: file[name] for name in _SHAPES}
        frame, doubt, more = list(words["frame"]), list(words["doubt"]), dict(words["more"])
    except Exception as error:  # zipfile, numpy and json have many ways to say that it is damaged
        raise ValueError(f"no measurements: {error}") from error
    for name, (kind, shape) in _SHAPES.items():
        if arrays[name].dtype != kind or arrays[name].shape != (len(frame), *shape):
            raise ValueError(f"no measurements: {name} has another shape")
    if len(doubt) != len(frame):
        raise ValueError("no measurements: words are missing")
    return Measurements(**arrays, frame=frame, doubt=doubt), more


def joined(parts: list[Measurements]) -> Measurements:
    """Several one after the other."""
    arrays = {name: np.concatenate([getattr(p, name) for p in parts]) for name in _SHAPES}
    frame = [f for p in parts for f in p.frame]
    return Measurements(**arrays, frame=frame, doubt=[d for p in parts for d in p.doubt])


def chosen(known: Measurements, rows: list[int]) -> Measurements:
    """Some *rows* of them, in that order."""
    at = np.array(rows, np.intp)
    arrays = {name: getattr(known, name)[at] for name in _SHAPES}
    frame = [known.frame[i] for i in rows]
    return Measurements(**arrays, frame=frame, doubt=[known.doubt[i] for i in rows])

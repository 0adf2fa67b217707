"""``losses.bin``: every iteration's loss in fixed-size rows, for charts of any length.

The file holds the model's whole history, not only this run's part: the trainer rewrites it from
the checkpoint when it starts (so a resumed run has no rows of iterations that were lost) and
appends from there; a rollback rewrites it, too. A reader starts again from byte 0 at each
``hello`` and ``rolled-back`` event.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recaster_tui.files import write_atomic

LOSS_DTYPE = np.dtype([("iteration", "<u8"), ("src", "<f4"), ("dst", "<f4"), ("ms", "<f4")])
"""20 bytes a row. Models with a single loss (XSeg) have it in ``src``; ``dst`` is NaN."""


def loss_rows(first: int, losses: Sequence[Sequence[float]], ms: float) -> np.ndarray:
    """Rows for consecutive iterations starting at *first*."""
    rows = np.zeros(len(losses), LOSS_DTYPE)
    rows["iteration"] = np.arange(first, first + len(losses))
    rows["ms"] = ms
    for i, row in enumerate(losses):
        rows["src"][i] = row[0]
        rows["dst"][i] = row[1] if len(row) > 1 else np.nan
    return rows


def append_losses(path: Path, rows: np.ndarray) -> None:
    """Append rows by one ``write(2)``; a torn last row is ignored by :func:`read_losses`."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(fd, rows.tobytes())
    finally:
        os.close(fd)


def write_losses(path: Path, rows: np.ndarray) -> None:
    """Replace the file, atomically."""
    write_atomic(path, np.ascontiguousarray(rows, LOSS_DTYPE).tobytes())


def read_losses(path: Path, start_row: int = 0) -> np.ndarray:
    """All whole rows from *start_row* on; an empty array when there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(start_row * LOSS_DTYPE.itemsize)
            raw = file.read()
    except FileNotFoundError:
        return np.empty(0, LOSS_DTYPE)
    return whole_rows(raw)


def whole_rows(raw: bytes) -> np.ndarray:
    """The rows in *raw*, without a torn last one and without what a power cut left of the rest.

    The file is not synced row by row: rows that had no time to reach the disk may be zeros, and
    iterations count from 1.
    """
    whole = len(raw) // LOSS_DTYPE.itemsize * LOSS_DTYPE.itemsize
    rows = np.frombuffer(raw[:whole], LOSS_DTYPE)
    blank = np.flatnonzero(rows["iteration"] == 0)
    return rows[: blank[0]] if len(blank) else rows

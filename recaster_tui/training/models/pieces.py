"""One batch in several pieces: less memory, the same gradient (it is a sum over samples)."""

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor

from recaster_tui.training.models.base import Batch, SideBatch


def samples(batch: Batch, *, joint: bool) -> int:
    """How often *batch* can be cut: its pairs; with *joint* its pictures of both sides."""
    src, dst = len(batch.src.warped), len(batch.dst.warped)
    return src + dst if joint else src


def split(batch: Batch, pieces: int, *, joint: bool) -> list[Batch]:
    """*batch* in at most *pieces* parts, in order, none empty.

    Args:
        joint: the sides are one set of pictures, not pairs (XSeg), and may be cut differently.
    """
    if pieces <= 1:
        return [batch]
    src = _cut(batch.src, pieces)
    # The larger parts come first: turned round, no piece gets two of them.
    dst = _cut(batch.dst, pieces)[:: -1 if joint else 1]
    parts = [Batch(a, b) for a, b in zip(src, dst, strict=True)]
    return [part for part in parts if len(part.src.warped) or len(part.dst.warped)]


def rows_in_order(parts: Sequence[Tensor], batch: Batch, *, joint: bool) -> Tensor:
    """Rows of the :func:`split` parts of *batch*, (n, ...), in the order of the whole *batch*.

    With *joint* every part has the rows of its source pictures, then those of its destination.
    """
    if not joint or len(parts) == 1:
        return torch.cat(list(parts))
    cut = split(batch, len(parts), joint=True)
    sizes = [len(part.src.warped) for part in cut]
    src = [rows[:size] for rows, size in zip(parts, sizes, strict=True)]
    dst = [rows[size:] for rows, size in zip(parts, sizes, strict=True)]
    return torch.cat([*src, *dst[::-1]])


def _cut(side: SideBatch, pieces: int) -> list[SideBatch]:
    columns = [torch.tensor_split(getattr(side, f.name), pieces) for f in fields(side)]
    return [SideBatch(*part) for part in zip(*columns, strict=True)]

"""Preview pictures: rows of tiles, uint8 BGR."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recaster_tui.training.models.base import PreviewView


def view(name: str, columns: Sequence[tuple[str, Tensor]]) -> PreviewView:
    """One row per sample, one tile per column.

    Args:
        name: of the view.
        columns: caption and (n, 3 or 1, R, R) pictures 0..1; single channels become grey.
    """
    pictures = [p.expand(-1, 3, -1, -1) if p.shape[1] == 1 else p for _, p in columns]
    strip = torch.cat([p.float() for p in pictures], 3).clamp(0, 1)
    count, _, height, width = strip.shape
    image = (strip * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return PreviewView(
        name=name,
        columns=tuple(caption for caption, _ in columns),
        image=np.ascontiguousarray(image.reshape(count * height, width, 3)),
        rows=count,
    )

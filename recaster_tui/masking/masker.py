"""What draws masks: the interface of the automatic mask and of XSeg models."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.face import Face

Mask = NDArray[np.float32]
Picture = NDArray[np.uint8]

SIDE = 256
"""Masks are stored at this size, whatever the picture's (dfl-data.md 1.7)."""


class Masker(Protocol):
    """Something that draws the face's mask.

    Attributes:
        name: for people: ``auto``, or the name of the model.
        batch: how many faces it likes at once.
    """

    name: str
    batch: int

    def masks(self, faces: Sequence[tuple[Face, Picture]]) -> list[Mask]:
        """Masks (256, 256) in 0..1 over the whole of each picture, not yet cut at 0.5.

        Args:
            faces: metadata and (H, W, 3) BGR pixels of each.

        Raises:
            BadInputError: the landmarks of a face describe none, or its type has no alignment.
        """

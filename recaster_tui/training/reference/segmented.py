"""XSeg's sample generator with the original's own arithmetic and order of faces (7.7)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.training.data.segmented_sample import (
    SIDE,
    LabelledFace,
    Place,
    make_sample,
)
from recaster_tui.training.reference.warp import WarpParams, warp_by_params, warp_params

Image = NDArray[np.float32]


@dataclass(frozen=True)
class ExactPlace:
    """Warp, then affine transform, then mirror, each on its own, as OpenCV 4 resamples."""

    params: WarpParams

    def __call__(self, image: Image, *, warp: bool, replicate: bool) -> Image:
        """Move a picture (256, 256, 3) or a mask (256, 256)."""
        moved = warp_by_params(
            self.params,
            image.reshape(SIDE, SIDE, -1),
            warp=warp,
            transform=True,
            flip=True,
            replicate_border=replicate,
        )
        return moved.reshape(image.shape)


class ExactPixels:
    """The original's operations, one after the other."""

    def geometry(
        self, rnd: np.random.RandomState, ranges: tuple[float, float, float], flip: bool
    ) -> Place:
        """Draw one geometry; the warp grid comes from the same stream."""
        rotation, scale, shift = ranges
        params = warp_params(
            SIDE,
            flip=flip,
            rnd=rnd,
            warp_rnd=rnd,
            rotation=(-rotation, rotation),
            scale=(-scale, scale),
            shift=(-shift, shift),
        )
        return ExactPlace(params)

    def wide_blur(self, image: Image, size: int) -> Image:
        """Gaussian blur."""
        return np.asarray(cv2.GaussianBlur(image, (size, size), 0), np.float32)


@dataclass
class SegmentedGenerator:
    """One worker: faces and backgrounds each once a pass, everything random from *rnd*."""

    faces: Sequence[LabelledFace]
    rnd: np.random.RandomState
    _order: list[int] = field(default_factory=list)
    _backgrounds: list[int] = field(default_factory=list)

    def sample(self) -> tuple[Image, Image]:
        """Picture (256, 256, 3) and mask (256, 256) of 0 and 1."""
        face = self._next(self._order)
        return make_sample(face, lambda: self._next(self._backgrounds), self.rnd, ExactPixels())

    def _next(self, order: list[int]) -> LabelledFace:
        if not order:
            order.extend(range(len(self.faces)))
            self.rnd.shuffle(order)
        return self.faces[order.pop()]

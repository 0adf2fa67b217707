"""Applying a :class:`Geometry`: one interpolation an image, in OpenCV or in torch.

Both backends follow the same maps: warp and affine are composed before pixels are touched, where
the original interpolates twice. Cubic kernels are Keys' with A = -0.75 in both. OpenCV is several
times faster on a CPU (libraries.md 5), torch does whole batches on a GPU.

The grid warp sees black beyond the face's edge, the affine transform repeats the edge (Quirk 27),
masks are 0 beyond it.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from recaster_tui.training.data.geometry import Geometry, dense_maps, knot_weights

Floats = NDArray[np.float32]

_AFFINE = cv2.WARP_INVERSE_MAP


class CvResampler:
    """The maps of one batch for OpenCV; images are (H, W, C) or (H, W) float32."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._maps: Floats | None = None

    def warped(self, image: Floats, index: int) -> Floats:
        """*image* through grid and affine of face *index*, cubic, not clipped."""
        side = self._geometry.side
        if self._maps is None:
            self._maps = dense_maps(self._geometry.field, side)
        composed = cv2.warpAffine(
            self._maps[index],
            self._geometry.inverse[index],
            (side, side),
            flags=_AFFINE | cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        # The stubs do not know that one two-channel map needs no second.
        moved = cv2.remap(image, composed, None, cv2.INTER_CUBIC)  # type: ignore[call-overload]
        return np.asarray(moved, np.float32)

    def moved(self, image: Floats, index: int) -> Floats:
        """*image* through the affine transform of face *index* only, cubic, not clipped."""
        return self._affine(image, index, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)

    def mask(self, mask: Floats, index: int) -> Floats:
        """A mask through the affine transform of face *index*, linear."""
        return self._affine(mask, index, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)

    def _affine(self, image: Floats, index: int, method: int, border: int) -> Floats:
        side = self._geometry.side
        inverse = self._geometry.inverse[index]
        moved = cv2.warpAffine(
            image, inverse, (side, side), flags=_AFFINE | method, borderMode=border
        )
        return np.asarray(moved, np.float32)


class TorchResampler:
    """The maps of one batch for torch; images are (B, C, R, R) float32 on *device*."""

    def __init__(self, geometry: Geometry, device: torch.device) -> None:
        self._side = side = geometry.side
        inverse = torch.from_numpy(geometry.inverse.astype(np.float32)).to(device)
        line = torch.arange(side, dtype=torch.float32, device=device)
        y, x = torch.meshgrid(line, line, indexing="ij")
        points = torch.stack([x, y, torch.ones_like(x)], dim=-1).reshape(-1, 3)
        # (B, R, R, 2): pixel of the face before the affine transform.
        self._source = (points @ inverse.transpose(1, 2)).reshape(-1, side, side, 2)
        self._field = torch.from_numpy(geometry.field).to(device)
        self._weights = torch.from_numpy(knot_weights(side)).to(device)

    def warped(self, images: Tensor) -> Tensor:
        """Through grid and affine, cubic, not clipped."""
        maps = self._weights @ self._field @ self._weights.T
        composed = self._sample(maps, self._source, "bilinear", "border")
        return self._sample(images, composed.permute(0, 2, 3, 1), "bicubic", "zeros")

    def moved(self, images: Tensor) -> Tensor:
        """Through the affine transform only, cubic, not clipped."""
        return self._sample(images, self._source, "bicubic", "border")

    def masks(self, masks: Tensor) -> Tensor:
        """Masks (B, C, R, R) through the affine transform, linear."""
        return self._sample(masks, self._source, "bilinear", "zeros")

    def _sample(self, images: Tensor, pixels: Tensor, mode: str, border: str) -> Tensor:
        grid = (pixels * 2 + 1) / self._side - 1
        return F.grid_sample(images, grid, mode, border, align_corners=False)

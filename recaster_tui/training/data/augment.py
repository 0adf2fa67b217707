"""Faces of a cache → one side of a batch: colour, then geometry, then poor picture quality."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recaster_tui.training.data.cache import FaceCache
from recaster_tui.training.data.color import (
    SELF_TRANSFERS,
    color_transfer,
    draw_hsv,
    hsv_shift,
)
from recaster_tui.training.data.degrade import channel_cast, degrade, lab_rotation, lab_shift
from recaster_tui.training.data.geometry import Geometry, draw_geometry, plain_geometry
from recaster_tui.training.data.resample import CvResampler, TorchResampler
from recaster_tui.training.data.select import Indices
from recaster_tui.training.models.base import SideAugment, SideBatch

# Share of a GPU's free memory that the faces of one side may take.
_DEVICE_SHARE = 0.15
_SCALE = np.float32(1 / 255)


class FaceStore:
    """Reads faces of a cache as float tensors; on a GPU the whole cache lies there if it fits."""

    def __init__(self, cache: FaceCache, device: torch.device) -> None:
        self.cache = cache
        self._device = device
        self._resident: Tensor | None = None
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if cache.records.nbytes < free * _DEVICE_SHARE:
                self._resident = _upload(cache.records, device)

    @property
    def resident(self) -> bool:
        """Whether the faces lie in device memory."""
        return self._resident is not None

    def load(self, index: Indices) -> Tensor:
        """(B, planes · R · R) uint8 records on the device."""
        rows = self.cache.rows[index]
        if self._resident is not None:
            return self._resident[torch.from_numpy(rows).to(self._device)]
        host = torch.from_numpy(self.cache.records[rows])
        if self._device.type == "cuda":
            return host.pin_memory().to(self._device, non_blocking=True)
        return host.to(self._device)

    def images(self, records: Tensor) -> Tensor:
        """(B, 3, R, R) float32 BGR 0..1 of :meth:`load`'s records."""
        side = self.cache.resolution
        pictures = records[:, : 3 * side * side].view(-1, side, side, 3)
        return pictures.permute(0, 3, 1, 2).float().mul_(1 / 255)

    def masks(self, records: Tensor, count: int) -> Tensor:
        """(B, count, R, R) float32: full face, eyes, mouth."""
        side = self.cache.resolution
        start = 3 * side * side
        planes = records[:, start : start + count * side * side]
        return planes.view(-1, count, side, side).float().mul_(1 / 255)


def _upload(records: NDArray[np.uint8], device: torch.device) -> Tensor:
    resident = torch.empty(records.shape, dtype=torch.uint8, device=device)
    rows = max(1, (64 << 20) // max(1, records.shape[1]))
    for start in range(0, len(records), rows):
        piece = np.ascontiguousarray(records[start : start + rows])
        resident[start : start + rows] = torch.from_numpy(piece).to(device)
    # Another stream will read it.
    torch.cuda.synchronize(device)
    return resident


class SideMaker:
    """Makes one side's batches.

    Args:
        store: faces of this side.
        references: whole pictures of the other side, for colour transfer.
        augment: what to do to them.
        parts: keep eye and mouth masks (the store's cache must have them).
        device: of the batch.
        use_torch: move pixels in torch instead of OpenCV; default: on a GPU.
        pool: threads for JPEG.
    """

    def __init__(
        self,
        store: FaceStore,
        references: FaceStore | None,
        augment: SideAugment,
        *,
        parts: bool,
        device: torch.device,
        pool: ThreadPoolExecutor | None = None,
        use_torch: bool | None = None,
    ) -> None:
        self._store = store
        self._references = references
        self._augment = augment
        self._planes = 3 if parts else 1
        self._device = device
        self._pool = pool
        in_torch = device.type == "cuda" if use_torch is None else use_torch
        self._move = _place_torch if in_torch else _place_opencv

    def make(
        self, index: Indices, references: Indices | None, rng: np.random.Generator
    ) -> SideBatch:
        """The random batch of faces *index*; *references* are positions in the other side."""
        augment, side = self._augment, self._store.cache.resolution
        # Geometry is drawn first, so that colour options do not change it.
        geometry = draw_geometry(rng, len(index), side, augment)
        records = self._store.load(index)
        target = self._store.images(records)
        target = self._recolour(target, references, rng)
        source = target
        if augment.hsv_power:
            shifts = torch.from_numpy(draw_hsv(rng, len(index), augment.hsv_power))
            source = hsv_shift(target, shifts.to(self._device))
        batch = self._place(records, source, target, geometry, index, warp=augment.warp)
        batch.warped = degrade(batch.warped, augment, rng, self._pool)
        return batch

    def plain(self, index: Indices, seed: int) -> SideBatch:
        """Faces *index* as they are; ``warped`` alone is warped, the same way for a *seed*."""
        side = self._store.cache.resolution
        records = self._store.load(index)
        images = self._store.images(records)
        batch = self._place(
            records, images, images, plain_geometry(len(index), side), index, warp=False
        )
        geometry = draw_geometry(np.random.default_rng(seed), len(index), side, SideAugment())
        warped = self._place(records, images, images, geometry, index, warp=True)
        batch.warped = warped.warped
        return batch

    def still(self, index: Indices) -> SideBatch:
        """Faces *index* as they are, ``warped`` too."""
        records = self._store.load(index)
        images = self._store.images(records)
        geometry = plain_geometry(len(index), self._store.cache.resolution)
        return self._place(records, images, images, geometry, index, warp=False)

    def _recolour(
        self, images: Tensor, references: Indices | None, rng: np.random.Generator
    ) -> Tensor:
        mode = self._augment.color_transfer
        if mode in SELF_TRANSFERS:
            images = (lab_shift if mode == "fs-aug" else channel_cast)(images, rng)
        elif mode != "none" and self._references is not None and references is not None:
            colours = self._references.images(self._references.load(references))
            images = color_transfer(mode, images, colours, rng)
        if self._augment.random_color:
            images = lab_rotation(images, rng)
        return images

    def _place(
        self,
        records: Tensor,
        source: Tensor,
        target: Tensor,
        geometry: Geometry,
        index: Indices,
        *,
        warp: bool,
    ) -> SideBatch:
        masks = self._store.masks(records, self._planes)
        warped, still, moved = self._move(source, target, masks, geometry, warp, self._device)
        if self._planes == 3:
            # The original divides by the maximum of the union after the transform (7.5).
            parts = moved[:, 1:]
            top = parts.sum(1, keepdim=True).clamp(0, 1).amax((2, 3), keepdim=True)
            parts = (parts / torch.where(top > 0, top, 1.0)).clamp(0, 1)
            eyes, mouth = parts[:, :1].contiguous(), parts[:, 1:].contiguous()
        else:
            eyes, mouth = torch.zeros_like(moved), torch.zeros_like(moved)
        position = torch.from_numpy(np.asarray(index, np.int64)).to(self._device)
        mask = moved[:, :1].contiguous()
        return SideBatch(warped.clamp_(0, 1), still.clamp_(0, 1), mask, eyes, mouth, position)


def _place_torch(
    source: Tensor,
    target: Tensor,
    masks: Tensor,
    geometry: Geometry,
    warp: bool,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    resampler = TorchResampler(geometry, device)
    still = resampler.moved(target)
    if warp:
        warped = resampler.warped(source)
    else:
        warped = still.clone() if source is target else resampler.moved(source)
    return warped, still, resampler.masks(masks)


def _place_opencv(
    source: Tensor,
    target: Tensor,
    masks: Tensor,
    geometry: Geometry,
    warp: bool,
    device: torch.device,
) -> tuple[Tensor, Tensor, Tensor]:
    resampler = CvResampler(geometry)
    targets = target.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    sources = targets if source is target else source.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    planes = masks.cpu().numpy()
    warped = np.empty((len(targets), 3, geometry.side, geometry.side), np.float32)
    still, moved = np.empty_like(warped), np.empty_like(planes)
    for i in range(len(targets)):
        still[i] = resampler.moved(targets[i], i).transpose(2, 0, 1)
        if warp:
            warped[i] = resampler.warped(sources[i], i).transpose(2, 0, 1)
        elif sources is targets:
            warped[i] = still[i]
        else:
            warped[i] = resampler.moved(sources[i], i).transpose(2, 0, 1)
        for plane in range(planes.shape[1]):
            moved[i, plane] = resampler.mask(planes[i, plane], i)
    return (
        torch.from_numpy(warped).to(device),
        torch.from_numpy(still).to(device),
        torch.from_numpy(moved).to(device),
    )

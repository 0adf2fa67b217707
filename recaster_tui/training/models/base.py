"""What the training loop knows of a model: step, preview, state. Nothing else."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from recaster_tui.options import ModelClass


@dataclass
class SideBatch:
    """One side (source or destination) of a batch; float32 on the training device, BGR, 0..1.

    Attributes:
        warped: (B, 3, R, R) network input: random warp, transform, colour augmentation.
        target: (B, 3, R, R) what it should become: transform only.
        mask: (B, 1, R, R) face mask, soft edges.
        eyes: (B, 1, R, R) eye mask, zeros when :attr:`DataNeeds.eyes` is false.
        mouth: (B, 1, R, R) mouth mask, likewise.
        index: (B,) int64, position in the faceset.
    """

    warped: Tensor
    target: Tensor
    mask: Tensor
    eyes: Tensor
    mouth: Tensor
    index: Tensor


@dataclass
class Batch:
    """Source and destination faces of one iteration (same B)."""

    src: SideBatch
    dst: SideBatch


@dataclass(frozen=True)
class SideAugment:
    """Random changes made to one side's faces (dfl-models.md 3.10, 7.4–7.6; product.md 6.3.1)."""

    flip: bool = False
    warp: bool = True
    rotation: float = 10.0
    scale: float = 0.15
    shift: float = 0.05
    hsv_power: float = 0.0
    color_transfer: str = "none"
    random_color: bool = False
    downsample: bool = False
    noise: bool = False
    blur: bool = False
    jpeg: bool = False
    shadow: bool = False


@dataclass(frozen=True)
class DataNeeds:
    """What batches a model wants; the data path obeys.

    Attributes:
        segmented: XSeg's pairs of picture and mask instead of pictures to redraw; of the sides'
            augmentation only ``flip`` counts then, and ``batch_size`` is that of both together.
    """

    resolution: int
    face_type: str
    batch_size: int
    src: SideAugment = field(default_factory=SideAugment)
    dst: SideAugment = field(default_factory=SideAugment)
    eyes: bool = False
    mouth: bool = False
    uniform_yaw: bool = False
    segmented: bool = False


@dataclass(frozen=True)
class StepResult:
    """Outcome of one iteration.

    Attributes:
        losses: (n,) mean over the batch of each shown loss, on the device, detached: reading
            it is the loop's decision, because it waits for the device.
        per_sample: (B, n) the same before the mean.
        finite: 0-d bool tensor, False when a loss or gradient is NaN or infinite; the step has
            then not changed the weights.
    """

    losses: Tensor
    per_sample: Tensor
    finite: Tensor


@dataclass(frozen=True)
class PreviewView:
    """One named view: *rows* × *columns* tiles of R × R pixels in one picture.

    Attributes:
        name: file and display name: ``src-src``, ``swap``, …
        columns: caption of each column.
        image: (rows*R, columns*R, 3) uint8 BGR.
        rows: number of samples shown.
    """

    name: str
    columns: tuple[str, ...]
    image: np.ndarray
    rows: int


class TrainableModel(Protocol):
    """A model class ready to train. Built by :func:`recaster_tui.training.models.build_model`."""

    @property
    def model_class(self) -> ModelClass:
        """Which of the four."""
        ...

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Of the columns of :attr:`StepResult.losses`."""
        ...

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """By the original's names: ``encoder``, ``inter_AB``, ``decoder_src``, …"""
        ...

    @property
    def needs(self) -> DataNeeds:
        """What batches the present options ask for."""
        ...

    pieces: int
    """Parts in which a batch is worked through; the model doubles it when memory runs out."""

    def wants_batch(self) -> bool:
        """Whether the next :meth:`train_step` uses its batch.

        False when it trains the previous one again (Quick96's every third iteration): the caller
        may then pass any batch of the same shape, for example the last, and save making one.
        """
        ...

    def train_step(self, batch: Batch) -> StepResult:
        """Run one whole iteration (autoencoder, then discriminators) and update the weights."""
        ...

    def preview(self, batch: Batch, samples: int) -> list[PreviewView]:
        """Render every view from a batch, without touching training state or its generators."""
        ...

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Everything a checkpoint needs, as ``{"weights": {...}, "optimizer": {...}}``.

        Keys are flat ``network/…`` names; the tensors are the live ones (the caller copies).
        """
        ...

    def load_state(self, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`state` gave. Missing optimizer tensors start fresh.

        Raises:
            DamagedError: a weight is missing or has another shape.
        """
        ...

    def set_option(self, key: str, value: Any) -> None:
        """Apply an option that the schema marks ``live`` from the next iteration on.

        ``batch_size`` is always a number here: the loop finds one for ``auto``.
        """
        ...

    def away(self) -> AbstractContextManager[None]:
        """Within the context the model leaves its device to another one and must not be used.

        Afterwards it is as before, bit by bit.
        """
        ...


def pick_device(request: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps`` into a device that exists.

    Raises:
        EnvironmentProblem: the named device is not there.
    """
    from recaster_tui.errors import EnvironmentProblem

    if request == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        device = torch.device(request)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EnvironmentProblem(
            f"device {request!r} cannot be used: {str(error).splitlines()[0]}",
            hint="use --device auto, or check the driver and that torch is a CUDA build",
        ) from error
    return device

"""Quick96: a small df-ud SAEHD with everything fixed (dfl-models.md 5)."""

from dataclasses import replace

import torch
from torch import Tensor

from recaster_tui.nets.ops import gaussian_blur
from recaster_tui.options import ModelClass, Quick96Options, SaehdOptions, batch_number, with_number
from recaster_tui.training.losses import SoftMasks
from recaster_tui.training.models.base import Batch, DataNeeds, SideAugment, StepResult
from recaster_tui.training.models.engine import Rule
from recaster_tui.training.models.saehd import SaehdModel

RESOLUTION = 96
SCALE = 0.05
EVERY_UNWARPED = 3


def _fixed(options: Quick96Options) -> SaehdOptions:
    return SaehdOptions(
        **with_number(options).model_dump(),
        resolution=RESOLUTION,
        face_type="full",
        architecture="df-ud",
        autoencoder_dims=128,
        encoder_dims=64,
        decoder_dims=64,
        mask_decoder_dims=16,
        optimizer="rmsprop",
        learning_rate=2e-4,
        learning_rate_dropout="on",
    )


class Quick96Model(SaehdModel):
    """Quick96. Every third iteration it trains the previous batch again, unwarped (quirk 9)."""

    model_class = ModelClass.QUICK96
    _two_scales = False

    def __init__(self, options: Quick96Options, device: torch.device, *, seed: int) -> None:
        self._given = options
        self._last: Batch | None = None
        super().__init__(_fixed(options), device, seed=seed)

    def _rule(self) -> Rule:
        return Rule("rmsprop", self.options.learning_rate * self.slowdown, dropout=True)

    def _needs(self) -> DataNeeds:
        o = self.options
        return DataNeeds(
            resolution=RESOLUTION,
            face_type="full",
            batch_size=batch_number(o),
            src=SideAugment(flip=o.random_src_flip, scale=SCALE),
            dst=SideAugment(flip=o.random_dst_flip, scale=SCALE),
        )

    def _soft(self, mask: Tensor) -> SoftMasks:
        # Neither clipped nor doubled here.
        inside = gaussian_blur(mask, 3)
        return SoftMasks(inside, 1 - inside)

    def wants_batch(self) -> bool:
        """False before an iteration that re-uses the previous batch."""
        return self._last is None or self.iteration % EVERY_UNWARPED != 0

    def train_step(self, batch: Batch) -> StepResult:
        """See :class:`TrainableModel`; *batch* is left aside when :meth:`wants_batch` is false."""
        if self._last is not None and not self.wants_batch():
            last = self._last
            batch = Batch(
                replace(last.src, warped=last.src.target), replace(last.dst, warped=last.dst.target)
            )
        self._last = batch
        return super().train_step(batch)

    def set_option(self, key: str, value: object) -> None:
        """Change one of the few options Quick96 has.

        Raises:
            BadInputError: as for every model.
        """
        from recaster_tui.errors import BadInputError
        from recaster_tui.options import live_problem

        problem = live_problem(self._given, key, value)
        if problem:
            raise BadInputError(problem)
        self._given = self._given.changed(**{key: value})  # type: ignore[arg-type]
        self.options = _fixed(self._given)
        self.needs = self._needs()
        self._last = None
        self._apply_options()

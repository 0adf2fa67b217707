"""The trainable models; :func:`build_model` is the way in."""

from typing import cast

import torch

from recaster_tui.options import (
    AmpOptions,
    ModelClass,
    Quick96Options,
    SaehdOptions,
    TrainingOptions,
    XsegOptions,
)
from recaster_tui.training.models.base import TrainableModel

__all__ = ["build_model"]


def build_model(
    model_class: ModelClass | str, options: TrainingOptions, device: torch.device, *, seed: int
) -> TrainableModel:
    """Create a model with fresh weights on *device*.

    Args:
        model_class: which of the four.
        options: its options, valid for that class.
        device: where it trains.
        seed: start of every random number of the model: weights, dropout masks, label noise.
    """
    kind = ModelClass(model_class)
    if kind is ModelClass.XSEG:
        from recaster_tui.training.models.xseg import XsegModel

        return XsegModel(cast(XsegOptions, options), device, seed=seed)
    if kind is ModelClass.AMP:
        from recaster_tui.training.models.amp import AmpModel

        return AmpModel(cast(AmpOptions, options), device, seed=seed)
    if kind is ModelClass.QUICK96:
        from recaster_tui.training.models.quick96 import Quick96Model

        return Quick96Model(cast(Quick96Options, options), device, seed=seed)
    from recaster_tui.training.models.saehd import SaehdModel

    return SaehdModel(cast(SaehdOptions, options), device, seed=seed)

"""The trainable models; :func:`build_model` is the way in.

What became of the original's 28 quirks (dfl-models.md 10), wherever they live:

* Kept, because results or files depend on them: 1 (AMP's inters stay random), 2 (symmetric warp
  maps), 3 (total variation over channel and height), 4 (background style by the source's mask),
  7 (liae's inter_AB rests without random warp), 9 (Quick96's third iteration), 15 (bilinear warp
  when XSeg is applied), 16 (gradient of the sum over the batch), 17, 18, 19 (padding, windows,
  start values), 22 (one history entry an iteration), 23 (numpy 1 pickles), 25 (learning rate
  dropout "cpu" is "on"), 27, 28 (dark edges after the warp, the faded circle).
* Enforced or refused with a message: 5 (-t wants multiples of 32), 6 (a patch plan that does not
  divide the resolution), 11 (a name that DFL could not list is warned of), 12 (files that do not
  fit are an error, never silently new weights), 21 (``iter`` is at least 1).
* Dropped: 8 (no true face term while its discriminator does not learn), 10 (sot and idt give input
  and target of one face the same colours; the reference path keeps it, for the goldens), 13 (a
  backup of XSeg works), 14 (mask dimensions default from the decoder's chosen ones), 20 (no race:
  the cosine always uses the iteration after it is counted up, as the goldens do), 24 (names always
  have an underscore), 26 (a new model never inherits another's settings).
"""

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

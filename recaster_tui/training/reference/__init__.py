"""The data path written for clarity, one face at a time, in the original's order of operations.

It is the judge of the fast path (:mod:`recaster_tui.training.data`): every random draw comes from a
legacy ``numpy.random.RandomState`` in the original's order, so that DeepFaceLab's own numbers can
be reproduced (spec/dfl-models.md section 7). Training never uses it, but for the small kernel of a
motion blur. (The generator of XSeg's samples, ``segmented``, is imported by its own name: it shares
its steps with training and brings its own arithmetic.)
"""

from recaster_tui.training.reference.color import color_transfer, hsv_shift
from recaster_tui.training.reference.sample import (
    ReferenceOptions,
    face_image,
    face_mask,
    sample_seed,
)
from recaster_tui.training.reference.warp import (
    WarpParams,
    truncated_normal,
    warp_by_params,
    warp_params,
)

__all__ = [
    "ReferenceOptions",
    "WarpParams",
    "color_transfer",
    "face_image",
    "face_mask",
    "hsv_shift",
    "sample_seed",
    "truncated_normal",
    "warp_by_params",
    "warp_params",
]

"""From a GAN patch size to the strides of the discriminator's convolutions.

Source: dfl-models.md 3.8 (U-Net patch discriminator) and its Quirk 6. The networks take the
strides as an argument, so that this rule lives in one place and can be checked before a start.
"""

from functools import cache
from itertools import product
from math import prod

MIN_PATCH, MAX_PATCH = 3, 640
_MAX_LAYERS = 9


def _receptive_field(strides: tuple[int, ...]) -> int:
    """Pixels of the input seen by one output of stacked 3 × 3 convolutions."""
    return 3 + 2 * sum(prod(strides[:i]) for i in range(1, len(strides)))


@cache
def _plans() -> dict[int, tuple[int, ...]]:
    """The best stack for each receptive field: fewest layers, then the most stride."""
    best: dict[int, tuple[int, ...]] = {}
    for layers in range(_MAX_LAYERS):
        for rest in product((1, 2), repeat=layers):
            strides = (2, *rest)
            field = _receptive_field(strides)
            known = best.get(field)
            if known is None or (len(strides), -sum(strides)) < (len(known), -sum(known)):
                best[field] = strides
    return best


def gan_strides(patch_size: int) -> tuple[int, ...]:
    """Strides of the convolutions whose receptive field comes closest to *patch_size*.

    Args:
        patch_size: 3 to 640 pixels.

    Returns:
        One stride (1 or 2) for each 3 × 3 convolution, outermost first.

    Raises:
        ValueError: the size is out of range.
    """
    if not MIN_PATCH <= patch_size <= MAX_PATCH:
        raise ValueError(f"patch size {patch_size} is not within {MIN_PATCH} to {MAX_PATCH}")
    plans = _plans()
    return plans[min(plans, key=lambda field: (abs(field - patch_size), field))]


def gan_divisor(patch_size: int) -> int:
    """What the resolution must be a multiple of, for the skip connections to fit (Quirk 6)."""
    return prod(gan_strides(patch_size))


def nearest_patch_sizes(patch_size: int, resolution: int) -> tuple[int, ...]:
    """The next smaller and the next larger patch size that suit *resolution*."""
    fits = [p for p in range(MIN_PATCH, MAX_PATCH + 1) if resolution % gan_divisor(p) == 0]
    below = max((p for p in fits if p <= patch_size), default=None)
    above = min((p for p in fits if p >= patch_size), default=None)
    return tuple(dict.fromkeys(p for p in (below, above) if p is not None))


def default_patch_size(resolution: int) -> int:
    """An eighth of *resolution*, or the next smaller size that fits it.

    dfl-models.md 3.8 says that an eighth always fits; at 496, 528, 560, 592 and 624 it does not
    (62 to 78 want a multiple of 32).
    """
    return nearest_patch_sizes(max(MIN_PATCH, resolution // 8), resolution)[0]

"""What SAEHD and AMP share: all the fields, and the rules between them."""

from collections.abc import Iterator, Mapping

from recaster_tui.options.augmentation import AugmentationOptions
from recaster_tui.options.common import Problem
from recaster_tui.options.gan_plan import (
    default_patch_size,
    gan_divisor,
    gan_strides,
    nearest_patch_sizes,
)
from recaster_tui.options.losses import LossOptions
from recaster_tui.options.network import NetworkOptions


class AutoencoderOptions(NetworkOptions, AugmentationOptions, LossOptions):
    """Options of the two face-replacing classes that can be configured."""

    @property
    def effective_gan_patch_size(self) -> int:
        """Patch size in pixels, 0 resolved to about an eighth of the resolution."""
        return self.gan_patch_size or default_patch_size(self.resolution)

    @property
    def gan_strides(self) -> tuple[int, ...]:
        """Strides of the GAN's convolutions, outermost first."""
        return gan_strides(self.effective_gan_patch_size)

    @classmethod
    def derived(cls, values: Mapping[str, object]) -> dict[str, object]:
        """Add the default of mask_decoder_dims, which follows decoder_dims."""
        result = dict(super().derived(values))
        dims = result.get("decoder_dims")
        if "mask_decoder_dims" not in result and isinstance(dims, int) and dims > 0:
            result["mask_decoder_dims"] = default_mask_dims(dims)
        return result

    @property
    def resolution_multiple(self) -> int:
        """What the resolution has to be a multiple of."""
        return 32

    def cross_problems(self) -> Iterator[Problem]:
        """Multiples, even dims and the GAN's fit."""
        yield from super().cross_problems()
        multiple = self.resolution_multiple
        if self.resolution % multiple:
            low = self.resolution // multiple * multiple
            near = [str(n) for n in (low, low + multiple) if 64 <= n <= 640]
            yield (
                "resolution",
                f"resolution = {self.resolution} must be a multiple of {multiple}"
                f"{self._multiple_reason()}: {' or '.join(near)}",
            )
        for key in ("encoder_dims", "decoder_dims", "mask_decoder_dims"):
            dims = getattr(self, key)
            if dims % 2:
                yield key, f"{key} = {dims} must be even: {dims - 1} or {dims + 1}"
        if 0 < self.gan_patch_size < 3:
            yield (
                "gan_patch_size",
                f"gan_patch_size = {self.gan_patch_size} is out of range: 0 (an eighth of the "
                "resolution) or 3 to 640",
            )
        elif self.gan_power and self.gan_patch_size and self.resolution % multiple == 0:
            patch = self.gan_patch_size
            divisor = gan_divisor(patch)
            if self.resolution % divisor:
                near = [str(n) for n in nearest_patch_sizes(patch, self.resolution)]
                yield (
                    "gan_patch_size",
                    f"gan_patch_size = {patch} needs a resolution that is a multiple of {divisor}, "
                    f"{self.resolution} is not: use {' or '.join(near)}, or 0",
                )

    def _multiple_reason(self) -> str:
        return ""

    def advice(self) -> Iterator[Problem]:
        """Settings that work against each other."""
        yield from super().advice()
        if self.gan_power and self.random_warp:
            yield "gan_power", "the GAN works best once random_warp is off"
        if self.learning_rate > 1e-3:
            yield "learning_rate", "above 0.001 the model will most likely collapse"
        elif self.learning_rate == 0:
            yield "learning_rate", "0 trains nothing"


def default_mask_dims(decoder_dims: int) -> int:
    """A third of *decoder_dims*, made even upward, within 16 to 256 (dfl-models.md 3.1).

    Of the value chosen: DFL takes the third of the value it proposed (Quirk 14).
    """
    third = decoder_dims // 3
    return min(256, max(16, third + third % 2))

"""What SAEHD, Quick96 and AMP share: stacked sides, picture losses, data needs, judging."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recaster_tui.nets.ops import sigmoid_cross_entropy
from recaster_tui.options import AutoencoderOptions, batch_number
from recaster_tui.training import losses
from recaster_tui.training.models.base import Batch, DataNeeds, SideAugment, SideBatch
from recaster_tui.training.models.engine import Model, Rule, as_input


@dataclass(frozen=True)
class Pair:
    """Source and destination stacked, (2B, …): both sides go through everything together."""

    warped: Tensor
    target: Tensor
    mask: Tensor
    region: Tensor | None

    @classmethod
    def of(cls, batch: Batch, *, eyes: bool, mouth: bool) -> "Pair":
        """Stack the sides; *region* is the wanted union of eyes and mouth."""

        def both(name: str) -> Tensor:
            return torch.cat((getattr(batch.src, name), getattr(batch.dst, name)))

        region = None
        if eyes and mouth:
            region = (both("eyes") + both("mouth")).clamp(0, 1)
        elif eyes or mouth:
            region = both("eyes" if eyes else "mouth")
        return cls(as_input(both("warped")), both("target"), both("mask"), region)


class FaceModel(Model):
    """A model that learns two faces; base of SAEHD (with Quick96) and AMP."""

    options: AutoencoderOptions

    @staticmethod
    def rule_of(o: AutoencoderOptions) -> Rule:
        """The update rule that the options describe; the same for every network."""
        dropout = o.learning_rate_dropout != "off"
        return Rule(
            o.optimizer,
            o.learning_rate,
            dropout=dropout,
            cosine=dropout,
            clip=o.clip_gradients,
            offload=not o.models_on_gpu,
        )

    @staticmethod
    def needs_of(o: AutoencoderOptions, *, hsv_power: float) -> DataNeeds:
        """The batches that the options describe (3.10, 4.5)."""
        shadow = o.random_shadow
        common = SideAugment(
            warp=o.random_warp,
            random_color=o.random_color,
            downsample=o.random_downsample,
            noise=o.random_noise,
            blur=o.random_blur,
            jpeg=o.random_jpeg,
        )
        return DataNeeds(
            resolution=o.resolution,
            face_type=o.face_type,
            batch_size=batch_number(o),
            src=replace(
                common,
                flip=o.random_src_flip,
                hsv_power=hsv_power,
                color_transfer=o.color_transfer,
                shadow=shadow in ("src", "all"),
            ),
            dst=replace(common, flip=o.random_dst_flip, shadow=shadow in ("dst", "all")),
            eyes=o.eyes_priority,
            mouth=o.mouth_priority,
            uniform_yaw=o.uniform_yaw,
        )

    def _pair(self, batch: Batch) -> tuple[Pair, losses.SoftMasks]:
        o = self.options
        pair = Pair.of(batch, eyes=o.eyes_priority, mouth=o.mouth_priority)
        if o.blur_out_mask:
            pair = replace(pair, target=losses.blur_out(pair.target, pair.mask))
        return pair, self._soft(pair.mask)

    def _soft(self, mask: Tensor) -> losses.SoftMasks:
        return losses.soft_masks(mask)

    def _likeness(
        self,
        pair: Pair,
        soft: losses.SoftMasks,
        pictures: Tensor,
        masks: Tensor,
        *,
        two_scales: bool | None,
    ) -> Tensor:
        """Structure, pixels, mask, eyes and mouth, background: (2B,) (3.7)."""
        o = self.options
        target, predicted = pair.target, pictures
        if o.masked_training:
            target, predicted = target * soft.inside, predicted * soft.inside
        loss = losses.likeness(target, predicted, o.loss_function, two_scales)
        loss = loss + 10 * losses.mean_square(pair.mask, masks)
        if pair.region is not None:
            loss = loss + losses.priority(pair.target, pictures, pair.region)
        if o.background_power and o.masked_training:
            target, predicted = pair.target * soft.outside, pictures * soft.outside
            around = losses.likeness(target, predicted, o.loss_function, two_scales)
            loss = loss + o.background_power * around
        return loss

    def _judged(self, network: str, pictures: list[tuple[Tensor, int]]) -> Tensor:
        """Sum over pictures and both outputs of a discriminator's error, (B,)."""
        o = self.options
        count = len(pictures[0][0])
        with self.autocast():
            outputs = self.networks[network](as_input(torch.cat([p for p, _ in pictures])))
        total = pictures[0][0].new_zeros(count)
        for logits in outputs:
            for part, (_, label) in zip(logits.split(count), pictures, strict=True):
                wanted = losses.disturbed_label(
                    label, part, o.gan_smoothing, o.gan_noise, self._generator
                )
                total = total + sigmoid_cross_entropy(wanted, part)
        return total


def first(side: SideBatch, samples: int) -> SideBatch:
    """The first *samples* of a side."""
    return SideBatch(
        side.warped[:samples],
        side.target[:samples],
        side.mask[:samples],
        side.eyes[:samples],
        side.mouth[:samples],
        side.index[:samples],
    )

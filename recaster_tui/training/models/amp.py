"""AMP as a trainable model (dfl-models.md 4.3-4.5, 8.2)."""

from collections.abc import Callable

import torch
from torch import Tensor

from recaster_tui.nets.amp import autoencoder
from recaster_tui.nets.discriminators import UNetPatchDiscriminator
from recaster_tui.nets.ops import total_variation_mse
from recaster_tui.options import AmpOptions, ModelClass
from recaster_tui.training import losses
from recaster_tui.training.models.base import Batch, DataNeeds, PreviewView
from recaster_tui.training.models.engine import Objective, Rule, as_input
from recaster_tui.training.models.face import FaceModel, first
from recaster_tui.training.models.tiles import view

MORPHS = (0.25, 0.5, 0.65, 0.75, 1.0)


class AmpModel(FaceModel):
    """AMP. The two inters stay at their random start values, as in the original (quirk 1).

    Attributes:
        mix: (samples, channels, ones) -> (samples, channels) of 0 and 1, so many ones in each row;
            a random permutation unless replaced.
    """

    model_class = ModelClass.AMP
    options: AmpOptions

    def __init__(self, options: AmpOptions, device: torch.device, *, seed: int) -> None:
        super().__init__(options, device, seed=seed)
        self.mix: Callable[[int, int, int], Tensor] = self._permuted
        o = options
        self._add_networks(
            lambda: autoencoder(
                o.resolution,
                o.autoencoder_dims,
                o.inter_dims,
                o.encoder_dims,
                o.decoder_dims,
                o.mask_decoder_dims,
            ),
            self.main_optimizer,
            self._rule(),
        )
        self._apply_options()

    def _rule(self) -> Rule:
        return self.rule_of(self.options)

    def _apply_options(self) -> None:
        o = self.options
        if o.gan_power and "GAN" not in self.networks:
            self._add_networks(
                lambda: {"GAN": UNetPatchDiscriminator(o.gan_strides, o.gan_dims)},
                "GAN_opt",
                self._rule(),
            )
        for optimizer in self.optimizers.values():
            self._rule().apply(optimizer)

    def _needs(self) -> DataNeeds:
        return self.needs_of(self.options, hsv_power=self.options.random_hsv_power)

    def trainable(self, optimizer: str) -> list[str]:
        """Encoder and decoder only, or the GAN."""
        names = self.trainable_ever(optimizer)
        return [n for n in names if not n.startswith(("inter_src/", "inter_dst/"))]

    def _permuted(self, samples: int, channels: int, ones: int) -> Tensor:
        order = torch.rand(samples, channels, device=self.device, generator=self._generator)
        return (order.argsort(1) < ones).float()

    def _codes(self, warped: Tensor) -> Tensor:
        """Codes of stacked source and destination pictures, (2B, inter, r, r)."""
        o, nets = self.options, self.networks
        src, dst = nets["encoder"](warped).chunk(2)
        ones = int(o.inter_dims * o.morph_factor)
        z = self.mix(len(src), o.inter_dims, ones).to(self.device)[:, :, None, None]
        code = nets["inter_src"](src) * z + nets["inter_dst"](src) * (1 - z)
        return as_input(torch.cat((code, nets["inter_dst"](dst))))

    def objective(self, batch: Batch) -> Objective:
        """Terms of 4.4; both sides' structure at two scales, at every resolution."""
        o = self.options
        pair, soft = self._pair(batch)
        count = len(pair.warped) // 2
        with self.autocast():
            pictures, masks = self.networks["decoder"](self._codes(pair.warped))
        loss = self._likeness(pair, soft, pictures, masks, two_scales=True)
        src_loss, dst_loss = loss.chunk(2)
        total = src_loss + dst_loss
        outside = soft.outside[count:]
        around, wanted = pictures[count:] * outside, pair.target[count:] * outside
        total = total + 0.1 * losses.mean_square(around, wanted)
        # Over channel and height: AMP always runs NCHW (quirk 3).
        total = total + 1e-6 * total_variation_mse(around, (1, 2))
        if o.gan_power:
            inside = soft.inside if o.masked_training else torch.ones_like(soft.inside)
            with self.autocast():
                judged = self.networks["GAN"](as_input(pictures * inside))
            both = losses.adversarial(judged)
            total = total + o.gan_power * (both[:count] + both[count:])
            total = total + losses.outside_calm(
                pictures[:count], pair.target[:count], soft.outside[:count], axes=(1, 2)
            )
        return Objective(total, torch.stack((src_loss, dst_loss), 1))

    def contests(self, batch: Batch) -> dict[str, Objective]:
        """The GAN judges both sides (4.4)."""
        if not self.options.gan_power:
            return {}
        pair, soft = self._pair(batch)
        with torch.no_grad(), self.autocast():
            fake = self.networks["decoder"].image(self._codes(pair.warped))  # type: ignore[operator]
        real = pair.target
        if self.options.masked_training:
            real, fake = real * soft.inside, fake * soft.inside
        (real_src, real_dst), (fake_src, fake_dst) = real.chunk(2), fake.chunk(2)
        judged = self._judged("GAN", [(real_src, 1), (fake_src, 0), (real_dst, 1), (fake_dst, 0)])
        return {"GAN_opt": Objective(judged / 8)}

    # -- looking ----------------------------------------------------------------------------

    @torch.inference_mode()
    def infer(self, src: Tensor, dst: Tensor, morph: float = 1.0) -> dict[str, Tensor]:
        """Pictures and masks of (n, 3, R, R) inputs at a morph value 0..1; keys as in SAEHD."""
        nets, channels = self.networks, self.options.inter_dims
        # The permutation of the preview must not advance the training's.
        kept = self._generator.get_state()
        try:
            with self.autocast():
                pictures, masks = nets["decoder"](self._codes(as_input(torch.cat((src, dst)))))
        finally:
            self._generator.set_state(kept)
        with self.autocast():
            vector = nets["encoder"](as_input(dst))
            taken = int(torch.tensor(channels * morph, dtype=torch.float32))
            code = torch.cat(
                (nets["inter_src"](vector)[:, :taken], nets["inter_dst"](vector)[:, taken:]), 1
            )
            swap, swap_mask = nets["decoder"](as_input(code))
        count = len(src)
        return {
            "src_src": pictures[:count],
            "src_srcm": masks[:count],
            "dst_dst": pictures[count:],
            "dst_dstm": masks[count:],
            "src_dst": swap,
            "src_dstm": swap_mask,
        }

    @torch.inference_mode()
    def preview(self, batch: Batch, samples: int) -> list[PreviewView]:
        """Both reconstructions, the swap, the morph series plain and masked."""
        src, dst = first(batch.src, samples), first(batch.dst, samples)
        chosen = self.options.preview_morph_factor
        shots = {m: self.infer(src.target, dst.target, m) for m in {*MORPHS, chosen}}
        one = shots[chosen]
        series = [(f"{m:g}", shots[m]["src_dst"]) for m in MORPHS]
        masked = [
            (f"{m:g}", shots[m]["src_dst"] * shots[m]["dst_dstm"] * shots[m]["src_dstm"])
            for m in MORPHS
        ]
        return [
            view("src-src", [("source", src.target), ("rebuilt", one["src_src"])]),
            view("dst-dst", [("destination", dst.target), ("rebuilt", one["dst_dst"])]),
            view("swap", [("destination", dst.target), (f"morph {chosen:g}", one["src_dst"])]),
            view("morph", [("rebuilt", one["dst_dst"]), *series]),
            view("morph masked", [("rebuilt", one["dst_dst"]), *masked]),
        ]

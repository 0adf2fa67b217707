"""SAEHD as a trainable model (dfl-models.md 3.5-3.9, 8.1)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recaster_tui.nets.discriminators import CodeDiscriminator, UNetPatchDiscriminator
from recaster_tui.nets.ops import dssim, sigmoid_cross_entropy, style_loss
from recaster_tui.nets.saehd import Archi, Decoder, autoencoder
from recaster_tui.options import ModelClass, SaehdOptions
from recaster_tui.training import losses
from recaster_tui.training.models.base import Batch, DataNeeds, PreviewView
from recaster_tui.training.models.engine import Objective, Rule, as_input
from recaster_tui.training.models.face import FaceModel, Pair, first
from recaster_tui.training.models.tiles import view


@dataclass(frozen=True)
class Codes:
    """What decoders are given: source, destination, and the swap (source's identity on dst)."""

    src: Tensor
    dst: Tensor
    swap: Tensor


def effective(options: SaehdOptions) -> SaehdOptions:
    """What *options* mean while pretraining (3.9); themselves when it is off.

    Quirk 8, a true face term judged by a discriminator that does not learn, is dropped.
    """
    if not options.pretrain:
        return options
    return options.model_copy(
        update={
            "random_warp": False,
            "random_src_flip": True,
            "random_dst_flip": True,
            "uniform_yaw": True,
            "random_hsv_power": 0.0,
            "color_transfer": "none",
            "learning_rate_dropout": "off",
            "gan_power": 0.0,
            "true_face_power": 0.0,
            "face_style_power": 0.0,
            "background_style_power": 0.0,
        }
    )


class SaehdModel(FaceModel):
    """SAEHD; also the body of Quick96, which fixes the options."""

    model_class = ModelClass.SAEHD
    options: SaehdOptions

    def __init__(self, options: SaehdOptions, device: torch.device, *, seed: int) -> None:
        super().__init__(options, device, seed=seed)
        self.archi = Archi.parse(options.architecture)
        o = options
        self._add_networks(
            lambda: autoencoder(
                self.archi,
                o.resolution,
                o.autoencoder_dims,
                o.encoder_dims,
                o.decoder_dims,
                o.mask_decoder_dims,
            ),
            self.main_optimizer,
            self._rule(),
        )
        self._apply_options()

    # -- options ----------------------------------------------------------------------------

    @property
    def effective(self) -> SaehdOptions:
        """The options as they act now: :func:`effective`."""
        return effective(self.options)

    def _rule(self) -> Rule:
        return self.rule_of(self.effective)

    def _apply_options(self) -> None:
        o = self.effective
        if o.true_face_power and "dis" not in self.networks:
            side = o.resolution // (8 if not (self.archi.d or self.archi.t) else 16)
            if self.archi.d and self.archi.t:
                side = o.resolution // 32
            self._add_networks(
                lambda: {"dis": CodeDiscriminator(o.autoencoder_dims, side)},
                "D_code_opt",
                self._rule(),
            )
        if o.gan_power and "D_src" not in self.networks:
            self._add_networks(
                lambda: {"D_src": UNetPatchDiscriminator(o.gan_strides, o.gan_dims)},
                "GAN_opt",
                self._rule(),
            )
        for optimizer in self.optimizers.values():
            self._rule().apply(optimizer)

    def _needs(self) -> DataNeeds:
        o = self.effective
        return self.needs_of(o, hsv_power=o.random_hsv_power)

    def trainable(self, optimizer: str) -> list[str]:
        """All of the optimizer's; liae's inter_AB rests while random warp is off (quirk 7)."""
        names = self.trainable_ever(optimizer)
        if self.archi.liae and not self.effective.random_warp:
            return [name for name in names if not name.startswith("inter_AB/")]
        return names

    # -- networks ---------------------------------------------------------------------------

    def codes(self, warped: Tensor) -> Codes:
        """Codes of stacked source and destination pictures (2B, 3, R, R)."""
        nets, count = self.networks, len(warped) // 2
        vector = nets["encoder"](warped)
        if not self.archi.liae:
            src, dst = nets["inter"](vector).split(count)
            return Codes(src, dst, dst)
        shared_src, shared_dst = nets["inter_AB"](vector).split(count)
        own = nets["inter_B"](vector[count:])
        return Codes(
            torch.cat((shared_src, shared_src), 1),
            torch.cat((own, shared_dst), 1),
            torch.cat((shared_dst, shared_dst), 1),
        )

    def decoder(self, side: str) -> Decoder:
        """The decoder of ``src`` or ``dst``."""
        net = self.networks["decoder" if self.archi.liae else f"decoder_{side}"]
        assert isinstance(net, Decoder)
        return net

    def _decode_both(self, codes: Codes) -> tuple[Tensor, Tensor]:
        """Pictures (2B, 3, R, R) and masks (2B, 1, R, R) of both sides."""
        if self.archi.liae:
            pictures, masks = self.decoder("src")(torch.cat((codes.src, codes.dst)))
            return pictures, masks
        src, src_mask = self.decoder("src")(codes.src)
        dst, dst_mask = self.decoder("dst")(codes.dst)
        return torch.cat((src, dst)), torch.cat((src_mask, dst_mask))

    # -- losses -----------------------------------------------------------------------------

    _two_scales: bool | None = None

    def objective(self, batch: Batch) -> Objective:
        """Terms of 3.7 and the generator's of 3.8."""
        o = self.effective
        pair, soft = self._pair(batch)
        count = len(pair.warped) // 2
        with self.autocast():
            codes = self.codes(pair.warped)
            pictures, masks = self._decode_both(codes)
        loss = self._likeness(pair, soft, pictures, masks, two_scales=self._two_scales)
        src_loss, dst_loss = loss.chunk(2)
        if o.face_style_power or o.background_style_power:
            style = self._style(codes, pair, soft, pictures[count:], masks[count:])
            src_loss = src_loss + style
        shown = torch.stack((src_loss, dst_loss), 1)
        total = src_loss + dst_loss
        if o.true_face_power:
            with self.autocast():
                logits = self.networks["dis"](codes.src)
            total = total + o.true_face_power * sigmoid_cross_entropy(1.0, logits)
        if o.gan_power:
            fake = pictures * soft.inside if o.masked_training else pictures
            with self.autocast():
                judged = self.networks["D_src"](as_input(fake[:count]))
            total = total + o.gan_power * losses.adversarial(judged)
            if o.masked_training:
                total = total + losses.outside_calm(
                    pictures[:count], pair.target[:count], soft.outside[:count], axes=(2, 3)
                )
        return Objective(total, shown)

    def _style(
        self, codes: Codes, pair: Pair, soft: losses.SoftMasks, dst: Tensor, dst_mask: Tensor
    ) -> Tensor:
        """Face and background style of the swap; only here the swap is decoded at all."""
        o = self.effective
        count, resolution = len(dst), dst.shape[-1]
        total = dst.new_zeros(count)
        if o.face_style_power:
            # The code is cut off, so that only the decoder learns style.
            with self.autocast():
                swap, swap_mask = self.decoder("src")(codes.swap.detach())
            total = total + style_loss(
                swap * swap_mask.detach(),
                (dst * dst_mask).detach(),
                blur_sigma=resolution // 8,
                weight=10000 * o.face_style_power / 100,
            )
        if o.background_style_power:
            power = 10 * o.background_style_power / 100
            with self.autocast():
                swap = self.decoder("src").image(codes.swap)
            # The *source's* mask is the original's doing (quirk 4).
            outside = 1 - soft.inside[:count].clamp(0, 1)
            a, b = pair.target[count:] * outside, swap * outside
            window = losses.window_sizes(resolution)[0]
            total = total + power * (dssim(a, b, window).mean(1) + losses.mean_square(a, b))
        return total

    def contests(self, batch: Batch) -> dict[str, Objective]:
        """The code discriminator's and the GAN's losses (3.8), on the weights as they are now."""
        o = self.effective
        found: dict[str, Objective] = {}
        if not (o.true_face_power or o.gan_power):
            return found
        pair, soft = self._pair(batch)
        count = len(pair.warped) // 2
        with torch.no_grad(), self.autocast():
            codes = self.codes(pair.warped)
            fake = self.decoder("src").image(codes.src) if o.gan_power else None
        if o.true_face_power:
            with self.autocast():
                on_src, on_dst = self.networks["dis"](torch.cat((codes.src, codes.dst))).split(
                    count
                )
            found["D_code_opt"] = Objective(
                0.5 * (sigmoid_cross_entropy(1.0, on_dst) + sigmoid_cross_entropy(0.0, on_src))
            )
        if fake is not None:
            real = pair.target[:count]
            if o.masked_training:
                inside = soft.inside[:count]
                real, fake = real * inside, fake * inside
            found["GAN_opt"] = Objective(0.5 * self._judged("D_src", [(real, 1), (fake, 0)]))
        return found

    # -- looking ----------------------------------------------------------------------------

    @torch.inference_mode()
    def infer(self, src: Tensor, dst: Tensor) -> dict[str, Tensor]:
        """Pictures and masks, float32 0..1, of (n, 3, R, R) inputs.

        Keys ``src_src, src_srcm, dst_dst, dst_dstm, src_dst, src_dstm`` (*m* = mask; src_dst is
        the source's identity with the destination's expression).
        """
        count = len(src)
        with self.autocast():
            codes = self.codes(as_input(torch.cat((src, dst))))
            pictures, masks = self._decode_both(codes)
            swap, swap_mask = self.decoder("src")(codes.swap)
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
        """The nine views of product.md 9, at every resolution."""
        src, dst = first(batch.src, samples), first(batch.dst, samples)
        plain, warped = self.infer(src.target, dst.target), self.infer(src.warped, dst.warped)
        swap_mask = plain["src_dstm"]
        if self.options.face_type != "head":
            swap_mask = swap_mask * plain["dst_dstm"]
        return [
            view("src-src", [("source", src.target), ("rebuilt", plain["src_src"])]),
            view("dst-dst", [("destination", dst.target), ("rebuilt", plain["dst_dst"])]),
            view("swap", [("destination", dst.target), ("swap", plain["src_dst"])]),
            view("warped src-src", [("source", src.warped), ("rebuilt", warped["src_src"])]),
            view("warped dst-dst", [("destination", dst.warped), ("rebuilt", warped["dst_dst"])]),
            view("warped swap", [("destination", dst.warped), ("swap", warped["src_dst"])]),
            view(
                "mask src-src",
                [
                    ("source", src.target * src.mask),
                    ("rebuilt", plain["src_src"] * plain["src_srcm"]),
                ],
            ),
            view(
                "mask dst-dst",
                [
                    ("destination", dst.target * dst.mask),
                    ("rebuilt", plain["dst_dst"] * plain["dst_dstm"]),
                ],
            ),
            view(
                "mask swap",
                [("destination", dst.target * dst.mask), ("swap", plain["src_dst"] * swap_mask)],
            ),
        ]

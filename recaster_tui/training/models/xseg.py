"""XSeg as a trainable model (dfl-models.md 6.3, 8.4)."""

import torch
from torch import Tensor

from recaster_tui.nets.ops import sigmoid_cross_entropy
from recaster_tui.nets.xseg import RESOLUTION, XSeg
from recaster_tui.options import ModelClass, XsegOptions, batch_number
from recaster_tui.training import losses
from recaster_tui.training.models.base import Batch, DataNeeds, PreviewView, SideAugment
from recaster_tui.training.models.engine import Model, Objective, Rule, as_input
from recaster_tui.training.models.face import first
from recaster_tui.training.models.tiles import view

LEARNING_RATE = 1e-4
PRETRAINING_SCALE = 0.05
GREEN = (0.0, 1.0, 0.0)
LUMA_BGR = (0.114, 0.587, 0.299)


class XsegModel(Model):
    """XSeg. Both sides of a batch are one set of pictures; input is ``warped``, truth ``mask``."""

    model_class = ModelClass.XSEG
    loss_names = ("mask",)
    main_optimizer = "opt"
    options: XsegOptions

    def __init__(self, options: XsegOptions, device: torch.device, *, seed: int) -> None:
        super().__init__(options, device, seed=seed)
        self._add_networks(
            lambda: {"XSeg": XSeg()}, "opt", Rule("rmsprop", LEARNING_RATE, dropout=True)
        )

    def _apply_options(self) -> None:
        """Nothing in XSeg's networks follows an option."""

    def _needs(self) -> DataNeeds:
        o = self.options
        if o.pretrain:
            # Pictures to redraw, of one set of faces; an odd batch size becomes the next even one.
            side = SideAugment(flip=True, scale=PRETRAINING_SCALE)
            count = (batch_number(o) + 1) // 2
            return DataNeeds(RESOLUTION, o.face_type, count, src=side, dst=side)
        return DataNeeds(
            resolution=RESOLUTION,
            face_type=o.face_type,
            batch_size=batch_number(o),
            src=SideAugment(flip=o.random_src_flip),
            dst=SideAugment(flip=o.random_dst_flip),
            segmented=True,
        )

    def trainable(self, optimizer: str) -> list[str]:
        """All 222 tensors, every frn eps included."""
        return self.trainable_ever(optimizer)

    def objective(self, batch: Batch) -> Objective:
        """Mean binary cross-entropy of the logits; pretraining: likeness to the grey picture."""
        images = torch.cat((batch.src.warped, batch.dst.warped))
        if self.options.pretrain:
            target, found = _grey(images), self.infer_trainable(images)
            loss = losses.structure(target, found) + 10 * losses.mean_square(target, found)
            return Objective(loss, loss[:, None])
        masks = torch.cat((batch.src.mask, batch.dst.mask))
        with self.autocast():
            logits = self.networks["XSeg"](as_input(images))
        loss = sigmoid_cross_entropy(masks, logits)
        return Objective(loss, loss[:, None])

    def infer_trainable(self, images: Tensor) -> Tensor:
        """As :meth:`infer`, with gradients; while pretraining without skip connections (6.2)."""
        with self.autocast():
            logits = self.networks["XSeg"](as_input(images), skips=not self.options.pretrain)
        return torch.sigmoid(logits.float())

    @torch.inference_mode()
    def infer(self, images: Tensor) -> Tensor:
        """Masks (n, 1, 256, 256) in 0..1 of (n, 3, 256, 256) pictures; grey ones in pretraining."""
        return self.infer_trainable(images)

    @torch.inference_mode()
    def preview(self, batch: Batch, samples: int) -> list[PreviewView]:
        """Training faces (``warped`` and ``mask``) under truth and prediction; each set's faces."""
        src, dst = first(batch.src, samples), first(batch.dst, samples)
        found = self.infer(src.warped)
        if self.options.pretrain:
            grey = found.expand(-1, 3, -1, -1)
            return [view("training faces", [("input", src.warped), ("prediction", grey)])]
        views = [
            view(
                "training faces",
                [
                    ("true", _overlay(src.warped, src.mask)),
                    ("mask", found),
                    ("predicted", _overlay(src.warped, found)),
                ],
            )
        ]
        for name, faces in (("src faces", src.target), ("dst faces", dst.target)):
            if not len(faces):
                continue  # a side may be empty
            found = self.infer(faces)
            views.append(
                view(
                    name,
                    [("face", faces), ("mask", found), ("predicted", _overlay(faces, found))],
                )
            )
        return views


def _grey(images: Tensor) -> Tensor:
    """Luma (ITU-R BT.601) of (B, 3, H, W) BGR pictures: (B, 1, H, W)."""
    weights = torch.tensor(LUMA_BGR, device=images.device)[:, None, None]
    return (images * weights).sum(1, keepdim=True)


def _overlay(image: Tensor, mask: Tensor) -> Tensor:
    """What lies outside the mask, half green (8.4)."""
    green = torch.tensor(GREEN, device=image.device)[:, None, None]
    return image * mask + 0.5 * (image + green) * (1 - mask)

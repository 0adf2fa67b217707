"""What the network is asked to become good at; the GAN included.

Defaults and ranges: dfl-models.md 3.1 and product.md 6.3.1.
"""

from typing import Literal

from recaster_tui.options.common import TrainingOptions
from recaster_tui.options.spec import When, option

_GAN_ON = When("gan_power", "above", 0)


class LossOptions(TrainingOptions):
    """What the network is asked to become good at; the GAN included."""

    masked_training: bool = option(
        True,
        label="Masked training",
        group="Losses",
        live=True,
        dfl="masked_training",
        shown_when=When("face_type", "in", ("whole", "head", "custom")),
        help="""Learns only what lies within the face mask, so that all the model's power goes into
        the face. Off, it also paints the background, which only style transfer profits
        from.""",
        recommended="yes: the face is what gets merged",
    )
    eyes_priority: bool = option(
        False,
        label="Eyes first",
        group="Losses",
        live=True,
        dfl="eyes_prio",
        help="""Weights errors in the eyes heavily (x300). Cures crossed or wandering eyes at high
        resolutions; other detail learns a little slower.""",
        recommended="no: yes when the eyes look in wrong directions",
    )
    mouth_priority: bool = option(
        False,
        label="Mouth first",
        group="Losses",
        live=True,
        dfl="mouth_prio",
        help="""Weights errors in the mouth heavily (x300). Gives better teeth and lip movement;
        other detail learns a little slower.""",
        recommended="no: yes when teeth or speech look wrong",
    )
    loss_function: Literal["ssim", "ms-ssim", "ms-ssim+l1"] = option(
        "ssim",
        label="Loss function",
        group="Losses",
        live=True,
        dfl="loss_function",
        help="""How likeness of two pictures is measured. ssim is DeepFaceLab's; ms-ssim compares at
        several scales; +l1 adds plain colour difference. Changing it changes the scale of the
        loss curve, so figures before and after cannot be compared.""",
        recommended="ssim: the best known; figures compare with other people's",
    )
    blur_out_mask: bool = option(
        False,
        label="Blur outside mask",
        group="Losses",
        live=True,
        dfl="blur_out_mask",
        help="""Blurs what lies just outside the face mask, in both sets, for a softer border of
        the swap. Needs exact masks (XSeg) in both sets.""",
        recommended="no: yes once XSeg masks are applied to both sets",
    )
    background_power: float = option(
        0.0,
        label="Background power",
        group="Losses",
        ge=0.0,
        le=1.0,
        step=0.05,
        live=True,
        dfl="background_power",
        help="""Weight of the area outside the mask while masked training is on. A little makes the
        mask's border smoother; much takes power from the face.""",
        recommended="0: 0.1 if borders flicker",
    )
    gan_power: float = option(
        0.0,
        label="GAN power",
        group="GAN",
        ge=0.0,
        le=5.0,
        step=0.05,
        live=True,
        dfl="gan_power",
        help="""Weight of a second network that judges whether the source face looks real; forces
        fine skin detail. Costs much memory and time and spoils a face that is not finished:
        the very last step, after random_warp is off. 0 = off.""",
        recommended="0: 0.1 at the end",
    )
    gan_patch_size: int = option(
        0,
        label="GAN patch size",
        group="GAN",
        ge=0,
        le=640,
        step=1,
        dfl="gan_patch_size",
        shown_when=_GAN_ON,
        help="""Side in pixels of the piece that the GAN judges at once, 3 or more; 0 = an eighth
        of the resolution. Larger looks at shapes and takes more memory. Changing it starts
        the GAN anew.""",
        recommended="0: an eighth of the resolution always fits",
    )
    gan_dims: int = option(
        16,
        label="GAN dims",
        group="GAN",
        ge=4,
        le=512,
        step=2,
        dfl="gan_dims",
        shown_when=_GAN_ON,
        help="""Channels of the judging network. More sees finer flaws and takes more memory.
        Changing it starts the GAN anew.""",
        recommended="16: 32 and above for 256 pixels with memory to spare",
    )
    gan_smoothing: float = option(
        0.1,
        label="GAN label smoothing",
        group="GAN",
        ge=0.0,
        le=0.5,
        step=0.05,
        live=True,
        dfl="gan_smoothing",
        shown_when=_GAN_ON,
        help="""Keeps the judge from being too sure (real counts as slightly less than 1), which
        steadies the contest. 0 gives DeepFaceLab's original loss.""",
        recommended="0.1: the usual value",
    )
    gan_noise: float = option(
        0.0,
        label="GAN label noise",
        group="GAN",
        ge=0.0,
        le=0.5,
        step=0.05,
        live=True,
        dfl="gan_noise",
        shown_when=_GAN_ON,
        help="""Share of labels that the judge gets told wrongly, on purpose, when it wins too
        easily and the face stops improving.""",
        recommended="0: 0.05 if the GAN overpowers the face",
    )

"""What the networks are, and how their weights are changed.

Defaults and ranges: dfl-models.md 3.1 and product.md 6.3.1.
"""

from typing import Literal

from recaster_tui.options.common import TrainingOptions
from recaster_tui.options.spec import option

FaceTypeName = Literal["half", "midfull", "full", "whole", "head", "custom"]


class NetworkOptions(TrainingOptions):
    """What the networks are, and how their weights are changed."""

    resolution: int = option(
        128,
        label="Resolution",
        group="Network",
        ge=64,
        le=640,
        step=16,
        locked=True,
        dfl="resolution",
        help="""Side of the square face picture in pixels that the model learns. Time and memory
        grow with its square. Choose it by the size of the face in the destination frames.""",
        recommended="128: a sound start; 224 to 320 for close-ups on 12 GB of VRAM or more",
    )
    face_type: FaceTypeName = option(
        "full",
        label="Face type",
        group="Network",
        locked=True,
        dfl="face_type",
        help="""How much of the head is swapped: half stops below the brows, full reaches the
        forehead's middle, whole takes in the forehead, head all hair. custom takes aligned
        faces as they are. Both facesets must be extracted at this size or a larger one.""",
        recommended="whole: best blending at the forehead; full for the most detail per pixel",
    )
    autoencoder_dims: int = option(
        256,
        label="Autoencoder dims",
        group="Network",
        ge=32,
        le=1024,
        step=32,
        locked=True,
        dfl="ae_dims",
        help="""Size of the bottleneck where a face becomes numbers. More holds more expressions
        and light, but likeness to the source can suffer; memory grows steeply.""",
        recommended="256: 384 or 512 for liae at 256 pixels and above",
    )
    encoder_dims: int = option(
        64,
        label="Encoder dims",
        group="Network",
        ge=16,
        le=256,
        step=2,
        locked=True,
        dfl="e_dims",
        help="""Channels of the encoder, which looks at the face; an even number. More recognises
        finer features and costs memory and time at full resolution.""",
        recommended="64: keep it near decoder_dims",
    )
    decoder_dims: int = option(
        64,
        label="Decoder dims",
        group="Network",
        ge=16,
        le=256,
        step=2,
        locked=True,
        dfl="d_dims",
        help="""Channels of the decoder, which paints the face; an even number. More paints finer
        detail. It is the dearest of the four dims, so raise it last.""",
        recommended="64: 80 to 96 for sharp results at 256 pixels and above",
    )
    mask_decoder_dims: int = option(
        22,
        label="Mask decoder dims",
        group="Network",
        ge=16,
        le=256,
        step=2,
        locked=True,
        dfl="d_mask_dims",
        help="""Channels of the part that paints the mask; an even number. Left out, it is a third
        of decoder_dims. More follows hair and hands better.""",
        recommended="a third of decoder_dims: masks are simpler than faces",
    )
    models_on_gpu: bool = option(
        True,
        label="All on the GPU",
        group="Machine",
        dfl="models_opt_on_gpu",
        help="""Keeps weights and optimizer in GPU memory. Off moves the optimizer's numbers to
        main memory: larger models fit, each iteration takes longer.""",
        recommended="yes: no when the model does not fit otherwise",
    )
    optimizer: Literal["adabelief", "rmsprop"] = option(
        "adabelief",
        label="Optimizer",
        group="Optimizer",
        dfl="adabelief",
        help="""The rule that turns gradients into weight changes. adabelief reaches a better
        result and holds two numbers per weight in memory; rmsprop holds one. Changing it
        starts its memory afresh.""",
        recommended="adabelief: rmsprop only where memory is short",
    )
    learning_rate: float = option(
        5e-5,
        label="Learning rate",
        group="Optimizer",
        ge=0.0,
        le=1.0,
        step=1e-5,
        live=True,
        dfl="lr",
        help="""Size of the weight changes. Higher learns faster and collapses sooner; lower is for
        the last polish. 0 trains nothing.""",
        recommended="5e-5: 1e-5 to 2e-5 late, or with large networks that collapse",
    )
    learning_rate_dropout: Literal["off", "on", "cpu"] = option(
        "off",
        label="Learning rate dropout",
        group="Optimizer",
        live=True,
        dfl="lr_dropout",
        help="""Each iteration changes only a random 30 % of the weights, and the rate swings with
        a period of 500 iterations. Brings more sharpness and less flicker in fewer
        iterations once the face is learnt; cpu is the same, with its work done by the CPU to
        spare GPU memory.""",
        recommended="off: on when the face no longer improves, before the GAN",
    )
    clip_gradients: bool = option(
        False,
        label="Clip gradients",
        group="Optimizer",
        live=True,
        dfl="clipgrad",
        help="""Limits the length of each iteration's change, which lowers the chance of a collapse
        at a small cost in speed.""",
        recommended="no: yes for large networks, or after a collapse",
    )

"""What is done to the faces before the network sees them.

Defaults and ranges: dfl-models.md 3.1 and product.md 6.3.1.
"""

from typing import Literal

from recaster_tui.options.common import TrainingOptions
from recaster_tui.options.spec import option


class AugmentationOptions(TrainingOptions):
    """What is done to the faces before the network sees them."""

    uniform_yaw: bool = option(
        False,
        label="Even out head turns",
        group="Faces",
        live=True,
        dfl="uniform_yaw",
        help="""Draws faces so that all head directions are equally frequent. Helps blurred side
        faces when a set holds only a few of them.""",
        recommended="no: yes when profiles stay blurred",
    )
    random_warp: bool = option(
        True,
        label="Random warp",
        group="Faces",
        live=True,
        dfl="random_warp",
        help="""Distorts the faces that the network sees, so that it learns expressions of both
        people instead of copying pictures. Needed at first; off brings out the last
        sharpness.""",
        recommended="yes: no after the expressions are right, before the GAN",
    )
    random_hsv_power: float = option(
        0.0,
        label="Random colour (HSV)",
        group="Faces",
        ge=0.0,
        le=0.3,
        step=0.01,
        live=True,
        dfl="random_hsv_power",
        help="""Shifts hue, saturation and brightness of the source's input at random. Makes the
        colours of the result steadier under changing light; too much shifts them.""",
        recommended="0: 0.05 if colours flicker",
    )
    random_color: bool = option(
        False,
        label="Random colour (LAB)",
        group="Faces",
        live=True,
        dfl="random_color",
        help="""Turns the colours of both sides around the brightness axis at random, so that the
        model learns shapes rather than skin tones. Learning gets slower.""",
        recommended="no: yes if the two sets are lit very differently",
    )
    random_downsample: bool = option(
        False,
        label="Random downsample",
        group="Faces",
        live=True,
        dfl="random_downsample",
        help="""Shrinks some inputs and enlarges them again, so that coarse destination frames are
        understood. Targets stay sharp.""",
        recommended="no: yes for low-resolution footage",
    )
    random_noise: bool = option(
        False,
        label="Random noise",
        group="Faces",
        live=True,
        dfl="random_noise",
        help="""Adds noise to some inputs, so that grainy destination frames are understood.
        Targets stay clean.""",
        recommended="no: yes for grainy footage",
    )
    random_blur: bool = option(
        False,
        label="Random blur",
        group="Faces",
        live=True,
        dfl="random_blur",
        help="""Blurs some inputs, so that frames out of focus or in motion are understood. Targets
        stay sharp.""",
        recommended="no: yes for footage with motion blur",
    )
    random_jpeg: bool = option(
        False,
        label="Random JPEG",
        group="Faces",
        live=True,
        dfl="random_jpeg",
        help="""Compresses some inputs strongly, so that blocky video is understood. Targets stay
        clean; costs a little CPU time.""",
        recommended="no: yes for heavily compressed footage",
    )
    random_shadow: Literal["none", "src", "dst", "all"] = option(
        "none",
        label="Random shadows",
        group="Faces",
        live=True,
        dfl="random_shadow",
        help="""Throws random shadows and lights on faces of the source, the destination or both,
        so that the model copes with light that the sets lack.""",
        recommended="none: src if the source is lit flatly and the scene is not",
    )
    color_transfer: Literal["none", "rct", "lct", "mkl", "idt", "sot", "fs-aug", "cc-aug"] = option(
        "none",
        label="Colour transfer",
        group="Faces",
        live=True,
        dfl="ct_mode",
        help="""Gives source faces the colours of random destination faces while learning. rct, lct
        and mkl are quick; idt and sot are more thorough and take far more CPU time; fs-aug
        and cc-aug only vary colours at random.""",
        recommended="none: rct if skin tones of the sets differ; compare both",
    )

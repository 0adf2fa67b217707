"""Options that several model classes share, each declared once.

Defaults and ranges: dfl-models.md 3.1, 4.1, 5, 6.1 and product.md 6.3 (what its successor added).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from recaster_tui.options.gan_plan import gan_divisor, gan_strides, nearest_patch_sizes
from recaster_tui.options.spec import OptionValue, When, option

FaceTypeName = Literal["half", "midfull", "full", "whole", "head", "custom"]
Problem = tuple[str, str]
"""Key of the option and what is wrong with it."""

_GAN_ON = When("gan_power", "above", 0)


class TrainingOptions(BaseModel):
    """Options of every model class. Immutable: :meth:`changed` gives a checked copy."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )

    batch_size: int = option(
        8,
        label="Batch size",
        group="Run",
        ge=1,
        le=512,
        step=1,
        live=True,
        dfl="batch_size",
        help="""Faces of each side per iteration. More gives steadier learning and needs more
        memory and time per iteration; fewer fits a small GPU. If memory runs out the trainer
        works through the batch in smaller pieces and says so.""",
        recommended="8: steady learning on most GPUs; 4 where memory is short",
    )
    target_iterations: int = option(
        0,
        label="Target iterations",
        group="Run",
        ge=0,
        step=10_000,
        live=True,
        dfl="target_iter",
        help="""Training saves and ends when the model reaches this iteration; 0 = it goes on
        until you stop it. The count includes earlier runs of the same model.""",
        recommended="0: judge by the preview, not by a number",
    )
    retrain_worst: bool = option(
        False,
        label="Retrain worst faces",
        group="Run",
        live=True,
        dfl="retraining_samples",
        help="""About every 16 iterations the faces with the highest loss are trained once more.
        Helps with rare poses; bad faces in the set are learnt harder, too, so clean it first.""",
        recommended="no: switch on late, with a clean faceset",
    )
    seed: int = option(
        0,
        label="Seed",
        group="Run",
        ge=0,
        le=2**31 - 1,
        step=1,
        help="""Start of every random number: the same seed on the same machine repeats a run.
        0 = a new one each time; the run's journal says which.""",
        recommended="0: set one only to compare two settings",
    )
    random_src_flip: bool = option(
        False,
        label="Flip source",
        group="Faces",
        live=True,
        dfl="random_src_flip",
        help="""Mirrors source faces at random. Covers directions that the source set lacks, but
        faces are not symmetric: moles, partings and scars may appear on both sides.""",
        recommended="no: yes only if the source lacks one viewing direction",
    )
    random_dst_flip: bool = option(
        True,
        label="Flip destination",
        group="Faces",
        live=True,
        dfl="random_dst_flip",
        help="""Mirrors destination faces at random, which makes the source generalise better
        when its own flip is off. Costs nothing.""",
        recommended="yes: more variety for free; no for the last fine-tuning",
    )
    autosave_seconds: int = option(
        30,
        label="Autosave every (s)",
        group="Saving",
        ge=5,
        le=3600,
        step=5,
        live=True,
        help="""Seconds between saves; what a power cut can cost. Training goes on while the files
        are written, and large models are saved less often to spare the disk.""",
        recommended="30: a crash loses half a minute at most",
    )
    backup_hours: int = option(
        1,
        label="Backup every (h)",
        group="Saving",
        ge=0,
        le=24,
        step=1,
        live=True,
        dfl="autobackup_hour",
        help="""Hours between backups: full copies of the model to go back to when it takes a wrong
        turn; 0 = none. Each takes the space of the model on disk.""",
        recommended="1: lets you return to before a collapse",
    )
    backups_kept: int = option(
        24,
        label="Backups kept",
        group="Saving",
        ge=0,
        le=1000,
        step=1,
        live=True,
        dfl="maximum_n_backups",
        help="""How many timed backups stay; the oldest go first; 0 = all are kept. Named snapshots
        are never removed.""",
        recommended="24: a day of hourly backups; fewer where the disk is small",
    )
    preview_seconds: int = option(
        30,
        label="Preview every (s)",
        group="Saving",
        ge=0,
        le=3600,
        step=5,
        live=True,
        help="""Seconds between preview pictures; 0 = only when asked for. One costs about as much
        as one iteration.""",
        recommended="30: often enough to watch, rare enough to cost nothing",
    )
    preview_samples: int = option(
        4,
        label="Preview faces",
        group="Saving",
        ge=1,
        le=16,
        step=1,
        live=True,
        dfl="preview_samples",
        help="""Rows of the preview: how many faces of each side it shows. The faces stay the same
        during a run, so that progress can be compared.""",
        recommended="4: what fits on a screen",
    )
    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto",
        label="Precision",
        group="Machine",
        help="""Number format of the network's arithmetic. bfloat16 is faster and takes less memory
        on recent GPUs; weights, losses and optimizer stay in float32. auto chooses bfloat16
        only where the GPU is made for it.""",
        recommended="auto: float32 if you suspect the arithmetic",
    )

    def cross_problems(self) -> Iterator[Problem]:
        """What single ranges cannot say: rules between options. Works on unchecked values, too."""
        yield from ()

    def advice(self) -> Iterator[Problem]:
        """Combinations that work but are seldom what one wants."""
        if self.batch_size < 4:
            yield "batch_size", "below 4 learning becomes unsteady; prefer smaller dims"

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, values: Any) -> Any:
        return cls.derived(values) if isinstance(values, Mapping) else values

    @classmethod
    def derived(cls, values: Mapping[str, object]) -> dict[str, object]:
        """*values* with defaults added that depend on other options."""
        return dict(values)

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        found = dict(self.cross_problems())
        if found:
            raise ValueError("; ".join(found.values()))
        return self

    def changed(self, **values: OptionValue) -> Self:
        """A checked copy with *values* replaced. Raises pydantic's ``ValidationError``."""
        return type(self).model_validate(self.model_dump() | values)


class AutoencoderOptions(TrainingOptions):
    """What SAEHD and AMP share."""

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
        recommended="128 to start; 224 to 320 for close-ups on 12 GB of VRAM or more",
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
    models_on_gpu: bool = option(
        True,
        label="All on the GPU",
        group="Machine",
        dfl="models_opt_on_gpu",
        help="""Keeps weights and optimizer in GPU memory. Off moves the optimizer's numbers to
        main memory: larger models fit, each iteration takes longer.""",
        recommended="yes: no when the model does not fit otherwise",
    )

    @property
    def effective_gan_patch_size(self) -> int:
        """Patch size in pixels with 0 resolved to an eighth of the resolution."""
        return self.gan_patch_size or self.resolution // 8

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
            near = [n for n in (low, low + multiple) if 64 <= n <= 640]
            yield (
                "resolution",
                f"resolution = {self.resolution} must be a multiple of {multiple}"
                f"{self._multiple_reason()}: {' or '.join(map(str, near))}",
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
        elif self.gan_power and self.resolution % multiple == 0:
            patch = self.effective_gan_patch_size
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

"""The options of each of the four model classes."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

from recaster_tui.options.architecture import (
    ARCHITECTURES,
    Architecture,
    parse_architecture,
)
from recaster_tui.options.autoencoder import AutoencoderOptions
from recaster_tui.options.batch import BatchSize
from recaster_tui.options.common import Problem, TrainingOptions
from recaster_tui.options.model_class import ModelClass
from recaster_tui.options.network import FaceTypeName
from recaster_tui.options.spec import When, option, revised

_DF = When("architecture", "starts", "df")
PRETRAIN_FACES = "pretrain/aligned"


def _pretraining_problems(pretrain: bool, faces: str) -> Iterator[Problem]:
    if pretrain and not faces:
        yield "pretrain_faces", f"pretrain_faces is empty: a folder, such as {PRETRAIN_FACES}"


class SaehdOptions(AutoencoderOptions):
    """SAEHD (dfl-models.md 3.1, product.md 6.3.1 and 6.3.2)."""

    architecture: str = option(
        "liae-ud",
        label="Architecture",
        group="Network",
        choices=ARCHITECTURES,
        locked=True,
        dfl="archi",
        help="""df keeps the source's likeness best and wants similar head shapes and light; liae
        adapts to the destination's shape and light. Letters after -: u more likeness, d twice
        the resolution for the same cost, t deeper and dearer, c experimental activation.""",
        recommended="liae-ud: df-ud when likeness matters most and the faces are alike",
    )
    gan_power: float = revised(AutoencoderOptions, "gan_power", 0.0, le=10.0)
    true_face_power: float = option(
        0.0,
        label="True face power",
        group="Losses",
        ge=0.0,
        le=1.0,
        step=0.01,
        live=True,
        dfl="true_face_power",
        shown_when=_DF,
        help="""Draws the swapped face towards the source's own faces with a small extra network,
        for more likeness. Only for df architectures; too much copies the source's
        expressions. 0 = off.""",
        recommended="0: 0.01 late, when likeness is lacking",
    )
    face_style_power: float = option(
        0.0,
        label="Face style power",
        group="Losses",
        ge=0.0,
        le=100.0,
        step=0.1,
        live=True,
        dfl="face_style_power",
        help="""Transfers the destination's colours to the face. Only after about 10,000
        iterations, in tiny amounts and with a backup: it can ruin the model.""",
        recommended="0: 0.001 to 0.1 if the colours do not fit; colour transfer is safer",
    )
    background_style_power: float = option(
        0.0,
        label="Background style power",
        group="Losses",
        ge=0.0,
        le=100.0,
        step=0.1,
        live=True,
        dfl="bg_style_power",
        help="""Transfers the destination's surroundings of the face, which makes the swap's
        border blend by itself and costs likeness. Only after about 10,000 iterations and
        with a backup.""",
        recommended="0: 2 for whole or head if borders show",
    )
    pretrain: bool = option(
        False,
        label="Pretrain",
        group="Run",
        dfl="pretrain",
        help="""Learns faces in general from a large mixed set first, which saves time for every
        model started from it. Warp, styles, GAN, colour transfer and learning rate dropout are
        off and flips on meanwhile. Switching it off for the next run keeps what was learnt,
        except the part that holds the identities, and starts counting at 0 again.""",
        recommended="no: yes only with thousands of faces of many people",
    )
    pretrain_faces: str = option(
        PRETRAIN_FACES,
        label="Pretraining faces",
        group="Run",
        shown_when=When("pretrain", "is", True),
        help="""Folder of aligned faces of many people that pretraining learns from instead of the
        source and destination faces; relative to the workspace.""",
        recommended="pretrain/aligned: some ten thousand faces in all poses and lights",
    )

    @classmethod
    def derived(cls, values: Mapping[str, object]) -> dict[str, object]:
        """Bring a valid architecture to its one spelling: lower case, letters in order."""
        result = super().derived(values)
        given = result.get("architecture")
        if isinstance(given, str):
            with suppress(ValueError):  # reported by cross_problems
                result["architecture"] = str(parse_architecture(given))
        return result

    @property
    def parsed_architecture(self) -> Architecture:
        """The architecture taken apart. Raises ``ValueError`` for unchecked values."""
        return parse_architecture(self.architecture)

    @property
    def resolution_multiple(self) -> int:
        """16, or 32 with d or t in the architecture."""
        try:
            return self.parsed_architecture.resolution_multiple
        except ValueError:
            return 16

    def _multiple_reason(self) -> str:
        return f" for architecture {self.architecture}"

    def cross_problems(self) -> Iterator[Problem]:
        """Architecture grammar and what depends on it."""
        yield from super().cross_problems()
        yield from _pretraining_problems(self.pretrain, self.pretrain_faces)
        try:
            kind = self.parsed_architecture.kind
        except ValueError as error:
            yield "architecture", f"architecture = {error}"
            return
        if self.true_face_power and kind != "df":
            yield (
                "true_face_power",
                f"true_face_power = {self.true_face_power:g} works only with df architectures, "
                f"not with {self.architecture}: set it to 0",
            )


class AmpOptions(AutoencoderOptions):
    """AMP (dfl-models.md 4.1, product.md 6.3.1 and 6.3.3).

    DFL's AMP always masks and always favours eyes and mouth; these are the defaults here.
    """

    resolution: int = revised(
        AutoencoderOptions,
        "resolution",
        224,
        step=32,
        recommended="224: 256 to 320 for close-ups on 12 GB of VRAM or more",
    )
    face_type: FaceTypeName = revised(AutoencoderOptions, "face_type", "whole")
    eyes_priority: bool = revised(
        AutoencoderOptions,
        "eyes_priority",
        True,
        recommended="yes: AMP was made with it",
    )
    mouth_priority: bool = revised(
        AutoencoderOptions,
        "mouth_priority",
        True,
        recommended="yes: AMP was made with it",
    )
    inter_dims: int = option(
        1024,
        label="Inter dims",
        group="Network",
        ge=32,
        le=2048,
        step=32,
        locked=True,
        dfl="inter_dims",
        help="""Size of the two parts between which identity is morphed. Should not be below
        autoencoder_dims; more separates the two people better and takes memory.""",
        recommended="1024: at least autoencoder_dims, better four times as much",
    )
    morph_factor: float = option(
        0.5,
        label="Morph factor",
        group="Network",
        ge=0.1,
        le=0.5,
        step=0.05,
        locked=True,
        dfl="morph_factor",
        help="""Share of source identity mixed in while learning. Lower keeps the destination's
        expressions better, higher the source's likeness.""",
        recommended="0.5: the value AMP was tuned with; 0.33 for livelier expressions",
    )
    preview_morph_factor: float = option(
        1.0,
        label="Preview morph",
        group="Saving",
        ge=0.0,
        le=1.0,
        step=0.05,
        live=True,
        dfl="preview_mf",
        help="""How far the last column of the preview morphs towards the source: 1 = all the way.
        Changes what you see, not what is learnt.""",
        recommended="1: shows the full swap",
    )

    def advice(self) -> Iterator[Problem]:
        """Inter dims below the bottleneck."""
        yield from super().advice()
        if self.inter_dims < self.autoencoder_dims:
            yield "inter_dims", "should not be below autoencoder_dims"


class Quick96Options(TrainingOptions):
    """Quick96 (dfl-models.md 5): a SAEHD ``df-ud`` with everything fixed, for a first look."""

    batch_size: BatchSize = revised(
        TrainingOptions,
        "batch_size",
        4,
        recommended="4: what Quick96 was tuned for, and quick on any machine",
    )
    random_dst_flip: bool = revised(
        TrainingOptions,
        "random_dst_flip",
        False,
        recommended="no: Quick96 does not flip",
    )


class XsegOptions(TrainingOptions):
    """XSeg (dfl-models.md 6.1): learns masks from polygons drawn on some faces."""

    face_type: FaceTypeName = revised(
        AutoencoderOptions,
        "face_type",
        "whole",
        help="""How much of the head the labelled faces show: the type of the facesets whose masks
        this model will draw.""",
        recommended="whole: the same as the model that will use the masks",
    )
    batch_size: BatchSize = revised(
        TrainingOptions,
        "batch_size",
        4,
        ge=2,
        le=16,
        help="""Faces per iteration. More gives steadier learning and needs more memory and time
        per iteration. auto tries sizes at the start and takes the largest that fits and still
        learns more faces a second.""",
        recommended="4: 8 on a GPU with 8 GB or more",
    )
    random_src_flip: bool = revised(
        TrainingOptions,
        "random_src_flip",
        True,
        help="""Mirrors labelled source faces at random, which doubles the variety of a few
        hand-drawn masks.""",
        recommended="yes: masks have no likeness to lose",
    )
    random_dst_flip: bool = revised(
        TrainingOptions,
        "random_dst_flip",
        True,
        help="""Mirrors labelled destination faces at random, which doubles the variety of a few
        hand-drawn masks.""",
        recommended="yes: masks have no likeness to lose",
    )
    pretrain: bool = option(
        False,
        label="Pretrain",
        group="Run",
        dfl="pretrain",
        help="""Learns to redraw faces in general first, without any masks, which helps when only a
        few faces are labelled. Switching it off for the next run keeps what was learnt and
        starts counting at 0 again.""",
        recommended="no: yes before labelling, with a large faceset",
    )
    pretrain_faces: str = revised(
        SaehdOptions,
        "pretrain_faces",
        PRETRAIN_FACES,
        help="""Folder of aligned faces that pretraining learns from instead of the labelled source
        and destination faces; relative to the workspace. They need no masks.""",
    )

    def cross_problems(self) -> Iterator[Problem]:
        """Pretraining needs faces."""
        yield from super().cross_problems()
        yield from _pretraining_problems(self.pretrain, self.pretrain_faces)


QUICK96_RESOLUTION = 96
QUICK96_FACE_TYPE = "full"
QUICK96_ARCHITECTURE = "df-ud"
QUICK96_AUTOENCODER_DIMS = 128
QUICK96_ENCODER_DIMS = 64
QUICK96_DECODER_DIMS = 64
QUICK96_MASK_DECODER_DIMS = 16
QUICK96_LEARNING_RATE = 2e-4
"""RMSprop; every weight's update is kept with probability :data:`FIXED_LEARNING_RATE_KEEP`."""

XSEG_RESOLUTION = 256
XSEG_LEARNING_RATE = 1e-4
"""RMSprop, like Quick96."""

FIXED_LEARNING_RATE_KEEP = 0.3
"""Keep probability of learning rate dropout, in every class that uses it."""

_CLASSES: dict[ModelClass, type[TrainingOptions]] = {
    ModelClass.SAEHD: SaehdOptions,
    ModelClass.AMP: AmpOptions,
    ModelClass.QUICK96: Quick96Options,
    ModelClass.XSEG: XsegOptions,
}


def options_class(model: ModelClass | str) -> type[TrainingOptions]:
    """The pydantic class of a model class."""
    return _CLASSES[ModelClass(model)]


def class_of(options: TrainingOptions) -> ModelClass:
    """The model class that *options* belongs to."""
    return next(model for model, kind in _CLASSES.items() if kind is type(options))

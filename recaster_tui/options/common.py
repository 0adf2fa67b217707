"""Options of every model class, each declared once.

Defaults and ranges: dfl-models.md 2.5, 3.1, 5, 6.1 and product.md 6.3 (what its successor added).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import ConfigDict, model_validator

from recaster_tui.options.batch import AUTO, BatchSize, batch_number
from recaster_tui.options.guards import GuardOptions
from recaster_tui.options.held_out import HeldOutOptions
from recaster_tui.options.spec import OptionValue, option

Problem = tuple[str, str]
"""Key of the option and what is wrong with it."""


class TrainingOptions(GuardOptions, HeldOutOptions):
    """Options of every model class. Immutable: :meth:`changed` gives a checked copy."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        defer_build=True,  # mixins are never instantiated, and one run needs one class
    )

    batch_size: BatchSize = option(
        8,
        label="Batch size",
        group="Run",
        ge=1,
        le=512,
        step=1,
        words=(AUTO,),
        live=True,
        dfl="batch_size",
        help="""Faces of each side per iteration. More gives steadier learning and needs more
        memory and time per iteration; fewer fits a small GPU. auto tries sizes at the start, with
        everything on that can be switched on while training, and takes the largest that fits and
        still learns more faces a second. If memory runs out later, each batch is worked through
        in pieces, with the same result.""",
        recommended="8: steady learning on most GPUs; 4 where memory is short; auto finds out",
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
        if batch_number(self) < 4:
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

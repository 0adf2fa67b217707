"""A DFL model in memory, as its files have it: DFL's names, layouts and options."""

from dataclasses import dataclass, field
from typing import Any

from recaster_tui.interop.dfl_layout import Array
from recaster_tui.options import ModelClass

ITERS = "iters:0"
"""Key of the step count in optimizer files; a numpy int64 scalar."""


@dataclass
class DflModel:
    """One model (dfl-models.md 2.2-2.4).

    Attributes:
        stem: start of its file names, ``new_SAEHD``.
        iteration: finished iterations.
        options: as stored, in their order, with their numpy scalar types.
        loss_history: one entry an iteration: ``[src, dst]``, for XSeg ``[loss]``.
        networks: arrays by key of each network, by root name (``encoder``, ``D_src``, …), in
            TensorFlow's layout.
        optimizers: arrays of each optimizer (``src_dst_opt``, …), by its long keys.
        sample_for_preview: one list of float32 arrays for each generator, or None.
        default_options: of the model class in this folder, None where there is no such file.
        extra: further keys of ``data.dat``.
    """

    stem: str
    model_class: ModelClass
    iteration: int
    options: dict[str, Any]
    loss_history: list[list[float]]
    networks: dict[str, dict[str, Array]]
    optimizers: dict[str, dict[str, Any]] = field(default_factory=dict)
    sample_for_preview: list[list[Array]] | None = None
    default_options: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The user's name for it."""
        return self.stem.partition("_")[0]

    @property
    def liae(self) -> bool:
        """Whether it is a SAEHD with a liae architecture, by DFL's own test (3.3)."""
        return is_liae(self.options, self.default_options)


def is_liae(options: dict[str, Any], default_options: dict[str, Any] | None) -> bool:
    """Whether *options* name a liae architecture; what they leave out takes DFL's default."""
    named = options.get("archi") or (default_options or {}).get("archi") or "liae-ud"
    return "df" not in str(named).lower().partition("-")[0]

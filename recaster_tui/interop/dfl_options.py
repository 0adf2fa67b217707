"""Options of a DFL model as ours, and ours as DFL stores them (dfl-models.md 3.1, 4.1, 5, 6.1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recaster_tui.interop.dfl_model import DflModel
from recaster_tui.interop.remarks import Remarks, some
from recaster_tui.options import (
    ModelClass,
    OptionsError,
    OptionSpec,
    TrainingOptions,
    defaults,
    from_dfl,
    problems,
    spec_map,
    to_dfl,
    validate,
)
from recaster_tui.options.parse import ValueProblem, coerce
from recaster_tui.options.spec import OptionValue

_INT, _FLOAT = "int64", "float64"
_COMMON = (
    "autobackup_hour",
    "write_preview_history",
    "target_iter",
    "random_src_flip",
    "random_dst_flip",
    "batch_size",
)
_GAN = ("gan_power", "gan_patch_size", "gan_dims")
ORDER: Mapping[ModelClass, tuple[str, ...]] = {
    ModelClass.SAEHD: (
        *("resolution", "face_type", "models_opt_on_gpu", "archi"),
        *("ae_dims", "e_dims", "d_dims", "d_mask_dims", "masked_training", "eyes_mouth_prio"),
        *("uniform_yaw", "blur_out_mask", "adabelief", "lr_dropout", "random_warp"),
        *("random_hsv_power", "true_face_power", "face_style_power", "bg_style_power"),
        *("ct_mode", "clipgrad", "pretrain"),
        *_COMMON,
        *_GAN,
    ),
    ModelClass.AMP: (
        *("resolution", "face_type", "models_opt_on_gpu"),
        *("ae_dims", "inter_dims", "e_dims", "d_dims", "d_mask_dims", "morph_factor"),
        *("uniform_yaw", "blur_out_mask", "lr_dropout", "random_warp", "ct_mode", "clipgrad"),
        *_COMMON,
        *_GAN,
    ),
    ModelClass.QUICK96: ("batch_size",),
    ModelClass.XSEG: ("face_type", "pretrain", "batch_size"),
}
"""Keys that the original stores, in its order."""

NUMPY_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("resolution", "ae_dims", "inter_dims", "e_dims", "d_dims"), _INT),
    **dict.fromkeys(("d_mask_dims", "gan_patch_size", "gan_dims"), _INT),
    **dict.fromkeys(("random_hsv_power", "true_face_power", "face_style_power"), _FLOAT),
    **dict.fromkeys(("bg_style_power", "gan_power", "morph_factor"), _FLOAT),
}
"""Options that pass through a clip in the original and so are numpy scalars in its files."""

_XSEG_INT = {"batch_size": _INT}

_ORIGINAL = {"gan_smoothing": 0.0, "gan_noise": 0.0}
"""What the original does where our defaults are its successor's."""


@dataclass
class Origin:
    """What an imported model brought along that has no place among our options.

    Attributes:
        stem: start of its file names.
        options: all its options, in order, as plain values; None left out.
        numpy: numpy type of those that were numpy scalars.
        sample_for_preview: its preview batch.
    """

    stem: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    numpy: dict[str, str] = field(default_factory=dict)
    sample_for_preview: list[list[np.ndarray]] | None = None


def origin_of(model: DflModel) -> Origin:
    """Everything to be kept of *model* beside weights, history and known options."""
    given = {k: v for k, v in model.options.items() if v is not None}
    return Origin(
        model.stem,
        {k: v.item() if isinstance(v, np.generic) else v for k, v in given.items()},
        {k: v.dtype.name for k, v in given.items() if isinstance(v, np.generic)},
        model.sample_for_preview,
    )


def read_options(model: DflModel, remarks: Remarks) -> TrainingOptions:
    """Our options for a DFL model.

    What the model does not say is taken from the folder's default options, then from the
    original's own defaults, as DFL does. A value that we refuse becomes the default, with a
    warning; one that shapes the networks stays, because the weights were made with it.
    """
    kind, where = model.model_class, f"{model.stem}_data.dat"
    stored = {k: v for k, v in model.options.items() if v is not None}
    absent = [k for k in ORDER[kind] if k not in stored]
    lent = {k: v for k, v in (model.default_options or {}).items() if k in absent and v is not None}
    if lent:
        remarks.note(where, f"not stored, taken from the default options: {some(sorted(lent))}")
    assumed = [k for k in absent if k in _SHAPING and k not in lent]
    if assumed:
        remarks.warn(where, f"not stored, DFL's defaults assumed: {some(assumed)}")
    known, unknown = from_dfl(kind, lent | stored)
    if strange := [key for key in unknown if key not in ORDER[kind]]:
        remarks.note(where, f"options without a meaning here, kept for export: {some(strange)}")
    wanted = {k: v for k, v in _ORIGINAL.items() if k in spec_map(kind)} | known
    return lenient(kind, wanted, where, remarks)


def lenient(
    kind: ModelClass, values: Mapping[str, object], where: str, remarks: Remarks
) -> TrainingOptions:
    """Options of a model that exists, even where a new one could not have them.

    A refused value is replaced by its default and remarked on; a refused one that is fixed for the
    life of a model stays, and the result is then valid only for whom trusts it as this model's.
    """
    specs = spec_map(kind)
    rest = {k: v for k, v in values.items() if k in specs}
    forced: dict[str, Any] = {}
    while found := {k: text for k, text in problems(kind, rest).items() if k in rest}:
        for key, text in found.items():
            value = rest.pop(key)
            kept = _readable(specs[key], value) if specs[key].locked else None
            if kept is None:
                remarks.warn(where, f"{text}; {specs[key].default!r} is used")
            else:
                forced[key] = kept
                remarks.warn(where, f"{text}; kept as the weights have it")
    try:
        options = validate(kind, rest)
    except OptionsError as error:
        remarks.warn(where, f"the options do not fit together: {error.message}")
        kept_all = {k: _readable(specs[k], v) for k, v in rest.items() if specs[k].locked}
        forced = {k: v for k, v in kept_all.items() if v is not None} | forced
        options = defaults(kind)
    return options.model_copy(update=forced)


def _readable(spec: OptionSpec, value: object) -> OptionValue | None:
    try:
        return coerce(spec, value)
    except ValueProblem:
        return None


def write_options(
    kind: ModelClass, options: TrainingOptions, origin: Origin, remarks: Remarks
) -> dict[str, Any]:
    """The options dict for ``data.dat``: DFL's order and types, unknown options as they came."""
    ours, usual, stored = to_dfl(options), to_dfl(defaults(kind)) | _ORIGINAL, origin.options
    if not ours.get("gan_power"):
        usual |= {k: ours[k] for k in _ORIGINAL if k in ours}
    later = [k for k, v in ours.items() if k not in ORDER[kind] and v != usual[k]]
    news = [k for k in later if k not in stored]
    if "eyes_mouth_prio" in ORDER[kind] and ours["eyes_prio"] == ours["mouth_prio"]:
        news = [k for k in news if k not in ("eyes_prio", "mouth_prio")]
    if news:
        remarks.note("options", f"the original knows no such option, its forks do: {some(news)}")
    if ours.get("face_type") == "custom":
        remarks.warn("options", "the original knows no face type custom, its forks do")
    return {
        key: _typed(kind, key, ours[key] if key in ours else stored.get(key, False), origin)
        for key in dict.fromkeys([*stored, *ORDER[kind], *later])
    }


_SHAPING = frozenset(
    ("resolution", "face_type", "archi", "ae_dims", "inter_dims", "e_dims", "d_dims", "d_mask_dims")
)


def _typed(kind: ModelClass, key: str, value: Any, origin: Origin) -> Any:
    name = NUMPY_TYPES.get(key) or (_XSEG_INT.get(key) if kind is ModelClass.XSEG else None)
    if key in origin.options:
        name = origin.numpy.get(key)
    return value if name is None or isinstance(value, str) else np.dtype(name).type(value)

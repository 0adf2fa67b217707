"""Between DeepFaceLab's option names and values and ours."""

from collections.abc import Mapping

from recaster_tui.options.autoencoder import AutoencoderOptions
from recaster_tui.options.batch import batch_number
from recaster_tui.options.common import TrainingOptions
from recaster_tui.options.model_class import ModelClass
from recaster_tui.options.models import class_of, options_class
from recaster_tui.options.spec import OptionSpec, OptionValue, specs_of

BOTH_PRIORITIES = "eyes_mouth_prio"
"""DFL's one switch for what are two options here (and in its successor)."""

_FACE_TYPE_LETTERS = {"half": "h", "midfull": "mf", "full": "f", "whole": "wf"}
_DROPOUT = {"off": "n", "on": "y", "cpu": "cpu"}
_LOSSES = {"ssim": "SSIM", "ms-ssim": "MS-SSIM", "ms-ssim+l1": "MS-SSIM+L1"}


def dfl_keys(model: ModelClass | str) -> dict[str, str]:
    """DFL's name → ours, of options whose names differ or agree; without the double switch."""
    return {spec.dfl: spec.key for spec in specs_of(options_class(model)) if spec.dfl}


def canonical_keys(model: ModelClass | str, key: str) -> tuple[str, ...]:
    """Our keys for a key in either language; empty when unknown to *model*."""
    word = key.strip().lower().replace("-", "_")
    fields = options_class(model).model_fields
    if word in fields:
        return (word,)
    if word == BOTH_PRIORITIES and "eyes_priority" in fields:
        return ("eyes_priority", "mouth_priority")
    known = dfl_keys(model).get(word)
    return (known,) if known else ()


def from_dfl(
    model: ModelClass | str, options: Mapping[str, object]
) -> tuple[dict[str, object], dict[str, object]]:
    """Split the options of a DFL model into (ours by our keys, what we do not know).

    Values are still as DFL has them: give them to ``validate``, which reads both. Where the
    separate priorities exist beside the double switch, the separate ones win. A value of None
    counts as absent, as it does in DFL (dfl-models.md 2.4).
    """
    ours: dict[str, object] = {}
    unknown: dict[str, object] = {}
    for key in sorted(options, key=lambda name: name != BOTH_PRIORITIES):
        value = options[key]
        keys = canonical_keys(model, key)
        if value is None:
            continue
        if not keys:
            unknown[key] = value
        for name in keys:
            ours[name] = value
    architecture = str(ours.get("architecture", "")).lower()
    if architecture and not architecture.startswith("df") and "true_face_power" in ours:
        ours["true_face_power"] = 0.0  # DFL forces it at this moment, stored or not
    return ours, unknown


def to_dfl(options: TrainingOptions) -> dict[str, OptionValue]:
    """The options dict that DFL would store for *options* (a validated options object).

    Options that DFL has no name for are left out. 0 for gan_patch_size is resolved, and so is an
    automatic batch size: to the class's default, unless ``with_number`` put in what was found.
    """
    result: dict[str, OptionValue] = {}
    for spec in specs_of(options_class(class_of(options))):
        if spec.dfl:
            result[spec.dfl] = _dfl_value(spec, getattr(options, spec.key))
    result["batch_size"] = batch_number(options)
    if isinstance(options, AutoencoderOptions):
        result["gan_patch_size"] = options.effective_gan_patch_size
        result[BOTH_PRIORITIES] = options.eyes_priority and options.mouth_priority
    return result


def _dfl_value(spec: OptionSpec, value: OptionValue) -> OptionValue:
    text = str(value)
    if spec.key == "face_type":
        return _FACE_TYPE_LETTERS.get(text, text)
    if spec.key == "learning_rate_dropout":
        return _DROPOUT[text]
    if spec.key == "loss_function":
        return _LOSSES[text]
    if spec.key == "optimizer":
        return text == "adabelief"
    return value

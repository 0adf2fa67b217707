"""Hypothesis strategies that draw valid options of each model class."""

from typing import Any

from hypothesis import strategies as st

from recaster_tui.options import ModelClass, OptionSpec, options_class, specs
from recaster_tui.options.gan_plan import gan_divisor


def value_of(spec: OptionSpec) -> st.SearchStrategy[Any]:
    """Any value that satisfies the option alone."""
    if spec.kind == "bool":
        return st.booleans()
    if spec.kind in ("choice", "text"):
        return st.sampled_from(spec.choices or (spec.default, "../many faces"))
    high = spec.maximum if spec.maximum is not None else 10**9
    assert spec.minimum is not None
    if spec.kind == "int":
        numbers = st.integers(int(spec.minimum), int(high))
        return numbers | st.sampled_from(spec.words) if spec.words else numbers
    return st.floats(spec.minimum, high)


@st.composite
def valid_options(draw: st.DrawFn, model: ModelClass) -> Any:
    """Options of *model* with the rules between them respected, never mended by the code tested."""
    values = {spec.key: draw(value_of(spec)) for spec in specs(model)}
    if "resolution" in values:
        values["resolution"] = draw(st.integers(2, 20)) * 32
        for key in ("encoder_dims", "decoder_dims", "mask_decoder_dims"):
            values[key] -= values[key] % 2
        patch = values["gan_patch_size"]
        if patch < 3 or values["resolution"] % gan_divisor(patch):
            values["gan_patch_size"] = 0
    if not str(values.get("architecture", "df")).startswith("df"):
        values["true_face_power"] = 0.0
    return options_class(model).model_validate(values)

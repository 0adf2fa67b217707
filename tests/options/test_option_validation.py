"""What a user is told: messages, names in both languages, values as text."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from option_strategies import valid_options

from recaster_tui.options import (
    ModelClass,
    OptionsError,
    advice,
    batch_number,
    changed,
    defaults,
    effective,
    from_dfl,
    live_problem,
    parse_assignment,
    problems,
    spec_map,
    specs,
    to_dfl,
    validate,
    visible,
    with_number,
)

MESSAGES: list[tuple[dict[str, object], str]] = [
    ({"ae_dims": 20}, "autoencoder_dims = 20 is out of range: 32 to 1024 (default 256)"),
    ({"resoluton": 128}, 'unknown option "resoluton" for SAEHD: did you mean resolution?'),
    ({"inter_dims": 64}, 'unknown option "inter_dims" for SAEHD: it belongs to AMP'),
    ({"zzz": 1}, 'unknown option "zzz" for SAEHD'),
    ({"resolution": 144}, "resolution = 144 must be a multiple of 32 for architecture liae-ud: "),
    ({"e_dims": 65}, "encoder_dims = 65 must be even: 64 or 66"),
    (
        {"batch_size": "many"},
        'batch_size = "many" is not a whole number: 1 to 512, or auto (default',
    ),
    ({"batch_size": 513}, "batch_size = 513 is out of range: 1 to 512, or auto (default 8)"),
    ({"batch_size": 2.5}, "batch_size = 2.5 is not a whole number"),
    ({"batch_size": True}, "batch_size = True is not a whole number"),
    ({"random_warp": "perhaps"}, 'random_warp = "perhaps" is not yes or no (default yes)'),
    ({"ct_mode": "mix"}, 'color_transfer = "mix" is not a choice: one of none, rct, lct, mkl'),
    ({"lr": "nan"}, 'learning_rate = "nan" is not a number: 0 to 1 (default 5e-05)'),
    ({"archi": "df-x"}, 'architecture = "df-x" is not an architecture'),
    ({"true_face_power": 0.01}, "true_face_power = 0.01 works only with df architectures"),
    ({"gan_patch_size": 2}, "gan_patch_size = 2 is out of range: 0 (an eighth"),
    ({"lr": 1e-5, "learning_rate": 2e-5}, "learning_rate is given twice: as lr and"),
]


@pytest.mark.parametrize(("values", "message"), MESSAGES)
def test_messages(values: dict[str, object], message: str) -> None:
    with pytest.raises(OptionsError) as caught:
        validate("saehd", values)
    assert str(caught.value).startswith(message)
    assert list(caught.value.problems.values()) == list(problems("saehd", values).values())
    assert caught.value.exit_code == 2


def test_all_problems_are_told_at_once_and_by_key() -> None:
    found = problems("saehd", {"ae_dims": 1, "resolution": 100, "d_dims": 17, "nope": 1})
    assert set(found) == {"autoencoder_dims", "resolution", "decoder_dims", "nope"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ae_dims=256", ("autoencoder_dims", 256)),
        ("ct_mode=RCT", ("color_transfer", "rct")),
        ("face_type=wf", ("face_type", "whole")),
        ("lr_dropout=y", ("learning_rate_dropout", "on")),
        ("adabelief=no", ("optimizer", "rmsprop")),
        ("archi=liae-udt", ("architecture", "liae-udt")),
        ("learning-rate=5e-5", ("learning_rate", 5e-5)),
        ("eyes_mouth_prio=on", ("eyes_mouth_prio", True)),
        ("loss_function=MS-SSIM+L1", ("loss_function", "ms-ssim+l1")),
        ("batch_size= Auto", ("batch_size", "auto")),
        ("target_iter=1e5", ("target_iterations", 100_000)),
        *((f"random_warp={word}", ("random_warp", True)) for word in ("yes", "On", "TRUE", "y")),
        *((f"random_warp={word}", ("random_warp", False)) for word in ("no", "off", "False", "n")),
    ],
)
def test_assignments(text: str, expected: tuple[str, object]) -> None:
    key, value = parse_assignment("saehd", text)
    assert (key, value) == expected
    assert type(value) is type(expected[1])


@pytest.mark.parametrize("text", ["batch_size", "batch_size=", "=3", "nope=3", "ae_dims=20"])
def test_bad_assignments(text: str) -> None:
    with pytest.raises(OptionsError):
        parse_assignment("saehd", text)


@pytest.mark.parametrize("model", list(ModelClass))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_dfl_names_both_ways(model: ModelClass, data: st.DataObject) -> None:
    options = data.draw(valid_options(model))
    dfl = to_dfl(options)
    ours, unknown = from_dfl(model, dfl | {"use_fp16": True})
    assert unknown == {"use_fp16": True}
    back = validate(model, ours)
    assert back.batch_size == batch_number(options)  # DeepFaceLab knows numbers only
    for spec in specs(model):
        if spec.dfl and spec.key not in ("gan_patch_size", "batch_size"):
            assert getattr(back, spec.key) == getattr(options, spec.key), spec.key
    assert to_dfl(back) == dfl


def test_an_old_dfl_model_is_read() -> None:
    # as pickled by DFL: letters, booleans for a choice, one switch for eyes and mouth
    stored: dict[str, object] = {
        "resolution": 128,
        "face_type": "wf",
        "archi": "liae-ud",
        "lr_dropout": True,
        "adabelief": False,
        "eyes_mouth_prio": True,
        "true_face_power": 0.01,
        "gan_patch_size": None,
        "random_flip": True,
    }
    ours, unknown = from_dfl("saehd", stored)
    options = validate("saehd", ours).model_dump()
    assert unknown == {"random_flip": True}
    assert options["face_type"] == "whole"
    assert options["learning_rate_dropout"] == "on"
    assert options["optimizer"] == "rmsprop"
    assert options["eyes_priority"] and options["mouth_priority"]
    assert options["true_face_power"] == 0.0  # DFL resets it for liae


def test_numpy_scalars_of_a_pickle_are_read() -> None:
    import numpy as np

    values = {"ae_dims": np.int64(128), "random_warp": np.bool_(False), "lr": np.float64(1e-5)}
    options = validate("saehd", values).model_dump()
    assert (options["autoencoder_dims"], options["random_warp"]) == (128, False)
    assert type(options["autoencoder_dims"]) is int and type(options["learning_rate"]) is float


def test_a_form_shows_what_matters() -> None:
    base = visible("saehd", {})
    assert not {"gan_dims", "true_face_power", "masked_training"} & base
    shown = visible("saehd", {"gan_power": "0.1", "archi": "DF-ud", "face_type": "wf"})
    assert {"gan_dims", "gan_patch_size", "true_face_power", "masked_training"} <= shown
    assert visible("saehd", {"gan_power": "rubbish"}) == base  # half-typed: as the default


def test_effective_values_of_a_form_half_filled() -> None:
    values = effective("saehd", {"decoder_dims": "96", "batch_size": "x"})
    assert (values["mask_decoder_dims"], values["batch_size"]) == (32, 8)


def test_advice_warns_without_refusing() -> None:
    values: dict[str, object] = {"batch_size": 2, "gan_power": 0.1, "learning_rate": 0}
    assert set(advice("saehd", values)) == {"batch_size", "gan_power", "learning_rate"}
    assert not problems("saehd", values)
    assert not advice("saehd", {})
    assert "inter_dims" in advice("amp", {"inter_dims": 128})


def test_changes_while_training() -> None:
    options = defaults("saehd")
    assert live_problem(options, "lr", "1e-5") is None
    assert live_problem(options, "eyes_mouth_prio", "y") is None
    assert "fixed once" in str(live_problem(options, "resolution", 256))
    assert "stop, change it, and resume" in str(live_problem(options, "optimizer", "rmsprop"))
    assert "out of range" in str(live_problem(options, "gan_power", 99))
    assert "only with df" in str(live_problem(options, "true_face_power", 0.01))
    assert "did you mean" in str(live_problem(options, "learning_rat", 1))


def test_a_changed_copy_is_checked() -> None:
    options = defaults("saehd")
    assert options.changed(batch_size=2).batch_size == 2
    assert options.batch_size == 8
    with pytest.raises(ValueError, match="must be even"):
        options.changed(encoder_dims=17)


@pytest.mark.parametrize("model", list(ModelClass))
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_whatever_is_given_there_is_an_answer_not_a_traceback(
    model: ModelClass, data: st.DataObject
) -> None:
    junk = st.one_of(st.text(max_size=8), st.integers(), st.floats(), st.booleans(), st.none())
    keys = st.sampled_from([*spec_map(model), "archi", "nonsense", ""])
    values: dict[str, Any] = data.draw(st.dictionaries(keys, junk, max_size=6))
    found = problems(model, values)
    visible(model, values)
    if found:
        with pytest.raises(OptionsError):
            validate(model, values)
    else:
        validate(model, values)


@pytest.mark.parametrize("model", list(ModelClass))
def test_an_automatic_batch_size(model: ModelClass) -> None:
    usual = defaults(model)
    auto = changed(usual, {"batch_size": "auto"})
    assert auto.batch_size == "auto" and live_problem(usual, "batch_size", "auto") is None
    assert live_problem(auto, "batch_size", 4) is None and changed(auto, {"batch_size": 4})
    assert spec_map(model)["batch_size"].range_text.endswith(", or auto")
    assert not problems(model, auto.model_dump()) and not dict(auto.advice())
    # Who needs a number gets what was found, else the default; a number is never replaced.
    assert batch_number(auto) == usual.batch_size and batch_number(auto, 12) == 12
    assert batch_number(usual, 12) == usual.batch_size and with_number(usual, 12) is usual
    assert with_number(auto, 12) == changed(usual, {"batch_size": 12})
    assert to_dfl(with_number(auto, 12))["batch_size"] == 12
    for wrong in ("automatic", "", 0, 100_000, True, 1.5):
        assert set(problems(model, {"batch_size": wrong})) == {"batch_size"}
        with pytest.raises(ValueError):  # pydantic's own check says the same
            usual.changed(batch_size=wrong)

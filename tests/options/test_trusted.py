"""Options of a model that exists are right, even where a new model could not have them."""

import pytest

from recaster_tui.options import OptionsError, changed, live_problem, problems, validate

OWN = {"encoder_dims": 4, "decoder_dims": 4, "mask_decoder_dims": 2, "architecture": "df-ud"}


def test_fixed_numbers_of_the_model_are_trusted_and_only_those() -> None:
    assert set(problems("saehd", OWN)) == {"encoder_dims", "decoder_dims", "mask_decoder_dims"}
    options = validate("saehd", OWN | {"batch_size": 2}, trusted=OWN)
    assert options.model_dump() | OWN == options.model_dump()
    assert options.batch_size == 2
    # another value than the model's, an option that is not fixed, and nonsense
    assert set(problems("saehd", OWN | {"encoder_dims": 6}, trusted=OWN)) == {"encoder_dims"}
    assert problems("saehd", OWN | {"batch_size": 0}, trusted=OWN | {"batch_size": 0})
    assert problems("saehd", OWN | {"encoder_dims": 0}, trusted=OWN | {"encoder_dims": 0})
    assert problems("saehd", OWN | {"encoder_dims": 5}, trusted=OWN | {"encoder_dims": 5})
    bad = OWN | {"architecture": "dx-q"}
    with pytest.raises(OptionsError, match="architecture"):
        validate("saehd", bad, trusted=bad)


def test_live_changes_of_such_a_model_are_possible() -> None:
    options = validate("saehd", OWN, trusted=OWN)
    assert live_problem(options, "learning_rate", 1e-5) is None
    assert changed(options, {"learning_rate": 1e-5}).model_dump()["encoder_dims"] == 4
    with pytest.raises(OptionsError, match="gan_power"):
        changed(options, {"gan_power": 99})

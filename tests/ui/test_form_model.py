import pytest

from recaster_tui.options import ModelClass, defaults, specs, validate
from recaster_tui.ui.form_model import MODEL, NAME, Field, FormModel, parse


def field(form: FormModel, key: str) -> Field:
    return next(f for f in form.fields() if f.key == key)


@pytest.mark.parametrize("model", list(ModelClass))
def test_every_option_is_a_row_and_the_defaults_may_start(model: ModelClass) -> None:
    form = FormModel(model)
    keys = {f.key for f in form.fields()}
    assert {s.key for s in specs(model)} <= keys
    assert form.errors() == {}
    assert validate(model, form.values) == defaults(model)


def test_wrong_values_are_kept_and_explained() -> None:
    form = FormModel()
    batch = field(form, "batch_size")
    form.set(batch, "99999")
    assert "512" in form.errors()["batch_size"]
    form.set(batch, "many")
    assert form.value("batch_size") == "many"
    assert "batch_size" in form.errors()
    form.reset(batch)
    assert form.errors() == {}
    form.set(field(form, NAME), "../other")
    assert NAME in form.errors()


def test_what_may_change_when() -> None:
    form = FormModel()
    resolution, batch = field(form, "resolution"), field(form, "batch_size")
    assert not form.why_fixed(resolution)
    form.exists = True
    assert "created" in form.why_fixed(resolution)
    assert not form.why_fixed(batch)
    form.running = True
    assert not form.why_fixed(batch)
    assert form.why_fixed(field(form, "seed"))
    assert form.why_fixed(field(form, MODEL))


def test_hidden_options_stay_hidden_until_they_matter() -> None:
    form = FormModel()
    shown = {r.field.key for r in form.rows() if r.field}
    assert "gan_dims" not in shown
    form.set(field(form, "gan_power"), 0.1)
    assert "gan_dims" in {r.field.key for r in form.rows() if r.field}


def test_filter_finds_deepfacelabs_names_and_folding_counts() -> None:
    form = FormModel(query="ct_mode")
    assert [r.field.key for r in form.rows() if r.field] == ["color_transfer"]
    form.query = ""
    form.fold("Network")
    heading = next(r for r in form.rows() if r.group == "Network")
    assert heading.hidden > 3
    assert all(r.field is None for r in form.rows() if r.group == "Network")


def test_nudging_stays_in_range_and_goes_round() -> None:
    form = FormModel()
    batch = field(form, "batch_size")
    form.set(batch, 1)
    assert form.nudge(batch, -1) == "auto"  # below the smallest number
    form.set(batch, "auto")
    assert (form.nudge(batch, -1), form.nudge(batch, 1)) == ("auto", 1)
    assert form.errors() == {} and form.shown_value(batch) == "auto"
    choice = field(form, "face_type")
    form.set(choice, choice.choices[-1])
    assert form.nudge(choice, 1) == choice.choices[0]
    rate = field(form, "learning_rate")
    form.set(rate, 5e-5)
    assert form.nudge(rate, 1) > 5e-5
    assert 0 < form.nudge(rate, -1) < 5e-5


def test_switching_classes_keeps_what_was_set() -> None:
    form = FormModel()
    form.set(field(form, "batch_size"), 12)
    form.set(field(form, MODEL), "quick96")
    assert "resolution" not in form.values
    form.set(field(form, MODEL), "saehd")
    assert form.value("batch_size") == 12


def test_numbers_are_read_as_people_write_them() -> None:
    form = FormModel()
    assert parse(field(form, "target_iterations"), "100 000") == 100_000
    assert parse(field(form, "learning_rate"), "5e-5") == 5e-5
    assert parse(field(form, "learning_rate"), "0,001") == 0.001
    for text in ("a", " AU", "auto"):
        assert parse(field(form, "batch_size"), text) == "auto"
    assert parse(field(form, "batch_size"), "autos") == "autos"


def test_fixed_options_of_an_existing_model_are_no_errors() -> None:
    own = defaults(ModelClass.SAEHD).model_dump() | {"encoder_dims": 4}
    form = FormModel()
    form.load(ModelClass.SAEHD, own)
    assert set(form.errors()) == {"encoder_dims"}
    form.found(own)
    assert form.exists and not form.errors()
    form.found(None)  # another name: a new model cannot be made like that
    assert not form.exists and set(form.errors()) == {"encoder_dims"}

"""Configs: shipped ones, round trips, and what is said about a bad one."""

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from option_strategies import valid_options

from recaster_tui import paths
from recaster_tui.errors import BadInputError
from recaster_tui.options import (
    Config,
    ModelClass,
    OptionsError,
    advice,
    all_configs,
    config_from_table,
    defaults,
    dump_config,
    find_config,
    load_config,
    render,
    specs,
)

SHIPPED = sorted(paths.shipped("configs").glob("*.toml"))


def test_all_shipped_configs_are_there() -> None:
    assert {path.stem for path in SHIPPED} >= {
        *("quick96", "demo", "saehd-128", "saehd-256-liae"),
        *("saehd-320-liae-udt", "amp-224", "xseg"),
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configs(path: Path) -> None:
    config = load_config(path)
    assert config.title and config.hardware and config.description
    assert not advice(config.model, config.options.model_dump())
    if "GB" in config.hardware:
        assert "estimate" in config.hardware, "a VRAM figure is not a promise"
    assert "#" in path.read_text(), "a config explains itself"


@pytest.mark.parametrize("model", list(ModelClass))
@settings(max_examples=25, deadline=None)
@given(
    data=st.data(), title=st.text(st.characters(codec="utf-8"), max_size=20), brief=st.booleans()
)
def test_round_trip(model: ModelClass, data: st.DataObject, title: str, brief: bool) -> None:
    config = Config(model, "mine", data.draw(valid_options(model)), title=title)
    text = dump_config(config, only_changed=brief)
    assert config_from_table(tomllib.loads(text), "mine") == config


def test_a_default_that_would_be_derived_otherwise_is_written() -> None:
    options = defaults("saehd").changed(decoder_dims=256, mask_decoder_dims=22)
    text = dump_config(options, only_changed=True)
    assert config_from_table(tomllib.loads(text), "mine").options == options


def test_a_full_dump_explains_every_option() -> None:
    text = dump_config(defaults("saehd"))
    for spec in specs("saehd"):
        line = text.index(f"\n{spec.key} = ")
        assert text[:line].rpartition("\n")[2].startswith("# ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('model = "saehd"\n[options]\nresoluton = 1', "did you mean resolution?"),
        ('model = "saehd"\n[options]\nae_dims = 1', "out of range: 32 to 1024"),
        ('model = "sae"', 'model = "sae" is not a model class: one of saehd, amp, quick96, xseg'),
        ("[options]", "does not say which model"),
        ('model = "amp"\noptions = 3', "must be a table"),
        ('model = "amp"\nbatch_size = 3', "not known at the top"),
        ('model = "amp"\ntitle = 3', "title must be text"),
        ("model = ", "cannot read the config"),
    ],
)
def test_bad_configs_say_what_and_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(BadInputError, match=r"bad\.toml") as caught:
        load_config(path)
    assert message in str(caught.value)


def test_unreadable_configs(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no config file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00model")
    with pytest.raises(BadInputError, match="cannot read"):
        load_config(tmp_path / "binary.toml")
    with pytest.raises(BadInputError):
        load_config(tmp_path)


def test_own_configs_join_and_override(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECASTER_HOME", str(tmp_path))
    own = tmp_path / "config" / "configs"
    own.mkdir(parents=True)
    (own / "mine.toml").write_text('model = "quick96"\ntitle = "Mine"')
    (own / "broken.toml").write_text('model = "quick96"\n[options]\nae_dims = 1')
    configs, errors = all_configs()
    assert configs["mine"].title == "Mine"
    assert "demo" in configs and "broken" not in configs
    assert [type(error) for error in errors] == [OptionsError]
    assert find_config("mine").model is ModelClass.QUICK96
    with pytest.raises(BadInputError, match="did you mean saehd-128"):
        find_config("saehd-12")


@pytest.mark.parametrize("model", list(ModelClass))
def test_tables_hold_every_option(model: ModelClass) -> None:
    rows = json.loads(render.as_json(model))["options"]
    assert [row["key"] for row in rows] == [spec.key for spec in specs(model)]
    plain, markdown = render.as_plain(model), render.as_markdown(model)
    for spec in specs(model):
        assert f"  {spec.key} = " in plain
        assert f"`{spec.key}`" in markdown
    assert render.as_table(model).row_count == len(specs(model))
    assert max(map(len, plain.splitlines())) <= 100 + 40

"""Configs: TOML files with a model class and its options (``configs/*.toml``)."""

import difflib
import json
import textwrap
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from recaster_tui.errors import BadInputError
from recaster_tui.options.common import TrainingOptions
from recaster_tui.options.model_class import ModelClass
from recaster_tui.options.models import class_of
from recaster_tui.options.spec import OptionSpec, OptionValue, show
from recaster_tui.options.validation import OptionsError, defaults, specs, validate
from recaster_tui.paths import find_all

_TEXTS = ("title", "hardware", "description")

Trusted: TypeAlias = Callable[[ModelClass], Mapping[str, object]]
"""Options of the existing model of a class; empty where there is none."""


@dataclass(frozen=True)
class Config:
    """A named starting point.

    Attributes:
        model: model class.
        name: short name: the file's stem.
        options: every option, checked.
        title: name for people.
        hardware: what machine it suits.
        description: what it is good for.
    """

    model: ModelClass
    name: str
    options: TrainingOptions
    title: str = ""
    hardware: str = ""
    description: str = ""


def load_config(path: Path, *, trusted: Trusted | None = None) -> Config:
    """Read a config.

    Args:
        path: the file.
        trusted: gives, for the class that the config turns out to be for, the options of the
            model that exists and shall go on; see :func:`validate`.

    Raises:
        OptionsError: an option is unknown or wrong.
        BadInputError: the file is missing, not TOML, or not a config.
    """
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except FileNotFoundError as error:
        raise BadInputError(f"no config file {path}", where=path) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInputError(f"cannot read the config: {error}", where=path) from error
    return config_from_table(table, path.stem, where=path, trusted=trusted)


def find_config(name_or_path: str | Path, *, trusted: Trusted | None = None) -> Config:
    """Load a config by file path, or by name from the user's own and the shipped ones.

    *trusted* as for :func:`load_config`.

    Raises:
        BadInputError: there is no such config; and as :func:`load_config`.
    """
    path = Path(name_or_path)
    if path.is_file():
        return load_config(path, trusted=trusted)
    known = find_all("configs")
    if str(name_or_path) in known:
        return load_config(known[str(name_or_path)], trusted=trusted)
    near = difflib.get_close_matches(path.stem, known, n=1)
    message = f'no config "{name_or_path}"'
    raise BadInputError(
        f"{message}: did you mean {near[0]}?" if near else f"{message}: no such file or name",
        hint=f"there are {', '.join(sorted(known))}" if known else None,
    )


def all_configs() -> tuple[dict[str, Config], list[BadInputError]]:
    """Every usable config by name, shipped and the user's own, and why the others are not."""
    configs: dict[str, Config] = {}
    errors: list[BadInputError] = []
    for name, path in find_all("configs").items():
        try:
            configs[name] = load_config(path)
        except BadInputError as error:
            errors.append(error)
    return configs, errors


def config_from_table(
    table: Mapping[str, object],
    name: str,
    *,
    where: Path | str | None = None,
    trusted: Trusted | None = None,
) -> Config:
    """Make a config of a parsed TOML table. Raises as :func:`load_config`."""
    known = ", ".join(model.value for model in ModelClass)
    try:
        model = ModelClass(str(table["model"]).strip().lower())
    except KeyError as error:
        raise BadInputError(
            "the config does not say which model it is for",
            where=where,
            hint=f'add a line such as model = "saehd" (one of {known})',
        ) from error
    except ValueError as error:
        raise BadInputError(
            f'model = "{table["model"]}" is not a model class: one of {known}', where=where
        ) from error
    options = table.get("options", {})
    if not isinstance(options, Mapping):
        raise BadInputError("[options] must be a table of options", where=where)
    stray = [key for key in table if key not in ("model", "options", *_TEXTS)]
    if stray:
        raise OptionsError(
            {key: f'"{key}" is not known at the top of a config' for key in stray},
            where=where,
            hint="options belong below [options]",
        )
    for key in _TEXTS:
        if not isinstance(table.get(key, ""), str):
            raise BadInputError(f"{key} must be text", where=where)
    texts = {key: str(table.get(key, "")) for key in _TEXTS}
    own = trusted(model) if trusted is not None else None
    return Config(model, name, validate(model, options, where=where, trusted=own), **texts)


def dump_config(config: Config | TrainingOptions, *, only_changed: bool = False) -> str:
    """Write a config as TOML in which each option is explained by a comment.

    Args:
        config: a config, or just options.
        only_changed: leave out the options that have their default.
    """
    if isinstance(config, TrainingOptions):
        config = Config(class_of(config), "", config)
    lines = [f"{key} = {_toml(getattr(config, key))}" for key in _TEXTS if getattr(config, key)]
    lines += [f"model = {_toml(config.model.value)}", "", "[options]"]
    values, usual = config.options.model_dump(), defaults(config.model).model_dump()
    changed = {key: value for key, value in values.items() if value != usual[key]}
    # A default that depends on another option (mask_decoder_dims) must not be left to be derived.
    derived = usual | type(config.options).derived(changed)
    group = ""
    for spec in specs(config.model):
        value = values[spec.key]
        if only_changed and value == usual[spec.key] == derived[spec.key]:
            continue
        if spec.group != group:
            group = spec.group
            lines += ["", f"# ---- {group} " + "-" * (70 - len(group))]
        lines += ["", *_comment(spec), f"{spec.key} = {_toml(value)}"]
    return "\n".join(lines) + "\n"


def _comment(spec: OptionSpec) -> list[str]:
    facts = f"{spec.range_text}; default {show(spec.default)}"
    if spec.shown_when:
        facts += f"; matters when {spec.shown_when.describe()}"
    if spec.locked:
        facts += "; fixed once the model exists"
    return [f"# {line}" for text in (spec.help, facts) for line in textwrap.wrap(text, 96)]


def _toml(value: OptionValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which only TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)

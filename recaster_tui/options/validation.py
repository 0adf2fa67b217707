"""Checking values against the schema, with messages that say what to write instead."""

import difflib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from recaster_tui.errors import BadInputError
from recaster_tui.options.common import TrainingOptions
from recaster_tui.options.dfl_names import BOTH_PRIORITIES, canonical_keys, dfl_keys
from recaster_tui.options.model_class import ModelClass
from recaster_tui.options.models import class_of, options_class
from recaster_tui.options.parse import ValueProblem, coerce
from recaster_tui.options.spec import OptionSpec, OptionValue, show, specs_of


class OptionsError(BadInputError):
    """Options that cannot be used. :attr:`problems` has one message for each key."""

    def __init__(
        self,
        problems: Mapping[str, str],
        *,
        where: Path | str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__("\n".join(problems.values()), where=where, hint=hint)
        self.problems = dict(problems)


@cache
def specs(model: ModelClass | str) -> tuple[OptionSpec, ...]:
    """Every option of *model*, in the order of a form."""
    return specs_of(options_class(model))


@cache
def spec_map(model: ModelClass | str) -> dict[str, OptionSpec]:
    """The same by key."""
    return {spec.key: spec for spec in specs(model)}


@cache
def defaults(model: ModelClass | str) -> TrainingOptions:
    """Options as they are when nothing is said."""
    return options_class(model)()


def validate(
    model: ModelClass | str,
    values: Mapping[str, object],
    *,
    where: Path | str | None = None,
    trusted: Mapping[str, object] | None = None,
) -> TrainingOptions:
    """Make checked options of *values*; what is missing takes its default.

    Keys may be ours or DeepFaceLab's; values may be text.

    Args:
        model: model class.
        values: option values by key.
        where: file they came from, for the message.
        trusted: options (by our keys) of a model that exists. Its networks are there, whatever
            we would have recommended: a number that is fixed for the life of a model may lie
            outside its range if it is the model's own. Types, the architecture's grammar and
            the rules between options hold as ever.

    Raises:
        OptionsError: names every wrong option, its range and default, or the nearest name.
    """
    clean, found = _clean(model, values, trusted)
    found |= _rule_problems(model, clean, found)
    if found:
        raise OptionsError(
            found, where=where, hint=f"recaster options {ModelClass(model).value} lists them all"
        )
    if any(_range_problem(spec_map(model)[key], value) for key, value in clean.items()):
        # Trusted: pydantic would refuse it. Every value and rule has been checked above.
        return _candidate(model, clean)
    try:
        return options_class(model).model_validate(clean)
    except ValidationError as error:  # a rule that _rule_problems does not know: say it plainly
        messages = {"": "; ".join(item["msg"] for item in error.errors())}
        raise OptionsError(messages, where=where) from error


def problems(
    model: ModelClass | str,
    values: Mapping[str, object],
    *,
    trusted: Mapping[str, object] | None = None,
) -> dict[str, str]:
    """What is wrong with *values*, by key; empty when nothing is. For a form while it is typed.

    *trusted* as for :func:`validate`.
    """
    clean, found = _clean(model, values, trusted)
    return found | _rule_problems(model, clean, found)


def advice(model: ModelClass | str, values: Mapping[str, object]) -> dict[str, str]:
    """Warnings by key about *values* that work but are seldom wanted."""
    return dict(_candidate(model, _clean(model, values)[0]).advice())


def visible(model: ModelClass | str, values: Mapping[str, object]) -> set[str]:
    """Keys of the options to show while the others are *values*."""
    full = effective(model, values)
    return {
        spec.key for spec in specs(model) if spec.shown_when is None or spec.shown_when.holds(full)
    }


def effective(model: ModelClass | str, values: Mapping[str, object]) -> dict[str, OptionValue]:
    """Every option's value: the usable ones of *values*, else the defaults, derived ones too."""
    return _candidate(model, _clean(model, values)[0]).model_dump()


def parse_assignment(model: ModelClass | str, text: str) -> tuple[str, object]:
    """Parse ``key=value`` of ``--set``. The key may be DeepFaceLab's.

    ``eyes_mouth_prio`` stays as it is: it stands for two options, which :func:`validate` knows.

    Raises:
        OptionsError: no ``=``, an unknown key, a value that is not of the option's type, or out
            of its range.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise OptionsError({"": f'"{text}" is not key=value'}, hint="as in batch_size=8")
    keys = canonical_keys(model, key)
    if not keys:
        raise OptionsError({key: unknown_option(model, key)})
    clean, found = _clean(model, {keys[0]: value})
    if found:
        raise OptionsError(found)
    return (BOTH_PRIORITIES if len(keys) > 1 else keys[0]), clean[keys[0]]


def live_problem(options: TrainingOptions, key: str, value: object) -> str | None:
    """Why *key* cannot be set to *value* while training with *options*, or None if it can."""
    model = class_of(options)
    keys = canonical_keys(model, key)
    if not keys:
        return unknown_option(model, key)
    for name in keys:
        spec = spec_map(model)[name]
        if spec.locked:
            return f"{name} is fixed once the model exists"
        if not spec.live:
            return f"{name} cannot change while training: stop, change it, and resume"
    own = options.model_dump()
    found = problems(model, own | dict.fromkeys(keys, value), trusted=own)
    return "; ".join(found.values()) or None


def changed(options: TrainingOptions, values: Mapping[str, object]) -> TrainingOptions:
    """A checked copy of a model's *options* with *values* replaced; its own are trusted.

    Raises:
        OptionsError: a value that cannot be used.
    """
    own = options.model_dump()
    return validate(class_of(options), own | dict(values), trusted=own)


def unknown_option(model: ModelClass | str, key: str) -> str:
    """The message for a key that *model* does not have, with the nearest name it has."""
    model = ModelClass(model)
    word = key.strip().lower()
    others = [m.title for m in ModelClass if m is not model and canonical_keys(m, word)]
    message = f'unknown option "{key}" for {model.title}'
    if others:
        return f"{message}: it belongs to {' and '.join(others)}"
    names = {name: name for name in spec_map(model)} | dfl_keys(model)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"{message}: did you mean {names[near[0]]}?" if near else message


def _clean(
    model: ModelClass | str,
    values: Mapping[str, object],
    trusted: Mapping[str, object] | None = None,
) -> tuple[dict[str, OptionValue], dict[str, str]]:
    """Usable values by our keys, and the problems of the others."""
    known = spec_map(model)
    clean: dict[str, OptionValue] = {}
    found: dict[str, str] = {}
    given: dict[str, str] = {}
    # The double switch first, so that a separate priority given beside it wins.
    for key in sorted(values, key=lambda name: name != BOTH_PRIORITIES):
        keys = canonical_keys(model, key)
        if not keys:
            found[key] = unknown_option(model, key)
        for name in keys:
            if name in given and given[name] != BOTH_PRIORITIES:
                found[name] = f"{name} is given twice: as {given[name]} and as {key}"
                continue
            given[name] = key
            try:
                value = coerce(known[name], values[key])
            except ValueProblem as problem:
                found[name] = str(problem)
                continue
            message = _range_problem(known[name], value)
            if message and not _is_trusted(known[name], value, trusted or {}):
                found[name] = message
            else:
                clean[name] = value
    return clean, found


def _is_trusted(spec: OptionSpec, value: OptionValue, trusted: Mapping[str, object]) -> bool:
    """Whether *value* is what a model that exists was made with, and can be at all."""
    if not spec.locked or spec.key not in trusted or float(value) <= 0:
        return False
    try:
        return coerce(spec, trusted[spec.key]) == value
    except ValueProblem:
        return False


def _range_problem(spec: OptionSpec, value: OptionValue) -> str | None:
    if spec.kind not in ("int", "float") or isinstance(value, str):
        return None  # a word instead of the number is one of the option's own
    number = float(value)
    if (spec.minimum is None or number >= spec.minimum) and (
        spec.maximum is None or number <= spec.maximum
    ):
        return None
    return (
        f"{spec.key} = {show(value)} is out of range: {spec.range_text} "
        f"(default {show(spec.default)})"
    )


def _candidate(model: ModelClass | str, clean: Mapping[str, OptionValue]) -> TrainingOptions:
    """Options from values that passed their own checks, rules between them unchecked."""
    options = options_class(model)
    values: dict[str, Any] = options.derived(clean)
    return options.model_construct(**values)


def _rule_problems(
    model: ModelClass | str, clean: Mapping[str, OptionValue], found: Mapping[str, str]
) -> dict[str, str]:
    """Broken rules between options; those of options already named in *found* are left out."""
    rules = _candidate(model, clean).cross_problems()
    return {key: message for key, message in rules if key not in found}

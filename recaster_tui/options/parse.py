"""Values as people and DeepFaceLab write them, made into values of the schema."""

import operator
from collections.abc import Mapping

from recaster_tui.options.spec import OptionSpec, OptionValue, show

_TRUE = frozenset({"yes", "on", "true", "y", "1"})
_FALSE = frozenset({"no", "off", "false", "n", "0"})

# DFL's spelling of a choice, by our key (dfl-models.md 3.1, 12.1). Lower case.
CHOICE_ALIASES: Mapping[str, Mapping[str, str]] = {
    "face_type": {
        "h": "half",
        "half_face": "half",
        "mf": "midfull",
        "midfull_face": "midfull",
        "f": "full",
        "full_face": "full",
        "wf": "whole",
        "whole_face": "whole",
    },
    "learning_rate_dropout": {
        "n": "off",
        "no": "off",
        "false": "off",
        "y": "on",
        "yes": "on",
        "true": "on",
    },
    "optimizer": {"true": "adabelief", "y": "adabelief", "yes": "adabelief", "on": "adabelief"}
    | {"false": "rmsprop", "n": "rmsprop", "no": "rmsprop", "off": "rmsprop"},
}


class ValueProblem(Exception):  # noqa: N818 - always turned into a message before a user sees it
    """A value that cannot be one of its option; ``str()`` is the whole message."""


def coerce(spec: OptionSpec, value: object) -> OptionValue:
    """Make *value* (text, TOML value, numpy scalar) the type that *spec* wants.

    Raises:
        ValueProblem: it cannot be read as that type. Ranges are not checked here.
    """
    if spec.words and isinstance(value, str) and value.strip().lower() in spec.words:
        return value.strip().lower()
    if spec.kind == "bool":
        return _bool(spec, value)
    if spec.kind == "int":
        return _int(spec, value)
    if spec.kind == "float":
        return _float(spec, value)
    if spec.kind == "choice":
        return _choice(spec, value)
    if not isinstance(value, str):
        raise ValueProblem(f"{_quoted(spec, value)} is not text: {spec.range_text}")
    return value.strip()


def _default(spec: OptionSpec) -> str:
    return f"(default {show(spec.default)})"


def _quoted(spec: OptionSpec, value: object) -> str:
    return f'{spec.key} = "{value}"' if isinstance(value, str) else f"{spec.key} = {value}"


def _bool(spec: OptionSpec, value: object) -> bool:
    word = str(value).strip().lower()  # numpy's bool prints as True, too
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueProblem(f"{_quoted(spec, value)} is not yes or no {_default(spec)}")


def _int(spec: OptionSpec, value: object) -> int:
    try:
        if isinstance(value, bool):
            raise ValueError
        if isinstance(value, str):
            try:
                return int(value)
            except ValueError:
                value = float(value)  # 1e5
        if isinstance(value, float):
            if not value.is_integer():
                raise ValueError
            return int(value)
        return operator.index(value)  # type: ignore[arg-type]  # numpy integers
    except (ValueError, TypeError, OverflowError):
        pass
    raise ValueProblem(
        f"{_quoted(spec, value)} is not a whole number: {spec.range_text} {_default(spec)}"
    )


def _float(spec: OptionSpec, value: object) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)  # type: ignore[arg-type]  # text, int, float, numpy scalar
        if number - number == 0:  # neither NaN nor infinite
            return number
    except (ValueError, TypeError, OverflowError):
        pass
    raise ValueProblem(
        f"{_quoted(spec, value)} is not a number: {spec.range_text} {_default(spec)}"
    )


def _choice(spec: OptionSpec, value: object) -> str:
    word = str(value).strip().lower()
    word = CHOICE_ALIASES.get(spec.key, {}).get(word, word)
    for choice in spec.choices:
        if choice.lower() == word:
            return choice
    raise ValueProblem(
        f"{_quoted(spec, value)} is not a choice: one of {spec.range_text} {_default(spec)}"
    )

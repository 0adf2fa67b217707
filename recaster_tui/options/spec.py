"""How one option is declared, and the :class:`OptionSpec` that everything else reads."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args, get_origin

from pydantic import AfterValidator, BaseModel, Field
from pydantic.fields import FieldInfo

OptionValue: TypeAlias = bool | int | float | str
Kind: TypeAlias = Literal["int", "float", "bool", "choice", "text"]

GROUPS = ("Run", "Network", "Optimizer", "Faces", "Losses", "GAN", "Saving", "Measuring", "Machine")
"""Groups in the order in which a form or a table shows them."""


@dataclass(frozen=True)
class When:
    """A condition on another option, as data: it can be evaluated and can say what it is.

    Attributes:
        key: option looked at.
        test: ``in`` (value is one of), ``above`` (number greater than), ``starts`` (text begins),
            ``is`` (value equals).
        value: what it is compared with.
    """

    key: str
    test: Literal["in", "above", "starts", "is"]
    value: OptionValue | tuple[str, ...]

    def holds(self, values: Mapping[str, object]) -> bool:
        """Whether *values* (defaults filled in) meet the condition; False on unusable values."""
        found = values.get(self.key)
        if self.test == "in":
            return isinstance(self.value, tuple) and found in self.value
        if self.test == "is":
            return found == self.value
        if self.test == "starts":
            return isinstance(found, str) and found.lower().startswith(str(self.value))
        return (
            isinstance(found, int | float)
            and isinstance(self.value, int | float)
            and found > self.value
        )

    def describe(self) -> str:
        """``gan_power is above 0`` and the like, for help and messages."""
        if self.test == "in" and isinstance(self.value, tuple):
            return f"{self.key} is {' or '.join(self.value)}"
        if self.test == "is":
            return f"{self.key} is {show(self.value)}"
        if self.test == "starts":
            return f"{self.key} starts with {self.value}"
        return f"{self.key} is above {self.value}"


@dataclass(frozen=True)
class OptionSpec:
    """All there is to know about one option of one model class.

    Attributes:
        key: our name, in configs, on the command line and in files.
        label: name on screen.
        kind: ``choice`` means *choices* is complete; for ``text`` it holds suggestions.
        default: value when nothing is said.
        minimum: smallest value, both ends included; None for other kinds.
        maximum: largest value; None = no end.
        step: how far one key press moves the value in a form.
        choices: see *kind*.
        words: what may be said instead of a number (``auto``).
        group: one of :data:`GROUPS`.
        help: one to three sentences for a user.
        recommended: a value and the reason for it.
        locked: fixed once the model exists (DFL asks it on the first run only).
        live: may change while training: needs no other network or optimizer.
        dfl: DeepFaceLab's name (this is the one place for it), None where it has none.
        shown_when: shown only while this holds; a hidden option keeps its value.
    """

    key: str
    label: str
    kind: Kind
    default: OptionValue
    minimum: float | None
    maximum: float | None
    step: float | None
    choices: tuple[str, ...]
    group: str
    help: str
    recommended: str
    locked: bool
    live: bool
    dfl: str | None
    shown_when: When | None
    words: tuple[str, ...] = ()

    @property
    def range_text(self) -> str:
        """``32 to 1024``, ``yes or no``, ``half, full, whole``: what may be given."""
        if self.kind == "bool":
            return "yes or no"
        if self.kind == "choice":
            return ", ".join(self.choices)
        if self.kind == "text":
            if not self.choices:
                return "a folder, relative to the workspace"
            return "df or liae, then optionally - and any of u d t c"
        low, high = show(self.minimum), show(self.maximum)
        text = f"{low} or more" if self.maximum is None else f"{low} to {high}"
        return ", or ".join((text, *self.words))


@dataclass(frozen=True)
class OptionMeta:
    """What pydantic has no place for; rides in ``FieldInfo.metadata``."""

    label: str
    help: str
    recommended: str
    group: str
    step: float | None
    choices: tuple[str, ...]
    shown_when: When | None
    locked: bool
    live: bool
    dfl: str | None
    minimum: float | None
    maximum: float | None
    words: tuple[str, ...]


def option(
    default: OptionValue,
    *,
    label: str,
    help: str,  # noqa: A002 - the word for it
    recommended: str,
    group: str,
    ge: float | None = None,
    le: float | None = None,
    step: float | None = None,
    choices: Iterable[str] = (),
    words: Iterable[str] = (),
    shown_when: When | None = None,
    locked: bool = False,
    live: bool = False,
    dfl: str | None = None,
) -> Any:
    """Declare a field of an options class, once, with all that form, CLI, TOML and help need.

    *choices* is for text with suggestions; the choices of a ``Literal`` come from its annotation.
    *words* may stand instead of a number; the annotation then is a union with their ``Literal``.
    """
    if group not in GROUPS:
        raise ValueError(f"unknown group {group!r}")
    declared: Any = default  # so that Field is not taken for its value
    if words:
        # pydantic would compare the word, too.
        field: FieldInfo = Field(declared)
        field.metadata.append(AfterValidator(lambda value: _within(value, ge, le)))
    else:
        field = Field(declared, ge=ge, le=le)
    field.metadata.append(
        OptionMeta(
            label=label,
            help=" ".join(help.split()),
            recommended=" ".join(recommended.split()),
            group=group,
            step=step,
            choices=tuple(choices),
            shown_when=shown_when,
            locked=locked,
            live=live,
            dfl=dfl,
            minimum=ge,
            maximum=le,
            words=tuple(words),
        )
    )
    return field


def _within(value: int | str, low: float | None, high: float | None) -> int | str:
    if not isinstance(value, str) and (
        (low is not None and value < low) or (high is not None and value > high)
    ):
        raise ValueError(f"{value} is out of range: {show(low)} to {show(high)}")
    return value


def revised(parent: type[BaseModel], key: str, default: OptionValue, **changes: Any) -> Any:
    """Declare an inherited option again with another default, and *changes* of its facts."""
    meta = option_meta(parent.model_fields[key])
    facts: dict[str, Any] = {
        "label": meta.label,
        "help": meta.help,
        "recommended": meta.recommended,
        "group": meta.group,
        "ge": meta.minimum,
        "le": meta.maximum,
        "step": meta.step,
        "choices": meta.choices,
        "words": meta.words,
        "shown_when": meta.shown_when,
        "locked": meta.locked,
        "live": meta.live,
        "dfl": meta.dfl,
    }
    return option(default, **(facts | changes))


def option_meta(field: FieldInfo) -> OptionMeta:
    """The facts given to :func:`option`."""
    for item in field.metadata:
        if isinstance(item, OptionMeta):
            return item
    raise TypeError("an options field was not declared with option()")


def spec_of(key: str, field: FieldInfo) -> OptionSpec:
    """The :class:`OptionSpec` of one pydantic field."""
    meta = option_meta(field)
    annotation = field.annotation
    kind: Kind
    choices = meta.choices
    if get_origin(annotation) is Literal:
        kind, choices = "choice", tuple(get_args(annotation))
    elif annotation is bool:
        kind = "bool"
    elif annotation is int or int in get_args(annotation):
        kind = "int"
    elif annotation is float:
        kind = "float"
    else:
        kind = "text"
    return OptionSpec(
        key=key,
        label=meta.label,
        kind=kind,
        default=field.default,
        minimum=meta.minimum,
        maximum=meta.maximum,
        step=meta.step,
        choices=choices,
        group=meta.group,
        help=meta.help,
        recommended=meta.recommended,
        locked=meta.locked,
        live=meta.live,
        dfl=meta.dfl,
        shown_when=meta.shown_when,
        words=meta.words,
    )


def specs_of(options: type[BaseModel]) -> tuple[OptionSpec, ...]:
    """Every option of an options class: by group, within it in the order of declaration."""
    found = [spec_of(key, field) for key, field in options.model_fields.items()]
    return tuple(sorted(found, key=lambda spec: GROUPS.index(spec.group)))


def show(value: object) -> str:
    """A value as a user writes it: ``yes``, ``5e-05``, ``0.1``, ``rct``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 1e6 else repr(value)
    return str(value)

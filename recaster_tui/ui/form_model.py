"""What the option form shows and why a field may not be changed; knows nothing of the screen."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recaster_tui.options import ModelClass, OptionSpec, defaults, problems, specs, visible
from recaster_tui.ui import words

MODEL, NAME, DEVICE = "@model", "@name", "@device"
"""Keys of the fields that are no options; options never begin with @."""

SETUP = "Model"
NAME_HELP = "letters, digits, space, dot and hyphen; begins with a letter or digit"


@dataclass(frozen=True)
class Field:
    """One row of the form."""

    key: str
    label: str
    kind: str  # int float bool choice text
    group: str
    help: str
    default: Any
    range_text: str = ""
    recommended: str = ""
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()  # that may stand instead of a number
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    locked: bool = False
    live: bool = False
    dfl: str | None = None
    condition: str = ""  # when it matters, in words; empty = always

    @classmethod
    def of(cls, spec: OptionSpec, labels: Mapping[str, str]) -> "Field":
        """The row of an option; *labels* by key, for its condition."""
        when = spec.shown_when
        condition = when.describe() if when is not None else ""
        if when is not None and when.key in labels:
            condition = condition.replace(when.key, labels[when.key], 1)
        return cls(
            key=spec.key,
            label=spec.label,
            kind=spec.kind,
            group=spec.group,
            help=spec.help,
            default=spec.default,
            range_text=spec.range_text,
            recommended=spec.recommended,
            choices=tuple(spec.choices),
            words=spec.words,
            minimum=spec.minimum,
            maximum=spec.maximum,
            step=spec.step,
            locked=spec.locked,
            live=spec.live,
            dfl=spec.dfl,
            condition=condition,
        )


@dataclass(frozen=True)
class FormRow:
    """A heading (``field`` is None) or a field.

    ``hidden`` counts a folded heading's rows; ``absent`` says of a field that only the filter
    found when it would be shown.
    """

    group: str
    field: Field | None = None
    hidden: int = 0
    absent: str = ""


@dataclass
class FormModel:
    """Values, what is wrong with them, and what may be changed now.

    Attributes:
        model: class of the model.
        name: of the model; with the class it names the folder.
        device: auto, cpu, cuda, …
        values: option key to value; may hold raw text that could not be read as its kind.
        exists: a model of this name exists, so ``locked`` options are fixed.
        own: options that model was saved with; its fixed ones are right whatever they are.
        running: a trainer works on it, so only ``live`` options change.
        folded: groups shown as their heading only.
        query: filter over labels, keys and DeepFaceLab's names.
        meanings: by key, what a word such as ``auto`` stands for in the run that is shown.
    """

    model: ModelClass = ModelClass.SAEHD
    name: str = "new"
    device: str = "auto"
    devices: tuple[str, ...] = ("auto", "cpu")
    values: dict[str, Any] = field(default_factory=dict)
    exists: bool = False
    own: Mapping[str, Any] = field(default_factory=dict)
    running: bool = False
    folded: set[str] = field(default_factory=set)
    query: str = ""
    meanings: dict[str, str] = field(default_factory=dict)
    _errors: dict[str, str] | None = field(default=None, repr=False)
    _kept: dict[ModelClass, tuple[str, dict[str, Any]]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.values:
            self.values = defaults(self.model).model_dump()

    # -- reading --------------------------------------------------------------------------------

    def fields(self) -> list[Field]:
        """Every field of the model class, in order."""
        setup = [
            Field(
                MODEL,
                "Model type",
                "choice",
                SETUP,
                "SAEHD: best quality, most options. AMP: morphs between the two faces. "
                "Quick96: small and quick, nothing to set. XSeg: learns masks.",
                ModelClass.SAEHD.value,
                range_text=", ".join(m.title for m in ModelClass),
                recommended="Quick96 to try a pair of facesets, SAEHD for the final result",
                choices=tuple(m.value for m in ModelClass),
                locked=False,
            ),
            Field(
                NAME,
                "Model name",
                "text",
                SETUP,
                "The model's folder is model/<name>.<type>. A name that exists goes on with that "
                "model; a new name begins a new one.",
                "new",
                range_text=NAME_HELP,
            ),
            Field(
                DEVICE,
                "Device",
                "choice",
                SETUP,
                "What computes. auto takes the first GPU, or the CPU where there is none.",
                "auto",
                range_text=", ".join(self.devices),
                recommended="auto",
                choices=self.devices,
            ),
        ]
        labels = {spec.key: spec.label for spec in specs(self.model)}
        return setup + [Field.of(spec, labels) for spec in specs(self.model)]

    def rows(self) -> list[FormRow]:
        """What is shown: by group, filtered, folded."""
        shown = visible(self.model, self.complete())
        query = self.query.strip().lower()
        groups: dict[str, list[FormRow]] = {}
        for item in self.fields():
            absent = not item.key.startswith("@") and item.key not in shown
            if absent and not query:
                continue
            text = f"{item.label} {item.key} {item.dfl or ''} {item.group}".lower()
            if query and query not in text:
                continue
            why = f"shown when {item.condition}" if absent else ""
            groups.setdefault(item.group, []).append(FormRow(item.group, item, absent=why))
        rows: list[FormRow] = []
        for group, items in groups.items():
            folded = group in self.folded and not query
            rows.append(FormRow(group, hidden=len(items) if folded else 0))
            if not folded:
                rows += items
        return rows

    def value(self, key: str) -> Any:
        """A field's value, or the text that failed to become one."""
        if key == MODEL:
            return self.model.value
        if key == NAME:
            return self.name
        if key == DEVICE:
            return self.device
        return self.values.get(key)

    def shown_value(self, item: Field) -> str:
        """As the form prints it."""
        value = self.value(item.key)
        if item.key == MODEL:
            return self.model.title
        return words.plain(value)

    def meaning(self, item: Field) -> str:
        """What stands behind the value when it is a word: the number found; empty if unknown."""
        return self.meanings.get(item.key, "") if self.value(item.key) in item.words else ""

    def is_default(self, item: Field) -> bool:
        """Whether it was left alone."""
        return item.key.startswith("@") or self.value(item.key) == item.default

    def errors(self) -> dict[str, str]:
        """Message by key; "" is for the whole form. Empty = may start."""
        if self._errors is None:
            self._errors = dict(problems(self.model, self.values, trusted=self.own))
            if message := name_problem(self.name):
                self._errors[NAME] = message
        return self._errors

    def complete(self) -> Mapping[str, Any]:
        """Values with unusable ones replaced by their default, for conditions."""
        usual = defaults(self.model).model_dump()
        return {
            key: value if isinstance(value, type(usual[key])) else usual[key]
            for key, value in self.values.items()
            if key in usual
        }

    def why_fixed(self, item: Field) -> str:
        """Why the field cannot be changed now; empty = it can."""
        if self.running:
            return "" if item.live else "set before training starts"
        if item.locked and self.exists:
            return "fixed when the model was created"
        return ""

    # -- changing -------------------------------------------------------------------------------

    def set(self, item: Field, value: Any) -> None:
        """Take a value as typed or chosen; wrong ones are kept and show up in :meth:`errors`."""
        if item.key == MODEL:
            self.switch(ModelClass(value))
        elif item.key == NAME:
            self.name = str(value)
        elif item.key == DEVICE:
            self.device = str(value)
        else:
            self.values[item.key] = parse(item, value)
        self._errors = None

    def reset(self, item: Field) -> None:
        """Back to the default."""
        if not item.key.startswith("@"):
            self.set(item, item.default)

    def switch(self, model: ModelClass) -> None:
        """Another model class, with its own values as last left, else the defaults."""
        if model is self.model:
            return
        self._kept[self.model] = (self.name, dict(self.values))
        _, values = self._kept.get(model, ("", defaults(model).model_dump()))
        self.model, self.values = model, dict(values)
        self._errors = None

    def was_left(self) -> bool:
        """Whether this class was configured before, under the same name, and then left."""
        return self.model in self._kept and self._kept[self.model][0] == self.name

    def load(self, model: ModelClass, values: Mapping[str, Any]) -> None:
        """Take over a configuration or a run's options, missing ones at their defaults."""
        usual = defaults(model).model_dump()
        self.model = model
        self.values = usual | {k: v for k, v in values.items() if k in usual}
        self._errors = None

    def nudge(self, item: Field, direction: int) -> Any:
        """The next value in *direction* (±1): next choice, other switch, one step."""
        value = self.value(item.key)
        if item.kind == "bool":
            return not value
        if item.choices:
            known = [*item.choices]
            at = known.index(value) if value in known else 0
            return known[(at + direction) % len(known)]
        if item.words and value in item.words:
            return round(item.minimum or 0) if direction > 0 else value
        if item.words and direction < 0 and value == item.minimum:
            return item.words[0]  # the word lies below the smallest number
        if item.kind in ("int", "float") and isinstance(value, int | float):
            return _step(item, float(value), direction)
        return value

    def found(self, own: Mapping[str, Any] | None) -> None:
        """Whether a model of this name exists (None = no), and the options it was saved with."""
        self.exists, self.own = own is not None, own or {}
        self._errors = None

    def fold(self, group: str) -> None:
        """Show or hide a group's fields."""
        self.folded ^= {group}

    def digest(self) -> str:
        """Changes whenever something that a redraw would show does."""
        return json.dumps([self.model, self.name, self.device, self.values, self.running])


def parse(item: Field, value: Any) -> Any:
    """Text into the field's kind where possible, else the text itself (validation says why)."""
    if not isinstance(value, str):
        if item.kind == "float" and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        return value
    text = value.strip().replace(" ", "").replace("_", "")
    for word in item.words:
        if text and word.startswith(text.lower()):
            return word  # its first letter is enough
    try:
        if item.kind == "int":
            return int(text.replace(",", ""))
        if item.kind == "float":
            return float(text.replace(",", "."))
    except ValueError:
        return value.strip()
    if item.kind == "bool":
        return {"yes": True, "on": True, "no": False, "off": False}.get(text.lower(), value)
    return value.strip()


def name_problem(name: str) -> str:
    """Why a model cannot be called *name*; empty = it can."""
    good = bool(name) and name[0].isalnum() and all(c.isalnum() or c in " .-" for c in name)
    if good and name.isascii() and len(name) <= 64:
        return ""
    return f"a model's name: {NAME_HELP}; at most 64"


def _step(item: Field, value: float, direction: int) -> int | float:
    step = item.step or 1.0
    if item.kind == "float" and item.step is None and value > 0:
        # No natural step (a learning rate): move along 1-2-5.
        from recaster_tui.ui.decimate import nice_step

        moved = nice_step(value * 1.01, 1) if direction > 0 else _previous_nice(value)
    else:
        moved = value + direction * step
        moved = round(moved / step) * step if item.kind == "float" else moved
    low = item.minimum if item.minimum is not None else moved
    high = item.maximum if item.maximum is not None else moved
    moved = min(max(moved, low), high)
    return round(moved) if item.kind == "int" else float(f"{moved:.6g}")


def _previous_nice(value: float) -> float:
    from math import floor, log10

    base = 10.0 ** floor(log10(value * 0.99))
    return max(f * base for f in (1, 2, 5) if f * base < value * 0.999)

"""Words that choose and order runs: ``class:saehd its>10k after:2026-11-01 night``.

A plain word must occur in what names a run. ``key:value`` (or ``=``, ``<``, ``>``, ``<=``, ``>=``,
``!=``) asks one of its values, ``-`` before a word turns it round, quotes keep spaces together.
Everything must fit. No screen here: the Runs screen and ``recaster runs`` use the same words.
"""

import math
import operator
import re
import shlex
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import compress
from typing import Any

from recaster_tui.errors import BadInputError
from recaster_tui.options import ModelClass
from recaster_tui.supervisor.history import RunRecord
from recaster_tui.supervisor.state import RunState

Test = Callable[[RunRecord], bool]

HELP: tuple[tuple[str, str], ...] = (
    ("night", "occurs in name, type, state, device, id or workspace"),
    ('model:night  model:"two words"', "part of the model's name; = the whole name"),
    ("class:saehd", "type: " + ", ".join(m.value for m in ModelClass)),
    ("state:failed", "one of the states, or live, over, gone"),
    ("outcome:killed", "how it ended: finished, stopped, failed, killed"),
    ("device:4090  workspace:film  id:3f2a", "part of that"),
    ("its>10k  trained<2h  speed>=5", "iterations, time of training, it/s"),
    ("loss<0.5  src<0.3  dst<0.3", "newest losses; loss is their mean"),
    ("after:2026-11-01  before:7d", "started; a date, today, yesterday, or so long ago"),
    ("cost>1", "what it cost"),
    ("opt:batch_size=8  opt:gan_power>0", "an option's value; opt:NAME alone: it has one"),
    ("-state:failed", "everything but"),
)
"""(example, meaning) of every kind of word, for help texts."""

_WORD = re.compile(r"(-?)([A-Za-z_]+)(:|!=|<=|>=|=|<|>)(.*)", re.DOTALL)
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    ":": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_UNITS = {"k": 1e3, "m": 1e6}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_GROUPS = ("live", "over", "gone")


def mean_speed(record: RunRecord) -> float:
    """Iterations a second over the time spent training; NaN where there was none."""
    done = record.iteration - record.start_iteration
    return done / record.duration if record.duration > 0 and done > 0 else math.nan


def mean_loss(record: RunRecord) -> float:
    """Mean of the newest losses, of those there are; NaN without any."""
    known = [v for v in (record.loss_src, record.loss_dst) if math.isfinite(v)]
    return sum(known) / len(known) if known else math.nan


_TEXTS: dict[str, Callable[[RunRecord], str]] = {
    "model": lambda r: r.model_name,
    "device": lambda r: r.device_name,
    "workspace": lambda r: r.workspace,
    "id": lambda r: r.run_id,
}
_NUMBERS: dict[str, Callable[[RunRecord], float]] = {
    "its": lambda r: r.iteration,
    "target": lambda r: r.target_iterations,
    "saved": lambda r: r.saved_iteration,
    "loss": mean_loss,
    "src": lambda r: r.loss_src,
    "dst": lambda r: r.loss_dst,
    "speed": mean_speed,
    "cost": lambda r: r.cost,
}
_ALIASES = {
    "name": "model",
    "type": "class",
    "iteration": "its",
    "iterations": "its",
    "run": "id",
    "time": "trained",
    "duration": "trained",
    "option": "opt",
}
KEYS = (*_TEXTS, "class", "state", "outcome", *_NUMBERS, "trained", "after", "before", "opt")

SORTS: dict[str, tuple[str, bool, Callable[[RunRecord], Any]]] = {
    "started": ("started", True, lambda r: r.created),
    "state": ("state", False, lambda r: (not r.state.live, r.state.value)),
    "model": ("model", False, lambda r: r.model_name.lower()),
    "class": ("class", False, lambda r: r.model_class),
    "iteration": ("iterations", True, lambda r: r.iteration),
    "src": ("source loss", False, lambda r: r.loss_src),
    "dst": ("destination loss", False, lambda r: r.loss_dst),
    "loss": ("mean loss", False, mean_loss),
    "speed": ("speed", True, mean_speed),
    "duration": ("duration", True, lambda r: r.duration),
    "cost": ("cost", True, lambda r: r.cost),
    "device": ("device", False, lambda r: r.device_name.lower()),
}
"""Column: (its name, whether the usual order is descending, what is compared)."""


@dataclass(frozen=True)
class RunFilter:
    """What :func:`parse` made of the words; no words let everything through."""

    text: str = ""
    words: tuple[str, ...] = ()
    tests: tuple[Test, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.words or self.tests)

    def fits(self, record: RunRecord) -> bool:
        """Whether the run is meant."""
        return bool(self.choose((record,)))

    def choose(self, records: Sequence[RunRecord]) -> list[RunRecord]:
        """Those that fit, in their order."""
        chosen = list(records)
        if self.words:
            texts = [haystack(r) for r in chosen]
            for word in self.words:
                wanted, there = word[1:], word[0] == "+"
                keep = [(wanted in text) is there for text in texts]
                texts = list(compress(texts, keep))
                chosen = list(compress(chosen, keep))
        for test in self.tests:
            chosen = list(filter(test, chosen))
        return chosen


def haystack(record: RunRecord) -> str:
    """What plain words are looked for in, lower case."""
    known = record.__dict__.get("_haystack")
    if known is None:
        known = (
            f"{record.model_name} {record.model_class} {record.state.value} {record.outcome} "
            f"{record.device_name} {record.run_id} {record.workspace.rpartition('/')[2]}"
        ).lower()
        # Kept with the (frozen) record: thousands are searched at each letter typed.
        record.__dict__["_haystack"] = known
    return str(known)


def order(records: Sequence[RunRecord], column: str, *, descending: bool) -> list[RunRecord]:
    """Sorted by a column of :data:`SORTS`; runs without a value (no loss yet) last either way."""
    value = SORTS[column][2]
    keyed = [(value(r), r) for r in records]
    present = [pair for pair in keyed if pair[0] == pair[0]]
    missing = [r for v, r in keyed if v != v]
    present.sort(key=operator.itemgetter(0), reverse=descending)
    return [r for _, r in present] + missing


def parse(text: str, *, now: float | None = None, gone: Container[str] | None = None) -> RunFilter:
    """The filter that *text* means.

    Args:
        text: words as in :data:`HELP`.
        now: unix seconds that ``after:7d`` counts back from.
        gone: ids of runs whose folder is not there, where that is known; else it is looked for.

    Raises:
        BadInputError: a word cannot be understood; says which, why, and what would do.
    """
    words: list[str] = []
    tests: list[Test] = []
    for word in _split(text):
        found = _WORD.fullmatch(word)
        if found is None:
            negated = word.startswith("-") and len(word) > 1
            words.append(("-" + word[1:] if negated else "+" + word).lower())
            continue
        minus, key, sign, value = found.groups()
        key = _ALIASES.get(key.lower(), key.lower())
        if key not in KEYS:
            raise BadInputError(
                f"'{key}' is nothing that runs are filtered by", hint="there is " + ", ".join(KEYS)
            )
        if not value:
            raise BadInputError(f"a value is missing after '{key}{sign}'", hint=_example(key))
        test = _test(key, sign, value, time.time() if now is None else now, gone)
        tests.append(_not(test) if minus else test)
    return RunFilter(text, tuple(words), tuple(tests))


def begins_key(text: str) -> bool:
    """Whether the last word of *text* may become a ``key:value``: ``lo`` of ``loss<0.5``."""
    last = text.rpartition(" ")[2].removeprefix("-").lower()
    return bool(last) and any(key.startswith(last) for key in (*KEYS, *_ALIASES))


def _split(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    lexer.quotes = '"'
    try:
        return list(lexer)
    except ValueError as error:
        raise BadInputError('a quote (") is open', hint='close it: model:"two words"') from error


def _test(key: str, sign: str, value: str, now: float, gone: Container[str] | None) -> Test:
    if key in _TEXTS:
        return _text_test(key, sign, value)
    if key in _NUMBERS:
        return _number_test(_NUMBERS[key], sign, _number(key, value))
    match key:
        case "class":
            classes = [m.value for m in ModelClass]
            return _choice_test(key, sign, value, classes, lambda r: r.model_class)
        case "outcome":
            ends = ["finished", "stopped", "failed", "killed"]
            return _choice_test(key, sign, value, ends, lambda r: r.outcome)
        case "state":
            if value.lower() in _GROUPS:
                _refuse_order(key, sign)
                group = _group(value.lower(), gone)
                return _not(group) if sign == "!=" else group
            states = [s.value for s in RunState]
            return _choice_test(key, sign, value, states, lambda r: r.state.value, _GROUPS)
        case "trained":
            seconds = _number_and_unit(value, _SECONDS)
            if seconds is None:
                raise BadInputError(f"'{value}' is no length of time", hint=_example(key))
            return _number_test(lambda r: r.duration, sign, seconds)
        case "opt":
            return _option_test(sign, value)
    at = _moment(value, now)
    _need_colon(key, sign)
    return (lambda r: r.created >= at) if key == "after" else (lambda r: r.created < at)


def _group(name: str, gone: Container[str] | None) -> Test:
    if name == "over":
        return lambda r: r.state.over
    is_gone: Test = (lambda r: r.missing) if gone is None else (lambda r: r.run_id in gone)
    return is_gone if name == "gone" else (lambda r: r.state.live and not is_gone(r))


def _text_test(key: str, sign: str, value: str) -> Test:
    _refuse_order(key, sign)
    read, wanted = _TEXTS[key], value.lower()
    if sign == ":":
        return lambda r: wanted in read(r).lower()
    return lambda r: (read(r).lower() == wanted) is (sign == "=")


def _choice_test(
    key: str,
    sign: str,
    value: str,
    choices: Sequence[str],
    read: Callable[[RunRecord], str],
    more: Sequence[str] = (),
) -> Test:
    """Any choice that begins with *value*, so that a word half typed already chooses."""
    _refuse_order(key, sign)
    meant = {c for c in choices if c == value.lower()}
    meant = meant or {c for c in choices if c.startswith(value.lower())}
    if not meant and not any(m.startswith(value.lower()) for m in more):
        raise BadInputError(
            f"there is no {key} '{value}'", hint="there is " + ", ".join((*choices, *more))
        )
    return lambda r: (read(r) in meant) is (sign != "!=")


def _number_test(read: Callable[[RunRecord], float], sign: str, wanted: float) -> Test:
    compare = _OPERATORS[sign]
    # NaN compares as unequal to everything, which is right for all but "!=".
    return lambda r: bool(compare(value := read(r), wanted)) and value == value


def _option_test(sign: str, value: str) -> Test:
    if sign != ":":
        raise BadInputError(f"'opt{sign}{value}' asks for no option", hint=_example("opt"))
    found = re.fullmatch(r"([A-Za-z_0-9]+)(?:(!=|<=|>=|=|<|>|:)(.*))?", value, re.DOTALL)
    if found is None:
        raise BadInputError(f"'{value}' names no option", hint=_example("opt"))
    name, compare, text = found[1], found[2], found[3]
    if compare is None:
        return lambda r: name in r.options
    if not text:
        raise BadInputError(f"a value is missing after '{name}{compare}'", hint=_example("opt"))
    number = _plain_number(text)
    if compare not in (":", "=", "!="):
        if number is None:
            raise BadInputError(f"'{text}' is no number", hint=_example("opt"))
        wanted: float = number
        return lambda r: _compares(r.options.get(name), compare, wanted)
    same = compare != "!="
    return lambda r: name in r.options and _is(r.options[name], text, number) is same


def _compares(value: Any, sign: str, wanted: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return bool(_OPERATORS[sign](value, wanted))


def _is(value: Any, text: str, number: float | None) -> bool:
    """Whether an option has the value that *text* means, as the form or TOML writes it."""
    if isinstance(value, bool):
        return text.lower() in (
            ("on", "yes", "true", "1") if value else ("off", "no", "false", "0")
        )
    if isinstance(value, int | float):
        return number is not None and float(value) == number
    return str(value).lower() == text.lower()


def _number(key: str, text: str) -> float:
    number = _plain_number(text)
    if number is None:
        raise BadInputError(f"'{text}' is no number", hint=_example(key))
    return number


def _plain_number(text: str) -> float | None:
    return _number_and_unit(text.replace(",", "").replace("_", ""), _UNITS)


def _number_and_unit(text: str, units: Mapping[str, float]) -> float | None:
    found = re.fullmatch(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)([a-z]?)", text.lower())
    if found is None or (found[2] and found[2] not in units):
        return None
    return float(found[1]) * units.get(found[2], 1)


def _moment(text: str, now: float) -> float:
    """A date or a length of time ago, as unix seconds of this machine's time zone."""
    midnight = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    if text.lower() in ("today", "yesterday"):
        return (midnight - timedelta(days=text.lower() == "yesterday")).timestamp()
    if (ago := _number_and_unit(text, _SECONDS)) is not None and not text[-1].isdigit():
        return now - ago
    try:
        if re.fullmatch(r"\d{4}-\d{1,2}", text):
            text += "-01"
        if found := re.fullmatch(r"(\d{4})-(\d{1,2})-(\d{1,2})", text):
            return datetime(*map(int, found.groups())).timestamp()  # type: ignore[arg-type]
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise BadInputError(f"'{text}' is no date", hint=_example("after")) from error


def _refuse_order(key: str, sign: str) -> None:
    if sign in ("<", ">", "<=", ">="):
        raise BadInputError(f"'{key}' has no order: '{sign}' asks nothing", hint=_example(key))


def _need_colon(key: str, sign: str) -> None:
    if sign not in (":", "="):
        raise BadInputError(f"'{key}' takes a colon", hint=_example(key))


def _not(test: Test) -> Test:
    return lambda record: not test(record)


_EXAMPLES = {
    "class": "class:saehd",
    "state": "state:failed",
    "outcome": "outcome:killed",
    "trained": "trained>2h, with s, m, h, d or w",
    "after": "after:2026-11-01, after:today or after:7d (days ago)",
    "before": "before:2026-11-01, before:today or before:7d (days ago)",
    "opt": "opt:batch_size=8",
    "its": "its>10000 or its>10k",
    "loss": "loss<0.5",
}


def _example(key: str) -> str:
    usual = f"{key}:word" if key in _TEXTS else f"{key}>1"
    return "for example " + _EXAMPLES.get(key, usual)

"""Which faces to show: terms typed by the user, as conditions on a catalog's columns."""

import difflib
import fnmatch
import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from recaster_tui.errors import BadInputError
from recaster_tui.faces.catalog_rows import COLUMNS

FINDING_PREFIX = "finding."
"""Values stored under ``finding.CODE`` (severity 0 to 1) are what ``finding:CODE`` looks for."""

Range = tuple[float | None, float | None]

_WELL_KNOWN = ("score", "mask_disagreement")  # columns that the check and the masks add
_FLAGS = {
    "marked": "marked",
    "labelled": "labelled",
    "masked": "masked",
    "doubtful": "doubtful",
    "damaged": "damaged",
}
_POSES: dict[str, dict[str, Range]] = {
    "frontal": {"yaw": (-15.0, 15.0), "pitch": (-15.0, 15.0)},
    "left": {"yaw": (None, -15.0)},
    "right": {"yaw": (15.0, None)},
    "up": {"pitch": (10.0, None)},
    "down": {"pitch": (None, -10.0)},
    "profile-left": {"yaw": (None, -40.0)},
    "profile-right": {"yaw": (40.0, None)},
}
_COMPARISON = re.compile(r"([A-Za-z_][\w.\-]*)(>=|<=|>|<|=)(.*)\Z")
_NUMBER = r"[-+−]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_BETWEEN = re.compile(rf"({_NUMBER})?\.\.({_NUMBER})?\Z")
_HINT = "for example: yaw>20 sharp<0.3 name:0012 pose:left labelled -marked finding:blurred"


@dataclass(frozen=True)
class Filter:
    """Conditions that a face must all meet.

    Attributes:
        text: part of the file name or of the frame's name, whatever the case.
        ranges: column -> (least, most), both inclusive, None = open. Unknown values never match.
        names: patterns of the file name (``*`` and ``?``, else any part of it); one must match.
        frames: the same of the frame's name.
        marked, labelled (polygons), masked (trained mask), doubtful, damaged: None = either.
        findings: codes of the check, all of which the face must have; ``any`` for at least one.
        without: codes that it must not have.
    """

    text: str = ""
    ranges: dict[str, Range] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    marked: bool | None = None
    labelled: bool | None = None
    masked: bool | None = None
    doubtful: bool | None = None
    damaged: bool | None = None
    findings: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether it lets everything through."""
        return self == Filter()


def parse_filter(text: str, columns: Collection[str] | None = None) -> Filter:
    """What the user typed, as a :class:`Filter`.

    Terms are separated by spaces and must all hold: ``yaw>20``, ``size=256..512``,
    ``name:0012*``, ``frame:00``, ``pose:left``, ``finding:blurred``, ``labelled``, ``-marked``
    (or ``not:marked``), anything else is part of a name. Columns and words may be shortened as
    long as one only is meant.

    Args:
        text: the terms.
        columns: the columns there are (``Catalog.columns``); default: those every catalog has.

    Raises:
        BadInputError: a term that means nothing; the hint names the nearest that would.
    """
    known = (*COLUMNS, *_WELL_KNOWN) if columns is None else tuple(columns)
    free: list[str] = []
    ranges: dict[str, Range] = {}
    lists: dict[str, list[str]] = {"names": [], "frames": [], "findings": [], "without": []}
    flags: dict[str, bool] = {}
    for term in text.split():
        negative = len(term) > 1 and term[0] in "-!"
        bare = term[1:] if negative else term
        compared = _COMPARISON.match(bare)
        if compared and not negative:
            key = _column(compared[1], known, term)
            _narrow(ranges, key, _range(compared[2], compared[3], term))
        elif ":" in bare:
            key, value = bare.split(":", 1)
            _worded(key, value, negative, lists, ranges, flags, known, term)
        elif (flag := _flag(bare)) is not None:
            flags[flag] = not negative
        elif negative:
            raise _unknown(f"{term!r} is no property", bare, _FLAGS)
        else:
            free.append(term)
    return Filter(
        text=" ".join(free),
        ranges=ranges,
        names=tuple(lists["names"]),
        frames=tuple(lists["frames"]),
        findings=tuple(lists["findings"]),
        without=tuple(lists["without"]),
        marked=flags.get("marked"),
        labelled=flags.get("labelled"),
        masked=flags.get("masked"),
        doubtful=flags.get("doubtful"),
        damaged=flags.get("damaged"),
    )


def name_matches(patterns: tuple[str, ...], name: str) -> bool:
    """Whether one of *patterns* fits *name*; without ``*`` or ``?`` any part of it counts."""
    lower = name.lower()
    return any(
        fnmatch.fnmatchcase(lower, p.lower()) if any(c in p for c in "*?") else p.lower() in lower
        for p in patterns
    )


def _worded(
    key: str,
    value: str,
    negative: bool,
    lists: dict[str, list[str]],
    ranges: dict[str, Range],
    flags: dict[str, bool],
    known: Collection[str],
    term: str,
) -> None:
    words = {
        "name": "names",
        "frame": "frames",
        "source": "frames",
        "finding": "findings",
        "pose": "pose",
        "is": "is",
        "not": "not",
    }
    found = _shortened(key.lower(), words)
    if found is None and _shortened(key.lower(), known) is not None and not negative:
        key = _column(key, known, term)
        _narrow(ranges, key, _range("=", value, term))
        return
    if found is None:
        raise _unknown(f"{term!r}: there is no {key!r}", key, (*words, *known))
    if not value:
        raise BadInputError(f"{term!r} says nothing after the colon", hint=_HINT)
    kind = words[found]
    if kind in ("is", "not"):
        flag = _flag(value)
        if flag is None:
            raise _unknown(f"{term!r}: {value!r} is no property", value, _FLAGS)
        flags[flag] = (kind == "is") != negative
    elif kind == "findings":
        lists["without" if negative else "findings"].append(value.lower())
    elif negative:
        raise BadInputError(f"{term!r} cannot be negated", hint=_HINT)
    elif kind == "pose":
        pose = _shortened(value.lower(), _POSES)
        if pose is None:
            raise _unknown(f"there is no pose {value!r}", value, _POSES)
        for column, limits in _POSES[pose].items():
            _narrow(ranges, column, limits)
    else:
        lists[kind].append(value)


def _flag(word: str) -> str | None:
    return _FLAGS.get("labelled" if word.lower() == "labeled" else word.lower())


def _column(word: str, known: Collection[str], term: str) -> str:
    found = _shortened(word.lower(), known)
    if found is None:
        starts = [k for k in known if k.startswith(word.lower())]
        if starts:
            raise BadInputError(f"{word!r} may mean " + " or ".join(starts), hint=_HINT)
        raise _unknown(f"{term!r}: there is no value {word!r}", word, known)
    return found


def _shortened(word: str, known: Collection[str]) -> str | None:
    """The one of *known* that *word* is, or is the beginning of (or of one of its words, as
    ``area`` of ``rect_area``); None for none or several."""
    if word in known:
        return word
    starts = [k for k in known if k.startswith(word)]
    starts = starts or [k for k in known if any(p.startswith(word) for p in k.split("_"))]
    return starts[0] if len(starts) == 1 and len(word) >= 2 else None


def _range(operator: str, value: str, term: str) -> Range:
    if operator == "=" and (between := _BETWEEN.match(value)) and value != "..":
        low, high = (None if v is None else _number(v, term) for v in between.groups())
        if low is not None and high is not None and low > high:
            low, high = high, low
        return low, high
    number = _number(value, term)
    match operator:
        case ">":
            return float(np.nextafter(np.float32(number), np.float32(np.inf))), None
        case "<":
            return None, float(np.nextafter(np.float32(number), np.float32(-np.inf)))
        case ">=":
            return number, None
        case "<=":
            return None, number
        case _:
            return number, number


def _number(text: str, term: str) -> float:
    try:
        number = float(text.replace("−", "-").rstrip("°%"))
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > 1e30:
        raise BadInputError(f"{term!r}: {text!r} is no number", hint=_HINT)
    return number


def _narrow(ranges: dict[str, Range], key: str, new: Range) -> None:
    old = ranges.get(key, (None, None))
    lows = [v for v in (old[0], new[0]) if v is not None]
    highs = [v for v in (old[1], new[1]) if v is not None]
    ranges[key] = (max(lows, default=None), min(highs, default=None))


def _unknown(message: str, word: str, known: Collection[str]) -> BadInputError:
    near = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "there is: " + ", ".join(known)
    return BadInputError(message, hint=hint)

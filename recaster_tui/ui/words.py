"""Numbers and times as people read them, in few columns."""

import math
import re


def count(value: float) -> str:
    """12,345."""
    return f"{int(value):,}"


def short_count(value: float) -> str:
    """950, 1.5k, 250k, 1.2M: axis labels."""
    value = float(value)
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            text = f"{value / limit:.2f}".rstrip("0").rstrip(".")
            return text + unit
    return f"{value:g}"


def duration(seconds: float | None) -> str:
    """45s, 12m 05s, 3h 12m, 4d 2h; an en dash when unknown."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return "–"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def size(number: float | None) -> str:
    """512M, 3.2G (binary units)."""
    if number is None or not math.isfinite(number):
        return "–"
    value = float(number)
    for unit in ("B", "K", "M", "G", "T"):
        if value < 1024 or unit == "T":
            digits = 1 if value < 10 and unit not in "BK" else 0
            return f"{value:.{digits}f}{unit}"
        value /= 1024
    return ""


def loss(value: float | None) -> str:
    """Four significant places in six columns; NaN in words."""
    if value is None or value != value:
        return "–"
    if not math.isfinite(value):
        return "inf"
    if abs(value) >= 100:
        return f"{value:.1f}"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.3f}"


def speed(iterations_per_second: float | None) -> str:
    """``12.3 it/s``, ``0.52 it/s``; below 0.1 the seconds an iteration takes."""
    its = iterations_per_second
    if its is None or not math.isfinite(its) or its <= 0:
        return "– it/s"
    if its < 0.1:
        return f"{1 / its:.1f} s/it"
    return f"{its:.2f} it/s" if its < 10 else f"{its:.1f} it/s"


def plain(value: object) -> str:
    """An option's value as the form shows it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


_SAVED = re.compile(r"iteration (\d+) in .+")


def answer(message: str) -> str:
    """A trainer's answer as one says it: ``iteration 170 in 000000170-2`` names a folder."""
    found = _SAVED.fullmatch(message)
    return f"iteration {count(int(found[1]))} saved" if found else message

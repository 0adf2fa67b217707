"""The time, in one place that tests can stop."""

import time
from datetime import datetime


def now() -> float:
    """Unix seconds."""
    return time.time()


def ago(t: float) -> str:
    """How long ago, coarse enough that it does not tick: ``just now``, ``5m ago``, ``3 Nov``."""
    if not t:
        return "–"
    seconds = max(0.0, now() - t)
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{int(seconds // 60)}m ago"
    if seconds < 86400:
        return f"{int(seconds // 3600)}h ago"
    if seconds < 14 * 86400:
        return f"{int(seconds // 86400)}d ago"
    when = datetime.fromtimestamp(t)
    if when.year == datetime.fromtimestamp(now()).year:
        return f"{when.day} {when:%b}"
    return f"{when:%b %Y}"


def stamp(t: float) -> str:
    """``2026-11-22 15:30``, local time."""
    return datetime.fromtimestamp(t).strftime("%Y-%m-%d %H:%M") if t else "–"

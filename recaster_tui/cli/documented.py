"""Help texts of commands."""

from collections.abc import Callable
from inspect import cleandoc
from typing import ParamSpec

P = ParamSpec("P")


def documented(function: Callable[P, int]) -> Callable[P, int]:
    """Join the wrapped lines of a docstring: help is wrapped to the reader's terminal."""
    joined: list[str] = []
    listing = False  # below "Parameters", where only the indented lines are text
    for line in cleandoc(function.__doc__ or "").splitlines():
        listing = listing or line == "Parameters"
        text = line.startswith(" ") if listing else bool(line)
        if text and joined and joined[-1] and (not listing or joined[-1].startswith(" ")):
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
    function.__doc__ = "\n".join(joined)
    return function

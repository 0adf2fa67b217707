"""Measurements of the budgets in DESIGN section 8, run by ``recaster bench …``, never by tests."""

from importlib import import_module
from inspect import signature

from recaster_tui.errors import BadInputError

_TITLES = {
    "ui": "The screen, through a pseudo-terminal",
    "history": "Ten thousand runs, half a million iterations",
    "extract": "From a video to aligned faces",
    "masks": "The automatic mask on people it has never seen",
    "faces": "Large facesets: opening, editing, the grid, checking",
    "check": "Checking facesets with planted faults",
    "quality": "What training reaches, against exact truth",
    "faults": "Killing it on purpose",
    "save": "Saving while training goes on",
    "long-run": "Attaching to a run of half a million iterations",
}
KINDS = tuple(_TITLES)


def main(what: str, *, as_json: bool = False, rounds: int | None = None) -> int:
    """Run one benchmark and print its table; 0 when every budget holds.

    Args:
        what: one of :data:`KINDS`.
        as_json: print JSON instead.
        rounds: how often, for those that count rounds.

    Raises:
        BadInputError: there is no such benchmark, or it has no rounds.
    """
    if what not in KINDS:
        raise BadInputError(f"no benchmark called {what!r}", hint="there is: " + ", ".join(KINDS))
    module = import_module(f"recaster_tui.bench.{what.replace('-', '_')}")
    if what == "faults":  # a table of its own
        result: int = module.main(rounds, as_json=as_json)
        return result
    if rounds is not None and "rounds" not in signature(module.measure).parameters:
        raise BadInputError(f"the benchmark {what} has no rounds", hint="leave out --rounds")
    from recaster_tui.bench.report import print_report

    rows = module.measure() if rounds is None else module.measure(rounds=rounds)
    return print_report(_TITLES[what], rows, as_json=as_json)

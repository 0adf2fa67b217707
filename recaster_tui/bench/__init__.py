"""Measurements of the budgets in DESIGN section 8, run by ``recaster bench …``, never by tests."""

from importlib import import_module

from recaster_tui.errors import BadInputError

_TITLES = {
    "ui": "The screen, through a pseudo-terminal",
    "extract": "From a video to aligned faces",
    "masks": "The automatic mask on people it has never seen",
    "faces": "Large facesets: opening, editing, the grid, checking",
    "check": "Checking facesets with planted faults",
    "quality": "What training reaches, against exact truth",
}
KINDS = tuple(_TITLES)


def main(what: str, *, as_json: bool = False) -> int:
    """Run one benchmark and print its table; 0 when every budget holds.

    Raises:
        BadInputError: there is no such benchmark.
    """
    if what not in KINDS:
        raise BadInputError(f"no benchmark called {what!r}", hint="there is: " + ", ".join(KINDS))
    from recaster_tui.bench.report import print_report

    rows = import_module(f"recaster_tui.bench.{what}").measure()
    return print_report(_TITLES[what], rows, as_json=as_json)

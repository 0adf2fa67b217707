"""Measurements of the budgets in DESIGN section 8, run by ``recaster bench …``, never by tests."""

from recaster_tui.errors import BadInputError

KINDS = ("ui",)


def main(what: str, *, as_json: bool = False) -> int:
    """Run one benchmark and print its table; 0 when every budget holds.

    Raises:
        BadInputError: there is no such benchmark.
    """
    if what not in KINDS:
        raise BadInputError(f"no benchmark called {what!r}", hint="there is: " + ", ".join(KINDS))
    from recaster_tui.bench import ui
    from recaster_tui.bench.report import print_report

    return print_report("The screen, through a pseudo-terminal", ui.measure(), as_json=as_json)

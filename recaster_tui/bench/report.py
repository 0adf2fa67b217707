"""Rows of measurements against their budgets, as a table and as JSON."""

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """One measured quantity. *limit* is the budget it must stay at or below, None = no budget."""

    what: str
    value: float
    unit: str
    limit: float | None = None
    samples: int = 1
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the budget holds; None where there is none."""
        return None if self.limit is None else self.value <= self.limit


def median_row(
    what: str, values: Sequence[float], unit: str, limit: float | None = None, note: str = ""
) -> Row:
    """The median of *values*; the spread goes into the note."""
    spread = f"{min(values):.3g} to {max(values):.3g}"
    return Row(
        what,
        statistics.median(values),
        unit,
        limit,
        len(values),
        f"{spread}; {note}" if note else spread,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which *share* (0..1) of the values lie, by nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def print_report(title: str, rows: Sequence[Row], *, as_json: bool) -> int:
    """Print the table (or JSON); 0 when every budget holds, 1 otherwise."""
    if as_json:
        machine = {"python": platform.python_version(), "machine": platform.machine()}
        payload = {
            "title": title,
            **machine,
            "rows": [{**asdict(row), "holds": row.holds} for row in rows],
        }
        from rich import print_json

        print_json(json.dumps(payload))
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(title=title, title_justify="left")
        for heading, justify in (("what", "left"), ("measured", "right"), ("budget", "right")):
            table.add_column(heading, justify=justify)  # type: ignore[arg-type]
        table.add_column("")
        table.add_column("samples", justify="right")
        table.add_column("spread, note", style="dim")
        marks = {True: "[green]ok[/]", False: "[red]over[/]", None: ""}
        for row in rows:
            limit = "" if row.limit is None else f"{row.limit:g} {row.unit}"
            table.add_row(
                row.what,
                f"{row.value:.3g} {row.unit}",
                limit,
                marks[row.holds],
                str(row.samples),
                row.note,
            )
        Console().print(table)
    return 0 if all(row.holds is not False for row in rows) else 1

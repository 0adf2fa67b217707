"""Counting what the kills did, and the table of it."""

import json
import platform
from dataclasses import asdict, dataclass, field

from recaster_tui.bench.faults.line import Finding


@dataclass
class Tally:
    """One row: a kind of kill.

    Attributes:
        reached: in how many rounds the process died where it was to die, and not some seconds
            later by our own hand.
        states: states of the disk looked at beside the one that was left (power cuts).
        lost: iterations lost at most, of those that were not saved yet.
        slowest: seconds from the next start to the first iteration, at most.
    """

    kind: str
    rounds: int = 0
    reached: int = 0
    states: int = 0
    models_lost: int = 0
    lost: int = 0
    beyond_max: int = 0
    beyond_sum: int = 0
    model_faults: int = 0
    history_faults: int = 0
    other_faults: int = 0
    slowest: float = 0.0

    def add(self, finding: Finding) -> None:
        """Count what the judge said."""
        self.models_lost += finding.gone
        self.lost = max(self.lost, finding.lost)
        self.beyond_max = max(self.beyond_max, finding.beyond)
        self.beyond_sum += finding.beyond
        self.model_faults += bool(finding.model)
        self.history_faults += bool(finding.history)
        self.other_faults += bool(finding.other)


@dataclass
class Report:
    """All rows, and every fault in words."""

    seed: int
    seconds: float = 0.0
    rows: list[Tally] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    kept: str = ""

    def row(self, kind: str) -> Tally:
        """The row of *kind*; made where it is missing."""
        for row in self.rows:
            if row.kind == kind:
                return row
        self.rows.append(Tally(kind))
        return self.rows[-1]

    def total(self) -> Tally:
        """All rows together."""
        total = Tally("all")
        for row in self.rows:
            for name, value in asdict(row).items():
                if name in ("lost", "beyond_max", "slowest"):
                    setattr(total, name, max(getattr(total, name), value))
                elif name != "kind":
                    setattr(total, name, getattr(total, name) + value)
        return total


def print_table(report: Report, *, as_json: bool) -> int:
    """Print it; 0 where nothing was lost and nothing is wrong, else 1."""
    if as_json:
        from rich import print_json

        payload = asdict(report) | {
            "total": asdict(report.total()),
            "python": platform.python_version(),
            "machine": platform.machine(),
        }
        print_json(json.dumps(payload))
    else:
        _print_text(report)
    return 1 if report.faults else 0


def _print_text(report: Report) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"Killed on purpose (seed {report.seed}, {report.seconds / 60:.1f} minutes)",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
        caption="lost, saved: iterations that a save had been announced for, most and sum; "
        "unsaved: those since the last save, at most; rounds with faults, of history or others; "
        "restart: slowest start after it; +n: other states that the disk might have been in "
        "after the power cut, judged as well",
        caption_justify="left",
    )
    table.add_column("killed", no_wrap=True)
    for heading in (
        "rounds",
        "models\nlost",
        "saved\nlost",
        "unsaved\nlost",
        "history\nfaults",
        "other\nfaults",
        "restart",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in [*report.rows, report.total()]:
        if row.kind == "all":
            table.add_section()
        states = f"+{row.states} " if row.states else ""
        table.add_row(
            row.kind,
            f"{states}{row.rounds}",
            _bad(row.models_lost),
            f"{_bad(row.beyond_max)}, {_bad(row.beyond_sum)}",
            str(row.lost),
            _bad(row.history_faults),
            _bad(row.model_faults + row.other_faults),
            f"{row.slowest:.1f} s" if row.slowest else "",
        )
    console = Console()
    console.print(table)
    for fault in report.faults[:40]:
        console.print(fault, style="red", highlight=False, markup=False)
    if report.kept:
        console.print(f"The workspace is kept in {report.kept}", highlight=False)


def _bad(count: int) -> str:
    return f"[red]{count}[/]" if count else "0"

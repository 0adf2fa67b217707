"""``recaster bench faults``: which kill comes when, how far it is, and what came out.

Nine rounds of ten use processes of the fork server, the tenth starts the trainer by the
supervisor's own command line (:mod:`.campaign`).
"""

import asyncio
import contextlib
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from recaster_tui.bench.faults.campaign import COLD, WEIGHTS, Campaign
from recaster_tui.bench.faults.forkserver import ForkServer
from recaster_tui.bench.faults.tally import Report, print_table

COLD_EVERY = 10


def schedule(rounds: int) -> list[str]:
    """The kind of each round: cold starts in their places, the rest evenly by weight."""
    given = dict.fromkeys(WEIGHTS, 0.0)
    kinds = []
    for number in range(1, rounds + 1):
        if number % COLD_EVERY == 0:
            kinds.append(COLD)
            continue
        kind = min(given, key=lambda k: (given[k] + 0.5) / WEIGHTS[k])
        given[kind] += 1
        kinds.append(kind)
    return kinds


async def run_rounds(
    rounds: int, *, seed: int, tell: Callable[[int, str, int], None], kinds: list[str] | None = None
) -> Report:
    """Kill so many times and judge each; ``tell(round, kind, faults so far)`` before each."""
    report = Report(seed)
    begun = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix="recaster-faults-"))
    try:
        with _home(scratch / "home"):
            async with ForkServer() as server:
                campaign = Campaign(scratch, server, random.Random(seed), report)
                try:
                    for number, kind in enumerate(kinds or schedule(rounds), 1):
                        tell(number, kind, len(report.faults))
                        await campaign.round(number, kind)
                    await campaign.finish()
                finally:
                    campaign.end_processes()
    finally:
        if report.faults:
            report.kept = str(scratch)
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    report.seconds = time.monotonic() - begun
    return report


@contextlib.contextmanager
def _home(folder: Path) -> Iterator[None]:
    """Our own history and settings, not the user's."""
    before = os.environ.get("RECASTER_HOME")
    os.environ["RECASTER_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["RECASTER_HOME"]
        else:
            os.environ["RECASTER_HOME"] = before


def main(rounds: int, *, as_json: bool, seed: int = 1) -> int:
    """Kill *rounds* times, showing how far it is, and print the table."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    # What is mended again and again would fill the screen.
    logging.getLogger("recaster_tui").setLevel(logging.CRITICAL)
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.completed}/{task.total}"),
        BarColumn(bar_width=30),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("preparing", total=rounds)

        def tell(number: int, kind: str, faults: int) -> None:
            text = f"{kind}, {faults} faults" if faults else kind
            progress.update(task, completed=number - 1, description=text)
            if not console.is_terminal and number % 10 == 1:
                console.print(f"{number - 1} of {rounds}: {text}", highlight=False)

        report = asyncio.run(run_rounds(rounds, seed=seed, tell=tell))
        progress.update(task, completed=rounds, description="done")
    return print_table(report, as_json=as_json)

"""``recaster runs``: the history, listed, filtered and sorted; moved workspaces found again."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from recaster_tui.cli.documented import documented

Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False)]
Flag = Parameter(negative="", show_default=False)

runs_app = App(name="runs", help="List runs, newest first; every run ever, filtered and sorted.")


@runs_app.default
@documented
def runs(
    *,
    filter: Annotated[str, Parameter(show_default=False, allow_leading_hyphen=True)] = "",  # noqa: A002
    sort: str = "started",
    reverse: Annotated[bool, Flag] = False,
    workspace: Path | None = None,
    last: int = 30,
    live: Annotated[bool, Flag] = False,
    json: Json = False,
) -> int:
    """List runs, newest first; every run ever, filtered and sorted.

    Parameters
    ----------
    filter
        Only runs that fit these words, all of them: night, model:x, class:saehd, state:failed
        (or live, over, gone), outcome:killed, device:4090, its>10k, loss<0.5, src<, dst<,
        trained>2h, speed>5, after:2026-11-01, before:7d, cost>1, opt:batch_size=8, opt:NAME,
        workspace:x, id:x; -word turns it round.
    sort
        started, state, model, class, iteration, src, dst, loss, speed, duration, cost or device.
    reverse
        The other way round.
    workspace
        Only those of this project folder (also finds runs this machine has never watched).
    last
        How many; 0 lists all.
    live
        Only those with a trainer.
    json
        One JSON array with everything known of each.
    """
    from recaster_tui.cli.run_history import list_runs

    return list_runs(
        workspace, words=filter, sort=sort, reverse=reverse, last=last, live=live, as_json=json
    )


@runs_app.command
@documented
def relocate(old: Path, new: Path, /, *, json: Json = False) -> int:
    """Say where a workspace that was moved is now, so that its runs are found again.

    Opening the workspace in its new place does the same.

    Parameters
    ----------
    old
        Where it was; a folder that held several workspaces moves them all.
    new
        Where it is.
    json
        The changed records.
    """
    from recaster_tui.cli.run_history import relocate_runs

    return relocate_runs(old, new, as_json=json)

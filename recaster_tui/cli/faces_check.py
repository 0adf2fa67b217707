"""``recaster faces``: check and prune. Bodies import late."""

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from recaster_tui.cli.documented import documented

Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False)]
Flag = Parameter(negative="", show_default=False)
Hidden = Parameter(show=False)
Side = Literal["src", "dst"]


@documented
def check(
    workspace: Path,
    side: Side,
    /,
    *,
    workers: int = 0,
    worst: int = 20,
    json: Json = False,
    job: Annotated[Path | None, Hidden] = None,
) -> int:
    """Score every face, with reasons in words, and propose which ones to prune.

    Looks for blurred, small, misaligned, covered, dark, over-exposed, flat and doubled faces, for
    other people and damaged files. Nothing is changed. Only new and changed faces are measured
    again.

    Parameters
    ----------
    workspace
        Project folder.
    side
        src or dst.
    workers
        Processes that measure; 0 = one a core.
    worst
        How many of the proposed faces to list.
    json
        One JSON object: scores, findings, proposals.
    job
        Report into this folder.
    """
    _one_thread_of_blas()
    from recaster_tui.cli.faces_check_run import check_faces

    return check_faces(workspace, side, workers=workers, worst=worst, as_json=json, job=job)


@documented
def prune(
    workspace: Path,
    side: Side,
    /,
    *,
    apply: Annotated[bool, Flag] = False,
    only: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    json: Json = False,
) -> int:
    """List the faces that the check proposes to prune; with --apply move them to the trash.

    Nothing is deleted: `recaster faces undo` brings them back. Where faces came or changed since
    the last check, they are checked first.

    Parameters
    ----------
    workspace
        Project folder.
    side
        src or dst.
    apply
        Move them to the trash beside the folder.
    only
        Only those with one of these findings, e.g. --only blurred duplicate.
    json
        One JSON object.
    """
    _one_thread_of_blas()
    from recaster_tui.cli.faces_check_run import prune_faces

    return prune_faces(workspace, side, apply=apply, codes=only or [], as_json=json)


def _one_thread_of_blas() -> None:
    """For numpy, which is not imported yet.

    Comparing 5,000 faces takes 10 s of one core by one thread. Several of them wait for each other
    by spinning: 6 s on an idle machine, 340 s beside a training.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def register(app: App) -> None:
    """Add the commands to ``recaster faces``."""
    app.command(check)
    app.command(prune)

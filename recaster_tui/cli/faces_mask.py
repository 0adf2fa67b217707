"""``recaster faces``: masks. Bodies import late."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from recaster_tui.cli.documented import documented

_Flag = Annotated[bool, Parameter(negative="", show_default=False)]
_Kind = Literal["mask", "polygons"]


def register(app: App) -> None:
    """Add the commands to ``recaster faces``."""
    app.command(mask)


@documented
def mask(
    workspace: Path | None = None,
    side: Literal["src", "dst"] | None = None,
    /,
    *,
    with_: Annotated[str | None, Parameter(name="--with")] = None,
    to: _Kind | None = None,
    only_unlabelled: _Flag = False,
    remove: _Kind | None = None,
    fetch: _Flag = False,
    move: _Flag = False,
    worst: int | None = None,
    serve: _Flag = False,
    device: str = "auto",
    json: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    job: Annotated[Path | None, Parameter(show=False)] = None,
) -> int:
    """Draw the faces' masks, or remove, collect and compare them.

    The automatic mask was trained on synthetic heads only: on real faces expect to correct
    some, and to train an XSeg model on the corrected ones. All changes can be undone.

    Parameters
    ----------
    workspace
        Project folder.
    side
        src or dst.
    with_
        What draws: auto, the name of an XSeg model of the workspace (ours or DeepFaceLab's), or
        the path of one (a folder, or XSeg_256.npy).
    to
        mask (the default): stored as XSeg mask, which training and merging use. polygons:
        labels to correct and to train XSeg on; they replace those there.
    only_unlabelled
        Leave faces that have polygons as they are.
    remove
        Take the stored masks (mask) or the labels (polygons) out of the files.
    fetch
        Copy the faces that have polygons to a folder beside, named ..._xseg.
    move
        With --fetch: move the originals to the trash afterwards.
    worst
        List so many faces, beginning with the one whose mask (the stored one, or with --with a
        new one) differs most from its label, or from the hull of its landmarks. All are compared,
        and the app can sort by it; 0 lists none.
    serve
        Answer requests for single faces on standard input, as JSON lines; for the editor.
    device
        auto, cpu, cuda, cuda:1 or mps.
    json
        The result as JSON.
    """
    from recaster_tui.cli import faces_mask_run as run

    wanted = run.Wanted(
        workspace, side, with_, to, only_unlabelled, remove, fetch, move, worst, serve, device
    )
    return run.mask(wanted, as_json=json, job=job)

"""``recaster snapshot``: the commands and their parameters; bodies import late."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from recaster_tui.cli.documented import documented

Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False)]
Flag = Parameter(negative="", show_default=False)

snapshot_app = App(
    name="snapshot",
    help="Named snapshots of a model: keep, list, restore, export. Nothing removes them but you.",
)


@snapshot_app.command
@documented
def create(
    workspace: Path,
    name: str,
    /,
    *,
    model: str | None = None,
    note: str = "",
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    json: Json = False,
) -> int:
    """Keep a model as it is now under a name. A run that trains it saves first and goes on.

    Parameters
    ----------
    workspace
        Project folder.
    name
        What to call it, for example "before GAN".
    model
        Name of the model; may be left out where there is only one.
    note
        A note to find it again by.
    from_
        Keep this backup (or snapshot) instead of the present: its name, a beginning of it, or its
        iteration.
    json
        As JSON.
    """
    from recaster_tui.cli.snapshot_run import create_one

    return create_one(workspace, name, model, note, from_, as_json=json)


@snapshot_app.command(name="list")
@documented
def list_(workspace: Path, /, *, model: str | None = None, json: Json = False) -> int:
    """List snapshots and backups of a model, the newest first.

    Parameters
    ----------
    workspace
        Project folder.
    model
        Name of the model; may be left out where there is only one.
    json
        One JSON array.
    """
    from recaster_tui.cli.snapshot_run import list_all

    return list_all(workspace, model, as_json=json)


@snapshot_app.command
@documented
def rename(
    workspace: Path,
    name: str,
    new: str | None = None,
    /,
    *,
    model: str | None = None,
    note: str | None = None,
) -> int:
    """Give a snapshot another name, another note, or both.

    Parameters
    ----------
    workspace
        Project folder.
    name
        The snapshot: its name, a beginning of it, or its iteration.
    new
        Its new name.
    model
        Name of the model; may be left out where there is only one.
    note
        Its new note.
    """
    from recaster_tui.cli.snapshot_run import rename_one

    return rename_one(workspace, name, new, model, note)


@snapshot_app.command
@documented
def delete(
    workspace: Path,
    name: str,
    /,
    *,
    model: str | None = None,
    yes: Annotated[bool, Flag] = False,
) -> int:
    """Remove a snapshot or a backup from the disk; there is no way back.

    Parameters
    ----------
    workspace
        Project folder.
    name
        The snapshot: its name, a beginning of it, or its iteration.
    model
        Name of the model; may be left out where there is only one.
    yes
        Do it without asking.
    """
    from recaster_tui.cli.snapshot_run import delete_one

    return delete_one(workspace, name, model, sure=yes)


@snapshot_app.command
@documented
def export(
    workspace: Path, name: str, folder: Path, /, *, model: str | None = None, json: Json = False
) -> int:
    """Copy a snapshot into a folder as a model of its own, ready for another workspace's model/.

    Parameters
    ----------
    workspace
        Project folder.
    name
        The snapshot: its name, a beginning of it, or its iteration.
    folder
        Where the model's folder is put.
    model
        Name of the model; may be left out where there is only one.
    json
        As JSON.
    """
    from recaster_tui.cli.snapshot_run import export_one

    return export_one(workspace, name, folder, model, as_json=json)


@snapshot_app.command
@documented
def restore(workspace: Path, name: str, /, *, model: str | None = None, json: Json = False) -> int:
    """Go back to a snapshot or a backup; the present is kept as a snapshot first.

    Parameters
    ----------
    workspace
        Project folder.
    name
        The snapshot: its name, a beginning of it, or its iteration.
    model
        Name of the model; may be left out where there is only one.
    json
        As JSON.
    """
    from recaster_tui.cli.snapshot_run import restore_one

    return restore_one(workspace, name, model, as_json=json)

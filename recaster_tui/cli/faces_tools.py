"""``recaster faces``: listing, sorting, packing, trash, utilities. Bodies import late."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter

from recaster_tui.cli.documented import documented

LOOK = Group("Look", sort_key=1)
CHANGE = Group("Change, undoable", sort_key=3)
CONVERT = Group("Convert", sort_key=4)

Side = Literal["src", "dst"]
FaceTypeName = Literal["half", "midfull", "full", "whole", "head"]
Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False)]
Flag = Parameter(negative="", show_default=False)
Hidden = Parameter(show=False)
Apply = Annotated[bool, Flag]
Job = Annotated[Path | None, Hidden]


def register(app: App) -> None:
    """Add the commands to ``recaster faces``."""
    for command in (info, list_):
        app.command(command, name=command.__name__.rstrip("_"), group=LOOK)
    for command in (sort, trash, restore, undo, redo, history, recover_names):
        app.command(command, name=command.__name__.replace("_", "-"), group=CHANGE)
    for command in (
        pack,
        unpack,
        save_metadata,
        restore_metadata,
        resize,
        debug_images,
        export_masks,
    ):
        app.command(command, name=command.__name__.replace("_", "-"), group=CONVERT)


@documented
def info(workspace: Path, side: Side, /, *, json: Json = False) -> int:
    """Tell what a faceset holds: faces, types, sizes, poses, masks, and what cannot be used.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    json
        As JSON.
    """
    from recaster_tui.cli.faces_look_run import show_info

    return show_info(workspace, side, as_json=json)


@documented
def list_(
    workspace: Path,
    side: Side,
    /,
    *,
    filter: str = "",  # noqa: A002 - the option's name
    sort: str = "name",
    reverse: Annotated[bool, Flag] = False,
    json: Json = False,
) -> int:
    """List faces with their values.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    filter
        Only those that match, e.g. "yaw>20 sharp<0.3 name:0012 labelled".
    sort
        Order by a column, or by any sort of faces sort.
    reverse
        The other way round.
    json
        One JSON array with every value.
    """
    from recaster_tui.cli.faces_look_run import list_faces

    return list_faces(workspace, side, filter, sort, reverse=reverse, as_json=json)


@documented
def sort(
    workspace: Path,
    side: Side,
    /,
    *,
    by: str = "hist",
    target: int = 2000,
    reverse: Annotated[bool, Flag] = False,
    apply: Apply = False,
    json: Json = False,
    job: Job = None,
) -> int:
    """Sort faces by any of DeepFaceLab's sorts, or by a column of faces list.

    Without --apply nothing is renamed: the order is shown, and kept as the column sort_NAME of
    the screen. Sorts: blur, motion-blur, face-yaw, face-pitch, face-source-rect-size, hist,
    hist-dissim, brightness, hue, black, origname, oneface, absdiff, absdiff-dissim, final,
    final-fast; columns: yaw, pitch, sharpness, contrast, score and others.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    by
        Which sort.
    target
        About how many faces final and final-fast keep.
    reverse
        The other way round.
    apply
        Rename the files to 00000.jpg, 00001.jpg and so on, and move what the sort drops to the
        trash. Undo takes it back.
    json
        The order as JSON.
    """
    from recaster_tui.cli.faces_look_run import sort_faces

    return sort_faces(
        workspace,
        side,
        by,
        target=target,
        reverse=reverse,
        apply=apply,
        as_json=json,
        job=job,
    )


@documented
def trash(
    workspace: Path,
    side: Side,
    names: tuple[str, ...] = (),
    /,
    *,
    filter: str = "",  # noqa: A002 - the option's name
    apply: Apply = False,
    json: Json = False,
) -> int:
    """Move faces to the trash folder beside theirs; nothing is deleted.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    names
        File names of faces.
    filter
        Instead: all that match, e.g. "sharp<0.2". Shows them; --apply moves them.
    apply
        Do it; needed with --filter.
    json
        As JSON.
    """
    from recaster_tui.cli.faces_edit_run import trash_faces

    return trash_faces(workspace, side, names, filter, apply=apply, as_json=json)


@documented
def restore(
    workspace: Path,
    side: Side,
    names: tuple[str, ...] = (),
    /,
    *,
    all: Annotated[bool, Flag] = False,  # noqa: A002 - the option's name
    json: Json = False,
) -> int:
    """Move faces back from the trash folder; without names, tell what is in it.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    names
        File names in the trash folder.
    all
        All of them.
    json
        As JSON.
    """
    from recaster_tui.cli.faces_edit_run import restore_faces

    return restore_faces(workspace, side, names, everything=all, as_json=json)


@documented
def undo(workspace: Path, side: Side, /, *, json: Json = False) -> int:
    """Take the last edit of a faceset back.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    json
        As JSON.
    """
    from recaster_tui.cli.faces_edit_run import undo_edit

    return undo_edit(workspace, side, as_json=json)


@documented
def redo(workspace: Path, side: Side, /, *, json: Json = False) -> int:
    """Do again what was undone last.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    json
        As JSON.
    """
    from recaster_tui.cli.faces_edit_run import redo_edit

    return redo_edit(workspace, side, as_json=json)


@documented
def history(workspace: Path, side: Side, /, *, json: Json = False) -> int:
    """List the edits of a faceset that can be undone or done again.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    json
        As JSON.
    """
    from recaster_tui.cli.faces_edit_run import show_history

    return show_history(workspace, side, as_json=json)


@documented
def recover_names(
    workspace: Path, side: Side, /, *, apply: Apply = False, json: Json = False
) -> int:
    """Give faces the names of their frames again: FRAME_0.jpg, FRAME_1.jpg.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    apply
        Rename the files; without it the new names are shown.
    json
        As JSON.
    """
    from recaster_tui.cli.faces_edit_run import recover_frame_names

    return recover_frame_names(workspace, side, apply=apply, as_json=json)


@documented
def pack(
    workspace: Path,
    side: Side,
    /,
    *,
    persons: bool | None = None,
    move_originals: Annotated[bool, Flag] = False,
    json: Json = False,
) -> int:
    """Pack the faces into faceset.pak; from then on the pack is used, not the files.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    persons
        Pack sub-folders, one a person. By default where only these hold faces.
    move_originals
        Move the packed files to the trash folder; otherwise they stay where they are.
    json
        As JSON.
    """
    from recaster_tui.cli.faces_convert_run import run_pack

    return run_pack(workspace, side, persons, move_originals=move_originals, as_json=json)


@documented
def unpack(workspace: Path, side: Side, /, *, json: Json = False) -> int:
    """Write the files of faceset.pak beside it and move the pack to the trash folder.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    json
        As JSON.
    """
    from recaster_tui.cli.faces_convert_run import run_unpack

    return run_unpack(workspace, side, as_json=json)


@documented
def save_metadata(workspace: Path, side: Side, /, *, json: Json = False) -> int:
    """Save the metadata of all faces to meta.dat, before another program changes the pictures.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    json
        As JSON.
    """
    from recaster_tui.cli.faces_convert_run import run_save_metadata

    return run_save_metadata(workspace, side, as_json=json)


@documented
def restore_metadata(workspace: Path, side: Side, /, *, json: Json = False) -> int:
    """Put the metadata of meta.dat back into the faces; undo takes it back.

    Pictures of another size than before are resized to that. File names must be the same as
    when the metadata were saved, and end in .jpg.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    json
        As JSON.
    """
    from recaster_tui.cli.faces_convert_run import run_restore_metadata

    return run_restore_metadata(workspace, side, as_json=json)


@documented
def resize(
    workspace: Path,
    side: Side,
    /,
    *,
    size: int = 512,
    face_type: FaceTypeName | None = None,
    quality: int = 100,
    to: Path | None = None,
    in_place: Annotated[bool, Flag] = False,
    json: Json = False,
) -> int:
    """Write the faces at another size, or cropped as another face type.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    size
        New side in pixels, 64 to 2048.
    face_type
        Crop them as this type; without it the type stays.
    quality
        JPEG quality, 1 to 100.
    to
        Folder to write into; aligned_resized where it is left out.
    in_place
        Replace the faces themselves; undo takes it back.
    json
        As JSON.
    """
    from recaster_tui.cli.faces_convert_run import run_resize

    return run_resize(
        workspace,
        side,
        size=size,
        face_type=face_type,
        quality=quality,
        to=to,
        in_place=in_place,
        as_json=json,
    )


@documented
def debug_images(
    workspace: Path, side: Side, /, *, to: Path | None = None, json: Json = False
) -> int:
    """Write a picture of every face with its landmarks and hull.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    to
        Folder to write into; aligned_landmarks where it is left out.
    json
        As JSON.
    """
    from recaster_tui.cli.faces_convert_run import run_debug_images

    return run_debug_images(workspace, side, to, as_json=json)


@documented
def export_masks(
    workspace: Path, side: Side, /, *, to: Path | None = None, json: Json = False
) -> int:
    """Write the mask of every face that has one, trained or drawn, as a picture.

    Parameters
    ----------
    workspace
        Project folder.
    side
        Whose faces.
    to
        Folder to write into; aligned_masks where it is left out.
    json
        As JSON.
    """
    from recaster_tui.cli.faces_convert_run import run_export_masks

    return run_export_masks(workspace, side, to, as_json=json)

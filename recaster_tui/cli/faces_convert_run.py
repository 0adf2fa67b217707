"""``recaster faces`` pack, unpack, save-metadata, restore-metadata, resize and the like."""

from collections.abc import Callable
from pathlib import Path

from recaster_tui.cli.faces_words import faces_folder, say_result
from recaster_tui.cli.progress import terminal_reporter
from recaster_tui.faces.tools import ToolResult
from recaster_tui.faces.tools_draw import write_debug_images, write_masks
from recaster_tui.faces.tools_metadata import restore_metadata_file, save_metadata_file
from recaster_tui.faces.tools_pack import pack_faceset, unpack_faceset
from recaster_tui.faces.tools_resize import resize_faceset
from recaster_tui.faces.types import FaceType
from recaster_tui.jobs import Reporter, reporting


def run_pack(
    workspace: Path, side: str, persons: bool | None, *, move_originals: bool, as_json: bool
) -> int:
    """See the command's help."""

    def work(folder: Path, report: Reporter) -> ToolResult:
        return pack_faceset(folder, report, persons=persons, move_originals=move_originals)

    return _run(workspace, side, "packed", work, as_json=as_json)


def run_unpack(workspace: Path, side: str, *, as_json: bool) -> int:
    """See the command's help."""
    return _run(workspace, side, "unpacked", unpack_faceset, as_json=as_json)


def run_save_metadata(workspace: Path, side: str, *, as_json: bool) -> int:
    """See the command's help."""
    return _run(workspace, side, "saved the metadata of", save_metadata_file, as_json=as_json)


def run_restore_metadata(workspace: Path, side: str, *, as_json: bool) -> int:
    """See the command's help."""
    what = "restored the metadata of"
    return _run(workspace, side, what, restore_metadata_file, as_json=as_json)


def run_resize(
    workspace: Path,
    side: str,
    *,
    size: int,
    face_type: str | None,
    quality: int,
    to: Path | None,
    in_place: bool,
    as_json: bool,
) -> int:
    """See the command's help."""

    def work(folder: Path, report: Reporter) -> ToolResult:
        return resize_faceset(
            folder,
            report,
            size=size,
            face_type=None if face_type is None else FaceType(face_type),
            quality=quality,
            to=to,
            in_place=in_place,
        )

    return _run(workspace, side, "resized", work, as_json=as_json)


def run_debug_images(workspace: Path, side: str, to: Path | None, *, as_json: bool) -> int:
    """See the command's help."""

    def work(folder: Path, report: Reporter) -> ToolResult:
        return write_debug_images(folder, report, to)

    return _run(workspace, side, "drew the landmarks of", work, as_json=as_json)


def run_export_masks(workspace: Path, side: str, to: Path | None, *, as_json: bool) -> int:
    """See the command's help."""

    def work(folder: Path, report: Reporter) -> ToolResult:
        return write_masks(folder, report, to)

    return _run(workspace, side, "exported the masks of", work, as_json=as_json)


def _run(
    workspace: Path,
    side: str,
    what: str,
    work: Callable[[Path, Reporter], ToolResult],
    *,
    as_json: bool,
) -> int:
    folder = faces_folder(workspace, side)
    with reporting(None, "faces", side, lambda: terminal_reporter(as_json)) as report:
        result = work(folder, report)
    return say_result(result, what, as_json=as_json)

"""Where an extraction reads and writes, and what of it is done already."""

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recaster_tui.errors import BadInputError, EnvironmentProblem
from recaster_tui.extraction.journal import NAME as JOURNAL
from recaster_tui.extraction.journal import Journal
from recaster_tui.extraction.pictures import list_pictures
from recaster_tui.extraction.report import read_earlier
from recaster_tui.extraction.settings import ExtractSettings
from recaster_tui.faces.codec import read_metadata
from recaster_tui.faces.edits import FaceEdits
from recaster_tui.faces.face import FaceFileError
from recaster_tui.faces.faceset import open_faceset
from recaster_tui.faces.pack import PACK_NAME
from recaster_tui.jobs import Reporter
from recaster_tui.workspace import Workspace

_TORN_SECONDS = 60.0
_FRESH = "--fresh moves what is there to the trash and starts anew"


@dataclass(frozen=True)
class Input:
    """What is read: a video, or the pictures of a folder (then *pictures* are its frames)."""

    path: Path
    kind: str
    pictures: tuple[Path, ...] = ()


def side_folder(workspace: Workspace, side: str) -> Path:
    """``data_src`` (or the product's ``src``), where frames and report of a side lie."""
    faces = workspace.src_faces if side == "src" else workspace.dst_faces
    if faces.name == "aligned":
        return faces.parent
    # Frames lying in it make this folder look like faces to the workspace.
    return faces


def aligned_folder(workspace: Workspace, side: str) -> Path:
    """Where the faces of a side are written."""
    return side_folder(workspace, side) / "aligned"


def find_input(
    workspace: Workspace, side: str, settings: ExtractSettings, report: Reporter
) -> Input:
    """What to extract from.

    ``settings.input`` where given; else what the extraction before read, where it is still there;
    else the pictures of ``data_<side>``, as DFL does; else the video ``data_<side>.*``.

    Raises:
        BadInputError: there is nothing, or not what it should be.
    """
    base = side_folder(workspace, side)
    if settings.input is not None:
        return _input(settings.input.expanduser().resolve(), report)
    video = workspace.video(side)
    earlier = read_earlier(base)
    if earlier is not None:
        path = workspace.absolute(earlier["input"])
        if path.is_file() or (path.is_dir() and list_pictures(path)[0]):
            return _told(_input(path, report), base, video, report)
    if base.is_dir() and (pictures := list_pictures(base)[0]):
        if _is_face(pictures[0]):
            raise BadInputError(
                "these pictures are aligned faces, not frames",
                where=base,
                hint="name the frames or the video by --input",
            )
        return _told(_input(base, report), base, video, report)
    if video is not None:
        return _input(video, report)
    raise BadInputError(
        f"there is nothing to extract from: no video data_{side}.* and no pictures in {base.name}",
        where=workspace.root,
        hint="put one there, or name it by --input",
    )


def _told(chosen: Input, base: Path, video: Path | None, report: Reporter) -> Input:
    """Say which one of two it is."""
    if chosen.kind == "pictures" and video is not None:
        report.note(
            f"reading the {len(chosen.pictures):,} frames in {chosen.path.name}; "
            f"--input {video.name} reads the video"
        )
    elif chosen.kind == "video" and base.is_dir() and list_pictures(base)[0]:
        report.note(f"reading {chosen.path.name}, as before; --input {base.name} reads the frames")
    return chosen


def _input(path: Path, report: Reporter) -> Input:
    if path.is_dir():
        taken, twice = list_pictures(path)
        if not taken:
            raise BadInputError("there are no pictures in this folder", where=path)
        for other in twice[:20]:
            report.warning(
                f"{other.name} is left out: there is another picture of that name",
                "merging tells frames apart by their name without suffix",
            )
        if len(twice) > 20:
            report.warning(f"and {len(twice) - 20:,} more pictures left out for the same reason")
        return Input(path, "pictures", tuple(taken))
    if path.is_file():
        return Input(path, "video")
    raise BadInputError("there is no such file or folder", where=path)


def _is_face(path: Path) -> bool:
    try:
        return path.suffix == ".jpg" and "landmarks" in read_metadata(path)
    except FaceFileError:
        return False


def open_journal(aligned: Path, settings: ExtractSettings, report: Reporter) -> Journal:
    """Make the folder where needed and lock it; with ``fresh`` what it holds is moved away.

    Raises:
        BadInputError: another extraction writes there, or its faces are packed.
        EnvironmentProblem: the folder cannot be made or moved.
    """
    try:
        if settings.fresh and aligned.is_dir() and any(aligned.iterdir()):
            with Journal(aligned):  # not under the hands of another one
                moved = _move_away(aligned)
            if moved is not None:
                report.note(moved)
        aligned.mkdir(parents=True, exist_ok=True)
        if (aligned / PACK_NAME).exists():
            raise BadInputError(
                "the faces here are packed; new ones beside the pack would not be seen",
                where=aligned / PACK_NAME,
                hint=f"unpack it first; {_FRESH}",
            )
        journal = Journal(aligned)
        if journal.faces and not any(aligned.glob("*.jpg")):
            # Somebody emptied the folder by hand to begin again; the journal is hidden from him.
            journal.__exit__(None, None, None)
            journal.path.replace(journal.path.with_name(f"{JOURNAL}.{_stamp()}"))
            journal = Journal(aligned)
        _sweep(aligned)  # never before it is ours alone
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write here: {error.strerror or error}", where=aligned
        ) from error
    return journal


def _sweep(aligned: Path) -> None:
    """Remove what a killed run left half written, not what an edit of a face writes just now."""
    for torn in aligned.glob(".*.jpg.*.tmp"):
        face = torn.name[1:].rsplit(".", 2)[0]  # see files.write_atomic
        with contextlib.suppress(FileNotFoundError):
            old = time.time() - torn.stat().st_mtime > _TORN_SECONDS
            if old or not (aligned / face).exists():
                torn.unlink()


def _move_away(aligned: Path) -> str | None:
    """Move faces, pack, journal and debug pictures to the trash; says what, None where nothing.

    The faces by an edit that can be undone on the Faces screen.
    """
    trash = aligned.with_name(f"{aligned.name}_trash")
    stamp = _stamp()
    moved = []
    pack = aligned / PACK_NAME
    if pack.exists():
        trash.mkdir(exist_ok=True)
        pack.rename(trash / f"{pack.stem}-{stamp}{pack.suffix}")
        moved.append(pack.name)
    names = [path.name for path in aligned.glob("*.jpg")]
    edit = FaceEdits(aligned).trash(names, "extracting anew") if names else None
    if edit is not None:
        moved.append(f"{edit.count:,} faces")
    trash.mkdir(exist_ok=True)
    (aligned / JOURNAL).replace(trash / f"extraction-{stamp}.jsonl")
    debug = aligned.with_name(f"{aligned.name}_debug")
    if debug.is_dir():
        debug.rename(trash / f"{debug.name}-{stamp}")
    return f"{' and '.join(moved)} moved to {trash.name}" if moved else None


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%S")


def done_stems(
    journal: Journal,
    aligned: Path,
    settings: ExtractSettings,
    source: Input,
    stored_input: str,
    report: Reporter,
) -> set[str]:
    """Stems of the frames that are done.

    Raises:
        BadInputError: the faces there have another type or size, or come from another input whose
            names would be taken for these.
    """
    if not journal.runs:
        return _foreign_stems(aligned, settings, report)
    if not journal.faces:  # nothing to agree with
        same = {n for n, run in enumerate(journal.runs) if run.get("input") == stored_input}
        return {r.stem for r in journal.frames.values() if r.run in same and r.problem is None}
    last = journal.runs[-1]
    _check_same(
        (str(last.get("face_type")), last.get("size")),
        (settings.face_type.value, settings.face_size),
        aligned,
    )
    others = {
        number
        for number, run in enumerate(journal.runs)
        if run.get("input") != stored_input
        and (source.kind == "pictures" or run.get("prefix", "") == settings.prefix)
    }
    stems = {path.stem for path in source.pictures}
    for stem, record in journal.frames.items():
        if record.problem is not None or record.run not in others:
            continue
        if stem in stems or source.kind == "video":
            raise BadInputError(
                f"the faces here come from {journal.runs[record.run].get('input')}, whose frames "
                "have the same names",
                where=aligned,
                hint=f"--prefix NAME adds a video's faces to them; {_FRESH}",
            )
    return {stem for stem, record in journal.frames.items() if record.problem is None}


def _foreign_stems(aligned: Path, settings: ExtractSettings, report: Reporter) -> set[str]:
    """Of faces that another program wrote, or another run without a journal."""
    faces = open_faceset(aligned).faces
    if not faces:
        return set()
    first = faces[0]
    _check_same(
        (first.face_type.value, first.shape[0]),
        (settings.face_type.value, settings.face_size),
        aligned,
    )
    report.note(f"{len(faces):,} faces are there already: their frames are taken as done")
    names = (face.source_filename or face.name for face in faces)
    return {os.path.splitext(name)[0] for name in names}  # noqa: PTH122 - a name, no path


def _check_same(there: tuple[object, object], wanted: tuple[object, object], aligned: Path) -> None:
    if there != wanted:
        raise BadInputError(
            f"the faces here are {there[0]} of {there[1]} pixels, not {wanted[0]} of {wanted[1]}",
            where=aligned,
            hint=f"--face-type {there[0]} --size {there[1]} goes on with them; {_FRESH}",
        )


def context(done: Sequence[int], stride: int, half: int) -> set[int]:
    """Those of the *done* frames that the smoothing of the others looks at.

    Args:
        done: numbers in ascending order.
        stride: between two frames that follow each other, at most.
        half: frames before and after that take part.
    """
    found: set[int] = set()
    edges = [i for i in range(1, len(done)) if done[i] - done[i - 1] > stride]
    for edge in [0, *edges, len(done)]:
        found.update(done[max(0, edge - half) : edge + half])
    return found

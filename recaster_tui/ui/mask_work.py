"""What the polygon editor does with files: off the screen's thread, without a screen."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.errors import BadInputError
from recaster_tui.faces.catalog import Catalog
from recaster_tui.faces.edits import EditInfo, FaceEdits
from recaster_tui.faces.face import Face, FaceFileError, Polygon
from recaster_tui.faces.masks import decode_xseg_mask
from recaster_tui.faces.polygon_transfer import interpolate
from recaster_tui.faces.tracks import (
    TrackFace,
    between_labels,
    find_tracks,
    frame_number,
    place_in_frame,
)

_REACH_FRAMES = 250
_REACH_NAMES = 400


class FaceSource(Protocol):
    """What is needed of a catalog (``faces.catalog.Catalog``)."""

    folder: Path
    names: list[str]

    def face(self, index: int) -> Face:
        """Metadata, read from the file now."""
        ...

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) BGR."""
        ...

    def jpeg(self, index: int) -> bytes:
        """The complete file."""
        ...

    def source_filename(self, index: int) -> str | None:
        """The frame it was cut from, where known."""
        ...

    def column(self, key: str) -> NDArray[np.float32]:
        """A column, NaN where unknown."""
        ...

    def changed(self) -> None:
        """Files were written."""
        ...


class SteadyFaces:
    """A catalog whose indices stay true while its pack is rewritten by every edit."""

    def __init__(self, catalog: Catalog) -> None:
        self.folder, self.names = catalog.folder, catalog.names
        self._first = self._now = catalog

    def changed(self) -> None:
        """Files were written: the places in a pack are others now."""
        if self._first.pack:
            self._now = self._now.reopened()

    def face(self, index: int) -> Face:
        """See :class:`FaceSource`."""
        return self._now.face(self._place(index))

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """See :class:`FaceSource`."""
        return self._now.pixels(self._place(index))

    def jpeg(self, index: int) -> bytes:
        """See :class:`FaceSource`."""
        return self._now.jpeg(self._place(index))

    def source_filename(self, index: int) -> str | None:
        """See :class:`FaceSource`."""
        return self._first.source_filename(index)

    def column(self, key: str) -> NDArray[np.float32]:
        """See :class:`FaceSource`."""
        return self._first.column(key)

    def _place(self, index: int) -> int:
        if self._now is self._first:
            return index
        found = self._now.index(self.names[index])
        if found is None:
            raise FaceFileError("the face is no longer in the pack", code="unreadable")
        return found


@dataclass(frozen=True)
class Loaded:
    """A face ready to be edited; or why it cannot be."""

    index: int
    face: Face | None
    bgr: NDArray[np.uint8] | None = None
    stored: NDArray[np.float32] | None = None  # (H, W), the stored mask at the picture's size
    problem: str = ""


def load(source: FaceSource, index: int) -> Loaded:
    """Read a face; a file that is no usable face is a :attr:`Loaded.problem`."""
    try:
        face, pixels = source.face(index), source.pixels(index)
    except FaceFileError as error:
        return Loaded(index, None, problem=error.message)
    stored, problem = None, ""
    if face.xseg_mask is not None:
        try:
            mask = decode_xseg_mask(face.xseg_mask)
            height, width = pixels.shape[:2]
            if mask.shape != (height, width):
                mask = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_CUBIC))
            stored = np.clip(mask, 0, 1).astype(np.float32)
        except FaceFileError as error:
            problem = error.message
    return Loaded(index, face, pixels, stored, problem)


def save(
    source: FaceSource, edits: FaceEdits, index: int, polygons: Sequence[Polygon]
) -> EditInfo | None:
    """Write outlines into a face's file, in one step, its pixels byte for byte as they are.

    Everything else is taken from the file as it is now: a mask that was applied meanwhile stays.

    Raises:
        RecasterError: it cannot be written; the file is as it was.
    """
    face = source.face(index)
    name = source.names[index]
    count = len(polygons)
    words = f"outlines of {name}: {count} polygon{'' if count == 1 else 's'}"
    try:
        return edits.replace_metadata(name, replace(face, polygons=list(polygons)), words)
    finally:
        source.changed()


@contextlib.contextmanager
def as_file(source: FaceSource, index: int) -> Iterator[Path]:
    """The path of a face's file; a packed face gets one for as long as it is needed."""
    face = source.face(index)
    if face.packed is None:
        yield face.path
        return
    with tempfile.TemporaryDirectory(prefix="recaster-face-") as folder:
        path = Path(folder) / "face.jpg"
        path.write_bytes(source.jpeg(index))
        yield path


@dataclass(frozen=True)
class Gap:
    """Faces of a track without outlines between two that have some.

    Attributes:
        before, after: catalog indices of the labelled faces.
        between: catalog indices, and how far each is from *before* (0) to *after* (1).
        faces: metadata of all of them by index.
    """

    before: int
    after: int
    between: tuple[tuple[int, float], ...]
    faces: dict[int, Face]


def find_gap(source: FaceSource, index: int, gone: Callable[[int], bool] = lambda _: False) -> Gap:
    """The gap that a face lies in; from a labelled face, the gap after it.

    Raises:
        BadInputError: there is none; says why.
    """
    hint = "label a face before and one after it, of the same person, in the same source"
    frame = frame_number(source.source_filename(index) or source.face(index).source_filename)
    if frame is None:
        raise BadInputError(
            "this face does not know its frame: it belongs to no track",
            hint="recaster faces recover-names may bring it back",
        )
    faces: dict[int, Face] = {}
    for i in range(len(source.names)):
        known = source.source_filename(i)
        number = frame_number(known)
        near = abs(i - index) <= _REACH_NAMES if known is None else (
            number is not None and abs(number - frame) <= _REACH_FRAMES
        )  # fmt: skip
        if near and not gone(i):
            with contextlib.suppress(FaceFileError):
                faces[i] = source.face(i)
    order = list(faces)
    track_faces = [
        TrackFace(
            frame_number(faces[i].source_filename),
            place_in_frame(faces[i].source_landmarks, faces[i].source_rect),
        )
        for i in order
    ]
    numbers = sorted({t.frame for t in track_faces if t.frame is not None})
    usual = int(np.median(np.diff(numbers))) if len(numbers) > 1 else 1
    tracks = find_tracks(track_faces, longest_gap=6 * max(1, usual) - 1)
    track = next((t for t in tracks if any(order[i] == index for i in t)), [])
    indices = [order[i] for i in track]
    if index not in indices:
        raise BadInputError("this face belongs to no track of its source", hint=hint)
    labelled = [bool(faces[i].polygons) for i in indices]
    ends = between_labels(track, labelled, indices.index(index))
    if ends is None:
        raise BadInputError("there are no labelled faces on both sides of this one", hint=hint)
    first, last = ends
    start, end = (track_faces[track[i]].frame or 0 for i in (first, last))
    between = tuple(
        (indices[i], ((track_faces[track[i]].frame or 0) - start) / max(1, end - start))
        for i in range(first + 1, last)
    )
    kept = {i: faces[i] for i in indices[first : last + 1]}
    return Gap(indices[first], indices[last], between, kept)


def fill_gap(source: FaceSource, edits: FaceEdits, gap: Gap) -> EditInfo | None:
    """Write interpolated outlines into every face of a gap, as one edit.

    Raises:
        RecasterError: one cannot be written; those before it are, and can be undone.
    """
    one, two = gap.faces[gap.before], gap.faces[gap.after]
    made = {
        index: interpolate(
            one.polygons,
            two.polygons,
            (one.landmarks, two.landmarks, gap.faces[index].landmarks),
            part,
        )
        for index, part in gap.between
    }
    names = source.names
    words = f"interpolated outlines of {len(made)} faces"
    before = len(edits.history())
    with edits.batch(f"{words} from {names[gap.before]} to {names[gap.after]}") as batch:
        for index, polygons in made.items():
            face = source.face(index)  # as it is now
            if not face.polygons and polygons:
                batch.replace_metadata(names[index], replace(face, polygons=polygons))
    source.changed()
    history = edits.history()
    return history[-1] if len(history) > before else None


def trash(source: FaceSource, edits: FaceEdits, index: int) -> EditInfo | None:
    """Move a face out of the faceset.

    Raises:
        RecasterError: it cannot be moved.
    """
    try:
        return edits.trash([source.names[index]], "polygon editor")
    finally:
        source.changed()


def undo(source: FaceSource, edits: FaceEdits) -> str | None:
    """Take the last edit of files back; says what it was.

    Raises:
        RecasterError: it cannot be undone.
    """
    try:
        return edits.undo()
    finally:
        source.changed()


def label_state(
    source: FaceSource, index: int, known: dict[int, bool | None], column: NDArray[np.float32]
) -> bool | None:
    """Whether a face has outlines, None for no usable face; read from its file if need be."""
    if index not in known:
        value = column[index]
        if np.isnan(value):
            try:
                known[index] = bool(source.face(index).polygons)
            except FaceFileError:
                known[index] = None
        else:
            known[index] = bool(value)
    return known[index]

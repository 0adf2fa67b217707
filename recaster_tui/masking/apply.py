"""Masks for a whole faceset: apply, turn into polygons, remove (dfl-data.md 7.3, 7.4).

Every change goes through :class:`~recaster_tui.faces.edits.FaceEdits`: metadata only, one atomic
rewrite a file, undoable. A file that cannot be used is named and left alone; the rest goes on.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.errors import BadInputError
from recaster_tui.faces.catalog import Catalog, shown_name
from recaster_tui.faces.catalog_rows import picture_of
from recaster_tui.faces.codec import decode_jpeg
from recaster_tui.faces.edits import FaceEdits
from recaster_tui.faces.face import Face, FaceFileError, Polygon
from recaster_tui.faces.faceset import Skipped
from recaster_tui.faces.masks import encode_xseg_mask
from recaster_tui.faces.outlines import outlines
from recaster_tui.jobs import Reporter
from recaster_tui.masking.masker import SIDE, Mask, Masker, Picture

log = logging.getLogger(__name__)

MAX_POINTS = 40
"""Of one polygon made from a mask: people have to be able to correct it."""
_SMALLEST = 64  # pixels of a 256 x 256 mask; a smaller part gets no polygon
_TOLERANCES = (0.75, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)  # pixels of a 256-pixel face


class Target(StrEnum):
    """What a mask becomes."""

    MASK = "mask"  # the stored XSeg mask, which training and merging use
    POLYGONS = "polygons"  # labels, which people correct and XSeg learns from


_PLURAL = {Target.MASK: "masks", Target.POLYGONS: "polygons"}


@dataclass
class MaskReport:
    """What was done.

    Attributes:
        changed: faces written.
        unchanged: faces that had nothing to change, or were not asked for.
        replaced: of the changed ones, those that had such a mask or such labels before.
        skipped: files that could not be used, and why.
        stopped: asked to end before all was done.
    """

    changed: int = 0
    unchanged: int = 0
    replaced: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    stopped: bool = False


def apply_masks(
    folder: Path,
    masker: Masker,
    report: Reporter,
    *,
    target: Target = Target.MASK,
    only_unlabelled: bool = False,
    names: Iterable[str] | None = None,
) -> MaskReport:
    """Draw the mask of every face and store it.

    Args:
        folder: of the faces, or a pack.
        masker: draws them.
        report: told of the progress; asked whether to stop.
        target: store it as mask (exactly 0 and 1, 256 x 256, as the original does), or as
            polygons of at most :data:`MAX_POINTS` points that replace those there.
        only_unlabelled: leave faces with polygons as they are.
        names: only these faces; all where it is None.

    Raises:
        BadInputError: there is no such folder.
        FaceFileError: the pack cannot be used.
        OSError: the disk is full; everything written so far is whole.
    """
    catalog, result = Catalog.open(folder), MaskReport()
    wanted = _indices(catalog, names)
    drawn: dict[int, _Drawn] = {}
    waiting: list[_Waiting] = []

    def work() -> None:
        for item, found in zip(waiting, _draw(masker, waiting, result, report), strict=True):
            if found is not None:
                drawn[item.index] = _Drawn(item.picture_id, _become(found, item.face, target))
        waiting.clear()

    for done, index in enumerate(wanted):
        report.progress(
            done, len(wanted), "drawing masks", masks=len(drawn), skipped=len(result.skipped)
        )
        if report.stop_requested():
            result.stopped = True
            break
        name = catalog.names[index]
        try:
            face = catalog.face(index)
            if only_unlabelled and face.polygons:
                result.unchanged += 1
                continue
            data = catalog.jpeg(index)
            pixels = decode_jpeg(data, catalog.folder / name)
            waiting.append(_Waiting(index, name, face, pixels, picture_of(data)))
        except FaceFileError as error:
            _skip(result, report, name, error)
            continue
        if len(waiting) >= masker.batch:
            work()
    work()
    if not result.stopped:
        report.progress(len(wanted), len(wanted), "drawing masks", masks=len(drawn),
                        skipped=len(result.skipped))  # fmt: skip
    _write(catalog, drawn, masker.name, target, only_unlabelled, result, report)
    return result


@dataclass(frozen=True)
class _Waiting:
    index: int
    name: str
    face: Face
    picture: Picture
    picture_id: int


@dataclass(frozen=True)
class _Drawn:
    """What goes into the face with that picture, whatever it is called by then."""

    picture_id: int
    content: bytes | list[Polygon]


def _become(mask: Mask, face: Face, target: Target) -> bytes | list[Polygon]:
    if target is Target.MASK:
        return encode_xseg_mask(mask >= 0.5)
    return to_polygons(mask, face.shape[1], face.shape[0])


def _write(
    catalog: Catalog,
    drawn: dict[int, _Drawn],
    drawn_by: str,
    target: Target,
    only_unlabelled: bool,
    result: MaskReport,
    report: Reporter,
) -> None:
    """All in one edit, which one undo takes back, and in the end: drawing may take an hour, and
    meanwhile the faces can be edited and renamed by others. So each file is read again."""
    if not drawn:
        return
    with FaceEdits(catalog.folder).batch(f"applied the {target} drawn by {drawn_by}") as batch:
        places = _places_now(catalog, drawn)
        for done, (name, now, place, found) in enumerate(places):
            report.progress(done, len(drawn), f"writing {_PLURAL[target]}", written=result.changed)
            try:
                if place is None:
                    raise FaceFileError("it changed while its mask was drawn", code="unreadable")
                face = now.face(place)
                if only_unlabelled and face.polygons:
                    result.unchanged += 1
                    continue
                if isinstance(found, bytes):
                    before, face.xseg_mask = face.xseg_mask is not None, found
                else:
                    before, face.polygons = bool(face.polygons), found
                batch.replace_metadata(now.names[place], face)
            except (FaceFileError, BadInputError) as error:
                _skip(result, report, name, error)
                continue
            result.changed += 1
            result.replaced += before
    report.progress(len(drawn), len(drawn), f"writing {_PLURAL[target]}", written=result.changed)


def _places_now(
    catalog: Catalog, drawn: dict[int, _Drawn]
) -> Iterator[tuple[str, Catalog, int | None, bytes | list[Polygon]]]:
    """Where the pictures that were drawn are now: (name then, catalog and index now, content).

    The index is None for a picture that is not there any more.
    """
    now = Catalog.open(catalog.folder)
    moved: dict[int, list[int]] | None = None
    for index, found in drawn.items():
        name = catalog.names[index]
        place = now.index(name)
        if place is None or _picture_id(now, place) != found.picture_id:
            if moved is None:
                known = {catalog.names[i]: d.picture_id for i, d in drawn.items()}
                moved = {}
                for i, other in enumerate(now.names):
                    picture = _picture_id(now, i)
                    if picture is not None and picture != known.get(other):
                        moved.setdefault(picture, []).append(i)
            others = moved.get(found.picture_id)
            place = others.pop(0) if others else None
        yield name, now, place, found.content


def _picture_id(catalog: Catalog, index: int) -> int | None:
    try:
        return picture_of(catalog.jpeg(index))
    except FaceFileError:
        return None


def remove(
    folder: Path, target: Target, report: Reporter, *, names: Iterable[str] | None = None
) -> MaskReport:
    """Take the stored masks, or the polygons, out of the files. Raises as :func:`apply_masks`."""
    catalog, result = Catalog.open(folder), MaskReport()
    wanted = _indices(catalog, names)
    text = f"removing {_PLURAL[target]}"
    with FaceEdits(catalog.folder).batch(f"removed the {target}") as batch:
        for done, index in enumerate(wanted):
            report.progress(done, len(wanted), text, removed=result.changed)
            if report.stop_requested():
                result.stopped = True
                return result
            name = catalog.names[index]
            try:
                face = catalog.face(index)
                if target is Target.MASK and face.xseg_mask is not None:
                    face.xseg_mask = None
                elif target is Target.POLYGONS and face.polygons:
                    face.polygons = []
                else:
                    result.unchanged += 1
                    continue
                batch.replace_metadata(name, face)
                result.changed += 1
            except (FaceFileError, BadInputError) as error:
                _skip(result, report, name, error)
    report.progress(len(wanted), len(wanted), text, removed=result.changed)
    return result


def to_polygons(mask: NDArray[np.floating], width: int, height: int) -> list[Polygon]:
    """Outlines of a mask that somebody can correct: at most 40 points each, few parts.

    Args:
        mask: (H, W) in 0..1 over the whole picture; 0.5 and above is face.
        width: of the picture whose pixels the points are in.
        height: likewise.
    """
    # Enlarged, so that an outline may run between the mask's pixels.
    side = max(SIDE, width, height)
    large = cv2.resize(np.asarray(mask, np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    scale = side / SIDE
    found = [p for p in outlines(large >= 0.5) if _area(p) >= _SMALLEST * scale**2]
    grow = np.array([width / side, height / side], np.float32)
    # Pixel centres: x = (x' + 0.5) * grow - 0.5
    return [
        Polygon(
            p.include, (_simplified(p.points, scale) + np.float32(0.5)) * grow - np.float32(0.5)
        )
        for p in found
    ]


def _simplified(points: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """The fewest points of a closed line (n, 2) by Douglas and Peucker, at most MAX_POINTS."""
    for tolerance in _TOLERANCES:
        found = cv2.approxPolyDP(points[:, None], tolerance * scale, True)[:, 0]
        if len(found) <= MAX_POINTS:
            break
    if len(found) < 3:
        return points[:3]
    return np.asarray(found[:MAX_POINTS], np.float32)


def _area(polygon: Polygon) -> float:
    return float(cv2.contourArea(polygon.points))


def _draw(
    masker: Masker, faces: Sequence[_Waiting], result: MaskReport, report: Reporter
) -> list[Mask | None]:
    """A mask for each; None, and a word about it, for those whose landmarks are no face."""
    try:
        return list(masker.masks([(item.face, item.picture) for item in faces]))
    except BadInputError as error:
        if len(faces) == 1:
            _skip(result, report, faces[0].name, error)
            return [None]
    # One of them is to blame: ask one by one.
    return [_draw(masker, [one], result, report)[0] for one in faces]


def _skip(
    result: MaskReport, report: Reporter, name: str, error: BadInputError | FaceFileError
) -> None:
    shown = shown_name(name)
    result.skipped.append(Skipped(shown, getattr(error, "code", "no-alignment"), error.message))
    report.warning(f"{shown}: {error.message}", error.hint)


def _indices(catalog: Catalog, names: Iterable[str] | None) -> list[int]:
    if names is None:
        return list(range(len(catalog)))
    found = []
    for name in names:
        index = catalog.index(name)
        if index is None:
            raise BadInputError(f"there is no face {name}", where=catalog.folder)
        found.append(index)
    return found

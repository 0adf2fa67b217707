"""Worst first: how far a mask is from the label, or where there is none from the landmarks."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.errors import BadInputError
from recaster_tui.faces.catalog import Catalog, ColumnInfo, shown_name
from recaster_tui.faces.face import Face, FaceFileError
from recaster_tui.faces.faceset import Skipped
from recaster_tui.faces.masks import decode_xseg_mask, hull_mask, polygon_mask
from recaster_tui.jobs import Reporter
from recaster_tui.masking.masker import SIDE, Mask, Masker

COLUMN = "mask_disagreement"
INFO = ColumnInfo(
    "mask error",
    "",
    "1 - IoU of the face's mask with its polygons, or below the brows with the landmarks' hull",
)
_BROWS = slice(17, 27)


@dataclass(frozen=True)
class Disagreement:
    """Of one face.

    Attributes:
        value: 1 - intersection over union, 0..1.
        against: ``label`` or ``hull``.
    """

    name: str
    value: float
    against: str


@dataclass
class Judged:
    """All faces, the worst first, and what could not be judged."""

    faces: list[Disagreement]
    skipped: list[Skipped]
    stopped: bool = False


def worst_first(
    folder: Path, report: Reporter, masker: Masker | None, otherwise: Callable[[], Masker]
) -> Judged:
    """Compare each face's mask with its label, or with the hull; remember it in the catalog.

    Args:
        folder: of the faces.
        report: told of the progress.
        masker: draws the masks to judge; None: the stored mask of a face is judged.
        otherwise: draws the mask of a face that has none stored; asked for only then.

    Raises:
        BadInputError: there is no such folder.
        FaceFileError: the pack cannot be used.
    """
    catalog = Catalog.open(folder)
    result = Judged([], [])
    total = len(catalog)
    for index, name in enumerate(catalog.names):
        report.progress(index, total, "comparing masks", skipped=len(result.skipped))
        if report.stop_requested():
            result.stopped = True
            break
        try:
            face = catalog.face(index)
            if masker is None and face.xseg_mask is not None:
                mask = decode_xseg_mask(face.xseg_mask)
            else:
                chosen = masker or otherwise()
                mask = chosen.masks([(face, catalog.pixels(index))])[0]
            value, against = disagreement(face, mask)
        except (FaceFileError, BadInputError) as error:
            shown = shown_name(name)
            code = getattr(error, "code", "no-alignment")
            result.skipped.append(Skipped(shown, code, error.message))
            report.warning(f"{shown}: {error.message}", error.hint)
            continue
        result.faces.append(Disagreement(name, value, against))
    if not result.stopped:
        report.progress(total, total, "comparing masks", skipped=len(result.skipped))
    values = {found.name: {COLUMN: found.value} for found in result.faces}
    # It says something about mask and label: it is forgotten when those change.
    catalog.store_values(values, {COLUMN: INFO}, of_metadata=True, replace=not result.stopped)
    catalog.save()
    result.faces.sort(key=lambda found: (-found.value, found.name))
    return result


def disagreement(face: Face, mask: Mask) -> tuple[float, str]:
    """(1 - IoU, against what) of a mask over the whole picture.

    The hull of the landmarks ends above the brows, while a mask goes to the hairline: without a
    label only what lies below the brows counts.

    Args:
        face: metadata.
        mask: (h, w) of any size, in 0..1.
    """
    height, width = face.shape[:2]
    found = _fit(mask)
    if face.polygons:
        return 1 - overlap(found, _fit(polygon_mask(face.shape, face.polygons))), "label"
    hull = _fit(hull_mask(face.shape, face.landmarks, 0.0))
    points = face.landmarks * np.array([SIDE / width, SIDE / height], np.float32)
    below = _below_brows(points)
    return 1 - overlap(found & below, hull & below), "hull"


def overlap(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 where both are empty."""
    either = int((one | two).sum())
    return int((one & two).sum()) / either if either else 1.0


def _fit(mask: Mask) -> NDArray[np.bool_]:
    resized = cv2.resize(np.asarray(mask, np.float32), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized >= 0.5)


def _below_brows(landmarks: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(256, 256): on the chin's side of the line through the brows."""
    brows = landmarks[_BROWS]
    brows = brows[np.argsort(brows[:, 0])]
    x = np.arange(SIDE, dtype=np.float32)
    line = np.interp(x, brows[:, 0], brows[:, 1])
    return np.asarray(np.arange(SIDE)[:, None] > line)

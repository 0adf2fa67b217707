"""Between DFL's metadata dictionary and :class:`Face` (dfl-data.md 1.5 to 1.7)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recaster_tui.errors import BadInputError
from recaster_tui.faces.face import Face, FaceFileError, Polygon
from recaster_tui.faces.types import FaceType

# Farther out than this a landmark is no measurement any more.
_MAX_COORDINATE = 1e6

_KNOWN = frozenset(
    {
        "face_type",
        "landmarks",
        "source_filename",
        "source_rect",
        "source_landmarks",
        "image_to_face_mat",
        "seg_ie_polys",
        "xseg_mask",
        "eyebrows_expand_mod",
    }
)


def face_from_metadata(
    metadata: Mapping[str, Any], shape: tuple[int, int, int], path: Path, name: str
) -> Face:
    """Check a metadata dictionary and make a :class:`Face` of it.

    Raises:
        FaceFileError: ``no-landmarks``, ``bad-landmarks``, or ``bad-metadata`` for another key.
    """
    if not metadata:
        raise FaceFileError("the file's metadata are empty", code="no-metadata")
    stored = metadata.get("landmarks")
    if stored is None:
        raise FaceFileError(
            "the face has no landmarks", code="no-landmarks", hint="extract it again"
        )
    source = metadata.get("source_landmarks")
    return Face(
        path=path,
        name=name,
        face_type=_face_type(metadata.get("face_type")),
        landmarks=parse_landmarks(stored),
        shape=shape,
        source_filename=_text("source_filename", metadata.get("source_filename")),
        source_rect=_numbers("source_rect", metadata.get("source_rect"), (4,)),
        source_landmarks=None if source is None else parse_landmarks(source),
        image_to_face_mat=_matrix(metadata.get("image_to_face_mat")),
        polygons=parse_polygons(metadata.get("seg_ie_polys")),
        xseg_mask=_mask(metadata.get("xseg_mask")),
        eyebrows_expand=_factor(metadata.get("eyebrows_expand_mod")),
        extra={key: value for key, value in metadata.items() if key not in _KNOWN},
    )


def metadata_from_face(face: Face, original: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The dictionary DFL stores for *face*.

    Args:
        face: what to store; None values are left out.
        original: the dictionary that is being replaced. A key whose meaning has not changed
            keeps its value from there, to the last bit and with its type.
    """
    new: dict[str, Any] = {
        "face_type": face.face_type.dfl_name,
        "landmarks": _pairs(face.landmarks),
        "source_filename": face.source_filename,
        "source_rect": None if face.source_rect is None else np.array(face.source_rect),
        "source_landmarks": (
            None if face.source_landmarks is None else _pairs(face.source_landmarks)
        ),
        "image_to_face_mat": (
            None if face.image_to_face_mat is None else face.image_to_face_mat.astype(np.float64)
        ),
        "seg_ie_polys": polygons_value(face.polygons) if face.polygons else None,
        "xseg_mask": (
            None
            if face.xseg_mask is None
            else np.frombuffer(face.xseg_mask, np.uint8).reshape(-1, 1)
        ),
        "eyebrows_expand_mod": face.eyebrows_expand if face.eyebrows_expand != 1.0 else None,
        **face.extra,
    }
    if original:
        before = _before(original, face)
        for key, value in original.items():
            if before is not None and key in _KNOWN and _same(key, before, face):
                new[key] = value
    order = [*(original or ()), *(key for key in new if key not in (original or ()))]
    return {key: new[key] for key in order if new.get(key) is not None}


def parse_landmarks(value: Any) -> NDArray[np.float32]:
    """(68, 2) float32 from a list of pairs or an array.

    Raises:
        FaceFileError: another shape, not numbers, not finite, absurdly far out, or all in one
            place (code ``bad-landmarks``).
    """
    hint = "extract the face again"
    try:
        points = np.asarray(value, np.float64)
    except (ValueError, TypeError, OverflowError):
        points = np.empty(0)
    if points.shape != (68, 2):
        raise FaceFileError(
            "the landmarks are not 68 points (x, y)", code="bad-landmarks", hint=hint
        )
    # Written so that NaN fails too.
    if not (np.abs(points) <= _MAX_COORDINATE).all():
        raise FaceFileError(
            "a landmark is not a number, or far outside of any picture",
            code="bad-landmarks",
            hint=hint,
        )
    if (np.ptp(points[17:49], axis=0) < 1.0).any():
        raise FaceFileError("the landmarks lie in one place", code="bad-landmarks", hint=hint)
    return points.astype(np.float32)


def parse_polygons(value: Any) -> list[Polygon]:
    """Polygons of a ``seg_ie_polys`` value in its current or its older form, includes first.

    Raises:
        FaceFileError: anything else (code ``bad-metadata``).
    """
    if value is None:
        return []
    items = value.get("polys") if isinstance(value, dict) else value
    polygons = []
    try:
        for item in items or ():
            kind, raw = (item["type"], item["pts"]) if isinstance(item, dict) else item
            points = np.asarray(raw, np.float32).reshape(-1, 2)
            if kind not in (0, 1) or not (np.abs(points) <= _MAX_COORDINATE).all():
                raise ValueError
            polygons.append(Polygon(bool(kind), points))
    except (ValueError, TypeError, KeyError, OverflowError):
        raise FaceFileError("the drawn outlines are damaged", code="bad-metadata") from None
    return sorted(polygons, key=lambda p: not p.include)


def polygons_value(polygons: list[Polygon]) -> dict[str, Any]:
    """The ``seg_ie_polys`` value of *polygons*."""
    return {
        "polys": [
            {"type": int(p.include), "pts": np.ascontiguousarray(p.points, np.float32)}
            for p in polygons
        ]
    }


def _before(original: Mapping[str, Any], face: Face) -> Face | None:
    try:
        return face_from_metadata(original, face.shape, face.path, face.name)
    except FaceFileError:
        return None


def _same(key: str, before: Face, face: Face) -> bool:
    match key:
        case "seg_ie_polys":
            old, new = before.polygons, face.polygons
            return len(old) == len(new) and all(
                a.include == b.include and np.array_equal(a.points, b.points)
                for a, b in zip(old, sorted(new, key=lambda p: not p.include), strict=True)
            )
        case "eyebrows_expand_mod":
            return before.eyebrows_expand == face.eyebrows_expand
        case "face_type" | "source_filename" | "xseg_mask":
            return bool(getattr(before, key) == getattr(face, key))
        case _:
            one, two = getattr(before, key), getattr(face, key)
            return one is not None and two is not None and np.array_equal(one, two)


def _pairs(points: NDArray[Any]) -> list[list[float]]:
    pairs: list[list[float]] = np.asarray(points, np.float64).tolist()
    return pairs


def _face_type(value: Any) -> FaceType:
    if value is None:
        return FaceType.FULL
    try:
        return FaceType.from_dfl(value if isinstance(value, str) else "")
    except BadInputError:
        raise _bad("face_type") from None


def _text(key: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _bad(key)
    # Half of a surrogate pair can be stored, but neither shown nor written to a log.
    return None if value is None else value.encode("utf-8", "replace").decode()


def _numbers(key: str, value: Any, shape: tuple[int, ...]) -> NDArray[Any] | None:
    if value is None:
        return None
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        raise _bad(key) from None
    if array.shape != shape or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise _bad(key)
    return array


def _matrix(value: Any) -> NDArray[np.float64] | None:
    array = _numbers("image_to_face_mat", value, (2, 3))
    return None if array is None else array.astype(np.float64)


def _mask(value: Any) -> bytes | None:
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        return value.tobytes() or None
    if value is not None and not isinstance(value, bytes):
        raise _bad("xseg_mask")
    return value or None


def _factor(value: Any) -> float:
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise _bad("eyebrows_expand_mod")
    try:
        factor = float(value)
    except OverflowError:
        raise _bad("eyebrows_expand_mod") from None
    # DFL's own range is 1 to 4; the product of a larger one and a landmark would not be a pixel.
    if not -100.0 <= factor <= 100.0:
        raise _bad("eyebrows_expand_mod")
    return factor


def _bad(key: str) -> FaceFileError:
    return FaceFileError(f"the metadata entry {key!r} is damaged", code="bad-metadata")

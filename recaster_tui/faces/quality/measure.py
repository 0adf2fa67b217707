"""What is measured of one face by itself; nothing here knows of the others."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.errors import BadInputError
from recaster_tui.faces.codec import Image, decode_pixels
from recaster_tui.faces.face import DOUBT_KEY, Face, FaceFileError
from recaster_tui.faces.geometry import (
    alignment_matrix,
    transform_points,
)
from recaster_tui.faces.masks import decode_xseg_mask, hull_mask, polygon_mask
from recaster_tui.faces.pose import pitch_yaw_roll
from recaster_tui.faces.quality.blur import edge_blur
from recaster_tui.faces.quality.canonical import CROP, TEXTURE, crop, texture, unit_landmarks
from recaster_tui.faces.tables import MEAN_FACE_3D

VERSION = 1
"""Of the measurements: raise it when the same file would give other ones."""

VALUES = (
    "side",  # pixels of the picture
    "face_px",  # side of the face's unit square, pixels of the frame (nan: unknown)
    "enlarged",  # pixels of the picture per pixel of the frame
    "blur",  # px at the common scale, see blur.py
    "blur_across",
    "blur_down",
    "edges",  # grey levels per px
    "luma",  # median grey of the hull, 0..255
    "luma_low",  # 5th and 95th percentile
    "luma_high",
    "black",  # share of the hull at 8 or less, and at 250 or more
    "white",
    "pitch",  # degrees
    "yaw",
    "turn",  # yaw and nod from the shape fit, degrees
    "nod",
    "shape_error",  # rms distance to the turned mean face, unit squares
    "mirrored",  # 1: the shape is flipped or upside down
    "align_error",  # furthest corner of the re-derived crop, share of the side
    "source_error",  # rms of source landmarks through the matrix, share of the side
    "outside",  # share of the 68 points outside the picture
    "masked_out",  # share of the hull that the stored mask or outlines leave out (nan: none)
    "doubt",  # 1: the detector's own doubt
)
_INDEX = {name: number for number, name in enumerate(VALUES)}


@dataclass(frozen=True)
class Measurement:
    """What is known of one face.

    Attributes:
        values: (len(VALUES),) float32, see :data:`VALUES`.
        landmarks: (68, 2) float32 in unit coordinates.
        placement: (4,) float32: centre x, y, log size, angle of the face in its frame; NaN where
            unknown. Frame pixels and radians.
        crop: (CROP, CROP) uint8 grey.
        texture: (TEXTURE, TEXTURE, 3) uint8 BGR.
        digest: of the picture data.
        frame: name of the source frame, or empty.
        doubt: the detector's words, or empty.
    """

    values: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    placement: NDArray[np.float32]
    crop: NDArray[np.uint8]
    texture: NDArray[np.uint8]
    digest: int
    frame: str
    doubt: str


def value_index(name: str) -> int:
    """The column of a value."""
    return _INDEX[name]


def measure(face: Face) -> Measurement:
    """Decode a face and measure it.

    Raises:
        FaceFileError: the picture is truncated or damaged, or the landmarks describe no face.
    """
    picture = decode_pixels(face)
    return measure_pixels(face, picture, zlib.crc32(picture.data))


def measure_pixels(face: Face, picture: Image, digest: int = 0) -> Measurement:
    """Measure a face whose (H, W, 3) BGR *picture* is there."""
    values = dict.fromkeys(VALUES, float("nan"))
    side = float(picture.shape[1])
    try:
        unit, to_unit = unit_landmarks(face.landmarks)
    except BadInputError as error:
        raise FaceFileError(error.message, code="bad-landmarks", where=face.path) from error
    unit_px = 1.0 / float(np.sqrt(abs(np.linalg.det(to_unit[:, :2]))))
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    hull = _hull(face)
    values["side"] = side
    _source(values, face, unit_px, side)
    blur = edge_blur(grey, hull, unit_px)
    values["blur"], values["blur_across"], values["blur_down"] = blur.all, blur.across, blur.down
    values["edges"] = blur.contrast
    _light(values, grey, hull)
    pitch, yaw, _ = pitch_yaw_roll(face.landmarks, int(side))
    values["pitch"], values["yaw"] = np.degrees(pitch), np.degrees(yaw)
    shape = fit_shape(unit)
    values["turn"], values["nod"] = shape.turn, shape.nod
    values["shape_error"], values["mirrored"] = shape.error, float(shape.mirrored)
    values["align_error"] = _align_error(face)
    inside = (face.landmarks >= 0).all(1) & (face.landmarks < np.array(picture.shape[1::-1])).all(1)
    values["outside"] = 1.0 - float(inside.mean())
    values["masked_out"] = _masked_out(face, hull)
    doubt = face.extra.get(DOUBT_KEY)
    values["doubt"] = float(bool(doubt))
    return Measurement(
        values=np.array([values[name] for name in VALUES], np.float32),
        landmarks=unit,
        placement=_placement(face),
        crop=crop(grey, to_unit),
        texture=texture(picture, face.landmarks),
        digest=digest,
        frame=face.source_filename or "",
        doubt=str(doubt) if doubt else "",
    )


@dataclass(frozen=True)
class ShapeFit:
    """How well 68 points are a turned mean face.

    Attributes:
        turn, nod: degrees.
        error: rms distance of the points that move least with expression, in unit squares.
        mirrored: no rotation puts the mean face there, only a mirror does.
        rest: (68, 2) what is left, in unit squares, the head's roll taken out.
    """

    turn: float
    nod: float
    error: float
    mirrored: bool
    rest: NDArray[np.float32]


_RIGID = np.array([*range(17), *range(17, 37), 39, 42, 45, 48, 54])
_CENTRED_3D = MEAN_FACE_3D.astype(np.float64) - MEAN_FACE_3D[_RIGID].mean(0)
_SOLVER = np.linalg.pinv(_CENTRED_3D[_RIGID] - _CENTRED_3D[_RIGID].mean(0))


def fit_shape(unit: NDArray[np.float32]) -> ShapeFit:
    """Fit the mean 3-D face to points in unit coordinates, scaled orthographic (POS).

    D. DeMenthon, L. Davis, "Model-based object pose in 25 lines of code", IJCV 15, 1995.
    """
    points = unit.astype(np.float64)
    origin = points[_RIGID].mean(0)
    affine = (_SOLVER @ (points[_RIGID] - origin)).T  # (2, 3)
    u, singular, v = np.linalg.svd(affine, full_matrices=False)
    rows = u @ v
    scale = float(singular.mean())
    third = np.cross(rows[0], rows[1])
    turn = float(np.degrees(np.arctan2(rows[0, 2], np.hypot(rows[0, 0], rows[0, 1]))))
    nod = float(np.degrees(np.arcsin(np.clip(third[1], -1, 1))))
    rest = points - origin - (_CENTRED_3D @ rows.T) * scale
    error = float(np.sqrt((rest[_RIGID] ** 2).sum(1).mean()))
    mirrored = third[2] < 0 or rows[1, 1] < 0 or rows[0, 0] < 0
    return ShapeFit(turn, nod, error, bool(mirrored), rest.astype(np.float32))


def _hull(face: Face) -> NDArray[np.uint8]:
    # Landmarks far outside would make OpenCV fill forever; nothing of them is seen anyway.
    limit = 4.0 * max(face.shape[:2])
    points = np.clip(face.landmarks, -limit, limit)
    return np.asarray(hull_mask(face.shape, points, face.eyebrows_expand) > 0.5, np.uint8)


def _source(values: dict[str, float], face: Face, unit_px: float, side: float) -> None:
    if face.source_landmarks is not None:
        try:
            _, to_unit = unit_landmarks(face.source_landmarks)
            values["face_px"] = 1.0 / float(np.sqrt(abs(np.linalg.det(to_unit[:, :2]))))
        except BadInputError:
            values["source_error"] = 1.0
    matrix = face.image_to_face_mat
    if matrix is None or not np.isfinite(matrix).all():
        if np.isfinite(values["face_px"]):
            values["enlarged"] = unit_px / values["face_px"]
        return
    values["enlarged"] = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if face.source_landmarks is not None and np.isnan(values["source_error"]):
        # float64: the points may be anything, the error must not overflow.
        moved = transform_points(face.source_landmarks.astype(np.float64), matrix)
        apart = moved - face.landmarks
        values["source_error"] = float(np.sqrt((apart**2).sum(1).mean())) / side


def _align_error(face: Face) -> float:
    """How far the crop that the landmarks ask for lies from the picture, share of its side."""
    side = face.shape[1]
    try:
        matrix = alignment_matrix(face.landmarks, side, face.face_type)
    except (BadInputError, cv2.error):
        return float("nan")
    if face.face_type.value.startswith("mark"):
        return float("nan")
    corners = np.array([(0, 0), (side, 0), (side, side), (0, side)], np.float64)
    moved = transform_points(corners, matrix)
    if not np.isfinite(moved).all():
        return 1.0
    return float(np.linalg.norm(moved - corners, axis=1).max()) / side


def _light(values: dict[str, float], grey: NDArray[np.uint8], hull: NDArray[np.uint8]) -> None:
    inside = grey[hull > 0]
    if len(inside) < 16:
        return
    low, middle, high = np.percentile(inside, (5, 50, 95))
    values["luma"], values["luma_low"], values["luma_high"] = middle, low, high
    values["black"] = float((inside <= 8).mean())
    values["white"] = float((inside >= 250).mean())


def _placement(face: Face) -> NDArray[np.float32]:
    nothing = np.full(4, np.nan, np.float32)
    if face.source_landmarks is None:
        return nothing
    try:
        _, to_unit = unit_landmarks(face.source_landmarks)
    except BadInputError:
        return nothing
    back = np.asarray(cv2.invertAffineTransform(to_unit), np.float64)
    centre = back @ np.array([0.49, 0.35, 1.0])
    size = np.log(np.hypot(back[0, 0], back[1, 0]))
    angle = np.arctan2(back[1, 0], back[0, 0])
    return np.array([*centre, size, angle], np.float32)


def _masked_out(face: Face, hull: NDArray[np.uint8]) -> float:
    """Share of the hull that the stored mask (else the outlines) leaves out."""
    inside = hull > 0
    if not inside.any():
        return float("nan")
    if face.xseg_mask is not None:
        try:
            mask = decode_xseg_mask(face.xseg_mask)
        except FaceFileError:
            return float("nan")
        size = (face.shape[1], face.shape[0])
        mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR), np.float32)
    elif face.polygons and any(p.include for p in face.polygons):
        mask = polygon_mask(face.shape, face.polygons)
    else:
        return float("nan")
    return float((mask[inside] < 0.5).mean())


def stack(some: Sequence[Measurement]) -> "Measurements":
    """The measurements of many faces as arrays."""
    count = len(some)
    return Measurements(
        np.array([m.values for m in some], np.float32).reshape(count, len(VALUES)),
        np.array([m.landmarks for m in some], np.float32).reshape(count, 68, 2),
        np.array([m.placement for m in some], np.float32).reshape(count, 4),
        np.array([m.crop for m in some], np.uint8).reshape(count, CROP, CROP),
        np.array([m.texture for m in some], np.uint8).reshape(count, TEXTURE, TEXTURE, 3),
        np.array([m.digest for m in some], np.uint32),
        [m.frame for m in some],
        [m.doubt for m in some],
    )


@dataclass(frozen=True)
class Measurements:
    """Those of *n* faces; the fields as in :class:`Measurement`, with a leading axis."""

    values: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    placement: NDArray[np.float32]
    crop: NDArray[np.uint8]
    texture: NDArray[np.uint8]
    digest: NDArray[np.uint32]
    frame: list[str]
    doubt: list[str]
    # Asked once for each face, and the same for all.
    _usual: dict[str, float] = field(init=False, default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.values)

    def value(self, name: str) -> NDArray[np.float32]:
        """(n,) one value of every face."""
        return self.values[:, _INDEX[name]]

    def usual(self, name: str) -> float:
        """The median of one value; NaN where no face has it."""
        if name not in self._usual:
            known = self.value(name)
            known = known[np.isfinite(known)]
            self._usual[name] = float(np.median(known)) if len(known) else math.nan
        return self._usual[name]

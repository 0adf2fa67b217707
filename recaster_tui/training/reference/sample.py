"""One training sample from one face, output by output (spec/dfl-models.md 7.5)."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from recaster_tui.faces.face import Face
from recaster_tui.faces.geometry import alignment_matrix
from recaster_tui.faces.masks import eyes_mask, mouth_mask
from recaster_tui.faces.masks import face_mask as full_mask
from recaster_tui.faces.types import FaceType
from recaster_tui.training.reference.color import color_transfer, hsv_shift
from recaster_tui.training.reference.sampling import warp_affine
from recaster_tui.training.reference.warp import WarpParams, warp_by_params, warp_params

Image = NDArray[np.float32]


@dataclass(frozen=True)
class ReferenceOptions:
    """Ranges shared by every output of a face; the defaults are SAEHD's.

    Attributes:
        flip: mirroring allowed.
        rotation: ± degrees.
        scale: (s_lo, s_hi) of :func:`warp_params`.
        shift: ± fraction of the side.
    """

    flip: bool = False
    rotation: float = 10.0
    scale: tuple[float, float] = (-0.15, 0.15)
    shift: float = 0.05


def sample_seed(rnd: np.random.RandomState) -> int:
    """The one number from which all outputs of a face draw their geometry."""
    return int(rnd.randint(0x80000000))


def face_image(
    face: Face,
    pixels: NDArray[np.uint8],
    *,
    seed: int,
    resolution: int,
    face_type: FaceType,
    options: ReferenceOptions,
    warp: bool,
    hsv_power: float = 0.0,
    transfer: str | None = None,
    reference: NDArray[np.uint8] | None = None,
    transfer_rnd: np.random.RandomState | None = None,
) -> Image:
    """FACE_IMAGE: fit, colour transfer, HSV jitter, geometry; (R, R, 3) float32 BGR 0..1.

    Args:
        face: its metadata.
        pixels: the aligned picture, uint8 BGR.
        seed: of :func:`sample_seed`.
        resolution: R.
        face_type: what the model trains on.
        options: ranges.
        warp: apply the grid warp.
        hsv_power: 0..0.3.
        transfer: rct, lct, mkl, idt, sot or None.
        reference: whole aligned picture of a face of the other side, uint8 BGR.
        transfer_rnd: the worker's global stream, for idt and sot (Quirk 10).
    """
    rnd, geometry = _geometry(seed, resolution, options)
    image: Image = pixels.astype(np.float32) / np.float32(255)
    if face.face_type == face_type:
        if image.shape[1] != resolution:
            resized = cv2.resize(image, (resolution, resolution), interpolation=cv2.INTER_CUBIC)
            image = np.asarray(resized, np.float32)
    else:
        matrix = alignment_matrix(face.landmarks, resolution, face_type)
        image = warp_affine(image, matrix, resolution, cubic=True, replicate=True)
    if transfer and reference is not None:
        whole = reference.astype(np.float32) / np.float32(255)
        colours = np.asarray(cv2.resize(whole, (resolution, resolution)), np.float32)
        image = color_transfer(transfer, image, colours, transfer_rnd)
    if hsv_power:
        image = hsv_shift(image, hsv_power, rnd)
    image = warp_by_params(
        geometry, image, warp=warp, transform=True, flip=True, replicate_border=True
    )
    return np.clip(image, 0, 1).astype(np.float32)


def face_mask(
    face: Face,
    *,
    seed: int,
    resolution: int,
    face_type: FaceType,
    options: ReferenceOptions,
    kind: Literal["full", "eyes-mouth"] = "full",
) -> Image:
    """FACE_MASK of the same *seed*: (R, R, 1) float32."""
    _, geometry = _geometry(seed, resolution, options)
    mask = full_mask(face)
    if kind == "eyes-mouth":
        parts = eyes_mask(face.shape, face.landmarks) + mouth_mask(face.shape, face.landmarks)
        mask = np.clip(parts, 0, 1) * (mask != 0)
    mask = mask.astype(np.float32)[..., None]
    if face.face_type == face_type:
        if mask.shape[1] != resolution:
            mask = np.asarray(cv2.resize(mask, (resolution, resolution)), np.float32)[..., None]
    else:
        matrix = alignment_matrix(face.landmarks, resolution, face_type)
        mask = warp_affine(mask, matrix, resolution, cubic=False, replicate=False)
    mask = warp_by_params(
        geometry,
        mask,
        warp=False,
        transform=True,
        flip=True,
        replicate_border=False,
        cubic=False,
    )
    if kind == "eyes-mouth" and mask.max() != 0:
        mask = mask / mask.max()
    return mask.astype(np.float32)


def _geometry(
    seed: int, resolution: int, options: ReferenceOptions
) -> tuple[np.random.RandomState, WarpParams]:
    # Two generators with the same seed: the transform's goes on to feed the HSV jitter.
    rnd = np.random.RandomState(seed)
    params = warp_params(
        resolution,
        flip=options.flip,
        rnd=rnd,
        warp_rnd=np.random.RandomState(seed),
        rotation=(-options.rotation, options.rotation),
        scale=options.scale,
        shift=(-options.shift, options.shift),
    )
    return rnd, params

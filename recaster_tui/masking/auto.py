"""The automatic mask: our own small network, trained on synthetic heads only.

It sees a whole-face crop whatever the type of the face: the landmarks say where that lies. What
it has learnt is in :mod:`recaster_tui.masking.train`; how well, ``recaster bench masks`` measures.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from recaster_tui.errors import DamagedError, EnvironmentProblem
from recaster_tui.faces.face import Face
from recaster_tui.faces.geometry import alignment_matrix
from recaster_tui.faces.types import FaceType
from recaster_tui.masking.masker import SIDE, Mask, Picture
from recaster_tui.nets.automask import RESOLUTION, AutoMask

WEIGHTS = Path(__file__).parent / "data" / "automask.safetensors"
_SPECK = 0.004  # of the face's area: parts and holes below are taken for noise


class AutoMasker:
    """The automatic mask. See :class:`~recaster_tui.masking.masker.Masker`.

    Each picture is looked at twice, as it is and mirrored: that is worth half a per cent.
    """

    name = "auto"
    batch = 8

    def __init__(self, net: AutoMask, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        # channels_last is what convolutions on a CPU like best.
        self._net = net.eval().to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def masks(self, faces: Sequence[tuple[Face, Picture]]) -> list[Mask]:
        """See :class:`Masker`; specks and pinholes are gone."""
        return [tidy(planes[0]) for planes in self.planes(faces)]

    def planes(self, faces: Sequence[tuple[Face, Picture]]) -> list[NDArray[np.float32]]:
        """(5, 256, 256) in 0..1 for each face: face, hair, neck, mouth, eyes."""
        if not faces:
            return []
        matrices, crops = [], []
        for face, picture in faces:
            matrix = alignment_matrix(face.landmarks, RESOLUTION, FaceType.WHOLE)
            matrices.append(_into_mask(matrix, picture.shape))
            crops.append(_crop(picture, matrix))
        logits = self.logits(np.stack(crops))
        size = (SIDE, SIDE)
        results = []
        for planes, matrix in zip(logits, matrices, strict=True):
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            # Logits, not probabilities: between two pixels those have the better edge.
            moved = [
                cv2.warpAffine(p, matrix, size, flags=flags, borderValue=_NOTHING) for p in planes
            ]
            results.append(1 / (1 + np.exp(-np.stack(moved))))
        return [np.asarray(r, np.float32) for r in results]

    def logits(self, crops: Picture) -> NDArray[np.float32]:
        """(B, 5, 160, 160) of (B, 160, 160, 3) BGR whole-face crops."""
        x = torch.from_numpy(crops.transpose(0, 3, 1, 2).copy()).to(self._device)
        x = (x.float() / 255).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            both = self._net(torch.cat((x, x.flip(3))))
            straight, mirrored = both.chunk(2)
            mean = (straight + mirrored.flip(3)) / 2
        return np.asarray(mean.clamp(_NOTHING, -_NOTHING).cpu().numpy(), np.float32)


_NOTHING = -12.0  # the logit of what is surely not there


def load_auto(path: Path = WEIGHTS, device: torch.device | None = None) -> AutoMasker:
    """The automatic mask with its shipped weights.

    Raises:
        EnvironmentProblem: the weights are not installed.
        DamagedError: they are not those of this network.
    """
    if not path.is_file():
        raise EnvironmentProblem(
            "the weights of the automatic mask are missing",
            where=path,
            hint="install the package again",
        )
    net = AutoMask()
    try:
        state = {name: value.float() for name, value in load_file(path).items()}
        missing, unexpected = net.load_state_dict(state, strict=False)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise DamagedError(f"the weights cannot be used ({error})", where=path) from error
    if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
        raise DamagedError("these are not the weights of the automatic mask", where=path)
    return AutoMasker(net, device)


def tidy(mask: Mask) -> Mask:
    """*mask* without specks and pinholes: what is too small to be meant."""
    bits = (mask >= 0.5).astype(np.uint8)
    least = _SPECK * float(bits.sum())
    result = mask.copy()
    for layer, value in ((bits, np.float32(0)), (1 - bits, np.float32(1))):
        count, parts, stats, _ = cv2.connectedComponentsWithStats(layer, connectivity=4)
        areas = stats[1:count, cv2.CC_STAT_AREA]
        for part in np.flatnonzero(areas < least) + 1:
            result[parts == part] = value
    return result


def _crop(picture: Picture, matrix: NDArray[np.float64]) -> Picture:
    """(160, 160, 3): the whole-face crop; large pictures are blurred first, not to alias."""
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    size = (RESOLUTION, RESOLUTION)
    if scale < 0.75:
        # Down to about the right size by area, then the rest by the matrix.
        height, width = picture.shape[:2]
        small = max(1, round(width * scale)), max(1, round(height * scale))
        picture = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.uint8)
        grow = np.array([width / small[0], height / small[1]])
        matrix = matrix.copy()
        # Pixel centres: x = (x' + 0.5) * grow - 0.5
        matrix[:, 2] += matrix[:, :2] @ (0.5 * grow - 0.5)
        matrix[:, :2] *= grow
    moved = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR)
    return np.asarray(moved, np.uint8)


def _into_mask(matrix: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
    """(2, 3) from pixels of a mask (256, 256) over a picture of *shape* to pixels of the crop."""
    scale = np.array([shape[1] / SIDE, shape[0] / SIDE])
    result = matrix.copy()
    result[:, 2] += matrix[:, :2] @ (0.5 * scale - 0.5)
    result[:, :2] *= scale
    return result

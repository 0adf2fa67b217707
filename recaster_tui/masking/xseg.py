"""Masks by an XSeg model, ours or DeepFaceLab's, as the original applies it (dfl-data.md 7.3)."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from recaster_tui.errors import BadInputError, DamagedError
from recaster_tui.faces.face import Face
from recaster_tui.faces.geometry import alignment_matrix, transform_points
from recaster_tui.faces.types import FaceType
from recaster_tui.interop.dfl_folder import dfl_entry
from recaster_tui.interop.dfl_layout import dfl_key, dfl_shape, from_dfl
from recaster_tui.interop.dfl_model import DflModel
from recaster_tui.interop.dfl_options import read_options
from recaster_tui.interop.dfl_read import load_pickle, read_state
from recaster_tui.interop.remarks import Remarks
from recaster_tui.masking.masker import SIDE, Mask, Picture
from recaster_tui.nets.xseg import RESOLUTION, XSeg
from recaster_tui.options import ModelClass, XsegOptions
from recaster_tui.training.generations import load_model

log = logging.getLogger(__name__)

DFL_WEIGHTS = "XSeg_256.npy"
_MOST_FILTERS = 256  # of the first layer; the original has 32
_WEAK = 0.1  # weaker answers of the network count as nothing (dfl-models.md 6.4)


class XsegMasker:
    """An XSeg network. See :class:`~recaster_tui.masking.masker.Masker`.

    Args:
        net: with its weights.
        face_type: that it was trained on; None: pictures are shown to it as they are.
        name: of the model.
        device: where it runs.
    """

    def __init__(
        self,
        net: XSeg,
        face_type: FaceType | None,
        name: str = "XSeg",
        device: torch.device | None = None,
    ) -> None:
        self.name = name
        self.face_type = face_type
        self._device = device or torch.device("cpu")
        self.batch = 2 if self._device.type == "cpu" else 8
        self._net = net.eval().to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def masks(self, faces: Sequence[tuple[Face, Picture]]) -> list[Mask]:
        """See :class:`Masker`."""
        if not faces:
            return []
        ways = [self._way(face) for face, _ in faces]
        inputs = [_input(picture, way) for (_, picture), way in zip(faces, ways, strict=True)]
        found = self.extract(np.stack(inputs))
        return [
            _back(mask, way, face.shape[1])
            for mask, way, (face, _) in zip(found, ways, faces, strict=True)
        ]

    def extract(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, 256, 256) in 0..1 of (B, 256, 256, 3) BGR 0..1: the network's own answer."""
        x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(self._device)
        with torch.inference_mode():
            y = torch.sigmoid(self._net(x.contiguous(memory_format=torch.channels_last)))
        found = y[:, 0].clamp(0, 1).cpu().numpy()
        found[found < _WEAK] = 0
        return np.asarray(found, np.float32)

    def _way(self, face: Face) -> NDArray[np.float64] | None:
        """(2, 3) from the picture to the crop that the model knows; None where they are one."""
        own, wanted = face.face_type, self.face_type
        if wanted is None or wanted is own or FaceType.CUSTOM in (own, wanted):
            return None
        width = face.shape[1]
        if face.source_landmarks is None:
            return alignment_matrix(face.landmarks, width, wanted)
        if own.padding is None:
            raise BadInputError(
                f"a face of type {own.value} cannot be cut to {wanted.value}", where=face.path
            )
        corners = np.array([(0, 0), (width, 0), (0, width)], np.float32)
        there = alignment_matrix(face.source_landmarks, width, wanted)
        here = alignment_matrix(face.source_landmarks, width, own)
        moved = transform_points(transform_points(corners, there, invert=True), here)
        return np.asarray(cv2.getAffineTransform(moved.astype(np.float32), corners), np.float64)


def _input(picture: Picture, way: NDArray[np.float64] | None) -> NDArray[np.float32]:
    image = picture.astype(np.float32) / np.float32(255)
    width = picture.shape[1]
    if way is not None:
        # Linear, though the original means Lanczos (its quirk 15).
        image = np.asarray(cv2.warpAffine(image, way, (width, width), flags=cv2.INTER_LINEAR))
    return _resized(image, RESOLUTION)


def _back(mask: Mask, way: NDArray[np.float64] | None, width: int) -> Mask:
    if way is None:
        return mask
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LANCZOS4
    moved = cv2.warpAffine(_resized(mask, width), way, (width, width), flags=flags)
    return _resized(np.asarray(moved, np.float32), SIDE)


def _resized(image: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    if image.shape[:2] == (side, side):
        return image
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_LANCZOS4), np.float32)


def load_ours(folder: Path, device: torch.device | None = None) -> XsegMasker:
    """The newest save of an XSeg model of ours, ``model/<name>.xseg``.

    Raises:
        DamagedError: nothing of it can be used.
        BadInputError: it is of another class, or still in pretraining.
    """
    loaded = load_model(folder)
    if loaded is None:
        raise DamagedError(
            "there is no save of this model", where=folder, hint="train it first, at least a while"
        )
    state = loaded.snapshot.state
    if state.get("model_class", ModelClass.XSEG.value) != ModelClass.XSEG.value:
        raise BadInputError(f"this is a model of class {state['model_class']}", where=folder)
    options = dict(state.get("options", {}))
    _refuse_pretraining(options, folder)
    weights = {
        name.removeprefix("XSeg/"): np.asarray(value.float().numpy())
        for name, value in loaded.snapshot.weights.items()
        if name.startswith("XSeg/")
    }
    net = _net(weights, folder)
    face_type = _face_type(options.get("face_type"))
    return XsegMasker(net, face_type, folder.name.rpartition(".")[0] or folder.name, device)


def load_dfl(path: Path, device: torch.device | None = None) -> XsegMasker:
    """DeepFaceLab's XSeg: a folder with ``XSeg_256.npy``, or that file.

    The face type stands in ``XSeg_data.dat`` beside it; without that file pictures are shown to
    the network as they are (DeepFaceLab asks, and offers the same).

    Raises:
        BadInputError: there is no such file, or the model is still in pretraining.
        DamagedError: a file is damaged, hostile, or of another network.
    """
    file = path / DFL_WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise BadInputError(f"there is no {DFL_WEIGHTS}", where=path)
    entry = dfl_entry(file.parent, "XSeg", ModelClass.XSEG)
    face_type: FaceType | None = None
    if entry.data.is_file():
        face_type = _dfl_face_type(read_state(entry), file)
    arrays = load_pickle(file)
    if not isinstance(arrays, dict) or not all(isinstance(a, np.ndarray) for a in arrays.values()):
        raise DamagedError("it does not hold named arrays", where=file)
    names = XSeg(1).state_dict()
    wanted = {name: arrays.get(dfl_key(name)) for name in names}
    first = wanted["conv01.conv.weight"]
    base = int(first.shape[-1]) if first is not None and first.ndim == 4 else 32
    if not 0 < base <= _MOST_FILTERS:  # an array without elements may claim any shape
        raise DamagedError(f"this is no XSeg: {base} filters", where=file)
    shapes = {name: tuple(value.shape) for name, value in XSeg(base).state_dict().items()}
    weights: dict[str, NDArray[np.float32]] = {}
    for name, value in wanted.items():
        shape = dfl_shape(shapes[name])
        if value is None or value.dtype.kind != "f" or value.size != int(np.prod(shape)):
            raise DamagedError(
                f"this is no XSeg: {dfl_key(name)} is missing or of another shape", where=file
            )
        weights[name] = from_dfl(value.astype(np.float32).reshape(shape))
    return XsegMasker(_net(weights, file), face_type, "XSeg", device)


def _dfl_face_type(model: DflModel, file: Path) -> FaceType | None:
    if "face_type" not in model.options:
        return None
    options = read_options(model, Remarks())
    assert isinstance(options, XsegOptions)
    _refuse_pretraining({"pretrain": options.pretrain}, file)
    return _face_type(options.face_type)


def _refuse_pretraining(options: Mapping[str, object], where: Path) -> None:
    if options.get("pretrain"):
        raise BadInputError(
            "this XSeg model is in pretraining: it redraws pictures and knows no masks yet",
            where=where,
            hint="switch pretraining off and train it on labelled faces",
        )


def _face_type(value: object) -> FaceType | None:
    return None if value is None else FaceType(str(getattr(value, "value", value)))


def _net(weights: Mapping[str, NDArray[np.float32]], where: Path) -> XSeg:
    first = weights.get("conv01.conv.weight")
    base = 32 if first is None or not first.ndim else int(first.shape[0])
    if not 0 < base <= _MOST_FILTERS:
        raise DamagedError(f"this is no XSeg: {base} filters", where=where)
    net = XSeg(base)
    tensors = {name: torch.from_numpy(np.array(a, np.float32)) for name, a in weights.items()}
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise DamagedError("the weights are not those of an XSeg network", where=where) from error
    if not all(torch.isfinite(value).all() for value in tensors.values()):
        raise DamagedError("the model has collapsed: its weights are not finite", where=where)
    return net

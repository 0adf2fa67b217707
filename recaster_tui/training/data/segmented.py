"""Batches for XSeg: labelled faces of both facesets together (spec/dfl-models.md 6.3, 7.7)."""

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recaster_tui.errors import BadInputError
from recaster_tui.faces.face import Face, FaceFileError
from recaster_tui.faces.faceset import Faceset, Skipped
from recaster_tui.faces.pose import pitch_yaw_roll
from recaster_tui.faces.types import FaceType
from recaster_tui.training.data.cache import FaceCache, Progress
from recaster_tui.training.data.prefetch import SIDE_TITLES, SIDES, BatchSource, Side
from recaster_tui.training.data.segmented_sample import (
    FAST,
    SIDE,
    Image,
    LabelledFace,
    labelled,
    make_sample,
    plain_picture,
)
from recaster_tui.training.data.select import Among, Indices, ShuffledQueue
from recaster_tui.training.data.shown import MOST, ShownFaces, well_spread
from recaster_tui.training.held_out import NOTHING, HeldOut
from recaster_tui.training.models.base import Batch, DataNeeds, SideBatch

log = logging.getLogger(__name__)

_PREVIEW_SEED = 20_040_229
_PREVIEW_CANDIDATES = 256
# Names of random streams: what a generator is for, so that none shares numbers with another.
_FACES, _BACKGROUNDS, _SAMPLES = 1, 2, 3


class SegmentedSource(BatchSource):
    """Pictures with the masks that polygons (or stored masks) give them, strongly augmented.

    Faces with polygons of both sides are one set; only where there is none at all, faces with a
    stored mask are taken. A batch holds its first half in ``src``, the rest in ``dst``: ``warped``
    is the network's input, ``mask`` the truth (0 or 1), ``target`` repeats ``warped``, ``index``
    counts the labelled faces, source first. :class:`DataNeeds`' flips are by side of the face.

    In a preview batch each side's ``target`` is plain faces of that side, labelled or not, and
    ``warped`` with ``mask`` the same training samples on both sides.

    Batches follow from the seed, the needs and their number alone. Use from one thread.
    """

    def __init__(
        self,
        facesets: dict[Side, Faceset],
        needs: DataNeeds,
        *,
        device: torch.device,
        seed: int,
        cache_dir: Path,
        progress: Progress | None = None,
        held_out: HeldOut = NOTHING,
    ) -> None:
        self._facesets = facesets
        self._cache_dir = cache_dir
        self._progress = progress
        self._caches: dict[Side, FaceCache] = {}
        self._pictures: dict[tuple[Side, int], Tensor] = {}
        self._shown: dict[str, ShownFaces] = {}
        self._pool = ThreadPoolExecutor(max(1, min(4, (os.cpu_count() or 1) // 2)), "samples")
        super().__init__(needs, device=device, seed=seed, held_out=held_out)

    @property
    def counts(self) -> dict[Side, int]:
        """Faces of each side that are learnt from."""
        return {side: len(self._caches[side]) if side in self._caches else 0 for side in SIDES}

    @property
    def skipped(self) -> dict[Side, list[Skipped]]:
        """Labelled faces found damaged while they were fitted."""
        return {
            side: list(self._caches[side].skipped) if side in self._caches else [] for side in SIDES
        }

    def close(self) -> None:
        """Stop the threads and forget the faces. Harmless when repeated."""
        super().close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _prepare(self, needs: DataNeeds) -> None:
        if not self._caches or needs.face_type != self._needs.face_type:
            self._pictures.clear()
            self._caches = self._open(FaceType(needs.face_type))
        self._places = [(side, position) for side in SIDES for position in range(self.counts[side])]
        if not self._places:
            raise BadInputError("every face with a mask is damaged", hint="see skipped.txt")
        aside, faces = self.held_out.aside, self._labelled_faces
        free = np.array([i for i, face in enumerate(faces) if face not in aside], np.int64)
        count = len(free)
        self._faces = Among(ShuffledQueue(count, self.seed, 0, _FACES), free)
        # A held-out face is not even seen as another one's background.
        self._backgrounds = Among(ShuffledQueue(count, self.seed, 0, _BACKGROUNDS), free)
        if not self._shown:
            self._shown = self._choose_shown(faces)
        self._needs = needs

    @property
    def _labelled_faces(self) -> list[Face]:
        """The face of each place."""
        return [self._caches[side].faces[position] for side, position in self._places]

    def _choose_shown(self, labelled_faces: list[Face]) -> dict[str, ShownFaces]:
        """Training samples from all of the set; of each side, faces of every turn of the head."""
        shown = {"samples": ShownFaces(labelled_faces, well_spread(len(labelled_faces)))}
        for side in SIDES:
            faces = self._facesets[side].faces
            if order := by_yaw(faces):
                places = [order[i] for i in well_spread(len(order))]
                shown[side] = ShownFaces(faces, places)
        return shown

    def _open(self, face_type: FaceType) -> dict[Side, FaceCache]:
        caches: dict[Side, FaceCache] = {}
        for side, faces in eligible_faces(self._facesets).items():
            if faces:
                whole = self._facesets[side]
                caches[side] = FaceCache.open(
                    Faceset(whole.folder, faces, [], whole.pack),
                    SIDE,
                    face_type,
                    self._cache_dir,
                    kind="segmented",
                    progress=self._progress,
                    what=f"labelled {SIDE_TITLES[side]} faces",
                )
        return caches

    def _face(self, place: int) -> LabelledFace:
        side, position = self._places[place]
        cache, scale = self._caches[side], np.float32(1 / 255)
        return LabelledFace(cache.image(position) * scale, cache.plane(position, 0) * scale)

    def _sample(self, place: int, background: int, *stream: int) -> tuple[Image, Image]:
        bits = np.random.MT19937(np.random.SeedSequence((self.seed, *stream)))
        flip = getattr(self._needs, self._places[place][0]).flip
        return make_sample(
            self._face(place),
            lambda: self._face(background),
            np.random.RandomState(bits),
            FAST,
            flip=flip,
        )

    def _make(self) -> Batch:
        count = self._needs.batch_size
        index = self._faces.take(count)
        streams = [(_SAMPLES, self._number, i) for i in range(count)]
        images, masks = self._samples(index, self._backgrounds.take(count), streams)
        self._number += 1
        positions = torch.from_numpy(index).to(self._device)
        half = (count + 1) // 2

        def part(which: slice) -> SideBatch:
            image, mask = images[which], masks[which]
            none = torch.zeros_like(mask)
            return SideBatch(image, image, mask, none, none, positions[which])

        return Batch(part(slice(half)), part(slice(half, None)))

    def _samples(
        self, faces: Indices, backgrounds: Indices, streams: Sequence[tuple[int, ...]]
    ) -> tuple[Tensor, Tensor]:
        futures = [
            self._pool.submit(self._sample, int(face), int(other), *stream)
            for face, other, stream in zip(faces, backgrounds, streams, strict=True)
        ]
        made = [future.result() for future in futures]
        images = np.stack([image.transpose(2, 0, 1) for image, _ in made])
        return self._upload(images), self._upload(np.stack([mask[None] for _, mask in made]))

    def _upload(self, array: Image) -> Tensor:
        tensor = torch.from_numpy(array)
        if self._device.type == "cuda":
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)

    def _preview(self, n: int) -> Batch:
        chosen = self._shown["samples"].take(MOST)
        index = np.resize(chosen, n)
        other = np.resize(np.roll(chosen, MOST // 2), n)
        streams = [(_PREVIEW_SEED, i) for i in range(n)]
        images, masks = self._samples(index, other, streams)
        positions, none = torch.from_numpy(index).to(self._device), torch.zeros_like(masks)
        src, dst = (
            SideBatch(images, self._plain_faces(side, n), masks, none, none, positions)
            for side in SIDES
        )
        return Batch(src, dst)

    def _plain_faces(self, side: Side, n: int) -> Tensor:
        """(n, 3, 256, 256) faces of one side, always the same; (0, …) where it has none."""
        if (side, n) not in self._pictures:
            faces: list[Face] = []
            if side in self._shown:
                whole = self._facesets[side].faces
                faces = frontal_first([whole[i] for i in self._shown[side].take(n)])
            face_type = FaceType(self._needs.face_type)
            pictures = [_shown_picture(face, face_type) for face in faces]
            empty = np.zeros((0, 3, SIDE, SIDE), np.float32)
            self._pictures[side, n] = self._upload(np.stack(pictures) if pictures else empty)
        return self._pictures[side, n]

    def _plain(self, index: Mapping[Side, Indices]) -> Batch:
        """Each side's ``target`` and ``mask``: labelled faces as they are."""

        def part(places: Indices) -> SideBatch:
            faces = [self._face(int(place)) for place in places]
            images = np.stack([face.image.transpose(2, 0, 1) for face in faces])
            image = self._upload(images.clip(0, 1))
            mask = self._upload(np.stack([face.mask[None] for face in faces]).clip(0, 1))
            none = torch.zeros_like(mask)
            positions = torch.from_numpy(places).to(self._device)
            return SideBatch(image, image, mask, none, none, positions)

        return Batch(part(index["src"]), part(index["dst"]))

    def faces(self, side: Side) -> Sequence[Face]:
        """The labelled ones."""
        return self._caches[side].faces if side in self._caches else []

    def positions(self, side: Side, faces: Sequence[Face]) -> Indices:
        """Where labelled *faces* lie in the set of both sides."""
        place = {face: i for i, face in enumerate(self._labelled_faces)}
        return np.array([place[face] for face in faces if face in place], np.int64)

    def _state(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "number": self._number,
            "samplers": {
                "faces": self._faces.state_dict(),
                "backgrounds": self._backgrounds.state_dict(),
            },
            "shown": {name: shown.state() for name, shown in self._shown.items()},
        }

    def _load(self, state: dict[str, Any]) -> None:
        self._number = int(state["number"])
        for name, queue in (("faces", self._faces), ("backgrounds", self._backgrounds)):
            if name in state["samplers"]:
                queue.load_state_dict(state["samplers"][name])
        before = {name: shown.state() for name, shown in self._shown.items()}
        for name, shown in self._shown.items():
            shown.recall(state.get("shown", {}).get(name))
        if before != {name: shown.state() for name, shown in self._shown.items()}:
            self._pictures.clear()


def eligible_faces(facesets: dict[Side, Faceset]) -> dict[Side, list[Face]]:
    """The faces that XSeg can learn from: those with polygons, else those with a stored mask.

    Raises:
        BadInputError: there is none of either.
    """
    for wanted in (labelled, lambda face: face.xseg_mask is not None):
        chosen = {side: [f for f in facesets[side].faces if wanted(f)] for side in facesets}
        if any(chosen.values()):
            return chosen
    total = sum(len(faceset.faces) for faceset in facesets.values())
    raise BadInputError(
        f"none of the {total} faces has a mask to learn from",
        where=", ".join(str(facesets[side].folder) for side in facesets),
        hint="outline the face on some twenty to fifty of them (polygons), or apply masks of "
        "another model",
    )


def by_yaw(faces: Sequence[Face]) -> list[int]:
    """Positions of up to 256 of *faces*, ordered by the turn of the head."""
    some = range(0, len(faces), max(1, -(-len(faces) // _PREVIEW_CANDIDATES)))
    return sorted(some, key=lambda i: _yaw(faces[i]))


def frontal_first(faces: list[Face]) -> list[Face]:
    """The most frontal first, as a small screen shows one."""
    return sorted(faces, key=lambda face: abs(_yaw(face)))


def _yaw(face: Face) -> float:
    return float(pitch_yaw_roll(face.landmarks, face.shape[1])[1])


def _shown_picture(face: Face, face_type: FaceType) -> Image:
    try:
        return plain_picture(face, face_type).clip(0, 1).transpose(2, 0, 1)
    except FaceFileError as error:
        # It may never be trained on: no reason to end a run.
        log.warning("a preview lacks a face: %s", error)
        return np.zeros((3, SIDE, SIDE), np.float32)

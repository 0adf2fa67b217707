"""Batches of two facesets for the face models, and the way in for every model's batches."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from recaster_tui.faces.face import Face
from recaster_tui.faces.faceset import Faceset, Skipped
from recaster_tui.faces.types import FaceType
from recaster_tui.training.data.augment import FaceStore, SideMaker
from recaster_tui.training.data.cache import FaceCache, Kind, Progress, require_faces
from recaster_tui.training.data.color import TRANSFERS
from recaster_tui.training.data.prefetch import SIDE_TITLES, SIDES, BatchSource, Side
from recaster_tui.training.data.segmented import SegmentedSource
from recaster_tui.training.data.select import (
    Among,
    BatchSampler,
    Indices,
    ShuffledQueue,
    YawQueue,
)
from recaster_tui.training.data.shown import ShownFaces, well_spread
from recaster_tui.training.held_out import NOTHING, HeldOut
from recaster_tui.training.models.base import Batch, DataNeeds, SideAugment, SideBatch

MINIMUM_FACES = 2

_OTHER: dict[Side, Side] = {"src": "dst", "dst": "src"}
_PREVIEW_SEED = 20_040_229
# Names of random streams: what a generator is for, so that none shares numbers with another.
_FACES, _REFERENCES, _PARAMETERS = 1, 2, 3


class DataSource(BatchSource):
    """Random batches of two facesets.

    Every batch follows from the seed, the needs and its number alone: the same seed gives the
    same batches, :meth:`state_dict` lets another process go on with the next one. (Between a CPU
    and a GPU the numbers drawn are the same, the interpolation differs in the last digits, and
    pixel noise has each device's own generator.)

    Of a preview batch, ``target`` and masks are as cached, unmoved and with their own colours;
    ``warped`` is the same face warped, always the same way.
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
        self._stores: dict[tuple[Side, Kind], FaceStore] = {}
        self._shown: dict[Side, ShownFaces] = {}
        self._pool = ThreadPoolExecutor(4, "jpeg")
        super().__init__(needs, device=device, seed=seed, held_out=held_out)

    @property
    def counts(self) -> dict[Side, int]:
        """Usable faces of each side."""
        return {side: len(self._faces(side).cache) for side in SIDES}

    @property
    def skipped(self) -> dict[Side, list[Skipped]]:
        """Faces found damaged while they were fitted (the faceset's own list not included)."""
        return {side: list(self._faces(side).cache.skipped) for side in SIDES}

    @property
    def resident(self) -> bool:
        """Whether both sides lie in device memory."""
        return all(self._faces(side).resident for side in SIDES)

    def close(self) -> None:
        """Stop the thread and forget the faces. Harmless when repeated."""
        super().close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._stores.clear()

    # -- making -------------------------------------------------------------------------------

    def _prepare(self, needs: DataNeeds) -> None:
        old = self._needs
        if (old.resolution, old.face_type) != (needs.resolution, needs.face_type):
            self._stores.clear()
        kind: Kind = "face+parts" if needs.eyes or needs.mouth else "face"
        for side in SIDES:
            self._open(side, needs, kind)
            cache = self._stores[side, kind].cache
            require_faces(cache, self._title(side), self._facesets[side].folder, MINIMUM_FACES)
        self._kind: Kind = kind
        self._makers = {
            side: SideMaker(
                self._stores[side, kind],
                self._references(side, needs),
                getattr(needs, side),
                parts=kind == "face+parts",
                device=self._device,
                pool=self._pool,
            )
            for side in SIDES
        }
        self._samplers = self._make_samplers(needs)
        self._shown = {side: self._choose_shown(side) for side in SIDES}
        self._needs = needs

    def _open(self, side: Side, needs: DataNeeds, kind: Kind) -> None:
        if (side, kind) in self._stores:
            return
        if kind != "picture":
            # Only one set of faces is needed at a time: do not hold device memory for two.
            self._stores.pop((side, "face"), None)
            self._stores.pop((side, "face+parts"), None)
        if self._one_set and (other := self._stores.get((_OTHER[side], kind))) is not None:
            self._stores[side, kind] = other
            return
        noun = "pictures for colour transfer" if kind == "picture" else "faces"
        cache = FaceCache.open(
            self._facesets[side],
            needs.resolution,
            FaceType(needs.face_type),
            self._cache_dir,
            kind=kind,
            progress=self._progress,
            what=f"{self._title(side)} {noun}",
        )
        self._stores[side, kind] = FaceStore(cache, self._device)

    @property
    def _one_set(self) -> bool:
        """Whether both sides are the same faces, as while pretraining."""
        return self._facesets["src"] is self._facesets["dst"]

    def _title(self, side: Side) -> str:
        return "training" if self._one_set else SIDE_TITLES[side]

    def _references(self, side: Side, needs: DataNeeds) -> FaceStore | None:
        augment: SideAugment = getattr(needs, side)
        if augment.color_transfer not in TRANSFERS:
            return None
        other = _OTHER[side]
        self._open(other, needs, "picture")
        return self._stores[other, "picture"]

    def _make_samplers(self, needs: DataNeeds) -> dict[str, BatchSampler]:
        samplers: dict[str, BatchSampler] = {}
        for number, side in enumerate(SIDES):
            cache = self._faces(side).cache
            free = self._free(cache)
            samplers[side] = Among(
                YawQueue(cache.yaw[free], self.seed, number, _FACES)
                if needs.uniform_yaw
                else ShuffledQueue(len(free), self.seed, number, _FACES),
                free,
            )
            if (pictures := self._stores.get((_OTHER[side], "picture"))) is not None:
                free = self._free(pictures.cache)
                samplers[f"{side}-references"] = Among(
                    ShuffledQueue(len(free), self.seed, number, _REFERENCES), free
                )
        return samplers

    def _free(self, cache: FaceCache) -> Indices:
        """Positions of the faces that may be trained on."""
        aside = self.held_out.aside
        return np.array([i for i, face in enumerate(cache.faces) if face not in aside], np.int64)

    def _faces(self, side: Side) -> FaceStore:
        return self._stores[side, self._kind]

    def _make(self) -> Batch:
        src, dst = (self._make_side(number, side) for number, side in enumerate(SIDES))
        self._number += 1
        return Batch(src, dst)

    def _make_side(self, number: int, side: Side) -> SideBatch:
        count = self._needs.batch_size
        index = self._samplers[side].take(count)
        references: Indices | None = None
        if getattr(self._needs, side).color_transfer in TRANSFERS:
            references = self._samplers[f"{side}-references"].take(count)
        rng = np.random.default_rng((self.seed, number, _PARAMETERS, self._number))
        return self._makers[side].make(index, references, rng)

    def _preview(self, n: int) -> Batch:
        src, dst = (
            self._makers[side].plain(self._frontal_first(side, n), _PREVIEW_SEED) for side in SIDES
        )
        return Batch(src, dst)

    def _choose_shown(self, side: Side) -> ShownFaces:
        """Faces of every turn of the head, once for all."""
        cache = self._faces(side).cache
        before = self._shown.get(side)
        if before is not None and before.faces == cache.faces:
            return before
        order = np.argsort(cache.yaw, kind="stable")
        shown = ShownFaces(cache.faces, [int(order[i]) for i in well_spread(len(order))])
        if before is not None:  # another kind of cache, which may lack a damaged face
            shown.recall(before.state())
        return shown

    def _frontal_first(self, side: Side, n: int) -> Indices:
        """The most frontal of the shown faces first, as a small screen shows one."""
        chosen = self._shown[side].take(n)
        yaw = self._faces(side).cache.yaw[chosen]
        return np.asarray(chosen[np.argsort(np.abs(yaw), kind="stable")], np.int64)

    def _plain(self, index: Mapping[Side, Indices]) -> Batch:
        src, dst = (self._makers[side].still(index[side]) for side in SIDES)
        return Batch(src, dst)

    def faces(self, side: Side) -> Sequence[Face]:
        """Those that the cache holds."""
        return self._faces(side).cache.faces

    def positions(self, side: Side, faces: Sequence[Face]) -> Indices:
        """Where *faces* lie in this side's cache."""
        place = {face: i for i, face in enumerate(self.faces(side))}
        return np.array([place[face] for face in faces if face in place], np.int64)

    def _state(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "number": self._number,
            "samplers": {name: s.state_dict() for name, s in self._samplers.items()},
            "uniform_yaw": self._needs.uniform_yaw,
            "shown": {side: shown.state() for side, shown in self._shown.items()},
        }

    def _load(self, state: dict[str, Any]) -> None:
        self._number = int(state["number"])
        for name, sampler in self._samplers.items():
            saved = state["samplers"].get(name)
            # Plain and uniform-yaw queues do not understand each other's state.
            switched = state["uniform_yaw"] != self._needs.uniform_yaw and name in SIDES
            if saved is not None and not switched:
                sampler.load_state_dict(saved)
        for side, shown in self._shown.items():
            shown.recall(state.get("shown", {}).get(side))


def open_data(
    src: Faceset,
    dst: Faceset,
    needs: DataNeeds,
    *,
    device: torch.device,
    seed: int,
    cache_dir: Path,
    progress: Progress | None = None,
    held_out: HeldOut = NOTHING,
) -> BatchSource:
    """Fit both facesets (or map their caches) and get ready to make batches.

    Args:
        src: source faceset.
        dst: destination faceset.
        needs: of the model.
        device: where batches shall lie.
        seed: 0 draws one.
        cache_dir: for the face caches, ``<workspace>/runs/.cache``.
        progress: called with (done, total, what); an exception in it ends the work.
        held_out: faces of these sets that are never trained on.

    Raises:
        BadInputError: a side has too few usable faces, or (XSeg) none has a mask.
        EnvironmentProblem: the caches cannot be written.
    """
    # The fitting threads and the batch thread are our parallelism; OpenCV's own would fight them.
    cv2.setNumThreads(1)
    kind = SegmentedSource if needs.segmented else DataSource
    return kind(
        {"src": src, "dst": dst},
        needs,
        device=device,
        seed=seed,
        cache_dir=cache_dir,
        progress=progress,
        held_out=held_out,
    )

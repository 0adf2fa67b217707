"""Measuring a model on the faces it has never trained on, beside as many that it has.

Looking on only: no weight, no optimizer and no random generator of the training is touched, so
that a run is bit for bit the same with and without it.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recaster_tui.faces.face import Face
from recaster_tui.nets.ops import gaussian_blur
from recaster_tui.protocol import EventType
from recaster_tui.training import losses
from recaster_tui.training.data.prefetch import SIDES, BatchSource, Side
from recaster_tui.training.data.segmented import eligible_faces
from recaster_tui.training.failures import is_out_of_memory
from recaster_tui.training.held_out import NOTHING, HeldOut, hold_out
from recaster_tui.training.journal import JournalWriter
from recaster_tui.training.models.base import Batch, TrainableModel
from recaster_tui.training.session import Session, pretrains

if TYPE_CHECKING:
    from recaster_tui.faces.faceset import Faceset

log = logging.getLogger(__name__)

SHARE = 0.01
"""Part of the time that measuring may take: a slow machine measures less often."""

KEPT = 200
"""Measurements that the model's state keeps; of more, every other old one goes."""

_MOST_AT_ONCE = 8
_FORWARD = 0.6  # of a training step's time, for as many faces: a guess until the first is timed
_INSIDE = 0.9
_SEED = 20_040_229
_LUMA_BGR = (0.114, 0.587, 0.299)
_LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))

Figures = dict[str, Any]
"""One measurement, as :mod:`recaster_tui.protocol.events` describes ``held_out``."""

# Mean over faces of one set: loss by side, mask agreement, sharpness.
_Sums = dict[str, list[Tensor]]


class _FaceJudge(Protocol):
    def infer(self, src: Tensor, dst: Tensor) -> dict[str, Tensor]: ...


class _MaskJudge(Protocol):
    def infer(self, images: Tensor) -> Tensor: ...


class Measures:
    """The measurements of one run: when they are due, what they say, what the model remembers.

    Attributes:
        series: the measurements so far, oldest first; those of the model's earlier runs, too.
    """

    def __init__(
        self,
        data: object,
        journal: JournalWriter,
        *,
        series: Sequence[Figures] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.series: list[Figures] = list(series)
        self._data = data if isinstance(data, BatchSource) else None
        self._held: HeldOut = self._data.held_out if self._data is not None else NOTHING
        self._journal = journal
        self._clock = clock
        self._begun = self._last = clock()
        self._cost: float | None = None
        self._spent = 0.0
        self._at_once = _MOST_AT_ONCE
        self._off = not any(self._held.measured.values())

    def tell(self) -> None:
        """Journal what is held out, and the measurements of earlier runs."""
        if self._data is None:
            return
        self._journal.emit(
            EventType.METRICS,
            held_out_faces={
                side: len(self._held.aside.intersection(self._data.faces(side))) for side in SIDES
            },
            held_out_since=self._held.since,
            held_out_history=list(self.series),
        )

    def due(self, seconds: float, step_seconds: float, step_faces: int) -> bool:
        """Whether it is time for one.

        Args:
            seconds: between two, at least.
            step_seconds: of a training iteration, from which the first one's cost is guessed.
            step_faces: that it works through, of both sides.
        """
        waited = self._clock() - self._last
        if self._off or waited < seconds:
            return False
        cost = self._cost
        if cost is None:
            cost = _FORWARD * step_seconds * self._faces_to_judge / max(1, step_faces)
        return waited >= cost / SHARE

    @property
    def _faces_to_judge(self) -> int:
        # Held-out and trained ones, and the shorter side is filled up.
        longest = max((len(faces) for faces in self._held.measured.values()), default=0)
        return 2 * 2 * longest

    def worth_a_last_one(self) -> bool:
        """Whether a run that ends may spend one more measurement on where it has come to."""
        spent = self._spent + (self._cost or 0.0)
        elapsed = self._clock() - self._begun
        return not self._off and self._cost is not None and spent <= 2 * SHARE * elapsed

    def measure(self, model: TrainableModel, iteration: int) -> Figures | None:
        """Measure now, journal and remember it; None (and a warning) where that is impossible."""
        if self._off or self._data is None:
            return None
        begun = self._clock()
        try:
            found = self._measure(model, self._data)
        except Exception as error:  # a figure must never cost a run
            log.exception("measuring on held-out faces failed")
            self._off = True
            self._journal.emit(
                EventType.WARNING,
                code="measuring",
                message=f"the model cannot be measured on held-out faces: {error}",
                hint="training goes on without; the log has the details",
            )
            return None
        finally:
            self._last = self._clock()
            self._cost = self._last - begun
            self._spent += self._cost
        elapsed = max(self._last - self._begun, 1e-9)
        figures: Figures = {
            "iteration": iteration,
            "t": round(time.time(), 1),
            "since": self._held.since,
            **found,
            "seconds": round(self._cost, 3),
            "share": round(self._spent / elapsed, 4),
        }
        self.series.append(figures)
        self._journal.emit(EventType.METRICS, held_out=figures)
        return figures

    def cut(self, iteration: int) -> None:
        """Forget what was measured after *iteration*: training went back to there."""
        self.series = [one for one in self.series if one["iteration"] <= iteration]

    def state(self) -> str:
        """For the model's state: the choice and the series, as text of their own shape."""
        if len(self.series) > KEPT:
            self.series = [*self.series[: -KEPT // 2 : 2], *self.series[-KEPT // 2 :]]
        return json.dumps({"faces": self._held.state(), "series": self.series})

    # -- measuring ------------------------------------------------------------------------------

    def _measure(self, model: TrainableModel, data: BatchSource) -> Figures:
        while True:
            try:
                return self._measure_in_pieces(model, data)
            except Exception as error:
                if not is_out_of_memory(error) or self._at_once <= 1:
                    raise
            self._at_once //= 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _measure_in_pieces(self, model: TrainableModel, data: BatchSource) -> Figures:
        judge = _judge_masks if data.needs.segmented else _judge_faces
        held = self._judge(judge, model, data, self._held.measured)
        trained = self._judge(judge, model, data, self._held.compared)
        figures: Figures = {
            "faces": {side: len(faces) for side, faces in self._held.measured.items() if faces}
        }
        for name in ("src", "dst", "mask"):
            if name in held:
                figures[name] = {
                    "held_out": _mean(held[name]),
                    "trained": _mean(trained.get(name, [])),
                }
        if "sharpness" in held:
            figures["sharpness"] = _median(held["sharpness"])
        return figures

    def _judge(
        self,
        judge: "Callable[[TrainableModel, Batch, Mapping[Side, int]], _Sums]",
        model: TrainableModel,
        data: BatchSource,
        faces: Mapping[str, Sequence[Face]],
    ) -> _Sums:
        found: _Sums = {}
        places = {side: data.positions(side, faces.get(side, ())) for side in SIDES}
        with _fixed_random(model), torch.inference_mode():
            for index, counts in _chunks(places, self._at_once):
                for name, values in judge(model, data.plain_batch(index), counts).items():
                    found.setdefault(name, []).extend(values)
        return found


def kept_aside(
    session: Session,
    facesets: "Mapping[str, Faceset]",
    stored: Mapping[str, Any],
    *,
    segmented: bool,
    iteration: int,
) -> HeldOut:
    """The held-out faces of this start: of all that could be trained on, as the state says.

    Args:
        session: of the run. While pretraining nothing is held out.
        facesets: of both sides.
        stored: first part of what :func:`restored` gave.
        segmented: only labelled faces are trained on (XSeg).
        iteration: of the model.
    """
    faces: dict[str, Sequence[Face]] = {}
    if segmented:
        for side, labelled in eligible_faces({side: facesets[side] for side in SIDES}).items():
            faces[side] = labelled
    elif not pretrains(session):
        faces = {side: faceset.faces for side, faceset in facesets.items()}
    return hold_out(
        faces,
        percent=session.options.held_out_percent,
        seed=session.seed,
        iteration=iteration,
        state=stored,
    )


def restored(text: Any, iteration: int) -> tuple[Mapping[str, Any], list[Figures]]:
    """The choice and the series up to *iteration* of a model's saved state; nothing of rubbish."""
    try:
        stored = json.loads(text)
        series = [one for one in stored["series"] if int(one["iteration"]) <= iteration]
        return dict(stored["faces"]), series
    except (TypeError, ValueError, KeyError):
        return {}, []


def _chunks(
    places: Mapping[Side, np.ndarray], most: int
) -> Iterator[tuple[dict[Side, np.ndarray], dict[Side, int]]]:
    """Both sides' positions in equal pieces: the shorter one repeats, its *count* says how far."""
    longest = max(len(index) for index in places.values())
    for start in range(0, longest, most):
        pieces = {side: index[start : start + most] for side, index in places.items()}
        size = max(len(piece) for piece in pieces.values())
        counts = {side: len(piece) for side, piece in pieces.items()}
        # A face of some kind must be there; what is made of it is left aside.
        filled = {
            side: np.concatenate([piece, np.zeros(size - len(piece), np.int64)])
            for side, piece in pieces.items()
        }
        yield filled, counts


def _judge_faces(model: TrainableModel, batch: Batch, counts: Mapping[Side, int]) -> _Sums:
    shown = cast(_FaceJudge, model).infer(batch.src.target, batch.dst.target)
    found: _Sums = {}
    for side in SIDES:
        given, count = getattr(batch, side), counts[side]
        if not count:
            continue
        target, mask = given.target[:count], given.mask[:count]
        picture = shown[f"{side}_{side}"][:count].float()
        inside = losses.soft_masks(mask).inside
        # The structure and pixel terms of the loss on the chart, whatever else is switched on.
        unlike = losses.likeness(target * inside, picture * inside, "ssim", None)
        found[side] = list(unlike.unbind())
        found.setdefault("mask", []).extend(
            agreement(shown[f"{side}_{side}m"][:count].float(), mask).unbind()
        )
        if side == "dst":
            swap = shown["src_dst"][:count].float()
            found["sharpness"] = list((sharpness(swap, mask) / sharpness(target, mask)).unbind())
    return found


def _judge_masks(model: TrainableModel, batch: Batch, counts: Mapping[Side, int]) -> _Sums:
    found: _Sums = {}
    for side in SIDES:
        given, count = getattr(batch, side), counts[side]
        if not count:
            continue
        truth = given.mask[:count]
        predicted = cast(_MaskJudge, model).infer(given.target[:count]).float()
        wrong = F.binary_cross_entropy(predicted.clamp(0, 1), truth, reduction="none")
        # The chart's only loss is called src; both sides are one set.
        found.setdefault("src", []).extend(wrong.mean((1, 2, 3)).unbind())
        found.setdefault("mask", []).extend(agreement(predicted, truth).unbind())
    return found


def agreement(predicted: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union of two masks (B, 1, H, W) cut at 0.5 (Jaccard 1912): (B,), 0..1."""
    a, b = predicted > 0.5, truth > 0.5
    common, either = (a & b).sum((1, 2, 3)), (a | b).sum((1, 2, 3))
    return torch.where(either > 0, common / either.clamp(min=1), 1.0)


def sharpness(picture: Tensor, mask: Tensor) -> Tensor:
    """Variance of the Laplacian of the luma inside the mask (Pech-Pacheco et al. 2000): (B,).

    After a blur of 1/128 of the picture's size, so that it is detail that counts and not grain.

    Args:
        picture: (B, 3, H, W) BGR 0..1.
        mask: (B, 1, H, W) 0..1.
    """
    weights = torch.tensor(_LUMA_BGR, device=picture.device)[:, None, None]
    luma = gaussian_blur((picture * weights).sum(1, keepdim=True), picture.shape[-1] / 128)
    kernel = torch.tensor(_LAPLACIAN, device=picture.device)[None, None]
    edges = F.conv2d(F.pad(luma, (1, 1, 1, 1), mode="replicate"), kernel)
    inside = (mask > _INSIDE).float()
    size = inside.sum((1, 2, 3)).clamp(min=1)
    mean = (edges * inside).sum((1, 2, 3)) / size
    spread = ((edges - mean[:, None, None, None]).square() * inside).sum((1, 2, 3))
    return spread / size + 1e-12


def _fixed_random(model: TrainableModel) -> AbstractContextManager[Any]:
    """AMP mixes identities by chance: always the same way here, and none of the training's."""
    fixed = getattr(model, "fixed_random", None)
    return cast(AbstractContextManager[Any], fixed(_SEED)) if fixed is not None else nullcontext()


def _mean(values: Sequence[Tensor]) -> float | None:
    return round(float(torch.stack(list(values)).mean()), 5) if values else None


def _median(values: Sequence[Tensor]) -> float | None:
    return round(float(torch.stack(list(values)).median()), 4) if values else None


def judged_each_step(model: TrainableModel) -> int:
    """Faces of both sides that an iteration works through."""
    size = model.needs.batch_size
    return size if model.needs.segmented else 2 * size

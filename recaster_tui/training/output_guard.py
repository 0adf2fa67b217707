"""Noticing that a model draws nothing any more: all black, one even colour, masks empty or full.

What is judged is the spread over each picture of a small fixed batch, against that of the picture
it should be. A fresh model draws an even grey, so a kind of picture counts only once it has had a
spread of its own; a target that is nearly even itself (a dark face) is not compared with.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recaster_tui.training.failures import is_out_of_memory
from recaster_tui.training.guards import Trouble
from recaster_tui.training.models.base import Batch, TrainableModel

log = logging.getLogger(__name__)

SAMPLES = 2
"""Faces of each side."""
EVERY = 50
"""Iterations between two looks, at least."""
SHARE = 0.003
"""Part of the time that looking may take."""
SAVE_SHARE = 0.005
"""Likewise, just before a save."""
ALL_SHARE = 0.004
"""Of all the time so far, both together, the first look included, which warms up."""
AGAIN = 5
"""Iterations after which a bad look is confirmed: a single bad step may mend itself."""

ALIVE, DEAD = 0.3, 0.05
"""Spread of a picture, as part of its target's: from where it counts, below what it is lost."""
UNBORN = 1000
"""Iterations after which the faces of any class have long had a spread."""
LEAST_SPREAD = 0.02
"""Standard deviation, of 0..1, below which a target is too even to say anything."""

_TITLES = {
    "src": "rebuilt source faces",
    "dst": "rebuilt destination faces",
    "swap": "swapped faces",
    "mask": "masks",
}


@dataclass(frozen=True)
class Look:
    """Standard deviation over each picture (mean over channels, then the greatest of the batch's
    ratios to its targets), and the mean of the pictures, 0..1. ``ratio`` None: no usable target."""

    ratio: float | None
    mean: float


@torch.inference_mode()
def look(model: TrainableModel, batch: Batch) -> dict[str, Look]:
    """What *model* draws of *batch*; empty for a model that cannot say."""
    infer: Callable[..., Any] | None = getattr(model, "infer", None)
    if infer is None:
        return {}
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    if set(model.loss_names) == {"mask"}:
        for side in (batch.src, batch.dst):
            if len(side.warped):
                found = infer(side.warped)
                wanted = side.mask if model.needs.segmented else side.warped.mean(1, keepdim=True)
                before = pairs.get("mask")
                if before is not None:
                    found, wanted = torch.cat((before[0], found)), torch.cat((before[1], wanted))
                pairs["mask"] = (found, wanted)
    else:
        shown = infer(batch.src.target, batch.dst.target)
        pairs["src"] = (shown["src_src"], batch.src.target)
        pairs["dst"] = (shown["dst_dst"], batch.dst.target)
        pairs["swap"] = (shown["src_dst"], batch.dst.target)
    figures = []
    for found, wanted in pairs.values():
        spread, target = _spread(found), _spread(wanted)
        ratio = torch.where(target >= LEAST_SPREAD, spread / target.clamp(min=1e-9), -1.0)
        figures.append(torch.stack((ratio.max(), found.float().mean())))
    values = torch.stack(figures).tolist() if figures else []  # one read of the device
    return {
        name: Look(None if ratio < 0 else ratio, mean)
        for name, (ratio, mean) in zip(pairs, values, strict=True)
    }


def _spread(pictures: Tensor) -> Tensor:
    """Standard deviation over each of (n, C, H, W) pictures, mean over channels: (n,)."""
    return pictures.float().std((2, 3)).mean(1)


class OutputGuard:
    """Looks at a model's pictures now and then.

    Attributes:
        on: whether it does.
        alive: the kinds of picture that have had a spread.
        looks: how often it looked, and ``seconds`` spent on that.
        never_drew: what to tell of pictures that should have had a spread long ago; empty: nothing.
    """

    def __init__(
        self,
        batch: Callable[[int], Batch],
        iteration: int,
        alive: Iterable[str] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """*batch* gives the fixed faces; *iteration* is where training begins."""
        self.on = True
        self.looks, self.seconds = 0, 0.0
        self.never_drew = ""
        self._make_batch = batch
        self._batch: Batch | None = None
        self._clock = clock
        self.alive = set(alive) & _TITLES.keys()
        self._good = self._looked = iteration
        self._suspected = False
        self._warned = False
        self._begun = self._last = clock()
        self._cost = 0.0

    @property
    def suspicious(self) -> bool:
        """Whether the last look was bad and is to be confirmed: no moment for a save."""
        return self.on and self._suspected

    @property
    def judged(self) -> int:
        """Up to this iteration the pictures are known to be good, as far as they count."""
        return self._good if self.on else sys.maxsize

    def due(self, iteration: int, *, saving: bool = False) -> bool:
        """Whether to look now; *saving*: a save comes next, which shall be of a good model."""
        since = iteration - self._looked
        if not self.on or since <= 0:
            return False
        if self._suspected:
            return since >= AGAIN
        share, now = SAVE_SHARE if saving else SHARE, self._clock()
        in_all = self.seconds + self._cost <= ALL_SHARE * (now - self._begun)
        return (saving or since >= EVERY) and now - self._last >= self._cost / share and in_all

    def judge(self, model: TrainableModel, iteration: int) -> Trouble | None:
        """Look at what *model* draws after *iteration*."""
        begun = self._clock()
        found = self._look(model)
        dead = self.dead(found)
        self._looked, self._last = iteration, self._clock()
        spent = self._last - begun
        # The first look of all warms up: the quicker of two is what one costs.
        self._cost = min(spent, self._cost) if self.looks else spent
        self.looks, self.seconds = self.looks + 1, self.seconds + spent
        if not dead:
            self._good, self._suspected = iteration, False
            self.alive |= {n for n, one in found.items() if one.ratio and one.ratio >= ALIVE}
            self._see_the_unborn(found, iteration)
            return None
        if not self._suspected:
            self._suspected = True
            return None
        names = " and the ".join(_TITLES[name] for name in dead) if len(dead) < 3 else "pictures"
        return Trouble(
            "output", self._good + 1, f"the {names} are {_colour(found[dead[0]], dead[0])}"
        )

    def _see_the_unborn(self, found: dict[str, Look], iteration: int) -> None:
        unborn = [
            name
            for name, one in found.items()
            # A swap is never trained, and may be nothing much for long.
            if name not in self.alive | {"swap"} and one.ratio is not None and one.ratio < DEAD
        ]
        if unborn and iteration >= UNBORN and not self._warned:
            self._warned = True
            what = " and the ".join(_TITLES[name] for name in unborn)
            colour = _colour(found[unborn[0]], unborn[0])
            self.never_drew = (
                f"after {iteration:,} iterations the {what} are still {colour}: "
                "the model has not learnt to draw them"
            )

    def dead(self, found: dict[str, Look]) -> list[str]:
        """The kinds of picture that have had a spread and have none now (NaN is none)."""
        return [
            name
            for name, one in found.items()
            if name in self.alive and one.ratio is not None and not one.ratio >= DEAD
        ]

    def passes(self, model: TrainableModel) -> bool:
        """Whether *model*, just loaded, draws pictures; True where that cannot be said."""
        if not self.on or not self.alive:
            return True
        return not self.dead(self._look(model))

    def _look(self, model: TrainableModel) -> dict[str, Look]:
        """What *model* draws of the fixed faces; nothing where memory does not suffice."""
        try:
            if self._batch is None:
                self._batch = self._make_batch(SAMPLES)
            return look(model, self._batch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            log.warning("no memory to look at the pictures")  # a look must never cost a run
            return {}

    def reset(self, iteration: int) -> None:
        """Training goes on from *iteration*, a good save."""
        self._good = self._looked = iteration
        self._suspected = False
        self._last = self._clock()


def _colour(one: Look, name: str) -> str:
    if one.mean < 0.1:
        return "empty" if name == "mask" else "all black"
    if one.mean > 0.9:
        return "full" if name == "mask" else "all white"
    return "one even colour"

"""``retrain_worst``: faces with the highest loss are trained once more (product.md 6.3.1).

Everything stays on the device; nothing waits for a loss to be read.
"""

from collections.abc import Sequence

import torch

from recaster_tui.training.models.base import Batch, SideBatch, StepResult

EVERY = 16
_FIELDS = ("warped", "target", "mask", "eyes", "mouth", "index")


class WorstFaces:
    """Keeps the worst samples of each side; every 16 iterations they make a batch of their own."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything: the option was switched, or batches have another shape now."""
        self._sides: list[tuple[SideBatch, torch.Tensor] | None] = [None, None]
        self._seen = 0

    def add(self, batch: Batch, result: StepResult) -> None:
        """Rank the samples of a trained batch among those kept.

        Source faces by the first loss, destination faces by the last; where a single loss covers
        both sides' faces one after the other (XSeg), each by its own.
        """
        losses = result.per_sample.detach()
        self._seen += 1
        source, destination = losses[:, 0], losses[:, -1]
        count = len(batch.src.index)
        if len(losses) == count + len(batch.dst.index):
            source, destination = source[:count], destination[count:]
        for i, (side, loss) in enumerate(((batch.src, source), (batch.dst, destination))):
            kept = self._sides[i]
            sides, values = [side], [loss]
            if kept is not None:
                sides.append(kept[0])
                values.append(kept[1])
            # NaN would win every comparison.
            total = torch.nan_to_num(torch.cat(values), nan=-1.0)
            top = total.topk(len(loss)).indices
            self._sides[i] = (_gather(sides, top), total[top])

    def take(self) -> Batch | None:
        """The batch of the worst, once every 16 iterations; None otherwise."""
        src, dst = self._sides
        if self._seen < EVERY or src is None or dst is None:
            return None
        self.clear()
        return Batch(src[0], dst[0])


def _gather(sides: Sequence[SideBatch], index: torch.Tensor) -> SideBatch:
    def pick(name: str) -> torch.Tensor:
        whole = torch.cat([getattr(side, name) for side in sides])
        return whole[index.to(whole.device)]

    return SideBatch(*(pick(name) for name in _FIELDS))

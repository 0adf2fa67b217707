"""Which faces the next iteration is trained on."""

from collections.abc import Callable

import torch

from recaster_tui.training.failures import is_out_of_memory
from recaster_tui.training.models.base import Batch, StepResult, TrainableModel
from recaster_tui.training.retrain import WorstFaces
from recaster_tui.training.session import DataSource

MOST_PIECES = 64
"""Where memory runs out all the same, smaller pieces will not help for ever."""


class Feed:
    """Batches for a model: the data's, or those of the worst faces.

    Attributes:
        chosen: whether the last one was put together of the worst faces.
    """

    def __init__(
        self, model: TrainableModel, data: DataSource, in_pieces: Callable[[], None]
    ) -> None:
        """*in_pieces* is called when the model works in smaller pieces from now on."""
        self.chosen = False
        self._model, self._data, self._in_pieces = model, data, in_pieces
        self._worst = WorstFaces()
        self._last: Batch | None = None
        self._fresh = False  # whether the last one held faces that were not trained just before

    def next(self, *, retrain_worst: bool) -> Batch:
        """The batch of the next iteration."""
        if self._last is not None and not self._model.wants_batch():
            self._fresh = False
            return self._last  # the model will not look at it
        worst = self._worst.take() if retrain_worst else None
        self.chosen = worst is not None
        self._fresh = worst is None
        return self._made() if worst is None else worst

    def trained(self, batch: Batch, result: StepResult, *, retrain_worst: bool) -> None:
        """An iteration is done."""
        self._last = batch
        if self._fresh and retrain_worst:
            self._worst.add(batch, result)

    def clear(self) -> None:
        """Forget the worst faces: their losses are other ones from now on."""
        self._worst.clear()

    def restart(self) -> None:
        """Training goes on from another iteration."""
        self.clear()
        self._last = None

    def _made(self) -> Batch:
        """A batch of the data, which is made on the device, too, and may find no room there."""
        while True:
            try:
                return self._data.next_batch()
            except Exception as error:
                if not is_out_of_memory(error) or self._model.pieces >= MOST_PIECES:
                    raise
            self._model.pieces *= 2  # the step then leaves more room
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._in_pieces()

"""Preview pictures on disk: ``previews/<iteration>/<view>.jpg``, thinned as they age."""

import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from recaster_tui.files import write_atomic
from recaster_tui.options import TrainingOptions
from recaster_tui.protocol import EventType, RunFolder
from recaster_tui.training.failures import describe, is_out_of_memory
from recaster_tui.training.journal import JournalWriter
from recaster_tui.training.models.base import PreviewView, TrainableModel
from recaster_tui.training.session import DataSource

SHARE = 0.1
"""Part of the time that unasked previews may take: a slow machine shows fewer."""

QUALITY = 92
KEEP_NEW = 20
KEEP_OLD = 100


class Previews:
    """Renders, writes, journals and thins the previews of one run.

    Attributes:
        shown: iteration of the last preview, or None.
    """

    def __init__(self, folder: RunFolder, journal: JournalWriter) -> None:
        self.shown: int | None = None
        self._folder = folder
        self._journal = journal
        self._last = time.monotonic()
        self._cost = 0.0

    def due(self, seconds: float) -> bool:
        """Whether it is time for one; 0 seconds means never unasked."""
        interval = max(seconds, self._cost / SHARE)
        return seconds > 0 and time.monotonic() - self._last >= interval

    def show(
        self, model: TrainableModel, data: DataSource, iteration: int, options: TrainingOptions
    ) -> bool:
        """Make one now; False, and a warning in the journal, when it cannot be made or written."""
        begun = time.monotonic()
        samples = options.preview_samples
        try:
            views = model.preview(data.preview_batch(samples), samples)
            described = write_previews(self._folder, iteration, views)
        except Exception as error:
            if not isinstance(error, OSError) and not is_out_of_memory(error):
                raise
            failure = describe(error)
            done = "written" if isinstance(error, OSError) else "made"
            hint = failure.hint if isinstance(error, OSError) else "fewer preview faces need less"
            self._journal.emit(
                EventType.WARNING,
                code=failure.code,
                message=f"the preview could not be {done}: {failure.message}",
                hint=hint,
            )
            return False
        finally:
            self._last = time.monotonic()
            self._cost = self._last - begun
        self.shown = iteration
        self._journal.emit(EventType.PREVIEW, iteration=iteration, views=described)
        thin_previews(self._folder)
        return True


def write_previews(
    folder: RunFolder, iteration: int, views: Sequence[PreviewView]
) -> list[dict[str, Any]]:
    """Write every view as a JPEG and return the ``views`` of the ``preview`` event.

    The files are complete when this returns. Raises ``OSError`` (a full disk).
    """
    target = folder.previews / f"{iteration:09d}"
    described = []
    for view in views:
        ok, jpeg = cv2.imencode(".jpg", view.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not ok:
            raise ValueError(f"the view {view.name} cannot be encoded: {view.image.shape}")
        path = target / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', view.name)}.jpg"
        write_atomic(path, jpeg.tobytes(), durable=False)
        described.append(
            {
                "view": view.name,
                "file": path.relative_to(folder.root).as_posix(),
                "columns": list(view.columns),
                "rows": view.rows,
            }
        )
    return described


def thin_previews(folder: RunFolder) -> list[Path]:
    """Remove what :func:`surplus` names; returns the removed folders."""
    if not folder.previews.is_dir():
        return []
    found = {int(p.name): p for p in folder.previews.iterdir() if p.name.isdigit()}
    gone = [found[iteration] for iteration in surplus(sorted(found))]
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    return gone


def surplus(iterations: Sequence[int]) -> list[int]:
    """Which of the ascending *iterations* to drop, so that the rest scrubs evenly through time.

    The newest ``KEEP_NEW`` stay. Of the older, the first in each bucket of iterations stays;
    the bucket is the smallest power of two that leaves at most ``KEEP_OLD``. Buckets nest as
    they grow, so repeated thinning keeps what a single one would have kept.
    """
    old = list(iterations[:-KEEP_NEW])
    if not old:
        return []
    bucket = 1
    while len({i // bucket for i in old}) > KEEP_OLD:
        bucket *= 2
    seen: set[int] = set()
    drop = []
    for iteration in old:
        if iteration // bucket in seen:
            drop.append(iteration)
        seen.add(iteration // bucket)
    return drop

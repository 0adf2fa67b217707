"""From facesets to batches: cache, selection, augmentation, prefetch (DESIGN section 6)."""

from recaster_tui.training.data.cache import FaceCache
from recaster_tui.training.data.source import DataSource, open_data

__all__ = ["DataSource", "FaceCache", "open_data"]

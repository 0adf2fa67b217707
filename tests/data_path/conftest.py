import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def goldens() -> Path:
    shared = Path(os.environ.get("RECASTER_SHARED", Path(__file__).parents[2].parent / "shared"))
    folder = shared / "goldens"
    if not folder.is_dir():
        pytest.skip(f"no goldens at {folder} (set RECASTER_SHARED)")
    return folder

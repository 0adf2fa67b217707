from pathlib import Path

import pytest
import torch
from interop_kit import goldens_root

torch.set_num_threads(1)


@pytest.fixture(params=["saehd_df-ud", "amp"])
def golden(request: pytest.FixtureRequest) -> Path:
    """A model folder written by the original."""
    folder = goldens_root() / "models" / request.param
    if not folder.is_dir():
        pytest.skip(f"no goldens at {folder}")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for side in ("src", "dst"):
        (tmp_path / "ws" / f"data_{side}" / "aligned").mkdir(parents=True)
    (tmp_path / "ws" / "model").mkdir()
    return tmp_path / "ws"

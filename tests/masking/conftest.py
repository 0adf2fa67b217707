import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches of the test's own, and one thread."""
    monkeypatch.setenv("RECASTER_HOME", str(tmp_path / "home"))
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def goldens() -> Path:
    shared = Path(os.environ.get("RECASTER_SHARED", Path(__file__).parents[3] / "shared"))
    if not (shared / "goldens").is_dir():
        pytest.skip(f"no golden data in {shared} (set RECASTER_SHARED)")
    return shared / "goldens"

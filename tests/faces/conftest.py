import os
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "data" / "faces"


@pytest.fixture(scope="session")
def data() -> Path:
    """Small goldens that travel with the tests."""
    return DATA


@pytest.fixture(scope="session")
def goldens() -> Path:
    """The full goldens, beside the checkout or where RECASTER_SHARED says."""
    shared = Path(os.environ.get("RECASTER_SHARED", Path(__file__).parents[3] / "shared"))
    if not (shared / "goldens").is_dir():
        pytest.skip(f"no golden data in {shared} (set RECASTER_SHARED)")
    return shared / "goldens"

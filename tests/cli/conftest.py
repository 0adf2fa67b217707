"""A workspace with faces, and ``recaster`` in processes with a home of its own."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cli_kit import FAKE, Recaster


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "ws"
    for side in ("src", "dst"):
        (root / f"data_{side}" / "aligned").mkdir(parents=True)
        (root / f"data_{side}" / "aligned" / "face.jpg").touch()
    return root


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "RECASTER_HOME": str(tmp_path / "home"), "FAKE_STEP": "0.005"}


@pytest.fixture
def recaster(tmp_path: Path, environment: dict[str, str]) -> Iterator[Recaster]:
    def call(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*FAKE, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            env={**environment, **more},
            stdin=subprocess.DEVNULL,
        )

    yield call
    for process in psutil.process_iter(["cmdline"]):
        if any(str(tmp_path) in word for word in process.info["cmdline"] or []):
            process.kill()

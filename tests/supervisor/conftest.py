from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from supervisor_kit import FAKE

from recaster_tui.supervisor import Supervisor
from recaster_tui.workspace import Workspace, open_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    for side in ("src", "dst"):
        faces = tmp_path / "ws" / f"data_{side}" / "aligned"
        faces.mkdir(parents=True)
        (faces / "face.jpg").touch()
    return open_workspace(tmp_path / "ws")


@pytest.fixture
async def supervisor(tmp_path: Path, workspace: Workspace) -> AsyncIterator[Supervisor]:
    async with Supervisor(tmp_path / "data", command=FAKE) as supervisor:
        yield supervisor
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(str(workspace.runs) in word for word in words):
            process.kill()

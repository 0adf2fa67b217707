"""The client of the automatic mask, against real processes."""

import asyncio
import sys
from pathlib import Path

import pytest

from recaster_tui.errors import EnvironmentProblem, RecasterError
from recaster_tui.ui.automask import AutoMask

SERVER = """
import json, os, sys
held = []
for line in sys.stdin:
    wish = json.loads(line)
    face = os.path.basename(wish["face"])
    if face == "die.jpg":
        sys.exit("error: out of memory")
    if face == "noise.jpg":
        print("loading…", flush=True); print('{"id": "x"}', flush=True)
    if face == "bad.jpg":
        answer = {"id": wish["id"], "error": "not a face", "hint": "extract it again"}
    elif face == "damaged.jpg":
        answer = {"id": wish["id"], "polygons": [{"include": True, "points": [["a", 1]]}]}
    else:
        number = float(wish["id"])
        answer = {"id": wish["id"], "polygons": [
            {"include": True, "points": [[number, 0], [9, 0], [9, 9]]}], "seconds": 0.1}
    held.append(json.dumps(answer))
    if face != "wait.jpg":  # answers may come in another order
        for text in reversed(held):
            print(text, flush=True)
        held = []
"""


@pytest.fixture
def command() -> list[str]:
    return [sys.executable, "-c", SERVER]


async def test_answers_find_their_wishes(command: list[str]) -> None:
    client = AutoMask(command)
    assert not client.running
    first = asyncio.create_task(client.polygons(Path("/wait.jpg")))
    while not client._open:
        await asyncio.sleep(0)
    second = await client.polygons(Path("/noise.jpg"))
    assert (await first)[0].points[0, 0] == 1 and second[0].points[0, 0] == 2
    assert second[0].include and client.running
    with pytest.raises(RecasterError, match="not a face") as told:
        await client.polygons(Path("/bad.jpg"))
    assert told.value.hint == "extract it again"
    with pytest.raises(RecasterError, match="damaged"):
        await client.polygons(Path("/damaged.jpg"))
    process = client._process
    await client.aclose()
    assert process is not None and process.returncode == 0 and not client.running


async def test_one_that_dies_is_told_and_started_anew(command: list[str]) -> None:
    client = AutoMask(command)
    with pytest.raises(EnvironmentProblem, match="out of memory"):
        await client.polygons(Path("/die.jpg"))
    assert await client.polygons(Path("/good.jpg"))
    await client.aclose()


async def test_one_that_is_not_there(tmp_path: Path) -> None:
    client = AutoMask([str(tmp_path / "nothing")])
    with pytest.raises(EnvironmentProblem, match="cannot be started"):
        await client.polygons(Path("/face.jpg"))
    await client.aclose()

"""The editor's server, as a real process."""

import json
import subprocess
import sys
from pathlib import Path

from masking_kit import BARE, DATA


def test_each_request_gets_one_answer_in_order(tmp_path: Path) -> None:
    pack = DATA / "faceset_person.pak"
    requests = [
        {"id": 7, "face": str(DATA / BARE)},
        {"id": 8, "face": str(tmp_path / "gone.jpg")},
        {"id": 9, "face": str(pack), "name": "nobody.jpg"},
        {"id": 10},
    ]
    lines = [json.dumps(r) for r in requests] + ["no json", "", json.dumps(requests[0])]
    done = subprocess.run(
        [sys.executable, "-m", "recaster_tui", "faces", "mask", "--serve", "--device", "cpu"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [a["id"] for a in answers] == [7, 8, 9, 10, None, 7]
    assert "polygons" in answers[0] and answers[0]["polygons"] == answers[5]["polygons"]
    assert all(a["error"] for a in answers[1:5])
    for polygon in answers[0]["polygons"]:
        assert isinstance(polygon["include"], bool)
        assert all(len(point) == 2 for point in polygon["points"])

"""``recaster faces``: every command as a user calls it, its JSON and its exit codes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recaster_tui.cli.entry import main
from recaster_tui.jobs import JobStatus, job_folder, read_job

DATA = Path(__file__).parents[1] / "data" / "faces"
NAMES = [f"0000{i}_0.jpg" for i in (1, 2, 3, 4)]


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RECASTER_HOME", str(tmp_path / "home"))
    root = tmp_path / "ws"
    folder = root / "data_src" / "aligned"
    folder.mkdir(parents=True)
    for name in NAMES:
        shutil.copyfile(DATA / f"aligned_{name}", folder / name)
    return root


@pytest.fixture
def faces(workspace, capsys):
    """Run ``recaster faces COMMAND ws src ARGUMENTS --json``; gives exit code and answer."""

    def run(command: str, *arguments: str) -> tuple[int, object]:
        code = main(["faces", command, str(workspace), "src", *arguments, "--json"])
        out = capsys.readouterr().out
        return code, json.loads(out) if out else None

    return run


def content(workspace: Path) -> dict[str, bytes]:
    folder = workspace / "data_src" / "aligned"
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_looking(workspace, faces):
    before = content(workspace)
    code, info = faces("info")
    assert code == 0
    assert (info["faces"], info["with_polygons"], info["with_mask"]) == (4, 2, 3)
    assert info["face_types"] == {"whole": 3, "head": 1}
    code, rows = faces("list", "--sort", "blur", "--filter", "masked")
    assert code == 0
    assert {row["name"] for row in rows} == {"00001_0.jpg", "00002_0.jpg", "00004_0.jpg"}
    assert all(isinstance(row["yaw"], float) and row["size"] == 128 for row in rows)
    assert content(workspace) == before


def test_sorting_shows_then_applies_then_is_undone(workspace, faces):
    before = content(workspace)
    code, shown = faces("sort", "--by", "brightness")
    assert (code, shown["applied"], shown["edits"]) == (0, False, [])
    assert content(workspace) == before
    _, rows = faces("list", "--sort", "sort_brightness")
    assert [row["name"] for row in rows] == shown["order"]
    code, done = faces("sort", "--by", "brightness", "--apply")
    assert code == 0
    after = content(workspace)
    assert [after[f"{i:05}.jpg"] for i in range(4)] == [before[name] for name in done["order"]]
    _, names = faces("recover-names")
    assert not names["applied"]
    assert len(names["renamed"]) == 4
    _, undone = faces("undo")
    assert "sorted by brightness" in undone["did"]
    assert content(workspace) == before
    _, history = faces("history")
    assert [edit["undone"] for edit in history] == [True]
    _, redone = faces("redo")
    assert "sorted by brightness" in redone["did"]
    assert content(workspace) == after
    assert faces("undo")[0] == 0
    assert faces("undo") == (0, {"did": None})


def test_the_trash(workspace, faces):
    before = content(workspace)
    _, shown = faces("trash", "--filter", "labelled")
    assert (shown["names"], shown["applied"]) == (["00001_0.jpg", "00004_0.jpg"], False)
    assert content(workspace) == before
    _, done = faces("trash", "--filter", "labelled", "--apply")
    assert done["edit"]["count"] == 2
    _, one = faces("trash", "00002_0.jpg")
    assert one["applied"]
    assert list(content(workspace)) == ["00003_0.jpg"]
    _, listed = faces("restore")
    assert listed["trashed"] == ["00001_0.jpg", "00002_0.jpg", "00004_0.jpg"]
    _, after = faces("restore", "--all")
    assert after["trashed"] == []
    assert content(workspace) == before
    for arguments in ([], ["nothing.jpg"], ["00001_0.jpg", "--filter", "labelled"]):
        assert faces("trash", *arguments)[0] == 2
    assert faces("restore", "nothing.jpg")[0] == 2


def test_converting(workspace, faces, tmp_path):
    before = content(workspace)
    assert faces("save-metadata")[1]["done"] == 4
    assert faces("restore-metadata")[1]["done"] == 4
    assert faces("undo")[0] == 0
    assert content(workspace) == before
    _, packed = faces("pack", "--move-originals")
    assert packed["done"] == 4
    assert list(content(workspace)) == ["faceset.pak"]
    assert faces("info")[1]["pack"].endswith("faceset.pak")
    code, trashed = faces("trash", "00003_0.jpg")
    assert code == 0
    assert trashed["edit"]["count"] == 1
    assert faces("info")[1]["faces"] == 3
    assert faces("undo")[0] == 0
    assert faces("unpack")[1]["done"] == 4
    assert content(workspace) == before
    _, resized = faces("resize", "--size", "96", "--face-type", "full", "--to", str(tmp_path / "r"))
    assert (resized["done"], resized["made"]) == (4, str(tmp_path / "r"))
    assert faces("debug-images")[1]["done"] == 4
    assert faces("export-masks")[1]["done"] == 3
    assert content(workspace) == before


def test_bad_input(workspace, faces, capsys):
    folder = workspace / "data_src" / "aligned"
    assert faces("sort", "--by", "beauty")[0] == 2
    assert faces("list", "--filter", "yaw>>3")[0] == 2
    assert faces("resize", "--size", "7")[0] == 2
    assert faces("restore-metadata")[0] == 2
    assert faces("unpack")[0] == 2
    assert main(["faces", "info", str(workspace), "dst"]) == 2
    assert main(["faces", "info", str(workspace / "none"), "src"]) == 2
    for name, commands in {
        "meta.dat": ["restore-metadata"],
        "faceset.pak": ["info", "list", "sort", "unpack", "resize", "trash"],
    }.items():
        bomb = b"\x80\x03cposix\nsystem\nX\x02\x00\x00\x00ls\x85R."
        (folder / name).write_bytes(bomb)
        before = content(workspace)
        for command in commands:
            arguments = ["x.jpg"] if command == "trash" else []
            capsys.readouterr()
            assert main(["faces", command, str(workspace), "src", *arguments]) == 4
            said = capsys.readouterr().err
            assert name in said
            assert "Traceback" not in said
            assert content(workspace) == before
        (folder / name).unlink()


def test_as_a_job(workspace):
    """What the screen starts: its own process, progress in the job's folder, the order kept."""
    folder = job_folder(workspace, "sort", "src")
    command = ["faces", "sort", str(workspace), "src", "--by", "hist", "--job", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "recaster_tui", *command], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    state = read_job(workspace, "sort", "src")
    assert state is not None
    assert state.status is JobStatus.DONE
    order = json.loads((folder / "order.json").read_text())
    assert sorted(order["order"]) == NAMES
    assert sorted(content(workspace)) == NAMES


def test_answers_for_people(workspace, capsys):
    for command in ("info", "list", "sort", "recover-names", "history", "restore", "undo"):
        assert main(["faces", command, str(workspace), "src"]) == 0
        assert capsys.readouterr().out.strip()
    assert main(["faces", "sort", str(workspace), "src", "--by", "final", "--target", "2"]) == 0
    said = capsys.readouterr().out
    assert "--apply renames the files and moves" in said
    assert "not among the best" in said

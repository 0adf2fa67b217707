"""``recaster model`` in processes: what it prints, exit codes, hostile and damaged files."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interop_kit import hostile_pickles, old_loads, plain_model, saehd

from recaster_tui.cli import main
from recaster_tui.interop.dfl_convert import to_dfl_model
from recaster_tui.interop.dfl_folder import dfl_entry
from recaster_tui.interop.dfl_write import write_model
from recaster_tui.interop.remarks import Remarks
from recaster_tui.options import ModelClass

ROOT = Path(__file__).parents[2]
Recaster = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def recaster(tmp_path: Path) -> Recaster:
    def call(*arguments: object, code: str | None = None) -> subprocess.CompletedProcess[str]:
        head = ["-c", code] if code else ["-m", "recaster_tui", "model"]
        return subprocess.run(
            [sys.executable, *head, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            env={
                **os.environ, "RECASTER_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT),
                "OMP_NUM_THREADS": "1",
            },
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return call


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The same without the second that a process takes to import torch."""
    monkeypatch.setenv("RECASTER_HOME", "/nonexistent")

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["model", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def dfl(workspace: Path) -> Path:
    """A small SAEHD of DFL in the workspace; returns its folder."""
    plain = plain_model(saehd(), leave=("dis", "D_src"))
    plain.origin.sample_for_preview = [[np.ones((1, 2, 2, 3), np.float32)] * 2, []]
    entry = dfl_entry(workspace / "model", "old", ModelClass.SAEHD)
    write_model(entry, to_dfl_model(plain, "old", Remarks()))
    return entry.folder


def test_there_and_back_with_all_commands(
    recaster: Recaster, inside: Any, workspace: Path, dfl: Path
) -> None:
    before = {p.name: p.read_bytes() for p in dfl.iterdir()}
    done = recaster("import-dfl", workspace, "--name", "mine")
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "imported old_SAEHD as mine.saehd: iteration 3" in done.stdout
    assert {p.name: p.read_bytes() for p in dfl.iterdir() if p.is_file()} == before
    listed = json.loads(recaster("list", workspace, "--json").stdout)
    assert [(m["label"], m["format"], m["iteration"]) for m in listed] == [
        ("mine.saehd", "recaster", 3), ("old_SAEHD", "DeepFaceLab", 3),
    ]  # fmt: skip
    infos = [json.loads(inside("info", workspace, m["name"], "--json")[1]) for m in listed]
    assert infos[0]["parameters"] == dict(sorted(infos[1]["parameters"].items()))
    assert infos[0]["last_losses"] == pytest.approx(infos[1]["last_losses"])
    assert infos[0]["options"]["encoder_dims"] == infos[1]["options"]["e_dims"] == 16
    reports = json.loads(inside("verify", workspace, "--json")[1])
    assert [r["ok"] for r in reports] == [True, True]
    # A second import, an export over DFL's own files: refused, nothing changed.
    for arguments in (
        ("import-dfl", workspace, "--name", "mine"),
        ("export-dfl", workspace, "mine", "--name", "old"),
        ("info", workspace, "nobody"),
        ("import-dfl", workspace, "--name", "a/b"),
        ("import-dfl", workspace, "--from", workspace / "nowhere"),
        ("list", workspace / "nowhere"),
    ):
        code, _, said = inside(*arguments)
        assert code == 2 and "hint:" in said, said
    assert {p.name: p.read_bytes() for p in dfl.iterdir() if p.is_file()} == before
    arguments = ("export-dfl", workspace, "mine", "--name", "old", "--overwrite", "--json")
    said = json.loads(inside(*arguments)[1])
    assert said["found"] == [] and Path(said["replaced"]).is_dir()
    for name, raw in before.items():
        now = (dfl / name).read_bytes()
        assert now == raw or pickle.dumps(old_loads(now)) == pickle.dumps(old_loads(raw)), name
    # What the import wrote for the trainer is a config that fits the model.
    from recaster_tui.options import load_config

    config = load_config(workspace / "model" / "mine.saehd" / "config.toml")
    assert config.options.encoder_dims == 16 and config.options.architecture == "df-ud"


def test_dfm_from_the_command_line(inside: Any, workspace: Path, dfl: Path) -> None:
    pytest.importorskip("onnxruntime")
    code, said, _ = inside("export-dfm", workspace, "old")
    path = dfl / "old_SAEHD_model.dfm"
    assert code == 0 and str(path) in said and "differs from the model by at most" in said
    raw = path.read_bytes()
    assert inside("export-dfm", workspace, "old")[0] == 2
    assert path.read_bytes() == raw


def test_a_place_that_cannot_be_written(inside: Any, workspace: Path, dfl: Path) -> None:
    assert inside("import-dfl", workspace)[0] == 0
    (workspace / "file").touch()
    code, _, said = inside("export-dfl", workspace, "old.saehd", "--to", workspace / "file" / "x")
    assert code == 3 and "Not a directory" in said, said


def test_damage_of_ours_is_found(inside: Any, workspace: Path, dfl: Path) -> None:
    assert inside("import-dfl", workspace)[0] == 0
    weights = next((workspace / "model").glob("old.saehd/generations/*/weights.safetensors"))
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    code, said, _ = inside("verify", workspace, "old.saehd")
    assert code == 4 and "does not match its hash" in said
    code, _, said = inside("export-dfl", workspace, "old.saehd", "--to", workspace / "out")
    assert code == 4 and "no saved generation" in said and not (workspace / "out").exists()
    (workspace / "model/old.saehd/CURRENT").write_text("../../x")
    code, said, _ = inside("list", workspace)
    assert code == 4 and "CURRENT names no save" in said and "old_SAEHD" in said


POSITIONS = ("data.dat", "encoder.npy", "src_dst_opt.npy", "default_options.dat")
EVERY_CASE = """
import contextlib, io, json, pathlib, sys
from recaster_tui.cli import main
path, cases, result = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), {}
for case in sorted(cases.iterdir()):
    path.write_bytes(case.read_bytes())
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        result[case.name] = main(sys.argv[3:]), said.getvalue()
print(json.dumps(result))
"""


@pytest.mark.parametrize("position", POSITIONS)
def test_hostile_files_are_refused_everywhere(
    recaster: Recaster, workspace: Path, dfl: Path, tmp_path: Path, position: str
) -> None:
    name = (
        "SAEHD_default_options.dat" if position.startswith("default") else f"old_SAEHD_{position}"
    )
    path = dfl / name
    whole = path.read_bytes()
    marker = tmp_path / "harm"
    cases = hostile_pickles(marker) | {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"no pickle at all",
        "list": pickle.dumps([1, 2]),
        "array": pickle.dumps({"iter": np.zeros(3), "dense1/weight:0": "text", "options": 1}, 4),
    }
    folder = tmp_path / "cases"
    folder.mkdir()
    for case, raw in cases.items():
        (folder / case).write_bytes(raw)
    done = recaster(path, folder, "model", "import-dfl", workspace, code=EVERY_CASE)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert len(results) == 15
    if position.startswith("default"):
        # There, a table with any content is as good as none.
        code, _ = results.pop("array")
        assert code in (0, 4)
    for case, (code, said) in results.items():
        assert code == 4 and name in said and "Traceback" not in said, (case, code, said)
    assert not marker.exists()
    # One of them in a process of its own, through every command that opens it.
    path.write_bytes(cases["os.system"])
    for command in ("import-dfl", "verify", "info") if position == "data.dat" else ("verify",):
        done = recaster(command, workspace)
        text = done.stdout + done.stderr
        assert done.returncode == 4 and "posix.system" in text and "Traceback" not in text
    assert not marker.exists()
    assert not list(workspace.glob("model/*.saehd/CURRENT"))

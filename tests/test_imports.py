"""The rooms keep to themselves (DESIGN 2): by their imports, and by what a process loads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "textual", "numpy", "cv2", "pydantic", "asyncssh", "psutil")


def loaded_by(statement: str, arguments: tuple[str, ...] = ()) -> set[str]:
    """Top-level modules in a fresh interpreter after *statement*."""
    script = (
        "import sys, json, contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    {statement}\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True, text=True, timeout=120, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_import_contract() -> None:
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [(), ("--help",), ("train", "--help"), ("--version",)])
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    statement = "import recaster_tui.cli"
    if arguments:
        statement += "; recaster_tui.cli.main()"
    assert not loaded_by(statement, arguments) & set(HEAVY)


@pytest.mark.parametrize(
    ("room", "never"),
    [
        ("supervisor", {"torch", "textual"}),
        ("protocol", {"torch", "textual", "cv2"}),
        ("options", {"torch", "textual", "cv2", "asyncssh", "numpy"}),
        ("faces", {"torch", "textual", "asyncssh"}),
        ("demo", {"torch", "textual"}),
        ("ui.app", {"torch"}),
        ("nets", {"textual", "cv2", "pydantic"}),
        ("training", {"textual", "asyncssh"}),
    ],
)
def test_what_a_room_loads(room: str, never: set[str]) -> None:
    assert not loaded_by(f"import recaster_tui.{room}") & never

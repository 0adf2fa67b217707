"""The terminal probe against scripted terminals on real PTYs."""

import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest

from recaster_tui.errors import EnvironmentProblem, ExitCode
from recaster_tui.ui import terminal
from recaster_tui.ui.terminal import Images, TerminalInfo, apply_environment, probe
from recaster_tui.ui.terminal_replies import QUERY, parse_replies

XTERM = (
    b"\x1bP>|XTerm(379)\x1b\\"
    b"\x1bP1$r0;48:2::1:2:3m\x1b\\"
    b"\x1b[?2026;0$y\x1b[6;18;9t\x1b[4;720;1080t"
    b"\x1b[?64;1;2;4;6;9;15;22c"
)
KITTY = (
    b"\x1bP>|kitty(0.42.0)\x1b\\\x1bP1$r48:2:1:2:3m\x1b\\\x1b_Gi=31;OK\x1b\\"
    b"\x1b[?2026;2$y\x1b[6;20;10t\x1b[4;800;1200t\x1b[?62;52c"
)
MLTERM = b"\x1bP1$r0;48;5;16m\x1b\\\x1b[?63;1;2;3;4;7;29c"
TMUX = b"\x1bP>|tmux 3.3a\x1b\\\x1b[?1;2c"
PLAIN = {"TERM": "xterm-256color"}


class FakeTerminal(threading.Thread):
    """Answers the query on a PTY's far end, after *delay* seconds, in *pieces*."""

    def __init__(self, master: int, pieces: list[bytes], delay: float) -> None:
        super().__init__(daemon=True)
        self.master, self.pieces, self.delay = master, pieces, delay
        self.seen = b""

    def run(self) -> None:
        while QUERY not in self.seen:
            try:
                self.seen += os.read(self.master, 4096)
            except OSError:  # hung up without a question
                return
        for piece in self.pieces:
            time.sleep(self.delay)  # the far end of a slow line
            os.write(self.master, piece)


@contextmanager
def scripted(
    *pieces: bytes, delay: float = 0.0, typed: bytes = b"", pixels: tuple[int, int] = (0, 0)
) -> Iterator[tuple[str, int, FakeTerminal]]:
    """A PTY of 120 x 40 whose far end answers with *pieces*; yields (tty, slave fd, terminal)."""
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, *pixels))
    fake = FakeTerminal(master, list(pieces), delay)
    raw = termios.tcgetattr(slave)
    raw[3] &= ~termios.ICANON  # as after a shell's line editor
    termios.tcsetattr(slave, termios.TCSANOW, raw)
    if typed:
        os.write(master, typed)
    fake.start()
    try:
        yield os.ttyname(slave), slave, fake
    finally:
        os.close(slave)
        fake.join(10)
        os.close(master)


def ask(
    *pieces: bytes, env: dict[str, str] | None = None, images: str = "auto", **more: Any
) -> TerminalInfo:
    with scripted(*pieces, **more) as (tty, slave, _):
        before = termios.tcgetattr(slave)
        info = probe(tty=tty, environ=PLAIN if env is None else env, images=images, deadline=5.0)
        assert termios.tcgetattr(slave) == before, "the terminal's settings are as they were"
        assert not select.select([slave], [], [], 0)[0], "no answer is left to become keys"
    return info


def test_xterm_shows_more_than_it_claims() -> None:
    info = ask(XTERM)
    assert info.name == "XTerm(379)"
    assert info.truecolor and info.sixel and not info.kitty and not info.sync
    assert info.cell == (9, 18)
    assert info.probed and "probe" not in info.why
    assert info.why["kitty"] == "the terminal does not offer it"


def test_kitty() -> None:
    info = ask(KITTY)
    assert info.kitty and info.sync and info.truecolor and not info.sixel
    assert info.cell == (10, 20)


def test_a_palette_terminal_is_not_believed() -> None:
    info = ask(MLTERM)
    assert info.colors == "256"
    assert "changed a 24-bit colour" in info.why["truecolor"]
    assert info.sixel


@pytest.mark.parametrize("delay", [0.15, 0.3])
def test_answers_that_come_late_and_in_pieces(delay: float) -> None:
    cut = len(XTERM) - 9
    info = ask(XTERM[:20], XTERM[20:cut], XTERM[cut:], delay=delay)
    assert (info.name, info.sixel, info.cell) == ("XTerm(379)", True, (9, 18))
    assert info.seconds >= 3 * delay


def test_keys_typed_before_are_kept_apart() -> None:
    info = ask(XTERM, typed=b"q\x1b[A3")
    assert info.typed == b"q\x1b[A3"
    assert info.sixel and info.truecolor
    assert ask(XTERM + b"x").typed == b"x"
    assert ask(XTERM).typed == b""


def test_a_silent_terminal_costs_the_deadline_only() -> None:
    with scripted() as (tty, slave, _):
        info = probe(tty=tty, environ=PLAIN, deadline=0.2)
        assert termios.tcgetattr(slave)[3] & termios.ECHO
    assert not info.probed
    assert 0.2 <= info.seconds < 3
    assert "no answer within 0.2 s" in info.why["probe"]
    assert info.colors == "256" and info.images is Images.HALF


def test_torn_answers_are_not_keys() -> None:
    with scripted(b"x\x1bP>|XTerm(379)\x1b\\\x1b[?64;1;2") as (tty, _, _fake):
        info = probe(tty=tty, environ=PLAIN, deadline=0.2)
    assert (info.name, info.typed, info.probed) == ("XTerm(379)", b"x", False)


def test_the_window_tells_the_cell_when_the_terminal_does_not() -> None:
    assert ask(b"\x1b[?62c", pixels=(960, 640)).cell == (8, 16)
    assert ask(b"\x1b[4;800;1200t\x1b[?62c").cell == (10, 20)
    info = ask(b"\x1b[?62c")
    assert info.cell is None and info.why["cell"]


@pytest.mark.parametrize("env", [{"TMUX": "/tmp/x,1,0", "PATH": ""}, {"STY": "1.pts"}, {}])
def test_inside_tmux_pictures_are_half_blocks(env: dict[str, str]) -> None:
    base = {"TERM": "screen-256color"}
    info = ask(TMUX, env=base | env, images="sixel")
    assert info.in_tmux and info.images is Images.HALF
    assert "tmux" in info.why["images"]
    assert info.colors == "256" and info.cell is None


def test_tmux_is_asked_for_its_terminals_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "tmux"
    fake.write_text('#!/bin/sh\n[ "$1" = display ] && echo "256,RGB,title"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    env = {"TERM": "tmux-256color", "TMUX": "/tmp/s,1,0"}
    assert ask(TMUX, env=env).truecolor
    fake.write_text('#!/bin/sh\necho "256,title"\n')
    info = ask(TMUX, env=env)
    assert info.colors == "256" and "terminal-features" in info.why["truecolor"]


@pytest.mark.parametrize(
    ("env", "colors"),
    [
        ({"TERM": "xterm"}, "16"),
        ({"TERM": "xterm-256color"}, "256"),
        ({"TERM": "xterm-kitty"}, "truecolor"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "truecolor"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "truecolor"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, "256"),
        ({"TERM": "linux"}, "16"),
        ({}, "16"),
    ],
)
def test_without_asking_the_environment_decides(env: dict[str, str], colors: str) -> None:
    info = probe(ask=False, environ=env, tty="/does/not/exist")
    assert info.colors == colors and not info.probed
    assert (colors == "truecolor") == ("truecolor" not in info.why)
    assert info.images is Images.HALF


def test_no_terminal_at_all_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for tty in (tmp_path / "none", tmp_path / "file", tmp_path):
        info = probe(tty=tty, environ=PLAIN)
        assert "cannot ask the terminal" in info.why["probe"]
    assert not probe(tty=tmp_path / "none", environ={"TERM": "linux"}).probed


def test_the_wish_for_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = {"SSH_CONNECTION": "1 2 3 4"}
    monkeypatch.setattr(terminal, "_missing_library", lambda: None)
    assert ask(XTERM).images is Images.SIXEL
    assert ask(KITTY).images is Images.KITTY
    assert ask(XTERM, images="off").images is Images.OFF
    assert ask(XTERM, images="half").images is Images.HALF
    over = ask(XTERM, env=PLAIN | ssh)
    assert over.images is Images.HALF and "SSH" in over.why["images"]
    assert ask(XTERM, env=PLAIN | ssh, images="sixel").images is Images.SIXEL
    forced = probe(ask=False, environ=PLAIN, images="kitty")
    assert forced.images is Images.KITTY
    with pytest.raises(ValueError, match="ascii"):
        probe(ask=False, environ=PLAIN, images="ascii")
    monkeypatch.setattr(terminal, "_missing_library", lambda: "no textual-image")
    assert ask(XTERM).why["images"] == "no textual-image"


def test_what_textual_is_told() -> None:
    environ = {"TEXTUAL_CELL_WIDTH": "7"}
    apply_environment(ask(XTERM, env=PLAIN | {"SSH_TTY": "/dev/pts/1"}), environ)
    assert environ == {
        "COLORTERM": "truecolor",
        "TEXTUAL_COLOR_SYSTEM": "truecolor",
        "TEXTUAL_CELL_WIDTH": "7",  # the user's own stays
        "TEXTUAL_CELL_HEIGHT": "18",
        "TEXTUAL_ANIMATIONS": "none",
        "TEXTUAL_SMOOTH_SCROLL": "0",
    }
    environ = {}
    apply_environment(probe(ask=False, environ={"TERM": "xterm"}), environ)
    assert environ == {"TEXTUAL_COLOR_SYSTEM": "standard"}


def test_replies_in_any_order_and_of_nonsense() -> None:
    parts = XTERM.split(b"\x1b[?2026;0$y")
    assert parse_replies(parts[1] + b"\x1b[?2026;1$y" + parts[0]).sync
    assert parse_replies(b"\x1b[6;0;0t\x1b[?c").cell is None
    assert parse_replies(b"\x1b_Gi=31;ENOENT:no\x1b\\").kitty is False
    assert parse_replies(b"\x1b").typed == b"\x1b"


# ---- as a program of its own, with a controlling terminal -------------------------------------

_PROGRAM = """
import json, os, sys
from recaster_tui.ui import terminal
out = {}
try:
    terminal.require_terminal()
    info = terminal.probe(deadline=5.0)
    out = {"name": info.name, "sixel": info.sixel, "typed": info.typed.decode()}
except terminal.EnvironmentProblem as error:
    out = {"problem": str(error), "code": int(error.exit_code)}
out["textual"] = "textual" in sys.modules
with open(sys.argv[1], "w") as file:
    json.dump(out, file)
"""


def run_program(
    tmp_path: Path,
    *,
    term: str = "xterm-256color",
    size: tuple[int, int] = (40, 120),
    redirect: str | None = None,
) -> dict[str, Any]:
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    fake = FakeTerminal(master, [XTERM], 0.0)
    fake.start()

    def take_terminal() -> None:
        os.setsid()
        ioctl(slave, termios.TIOCSCTTY, 0)

    streams: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": slave}
    if redirect:
        streams[redirect] = subprocess.DEVNULL
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "TMUX", "STY")}
    target = tmp_path / "out.json"
    subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(target)],
        env=env | {"TERM": term},
        preexec_fn=take_terminal,
        timeout=60,
        check=True,
        **streams,
    )
    assert not select.select([slave], [], [], 0)[0], "nothing is left for the shell"
    os.close(slave)
    fake.join(10)
    os.close(master)
    result: dict[str, Any] = json.loads(target.read_text())
    return result


def test_a_program_on_its_own_terminal(tmp_path: Path) -> None:
    assert run_program(tmp_path) == {
        "name": "XTerm(379)",
        "sixel": True,
        "typed": "",
        "textual": False,
    }


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"redirect": "stdin"}, "needs a terminal, and standard input is not one"),
        ({"redirect": "stderr"}, "standard error is not one"),
        ({"term": "dumb"}, 'TERM is "dumb"'),
        ({"size": (0, 0)}, "says that it is 0 x 0 characters"),
    ],
)
def test_no_screen_is_said_plainly(tmp_path: Path, how: dict[str, Any], message: str) -> None:
    result = run_program(tmp_path, **how)
    assert message in result["problem"] and "hint:" in result["problem"]
    assert result["code"] == ExitCode.ENVIRONMENT


def test_under_pytest_there_is_no_terminal() -> None:
    if all(os.isatty(fd) for fd in (0, 1, 2)):
        pytest.skip("run by hand in a terminal, uncaptured")
    with pytest.raises(EnvironmentProblem, match="needs a terminal"):
        terminal.require_terminal({"TERM": "xterm"})

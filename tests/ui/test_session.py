"""The program on a real pseudo-terminal: it starts, obeys, and gives the terminal back."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte
import pytest
from scripted import make_workspace

PROGRAM = """
import sys
from pathlib import Path
from recaster_tui.ui.run import run_app
sys.exit(run_app(Path(sys.argv[1]), probe=False))
"""
CRASHING = """
import sys
from recaster_tui.cli import main
from recaster_tui.ui.app import RecasterApp

def action_repaint(self):
    raise ZeroDivisionError("on purpose")

RecasterApp.action_repaint = action_repaint
sys.exit(main([sys.argv[1], "--no-probe"]))
"""
NOISY = """
import os, sys
from recaster_tui.cli import main
from recaster_tui.ui.app import RecasterApp

def action_repaint(self):
    os.write(2, b"Corrupt JPEG data")  # as libjpeg does
    self.notify("written")

RecasterApp.action_repaint = action_repaint
sys.exit(main([sys.argv[1], "--no-probe"]))
"""
PATIENCE = 60.0


class Session:
    """A child on a pty, its screen kept by pyte."""

    def __init__(
        self, folder: Path, columns: int = 100, rows: int = 30, program: str = PROGRAM
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            size = struct.pack("HHHH", rows, columns, 0, 0)
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
            # pytest-xdist sets the size in its workers, which would outdo the terminal.
            for name in ("TMUX", "COLUMNS", "LINES"):
                environment.pop(name, None)
            os.execve(sys.executable, [sys.executable, "-c", program, str(folder)], environment)

    def read(self) -> bool:
        """Take in what comes; False at the end."""
        if not select.select([self.fd], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.raw += data
        self.stream.feed(data.replace(b"\x1b[>", b"\x1b[?"))  # pyte knows no private modes of kitty
        return bool(data)

    def until(self, condition: Callable[[str], bool]) -> str:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            text = "\n".join(self.screen.display)
            if condition(text):
                return text
            assert self.read(), "the app ended:\n" + text
        raise AssertionError("waited in vain; the screen shows:\n" + "\n".join(self.screen.display))

    def send(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def finish(self) -> int:
        while self.read():
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def assert_given_back(raw: bytes) -> None:
    assert raw.rfind(b"\x1b[?1049l") > raw.rfind(b"\x1b[?1049h")  # the main screen again
    assert raw.rfind(b"\x1b[?25h") > raw.rfind(b"\x1b[?25l")  # the cursor again
    assert raw.rfind(b"\x1b[?1000l") > raw.rfind(b"\x1b[?1000h")  # no mouse reports any more


@pytest.fixture
def session(tmp_path: Path) -> Session:
    session = Session(make_workspace(tmp_path / "demo").root)
    session.until(lambda text: "Configuration" in text and "Start" in text)
    return session


def test_keys_and_leaving(session: Session) -> None:
    session.send("?")
    session.until(lambda text: "Keys: Train" in text)
    session.send("q")
    session.until(lambda text: "Keys: Train" not in text)
    session.send("q")
    assert session.finish() == 0
    assert_given_back(session.raw)


def test_a_bug_ends_in_one_message_and_the_log(tmp_path: Path, home: Path) -> None:
    session = Session(make_workspace(tmp_path / "demo").root, program=CRASHING)
    session.until(lambda text: "Configuration" in text and "Start" in text)
    session.send("\x0c")
    assert session.finish() == 1
    assert_given_back(session.raw)
    said = session.raw[session.raw.rfind(b"\x1b[?1049l") :].decode()
    assert "error: unexpected ZeroDivisionError: on purpose" in said
    assert "Traceback" not in said and "locals" not in said
    logs = list(home.rglob("recaster.log"))
    assert [str(log) in said for log in logs] == [True]
    assert "in action_repaint" in logs[0].read_text()


def test_libraries_do_not_write_on_the_screen(tmp_path: Path, home: Path) -> None:
    session = Session(make_workspace(tmp_path / "demo").root, program=NOISY)
    session.until(lambda text: "Configuration" in text and "Start" in text)
    session.send("\x0c")
    session.until(lambda text: "written" in text)
    session.send("q")
    assert session.finish() == 0
    assert_given_back(session.raw)
    assert b"Corrupt" not in session.raw
    assert [log.read_text() for log in home.rglob("stderr.log")] == ["Corrupt JPEG data"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_give_the_terminal_back(session: Session, number: signal.Signals) -> None:
    os.kill(session.pid, number)
    assert session.finish() == 128 + number
    assert_given_back(session.raw)


def test_a_terminal_that_is_gone_takes_the_app_with_it(session: Session) -> None:
    os.close(session.fd)  # as when the terminal window or the tmux server is killed
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        pid, status = os.waitpid(session.pid, os.WNOHANG)
        if pid:
            assert os.waitstatus_to_exitcode(status) in (129, -signal.SIGHUP)
            return
        time.sleep(0.05)
    os.kill(session.pid, signal.SIGKILL)
    raise AssertionError("the app outlived its terminal")


def test_resizing(session: Session) -> None:
    session.screen.resize(24, 70)
    fcntl.ioctl(session.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 70, 0, 0))
    os.kill(session.pid, signal.SIGWINCH)
    session.until(lambda text: text.splitlines()[-1].rstrip().endswith("quit"))
    session.send("q")
    assert session.finish() == 0

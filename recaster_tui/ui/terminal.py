"""What this terminal can do, found out before Textual starts (spec/terminal.md 5.3, 5.4).

Nothing here imports Textual: its constants read the environment at import, and that is where
:func:`apply_environment` puts the answers.
"""

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Literal

from recaster_tui.errors import EnvironmentProblem
from recaster_tui.ui.terminal_replies import QUERY, Replies, complete, parse_replies

DEADLINE = 1.0
"""Seconds to wait for a terminal. Once it has begun to answer it gets half as long again."""

Colors = Literal["truecolor", "256", "16"]

# Terminals known to do 24-bit colour, by the start of their XTVERSION or TERM_PROGRAM.
_TRUECOLOR_NAMES = (
    *("kitty", "foot", "wezterm", "ghostty", "iterm", "konsole", "contour", "alacritty"),
    *("vscode", "rio", "warp", "mintty", "tabby", "hyper"),
)


class Images(StrEnum):
    """How pictures are shown; ``auto`` only as a wish."""

    AUTO = "auto"
    OFF = "off"
    HALF = "half"
    SIXEL = "sixel"
    KITTY = "kitty"


@dataclass(frozen=True)
class TerminalInfo:
    """What a terminal can do, and why not more.

    Attributes:
        name: what it calls itself, else ``$TERM_PROGRAM`` or ``$TERM``.
        colors: how many colours it shows.
        sixel: whether it says that it draws sixel pictures.
        kitty: whether it says that it draws by kitty's protocol.
        sync: whether it can hold back a half-drawn frame.
        cell: (width, height) of a character cell in pixels, None when unknown.
        in_tmux: inside tmux or screen.
        over_ssh: the program runs at the far end of an SSH connection.
        images: how to show pictures, decided; never ``auto``.
        probed: whether the terminal was asked and answered.
        seconds: how long that took.
        why: for each thing that is not there or was not chosen (``truecolor``, ``sixel``,
            ``kitty``, ``cell``, ``images``, ``probe``), the reason.
        typed: keys pressed before and during the probe; without answers or parts of them.
    """

    name: str
    colors: Colors
    sixel: bool
    kitty: bool
    sync: bool
    cell: tuple[int, int] | None
    in_tmux: bool
    over_ssh: bool
    images: Images
    probed: bool
    seconds: float = 0.0
    why: dict[str, str] = field(default_factory=dict)
    typed: bytes = b""

    @property
    def truecolor(self) -> bool:
        """Whether it shows 24-bit colour."""
        return self.colors == "truecolor"


def require_terminal(environ: Mapping[str, str] = os.environ) -> None:
    """Refuse to start a screen where there is none.

    Raises:
        EnvironmentProblem: stdin, stdout or stderr is not a terminal (Textual draws on
            stderr), ``TERM`` says it cannot be drawn on, or the window has no size.
    """
    hint = "the commands need no screen: see recaster --help"
    streams = [(0, "standard input"), (1, "standard output"), (2, "standard error")]
    missing = [name for fd, name in streams if not os.isatty(fd)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise EnvironmentProblem(
            f"the app needs a terminal, and {' and '.join(missing)} {verb} not one",
            hint=f"do not redirect it; over ssh use ssh -t; {hint}",
        )
    term = environ.get("TERM", "")
    if term in ("", "dumb", "unknown"):
        raise EnvironmentProblem(
            f'TERM is "{term}": this terminal cannot be drawn on' if term else "TERM is not set",
            hint=f"if that is wrong: export TERM=xterm-256color; {hint}",
        )
    size = os.get_terminal_size(1)
    if 0 in size and not _size_in_environment(environ):
        raise EnvironmentProblem(
            f"the terminal says that it is {size.columns} x {size.lines} characters",
            hint="set its size: stty cols 120 rows 40",
        )


def _size_in_environment(environ: Mapping[str, str]) -> bool:
    """``COLUMNS`` and ``LINES``, which Textual heeds."""
    values = [environ.get("COLUMNS", ""), environ.get("LINES", "")]
    return all(value.isdigit() and int(value) > 0 for value in values)


def probe(
    *,
    images: Images | str = Images.AUTO,
    ask: bool = True,
    environ: Mapping[str, str] = os.environ,
    tty: Path | str = "/dev/tty",
    deadline: float = DEADLINE,
) -> TerminalInfo:
    """Find out what the terminal can do; never fails and never leaves answers unread.

    Args:
        images: the user's ``--images``.
        ask: False for ``--no-probe``: look at the environment only.
        environ: environment to look at.
        tty: terminal to ask.
        deadline: seconds that a silent terminal costs.
    """
    start = time.monotonic()
    why: dict[str, str] = {}
    replies = Replies()
    window: tuple[int, int] | None = None
    if not ask:
        why["probe"] = "switched off (--no-probe)"
    elif environ.get("TERM", "") in ("", "dumb", "unknown", "linux"):
        why["probe"] = f'not asked: TERM is "{environ.get("TERM", "")}"'
    else:
        try:
            replies, window = _ask(tty, deadline)
        except (OSError, termios.error) as error:
            why["probe"] = f"cannot ask the terminal: {error}"
        else:
            if replies.features is None:
                why["probe"] = f"no answer within {deadline:g} s (--no-probe saves the wait)"
    return _interpret(replies, window, Images(images), environ, why, time.monotonic() - start)


def apply_environment(info: TerminalInfo, environ: MutableMapping[str, str] = os.environ) -> None:
    """Tell Textual and textual-image through the environment; what the user set there stays.

    Must run before either is imported.
    """
    if info.truecolor:
        environ.setdefault("COLORTERM", "truecolor")
    systems = {"truecolor": "truecolor", "256": "256", "16": "standard"}
    environ.setdefault("TEXTUAL_COLOR_SYSTEM", systems[info.colors])
    if info.cell is not None:
        environ.setdefault("TEXTUAL_CELL_WIDTH", str(info.cell[0]))
        environ.setdefault("TEXTUAL_CELL_HEIGHT", str(info.cell[1]))
    if info.over_ssh:  # every frame of an animation is traffic
        environ.setdefault("TEXTUAL_ANIMATIONS", "none")
        environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")


def _ask(tty: Path | str, deadline: float) -> tuple[Replies, tuple[int, int] | None]:
    """Ask the terminal; its answers, and the cell size by the kernel's idea of the window."""
    fd = os.open(tty, os.O_RDWR | os.O_NOCTTY)
    try:
        try:
            if os.tcgetpgrp(fd) != os.getpgrp():
                raise OSError("the program runs in the background")
        except OSError as error:
            if error.errno is None:
                raise
            # not our controlling terminal: nothing can stop us from reading it
        with _raw(fd):
            data = _converse(fd, deadline)
        replies = parse_replies(data)
        return replies, _cell_of_window(fd, replies.area)
    finally:
        os.close(fd)


@contextmanager
def _raw(fd: int) -> Iterator[None]:
    """No echo and no line buffering; ctrl+c keeps working; what was typed stays readable."""
    before = termios.tcgetattr(fd)
    raw = termios.tcgetattr(fd)
    raw[3] &= ~(termios.ECHO | termios.ICANON)
    raw[6][termios.VMIN] = 0
    raw[6][termios.VTIME] = 0
    termios.tcsetattr(fd, termios.TCSANOW, raw)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSANOW, before)


def _converse(fd: int, deadline: float) -> bytes:
    """Write the questions and read until the last answer, or the deadline."""
    pending = QUERY
    data = b""
    end = time.monotonic() + deadline
    extended = False
    while (left := end - time.monotonic()) > 0:
        readable, writable, _ = select.select([fd], [fd] if pending else [], [], left)
        if writable:
            pending = pending[os.write(fd, pending) :]
        if readable:
            chunk = os.read(fd, 4096)
            if not chunk:  # the terminal is gone
                break
            data += chunk
            if complete(data):
                # DA1 is the last answer, but a key or a slow kitty reply may be right behind.
                return data + _drain(fd)
            if not extended and b"\x1b" in chunk:
                end += deadline / 2
                extended = True
    return data


def _drain(fd: int) -> bytes:
    data = b""
    while select.select([fd], [], [], 0.0)[0]:
        chunk = os.read(fd, 4096)
        if not chunk:
            break
        data += chunk
    return data


def _cell_of_window(fd: int, area: tuple[int, int] | None) -> tuple[int, int] | None:
    """Cell size from the window's: in pixels as the kernel knows it, else the terminal's *area*."""
    packed = fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8)
    rows, columns, width, height = struct.unpack("HHHH", packed)
    if area is not None and not (width and height):
        width, height = area
    if not (rows and columns and width >= columns and height >= rows):
        return None
    return width // columns, height // rows


def _interpret(
    replies: Replies,
    window: tuple[int, int] | None,
    wish: Images,
    environ: Mapping[str, str],
    why: dict[str, str],
    seconds: float,
) -> TerminalInfo:
    """Put answers and environment together."""
    term = environ.get("TERM", "")
    name = replies.name or environ.get("TERM_PROGRAM") or term or "unknown"
    in_tmux = bool(environ.get("TMUX") or environ.get("STY")) or bool(
        re.match(r"(tmux|screen)", term) or re.match(r"(tmux|screen)", name, re.IGNORECASE)
    )
    over_ssh = any(environ.get(key) for key in ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"))
    asked = replies.features is not None
    sixel = replies.features is not None and 4 in replies.features
    kitty = bool(replies.kitty)
    for key, there in (("sixel", sixel), ("kitty", kitty)):
        if not there:
            why[key] = "the terminal does not offer it" if asked else "the terminal was not asked"
            if not asked and "probe" in why:
                why[key] = why["probe"]
    cell = None if in_tmux else replies.cell or window
    if cell is None:
        why["cell"] = (
            "tmux and screen do not know the real one" if in_tmux else "the terminal does not say"
        )
    colors = _colors(replies, name, environ, why)
    return TerminalInfo(
        name=name,
        colors=colors,
        sixel=sixel,
        kitty=kitty,
        sync=bool(replies.sync),
        cell=cell,
        in_tmux=in_tmux,
        over_ssh=over_ssh,
        images=_images(wish, colors, sixel, kitty, in_tmux, over_ssh, why),
        probed=asked,
        seconds=seconds,
        why=why,
        typed=replies.typed,
    )


def _colors(replies: Replies, name: str, environ: Mapping[str, str], why: dict[str, str]) -> Colors:
    """How many colours: what was seen goes before what is claimed (spec/terminal.md 0.10)."""
    term = environ.get("TERM", "")
    claimed = environ.get("COLORTERM", "").lower() in ("truecolor", "24bit")
    if replies.truecolor or claimed or term.endswith("-direct"):
        return "truecolor"
    if replies.truecolor is None:
        program = environ.get("TERM_PROGRAM", "")
        known = (name.lower(), program.lower(), *term.split("-"))
        if any(text.startswith(_TRUECOLOR_NAMES) for text in known):
            return "truecolor"
        if environ.get("TMUX") and _tmux_has_rgb():
            return "truecolor"
        why["truecolor"] = (
            "tmux does not know that the terminal can: "
            "set -as terminal-features ',*:RGB' in tmux.conf"
            if environ.get("TMUX")
            else "neither the terminal nor COLORTERM says so"
        )
    else:
        why["truecolor"] = "the terminal changed a 24-bit colour to one of its palette"
    return "256" if "256" in term or replies.truecolor is not None else "16"


def _tmux_has_rgb() -> bool:
    """Whether tmux knows that its own terminal shows 24-bit colour."""
    command = ["tmux", "display", "-p", "#{client_termfeatures}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=0.5, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return "RGB" in answer.stdout.strip().split(",")


def _images(
    wish: Images,
    colors: Colors,
    sixel: bool,
    kitty: bool,
    in_tmux: bool,
    over_ssh: bool,
    why: dict[str, str],
) -> Images:
    """How to show pictures. Half-blocks work everywhere, so every doubt ends there."""
    if wish is Images.OFF:
        why["images"] = "switched off (--images=off)"
        return Images.OFF
    if colors == "16":
        why["images"] = "16 colours are too few for a likeness: half-blocks will look coarse"
    if wish is Images.HALF:
        return Images.HALF
    if in_tmux:
        why["images"] = "inside tmux and screen only half-blocks are reliable"
        return Images.HALF
    if wish is Images.AUTO and not (sixel or kitty):
        return Images.HALF
    missing = _missing_library()
    if missing:
        why["images"] = missing
        return Images.HALF
    if wish is not Images.AUTO:
        return wish  # asked for by name: believed, even if the terminal was silent
    if over_ssh:
        why["images"] = "over SSH half-blocks are a tenth of the bytes; --images=sixel insists"
        return Images.HALF
    return Images.KITTY if kitty else Images.SIXEL


def _missing_library() -> str | None:
    """Why pixels cannot be drawn on this Python, or None. Does not import the library."""
    try:
        version = metadata.version("textual-image")
    except metadata.PackageNotFoundError:
        need = " (it needs Python 3.12)" if sys.version_info < (3, 12) else ""
        return f"pixel pictures need textual-image 0.14, which is not installed{need}"
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
    if numbers < (0, 14):
        return f"pixel pictures need textual-image 0.14, this is {version}"
    return None

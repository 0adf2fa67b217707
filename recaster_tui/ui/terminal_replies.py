"""What terminals answer to our questions, taken out of a stream of bytes (spec/terminal.md 5.4)."""

import re
from dataclasses import dataclass

QUERY = (
    b"\x1b[>0q"  # XTVERSION: name
    b"\x1b[48;2;1;2;3m\x1bP$qm\x1b\\\x1b[0m"  # DECRQSS: was a 24-bit colour kept?
    b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"  # kitty graphics
    b"\x1b[?2026$p"  # DECRQM: synchronised output
    b"\x1b[16t"  # cell size in pixels
    b"\x1b[14t"  # text area in pixels
    b"\x1b[c"  # DA1: every terminal answers it, so it comes last
)
"""All questions, in one write."""

_XTVERSION = re.compile(rb"\x1bP>\|([^\x1b\x07]*)(?:\x1b\\|\x07)")
_DECRQSS = re.compile(rb"\x1bP[01]\$r([^\x1b\x07]*)(?:\x1b\\|\x07)")
_KITTY = re.compile(rb"\x1b_Gi=31[^;\x1b]*;([^\x1b]*)\x1b\\")
_DECRPM = re.compile(rb"\x1b\[\?2026;(\d+)\$y")
_CELL = re.compile(rb"\x1b\[6;(\d+);(\d+)t")
_AREA = re.compile(rb"\x1b\[4;(\d+);(\d+)t")
_DA1 = re.compile(rb"\x1b\[\?([0-9;]*)c")
_ALL = (_XTVERSION, _DECRQSS, _KITTY, _DECRPM, _CELL, _AREA, _DA1)
# The beginning of a reply that was cut off by the deadline. A lone ESC may be a key.
_TORN = re.compile(rb"\x1b(?:P[^\x1b]*\x1b?|_[^\x1b]*\x1b?|\[\??[0-9;]*\$?)$")

_TRUECOLOR = re.compile(rb"48[:;]2[:;](?:\d*[:;])?1[:;]2[:;]3(?:m|$)")


@dataclass(frozen=True)
class Replies:
    """Answers of a terminal; None where it gave none.

    Attributes:
        name: what XTVERSION says, such as ``XTerm(379)``.
        truecolor: whether a 24-bit colour survived.
        kitty: whether kitty's graphics protocol answered OK.
        sync: whether synchronised output exists.
        cell: (width, height) of a character cell in pixels.
        area: (width, height) of the text area in pixels.
        features: the numbers of DA1; 4 = sixel. None = the terminal did not answer at all.
        typed: what is left: keys pressed meanwhile.
    """

    name: str | None = None
    truecolor: bool | None = None
    kitty: bool | None = None
    sync: bool | None = None
    cell: tuple[int, int] | None = None
    area: tuple[int, int] | None = None
    features: tuple[int, ...] | None = None
    typed: bytes = b""


def complete(data: bytes) -> bool:
    """Whether the last answer (DA1) is there."""
    return _DA1.search(data) is not None


def parse_replies(data: bytes) -> Replies:
    """Take the answers out of *data*, in whatever order they and typed keys came."""
    name = _XTVERSION.search(data)
    kept = _DECRQSS.search(data)
    kitty = _KITTY.search(data)
    mode = _DECRPM.search(data)
    device = _DA1.search(data)
    rest = data
    for pattern in _ALL:
        rest = pattern.sub(b"", rest)
    return Replies(
        name=name[1].decode(errors="replace").strip() or None if name else None,
        truecolor=bool(_TRUECOLOR.search(kept[1])) if kept else None,
        kitty=kitty[1] == b"OK" if kitty else None,
        sync=mode[1] in (b"1", b"2", b"3") if mode else None,
        cell=_size(_CELL.search(data)),
        area=_size(_AREA.search(data)),
        features=tuple(int(n) for n in device[1].split(b";") if n) if device else None,
        typed=_TORN.sub(b"", rest),
    )


def _size(match: re.Match[bytes] | None) -> tuple[int, int] | None:
    """(width, height) of a report, which gives the height first; None if it says zero."""
    if match is None:
        return None
    height, width = int(match[1]), int(match[2])
    return (width, height) if width > 0 and height > 0 else None

"""What a demo consists of, and the file in its folder that says how far it is."""

import tomllib
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import tomli_w

from recaster_tui.errors import BadInputError, DamagedError
from recaster_tui.files import read_toml, write_atomic

MARKER = "demo.toml"
VERSION = 2  # of the files: raise it when the same seed gives other ones
SIDES = ("src", "dst")
_HEADER = """\
# Written by `recaster demo`. It marks this folder as a demo workspace of synthetic people and
# says which; without it the folder would not be touched again.

"""


@dataclass(frozen=True)
class DemoPlan:
    """Everything that decides what the demo's files hold."""

    seed: int
    faces: int  # per side; each comes from its own frame of that side's clip
    video_seconds: float
    size: int  # side of an aligned face in pixels
    version: int = VERSION

    def __post_init__(self) -> None:
        if not 1 <= self.faces <= 100_000:
            raise BadInputError(f"a demo has 1 to 100000 faces per person, not {self.faces}")
        if not 64 <= self.size <= 1024:
            raise BadInputError(f"demo faces are 64 to 1024 pixels wide, not {self.size}")
        if not 0 <= self.seed < 2**31:
            raise BadInputError(f"the seed must be 0 to {2**31 - 1}, not {self.seed}")
        if not self.video_seconds > 0 or not 1 <= self.faces / self.video_seconds <= 60:
            raise BadInputError(
                f"{self.faces} frames in {self.video_seconds:g} seconds make no clip",
                hint="each face is a frame of its clip: ask for 1 to 60 faces a second",
            )

    @property
    def frame_size(self) -> tuple[int, int]:
        """Width and height of a frame in pixels."""
        return frame_size(self.size)

    @property
    def rate(self) -> Fraction:
        """Frames per second of the clips."""
        return Fraction(self.faces / self.video_seconds).limit_denominator(1001)


def frame_size(size: int) -> tuple[int, int]:
    """Width and height of a frame in which a face is about as large as its crop of *size*.

    Multiples of 16, the blocks of H.264.
    """
    return 16 * round(size * 1.9375 / 16), 16 * round(size * 1.4375 / 16)


@dataclass(frozen=True)
class DemoFiles:
    """Where the files of a demo in *folder* lie."""

    folder: Path

    def frame(self, side: str, index: int) -> Path:
        """The picture of frame *index* (from 0), named as DeepFaceLab's extraction does."""
        return self.folder / f"data_{side}" / f"{index + 1:05d}.jpg"

    def face(self, side: str, index: int) -> Path:
        """The aligned face cut from that frame."""
        return self.folder / f"data_{side}" / "aligned" / f"{index + 1:05d}_0.jpg"

    def video(self, side: str) -> Path:
        """The clip made of all frames."""
        return self.folder / f"data_{side}.mp4"

    def has(self, side: str, index: int) -> bool:
        """Whether frame and face are there. Both are renamed into place, so never half."""
        return self.face(side, index).is_file() and self.frame(side, index).is_file()


def read_marker(folder: Path) -> tuple[DemoPlan, bool] | None:
    """The plan of the demo in *folder* and whether it is complete; None where there is none.

    Raises:
        DamagedError: the marker file is there and unreadable.
    """
    path = folder / MARKER
    if not path.is_file():
        return None
    try:
        table: dict[str, Any] = read_toml(path)["demo"]
        plan = DemoPlan(
            seed=int(table["seed"]),
            faces=int(table["faces"]),
            video_seconds=float(table["video_seconds"]),
            size=int(table["size"]),
            version=int(table["version"]),
        )
        return plan, bool(table["complete"])
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, BadInputError) as e:
        raise DamagedError(
            f"the demo's marker file cannot be read ({e})",
            where=path,
            hint="make the demo in another folder, or remove this one",
        ) from None


def write_marker(folder: Path, plan: DemoPlan, *, complete: bool) -> None:
    """Write the marker, atomically."""
    table = {"demo": {**asdict(plan), "complete": complete}}
    write_atomic(folder / MARKER, _HEADER + tomli_w.dumps(table))

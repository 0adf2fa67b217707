"""How much of the head an aligned face shows (dfl-data.md 4.1)."""

from enum import StrEnum

from recaster_tui.errors import BadInputError

_DFL: dict[str, tuple[str, int, float | None]] = {
    "half": ("half_face", 0, 0.0),
    "midfull": ("midfull_face", 1, 0.0675),
    "full": ("full_face", 2, 0.2109375),
    "full-no-align": ("full_face_no_align", 3, 0.2109375),
    "whole": ("whole_face", 4, 0.40),
    "head": ("head", 10, 0.70),
    "head-no-align": ("head_no_align", 20, 0.70),
    "mark-only": ("mark_only", 100, None),
    "custom": ("custom", 1000, None),
}


class FaceType(StrEnum):
    """Crop of an aligned face, from tight to loose; each contains the one before.

    ``mark-only`` faces are whole frames with landmarks; ``custom`` ones are used as they are.
    Neither has an alignment.
    """

    HALF = "half"
    MIDFULL = "midfull"
    FULL = "full"
    FULL_NO_ALIGN = "full-no-align"
    WHOLE = "whole"
    HEAD = "head"
    HEAD_NO_ALIGN = "head-no-align"
    MARK_ONLY = "mark-only"
    CUSTOM = "custom"

    @property
    def dfl_name(self) -> str:
        """The name inside DFL's files, e.g. ``whole_face``."""
        return _DFL[self.value][0]

    @property
    def dfl_number(self) -> int:
        """DFL's enum value; larger means looser. (``custom`` is ours: 1000.)"""
        return _DFL[self.value][1]

    @property
    def padding(self) -> float | None:
        """Margin around the mean face's unit square, in its sides; None without alignment."""
        return _DFL[self.value][2]

    @property
    def aligned(self) -> bool:
        """Whether the crop follows the head's in-plane rotation."""
        return self.padding is not None and not self.value.endswith("no-align")

    @classmethod
    def from_dfl(cls, name: str | int) -> "FaceType":
        """The type of a DFL name (any case) or enum number.

        Raises:
            BadInputError: DFL has no such type.
        """
        key = name.strip().lower() if isinstance(name, str) else name
        for value, (text, number, _) in _DFL.items():
            if key in (text, number):
                return cls(value)
        raise BadInputError(
            f"unknown face type {name!r}",
            hint="DeepFaceLab's types are " + ", ".join(text for text, _, _ in _DFL.values()),
        )

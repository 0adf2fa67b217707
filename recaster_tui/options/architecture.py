"""The architecture string of SAEHD: ``df``, ``liae-ud``, … (dfl-models.md 3.3)."""

from dataclasses import dataclass
from itertools import combinations

LETTERS = "udtc"


@dataclass(frozen=True)
class Architecture:
    """A parsed architecture string.

    Attributes:
        kind: ``df`` (one shared latent, two decoders) or ``liae`` (two latents, one decoder).
        letters: u = normalised latent, d = decoder at half size, t = deeper, c = cosine
            activation; in the order ``udtc``.
    """

    kind: str
    letters: str

    def __str__(self) -> str:
        return f"{self.kind}-{self.letters}" if self.letters else self.kind

    @property
    def resolution_multiple(self) -> int:
        """16, or 32 with d or t (Quirk 5: t halves five times, too)."""
        return 32 if {"d", "t"} & set(self.letters) else 16


def parse_architecture(text: str) -> Architecture:
    """Parse and normalise: ``LIAE-DU`` and ``liae-ud`` are the same.

    Raises:
        ValueError: not of the form df or liae, then optionally - and letters of u d t c.
    """
    kind, dash, letters = text.strip().lower().partition("-")
    if kind not in ("df", "liae") or not set(letters) <= set(LETTERS) or (dash and not letters):
        raise ValueError(
            f'"{text}" is not an architecture: df or liae, then optionally - and any of the '
            "letters u d t c, as in liae-ud"
        )
    return Architecture(kind, "".join(letter for letter in LETTERS if letter in letters))


ARCHITECTURES: tuple[str, ...] = tuple(
    str(Architecture(kind, "".join(chosen)))
    for kind in ("df", "liae")
    for count in range(len(LETTERS) + 1)
    for chosen in combinations(LETTERS, count)
)
"""All 32, for a form to suggest."""

"""Files of arrays in which every array is one case: rules by the array's name."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.parity.goldens import Case, Deviation, root

Arrays = Mapping[str, np.ndarray]
Rule = Callable[[re.Match[str], Arrays], list[Deviation]]
"""Judges one array, given how its name matched and every array of its file."""


@dataclass(frozen=True)
class Table:
    """What the arrays of one folder's .npz files mean.

    Attributes:
        group: the folder.
        rules: pattern of an array's whole name -> who judges it.
        inputs: pattern of the arrays that are what something was computed from.
        absent: pattern -> why nothing of ours computes this.
        files: pattern of the files' names.
    """

    group: str
    rules: Mapping[str, Rule]
    inputs: str
    absent: Mapping[str, str] = field(default_factory=dict)
    files: str = "*.npz"

    def discover(self) -> Iterator[Case]:
        for path, name in self._arrays():
            if self._rule(name):
                yield Case(self.group, f"{path.stem} {name}", path, name)

    def unjudged(self) -> Iterator[tuple[str, str]]:
        """Name and reason of each array that no rule judges."""
        for path, name in self._arrays():
            if self._rule(name) or re.fullmatch(self.inputs, name):
                continue
            reasons = [why for p, why in self.absent.items() if re.fullmatch(p, name)]
            why = reasons[0] if reasons else "an array of a kind that is not known here"
            yield f"{self.group}/{path.stem} {name}", why

    def judge(self, case: Case) -> list[Deviation]:
        found = self._rule(case.tag)
        assert found, case.tag
        match, rule = found
        with np.load(case.path) as arrays:
            return rule(match, arrays)

    def _rule(self, name: str) -> tuple[re.Match[str], Rule] | None:
        for pattern, rule in self.rules.items():
            if match := re.fullmatch(pattern, name):
                return match, rule
        return None

    def _arrays(self) -> Iterator[tuple[Path, str]]:
        for path in sorted((root() / self.group).glob(self.files)):
            with np.load(path) as arrays:
                names = list(arrays.files)
            yield from ((path, name) for name in names)

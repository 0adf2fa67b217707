"""All kinds of cases: what exists in the golden folder, and who judges it."""

from collections.abc import Iterator

from tests.parity import (
    color,
    facesets,
    forward,
    geometry,
    models,
    operators,
    samples,
    train,
    warp,
)
from tests.parity.goldens import Case, Deviation, root

_KINDS = (forward, operators, models, geometry, color, warp, samples, facesets, train)
_GUARDED = (operators, geometry, color, warp, samples, facesets)
_UNUSED_FOLDERS = {"patch_disc": "the patch discriminator: none of the four models has one"}


def discover() -> list[Case]:
    """Every case of the golden folder; empty when it is absent."""
    if not root().is_dir():
        return []
    return [case for kind in _KINDS for case in kind.discover()]


def unjudged() -> Iterator[tuple[str, str]]:
    """Name and reason of everything in the golden folder that is not judged."""
    if not root().is_dir():
        return
    for kind in _GUARDED:
        yield from kind.unjudged()
    known = {group for kind in _KINDS for group in kind.GROUPS}
    for folder in sorted(path for path in root().iterdir() if path.is_dir()):
        if folder.name not in known:
            why = _UNUSED_FOLDERS.get(folder.name, "a folder of a kind that is not known here")
            yield folder.name, why


def judge(case: Case) -> list[Deviation]:
    """Run our code on a case."""
    for kind in _KINDS:
        if case.group in kind.GROUPS:
            deviations: list[Deviation] = kind.judge(case)
            return deviations
    raise ValueError(case.group)

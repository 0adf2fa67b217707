"""All kinds of cases: what exists in the golden folder, and who judges it."""

from tests.parity import forward, models, operators, train
from tests.parity.goldens import Case, Deviation, root

_KINDS = (forward, models, operators, train)


def discover() -> list[Case]:
    """Every case of the golden folder; empty when it is absent."""
    if not root().is_dir():
        return []
    return [case for kind in _KINDS for case in kind.discover()]


def judge(case: Case) -> list[Deviation]:
    """Run our code on a case."""
    for kind in _KINDS:
        if case.group in kind.GROUPS:
            return kind.judge(case)
    raise ValueError(case.group)

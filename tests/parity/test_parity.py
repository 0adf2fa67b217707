"""Every golden case of the original, judged at issue 3's tolerances."""

import pytest
import torch

from tests.parity.goldens import Case, root
from tests.parity.judges import discover, judge

_CASES = discover()


def test_goldens_are_there() -> None:
    if not root().is_dir():
        pytest.skip(f"no goldens at {root()} (RECASTER_GOLDENS)")
    assert _CASES


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.id, marks=[getattr(pytest.mark, m) for m in case.marks])
        for case in _CASES
    ],
)
def test_parity(case: Case) -> None:
    torch.set_num_threads(1)  # two would wait for each other on a busy machine
    deviations = judge(case)
    assert deviations
    assert not [d for d in deviations if not d.ok]

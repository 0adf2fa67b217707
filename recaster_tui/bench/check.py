"""``recaster bench check``: does a check of a faceset find what is wrong, and how fast is it."""

import os
import tempfile
import time
from pathlib import Path

from recaster_tui.bench.planted import FAULTS, Plate, judge_planted, plant, plates
from recaster_tui.bench.report import Row
from recaster_tui.demo.frames import demo_person
from recaster_tui.demo.people import random_identity
from recaster_tui.faces.quality import check_faceset
from recaster_tui.helpers import default_workers

FACES = 200
SECONDS_FOR_5000 = 180.0
"""Issue 4: checking 5,000 faces takes at most three minutes on two cores."""
_SIZE = 256


def measure() -> list[Row]:
    """All rows; takes a few minutes."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="recaster-bench-") as scratch:
        home = os.environ.get("RECASTER_HOME")
        os.environ["RECASTER_HOME"] = f"{scratch}/home"  # nothing may be known from before
        try:
            others = []
            for k in range(4):
                others += plates(random_identity(900 + k), k, (0, 60), _SIZE)
            for number, side in enumerate(("src", "dst", "src", "dst", "src")):
                own = plates(demo_person(side), 40 + number, range(FACES), _SIZE)
                rows += _measure_set(Path(scratch) / f"set{number}", own, others, number, side)
        finally:
            if home is None:
                del os.environ["RECASTER_HOME"]
            else:
                os.environ["RECASTER_HOME"] = home
    return rows


def _measure_set(
    folder: Path, own: list[Plate], others: list[Plate], seed: int, side: str
) -> list[Row]:
    planted = plant(folder, own, others, seed=seed, size=_SIZE)
    begun = time.perf_counter()
    check = check_faceset(folder, workers=default_workers())
    seconds = time.perf_counter() - begun
    found, missed, accused = judge_planted(check, planted)
    what = f"set {seed + 1} ({side}, {len(own)} faces)"
    return [
        Row(f"{what}: faults missed", len(FAULTS) - found, "of 20", 2, 1, "; ".join(missed)),
        Row(
            f"{what}: good faces accused",
            100 * len(accused) / len(planted.good),
            "%",
            2,
            len(planted.good),
            "; ".join(f"{name}: {reason}" for name, reason in accused),
        ),
        Row(
            f"{what}: 5,000 faces, from the time of these",
            seconds / len(own) * 5000,
            "s",
            SECONDS_FOR_5000,
            len(own),
            f"{default_workers()} processes; the comparison of the set included",
        ),
    ]

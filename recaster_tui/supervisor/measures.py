"""Measurements on held-out faces, as the journal tells them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NAN = float("nan")


@dataclass(frozen=True)
class Pair:
    """One figure on faces that were never trained on, and on as many that are. NaN: not known."""

    held_out: float = NAN
    trained: float = NAN

    @property
    def gap(self) -> float:
        """By how much the held-out one is higher, as a share of the trained one."""
        return self.held_out / self.trained - 1 if self.trained else NAN


@dataclass(frozen=True)
class Measure:
    """One measurement.

    Attributes:
        iteration: of the model when it was made.
        t: unix seconds.
        since: iteration from which on these faces have not been trained on.
        losses: ``src`` and ``dst`` (XSeg: only ``src``): structure and pixels inside the mask.
        mask: mean overlap of predicted mask and label, 0..1.
        sharpness: of the swap relative to the real face below it; 1 = as sharp.
        faces: how many held-out faces of each side.
        seconds: what it took.
        share: 0..1, part of the run's time that all of them took.
    """

    iteration: int
    t: float = 0.0
    since: int = 0
    losses: Mapping[str, Pair] = field(default_factory=dict)
    mask: Pair = Pair()
    sharpness: float = NAN
    faces: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    share: float = 0.0


def parse_measure(data: Mapping[str, Any], t: float = 0.0) -> Measure:
    """A ``held_out`` of the journal. Raises ``TypeError`` or ``ValueError`` for what is none."""
    return Measure(
        iteration=int(data["iteration"]) if "iteration" in data else 0,
        t=float(data.get("t") or t),
        since=int(data.get("since") or 0),
        losses={side: _pair(data[side]) for side in ("src", "dst") if side in data},
        mask=_pair(data.get("mask")),
        sharpness=_number(data.get("sharpness")),
        faces={str(k): int(v) for k, v in dict(data.get("faces") or {}).items()},
        seconds=float(data.get("seconds") or 0.0),
        share=float(data.get("share") or 0.0),
    )


def _pair(data: Any) -> Pair:
    if not isinstance(data, Mapping):
        return Pair()
    return Pair(_number(data.get("held_out")), _number(data.get("trained")))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else NAN

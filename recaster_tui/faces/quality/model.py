"""What a check of a faceset says: findings, scores, proposals, and the words they use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recaster_tui.faces.faceset import Skipped

CODES: Mapping[str, str] = {
    "damaged": "cannot be read or decoded as a face",
    "misaligned": "the landmarks do not fit the picture, or the metadata contradict each other",
    "other-person": "does not look like the person of this set",
    "occluded": "something covers a part of the face",
    "blurred": "out of focus, moved, or enlarged",
    "duplicate": "the same picture as another face of the set",
    "bright": "over-exposed",
    "dark": "under-exposed",
    "low-contrast": "grey in grey",
    "small": "the face was small in its frame",
    "extreme-pose": "turned so far that the landmarks cannot be trusted",
    "doubtful": "the detector was not sure of it",
}
"""Every code of a finding and what it means, the gravest first."""

WEIGHTS: Mapping[str, float] = {
    "damaged": 1.0,
    "misaligned": 0.9,
    "other-person": 0.9,
    "occluded": 0.6,
    "blurred": 0.7,
    "duplicate": 0.6,
    "bright": 0.5,
    "dark": 0.5,
    "low-contrast": 0.4,
    "small": 0.5,
    "extreme-pose": 0.4,
    "doubtful": 0.5,
}
"""The share of the score that a finding of severity 1 takes away."""

PROPOSE_FROM = 0.5
"""Faces with a finding of at least this severity are proposed for pruning."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a face.

    Attributes:
        code: one of :data:`CODES`.
        severity: 0 (noticeable) to 1 (useless for training).
        value: what was measured, in the unit that *reason* names.
        limit: where the finding begins; same unit.
        reason: in words, a clause without a full stop.
    """

    code: str
    severity: float
    value: float
    limit: float
    reason: str


@dataclass(frozen=True)
class FaceScore:
    """A face's score 0 (useless) to 100, what was measured, and why it lost points."""

    name: str
    score: float
    values: Mapping[str, float]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """A face that had better leave the set, the gravest reason first."""

    name: str
    reason: str
    codes: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """Everything a check found, in the order of the names.

    Attributes:
        folder: of the faces.
        complete: False when the check was stopped; then only some faces were judged.
        computed: how many faces had to be measured now; the others were known.
        listing: names the files as they were.
        pictures: ``Catalog.pictures`` of the faces by their names then.
    """

    folder: Path
    scores: list[FaceScore] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    damaged: list[Skipped] = field(default_factory=list)
    complete: bool = True
    computed: int = 0
    listing: str = ""
    pictures: Mapping[str, int] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """How many faces have each code, in the order of :data:`CODES`; codes of none left out."""
        found = dict.fromkeys(CODES, 0)
        for score in self.scores:
            for code in {finding.code for finding in score.findings}:
                found[code] += 1
        found["damaged"] += len(self.damaged)
        return {code: count for code, count in found.items() if count}


def score_of(findings: tuple[Finding, ...]) -> float:
    """0..100: each finding takes its weight times its severity of what is left."""
    left = 100.0
    for finding in findings:
        left *= 1.0 - WEIGHTS[finding.code] * min(max(finding.severity, 0.0), 1.0)
    return round(left, 1)

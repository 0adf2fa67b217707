"""Judging a set of faces: a score for each, findings with reasons in words, what to prune."""

from recaster_tui.faces.quality.check import (
    apply_prune,
    check_faceset,
    current_check,
    only,
    proposals,
)
from recaster_tui.faces.quality.model import CODES, Check, FaceScore, Finding, Proposal
from recaster_tui.faces.quality.store import as_table, follow, load_check

__all__ = [
    "CODES",
    "Check",
    "FaceScore",
    "Finding",
    "Proposal",
    "apply_prune",
    "as_table",
    "check_faceset",
    "current_check",
    "follow",
    "load_check",
    "only",
    "proposals",
]

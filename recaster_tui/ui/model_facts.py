"""Which models lie in a workspace: ours and DeepFaceLab's. Only names, sizes and texts are read."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from recaster_tui.files import read_toml
from recaster_tui.options import ModelClass

log = logging.getLogger(__name__)

_DFL_DATA = re.compile(r"(?:(?P<name>.+)_)?(?P<kind>SAEHD|AMP|Quick96|XSeg)_data\.dat")
_DFL_ITERATION = re.compile(r"Current iteration:\s*(\d+)")
_MOST_SUMMARY = 1 << 20


@dataclass(frozen=True)
class ModelFact:
    """One model.

    Attributes:
        key: unique in the workspace.
        model_class: ``saehd`` …
        dfl: whether these are DeepFaceLab's files.
        iteration: None where it is not known without opening the model.
        size: bytes of the files that a load reads (not of older generations and backups).
        saved: unix seconds; 0 = never.
        note: anything special: backups, damage.
    """

    key: str
    name: str
    model_class: str
    dfl: bool
    iteration: int | None
    size: int
    saved: float
    note: str = ""


def find_models(folder: Path) -> list[ModelFact]:
    """Every model in *folder*, the last saved first. Never fails."""
    found: list[ModelFact] = []
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    for entry in entries:
        try:
            fact = _ours(entry) if entry.is_dir() else _theirs(entry)
        except OSError as error:
            log.info("cannot look at %s: %s", entry, error)
            continue
        if fact is not None:
            found.append(fact)
    return sorted(found, key=lambda fact: fact.saved, reverse=True)


def _ours(folder: Path) -> ModelFact | None:
    name, _, kind = folder.name.rpartition(".")
    if not name or kind not in list(ModelClass):
        return None
    backups = _count(folder / "backups")
    damaged = _count(folder / "damaged")
    notes = [f"{backups} backup{'s' * (backups != 1)}"] if backups else []
    notes += [f"{damaged} damaged, set aside"] if damaged else []
    pointer = folder / "CURRENT"
    if not pointer.is_file():
        return ModelFact(folder.name, name, kind, False, 0, 0, 0.0, "not saved yet")
    current = pointer.read_text("utf-8", "replace").strip()
    generation = folder / "generations" / current
    iteration: int | None = None
    try:
        value = read_toml(generation / "state.toml").get("iteration")
        iteration = value if isinstance(value, int) else None
    except (OSError, ValueError):
        notes.append("its current generation cannot be read")
    return ModelFact(
        folder.name,
        name,
        kind,
        False,
        iteration,
        sum(p.stat().st_size for p in generation.glob("*") if p.is_file()),
        pointer.stat().st_mtime,
        " · ".join(notes),
    )


def _theirs(path: Path) -> ModelFact | None:
    match = _DFL_DATA.fullmatch(path.name)
    if match is None or (match["name"] is None and match["kind"] != "XSeg"):
        return None
    stem = path.name.removesuffix("data.dat")
    files = [p for p in path.parent.iterdir() if p.name.startswith(stem) and p.is_file()]
    return ModelFact(
        path.name,
        match["name"] or "XSeg",
        match["kind"].lower(),
        True,
        _dfl_iteration(path.with_name(f"{stem}summary.txt")),
        sum(p.stat().st_size for p in files if p.suffix in (".npy", ".dat")),
        path.stat().st_mtime,
        "DeepFaceLab files",
    )


def _dfl_iteration(summary: Path) -> int | None:
    # data.dat is a pickle: the text beside it says enough for a list.
    try:
        if summary.stat().st_size > _MOST_SUMMARY:
            return None
        match = _DFL_ITERATION.search(summary.read_text("utf-8", "replace"))
    except OSError:
        return None
    return int(match[1]) if match else None


def _count(folder: Path) -> int:
    try:
        return sum(1 for entry in folder.iterdir() if entry.is_dir())
    except OSError:
        return 0

"""What a check knows, in the user's cache folder: measurements and the last result.

Nothing here is precious: what is damaged or of another version is measured again.
"""

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from recaster_tui.faces.catalog import Catalog
from recaster_tui.faces.catalog_cache import cache_folder
from recaster_tui.faces.faceset import Skipped
from recaster_tui.faces.quality.measure import VERSION, Measurements
from recaster_tui.faces.quality.model import Check, FaceScore, Finding, Proposal
from recaster_tui.faces.quality.wire import from_bytes, to_bytes
from recaster_tui.files import write_atomic

log = logging.getLogger(__name__)

Stamp = tuple[int, ...]
_RESULT_VERSION = 2


@dataclass
class Store:
    """Measurements by the names of the files, with what tells a file from its successor."""

    names: list[str]
    stamps: list[Stamp]
    known: Measurements | None
    damage: dict[str, tuple[Stamp, str, str]]


def load_store(folder: Path) -> Store:
    """What was measured before; empty where nothing was."""
    path = cache_folder(folder) / "measured.npz"
    try:
        known, more = from_bytes(path.read_bytes())
        if more["version"] != VERSION:
            raise ValueError("measured by another version")
        names = [str(name) for name in more["names"]]
        stamps = [tuple(int(v) for v in stamp) for stamp in more["stamps"]]
        damage = {
            str(name): (tuple(int(v) for v in stamp), str(code), str(message))
            for name, (stamp, code, message) in more["damage"].items()
        }
        if not len(names) == len(stamps) == len(known):
            raise ValueError("rows are missing")
    except FileNotFoundError:
        return Store([], [], None, {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.info("%s is not used: %s", path, error)
        return Store([], [], None, {})
    return Store(names, stamps, known, damage)


def save_store(folder: Path, store: Store) -> None:
    """Keep measurements; where that is not possible the next check begins anew."""
    if store.known is None:
        return
    more: dict[str, Any] = {
        "version": VERSION,
        "names": store.names,
        "stamps": store.stamps,
        "damage": store.damage,
    }
    _write(cache_folder(folder) / "measured.npz", to_bytes(store.known, more))


def load_check(folder: Path) -> Check | None:
    """The last result of a check of *folder*; None where there is none that can be read.

    It may know faces that are gone by now, and not know new ones: compare the names.
    """
    path = cache_folder(folder) / "check.json"
    try:
        table = json.loads(path.read_text("ascii"))
        if table["version"] != _RESULT_VERSION:
            return None
        scores = [
            FaceScore(
                str(row["name"]),
                float(row["score"]),
                {str(k): float("nan") if v is None else float(v) for k, v in row["values"].items()},
                tuple(Finding(**finding) for finding in row["findings"]),
            )
            for row in table["scores"]
        ]
        proposals = [
            Proposal(row["name"], row["reason"], tuple(row["codes"])) for row in table["proposals"]
        ]
        damaged = [Skipped(**row) for row in table["damaged"]]
        listing = str(table["listing"])
        pictures = {str(name): int(value) for name, value in table["pictures"].items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.info("%s is not used: %s", path, error)
        return None
    return Check(Path(folder), scores, proposals, damaged, listing=listing, pictures=pictures)


def follow(check: Check, catalog: Catalog) -> Check:
    """*check* with the names that its faces have now.

    What it says belongs to a picture: renamed faces take it along, and a name that another
    picture has by now loses it.
    """
    now, names = catalog.pictures, dict[str, str | None]()
    lost: list[str] = []
    for name in [*(s.name for s in check.scores), *(d.name for d in check.damaged)]:
        picture, index = check.pictures.get(name), catalog.index(name)
        if picture is None or (index is not None and now[index] == picture):
            names[name] = name
        else:
            lost.append(name)
    free: dict[int, list[str]] = {}
    for name, picture in zip(catalog.names, now, strict=True):
        if picture and name not in names:
            free.setdefault(picture, []).append(name)
    for name in lost:
        index = catalog.index(name)
        if others := free.get(check.pictures[name]):
            names[name] = others.pop(0)
        else:
            # Gone, or edited and not measured again: then it is still that picture.
            names[name] = name if index is None or not now[index] else None
    if all(new == old for old, new in names.items()):
        return check

    def new(name: str) -> str:
        return names.get(name) or ""

    return replace(
        check,
        scores=[replace(s, name=new(s.name)) for s in check.scores if new(s.name)],
        proposals=[replace(p, name=new(p.name)) for p in check.proposals if new(p.name)],
        damaged=[replace(d, name=new(d.name)) for d in check.damaged if new(d.name)],
        pictures={new(name): v for name, v in check.pictures.items() if new(name)},
    )


def save_check(check: Check) -> None:
    """Keep a complete result for :func:`load_check`."""
    table = {
        "version": _RESULT_VERSION,
        "listing": check.listing,
        "pictures": dict(check.pictures),
        **as_table(check),
    }
    _write(cache_folder(check.folder) / "check.json", json.dumps(table).encode("ascii"))


def as_table(check: Check) -> dict[str, Any]:
    """A check as JSON can hold it; unknown values are null."""
    return {
        "folder": str(check.folder),
        "complete": check.complete,
        "computed": check.computed,
        "counts": check.counts(),
        "scores": [
            {
                "name": score.name,
                "score": score.score,
                "values": {k: _number(v) for k, v in score.values.items()},
                "findings": [
                    {**asdict(f), "value": _finite(f.value), "limit": _finite(f.limit)}
                    for f in score.findings
                ],
            }
            for score in check.scores
        ],
        "proposals": [asdict(proposal) for proposal in check.proposals],
        "damaged": [asdict(skipped) for skipped in check.damaged],
    }


def _number(value: float) -> float | None:
    return round(value, 4) if abs(value) < 1e30 else None


def _finite(value: float) -> float:
    return round(value, 4) if abs(value) < 1e30 else 0.0


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomic(path, data, durable=False)
    except OSError as error:
        log.warning("the check's memory cannot be kept in %s: %s", path.parent, error)

"""The models of a workspace, ours and DFL's; facts about ours that need no torch."""

import json
import struct
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recaster_tui.errors import BadInputError, DamagedError
from recaster_tui.files import read_toml
from recaster_tui.interop.dfl_folder import DflEntry, find_dfl_models
from recaster_tui.interop.dfl_read import read_state
from recaster_tui.interop.remarks import printable
from recaster_tui.options import ModelClass
from recaster_tui.protocol.losses import read_losses
from recaster_tui.workspace import Workspace

_MAX_HEADER = 100_000_000


@dataclass(frozen=True)
class OurEntry:
    """A model of ours: ``model/<name>.<class>/``."""

    folder: Path
    name: str
    model_class: ModelClass

    @property
    def label(self) -> str:
        """Its unmistakable name, the folder's."""
        return self.folder.name


Entry = OurEntry | DflEntry


def label(entry: Entry) -> str:
    """How a model is named where names alone are not enough."""
    return entry.label if isinstance(entry, OurEntry) else entry.stem


def find_ours(models: Path) -> list[OurEntry]:
    """Models of ours in a workspace's model folder, by name."""
    found = []
    for folder in sorted(models.iterdir()) if models.is_dir() else ():
        name, _, kind = folder.name.rpartition(".")
        if name and kind in set(ModelClass) and has_model(folder):
            found.append(OurEntry(folder, name, ModelClass(kind)))
    return found


def has_model(folder: Path) -> bool:
    """Whether anything was ever saved in *folder*, a model folder of ours."""
    if (folder / "CURRENT").exists():
        return True
    # What begins with a dot is left of a save that was cut short.
    roots = (folder / part for part in ("generations", "backups", "snapshots", "damaged"))
    kept = (path for root in roots if root.is_dir() for path in root.iterdir())
    return any(not path.name.startswith(".") for path in kept)


def find_all(workspace: Workspace) -> list[Entry]:
    """Every model: ours by name, then DFL's, the one saved last first."""
    return [*find_ours(workspace.models), *find_dfl_models(workspace.models)]


def choose(entries: list[Entry], name: str | None, where: Path) -> Entry:
    """The one model meant by *name*; without a name, the only one.

    Raises:
        BadInputError: none or several.
    """
    there = ", ".join(printable(label(entry)) for entry in entries)
    hint = f"there are {there}" if entries else "this folder holds no model"
    if name is None:
        if len(entries) == 1:
            return entries[0]
        raise BadInputError("say which model" if entries else "no model", where=where, hint=hint)
    exact = [entry for entry in entries if label(entry) == name]
    found = exact or [entry for entry in entries if entry.name == name]
    if len(found) == 1:
        return found[0]
    if not found:
        raise BadInputError(f"no model {name}", where=where, hint=hint)
    names = ", ".join(label(entry) for entry in found)
    raise BadInputError(f"several models are named {name}: say which", hint=f"one of {names}")


@dataclass(frozen=True)
class Facts:
    """What is known of a model without decoding its weights.

    Attributes:
        saved: unix seconds.
        files: name and size of each file.
    """

    iteration: int
    saved: float
    options: Mapping[str, Any]
    files: Mapping[str, int]
    last_losses: tuple[float, ...]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(self.files.values())


def facts(entry: Entry) -> Facts:
    """Look at a model.

    Raises:
        DamagedError: it cannot be read.
    """
    return _dfl_facts(entry) if isinstance(entry, DflEntry) else _our_facts(entry)


def _dfl_facts(entry: DflEntry) -> Facts:
    state = read_state(entry)
    files = {path.name: path.stat().st_size for path in entry.files()}
    last = tuple(state.loss_history[-1]) if state.loss_history else ()
    return Facts(state.iteration, entry.data.stat().st_mtime, state.options, files, last)


def _our_facts(entry: OurEntry) -> Facts:
    path = current_generation(entry)
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        state = read_toml(path / "state.toml")
        files = {str(k): int(v["size"]) for k, v in manifest["files"].items()}
        iteration, saved = int(manifest["iteration"]), float(manifest["saved"])
        options = dict(state.get("options", {}))
        rows = read_losses(path / "losses.bin")
    except (OSError, ValueError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise DamagedError(f"the save cannot be read ({error})", where=path) from error
    columns = ("src",) if entry.model_class is ModelClass.XSEG else ("src", "dst")
    last = tuple(float(rows[c][-1]) for c in columns) if len(rows) else ()
    return Facts(iteration, saved, options, files, last)


def current_generation(entry: OurEntry) -> Path:
    """The folder that ``CURRENT`` names.

    Raises:
        DamagedError: it names none that is there.
    """
    try:
        name = (entry.folder / "CURRENT").read_text().strip()
    except (OSError, UnicodeDecodeError):
        name = ""
    path = entry.folder / "generations" / name
    if not name or "/" in name or name.startswith(".") or not path.is_dir():
        raise DamagedError(
            "CURRENT names no save that is there",
            where=entry.folder,
            hint=f"recaster model verify says what can be used of {entry.label}",
        )
    return path


def count_parameters(entry: OurEntry) -> dict[str, int]:
    """Numbers of each network of ours, from the header of its weights file.

    Raises:
        DamagedError: the file cannot be read.
    """
    path = current_generation(entry) / "weights.safetensors"
    totals: dict[str, int] = defaultdict(int)
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, _MAX_HEADER)))
        for name, tensor in header.items():
            if name != "__metadata__":
                start, end = tensor["data_offsets"]
                totals[name.partition("/")[0]] += (int(end) - int(start)) // 4
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise DamagedError(f"the weights cannot be read ({error})", where=path) from error
    return dict(totals)

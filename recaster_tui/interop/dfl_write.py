"""Writing DFL models that DFL itself resumes (dfl-models.md 2.2-2.4, dfl-data.md 1.4)."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recaster_tui.errors import BadInputError
from recaster_tui.faces.pickling import dumps
from recaster_tui.files import fsync_dir
from recaster_tui.interop.dfl_folder import DATA, SUMMARY, DflEntry, parts
from recaster_tui.interop.dfl_model import DflModel
from recaster_tui.interop.dfl_summary import summary
from recaster_tui.options import ModelClass

WEIGHTS_PROTOCOL = 4
STATE_PROTOCOL = 3
"""The official builds run Python 3.6, whose own files have it; every version reads both."""

_HEAD = 2
"""Bytes of a pickle before its content (the protocol); one byte, STOP, comes after it."""


@dataclass(frozen=True)
class Written:
    """What :func:`write_model` did.

    Attributes:
        files: of the model, in the order of their writing.
        replaced: folder into which the files of an older model were moved, if there was one.
    """

    files: tuple[Path, ...]
    replaced: Path | None


def pickled_arrays(arrays: Mapping[str, Any]) -> Iterator[bytes]:
    """The bytes of a ``.npy`` file, one tensor at a time: one flat dict, protocol 4."""
    yield bytes((0x80, WEIGHTS_PROTOCOL)) + b"}("
    for key, value in arrays.items():
        if isinstance(value, np.ndarray):
            value = np.ascontiguousarray(value)
        yield dumps(key, protocol=WEIGHTS_PROTOCOL)[_HEAD:-1]
        yield dumps(value, protocol=WEIGHTS_PROTOCOL)[_HEAD:-1]
    yield b"u."


def state_of(model: DflModel) -> dict[str, Any]:
    """The content of ``data.dat``, keys in DFL's order."""
    return {
        "iter": model.iteration,
        "options": model.options,
        "loss_history": model.loss_history,
        "sample_for_preview": model.sample_for_preview,
        **({"choosed_gpu_indexes": None} | model.extra),
    }


def write_model(entry: DflEntry, model: DflModel, *, overwrite: bool = False) -> Written:
    """Write a whole model: everything beside first, then renamed into place.

    Up to the renaming the folder is as it was; should that fail, what was there is put back. Of a
    process killed in between, the old files are whole in the folder :attr:`Written.replaced`.

    Args:
        entry: where, and under which name.
        model: what; ``model.stem`` must be the entry's.
        overwrite: move an older model of that name into a dated folder instead of refusing.

    Raises:
        BadInputError: the model breaks a rule without which DFL begins anew or fails; or there
            are files of that name, and *overwrite* is not set.
        OSError: the disk is full or the folder cannot be written.
    """
    _require_resumable(model)
    folder = entry.folder
    if entry.files() and not overwrite:
        raise BadInputError(
            f"there is a DFL model {entry.stem} already",
            where=folder,
            hint="give --overwrite (the old files are moved to a dated folder), --name or --to",
        )
    folder.mkdir(parents=True, exist_ok=True)
    # DFL's dialogs fail on names without an underscore (quirk 24); these have one.
    temporary = Path(tempfile.mkdtemp(prefix=f".{entry.stem}-export-", dir=folder))
    try:
        names = _write_files(temporary, entry, model)
        if not entry.default_options.exists():
            # Written at a first run only, and each model of the class would take it over.
            name = entry.default_options.name
            asked = {} if model.model_class is ModelClass.QUICK96 else model.options
            _write(temporary / name, iter([dumps(asked, protocol=STATE_PROTOCOL)]))
            names.append(name)
        fsync_dir(temporary)
        replaced = _swap(entry, temporary, names)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Written(tuple(folder / name for name in names), replaced)


def _require_resumable(model: DflModel) -> None:
    if model.iteration < 1:
        raise BadInputError(
            "this model has not been trained yet: DFL takes iteration 0 for a new model and would "
            "begin with random weights",
            hint="train at least one iteration first",
        )
    if len(model.loss_history) != model.iteration:
        raise BadInputError(
            f"the loss history has {len(model.loss_history)} entries for {model.iteration} "
            "iterations; DFL's training would end with an error at the first save"
        )


def _write_files(temporary: Path, entry: DflEntry, model: DflModel) -> list[str]:
    names = []
    for part in parts(model.model_class, liae=model.liae):
        arrays = (model.optimizers if part.is_optimizer else model.networks).get(part.object)
        if arrays:
            names.append(entry.path(part.suffix).name)
            _write(temporary / names[-1], pickled_arrays(arrays))
    names.append(entry.path(SUMMARY).name)
    _write(temporary / names[-1], iter([summary(model).encode()]))
    names.append(entry.path(DATA).name)
    _write(temporary / names[-1], iter([dumps(state_of(model), protocol=STATE_PROTOCOL)]))
    return names


def _write(path: Path, chunks: Iterator[bytes]) -> None:
    with path.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _swap(entry: DflEntry, temporary: Path, names: list[str]) -> Path | None:
    """Old files out, new ones in, ``data.dat`` (by which a model is found) last; or all back."""
    folder, old = entry.folder, entry.files()
    done: list[tuple[Path, Path]] = []

    def move(source: Path, target: Path) -> None:
        source.rename(target)
        done.append((source, target))

    replaced = _dated_folder(entry) if old else None
    try:
        if replaced is not None:
            for path in sorted(old, key=lambda p: p != entry.data):
                move(path, replaced / path.name)
            fsync_dir(replaced)
        for name in sorted(names, key=lambda n: n == entry.data.name):
            move(temporary / name, folder / name)
    except BaseException:
        for source, target in reversed(done):
            target.rename(source)
        if replaced is not None:
            with contextlib.suppress(OSError):
                replaced.rmdir()
        raise
    fsync_dir(folder)
    return replaced


def _dated_folder(entry: DflEntry) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%S")
    number = 1
    while True:
        tail = f"-{number}" if number > 1 else ""
        # Not beginning with the model's name: DFL's "delete model" would take it along.
        path = entry.folder / f"replaced-{stamp}{tail}_{entry.stem}"
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
        number += 1

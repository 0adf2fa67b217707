"""``recaster model import-dfl``, ``export-dfl`` and ``export-dfm``."""

import contextlib
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recaster_tui
from recaster_tui.checkpoints.lock import lock_model
from recaster_tui.checkpoints.store import Generation
from recaster_tui.cli.model_show import remarks_json, say_remarks
from recaster_tui.cli.model_store import OurEntry, choose, find_all, find_ours, has_model
from recaster_tui.cli.words import size
from recaster_tui.errors import BadInputError, DamagedError, EnvironmentProblem, ExitCode
from recaster_tui.files import expanded, write_atomic
from recaster_tui.interop.dfl_convert import PlainModel, from_dfl_model, to_dfl_model
from recaster_tui.interop.dfl_folder import DflEntry, dfl_entry, find_dfl_models
from recaster_tui.interop.dfl_options import lenient
from recaster_tui.interop.dfl_read import read_model
from recaster_tui.interop.dfl_write import write_model
from recaster_tui.interop.dfm import export_dfm
from recaster_tui.interop.origin import read_origin, write_origin
from recaster_tui.interop.remarks import Remarks, printable
from recaster_tui.options import (
    Config,
    ModelClass,
    OptionsError,
    dump_config,
    validate,
    with_number,
)
from recaster_tui.protocol import RunSpec
from recaster_tui.training.generations import Snapshot, load_model, write_generation
from recaster_tui.training.probe import found_number
from recaster_tui.workspace import Workspace, open_workspace

CONFIG = "config.toml"


# --- our checkpoints -----------------------------------------------------------------------


def load_ours(entry: OurEntry, remarks: Remarks) -> tuple[PlainModel, str]:
    """The newest usable save of a model of ours, and the name of its generation.

    Raises:
        DamagedError: nothing of it can be used.
    """
    loaded = load_model(entry.folder)
    if loaded is None:
        raise DamagedError("there is no save of this model", where=entry.folder)
    for damage in loaded.damaged:
        remarks.warn(damage.path.name, f"damaged, an older save is used: {damage.reason}")
    snapshot, state = loaded.snapshot, loaded.snapshot.state
    if state.get("model_class", entry.model_class.value) != entry.model_class.value:
        raise DamagedError(f"its save is of class {state['model_class']}", where=entry.folder)
    options = lenient(entry.model_class, state.get("options", {}), entry.label, remarks)
    # The files of others have only numbers.
    options = with_number(options, found_number(state))
    plain = PlainModel(
        snapshot.iteration,
        options,
        {name: tensor.numpy() for name, tensor in snapshot.weights.items()},
        {name: tensor.numpy() for name, tensor in snapshot.optimizer.items()},
        snapshot.losses,
        read_origin(entry.folder),
    )
    return plain, loaded.generation.name


def save_ours(folder: Path, name: str, plain: PlainModel) -> Generation:
    """Write an imported model as the first generation in *folder*, a new model folder of ours.

    Raises:
        ModelLockedError: somebody trains there.
        OSError: the disk is full.
    """
    losses = ["mask"] if plain.model_class is ModelClass.XSEG else ["src", "dst"]
    state: dict[str, Any] = {
        "model_class": plain.model_class.value,
        "model_name": name,
        "run_id": "",
        "trained_seconds": 0.0,
        "saved": time.time(),
        "loss_names": losses,
        "options": plain.options.model_dump(mode="json"),
        "live": {},
        "imported": {"format": "DeepFaceLab", "stem": plain.origin.stem, "at": plain.iteration},
        "versions": {"recaster": recaster_tui.__version__, "torch": torch.__version__},
    }
    snapshot = Snapshot(
        plain.iteration, _tensors(plain.weights), _tensors(plain.optimizer), state, plain.losses
    )
    lock = lock_model(folder, "import-dfl")
    try:
        _require_free(folder)  # again: now nobody else can begin one
        write_origin(folder, plain.origin)
        try:
            own = plain.options.model_dump()
            validate(plain.model_class, own, trusted=own)
            config = Config(plain.model_class, name, plain.options, title=name)
            write_atomic(folder / CONFIG, dump_config(config))
        except OptionsError:
            pass  # said by the remarks already: there is no config that would train it
        return write_generation(folder, snapshot)
    finally:
        lock.release()


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(a, order="C")) for name, a in arrays.items()}


def _require_free(folder: Path) -> None:
    if has_model(folder):
        raise BadInputError(
            "there is a model of that name and class already",
            where=folder,
            hint="choose another with --name; an existing model is never overwritten",
        )


# --- commands ------------------------------------------------------------------------------


def import_model(
    folder: Path, model: str | None, *, new_name: str | None, source: Path | None, as_json: bool
) -> int:
    """Import a DFL model; see the command's help.

    Raises:
        BadInputError: no such model, a name that cannot be used, or one that is taken.
        DamagedError: the DFL model is damaged, hostile or not whole.
    """
    workspace = open_workspace(folder)
    place = workspace.models if source is None else expanded(source).resolve()
    if not place.is_dir():
        raise BadInputError(
            "no such folder of DFL models",
            where=place,
            hint="--from names the folder with the files NAME_CLASS_data.dat",
        )
    entry = choose([*find_dfl_models(place)], model, place)
    assert isinstance(entry, DflEntry)
    name = _our_name(entry.name if new_name is None else new_name)
    target = workspace.models / f"{name}.{entry.model_class.value}"
    _require_free(target)
    remarks = Remarks()
    plain = from_dfl_model(read_model(entry), remarks)
    with _writing(target):
        generation = save_ours(target, name, plain)
    config = target / CONFIG
    if as_json:
        _say_json(
            {
                "model": target.name,
                "path": str(target),
                "iteration": plain.iteration,
                "bytes": generation.bytes,
                "config": str(config) if config.is_file() else None,
                "found": remarks_json(remarks),
            }
        )
        return ExitCode.OK
    say_remarks(remarks)
    sys.stdout.write(
        f"imported {printable(entry.stem)} as {target.name}: iteration {plain.iteration:,}, "
        f"{size(generation.bytes)}\n"
    )
    if config.is_file():
        there = workspace.relative(config)
        sys.stdout.write(
            f'train it: recaster train "{folder}" --config "{Path(folder) / there}" '
            f'--name "{name}"\n'
        )
    return ExitCode.OK


def _our_name(name: str) -> str:
    metadata = RunSpec.model_fields["model_name"].metadata
    pattern = next(str(m.pattern) for m in metadata if getattr(m, "pattern", None))
    if len(name) > 64 or not re.fullmatch(pattern, name):
        raise BadInputError(
            f"{printable(name)!r} cannot be the name of a model",
            hint="give one with --name: letters, digits, spaces, dots and hyphens, at most 64",
        )
    return name


def export_model(
    folder: Path,
    model: str,
    *,
    target: Path | None,
    new_name: str | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Export a model of ours as DFL files; see the command's help.

    Raises:
        BadInputError: no such model, a name DFL cannot use, or one that is taken.
        DamagedError: our model is damaged.
    """
    workspace = open_workspace(folder)
    entry = choose([*find_ours(workspace.models)], model, workspace.models)
    assert isinstance(entry, OurEntry)
    name = _our_name(entry.name if new_name is None else new_name)
    remarks = Remarks()
    plain, _ = load_ours(entry, remarks)
    dfl = to_dfl_model(plain, name, remarks)
    place = workspace.models if target is None else expanded(target).resolve()
    with _writing(place):
        written = write_model(dfl_entry(place, name, dfl.model_class), dfl, overwrite=overwrite)
    if as_json:
        _say_json(
            {
                "model": dfl.stem,
                "iteration": dfl.iteration,
                "files": [str(path) for path in written.files],
                "replaced": str(written.replaced) if written.replaced else None,
                "found": remarks_json(remarks),
            }
        )
        return ExitCode.OK
    say_remarks(remarks)
    total = sum(path.stat().st_size for path in written.files)
    sys.stdout.write(
        f"wrote {dfl.stem}, iteration {dfl.iteration:,}: {len(written.files)} files, "
        f"{size(total)}, in {place}\n"
    )
    if written.replaced is not None:
        sys.stdout.write(f"the files that were there are in {written.replaced}\n")
    return ExitCode.OK


def export_dfm_file(
    folder: Path,
    model: str,
    *,
    target: Path | None,
    quantize: bool,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Export a model as DFM; see the command's help.

    Raises:
        BadInputError: no such model, a class without DFM, or the file exists.
        EnvironmentProblem: a package is missing.
        DamagedError: the model is damaged.
    """
    workspace = open_workspace(folder)
    entry = choose(find_all(workspace), model, workspace.models)
    path = _dfm_path(workspace, entry) if target is None else expanded(target).resolve()
    if path.exists() and not overwrite:
        raise BadInputError(
            "the file exists already", where=path, hint="give --overwrite, or --to another file"
        )
    remarks = Remarks()
    if isinstance(entry, OurEntry):
        plain, _ = load_ours(entry, remarks)
    else:
        model_read = read_model(entry, optimizers=False)
        plain = from_dfl_model(model_read, remarks, optimizers=False)
    with _writing(path):
        exported = export_dfm(plain.options, plain.weights, path, quantize=quantize)
    if as_json:
        _say_json(
            {
                "file": str(exported.path),
                "bytes": exported.bytes,
                "iteration": plain.iteration,
                "deviation": exported.deviation,
                "found": remarks_json(remarks),
            }
        )
        return ExitCode.OK
    say_remarks(remarks)
    checked = (
        "not checked: onnxruntime is not installed"
        if exported.deviation is None
        else f"differs from the model by at most {exported.deviation:.1e}"
    )
    sys.stdout.write(f"wrote {path}, {size(exported.bytes)}; {checked}\n")
    return ExitCode.OK


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    """Say what the machine lacks where writing fails; what was there before is still there."""
    try:
        yield
    except OSError as error:
        raise EnvironmentProblem(
            f"it could not be written: {error.strerror or error}",
            where=error.filename or place,
            hint="free some space, or choose a folder that you may write; nothing was replaced",
        ) from error


def _dfm_path(workspace: Workspace, entry: OurEntry | DflEntry) -> Path:
    stem = dfl_entry(workspace.models, entry.name, entry.model_class).stem
    return workspace.models / f"{stem}_model.dfm"


def _say_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")

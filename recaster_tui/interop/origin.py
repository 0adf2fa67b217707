"""``dfl/`` in the folder of an imported model: what has no place in a checkpoint of ours.

``options.toml`` has every option as the DFL model had it, ``preview.npz`` its preview sample.
They belong to the model, not to a generation, so training and rollbacks leave them alone.
"""

import io
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from recaster_tui.errors import DamagedError
from recaster_tui.files import read_toml, write_atomic, write_toml
from recaster_tui.interop.dfl_options import Origin

FOLDER, OPTIONS, PREVIEW = "dfl", "options.toml", "preview.npz"


def write_origin(model_folder: Path, origin: Origin) -> None:
    """Keep *origin* beside the generations of the model. Raises ``OSError``."""
    folder = model_folder / FOLDER
    table = {"stem": origin.stem, "options": origin.options, "numpy": origin.numpy}
    write_toml(folder / OPTIONS, table)
    sample = origin.sample_for_preview
    if sample is None:
        (folder / PREVIEW).unlink(missing_ok=True)
        return
    arrays = {f"{g}.{i}": array for g, group in enumerate(sample) for i, array in enumerate(group)}
    counts = np.array([len(group) for group in sample], np.int64)
    buffer = io.BytesIO()
    np.savez(buffer, **{"counts": counts, **arrays})  # type: ignore[arg-type]
    write_atomic(folder / PREVIEW, buffer.getvalue())


def read_origin(model_folder: Path) -> Origin:
    """What :func:`write_origin` kept; empty for a model that was not imported.

    Raises:
        DamagedError: a file is there and cannot be read.
    """
    folder = model_folder / FOLDER
    if not (folder / OPTIONS).is_file():
        return Origin()
    try:
        table: dict[str, Any] = read_toml(folder / OPTIONS)
        origin = Origin(
            str(table["stem"]),
            dict(table["options"]),
            {str(k): np.dtype(v).name for k, v in table["numpy"].items()},
        )
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(
            f"what the import kept cannot be read ({error})",
            where=folder / OPTIONS,
            hint="move the folder away to export without it",
        ) from error
    if (folder / PREVIEW).is_file():
        origin.sample_for_preview = _read_sample(folder / PREVIEW)
    return origin


def _read_sample(path: Path) -> list[list[np.ndarray]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            counts = arrays["counts"].tolist()
            return [[arrays[f"{g}.{i}"] for i in range(n)] for g, n in enumerate(counts)]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DamagedError(
            f"the kept preview sample cannot be read ({error})",
            where=path,
            hint="delete it: the original then draws a new one",
        ) from error

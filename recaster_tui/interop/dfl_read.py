"""Reading DFL models. Nothing in the files is executed: see :mod:`recaster_tui.faces.unpickle`."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from recaster_tui.errors import DamagedError
from recaster_tui.faces.unpickle import MODEL_RULES, RefusedPickleError, restricted_loads
from recaster_tui.interop.dfl_folder import DflEntry, parts
from recaster_tui.interop.dfl_layout import Array
from recaster_tui.interop.dfl_model import DflModel, is_liae
from recaster_tui.interop.remarks import printable
from recaster_tui.options import ModelClass

_KNOWN = ("iter", "options", "loss_history", "sample_for_preview")


def load_pickle(path: Path) -> Any:
    """Decode one of DFL's model files.

    Raises:
        RefusedPickleError: it is damaged, or not plain data; names the file.
        DamagedError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise DamagedError("the file is empty", where=path)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return restricted_loads(content, MODEL_RULES)
    except RefusedPickleError as error:
        error.where = str(path)
        raise
    except (OSError, ValueError) as error:
        raise DamagedError(f"the file cannot be read ({error})", where=path) from error


def read_state(entry: DflEntry) -> DflModel:
    """Read only ``data.dat`` and the default options: no weights.

    Raises:
        DamagedError: a file is damaged, hostile, or does not hold what it should.
    """
    path = entry.data
    state = load_pickle(path)
    if not isinstance(state, dict) or "iter" not in state:
        raise DamagedError("this is not the state of a DFL model", where=path)
    iteration = _whole(state["iter"], path)
    options = _options(state.get("options") or {}, path)
    if iteration and "options" not in state:
        raise DamagedError("it has no options", where=path)
    defaults = None
    if entry.default_options.is_file():
        defaults = _options(load_pickle(entry.default_options), entry.default_options)
    return DflModel(
        entry.stem,
        entry.model_class,
        iteration,
        options,
        _history(state.get("loss_history") or [], entry.model_class, path),
        {},
        sample_for_preview=_sample(state.get("sample_for_preview"), path),
        default_options=defaults,
        extra={key: value for key, value in state.items() if key not in _KNOWN},
    )


def read_model(entry: DflEntry, *, optimizers: bool = True) -> DflModel:
    """Read a whole model. Files that are not there are left out: see ``dfl_convert``.

    Args:
        entry: its files.
        optimizers: read their moments too, which take up to twice the room of the weights.

    Raises:
        DamagedError: a file is damaged, hostile, or does not hold what it should.
    """
    model = read_state(entry)
    for part in parts(entry.model_class, liae=is_liae(model.options, model.default_options)):
        path = entry.path(part.suffix)
        if not path.is_file() or (part.is_optimizer and not optimizers):
            continue
        if part.is_optimizer:
            model.optimizers[part.object] = _arrays(path, scalars=True)
        else:
            model.networks[part.object] = _arrays(path)
    return model


def _arrays(path: Path, *, scalars: bool = False) -> dict[str, Any]:
    found = load_pickle(path)
    if not isinstance(found, dict):
        raise DamagedError("it does not hold named arrays", where=path)
    for key, value in found.items():
        if not isinstance(value, np.ndarray) and not (scalars and _is_number(value)):
            raise DamagedError(f"{printable(key)} in it is not an array", where=path)
    return found


def _options(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DamagedError("its options are no table", where=path)
    for key, item in value.items():
        if not (item is None or isinstance(item, str) or _is_number(item)):
            raise DamagedError(
                f"option {printable(key)} in it is a {type(item).__name__}, not a number or a word",
                where=path,
            )
        try:
            f"{key}{item}".encode()
        except UnicodeEncodeError as error:
            raise DamagedError("an option in it is no valid text", where=path) from error
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | np.generic)


def _whole(value: Any, path: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < 2**53:
        raise DamagedError("its number of iterations is not one", where=path)
    return int(value)


def _history(value: Any, model: ModelClass, path: Path) -> list[list[float]]:
    columns = 1 if model is ModelClass.XSEG else 2
    if not isinstance(value, list) or not all(
        isinstance(row, list | tuple)
        and len(row) == columns
        and all(_is_number(number) for number in row)
        for row in value
    ):
        raise DamagedError(
            f"its loss history is not a list of {columns} numbers an iteration", where=path
        )
    return [[float(number) for number in row] for row in value]


def _sample(value: Any, path: Path) -> list[list[Array]] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(
        isinstance(group, list | tuple) and all(isinstance(a, np.ndarray) for a in group)
        for group in value
    ):
        raise DamagedError("its preview sample is not a list of pictures", where=path)
    return [list(group) for group in value]
